"""Batched descent against a slow oracle; what is recorded, how it stops, what it must not depend on."""

import math
import sys

import numpy as np
import pytest
from helpers import assert_same_bits, disguises, in_fresh_process
from numpy.testing import assert_allclose

import fastgrad as fg
from fastgrad import _core

RNG = np.random.default_rng(0)
STARTS = RNG.uniform(-1.2, 1.2, (40, 3))


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_gradient(x):
    g = [0.0] * len(x)
    for i in range(len(x) - 1):
        g[i] += -400 * x[i] * (x[i + 1] - x[i] ** 2) - 2 * (1 - x[i])
        g[i + 1] += 200 * (x[i + 1] - x[i] ** 2)
    return g


def bowl(x, a, b):
    return a * np.sum((x - b) ** 2)


def parabola(x):
    return np.sum((x - 1) ** 2)


def oracle(method, x, gradient, steps):
    """The path of one instance as the papers write the rules, in Python floats."""
    x, path = list(x), [list(x)]
    u, w = [0.0] * len(x), [0.0] * len(x)
    for t in range(1, steps + 1):
        for i, g in enumerate(gradient(x)):
            if isinstance(method, fg.Adam):
                u[i] = method.beta1 * u[i] + (1 - method.beta1) * g
                w[i] = method.beta2 * w[i] + (1 - method.beta2) * g * g
                mean, square = u[i] / (1 - method.beta1**t), w[i] / (1 - method.beta2**t)
                change = mean / (math.sqrt(square) + method.epsilon)
            else:
                u[i] = getattr(method, "momentum", 0.0) * u[i] + g
                change = u[i]
            x[i] -= method.learning_rate * change
        path.append(list(x))
    return np.array(path)


METHODS = [
    fg.GD(1e-3),
    fg.GD(learning_rate=4e-4),
    fg.Momentum(2e-4),
    fg.Momentum(3e-4, momentum=0.5),
    fg.Momentum(1e-3, momentum=0.0),
    fg.Adam(0.01),
    fg.Adam(0.05, beta1=0.8, beta2=0.99, epsilon=1e-3),
    fg.Adam(0.01, 0.0, 0.0),
]


# ---- trajectories


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_path_is_that_of_the_paper(method, isa):
    res = fg.minimize(rosenbrock, STARTS, method=method, in_axes=0, maxiter=100, record="path", gtol=-1)
    for i, x0 in enumerate(STARTS):
        path = oracle(method, x0.tolist(), rosenbrock_gradient, 100)
        np.testing.assert_allclose(res.history.x[:, i], path, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(res.history.fun[:, i], [rosenbrock(x) for x in path], rtol=1e-10)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_path_in_single_precision_stays_near(method):
    x0 = STARTS.astype(np.float32)
    res = fg.minimize(rosenbrock, x0, method=method, in_axes=0, maxiter=20, record="path", gtol=-1)
    assert res.x.dtype == res.fun.dtype == res.jac.dtype == res.history.x.dtype == np.float32
    if getattr(method, "beta1", 1):  # without a mean, Adam's steps are signs, and rounding decides on some
        right = fg.minimize(rosenbrock, x0.astype(float), method=method, in_axes=0, maxiter=20, record="path", gtol=-1)
        np.testing.assert_allclose(res.history.x, right.history.x, atol=2e-4)


def test_names_stand_for_the_methods_with_their_defaults():
    for name, method in [("gd", fg.GD()), ("momentum", fg.Momentum()), ("adam", fg.Adam())]:
        a, b = (fg.minimize(rosenbrock, STARTS[0], method=m, maxiter=10) for m in (name, method))
        assert_same_bits(a.x, b.x)
    assert_same_bits(fg.minimize(rosenbrock, STARTS[0], maxiter=10).x, a.x)


def test_learning_rate_replaces_the_methods_for_all_or_for_each():
    rates = RNG.uniform(1e-4, 1e-3, 40)
    each = fg.minimize(rosenbrock, STARTS, method="momentum", in_axes=0, learning_rate=rates, maxiter=50)
    given = fg.minimize(rosenbrock, STARTS, method=fg.Momentum(list(rates)), in_axes=0, maxiter=50)
    assert_same_bits(each.x, given.x)
    for i in (0, 7, 39):
        one = fg.minimize(rosenbrock, STARTS[i], method="momentum", learning_rate=rates[i], maxiter=50)
        assert_same_bits(one.x, each.x[i])


# ---- arguments


def test_in_axes_says_what_differs_by_instance():
    a, b = RNG.uniform(0.5, 2, 6), RNG.normal(size=(3, 6))
    x0 = RNG.normal(size=(3, 6))
    right = b.T
    for start, args, in_axes in [
        (x0, (a, b), (1, 0, 1)),
        (x0.T, (a, b), (0, 0, -1)),
        (x0.T, (a, b.T), (0, 0, 0)),
        (x0.T, (1.5, b), [0, None, 1]),
    ]:
        res = fg.minimize(bowl, start, args, "gd", in_axes=in_axes, learning_rate=0.2)
        np.testing.assert_allclose(res.x, right, atol=1e-6)
        assert res.success.all()
    shared = fg.minimize(bowl, x0.T, (2.0, b[:, 0]), "gd", in_axes=0, learning_rate=0.1)
    np.testing.assert_allclose(shared.x, np.tile(b[:, 0], (6, 1)), atol=1e-6)


def test_args_may_be_settings_that_the_function_branches_on():
    def fun(x, kind, times):
        for _ in range(times):
            x = x - 1 if kind == "shift" else x + 1
        return np.sum(x**2)

    for kind, right in [("shift", 3.0), ("other", -3.0)]:
        np.testing.assert_allclose(fg.minimize(fun, [0.0], (kind, 3), learning_rate=0.1).x, [right], atol=1e-4)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1, 1, 2)])
def test_shapes_never_squeeze(shape):
    x0 = np.full(shape, 2.0)
    res = fg.minimize(parabola, x0, method="gd", learning_rate=0.3, record="path")
    assert res.x.shape == res.jac.shape == shape
    assert res.history.x.shape == (res.nit + 1, *shape)
    assert np.shape(res.fun) == np.shape(res.nit) == np.shape(res.status) == ()
    assert res.success
    batch = fg.minimize(parabola, np.stack([x0] * 5), method="gd", learning_rate=0.3, in_axes=0, record="path")
    assert batch.x.shape == batch.jac.shape == (5, *shape)
    assert batch.fun.shape == batch.nit.shape == batch.status.shape == (5,)
    assert_same_bits(batch.x[3], res.x)


def test_odd_layouts_of_the_start_change_nothing():
    right = fg.minimize(rosenbrock, STARTS, in_axes=0, maxiter=20)
    for name, x0 in disguises(STARTS).items():
        before = np.array(x0)
        assert_same_bits(fg.minimize(rosenbrock, x0, in_axes=0, maxiter=20).x, right.x)
        np.testing.assert_array_equal(np.array(x0), before, err_msg=name)
    assert fg.minimize(parabola, np.arange(3)).x.dtype == np.float64
    assert_same_bits(fg.minimize(rosenbrock, STARTS, in_axes=0, maxiter=0).x, STARTS)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fun": 3}, TypeError, "fun must be a function"),
        ({"args": 3.0}, TypeError, "args must be a tuple"),
        ({"args": np.ones(2)}, TypeError, "args must be a tuple"),
        ({"x0": [1j]}, TypeError, "x0 has dtype complex"),
        ({"x0": ["a"]}, TypeError, "x0 has dtype"),
        ({"x0": None}, TypeError, "x0 has dtype object"),
        ({"x0": np.ma.masked_array([1.0])}, TypeError, "x0 is a masked array"),
        ({"x0": np.ones((0, 2)), "in_axes": 0}, fg.ShapeError, "empty batch"),
        ({"method": "newton"}, ValueError, "method 'newton' is not known: .*'gd', 'momentum', .*'adam'"),
        ({"method": fg.Adam}, TypeError, "method must be"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be positive"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be positive"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate must be positive"),
        ({"learning_rate": math.inf}, ValueError, "learning_rate must be positive and finite"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate has dtype"),
        ({"learning_rate": [0.1, 0.2]}, fg.ShapeError, "learning_rate has shape"),
        ({"learning_rate": [0.1] * 3, "x0": np.ones((2, 2)), "in_axes": 0}, fg.ShapeError, "learning_rate has shape"),
        ({"maxiter": -1}, ValueError, "maxiter must be"),
        ({"maxiter": 1.5}, ValueError, "maxiter must be"),
        ({"maxiter": True}, ValueError, "maxiter must be"),
        ({"gtol": "small"}, ValueError, "gtol must be a number, got 'small'"),
        ({"gtol": None}, ValueError, "gtol must be a number, got None"),
        ({"gtol": math.nan}, ValueError, "gtol must be a number, got nan"),
        ({"record": "all"}, ValueError, "record must be"),
        ({"record": 0}, ValueError, "record must be"),
        ({"record": True}, ValueError, "record must be"),
        ({"in_axes": (None,)}, ValueError, "in_axes"),
        ({"in_axes": (0, 0)}, ValueError, "in_axes"),
        ({"in_axes": 5}, fg.ShapeError, "in_axes"),
        ({"in_axes": (0, 0), "args": (np.ones(3),)}, fg.ShapeError, "differ in length"),
        ({"fun": lambda x: x}, fg.ShapeError, "scalar"),
        ({"fun": lambda x: 1.0 if x > 0 else 0.0}, fg.TraceError, "np.where"),
    ],
)
def test_a_bad_argument_is_refused_by_name(change, error, message):
    arguments = {"fun": lambda x, *args: np.sum(x**2), "x0": np.ones(2)} | change
    with pytest.raises(error, match=message):
        fg.minimize(**arguments)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: fg.Momentum(momentum=1.0), "momentum"),
        (lambda: fg.Momentum(momentum=-0.1), "momentum"),
        (lambda: fg.Adam(beta1=1.0), "beta1"),
        (lambda: fg.Adam(beta2=math.nan), "beta2"),
        (lambda: fg.Adam(epsilon=-1e-9), "epsilon"),
    ],
)
def test_a_bad_setting_of_a_method_is_refused_by_name(make, name):
    with pytest.raises(ValueError, match=name):
        make()


# ---- stopping


def test_each_instance_stops_alone_when_its_gradient_is_small():
    x0 = 1 + 10.0 ** -np.arange(8.0)[:, None]
    res = fg.minimize(parabola, x0, method="gd", learning_rate=0.25, in_axes=0, gtol=1e-3, maxiter=1000)
    # the gradient is 2 (x - 1), halved by each step
    expected = [max(0, math.ceil(math.log2(2 * 10.0**-k / 1e-3))) for k in range(8)]
    assert res.nit.tolist() == expected
    assert (res.nfev == res.nit + 1).all()
    assert (abs(res.jac) <= 1e-3).all()
    assert res.success.all()
    assert res.status.tolist() == [0] * 8
    assert res.message.startswith("8 converged")


def test_gtol_bounds_the_largest_component_and_negative_never_stops():
    def fun(x):
        return 2.0 * x[0] + 0.5 * x[1]

    def outcome(gtol):
        res = fg.minimize(fun, [0.0, 0.0], method="gd", learning_rate=0.5, maxiter=4, gtol=gtol)
        return res.status, res.nit

    assert outcome(2.0) == (0, 0)
    assert outcome(1.99) == (1, 4)
    at_minimum = fg.minimize(parabola, [1.0], maxiter=3, gtol=0)
    assert (at_minimum.status, at_minimum.nit) == (0, 0)
    forever = fg.minimize(parabola, [1.0], maxiter=3, gtol=-1)
    assert (forever.status, forever.nit, forever.x.tolist()) == (1, 3, [1.0])
    assert forever.message == "stopped after maxiter iterations"


def test_maxiter_zero_evaluates_where_it_starts():
    res = fg.minimize(rosenbrock, STARTS, in_axes=0, maxiter=0, record="path")
    assert_same_bits(res.x, STARTS)
    np.testing.assert_allclose(res.fun, [rosenbrock(x) for x in STARTS], rtol=1e-13)
    np.testing.assert_allclose(res.jac, [rosenbrock_gradient(x) for x in STARTS], rtol=1e-12, atol=1e-12)
    assert (res.nit == 0).all()
    assert (res.status == 1).all()
    assert res.history.x.shape == (1, *STARTS.shape)
    assert_same_bits(res.history.x[0], STARTS)


def test_values_and_gradients_are_those_of_the_final_points():
    res = fg.minimize(rosenbrock, STARTS, in_axes=0, maxiter=77)
    value, gradient = fg.vmap(fg.value_and_grad(rosenbrock))(res.x)
    assert_same_bits(res.fun, value)
    assert_same_bits(res.jac, gradient)


# ---- the result


def test_a_batch_is_indexed_by_instance_and_knows_its_best():
    res = fg.minimize(rosenbrock, STARTS, in_axes=0, maxiter=50, record="path")
    assert len(res) == 40
    assert "40 instances" in repr(res)
    one = res[7]
    assert_same_bits(one.x, res.x[7])
    assert (one.fun, one.nit, one.status) == (res.fun[7], res.nit[7], res.status[7])
    assert_same_bits(one.history.x, res.history.x[:, 7])
    assert_same_bits(one.history.fun, res.history.fun[:, 7])
    assert res.best.fun == res.fun.min()
    some = res[res.fun > np.median(res.fun)]
    assert len(some) == 20
    assert res[-1].fun == res.fun[-1]
    single = fg.minimize(rosenbrock, STARTS[7], maxiter=50)
    assert single.best is single
    assert "fun=" in repr(single)
    for use in (len, lambda r: r[0]):
        with pytest.raises(TypeError, match="single problem"):
            use(single)
    with pytest.raises(IndexError):
        res[40]


@pytest.mark.parametrize(
    ("record", "every", "has_path"), [("fun", 1, False), ("path", 1, True), (1, 1, True), (7, 7, True)]
)
@pytest.mark.parametrize("batch", [3, 40])
def test_history_holds_every_kth_iteration_and_nan_after_an_instance_stopped(record, every, has_path, batch):
    x0 = 1 + np.logspace(0, -5, batch)[:, None] * [1, -1]
    settings = {"method": "gd", "learning_rate": 0.2, "in_axes": 0, "gtol": 1e-4, "maxiter": 100}
    res = fg.minimize(parabola, x0, record=record, **settings)
    history = res.history
    assert history.nit.tolist() == list(range(0, res.nit.max() + 1, every))
    assert history.fun.shape == (len(history.nit), batch)
    assert (history.x is not None) == has_path
    alive = history.nit[:, None] <= res.nit
    assert (np.isnan(history.fun) == ~alive).all()
    if has_path:
        assert (np.isnan(history.x[..., 0]) == ~alive).all()
        np.testing.assert_allclose(history.fun[alive], ((history.x - 1) ** 2).sum(-1)[alive], rtol=1e-12)
        np.testing.assert_allclose(
            history.x[1], 1 + (x0 - 1) * np.where(alive[1], 0.6**every, np.nan)[:, None], rtol=1e-12
        )
    plain = fg.minimize(parabola, x0, **settings)
    assert plain.history is None
    assert_same_bits(plain.x, res.x)  # recording changes nothing
    assert (plain.nit == res.nit).all()


# ---- what it must not depend on


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("method", ["gd", "momentum", "adam"])
def test_an_instance_gives_the_same_bits_among_any_others(method, dtype, threads, isa):
    x0 = np.random.default_rng(2).uniform(-1, 1, (1000, 3)).astype(dtype)
    settings = {"method": method, "learning_rate": {"adam": 0.05}.get(method, 5e-4), "maxiter": 120, "gtol": 0.5}
    threads(1)
    right = fg.minimize(rosenbrock, x0, in_axes=0, **settings)
    assert len(set(right.nit.tolist())) > 10  # lanes stop and are refilled at different times
    for n in (2, 3):
        threads(n)
        again = fg.minimize(rosenbrock, x0, in_axes=0, **settings)
        for a, b in [(again.x, right.x), (again.fun, right.fun), (again.jac, right.jac), (again.nit, right.nit)]:
            np.testing.assert_array_equal(a, b)
    order = np.random.default_rng(3).permutation(1000)
    np.testing.assert_array_equal(fg.minimize(rosenbrock, x0[order], in_axes=0, **settings).x, right.x[order])
    for n in (1, 2, 17, 130):
        np.testing.assert_array_equal(fg.minimize(rosenbrock, x0[:n], in_axes=0, **settings).x, right.x[:n])
    for i in (0, 500, 999):
        one = fg.minimize(rosenbrock, x0[i], **settings)
        assert_same_bits(one.x, right.x[i])
        assert (one.nit, one.status) == (right.nit[i], right.status[i])


def wall(x):
    return np.sqrt(x[0]) + np.sum(x[1:] ** 2)  # NaN for x[0] < 0


@pytest.mark.parametrize("batch", [1, 20, 300])
def test_an_instance_that_becomes_nan_disturbs_no_other_and_keeps_its_best_point(batch):
    x0 = np.tile([1.5, 0.2], (batch, 1))
    rates = np.full(batch, 0.01)
    bad = batch // 2
    x0[bad], rates[bad] = [4.0, 0.2], 1.1  # x[0] falls below 0; meanwhile x[1] swings ever wider
    settings = {"method": "gd", "in_axes": 0, "maxiter": 30}
    res = fg.minimize(wall, x0, learning_rate=rates, record="path", **settings)
    assert res.status[bad] == 2
    assert not res.success[bad]
    path = res.history.x[: res.nit[bad] + 1, bad]
    values = np.array([wall(x) if x[0] > 0 else np.nan for x in path])
    assert np.isnan(values[-1]) or not np.isfinite(res.history.fun[res.nit[bad], bad])
    best = path[np.nanargmin(values)]
    assert 0 < np.nanargmin(values) < res.nit[bad] - 1
    assert_same_bits(res.x[bad], best)
    assert np.isfinite(res.fun[bad])
    assert "not finite" in res.message
    if batch > 1:
        others = np.arange(batch) != bad
        clean = fg.minimize(wall, x0[others], learning_rate=0.01, **settings)
        assert_same_bits(res.x[others], clean.x)
        assert (res.status[others] == clean.status).all()
        assert res.best.status != 2


@pytest.mark.parametrize("x0", [np.nan, -1.0, np.inf])
def test_a_start_that_is_not_finite_stops_at_once_and_stays(x0):
    res = fg.minimize(wall, [x0, 0.0], maxiter=10)
    assert (res.status, res.nit) == (2, 0)
    np.testing.assert_array_equal(res.x, [x0, 0.0])
    assert math.isnan(res.fun) or math.isinf(res.fun)
    batch = fg.minimize(wall, [[x0, 0.0]] * 3, in_axes=0, maxiter=10)
    assert batch.status.tolist() == [2] * 3
    assert "3 stopped where" in batch.message
    assert "best" in repr(batch)


def test_a_value_that_is_not_finite_is_never_called_converged():
    for record in (None, "fun"):  # the gradient is 0 and the value infinite
        res = fg.minimize(lambda x: np.sqrt(x[0]), [np.inf], record=record)
        assert (res.status, res.fun) == (2, np.inf)


def test_a_descent_that_overflows_ends_with_a_status():
    res = fg.minimize(lambda x: -np.sum(np.exp(x)), [1.0], method="gd", learning_rate=10.0, maxiter=10_000)
    assert res.status == 2
    assert np.isfinite(res.x).all()
    assert np.isfinite(res.fun)


def test_a_constant_function_has_converged_where_it_starts():
    res = fg.minimize(lambda x: 3.0, STARTS, in_axes=0, record="fun")
    assert res.success.all()
    assert (res.nit == 0).all()
    assert_same_bits(res.x, STARTS)
    np.testing.assert_array_equal(res.history.fun, np.full((1, 40), 3.0))


# ---- progress, signals, memory


def test_progress_without_tqdm_is_a_line_on_standard_error(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    fg.minimize(rosenbrock, STARTS, in_axes=0, maxiter=10, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "minimize: 40 of 40" in err
    assert err.endswith("\n")
    with pytest.raises(ValueError, match="learning_rate"):
        fg.minimize(rosenbrock, STARTS, in_axes=0, learning_rate=-1, progress=True)


def test_progress_with_tqdm_counts_instances(monkeypatch):
    bars = []

    class Bar:
        def __init__(self, total, **settings):
            self.total, self.done, self.is_closed = total, 0, False
            bars.append(self)

        def update(self, n):
            self.done += n

        def close(self):
            self.is_closed = True

    tqdm = pytest.importorskip("tqdm.auto")
    monkeypatch.setattr(tqdm, "tqdm", Bar)
    x0 = np.tile(STARTS, (50, 1))
    fg.minimize(rosenbrock, x0, in_axes=0, maxiter=300, progress=True)
    assert [(bar.total, bar.done, bar.is_closed) for bar in bars] == [(2000, 2000, True)]


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import fastgrad as fg
from fastgrad import _core

def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

fg.set_num_threads(2)
x0 = np.random.default_rng(0).uniform(-1, 1, (int(sys.argv[1]), 2))
settings = dict(learning_rate=1e-4, gtol=-1, progress=sys.argv[2] == "bar")
right = fg.minimize(rosenbrock, x0[0], maxiter=100).x
before = _core.live_memory()
sent = []

def send():
    time.sleep(0.3)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=send).start()
try:
    fg.minimize(rosenbrock, x0, in_axes=0, maxiter=10**9, **settings)
except KeyboardInterrupt:
    late = time.perf_counter() - sent[0]
assert late < 0.5, late
assert _core.live_memory() == before, (_core.live_memory(), before)
assert (fg.minimize(rosenbrock, x0[0], maxiter=100).x == right).all()
print("done")
"""


@pytest.mark.parametrize(("batch", "bar"), [(1, "no"), (1000, "no"), (50, "bar")])
def test_ctrl_c_stops_a_long_descent_and_the_next_call_works(batch, bar):
    process = in_fresh_process(INTERRUPTED, batch, bar)
    assert process.stdout == "done\n", process.stderr


def test_an_error_in_the_progress_report_stops_the_descent_and_is_raised(monkeypatch):
    def fail(self, done):
        raise OSError("the pipe is broken")

    monkeypatch.setattr("fastgrad._progress.Progress.__call__", fail)
    before = _core.live_memory()
    with pytest.raises(OSError, match="pipe"):
        fg.minimize(rosenbrock, STARTS, in_axes=0, maxiter=10**9, gtol=-1, learning_rate=1e-4, progress=True)
    assert _core.live_memory() == before


def test_calls_leave_no_memory_behind():
    def use():
        fg.minimize(rosenbrock, STARTS, in_axes=0, maxiter=5, record="path")
        fg.minimize(wall, [0.1, 1.0], method="gd", learning_rate=0.9, maxiter=5)
        with pytest.raises(ValueError, match="learning_rate"):
            fg.minimize(rosenbrock, STARTS, in_axes=0, learning_rate=-1)

    use()
    before = _core.live_memory()
    for _ in range(20):
        use()
    assert _core.live_memory() == before


def test_recording_changes_no_result():
    settings = {"method": "gd", "learning_rate": 0.25, "maxiter": 5000}
    plain = fg.minimize(lambda x: np.sum(x**2), [1e200], **settings)
    recorded = fg.minimize(lambda x: np.sum(x**2), [1e200], record="fun", **settings)
    assert plain.status == recorded.status == 0
    assert plain.x == recorded.x


def test_float32_points_descend_on_float64_data():
    res = fg.minimize(
        lambda x, k: np.sum((x - k) ** 2), np.ones(2, np.float32), (0.1,), record="fun", learning_rate=0.1
    )
    assert res.x.dtype == res.fun.dtype == res.history.fun.dtype == np.float32
    assert_allclose(res.x, 0.1, atol=1e-4)


def test_a_selection_of_no_instances_is_a_result():
    res = fg.minimize(lambda x: np.sum(x**2), np.ones((3, 2)), in_axes=0, maxiter=0)
    none = res[res.success]
    assert len(none) == 0
    assert repr(none) == "Result of no instances"
    with pytest.raises(ValueError, match="no instances"):
        _ = none.best


@pytest.mark.parametrize("record", [2**63, np.array([1, 2]), 1.5, True])
def test_records_that_are_no_interval_are_named(record):
    with pytest.raises(ValueError, match="record"):
        fg.minimize(lambda x: np.sum(x**2), np.ones(2), record=record)
