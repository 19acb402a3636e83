"""The update rules against other libraries' trajectories; what goes with a step; when it stops, and how it goes on."""

import numpy as np
import pytest
from helpers import assert_same_bits
from reference_trajectories import REFERENCES, START, STEPS

import fastgrad as fg
from fastgrad import _core, _statuses
from fastgrad._compiler.autodiff import value_and_gradient
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.simplify import Simplifier
from fastgrad._compiler.substitute import trace
from fastgrad.methods import METHODS
from fastgrad.transform import Arguments


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def waves(x):
    return np.sum(np.sin(3 * x) + 0.1 * x**2) + 0.5 * np.tanh(x[0] * x[1] - x[2]) + np.log1p(np.sum((x - 1) * (x - 1)))


def bowl(x):
    return np.sum(x**2)


FUNCTIONS = {"rosenbrock": rosenbrock, "waves": waves}
CASES = {
    "gd": fg.GD(1e-3),
    "momentum": fg.Momentum(5e-4),
    "nesterov": fg.Nesterov(5e-4),
    "adagrad": fg.Adagrad(0.1),
    "adagrad_all": fg.Adagrad(0.2, learning_rate_decay=0.01, initial_accumulator_value=0.5, epsilon=1e-6),
    "rmsprop": fg.RMSprop(0.01),
    "rmsprop_momentum": fg.RMSprop(1e-3, alpha=0.95, momentum=0.8),
    "rmsprop_centered": fg.RMSprop(2e-3, alpha=0.97, epsilon=1e-3, centered=True),
    "rmsprop_both": fg.RMSprop(1e-3, alpha=0.95, epsilon=1e-4, momentum=0.5, centered=True),
    "adam": fg.Adam(0.02),
    "amsgrad": fg.AMSGrad(0.05, beta1=0.8, beta2=0.9),
    "adamw": fg.AdamW(0.02, weight_decay=0.1),
    "nadam": fg.NAdam(0.02),
    "nadam_decay": fg.NAdam(0.01, beta1=0.85, beta2=0.99, momentum_decay=0.05, weight_decay=0.2),
    "rprop": fg.Rprop(0.01),
    "rprop_all": fg.Rprop(0.02, eta_minus=0.4, eta_plus=1.3, step_min=1e-4, step_max=0.1),
    "clip_value": fg.Momentum(2e-3, momentum=0.5, clip_value=0.7),
    "clip_norm": fg.Momentum(0.01, momentum=0.5, clip_norm=1.5),
    "lion": fg.Lion(0.01),
    "lion_decay": fg.Lion(0.02, beta1=0.8, beta2=0.95, weight_decay=0.1),
}
RATES = {"adagrad": 0.5, "adam": 0.05, "amsgrad": 0.05, "nadam": 0.05, "lion": 0.02, "rmsprop": 0.02, "rprop": 0.02}
RULES = sorted(_core.updates())


def program_of(fun, x0):
    """The machine's program of value and gradient for rows like those of `x0`."""
    builder, leaves = Simplifier(), Arguments((x0,), {}, (0,), (0,)).leaves_to_trace()
    return compile_graph(value_and_gradient(trace(fun, leaves, "fun", builder), [0]), [True]).program


def descend(fun, x0, method, maxiter, *, every=0, gtol=-1.0, in_place=False, **options):
    """The machine's own call: a dict of all that it fills."""
    batch, size = x0.shape
    number = _core.updates()[method.rule][0]
    rates, schedule = fg.schedules.split(method.learning_rate, maxiter)
    rows = maxiter // every + 1 if every else 0
    result = {"x": x0 if in_place else np.empty_like(x0)}
    for name, shape in [("fun", ()), ("norm", ()), ("step", ()), ("path", (size,))]:
        result[name] = np.full((rows, batch, *shape), np.nan, x0.dtype) if every else None
    result["nit"], result["outcome"], result["occupancy"] = program_of(fun, x0).descend(
        number, batch, [x0], maxiter=maxiter, gtol=gtol, learning_rate=np.array(rates, np.float64, ndmin=1),
        schedule=schedule, record_every=every, **method.options(), **options, **result,
    )  # fmt: skip
    return result


def of_rule(rule, **settings):
    """A method by the name of its rule, with a learning rate that suits the functions above."""
    return METHODS[rule](RATES.get(rule, 5e-4), **settings)


# ---- trajectories


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("case", CASES)
def test_the_path_is_that_of_other_libraries(case, function, isa):
    found = descend(FUNCTIONS[function], np.tile(START, (3, 1)), CASES[case], 100, every=1)
    for row in range(3):
        np.testing.assert_allclose(found["path"][STEPS, row], REFERENCES[case, function], rtol=1e-12)


def test_every_rule_has_a_reference_and_a_name():
    assert {method.rule for method in CASES.values()} == set(RULES)
    assert {case for case, _ in REFERENCES} == set(CASES)
    assert {kind.rule for kind in METHODS.values()} == set(RULES)
    assert list(METHODS) == [
        "gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "amsgrad", "adamw", "nadam", "lion", "rprop",
    ]  # fmt: skip
    for name, kind in METHODS.items():
        assert len(kind().settings()) == _core.updates()[kind.rule][1]
        assert_same_bits(
            fg.minimize(waves, START, method=name, maxiter=5).x, fg.minimize(waves, START, method=kind(), maxiter=5).x
        )


@pytest.mark.parametrize("case", CASES)
def test_the_path_in_single_precision_stays_near(case, isa):
    x0 = np.random.default_rng(1).uniform(-1, 1, (20, 4))
    wide, narrow = (descend(waves, x0.astype(dtype), CASES[case], 10)["x"] for dtype in (np.float64, np.float32))
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, wide, atol=1e-4)


# ---- what goes with a step


@pytest.mark.parametrize("rule", RULES)
def test_weight_decay_shrinks_the_point_before_the_step(rule):
    x0 = np.random.default_rng(2).normal(size=(40, 3))
    found = descend(lambda x: 0.0 * np.sum(x), x0, of_rule(rule, weight_decay=0.3), 50)
    np.testing.assert_allclose(found["x"], x0 * (1 - of_rule(rule).learning_rate * 0.3) ** 50, rtol=1e-13)


@pytest.mark.parametrize("batch", [1, 40])
def test_the_gradient_is_clipped_by_value_and_then_by_norm(batch):
    x0 = np.random.default_rng(3).normal(size=(batch, 5))
    for value, norm in [(0.5, None), (None, 0.7), (0.9, 1.1), (100.0, 100.0)]:
        found = descend(bowl, x0, fg.GD(0.1, clip_value=value, clip_norm=norm), 7)
        x = x0.copy()
        for _ in range(7):
            g = np.clip(2 * x, -(value or np.inf), value or np.inf)
            length = np.linalg.norm(g, axis=1, keepdims=True)
            x = x - 0.1 * g * np.minimum(1, (norm or np.inf) / (length + 1e-6))
        np.testing.assert_allclose(found["x"], x, rtol=1e-13)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch", [1, 70])
def test_nothing_is_evaluated_outside_the_bounds(rule, batch):
    def fun(x):  # not finite outside
        return np.sum(np.sqrt(x + 1) + np.sqrt(1 - x)) + 3 * np.sin(5 * x[0]) * x[1] + 0.0 * x[2]

    rng = np.random.default_rng(4)
    x0 = rng.uniform(-2, 2, (batch, 4))
    middle = rng.uniform(-0.5, 0.5, (batch, 4))
    own = np.maximum(middle - 0.4, -0.9), np.minimum(middle + 0.4, 0.9)
    own[0][:, 2] = own[1][:, 2] = 0.25  # fixed
    shared = np.array([-0.9, -0.5, 0.25, 0.0]), np.array([0.9, 0.5, 0.25, 0.75])
    for lower, upper in (own, shared):
        method = of_rule(rule, weight_decay=0.1)
        found = descend(fun, x0, method, 60, every=1, lower=lower, upper=upper)
        assert (found["outcome"] == _statuses.OUT_OF_ITERATIONS).all()
        path = found["path"]
        assert ((path >= lower) & (path <= upper)).all()
        assert_same_bits(path[0], np.clip(x0, lower, upper))
        assert (path[..., 2] == 0.25).all()
        assert ((path == lower) | (path == upper))[..., [0, 1, 3]].any()


@pytest.mark.parametrize("batch", [1, 33])
def test_inside_bounds_gtol_looks_at_the_projected_gradient(batch):
    x0 = np.tile([2.0, 3.0, -1.0], (batch, 1))
    lower, upper = np.array([1.0, -np.inf, -np.inf]), np.array([np.inf, np.inf, -0.5])
    found = descend(bowl, x0, fg.GD(0.25), 200, every=1, lower=lower, upper=upper, gtol=1e-6)
    assert (found["outcome"] == _statuses.CONVERGED).all()
    np.testing.assert_allclose(found["x"], np.tile([1, 0, -0.5], (batch, 1)), atol=1e-6)
    last = found["nit"][0]
    g = 2 * found["path"][: last + 1, 0]
    inside = np.clip(g, found["path"][: last + 1, 0] - upper, found["path"][: last + 1, 0] - lower)
    assert_same_bits(found["norm"][: last + 1, 0], np.abs(inside).max(-1))
    free = descend(bowl, x0, fg.GD(0.25), 30, gtol=1e-3)
    wide = descend(bowl, x0, fg.GD(0.25), 30, gtol=1e-3, lower=np.full(3, -np.inf), upper=np.full(3, np.inf))
    assert_same_bits(free["x"], wide["x"])
    assert free["nit"].tolist() == wide["nit"].tolist()


def test_a_gradient_that_is_not_finite_at_a_bound_is_not_convergence():
    found = descend(lambda x: np.sum(np.sqrt(x)), np.zeros((1, 1)), fg.GD(0.1), 9, lower=np.zeros(1), upper=np.ones(1))
    assert found["outcome"] == _statuses.NON_FINITE


def test_the_schedule_goes_by_an_instances_own_iteration():
    x0 = np.random.default_rng(5).normal(size=(400, 2))
    found = descend(bowl, x0, fg.GD(fg.schedules.cosine(0.3, 20, end=0.1)), 300, gtol=1e-3)
    assert len(set(found["nit"].tolist())) > 5
    rates = fg.schedules.cosine(0.3, 20, end=0.1)(np.arange(301))
    factors = np.concatenate([[1.0], np.cumprod(1 - 2 * rates)])
    for i in range(0, 400, 13):
        np.testing.assert_allclose(found["x"][i], x0[i] * factors[found["nit"][i]], rtol=1e-12)
    own = fg.schedules.step(np.linspace(0.1, 0.4, 400), 2)
    each = descend(bowl, x0, fg.GD(own), 5)["x"]
    np.testing.assert_allclose(each, x0 * np.prod(1 - 2 * own(np.arange(5)), axis=0)[:, None], rtol=1e-12)
    calls = descend(bowl, x0, fg.GD(lambda t: 0.1 / (1 + t)), 5)["x"]
    np.testing.assert_allclose(calls, x0 * np.prod(1 - 0.2 / (1 + np.arange(5))), rtol=1e-12)


# ---- stopping, recording


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("batch", "dtype"), [(1, np.float64), (300, np.float64), (300, np.float32)])
def test_small_changes_and_small_steps_stop_an_instance(rule, batch, dtype):
    x0 = np.random.default_rng(6).uniform(-1, 1, (batch, 3)).astype(dtype)
    for tolerances in ({"ftol": 1e-3}, {"xtol": 3e-3}, {"ftol": 3e-4, "xtol": 3e-3}):
        ftol, xtol = tolerances.get("ftol", -1), tolerances.get("xtol", -1)
        method = of_rule(rule) if rule in RATES else METHODS[rule](0.01)
        free = descend(waves, x0, method, 80, every=1)
        f, x, step = (free[name].astype(float) for name in ("fun", "path", "step"))
        small_change = abs(f[:-1] - f[1:]) <= ftol * np.maximum(np.maximum(abs(f[:-1]), abs(f[1:])), 1)
        small_step = (xtol >= 0) & (step[1:] <= xtol * (xtol + np.linalg.norm(x[1:], axis=-1)))
        stops = small_change | small_step
        nit = np.where(stops.any(0), stops.argmax(0) + 1, 80)
        found = descend(waves, x0, method, 80, **tolerances)
        near = np.mean(found["nit"] != nit)  # where a comparison hangs on rounding
        assert near <= (0.02 if dtype == np.float32 else 0)
        for i in np.flatnonzero(found["nit"] == nit):
            t = nit[i] - 1
            right = (
                _statuses.SMALL_CHANGE if small_change[t, i] else _statuses.SMALL_STEP if small_step[t, i]
                else _statuses.OUT_OF_ITERATIONS
            )  # fmt: skip
            if dtype == np.float64:
                assert found["outcome"][i] == right
            assert_same_bits(found["x"][i], free["path"][nit[i], i])
    assert (nit < 80).any() or rule == "lion"


def test_no_instance_stops_before_it_made_a_step():
    found = descend(lambda x: 0.0 * np.sum(x), np.ones((3, 2)), fg.GD(0.1), 9, ftol=0.0, xtol=0.0)
    assert found["nit"].tolist() == [1] * 3
    assert found["outcome"].tolist() == [_statuses.SMALL_CHANGE] * 3


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("batch", [1, 50])
def test_the_history_holds_norms_and_step_lengths(batch, every):
    x0 = np.random.default_rng(7).uniform(-1, 1, (batch, 3))
    one = descend(rosenbrock, x0, fg.Adam(0.05), 40, every=1, gtol=2.0)
    some = descend(rosenbrock, x0, fg.Adam(0.05), 40, every=every, gtol=2.0)
    for name in ("fun", "norm", "step", "path"):
        assert_same_bits(one[name][::every], some[name])
    alive = np.arange(41)[:, None] <= one["nit"]
    assert (np.isnan(one["norm"]) == ~alive).all()
    assert (np.isnan(one["step"]) == ~alive).all()
    gradients = np.stack([fg.vmap(fg.grad(rosenbrock))(x) for x in one["path"]])
    np.testing.assert_array_equal(one["norm"], abs(gradients).max(-1))
    assert (one["step"][0] == 0).all()
    lengths = np.linalg.norm(np.diff(one["path"], axis=0), axis=-1)
    np.testing.assert_allclose(one["step"][1:], lengths, rtol=1e-12)


# ---- what it must not depend on

EVERYTHING = {"clip_value": 3.0, "clip_norm": 4.0, "weight_decay": 0.05}


def with_everything(rule, rate):
    return METHODS[rule](fg.schedules.warmup(fg.schedules.cosine(rate, 30, end=0.2), 5), **EVERYTHING)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rule", RULES)
def test_an_instance_gives_the_same_bits_alone_and_on_any_number_of_threads(rule, dtype, threads, isa):
    rng = np.random.default_rng(8)
    x0 = rng.uniform(-1.5, 1.5, (500, 3)).astype(dtype)
    rates = RATES.get(rule, 5e-3) * rng.uniform(0.5, 2, 500)
    lower = np.full((500, 3), -1, dtype)
    upper = rng.uniform(0, 1, (500, 3)).astype(dtype)
    settings = {"every": 10, "gtol": 0.05, "ftol": 1e-5, "xtol": 1e-5}
    threads(1)
    right = descend(waves, x0, with_everything(rule, rates), 90, lower=lower, upper=upper, **settings)
    assert len(set(right["nit"].tolist())) > 5
    names = ("x", "nit", "outcome")
    for n in (2, 3):
        threads(n)
        again = descend(waves, x0, with_everything(rule, rates), 90, lower=lower, upper=upper, **settings)
        for name in (*names, "fun", "norm", "step", "path"):
            np.testing.assert_array_equal(again[name], right[name])
    for part in ([0], [17], [499], [5, 3], list(range(100, 140))):
        few = descend(
            waves, x0[part], with_everything(rule, rates[part]), 90, lower=lower[part], upper=upper[part], **settings
        )
        for name in names:
            np.testing.assert_array_equal(few[name], right[name][part])
        for name in ("fun", "norm", "step", "path"):
            np.testing.assert_array_equal(few[name], right[name][:, part])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("batch", "dtype"), [(1, np.float64), (100, np.float64), (100, np.float32)])
def test_a_descent_goes_on_as_if_it_had_never_stopped(rule, batch, dtype, threads):
    threads(2)
    x0 = np.random.default_rng(9).uniform(-1.5, 1.5, (batch, 3)).astype(dtype)
    for method, more in [
        (of_rule(rule), {"gtol": 0.3}),
        (with_everything(rule, RATES.get(rule, 5e-3)),
         {"gtol": 0.1, "ftol": 1e-5, "xtol": 1e-5, "lower": np.full(3, -1, dtype), "upper": np.full(3, 0.9, dtype)}),
    ]:  # fmt: skip
        right = descend(waves, x0, method, 40, **more)
        for n in (1, 7):
            state = _core.Standing(_core.updates()[method.rule][0], batch, 3, x0.dtype)
            x, calls = x0.copy(), 0
            while (state.outcome == _statuses.RUNNING).any():
                before, nit, running = x.copy(), state.nit.copy(), state.outcome == _statuses.RUNNING
                descend(waves, x, method, 40, state=state, n_iterations=n, in_place=True, **more)
                calls += 1
                assert (state.nit - nit <= n).all()
                assert_same_bits(x[~running], before[~running])
            assert calls <= -(-40 // n) + 1
            assert_same_bits(x, right["x"])
            np.testing.assert_array_equal(state.nit, right["nit"])
            np.testing.assert_array_equal(state.outcome, right["outcome"])


def test_an_instance_that_a_caller_stops_stays_where_it_is():
    x = np.random.default_rng(10).normal(size=(5, 2))
    state = _core.Standing(0, 5, 2, x.dtype)
    descend(bowl, x, fg.GD(0.1), 9, state=state, n_iterations=3, in_place=True)
    assert state.nit.tolist() == [3] * 5
    np.testing.assert_allclose(state.step, 0.2 * np.linalg.norm(x, axis=1) / 0.8, rtol=1e-12)
    state.outcome[2] = _statuses.STOPPED
    before = x.copy()
    descend(bowl, x, fg.GD(0.1), 9, state=state, in_place=True)
    assert state.nit.tolist() == [9, 9, 3, 9, 9]
    assert state.outcome.tolist() == [1, 1, _statuses.STOPPED, 1, 1]
    assert_same_bits(x[2], before[2])
    np.testing.assert_allclose(x[0], before[0] * 0.8**6, rtol=1e-12)


def test_what_does_not_fit_is_refused():
    x = np.ones((5, 2))
    for settings, message in [
        ({"state": _core.Standing(0, 4, 2, x.dtype)}, "another descent"),
        ({"state": _core.Standing(1, 5, 2, x.dtype)}, "another descent"),
        ({"state": _core.Standing(0, 5, 2, np.dtype(np.float32))}, "another descent"),
        ({"state": _core.Standing(0, 5, 2, x.dtype), "keep_best": True}, "keep_best"),
        ({"state": _core.Standing(0, 5, 2, x.dtype), "n_iterations": -1}, "iterations"),
        ({"lower": np.zeros(2)}, "pairs"),
        ({"lower": np.zeros(3), "upper": np.ones(3)}, "contiguous"),
    ]:
        with pytest.raises(ValueError, match=message):
            descend(bowl, x, fg.GD(0.1), 9, **settings)
    state = _core.Standing(0, 5, 2, x.dtype)
    for nit in (-1, 10):
        state.nit[3] = nit
        with pytest.raises(ValueError, match="updates"):
            descend(bowl, x, fg.GD(0.1), 9, every=1, state=state)


def test_the_occupancy_is_the_share_of_lanes_that_work():
    x0 = np.random.default_rng(11).normal(size=(3, 2))
    assert descend(bowl, x0[:1], fg.GD(0.1), 9)["occupancy"] == 1
    assert descend(bowl, x0, fg.GD(0.1), 9)["occupancy"] == 3 / 16
    assert descend(bowl, np.tile(x0[:1], (16, 1)), fg.GD(0.1), 9)["occupancy"] == 1
    rates = np.full(3, 0.1)
    rates[0] = 0.5  # there in one step
    found = descend(bowl, x0, fg.GD(rates), 9)
    assert found["occupancy"] == 3 / 16
    found = descend(bowl, x0, fg.GD(rates), 9, gtol=0.0)
    assert found["nit"].tolist() == [1, 9, 9]
    assert found["occupancy"] == (2 + 10 + 10) / 160


# ---- settings


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fg.Nesterov(momentum=1.0), "momentum must be a finite number at least 0 and less than 1, got 1.0"),
        (lambda: fg.Adagrad(learning_rate_decay=-1), "learning_rate_decay must be .* not negative"),
        (lambda: fg.Adagrad(epsilon=np.inf), "epsilon must be a finite number"),
        (lambda: fg.RMSprop(alpha="a"), "alpha must be .*'a'"),
        (lambda: fg.RMSprop(centered=0.5), "centered must be True or False"),
        (lambda: fg.AMSGrad(beta2=1.0), "beta2"),
        (lambda: fg.AdamW(weight_decay=-0.1), "weight_decay must be .* not negative"),
        (lambda: fg.NAdam(momentum_decay=np.nan), "momentum_decay"),
        (lambda: fg.Lion(beta1=-0.1), "beta1"),
        (lambda: fg.Rprop(eta_minus=1.0), "eta_minus must be .* greater than 0 and less than 1"),
        (lambda: fg.Rprop(eta_plus=0.9), "eta_plus must be .* at least 1"),
        (lambda: fg.Rprop(step_min=0.0), "step_min must be .* greater than 0"),
        (lambda: fg.Rprop(step_min=2.0, step_max=1.0), "step_max"),
        (lambda: fg.GD(clip_value=0.0), "clip_value must be .* greater than 0, got 0.0; None clips nothing"),
        (lambda: fg.Adam(clip_norm=-1.0), "clip_norm"),
        (lambda: fg.GD(weight_decay=None), "weight_decay"),
    ],
)
def test_a_bad_setting_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_status_has_a_message():
    assert set(_statuses.MESSAGES) == {-1, *range(8)}
    assert _statuses.SUCCESSES == (0, 3, 4)
