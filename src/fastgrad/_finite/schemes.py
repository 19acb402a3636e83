"""Difference schemes: derivatives along lines of points, by real or complex steps, and mixed second derivatives.

Lines are those of `lines.py`: a derivative is always that of a function of one number.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import _core
from ..stencils import coefficients
from . import steps
from .calls import Calls
from .lines import Coordinates, Limits, clipped

_SHORTENED = 16  # steps that tell whether a function is analytic, each a quarter of the one before


class Scheme:
    """A stencil with integer numerators over one denominator: Σ numerators f(t + offset h) / (denominator h^order).

    Attributes
    ----------
    order : int
        Of the derivative.
    offsets, numerators : tuple of int
        Ascending, without those of weight zero.
    denominator : int
        Of all weights.
    reach : int
        How far it goes to one side, in steps.
    """

    def __init__(self, order: int, accuracy: int, is_central: bool) -> None:
        offsets, weights = coefficients(order, accuracy, "central" if is_central else "forward")
        self.order = order
        self.denominator = math.lcm(*(weight.denominator for weight in weights))
        used = [(o, int(weight * self.denominator)) for o, weight in zip(offsets, weights, strict=True) if weight]
        self.offsets, self.numerators = (tuple(numbers) for numbers in zip(*used, strict=True))
        self.reach = max(abs(self.offsets[0]), self.offsets[-1])
        self.centre = self.offsets.index(0) if 0 in self.offsets else -1
        self.moving = [k for k, offset in enumerate(self.offsets) if offset]
        self.moves = np.array([[self.offsets[k]] for k in self.moving], np.float64)
        self.span = self.offsets[-1] - self.offsets[0]
        self._is_pair = self.numerators == (-1, 1)

    def combined(self, values: np.ndarray, f0: np.ndarray | None, span: np.ndarray) -> np.ndarray:
        """The derivatives (N, m) from the values where t moves, at t itself, and how far apart (N,) the ends are."""
        with np.errstate(all="ignore"):
            if self._is_pair:
                total = values[-1] - (values[0] if f0 is None else f0)
            else:
                total = 0.0 if f0 is None else self.numerators[self.centre] * f0
                for k, value in zip(self.moving, values, strict=True):
                    total = total + self.numerators[k] * value
            if self.order == 1 and self.span == self.denominator:
                return total / span[:, None]
            return total / (self.denominator * (span / self.span) ** self.order)[:, None]


scheme_of = functools.cache(Scheme)
"""The scheme of a derivative: order, accuracy, and whether it is central, else from t onwards."""


# ---- derivatives along lines


def differences(
    lines: Any, h: np.ndarray, order: int, accuracy: int, is_central: bool, limits: Limits
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives (N, m) along lines, and the steps that were taken."""
    if limits is None:
        return _difference(lines, h, scheme_of(order, accuracy, is_central), None, None), h
    if not len(h):
        return np.empty((0, lines.calls.known().size)), h
    value, taken = np.empty(0), np.empty(len(h))
    for scheme, part_h, which in fitted(lines.t, h, order, accuracy, is_central, limits):
        derivative = _difference(lines, part_h, scheme, which, limits)
        if not value.size:
            value = np.empty((len(h), derivative.shape[1]))
        value[which], taken[which] = derivative, part_h
    return value, taken


def plain_gradient(calls: Calls, x: np.ndarray, is_central: bool) -> np.ndarray:
    """What `differences` give for a scalar function, by SciPy's steps and without bounds, bit by bit.

    All that schemes and lines can do takes as long as three calls of a small function.
    """
    points, span = _core.plain_points(x, calls.eps ** (1 / 3 if is_central else 0.5), is_central)
    return _core.plain_slopes(calls.values(points), calls.f0[0], span)


def fitted(
    t: np.ndarray, h: np.ndarray, order: int, accuracy: int, is_central: bool, limits: tuple[np.ndarray, np.ndarray]
) -> list[tuple[Scheme, np.ndarray, np.ndarray]]:
    """Schemes that stay within the limits, their steps, and for which lines."""
    aside = scheme_of(order, accuracy, False)
    if not is_central:
        return [(aside, steps.one_sided(t, h, aside.reach, limits), np.arange(len(t)))]
    central = scheme_of(order, accuracy, True)
    h, is_aside = steps.two_sided(t, h, central.reach, aside.reach, limits)
    parts = [(central, np.flatnonzero(~is_aside)), (aside, np.flatnonzero(is_aside))]
    return [(scheme, h[which], which) for scheme, which in parts if len(which)]


def _difference(lines: Any, h: np.ndarray, scheme: Scheme, which: np.ndarray | None, limits: Limits) -> np.ndarray:
    t = lines.t if which is None else lines.t[which]
    with np.errstate(all="ignore"):  # of t that is not finite, or nearly
        places = (t + scheme.moves * h).astype(t.dtype, copy=False)
    if limits is not None:
        places = clipped(places, (limits[0][which], limits[1][which]))
    with np.errstate(all="ignore"):  # the distance as rounding has left it; then the function may write into the points
        span = places[-1] - (t if scheme.centre == 0 else places[0])
    if scheme.centre < 0:
        values, f0 = lines.values(places, which), None
    elif lines.is_one_point:
        values, f0 = lines.values(places, which), lines.calls.f0
    else:
        values = lines.values(np.concatenate([places, t[None]]), which)
        values, f0 = values[:-1], values[-1]
    return scheme.combined(values, f0, span)


def complex_step(lines: Any, h: np.ndarray, limits: Limits) -> np.ndarray:
    """Derivatives Im f(t + ih) / h: no difference, so no cancellation; for functions analytic in t.

    Raises a ValueError where real differences tell that the function is not analytic.
    """
    places = lines.t + 1j * h
    try:
        values = lines.values(places[None], None)[0]
    except TypeError as error:
        raise TypeError(f"fun cannot take complex x: {error}\n  cure: method='3-point' or 'adaptive'") from error
    with np.errstate(all="ignore"):
        derivative = values.imag / h[:, None]
    check_analytic(lines, derivative, limits)
    return derivative


@functools.lru_cache(maxsize=8)
def _mixed(n: int) -> np.ndarray:
    """Shares of a step, up and down, whose changes hardly ever cancel."""
    rng = np.random.default_rng(0)
    shares = rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 1.0, n)
    shares.flags.writeable = False
    return shares


def check_analytic(lines: Any, derivative: np.ndarray, limits: Limits) -> None:
    """Compare with real differences: of all coordinates at once, in random directions, or line by line.

    Far from zero, real steps may be as long as a period of the function, and where the slope vanishes all that they see
    is curvature. So where they disagree shorter ones follow. It is enough that one of those agrees that is not lost in
    rounding, or that what they miss falls faster than the step, twice.
    """
    calls: Calls = lines.calls
    t, is_at_once = lines.t, isinstance(lines, Coordinates)
    far = np.abs(t) if lines.far is None else lines.far
    h = steps.relative(calls.eps, (-1, 0, 1), 1) * np.maximum(1.0, np.where(np.isfinite(far), far, 1.0))
    is_far = bool((far > 1).any())  # so that much curvature may hide a slope
    if is_at_once:
        h = h * _mixed(len(t))
    f0 = calls.f0 if lines.is_one_point else lines.values(t[None], None)[0]
    is_fine, is_off, fallen, missed = np.False_, np.False_, np.zeros(1), np.full(1, np.nan)
    for shortened in range(_SHORTENED):
        with np.errstate(all="ignore"):
            part = h / 4.0**shortened
            places = clipped(np.stack([t - part, t + part]).astype(t.dtype, copy=False), limits)
            moves = (places - t).astype(np.float64)
        low, high = calls.values(places) if is_at_once else lines.values(places, None)
        with np.errstate(all="ignore"):
            if is_at_once:
                expected, scale = moves @ derivative, np.abs(moves) @ np.abs(derivative)
                condition = far @ np.abs(derivative)
            else:
                expected = moves[:, :, None] * derivative
                scale, condition = np.abs(expected), far[:, None] * np.abs(derivative)
            miss = np.abs((high - low) - (expected[1] - expected[0]))
            bend = np.abs((high - f0) + (low - f0))  # kinks and curvature
            noise = calls.eps * (1e3 * (np.abs(f0) + np.abs(low) + np.abs(high)) + 2 * condition)
            allowed = 1e-3 * (scale[0] + scale[1]) + noise
            is_seen = noise < 0.1 * np.maximum(scale[0] + scale[1], np.abs(high - low))
            fallen = np.where(miss < missed / 8, fallen + 1, 0)
            agrees, differs = ~(miss > allowed), miss > allowed + bend
            if shortened:
                agrees, differs = agrees & is_seen | (fallen == 2), differs & is_seen
        is_fine, is_off, missed = is_fine | agrees, is_off | differs, miss
        if not np.any(~is_fine & is_seen & (is_off | is_far)):
            break
    if np.any(is_off & ~is_fine):
        raise ValueError(
            "fun is not analytic: its derivative by method='cs' is not that of real differences, as after np.abs,"
            " np.conj, a real part or a comparison of complex numbers\n  cure: method='3-point' or 'adaptive'"
        )


# ---- second derivatives


def hessian(
    calls: Calls, x: np.ndarray, h: np.ndarray, is_central: bool, limits: Limits
) -> tuple[np.ndarray, np.ndarray]:
    """Second derivatives (n, n) of a scalar function, and the steps that were taken.

    Central, n² + n + 1 points: f(±h_i), f(±h_j), ±(h_i, h_j). Forward, (n² + 3n) / 2 + 1. Components whose bounds are
    too near for the central stencil have the one-sided one of the same accuracy, in products with those of the others.
    """
    n = len(x)
    if is_central:
        far = scheme_of(2, 2, False).reach
        is_aside = np.zeros(n, bool)
        h = np.abs(h)
        if limits is not None:
            h, is_aside = steps.two_sided(x, h, 1, far, limits)
    else:
        is_aside = np.zeros(n, bool)
        if limits is not None:
            h = steps.one_sided(x, h, 2, limits)
    evaluate = _Moves(calls, x, h, limits)
    value = np.empty((n, n))
    first, second = np.triu_indices(n, 1)
    every = np.arange(n)
    with np.errstate(all="ignore"):
        taken = (x + h).astype(x.dtype).astype(np.float64) - x
    if not is_central:
        pairs = evaluate([(every, 1, every, 0), (every, 2, every, 0), (first, 1, second, 1)])
        one, two, both = pairs
        f0 = calls.known()[0]
        with np.errstate(all="ignore"):
            value[every, every] = (two - 2 * one + f0) / taken**2
            value[first, second] = (both - one[first] - one[second] + f0) / (taken[first] * taken[second])
        value[second, first] = value[first, second]
        return value, h
    aside, inner = np.flatnonzero(is_aside), np.flatnonzero(~is_aside)
    mixed = is_aside[first] | is_aside[second]
    plain = first[~mixed], second[~mixed]
    (
        up,
        down,
        ahead,
        behind,
    ) = evaluate(
        [(inner, 1, inner, 0), (inner, -1, inner, 0), (plain[0], 1, plain[1], 1), (plain[0], -1, plain[1], -1)]
    )
    f0 = calls.known()[0]
    axis = np.full((2, n), np.nan)
    axis[0, inner], axis[1, inner] = up, down
    with np.errstate(all="ignore"):
        value[inner, inner] = (up - 2 * f0 + down) / taken[inner] ** 2
        i, j = plain
        corners = ahead - axis[0, i] - axis[0, j] + 2 * f0 - axis[1, i] - axis[1, j] + behind
        value[i, j] = corners / (2 * taken[i] * taken[j])
    if len(aside):
        second_scheme = scheme_of(2, 2, False)
        samples = evaluate([(aside, offset, aside, 0) for offset in second_scheme.offsets[1:]])
        with np.errstate(all="ignore"):
            total = second_scheme.numerators[0] * f0 + sum(
                w * s for w, s in zip(second_scheme.numerators[1:], samples, strict=True)
            )
            value[aside, aside] = total / (second_scheme.denominator * taken[aside] ** 2)
        _products(evaluate, value, taken, is_aside, first[mixed], second[mixed])
    value[second, first] = value[first, second]
    return value, h


def _products(
    evaluate: _Moves, value: np.ndarray, taken: np.ndarray, is_aside: np.ndarray, first: np.ndarray, second: np.ndarray
) -> None:
    """Mixed derivatives by products of two stencils of first derivatives."""
    for i_aside, j_aside in ((True, True), (True, False), (False, True)):
        chosen = (is_aside[first] == i_aside) & (is_aside[second] == j_aside)
        i, j = first[chosen], second[chosen]
        a, b = scheme_of(1, 2, not i_aside), scheme_of(1, 2, not j_aside)
        terms = [
            (v * w, (i, o, j, p))
            for o, v in zip(a.offsets, a.numerators, strict=True)
            for p, w in zip(b.offsets, b.numerators, strict=True)
        ]
        samples = evaluate([term for _, term in terms])
        with np.errstate(all="ignore"):
            total = sum(w * sample for (w, _), sample in zip(terms, samples, strict=True))
            value[i, j] = total / (a.denominator * b.denominator * taken[i] * taken[j])


class _Moves:
    """Values of a scalar function where two components have moved by multiples of their steps."""

    def __init__(self, calls: Calls, x: np.ndarray, h: np.ndarray, limits: Limits) -> None:
        self.calls, self.x, self.h, self.limits = calls, x, h, limits

    def __call__(self, moves: list[tuple[np.ndarray, int, np.ndarray, int]]) -> list[np.ndarray]:
        """For each (i, a, j, b) the values at x + a h_i e_i + b h_j e_j; j is ignored where b is 0."""
        n = len(self.x)
        i = np.concatenate([move[0] for move in moves])
        j = np.concatenate([move[2] for move in moves])
        a = np.concatenate([np.full(len(move[0]), move[1]) for move in moves])
        b = np.concatenate([np.full(len(move[0]), move[3]) for move in moves])
        out = np.empty(len(i))
        block = len(i) if self.calls.is_vectorized else max(1, self.calls.block // max(n, 1))
        for start in range(0, len(i), max(block, 1)):
            part = slice(start, start + block)
            points = np.repeat(self.x[None], len(i[part]), axis=0)
            rows = np.arange(len(points))
            moved = b[part] != 0
            with np.errstate(all="ignore"):
                points[rows, i[part]] += (a[part] * self.h[i[part]]).astype(self.x.dtype)
                points[rows[moved], j[part][moved]] += (b[part] * self.h[j[part]])[moved].astype(self.x.dtype)
            out[part] = self.calls.values(clipped(points, self.limits))[:, 0]
        return np.split(out, np.cumsum([len(move[0]) for move in moves])[:-1])


def complex_hessian(calls: Calls, x: np.ndarray, h: np.ndarray, imaginary: np.ndarray, limits: Limits) -> np.ndarray:
    """Second derivatives: differences in one component of complex steps in the other; n² + n points, or half more."""
    n = len(x)
    value = np.empty((n, n))
    everywhere = np.full(n, -np.inf), np.full(n, np.inf)
    for scheme, part_h, moving in fitted(x, h, 1, 2, True, limits or everywhere):
        rank = np.full(n, -1)
        rank[moving] = np.arange(len(moving))
        i, j = (pair.ravel() for pair in np.meshgrid(np.arange(n), moving, indexing="ij"))
        # one of the two components makes the complex step; both would do where their schemes are the same
        chosen = (rank[i] < 0) | (i <= j)
        i, j = i[chosen], j[chosen]
        if scheme.centre < 0:  # those with one-sided partners have been done, or will be
            i, j = i[rank[i] >= 0], j[rank[i] >= 0]
        step = part_h[rank[j]]
        rows = np.arange(len(i))
        points = np.repeat(x.astype(np.complex128)[None], len(scheme.offsets) * len(i), axis=0)
        points = points.reshape(len(scheme.offsets), len(i), n)
        points[:, rows, i] += 1j * imaginary[i]
        for k, offset in enumerate(scheme.offsets):
            with np.errstate(all="ignore"):
                points[k, rows, j] += offset * step
        values = calls.values(points.reshape(-1, n)).reshape(len(scheme.offsets), len(i)).imag
        with np.errstate(all="ignore"):
            total = np.tensordot(np.array(scheme.numerators, np.float64), values, 1)
            value[i, j] = total / (scheme.denominator * step * imaginary[i])
        value[j, i] = value[i, j]
    return value
