"""Derivatives by extrapolation, with an error estimate for every component: `method="adaptive"`.

The idea is Richardson's [1]_: differences with steps h, 2h, ..., ph are a polynomial in h**2, plus what is left over;
extrapolated to h = 0, p of them leave an error of h**(2p). With the steps in fixed proportion the extrapolated value is
one fixed weighted sum of the values, and so is every coefficient of the Taylor polynomial through them (Lyness and
Moler [2]_): one small matrix gives them all, of all components at once.

The error comes from those coefficients, not from a tableau of further steps as in Ridders' method [3]_, which pays for
each column with two more calls. ``c[j]``, the j-th term at distance h, falls about geometrically once h is small
against the scale on which the function changes; the rate continues the sequence to the first term that the weights do
not remove. Terms below the rounding of the values say nothing and are left out. Rounding itself is taken as eps times
the values and the condition of the function, the sum of ``abs(x[j] * df/dx[j])``: what moving every argument by one
ulp does. Values that are all as short as those of single precision have its eps, whatever their dtype. What is not
covered are values that lose digits by cancellation that neither x nor the value shows. All this is `extrapolate.c`.

Truncation grows as h**q and rounding falls as h**-k, so both together say where the best step is. A component whose
estimate is within the tolerance after one level is done: 2p calls. The others go on with that step, as far as it helps;
of what two steps find, the smaller estimate counts, but where they clearly contradict each other the shorter step.
Values that are rounded to fewer digits than they show look like lines over short steps: what a later level finds
without any terms has to be found again with 11/16 of its step, and steps over which values stop changing where they
should not are too short.

.. [1] L. F. Richardson, *The deferred approach to the limit*, Phil. Trans. Royal Society A 226 (1927) 299-361.
.. [2] J. N. Lyness and C. B. Moler, *Van der Monde systems and numerical differentiation*, Numerische Mathematik 8
   (1966) 458-464.
.. [3] C. Ridders, *Accurate computation of F'(x) and F'(x) F''(x)*, Advances in Engineering Software 4 (1982) 75-76.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from .._arrays import FLOAT64

_MARGIN = 2.0  # for a sequence of terms that goes on a little faster than its rate
_LEVELS = 16  # at most
_MOST = 1 << 22  # numbers in the points of one call


class Stencil(NamedTuple):
    """Where values are taken, in steps, and what is made of them.

    Terms are those of the Taylor polynomial at the distance of one step.
    """

    nodes: np.ndarray  # (P, 1)
    weights: np.ndarray  # (P + 1, P): of the derivative's term, extrapolated, then of the terms 1 .. P
    noise: np.ndarray  # (P + 1,) how much these weights magnify independent errors of the values
    within: np.ndarray  # (P,) what the terms 1 .. P of a function wrongly add to the first
    beyond: np.ndarray  # (2,) what the next two add, with a margin


def _polynomials(nodes: tuple[int, ...]) -> list[list[Fraction]]:
    """Row j: the weights that give the coefficient of s**(j + 1) of the polynomial through (0, 0) and the nodes."""
    columns = []
    for node in nodes:
        basis, scale = [Fraction(0), Fraction(1)], Fraction(node)
        for other in nodes:
            if other != node:  # times (s - other)
                basis = [a - other * b for a, b in zip([Fraction(0), *basis], [*basis, Fraction(0)], strict=True)]
                scale *= node - other
        columns.append([number / scale for number in basis[1:]])
    return [list(row) for row in zip(*columns, strict=True)]


@cache
def stencil(derivative: int, order: int, sided: bool = False) -> Stencil:
    """The stencil of a derivative with an error of h**order: symmetric, or of as many nodes on one side.

    Two pairs of nodes are the least that says something of the error. On one side, even derivatives lose an order.
    """
    pairs = (derivative - 1) // 2 + order // 2

    def spread(pairs: int) -> tuple[int, ...]:
        return tuple(range(1, 2 * pairs + 1)) if sided else (*range(-pairs, 0), *range(1, pairs + 1))

    nodes, inner = spread(max(pairs, 2)), spread(pairs)
    known = dict(zip(inner, _polynomials(inner)[derivative - 1], strict=True))
    first = [known.get(node, Fraction(0)) for node in nodes]
    adds = [sum(w * node**j for w, node in zip(first, nodes, strict=True)) for j in range(1, len(nodes) + 3)]
    adds[derivative - 1] -= 1
    weights = np.array([first, *_polynomials(nodes)], np.float64)
    wrong = np.abs(np.array(adds, np.float64))
    noise = np.sqrt(np.sum(weights * weights, axis=1))
    return Stencil(np.array(nodes, np.float64)[:, None], weights, noise, wrong[:-2], wrong[-2:] * _MARGIN)


@lru_cache(maxsize=64)
def relative_step(derivative: int, order: int, eps: float) -> float:
    """Errors balanced for a function that changes on the scale of 1; a power of two."""
    scheme = stencil(derivative, order)
    wrong = np.concatenate([scheme.within, scheme.beyond])[derivative + order - 1]
    return 2.0 ** round(math.log2(min((eps * scheme.noise[0] / wrong) ** (1 / (derivative + order)), 0.25)))


@lru_cache(maxsize=64)
def tolerance(derivative: int, order: int, eps: float) -> float:
    """The relative error asked for by default: a hundred times what rounding leaves with the first step.

    That is for a function as large as all its Taylor terms are at the distance 1.
    """
    rounded = eps * float(stencil(derivative, order).noise[0])
    return min(100 * rounded / relative_step(derivative, order, eps) ** derivative, 0.1)


def first_steps(far: np.ndarray, derivative: int = 1, order: int = 4, eps: float = 2.0**-52) -> np.ndarray:
    """Where the search begins: errors balanced for a function that changes on the scale of max(1, |x|)."""
    return _core.steps_within_binades(far, relative_step(derivative, order, eps))


def adaptive(
    values: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    steps: np.ndarray | None = None,
    *,
    lower: Any = None,
    upper: Any = None,
    order: int = 4,
    noise: Any = None,
    rtol: float | None = None,
    value: np.ndarray | None = None,
    eps: float | None = None,
    far: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives of a function of n numbers by each of them.

    Parameters
    ----------
    values : callable
        Points as rows (k, n) to values (k, m), which may be float32; then its eps counts.
    x : ndarray
        The point, (n,).
    steps : ndarray, optional
        First steps, (n,); by default `first_steps`.
    lower, upper : array_like, optional
        Bounds that no point leaves. Near one of them, all points are on the other side.
    order : int
        Of the error, as a power of the step: 2, 4, 6 or 8; so many calls for each component and level.
    noise : float or array_like, optional
        Standard deviation of the values, a number or (m,), where it is larger than rounding; errors are twice what it
        makes.
    rtol : float, optional
        Relative error at which a component is done; by default `tolerance`. With 0 the best step is looked for.
    value : ndarray, optional
        The value at x, (m,), where it is known.
    eps : float, optional
        Relative rounding of x or the values, whichever is coarser; by default that of x. Values that turn out to be of
        single precision, by their dtype or as all of them are short, count as that.
    far : ndarray, optional
        How far from zero the numbers are that x moves, in units of x, (n,); by default abs(x).

    Returns
    -------
    derivative, error : ndarray
        (n, m); row i is by x[i].
    step : ndarray
        The one of the last accepted estimate, (n,), negative where all points lie below x; for several outputs the
        one of the output that was hardest.
    status : ndarray
        (n,), keys of `results.MESSAGES`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgrad._finite.richardson import adaptive
    >>> found, error, step, status = adaptive(lambda p: np.sum(p**3, axis=1, keepdims=True), np.array([1.0, 2.0]))
    >>> np.round(found[:, 0], 9), status
    (array([ 3., 12.]), array([0, 0]))
    """
    return _Search(values, x, lower, upper, 1, order, noise, rtol, value, eps, far, is_shared=True).run(steps)


@lru_cache(maxsize=8)
def _plain(eps: float) -> tuple[Stencil, Stencil, float, float]:
    return stencil(1, 4), stencil(1, 4, True), relative_step(1, 4, eps), tolerance(1, 4, eps)


def plain_adaptive(
    values: Callable[[np.ndarray], np.ndarray], x: np.ndarray, value: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `adaptive` finds without bounds, noise and wishes, of values in float64, bit by bit.

    The first level is written out here, as all that a search can do takes as long as the rest for a small function.
    """
    scheme, sided, relative, rtol = _plain(eps)
    far = _core.magnitudes(x)
    step = _core.steps_within_binades(far, relative)
    around = values(_core.moved_points(x, None, scheme.nodes, step, False))
    extrapolation = _core.Extrapolation(scheme, sided, far, 1, 4, True)
    extrapolation.start(value)
    is_fine, seen = extrapolation.level(None, step, None, around, eps, rtol)
    if not is_fine or seen > eps:
        search = _Search(values, x, None, None, 1, 4, None, None, None, seen, far, True, extrapolation)
        if seen > eps:
            return search.run(None)
        search.refine(step)
    return extrapolation.result()


def adaptive_derivative(
    values: Callable[[np.ndarray, np.ndarray | None], np.ndarray],
    x: np.ndarray,
    steps: np.ndarray | None = None,
    *,
    order: int = 1,
    accuracy: int = 4,
    lower: Any = None,
    upper: Any = None,
    noise: Any = None,
    rtol: float | None = None,
    value: np.ndarray | None = None,
    eps: float | None = None,
    far: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The derivative of any order, 1 to 10, of a function of one number, at each of n numbers.

    Parameters
    ----------
    values : callable
        ``values(t, rows)``: for each of the numbers that `rows` (r,), or None for all, names, k others t (k, r); their
        values (k, r) or (k, r, m).
    x : ndarray
        The numbers, (n,).
    order : int
        Of the derivative.
    accuracy : int
        Order of the error, as a power of the step: 2, 4, 6 or 8.
    steps, lower, upper, noise, rtol, eps, far
        As `adaptive`.
    value : ndarray, optional
        The values at x, (n, m), where they are known.

    Returns
    -------
    derivative, error, step, status : ndarray
        As `adaptive`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgrad._finite.richardson import adaptive_derivative
    >>> found, error, step, status = adaptive_derivative(lambda t, rows: np.sin(t), np.zeros(1), order=3)
    >>> np.round(found, 6), status
    (array([[-1.]]), array([0]))
    """
    return _Search(values, x, lower, upper, order, accuracy, noise, rtol, value, eps, far, is_shared=False).run(steps)


class _Search:
    """The search for the step of every row (a derivative) that suits all its columns (outputs): see `search.c`.

    `is_shared`: the rows are derivatives of one function, whose values are those of points (k, n); else of numbers.
    `begun` has seen the first level.
    """

    def __init__(
        self,
        values: Callable[..., np.ndarray],
        x: np.ndarray,
        lower: Any,
        upper: Any,
        derivative: int,
        order: int,
        noise: Any,
        rtol: float | None,
        value: np.ndarray | None,
        eps: float | None,
        far: np.ndarray | None,
        is_shared: bool,
        begun: _core.Extrapolation | None = None,
    ) -> None:
        self.values, self.x, self.is_shared = values, x, is_shared
        self.derivative, self.order, self.noise, self.asked = derivative, order, noise, rtol
        self.nodes = stencil(derivative, order).nodes
        self.eps = float(np.finfo(x.dtype).eps) if eps is None else eps
        self.far = _core.magnitudes(x) if far is None else far
        self.bounds: tuple[np.ndarray, ...] | None = None
        room = None  # below and above x
        if (lower is not None and np.any(np.isfinite(lower))) or (upper is not None and np.any(np.isfinite(upper))):
            ends = -np.inf if lower is None else lower, np.inf if upper is None else upper
            self.bounds = tuple([np.broadcast_to(end, x.shape) for end in ends])
            room = np.array([x - self.bounds[0], self.bounds[1] - x], np.float64)
        self.relative = 0.0  # noise
        self.extrapolation = begun or _core.Extrapolation(
            stencil(derivative, order), stencil(derivative, order, True), self.far, derivative, order, is_shared, room
        )
        self.is_known = begun is not None
        if value is not None:
            self.start(value)

    @property
    def rtol(self) -> float:
        if self.asked is None:
            return tolerance(self.derivative, self.order, max(self.eps, self.relative))
        return self.asked

    def run(self, steps: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        if self.noise is not None and not self.is_known:
            self.call(None, np.empty((0, 1)), np.empty(len(self.x)))
        eps = self.eps
        is_fine = self.level(None, *self.extrapolation.place(self.first(steps)))
        if self.eps > eps and steps is None:  # the values are shorter than x
            is_fine = self.level(None, *self.extrapolation.place(self.first(steps)))
        if not is_fine:
            self.refine(self.first(steps))
        return self.extrapolation.result()

    @np.errstate(all="ignore")
    def refine(self, first: np.ndarray) -> None:
        """Go on with the rows that are not fine, each with its own step."""
        for _ in range(_LEVELS):
            rows, step, sided = self.extrapolation.next(first)
            if not len(rows):
                break
            self.level(rows, step, sided)

    def first(self, steps: np.ndarray | None) -> np.ndarray:
        if steps is not None:
            return np.abs(steps, dtype=np.float64)
        return first_steps(self.far, self.derivative, self.order, max(self.eps, self.relative))

    def start(self, value: np.ndarray) -> None:
        """Begin with the values at x, (m,), or (n, m) unless shared."""
        value = np.ascontiguousarray(value if self.is_shared else value.reshape(len(self.x), -1), np.float64)
        noise = self.noise
        if noise is not None:
            noise = np.broadcast_to(np.asarray(noise, np.float64), value.shape[-1:]).copy()
            with np.errstate(all="ignore"):
                self.relative = float(np.nanmedian(np.minimum(noise / np.abs(value), 0.1)))
        self.extrapolation.start(value, noise)
        self.is_known = True

    def call(self, rows: np.ndarray | None, nodes: np.ndarray, step: np.ndarray) -> np.ndarray:
        """The values around x, (P, r, m); the first time also those at x."""
        n, k, r = len(self.x), len(nodes), len(step)
        if self.is_shared and k * r * n > _MOST and r > 1:  # the points would fill the memory
            which = np.array_split(np.arange(n) if rows is None else rows, 2)
            halves = np.array_split(np.broadcast_to(nodes, (k, r)), 2, axis=1), np.array_split(step, 2)
            parts = zip(which, *halves, strict=True)
            return np.concatenate([self.call(some, at.copy(), by) for some, at, by in parts], axis=1)
        with_centre = not self.is_known
        if self.is_shared:
            points = _core.moved_points(self.x, rows, nodes, step, with_centre)
            values = self.values(points if self.bounds is None else np.clip(points, *self.bounds, out=points))
        else:
            x = self.x if rows is None else self.x[rows]
            t = (x + nodes * step).astype(x.dtype, copy=False)
            if self.bounds is not None:
                np.clip(t, *[end if rows is None else end[rows] for end in self.bounds], out=t)
            values = self.values(np.concatenate([x[None], t]) if with_centre else t, rows)
        if values.dtype is not FLOAT64:
            if values.dtype.kind == "f":
                self.eps = max(self.eps, float(np.finfo(values.dtype).eps))
            values = values.astype(np.float64)
        if with_centre:
            self.start(values[0])
            values = values[1:]
        return values.reshape(k, r, values.shape[-1] if self.is_shared or values.ndim == 3 else 1)

    def level(self, rows: np.ndarray | None, step: np.ndarray, sided: np.ndarray | None) -> bool:
        """Derivatives and errors with one step for each row; whether all are fine."""
        nodes = self.nodes
        if sided is not None:
            nodes = np.where(sided, stencil(self.derivative, self.order, True).nodes, nodes)
        around = self.call(rows, nodes, step)
        is_fine, eps = self.extrapolation.level(rows, step, sided, around, self.eps, self.rtol)
        if eps > self.eps and rows is None:
            self.eps = eps
        return is_fine
