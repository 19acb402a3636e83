"""Every method over a batch: how instances end, what they must not depend on, callbacks, signals, threads, memory."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from helpers import assert_same_bits, in_fresh_process

import fastgrad as fg
from fastgrad import _core, _runs
from fastgrad._statuses import (
    CONVERGED,
    NON_FINITE,
    OUT_OF_EVALUATIONS,
    OUT_OF_ITERATIONS,
    RUNNING,
    SMALL_CHANGE,
    SMALL_STEP,
    STOPPED,
)
from fastgrad.descent import METHODS

RATES = {"gd": 5e-4, "adagrad": 0.1, "momentum": 2e-4, "nesterov": 2e-4, "backtracking": 0.1}
EVERY_METHOD = pytest.mark.parametrize("method", METHODS)
OUTCOME = ("x", "fun", "jac", "nit", "nfev", "status")
RECORDED = ("nit", "fun", "gradient_norm", "step", "x")


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def slopes(x):
    g = np.zeros_like(x)
    g[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return g


def hollow(x):
    return np.sum((x - 1) ** 2 * np.array([1.0, 3.0])) + np.sum(x**4)


def of(method, **more):
    rate = {} if method == "lbfgs" else {"learning_rate": RATES.get(method, 5e-3)}
    return {"method": method, **rate, **more}


def assert_same(a, b, names=OUTCOME):
    for name in names:
        assert_same_bits(getattr(a, name), getattr(b, name))


# ---- how instances end


@EVERY_METHOD
def test_each_criterion_has_its_status(method):
    def end(**limits):
        settings = {"gtol": -1, "ftol": -1, "maxiter": 20_000} | limits
        rate = {} if method == "lbfgs" else {"learning_rate": 0.02}
        res = fg.minimize(hollow, np.array([2.0, 2.0]), method=method, **rate, **settings)
        assert res.success == (res.status in (CONVERGED, SMALL_CHANGE, SMALL_STEP))
        return res

    limited = end(maxiter=3)
    assert (limited.status, limited.nit) == (OUT_OF_ITERATIONS, 3)
    limited = end(maxfev=4)
    assert (limited.status, limited.nfev) == (OUT_OF_EVALUATIONS, 4)
    assert end(maxfev=1).nit == end(maxiter=0).nit == 0
    assert end(maxiter=0).status == OUT_OF_ITERATIONS
    small = end(gtol=100.0)
    assert (small.status, small.nit, small.nfev) == (CONVERGED, 0, 1)
    if method == "lion":  # whose steps are all of one length
        return
    flat = end(gtol=0.05)
    assert flat.status == CONVERGED
    assert np.abs(flat.jac).max() <= 0.05
    change = end(ftol=1e-4, record="path")
    assert change.status == SMALL_CHANGE
    fun = change.history.fun
    drops = abs(fun[:-1] - fun[1:]) / np.maximum(np.maximum(abs(fun[:-1]), abs(fun[1:])), 1)
    assert drops[-1] <= 1e-4
    assert (drops[:-1] > 1e-4).all()
    step = end(xtol=1e-2, record="path")
    assert step.status == SMALL_STEP
    sizes = step.history.step[1:] / (1e-2 + np.linalg.norm(step.history.x[1:], axis=1))
    assert sizes[-1] <= 1e-2
    assert (sizes[:-1] > 1e-2).all()


@EVERY_METHOD
@pytest.mark.parametrize("batch", [2, 300])
def test_a_bad_instance_disturbs_no_other(method, batch):
    x0 = np.random.default_rng(0).uniform(-1, 1, (batch, 3))
    weights = np.ones(batch)

    def fun(x, weight):
        return weight * rosenbrock(x)

    def run(x0, weights):
        return fg.minimize(fun, x0, (weights,), in_axes=(0, 0), record="path", **of(method, maxiter=50))

    right = run(x0, weights)
    for start, weight, status in [(np.nan, 1.0, NON_FINITE), (1e200, 1.0, NON_FINITE), (0.5, np.nan, NON_FINITE)]:
        bad_x0, bad_weights = x0.copy(), weights.copy()
        bad_x0[1], bad_weights[1] = start, weight
        found = run(bad_x0, bad_weights)
        assert found.status[1] == status
        assert_same_bits(found.x[1], bad_x0[1])
        others = np.arange(batch) != 1
        for name in OUTCOME:
            assert_same_bits(getattr(found, name)[others], getattr(right, name)[others])
        rows = len(found.history.nit)
        assert_same_bits(found.history.x[:, others], right.history.x[:rows, others])


@pytest.mark.parametrize("method", ["lbfgs", "backtracking"])
@pytest.mark.parametrize("x0", [[-5.0, 3.0], [0.5, -20.0], [0.99, 40.0]])
def test_a_search_turns_back_where_the_function_is_nan(method, x0):
    def fun(x):
        return np.sum(x**2) - 3 * x[0] + np.log(1 - x[0]) * 0.01 + 0 * np.sqrt(1 - x[0])

    res = fg.minimize(fun, x0, method=method, record="path", maxiter=60)
    assert res.x[0] < 1
    assert np.isfinite(res.history.fun).all()
    assert (np.diff(res.history.fun) <= 1e-13).all()
    assert res.fun < fun(np.array(x0))


def test_lanes_are_refilled_where_iteration_counts_differ_a_hundredfold():
    curvature = np.random.default_rng(1).permutation(np.logspace(0, -2, 20_000))

    def bowl(x, k):
        return 0.5 * k * np.sum(x**2)

    starts = np.ones((20_000, 2))
    res = fg.minimize(bowl, starts, (curvature,), fg.GD(0.5), in_axes=(0, 0), maxiter=10_000)
    assert res.success.all()
    assert res.nit.max() > 80 * res.nit.min()
    assert res.lane_occupancy > 0.8
    x0 = np.random.default_rng(2).uniform(-3, 3, (20_000, 4))
    x0[::2] = 1
    res = fg.minimize(rosenbrock, x0, method="lbfgs", in_axes=0)
    assert res.nit.min() == 0
    assert res.nit.max() > 40
    assert res.lane_occupancy > 0.9


# ---- what an instance must not depend on


@EVERY_METHOD
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_instance_has_the_same_bits_alone_in_any_batch_order_and_number_of_threads(method, dtype, threads):
    rng = np.random.default_rng(3)
    x0 = rng.uniform(-1, 1, (700, 3)).astype(dtype)
    box = rng.uniform(1.0, 2.0, (700, 3)).astype(dtype)
    settings = of(method, in_axes=0, maxiter=60, gtol=1.0)
    for is_bounded in (False, True):

        def run(which, is_bounded=is_bounded, **more):
            bounds = fg.Bounds(-box[which], box[which]) if is_bounded else None
            return fg.minimize(rosenbrock, x0[which], bounds=bounds, **settings | more)

        threads(1)
        right = run(slice(None))
        assert len(set(right.nit.tolist())) > 5
        threads(3)
        assert_same(run(slice(None)), right)
        assert_same(run(slice(None), record="path"), right)
        for which in (rng.permutation(700), np.arange(130), np.array([5])):
            part = run(which)
            for name in OUTCOME:
                assert_same_bits(getattr(part, name), getattr(right, name)[which])
        for i in (0, 350, 699):
            assert_same(run(i, in_axes=None), right[i])


# ---- histories


@EVERY_METHOD
@pytest.mark.parametrize("every", ["path", 4])
def test_a_history_is_that_of_a_slow_loop_and_nan_after_the_stop(method, every):
    x0 = np.random.default_rng(4).uniform(-1, 1, (9, 3))
    settings = of(method, in_axes=0, gtol=2.0, ftol=-1)
    full = fg.minimize(rosenbrock, x0, record=every, maxiter=37, **settings)
    history, k = full.history, 1 if every == "path" else every
    assert history.nit.tolist() == list(range(0, full.nit.max() + 1, k))
    past = history.nit[:, None] > full.nit
    for name in ("fun", "gradient_norm", "step"):
        assert (np.isnan(getattr(history, name)) == past).all()
    assert (np.isnan(history.x) == past[..., None]).all()
    for row, nit in enumerate(history.nit.tolist()):  # as calls that end there
        ended = fg.minimize(rosenbrock, x0, record="path", maxiter=nit, **settings)
        for i in np.flatnonzero(~past[row]):
            assert_same_bits(history.x[row, i], ended.x[i])
            np.testing.assert_allclose(history.fun[row, i], rosenbrock(ended.x[i]), rtol=1e-12)
            np.testing.assert_allclose(history.gradient_norm[row, i], np.abs(slopes(ended.x[i])).max(), rtol=1e-9)
            way = ended.history.x[: nit + 1, i]
            length = np.linalg.norm(way[-1] - way[-2]) if nit else 0.0
            np.testing.assert_allclose(history.step[row, i], length, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_a_history_that_would_not_fit_is_refused_with_the_cure(method, monkeypatch):
    monkeypatch.setattr(_runs, "_memory", lambda: 100_000)
    x0 = np.ones((10, 5))
    settings = {"method": method, "in_axes": 0}
    with pytest.raises(MemoryError, match=r"1,001 records of 10 instances .*\n.*record=k.*maxiter.*record='fun'"):
        fg.minimize(rosenbrock, x0, record="path", **settings)
    for allowed in ({"record": 20}, {"record": "fun", "maxiter": 200}, {"record": "path", "maxiter": 70}, {}):
        fg.minimize(rosenbrock, x0, **settings, **allowed)


# ---- callbacks


@EVERY_METHOD
@pytest.mark.parametrize("is_bounded", [False, True])
def test_a_callback_sees_every_iteration_and_changes_nothing(method, is_bounded):
    x0 = np.random.default_rng(5).uniform(-1, 1, (7, 3))
    x0[3] = np.nan
    bounds = fg.Bounds(-1, 1.5) if is_bounded else None
    if is_bounded:
        x0[3] = 0.5
    settings = of(method, in_axes=0, maxiter=30, gtol=0.5 if is_bounded else 3.0, record="path", bounds=bounds)
    right = fg.minimize(rosenbrock, x0, **settings)
    seen = []
    found = fg.minimize(
        rosenbrock, x0, callback=lambda intermediate_result: seen.append(intermediate_result), **settings
    )
    assert_same(found, right)
    assert_same(found.history, right.history, RECORDED)
    assert_same(seen[-1], right)
    nits = np.array([res.nit for res in seen])
    assert (np.diff(nits, axis=0) >= 0).all()
    assert np.diff(nits, axis=0).max() == 1
    for res in seen:  # each is as a call that ends there, and was not written to since
        assert (res.status[res.nit < right.nit] == RUNNING).all()
        assert np.isin(res.status, (RUNNING, *right.status)).all()
        assert res.history is None
        for i in np.flatnonzero(right.status != NON_FINITE):
            assert_same_bits(res.x[i], right.history.x[res.nit[i], i])
            np.testing.assert_allclose(res.fun[i], right.history.fun[res.nit[i], i], rtol=1e-12)


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_callbacks_of_either_kind_may_stop_a_descent(method):
    points = []

    def after_three(x):
        points.append(x)
        if len(points) == 3:
            raise StopIteration

    res = fg.minimize(rosenbrock, [-1.0, 1.0, 0.5], callback=after_three, **of(method))
    assert (res.status, res.success, res.message) == (STOPPED, False, "stopped by the callback")
    assert_same_bits(res.x, points[-1])
    assert res.fun == pytest.approx(rosenbrock(res.x))
    assert res.nit == 3 - (method == "lbfgs" and len(points) > 3)
    kept = []
    fg.minimize(rosenbrock, [-1.0, 1.0, 0.5], callback=kept.append, **of(method, maxiter=4))
    assert len(kept) == 4
    nested = fg.minimize(
        lambda p: rosenbrock(p["x"]), {"x": np.zeros(3)}, callback=lambda p: kept.append(p["x"]), maxiter=2
    )
    assert_same_bits(kept[-1], nested.x["x"])
    batch = fg.minimize(
        hollow, [[1.0, 1.0], [0.4, 0.7]], in_axes=0, gtol=5.0, callback=after_three, **of("gd")
    )  # which counts on: it never stops this one
    assert batch.success.all()


@pytest.mark.parametrize("method", ["gd", "lbfgs"])
def test_an_exception_of_a_callback_is_raised_and_leaves_everything_usable(method):
    prepared = fg.value_and_grad(rosenbrock)
    x0 = np.zeros((50, 3))
    right = fg.minimize(prepared, x0, in_axes=0, **of(method, maxiter=9))
    before = _core.live_memory()

    def fail(intermediate_result):
        if intermediate_result.nit.max() == 2:
            raise OSError("disk is full")

    with pytest.raises(OSError, match="disk"):
        fg.minimize(prepared, x0, in_axes=0, callback=fail, progress=True, **of(method))
    assert _core.live_memory() == before
    assert_same(fg.minimize(prepared, x0, in_axes=0, **of(method, maxiter=9)), right)
    with pytest.raises(TypeError, match="callback must be a function, got int"):
        fg.minimize(rosenbrock, np.zeros(3), callback=3)


def test_an_instance_that_becomes_non_finite_is_looked_for_once(monkeypatch):
    calls = []
    evaluate = fg.problem.Problem.subset
    monkeypatch.setattr(fg.problem.Problem, "subset", lambda self, which: calls.append(which) or evaluate(self, which))
    x0 = np.array([[3.0, 0.1], [np.nan, 0.0], [0.9, 0.9]])
    settings = {"method": "gd", "learning_rate": 0.01, "in_axes": 0, "maxiter": 40}
    right = fg.minimize(hollow, x0 * [40.0, 1.0], **settings)
    assert (right.status == NON_FINITE).any()
    calls.clear()
    found = fg.minimize(hollow, x0 * [40.0, 1.0], callback=lambda x: None, **settings)
    assert sum(map(len, calls)) == np.count_nonzero(right.status == NON_FINITE)
    assert_same(found, right)


# ---- progress, signals, threads, processes, memory


@pytest.mark.parametrize("callback", [None, lambda x: None])
@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_the_bar_counts_finished_instances(method, callback, monkeypatch):
    counts = []
    monkeypatch.setattr("fastgrad._progress.Progress.__call__", lambda self, done: counts.append(done))
    x0 = np.random.default_rng(6).uniform(-1, 1, (60, 3))
    fg.minimize(rosenbrock, x0, in_axes=0, progress=True, callback=callback, **of(method, maxiter=100))
    assert counts[-1] == 60
    assert counts == sorted(counts)


INTERRUPTED = """
import os, signal, threading, time
import numpy as np
import fastgrad as fg
from fastgrad import _core

def f(x, k):
    return np.sum(np.cosh(k * (x - 1))) + np.sum((x[1:] - x[:-1] ** 2) ** 2)

method = {method}
x0 = np.random.default_rng(0).uniform(-1, 1, ({batch}, 6))
k = np.linspace(1.0, 1.5, {batch})
prepared = fg.value_and_grad(f)
settings = dict(in_axes=(0, 0), method=method, gtol=-1, ftol=-1)
right = fg.minimize(prepared, x0[:3], (k[:3],), maxiter=5, **settings).x
before = _core.live_memory()
sent = []

def send():
    time.sleep(0.4)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=send).start()
try:
    while True:
        fg.minimize(prepared, x0, (k,), maxiter=10**9, {more} **settings)
except KeyboardInterrupt:
    late = time.perf_counter() - sent[0]
assert late < 0.25, late  # 0.1 s, and what a busy machine adds
assert _core.live_memory() == before, (_core.live_memory(), before)
assert (fg.minimize(prepared, x0[:3], (k[:3],), maxiter=5, **settings).x == right).all()
print("done")
"""


@pytest.mark.parametrize(
    ("method", "batch", "more"),
    [
        ("fg.LBFGS()", 1, ""),
        ("fg.LBFGS()", 200_000, ""),
        ("fg.LBFGS()", 2000, "callback=lambda x: None,"),
        ("fg.Backtracking()", 200_000, "progress=True,"),
        ("fg.Adam(1e-9)", 20_000, "callback=lambda x: None,"),
    ],
)
def test_ctrl_c_stops_a_batch_soon_and_all_remains_usable(method, batch, more):
    process = in_fresh_process(INTERRUPTED.format(method=method, batch=batch, more=more))
    assert process.stdout == "done\n", process.stderr


@EVERY_METHOD
def test_many_python_threads_at_once(method):
    prepared = fg.value_and_grad(rosenbrock)
    x0 = np.random.default_rng(7).uniform(-1, 1, (8, 200, 3))
    settings = of(method, in_axes=0, maxiter=40)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda start: fg.minimize(prepared, start, **settings), x0))
    for start, res in zip(x0, found, strict=True):
        assert_same(res, fg.minimize(rosenbrock, start, **settings))


def in_child(prepared, x0, settings):
    return fg.minimize(prepared, x0, **settings)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_a_forked_child_descends_and_sends_its_result(method, threads):
    threads(2)
    x0 = np.random.default_rng(8).uniform(-1, 1, (500, 3))
    settings = of(method, in_axes=0, maxiter=50, record="path")
    prepared = fg.value_and_grad(rosenbrock)
    right = fg.minimize(prepared, x0, **settings)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(in_child, (prepared, x0, settings)).get(timeout=60)
    assert_same(found, right)
    assert_same(found.history, right.history, RECORDED)


@pytest.mark.parametrize("method", ["adam", "lbfgs", "backtracking"])
def test_a_prepared_function_travels_with_its_programs(method):
    prepared = fg.value_and_grad(lambda x: rosenbrock(x))  # which cannot be pickled itself
    x0, settings = np.random.default_rng(9).uniform(-1, 1, (20, 3)), of(method, in_axes=0, maxiter=20)
    right = fg.minimize(prepared, x0, **settings)
    travelled = pickle.loads(pickle.dumps(prepared))
    assert_same(fg.minimize(travelled, x0, **settings), right)
    with pytest.raises(TypeError, match="did not travel"):
        fg.minimize(travelled, x0[:, :2], **settings)


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_the_core_holds_no_more_memory_for_larger_batches(method, threads):
    threads(2)
    peaks = []
    for batch in (20_000, 200_000):
        x0 = np.random.default_rng(10).uniform(-1, 1, (batch, 2))
        held = []
        bar = "fastgrad._progress.Progress.__call__"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bar, lambda self, done, held=held: held.append(_core.live_memory()[0]))
            before = _core.live_memory()[0]
            fg.minimize(rosenbrock, x0, in_axes=0, progress=True, **of(method, maxiter=300, gtol=-1, ftol=-1))
        peaks.append(max(held) - before)
        assert held[:-1], "the call ended before the first report"
    assert peaks[1] < 1.1 * peaks[0] + 10_000
    assert peaks[1] < 2 * 2**21


# ---- a method of one's own


class Bold(NamedTuple):
    """Gradient descent whose rate grows while the value falls, and halves where it does not."""

    rate: float = 0.01

    def shapes(self, n):
        vectors = dict.fromkeys(("x", "jac"), (n,))
        return vectors | dict.fromkeys(("fun", "nit", "nfev", "optimality", "step", "rate"), ())

    def advance(self, state, evaluate, limits, bounds):
        is_first = state.nfev == 0
        rate = np.where(is_first, self.rate, state.rate)
        point = state.x - np.where(is_first, 0.0, rate) * state.jac
        value, gradient = evaluate(point)
        is_lower = is_first | (value < state.fun)
        x, fun = np.where(is_lower, point, state.x), np.where(is_lower, value, state.fun)
        jac = np.where(is_lower, gradient, state.jac)
        nit, optimality = state.nit + (is_lower & ~is_first), np.max(np.abs(jac))
        stop = np.where(optimality <= limits.gtol, 1 + CONVERGED, 0)
        after = state._replace(
            x=x,
            fun=fun,
            jac=jac,
            nit=nit,
            nfev=state.nfev + 1,
            optimality=optimality,
            step=np.sqrt(np.sum((point - state.x) ** 2)),
            rate=np.where(is_lower, 1.1, 0.5) * rate,
        )
        return after, np.where(nit == limits.maxiter, 1 + OUT_OF_ITERATIONS, stop)


def test_a_search_of_ones_own_is_a_class_in_numpy():
    starts = np.random.default_rng(0).normal(size=(100, 2))
    weights = np.array([1.0, 10.0])
    res = fg.minimize(lambda x: np.sum(weights * (x - 2) ** 2), starts, method=Bold(), in_axes=0)
    assert res.success.all()
    np.testing.assert_allclose(res.x, 2, atol=1e-6)
    alone = fg.minimize(lambda x: np.sum(weights * (x - 2) ** 2), starts[7], method=Bold(), record="fun")
    assert_same_bits(alone.x, res.x[7])
    assert np.all(np.diff(alone.history.fun) < 0)
