"""The Levenberg-Marquardt step, driven one evaluation at a time."""

import importlib.util
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.optimize

import fastgrad as fg
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.gauss_newton import gauss_newton
from fastgrad._compiler.graph import inline
from fastgrad._compiler.simplify import Simplifier
from fastgrad._compiler.substitute import trace
from fastgrad._compiler.trace import Input, Traced
from fastgrad._levenberg import LM, State, covariance
from fastgrad._statuses import (
    CONVERGED,
    NO_PROGRESS,
    NON_FINITE,
    OUT_OF_EVALUATIONS,
    OUT_OF_ITERATIONS,
    SMALL_CHANGE,
    SMALL_STEP,
)


def nist():
    path = Path(__file__).parents[1] / "benchmarks" / "nist.py"
    spec = importlib.util.spec_from_file_location("nist", path)
    module = sys.modules.setdefault("nist", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module.load()


REGRESSIONS = {regression.name: regression for regression in nist()}


class Limits(NamedTuple):
    maxiter: Any = -1
    maxfev: Any = 2000
    gtol: Any = -1
    ftol: Any = -1
    xtol: Any = -1


class Bounds(NamedTuple):
    lower: Any
    upper: Any


class Fit:
    """A program that advances the fit of some residuals, and the loop around it."""

    def __init__(self, residuals, n, dtype=np.float64, method=None, is_bounded=False, loss="linear", f_scale=1.0):
        self.method, self.n, self.dtype = method or LM(), n, np.dtype(dtype)
        inner = trace(residuals, [Input((n,), dtype)], "residuals", Simplifier())
        sums = gauss_newton(inner, 0, loss, f_scale)

        def advance(leaves, limits, bounds):
            state, stop = self.method.advance(
                State(*leaves),
                lambda point: [Traced(y) for y in inline(sums, [point._node])],
                Limits(*limits),
                Bounds(*bounds) if is_bounded else None,
            )
            return *state, stop

        leaves = tuple([Input(shape, dtype) for shape in self.method.shapes(n).values()])
        limits, bounds = (Input((), dtype),) * 5, (Input((n,), dtype),) * 2
        self.compiled = compile_graph(trace(advance, [leaves, limits, bounds], "advance", Simplifier()))
        assert all(
            [given == made for given, made in zip(self.compiled.inputs, self.compiled.outputs[:-1], strict=False)]
        )

    def states(self, x0, lower=-np.inf, upper=np.inf, **limits):
        """Each state, with its status (-1 while it goes on)."""
        arrays = [np.zeros(shape, self.dtype) for shape in self.method.shapes(self.n).values()]
        arrays[0] = np.array(x0, self.dtype)
        limits = [np.array(x, self.dtype) for x in Limits(**limits)]
        bounds = [np.broadcast_to(x, self.n).astype(self.dtype) for x in (lower, upper)]
        while True:
            outputs = [np.empty(shape, dtype) for shape, dtype in self.compiled.outputs]
            self.compiled.program.run([*arrays, *limits, *bounds], outputs)
            arrays = outputs[:-1]
            yield State(*arrays), int(outputs[-1]) - 1
            if outputs[-1]:
                return

    def __call__(self, x0, **options):
        *_, last = self.states(x0, **options)
        return last


def rosenbrock(x):
    return np.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


TIMES = np.linspace(0, 4, 15)
DECAY = 3 * np.exp(-1.3 * TIMES) + 0.5 + 0.05 * np.sin(40 * TIMES)
OUTLIERS = DECAY + np.where(np.arange(15) % 5 == 2, 4.0, 0.0)


def decay(p):
    return p[0] * np.exp(-p[1] * TIMES) + p[2] - DECAY


def decay_with_outliers(p):
    return p[0] * np.exp(-p[1] * TIMES) + p[2] - OUTLIERS


def solution(residuals, x0, **options):
    options = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "x_scale": "jac", **options}
    return scipy.optimize.least_squares(residuals, x0, jac=fg.jacobian(residuals), **options)


# ---- the reference regressions


@pytest.mark.parametrize("name", REGRESSIONS)
def test_certified_parameters_from_both_starts(name):
    regression = REGRESSIONS[name]
    fit = Fit(regression.residuals, len(regression.certified))
    for start in regression.starts:
        state, status = fit(start, gtol=0, ftol=0, xtol=0)
        assert regression.digits(state.x) >= 6
        assert status in (CONVERGED, SMALL_CHANGE, SMALL_STEP, NO_PROGRESS)
        assert state.fun == pytest.approx(regression.sum_of_squares / 2, rel=1e-9, abs=1e-20)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_certified_standard_deviations(name):
    regression = REGRESSIONS[name]
    jacobian = fg.jacobian(regression.residuals)(regression.certified)
    freedom = len(regression.y) - len(regression.certified)
    inverse = fg.vmap(covariance)((jacobian.T @ jacobian)[None])[0]
    deviations = np.sqrt(np.diagonal(inverse) * regression.sum_of_squares / freedom)
    np.testing.assert_allclose(deviations, regression.deviations, rtol=1e-6)


def test_covariance_is_infinite_where_the_matrix_is_singular():
    good = np.array([[2.0, 1.0], [1.0, 3.0]])
    dependent, no_effect = np.ones((2, 2)), np.diag([1.0, 0.0])
    found = fg.vmap(covariance)(np.stack([good, dependent, no_effect, 1e-30 * good]))
    np.testing.assert_allclose(found[[0, 3]], np.linalg.inv(np.stack([good, 1e-30 * good])), rtol=1e-14)
    assert np.isinf(found[1:3]).all()


# ---- how it ends


def test_each_criterion_has_its_status():
    fit = Fit(rosenbrock, 2)
    start = [-1.2, 1.0]
    state, status = fit(start, gtol=1e-8)
    assert status == CONVERGED
    assert state.optimality <= 1e-8
    np.testing.assert_allclose(state.x, 1, rtol=1e-7)
    assert fit(start, maxiter=3)[1] == OUT_OF_ITERATIONS
    assert fit(start, maxiter=3)[0].nit == 3
    assert fit(start, maxfev=4)[1] == OUT_OF_EVALUATIONS
    assert fit(start, maxfev=4)[0].nfev == 4
    assert fit(start, xtol=1e-3)[1] == SMALL_STEP
    assert Fit(decay, 3)([1.0, 1.0, 0.0], ftol=1e-8)[1] == SMALL_CHANGE
    assert fit(start)[1] in (NO_PROGRESS, OUT_OF_EVALUATIONS)  # all criteria off


def test_ftol_and_xtol_mean_what_they_do_in_scipy():
    fit = Fit(decay, 3)
    for options in ({"ftol": 1e-3}, {"xtol": 1e-3}):
        states = list(fit.states([1.0, 1.0, 0.0], **options))
        (before, _), (after, status) = states[-2:]
        change, size = np.linalg.norm(after.x - before.x), np.linalg.norm(before.x)
        if "ftol" in options:
            assert status == SMALL_CHANGE
            assert 0 < before.fun - after.fun < 1e-3 * before.fun
        else:
            assert status == SMALL_STEP
            assert change < 1e-3 * (1e-3 + size)
            assert after.step == pytest.approx(change)
        assert all([status == -1 for _, status in states[:-1]])


def test_a_start_that_is_a_solution_stops_at_once():
    state, status = Fit(rosenbrock, 2)([1.0, 1.0], gtol=0)
    assert (status, state.nfev, state.nit) == (CONVERGED, 1, 0)


def test_the_cost_never_rises_and_the_first_state_is_the_start():
    start = [-1.2, 1.0]
    states = [state for state, _ in Fit(rosenbrock, 2).states(start, gtol=1e-10)]
    np.testing.assert_array_equal(states[0].x, start)
    assert states[0].fun == pytest.approx(0.5 * np.sum(rosenbrock(np.array(start)) ** 2))
    assert np.all(np.diff([state.fun for state in states]) <= 0)
    assert [state.nfev for state in states] == list(range(1, len(states) + 1))


def test_units_of_variables_and_residuals_make_no_difference():
    scale = np.array([2.0**20, 2.0**-30, 2.0**7])
    plain = list(Fit(decay, 3).states([1.0, 1.0, 0.5], gtol=-1, xtol=-1, ftol=1e-12))
    scaled = list(Fit(lambda p: 1024 * decay(p / scale), 3).states(scale * [1.0, 1.0, 0.5], ftol=1e-12))
    assert len(plain) == len(scaled)
    for (a, _), (b, _) in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(b.x / scale, a.x, rtol=1e-9)


def test_variables_without_effect_stay():
    state, status = Fit(lambda p: np.stack([p[0] - 3, 2 * p[0] - 5]), 2)([0.0, 7.0], ftol=1e-12)
    assert status == SMALL_CHANGE
    np.testing.assert_allclose(state.x, [2.6, 7.0], rtol=1e-12)


@pytest.mark.parametrize("factor", [0.0, -1.0, np.inf, np.nan])
def test_factor_must_be_positive(factor):
    with pytest.raises(ValueError, match="factor must be positive"):
        LM(factor=factor)


# ---- where there are no values


def test_a_start_without_a_value():
    state, status = Fit(lambda p: np.log(p), 2)([1.0, -1.0], gtol=1e-8)
    assert (status, state.nfev) == (NON_FINITE, 1)


def test_steps_into_nan_are_taken_back():
    fit = Fit(lambda p: np.sqrt(p) - 0.1, 1, method=LM(factor=100))  # a full step from 25 ends at -24
    states = list(fit.states([25.0], gtol=1e-12))
    assert any([state.trial[0] < 0 for state, _ in states])
    assert all([np.isfinite(state.fun) and state.x[0] >= 0 for state, _ in states])
    np.testing.assert_allclose(states[-1][0].x, 0.01, rtol=1e-6)


def test_no_value_but_at_the_start():
    state, status = Fit(lambda p: np.where(p == 1.0, p, np.nan), 1)([1.0], gtol=1e-8)
    assert status == NO_PROGRESS
    assert state.x == 1
    assert state.nfev < 100


# ---- bounds


@pytest.mark.parametrize("seed", range(12))
def test_bounds_hold_and_the_result_is_scipys(seed):
    rng = np.random.default_rng(seed)
    best = solution(decay, [1.0, 1.0, 0.0]).x
    lower, upper = best - rng.uniform(0.05, 1, 3), best + rng.uniform(0.05, 1, 3)
    for k in rng.permutation(3)[: rng.integers(1, 3)]:  # cuts the solution off
        lower[k] = best[k] + 0.02
        upper[k] = best[k] + 1
    start = rng.uniform(lower, upper)
    fit = Fit(decay, 3, is_bounded=True)
    states = list(fit.states(start, lower=lower, upper=upper, gtol=1e-9))
    for state, _ in states:
        for point in (state.x, state.trial):
            assert np.all((lower <= point) & (point <= upper))
    state, status = states[-1]
    assert status == CONVERGED
    expected = solution(decay, start, bounds=(lower, upper), max_nfev=500)
    assert state.fun <= expected.cost * (1 + 1e-6)
    np.testing.assert_allclose(state.x, expected.x, atol=2e-4)


def test_fixed_variables_and_infinite_bounds():
    lower, upper = [1.7, -np.inf, -np.inf], [1.7, np.inf, np.inf]
    state, status = Fit(decay, 3, is_bounded=True)([1.7, 1.0, 0.0], lower=lower, upper=upper, gtol=1e-10)
    assert status == CONVERGED
    assert state.x[0] == 1.7
    free = solution(lambda p: decay(np.stack([1.7, p[0], p[1]])), [1.0, 0.0])
    np.testing.assert_allclose(state.x[1:], free.x, rtol=1e-6)


def test_a_gradient_that_a_bound_holds_does_not_count():
    fit = Fit(lambda p: p - np.array([5.0, 1.0]), 2, is_bounded=True)
    state, status = fit([0.0, 0.0], lower=-1, upper=2, gtol=1e-12)
    assert status == CONVERGED
    np.testing.assert_allclose(state.x, [2.0, 1.0])
    assert state.optimality <= 1e-12
    assert state.jac[0] == -3


# ---- robust losses


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
@pytest.mark.parametrize("f_scale", [0.3, 1.0])
def test_losses_find_what_scipy_finds(loss, f_scale):
    start = [2.5, 1.0, 0.3]
    state, _ = Fit(decay_with_outliers, 3, loss=loss, f_scale=f_scale)(start, gtol=1e-10, ftol=1e-15)
    expected = solution(decay_with_outliers, start, loss=loss, f_scale=f_scale, method="trf", max_nfev=1000)
    assert state.fun == pytest.approx(expected.cost, rel=1e-6)
    np.testing.assert_allclose(state.x, expected.x, rtol=1e-5)


# ---- float32


@pytest.mark.parametrize("tolerance", [1e-8, 0.0])
def test_float32_ends_by_itself(tolerance):
    state, status = Fit(decay, 3, np.float32)([1.0, 1.0, 0.0], gtol=tolerance, ftol=tolerance, xtol=tolerance)
    assert status in (CONVERGED, SMALL_CHANGE, SMALL_STEP)
    assert state.nfev < 40
    np.testing.assert_allclose(state.x, solution(decay, [1.0, 1.0, 0.0]).x, rtol=2e-4)
    assert all([x.dtype == np.float32 for x in state])


@pytest.mark.parametrize("tolerance", [1e-8, 0.0, -1.0])
@pytest.mark.parametrize("name", ["MGH10", "Lanczos1", "ENSO", "Bennett5", "Misra1a"])
def test_float32_ends_on_hard_problems(name, tolerance):
    regression = REGRESSIONS[name]
    fit = Fit(regression.residuals, len(regression.certified), np.float32)
    for start in regression.starts:
        state, status = fit(start, gtol=tolerance, ftol=tolerance, xtol=tolerance)
        assert status in ((NO_PROGRESS,) if tolerance < 0 else (CONVERGED, SMALL_CHANGE, SMALL_STEP, NO_PROGRESS))
        assert np.isfinite(state.fun)
