"""The Levenberg-Marquardt method, one evaluation at a time, in plain NumPy for one instance.

`LM.advance` is traced together with the cost of the residuals, its gradient and Gauss and Newton's matrix
(_compiler/gauss_newton), and the program runs for blocks of instances: so nothing branches on values, and a matrix that
has no factor gives NaN. The method is that of Moré (1978): a step is the minimum of the quadratic model of the cost
within a radius, in units in which the matrix had at most ones in its diagonal so far; the damping keeps it there. Full
steps of Gauss and Newton are taken as soon as they fit, so convergence is quick where residuals are small.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ._statuses import (
    CONVERGED,
    NO_PROGRESS,
    NON_FINITE,
    OUT_OF_EVALUATIONS,
    OUT_OF_ITERATIONS,
    SMALL_CHANGE,
    SMALL_STEP,
)

ENOUGH = 1e-4  # of the predicted decrease: the step is taken
POOR, GOOD = 0.25, 0.75  # of the predicted decrease: the radius shrinks, and grows
NOISE = 8.0  # times eps: differences between values that mean nothing
FLATTER = 0.8  # of the squared gradient: progress, where values show none
CLOSE = 0.1  # how far the length of a step may be from the radius, in units of it
NEWTON_STEPS = 2  # to that length: with one less, hard problems more often end elsewhere


class State(NamedTuple):
    """Of one instance, between evaluations."""

    x: Any  # accepted point, cost and gradient there
    fun: Any
    jac: Any
    nit: Any
    nfev: Any
    optimality: Any
    step: Any
    trial: Any  # the point to evaluate next
    predicted: Any  # by how much the model of the cost falls there; infinite when no step was found
    hessian: Any  # Gauss and Newton's matrix at x
    scale: Any  # its largest diagonal so far
    slope: Any  # square of the scaled gradient's length
    radius: Any  # within which the model is trusted, as a scaled length
    damping: Any  # that kept the trial inside it


@dataclasses.dataclass(frozen=True)
class LM:
    """Levenberg-Marquardt, for sums of squares.

    Parameters
    ----------
    factor : float, optional
        The first step is at most this many times as long as x0, each component in its own unit.
    """

    factor: float = 1.0
    results: ClassVar[tuple[str, ...]] = ("hessian",)  # of the state, beside what all searches give

    def __post_init__(self) -> None:
        if not 0 < self.factor < np.inf:
            raise ValueError(f"factor must be positive and finite, got {self.factor!r}")

    def shapes(self, n: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the fields of the state, for n variables."""
        vectors = dict.fromkeys(("x", "jac", "trial", "scale"), (n,))
        return {name: (n, n) if name == "hessian" else vectors.get(name, ()) for name in State._fields}

    def advance(
        self, state: State, evaluate: Callable[[Any], tuple[Any, Any, Any]], limits: Any, bounds: Any
    ) -> tuple[State, Any]:
        """Evaluate the trial point, take it or not, and choose the next one.

        Returns the next state, and zero to go on or one more than a status.
        """
        old, eps = state, float(np.finfo(state.x.dtype).eps)
        first = old.nfev == 0
        point = np.where(first, old.x, old.trial)
        value, gradient, hessian = evaluate(point)

        # Is it better? Below the noise of the values the gradient tells.
        finite = np.isfinite(value + np.sum(gradient) + np.sum(np.diagonal(hessian)))
        noise = NOISE * eps * old.fun
        resolved = np.abs(old.predicted) > noise
        decrease = old.fun - value
        ratio = decrease / np.abs(old.predicted)
        slope = np.sum(_free(gradient, point, bounds) ** 2 / _units(old.scale))
        flatter = (slope < FLATTER * old.slope) & (decrease >= -noise)
        better = ~first & finite & np.where(resolved, ratio > ENOUGH, flatter)
        accept = first | better
        change = point - old.x
        length = np.sqrt(np.sum(change**2))
        scaled = np.sqrt(np.sum(_units(old.scale) * change**2))

        x, fun, jac, hessian = (
            np.where(accept, new, before)
            for new, before in zip(
                (point, value, gradient, hessian), (old.x, old.fun, old.jac, old.hessian), strict=True
            )
        )
        nit, nfev = old.nit + better, old.nfev + 1
        scale = np.maximum(old.scale, np.diagonal(hessian))
        units = _units(scale)
        downhill = _free(jac, x, bounds)
        slope = np.sum(downhill**2 / units)
        tried = np.minimum(scaled, 1.5 * old.radius)  # bounds and rounding may make a step longer
        tried = np.where(old.predicted < np.inf, tried, old.radius)
        shrunk = np.where(finite, 0.5 * tried, 0.25 * tried)
        grown = np.where((ratio >= GOOD) | (old.damping <= eps), 2 * scaled, old.radius)
        radius = np.where(resolved & finite & (ratio > POOR), grown, np.where(better & ~resolved, old.radius, shrunk))
        across = np.sqrt(np.sum(units * x**2))
        radius = np.where(first, self.factor * np.where(across > 0, across, np.sqrt(slope)), radius)

        # criteria, the last that holds counts
        projected = jac if bounds is None else np.clip(jac, x - bounds.upper, x - bounds.lower)
        optimality = np.max(np.abs(projected))
        ftol = np.maximum(limits.ftol, eps)
        small = (limits.xtol > 0) & (length < limits.xtol * (limits.xtol + np.sqrt(np.sum(old.x**2))))
        at_end = ~accept & (~resolved | (radius * np.sqrt(slope) <= noise))
        at_end = at_end & (
            (limits.ftol > 0) | (old.damping > eps) | (scaled == 0)
        )  # else a shorter step may be flatter
        is_exact = at_end & finite & (limits.ftol >= 0)
        is_small = (limits.ftol > 0) & (~resolved | ((decrease < ftol * old.fun) & (ratio > POOR)))
        stop = np.where(at_end, 1 + NO_PROGRESS, np.zeros((), x.dtype))
        for holds, status in (
            ((limits.maxfev >= 0) & (nfev >= limits.maxfev), OUT_OF_EVALUATIONS),
            ((limits.maxiter >= 0) & (nit >= limits.maxiter), OUT_OF_ITERATIONS),
            (~first & finite & small & (old.predicted < np.inf), SMALL_STEP),
            (is_exact | (better & is_small), SMALL_CHANGE),
            (optimality <= limits.gtol, CONVERGED),
            (first & ~finite, NON_FINITE),
        ):
            stop = np.where(holds, 1 + status, stop)

        # the next trial
        matrix = hessian if bounds is None else _among(downhill != 0, hessian, units)
        towards, damping = _within(matrix, downhill, units, radius, old.damping, np.sqrt(slope), eps)
        exists = np.isfinite(np.sum(towards))
        trial = x + np.where(exists, towards, 0)
        if bounds is not None:  # what meets a bound stays there, and the others move once more, knowing that
            clipped = np.clip(trial, bounds.lower, bounds.upper)
            free = (clipped == trial) & (downhill != 0)
            rest = np.where(free, downhill + hessian @ np.where(free, 0, clipped - x), 0)
            towards = _solved(_factor(_among(free, hessian, units), units, damping), rest)
            trial = np.where(free & np.isfinite(towards), x + towards, clipped)
            trial = np.clip(trial, bounds.lower, bounds.upper)
        towards = trial - x
        predicted = -(jac @ towards) - 0.5 * (towards @ (hessian @ towards))
        predicted = np.where(exists, predicted, np.inf)
        step = np.where(better, length, old.step)
        new = State(x, fun, jac, nit, nfev, optimality, step, trial, predicted, hessian, scale, slope, radius, damping)
        return new, stop


def _units(scale: Any) -> Any:
    """What squares of steps are weighted by; variables that the residuals do not depend on, by one."""
    return np.where(scale > 0, scale, 1)


def _free(gradient: Any, point: Any, bounds: Any) -> Any:
    """The gradient, without components of a point at a bound that it could only leave."""
    if bounds is None:
        return gradient
    return np.where(np.where(gradient > 0, point > bounds.lower, point < bounds.upper), gradient, 0)


def _among(free: Any, matrix: Any, units: Any) -> Any:
    """The matrix for steps of these variables alone."""
    return np.where(free[:, None] & free, matrix, np.diag(units))


def _factor(matrix: Any, units: Any, damping: Any) -> Any:
    return np.linalg.cholesky(matrix + np.eye(len(units), dtype=units.dtype) * (units * damping))


def _solved(factor: Any, gradient: Any) -> Any:
    return -np.linalg.solve(factor.T, np.linalg.solve(factor, gradient))


def _within(
    matrix: Any, gradient: Any, units: Any, radius: Any, before: Any, steepness: Any, eps: float
) -> tuple[Any, Any]:
    """The step to the minimum of a quadratic model within a radius, and its damping: none, or what Newton steps find.

    Newton's method for the reciprocal of the length comes from below, and starts where the damping was `before`.
    """

    def step(damping: Any) -> tuple[Any, Any, Any]:
        factor = _factor(matrix, units, damping)
        towards = _solved(factor, gradient)
        square = np.sum(units * towards**2)
        long = np.sqrt(square) / radius - 1
        bend = np.sum(np.linalg.solve(factor, units * towards) ** 2)
        return towards, long, damping + square / bend * long

    most = steepness / radius
    _, long, newton = step(eps)
    fits = long <= CLOSE
    failed = ~np.isfinite(long)
    least = np.where(failed, eps, np.maximum(newton, eps))
    most = np.maximum(most, least)
    guess = np.where(failed, np.maximum(before, 1e-3 * most), before)
    damping = np.where(fits, eps, np.clip(guess, least, most))
    for _ in range(NEWTON_STEPS):
        _, long, newton = step(damping)
        better = np.where(np.isfinite(long), np.clip(newton, least, most), most)
        damping = np.where(fits | (np.abs(long) <= CLOSE), damping, better)
    return step(damping)[0], damping


def covariance(hessian: Any) -> Any:
    """Inverse of Gauss and Newton's matrix; infinite where that is singular, as far as rounding lets one see."""
    n, eps = len(hessian), float(np.finfo(hessian.dtype).eps)
    diagonal = np.diagonal(hessian)
    units = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
    factor = np.linalg.cholesky(hessian * units[:, None] * units)
    inverse = np.linalg.solve(factor, np.eye(n, dtype=hessian.dtype))
    is_regular = np.min(np.diagonal(factor)) ** 2 > n * eps
    return np.where(is_regular, (inverse.T @ inverse) * units[:, None] * units, np.inf)
