"""The searches as plain NumPy, one instance at a time, and traced, many at once."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize
from searching import descend, start_of

import fastgrad as fg
from fastgrad._searches import LBFGS, Backtracking, Bounds, Limits, State
from fastgrad._statuses import (
    CONVERGED,
    NO_PROGRESS,
    NON_FINITE,
    OUT_OF_EVALUATIONS,
    OUT_OF_ITERATIONS,
    SMALL_CHANGE,
    SMALL_STEP,
)

METHODS = [LBFGS(), LBFGS(memory=1), Backtracking()]
PROBLEMS = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "mgh.py"))["PROBLEMS"]
SOLVED = [p for p in PROBLEMS if p.name.split()[0] not in {"3", "10", "14", "17", "20", "23"}]

each_method = pytest.mark.parametrize("method", METHODS, ids=str)


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def bowl(x):
    """Value and gradient of a quadratic whose minimum is at 1, 2, ..."""
    i = np.arange(1, len(x) + 1)
    return np.sum(i * (x - i) ** 2), 2 * i * (x - i)


def uphill(x):
    """A gradient that points uphill: no step can be found."""
    value, gradient = bowl(x)
    return value, -gradient


# ---- minima


def test_lbfgs_solves_published_problems_with_as_few_evaluations_as_scipy():
    ratios = []
    for problem in SOLVED:
        function = fg.value_and_grad(problem.fun)
        state, status, points = descend(LBFGS(), function, problem.start, ftol=2.2e-9)
        assert status in (CONVERGED, SMALL_CHANGE), problem.name
        assert problem.solved_by(state.fun), problem.name
        assert state.fun == function(state.x)[0]
        options = {"gtol": 1e-6, "ftol": 2.2e-9}
        peer = optimize.minimize(function, problem.start, jac=True, method="L-BFGS-B", options=options)
        if problem.solved_by(peer.fun):
            ratios.append(len(points) / peer.nfev)
    assert len(ratios) >= 25
    assert np.median(ratios) <= 1.0
    assert np.mean(ratios) <= 1.1


@each_method
def test_minima_of_quadratics(method):
    state, status, points = descend(method, bowl, np.zeros(7), gtol=1e-9)
    assert status == CONVERGED
    assert state.optimality == np.abs(bowl(state.x)[1]).max() <= 1e-9
    assert state.nfev == len(points)
    assert np.allclose(state.x, np.arange(1, 8), rtol=0, atol=1e-8)
    assert state.fun == bowl(state.x)[0]
    assert np.array_equal(state.jac, bowl(state.x)[1])


def test_backtracking_solves_smooth_problems():
    for name in ("5 Beale", "25 variably dimensioned", "30 Broyden, tridiagonal", "35 Chebyquad, 8"):
        (problem,) = [p for p in PROBLEMS if p.name == name]
        state, status, _ = descend(Backtracking(), fg.value_and_grad(problem.fun), problem.start, gtol=1e-5)
        assert status == CONVERGED, name
        assert problem.solved_by(state.fun), name


def test_single_precision():
    solved = 0
    for problem in SOLVED:
        state, _, _ = descend(LBFGS(), fg.value_and_grad(problem.fun), problem.start, dtype=np.float32, gtol=1e-3)
        solved += problem.solved_by(problem.fun(state.x.astype(float)), 1e-4)
    assert solved >= len(SOLVED) - 2


@pytest.mark.parametrize("scale", [1e-12, 1e25])
def test_squares_that_single_precision_cannot_hold(scale):
    def scaled(x):
        value, gradient = bowl(x.astype(float))
        return scale * value, scale * gradient

    state, _, _ = descend(LBFGS(), scaled, np.zeros(3), dtype=np.float32, gtol=1e-4 * scale)
    assert scaled(state.x)[0] < 1e-3 * scaled(np.zeros(3))[0]


def test_values_lost_in_rounding_do_not_stop_the_search():
    """Near the minimum of a function with a large constant only the slopes tell where it is."""
    state, status, _ = descend(LBFGS(), lambda x: (1e8 + bowl(x)[0], bowl(x)[1]), np.zeros(5), gtol=1e-7)
    assert status == CONVERGED
    assert state.optimality <= 1e-7


# ---- when to stop


@each_method
def test_each_criterion_stops(method):
    function = fg.value_and_grad(rosenbrock)
    start = np.array([-1.2, 1.0, 0.5])
    state, status, points = descend(method, function, start, gtol=-1, maxiter=5)
    assert (status, state.nit) == (OUT_OF_ITERATIONS, 5)
    state, status, points = descend(method, function, start, maxiter=0)
    assert (status, state.nit, len(points)) == (OUT_OF_ITERATIONS, 0, 1)
    for maxfev in range(1, 12):
        state, status, points = descend(method, function, start, maxfev=maxfev)
        assert (status, state.nfev, len(points)) == (OUT_OF_EVALUATIONS, maxfev, maxfev)
        assert state.fun == function(state.x)[0] <= function(start)[0]
    state, status, _ = descend(method, function, start, ftol=1e-2, gtol=-1)
    assert status == SMALL_CHANGE
    state, status, _ = descend(method, function, start, xtol=1e-2, gtol=-1)
    assert status == SMALL_STEP
    assert state.step <= 1e-2 * (1e-2 + np.linalg.norm(state.x))
    state, status, points = descend(method, bowl, np.array([1.0, 2.0, 3.0]), gtol=-1)
    assert (status, len(points)) == (CONVERGED, 1)


@each_method
def test_without_a_lower_point_the_start_is_given_back(method):
    state, status, points = descend(method, uphill, np.zeros(3))
    assert (status, state.nit) == (NO_PROGRESS, 0)
    assert np.array_equal(state.x, np.zeros(3))
    assert len(points) <= 1 + method.maxls


@each_method
@pytest.mark.parametrize(("value", "slope"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan), (1.0, -np.inf)])
def test_a_start_that_is_not_finite(method, value, slope):
    state, status, points = descend(method, lambda x: (value, np.array([1.0, slope])), np.ones(2))
    assert (status, state.nit, len(points)) == (NON_FINITE, 0, 1)
    assert np.array_equal(state.x, np.ones(2))


# ---- where the function is not finite


@each_method
@pytest.mark.parametrize("outside", [(np.nan, np.nan), (np.inf, 0.0), (-np.inf, 0.0), (0.0, np.nan), (-1.0, np.inf)])
def test_regions_that_are_not_finite_are_backtracked_from(method, outside):
    def barrier(x):
        if (x <= 0.0).any():
            return outside[0], np.full(3, outside[1])
        return np.sum(x - 1e-2 * np.log(x)), 1.0 - 1e-2 / x

    state, status, points = descend(method, barrier, np.full(3, 5.0))
    assert (points <= 0.0).any()
    assert status == CONVERGED
    assert np.allclose(state.x, 1e-2, rtol=1e-4)


def test_a_search_stays_below_a_share_that_was_not_finite():
    def wall(x):
        inside = x[0] < 3.0
        return (-x[0], np.array([-1.0])) if inside else (np.nan, np.array([np.nan]))

    state, _, points = descend(LBFGS(), wall, np.zeros(1), maxfev=60)
    first = np.flatnonzero(points[:, 0] >= 3.0)[0]
    next_step = first + 1 + np.flatnonzero(points[first + 1 :, 0] >= points[first, 0])
    assert next_step.size == 0 or next_step[0] > first + 3
    assert state.x[0] < 3.0
    assert state.x[0] > 2.5


# ---- bounds


def boxes():
    rng = np.random.default_rng(3)
    for k in range(12):
        n = 20
        axes = np.linalg.qr(rng.normal(size=(n, n)))[0]
        matrix = (axes * np.logspace(0, 1 + k % 3, n)) @ axes.T
        shift = rng.normal(size=n) * 10
        lower, upper = -rng.uniform(0, 1, n), rng.uniform(0, 1, n)
        lower[:3], upper[3:6] = -np.inf, np.inf
        yield (
            lambda x, A=matrix, b=shift: 0.5 * x @ (A @ x) - b @ x,
            np.clip(rng.normal(size=n), lower, upper),
            lower,
            upper,
        )
    inf = np.inf
    for start, lower, upper in (
        ([-2.0, 1.0], [-inf, -1.5], [inf, inf]),  # Hock & Schittkowski's problems 1 and 2
        ([-2.0, 1.5], [-inf, 1.5], [inf, inf]),
        ([-1.2, 1.0], [-2.0, -2.0], [0.5, 2.0]),
    ):
        yield rosenbrock, *map(np.array, (start, lower, upper))
    yield lambda x: x[1] + 1e-5 * (x[1] - x[0]) ** 2, *map(np.array, ([10.0, 1.0], [-inf, 0.0], [inf, inf]))  # 3
    yield lambda x: (x[0] + 1) ** 3 / 3 + x[1], *map(np.array, ([1.125, 0.125], [1.0, 0.0], [inf, inf]))  # 4
    yield (
        lambda x: np.sin(x[0] + x[1]) + (x[0] - x[1]) ** 2 - 1.5 * x[0] + 2.5 * x[1] + 1,  # 5
        *map(np.array, ([0.0, 0.0], [-1.5, -3.0], [4.0, 3.0])),
    )
    yield lambda x: 2 - np.prod(x) / 120, np.array([1.0, 2, 2, 2, 2]), np.zeros(5), np.arange(1.0, 6.0)  # 45


@pytest.mark.parametrize("method", [LBFGS(), Backtracking()], ids=str)
def test_minima_within_bounds_are_those_of_scipy(method):
    ratios = []
    for fun, start, lower, upper in boxes():
        function = fg.value_and_grad(fun)
        state, status, points = descend(method, function, start, (lower, upper), maxfev=2000)
        peer = optimize.minimize(
            function,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([lower, upper], 1),
            options={"gtol": 1e-6, "ftol": 0},
        )
        assert ((lower <= points) & (points <= upper)).all()
        assert state.fun - peer.fun <= 1e-6 * max(1, abs(peer.fun))
        assert state.optimality == np.abs(np.clip(-state.jac, lower - state.x, upper - state.x)).max()
        if isinstance(method, LBFGS):
            assert status == CONVERGED
            assert abs(state.fun - peer.fun) <= 1e-6 * max(1, abs(peer.fun))
            ratios.append(len(points) / peer.nfev)
    assert not ratios or np.median(ratios) <= 1.1


@each_method
def test_fixed_variables_never_move(method):
    start = np.array([0.1, 0.3, 0.7])
    lower, upper = np.array([-5.0, 0.3, 0.0]), np.array([5.0, 0.3, 2.0])
    state, status, points = descend(method, bowl, start, (lower, upper))
    assert status == CONVERGED
    assert (points[:, 1] == 0.3).all()
    assert np.allclose(state.x, [1.0, 0.3, 2.0])
    state, status, points = descend(method, bowl, start, (start, start))
    assert (status, len(points)) == (CONVERGED, 1)


@each_method
def test_rounding_does_not_leave_the_bounds(method):
    rng = np.random.default_rng(0)
    for _ in range(30):
        lower, upper = np.sort(rng.normal(size=(2, 4)).astype(np.float32), axis=0)
        start = np.clip(rng.normal(size=4).astype(np.float32), lower, upper)
        state, _, points = descend(method, bowl, start, (lower, upper), np.float32, gtol=1e-4)
        assert ((lower <= points) & (points <= upper)).all()
        assert np.allclose(state.x, np.clip([1, 2, 3, 4], lower, upper), atol=1e-4)


# ---- traced


@each_method
@pytest.mark.parametrize("bounds", [None, ([-2.0, -2.0, -2.0], [0.5, 2.0, np.inf])])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_traced_step_is_the_step(method, bounds, dtype):
    names = list(method.shapes(3))
    function = fg.value_and_grad(rosenbrock)
    limits = Limits(*np.array([40, 100, 1e-3, -1, -1], dtype))

    def step(*fields):
        box = None if bounds is None else Bounds(*(np.array(bound, dtype) for bound in bounds))
        state, stop = method.advance(State(**dict(zip(names, fields, strict=True))), function, limits, box)
        return [*(getattr(state, name) for name in names), stop]

    traced = fg.vmap(step)
    starts = np.random.default_rng(1).uniform(-1.5, 0.5, (6, 3)).astype(dtype)
    states = [start_of(method, start, dtype) for start in starts]
    fields = [np.stack([getattr(state, name) for state in states]) for name in names]
    for _ in range(25):
        before = fields
        *fields, stops = traced(*fields)
        assert {field.dtype for field in fields} == {np.dtype(dtype)}
        for i in range(len(starts)):
            with np.errstate(all="ignore"):
                expected = step(*(field[i] for field in before))
            assert stops[i] == expected[-1]
            for name, field, value in zip(names, fields, expected[:-1], strict=True):
                if name in ("x", "fun", "jac", "nit", "nfev", "optimality", "step", "tries"):
                    tolerance = 1e-9 if dtype == np.float64 else 2e-3
                    assert np.allclose(field[i], value, rtol=tolerance, atol=tolerance), name
        fields = [
            np.where(stops.reshape(-1, *[1] * (now.ndim - 1)) > 0, old, now)
            for old, now in zip(before, fields, strict=True)
        ]


# ---- settings


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LBFGS(memory=0), "memory must be a whole number of at least 1, got 0"),
        (lambda: LBFGS(maxls=1.5), "maxls must be a whole number of at least 1, got 1.5"),
        (lambda: LBFGS(c1=0.95), "c1 must lie between 0 and 0.9, got 0.95"),
        (lambda: LBFGS(c2=1.0), "c2 must lie between 0.001 and 1, got 1.0"),
        (lambda: Backtracking(learning_rate=0.0), "learning_rate must be positive and finite, got 0.0"),
        (lambda: Backtracking(shrink=1.0), "shrink must lie between 0 and 1, got 1.0"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
