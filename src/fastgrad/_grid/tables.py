"""Which samples along an axis are summed with which weights, for every point of it.

There are two kinds of tables: a `Stencil`, one for all points but those near the ends of a uniform axis, and `Rows`, one row of
weights for each point, where the coordinates are not uniform.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .. import stencils


@dataclass(frozen=True, eq=False)
class Stencil:
    """One stencil along a uniform axis, and others for the points near its ends.

    Weights are integers wherever the exact ones are rational, so that float32 holds them too and differences of equal
    samples vanish; `scale` makes up for the common denominator.
    """

    reach: int  # the stencil of point i takes the samples i - reach to i + reach
    weights: np.ndarray  # (2 reach + 1,)
    head: np.ndarray  # (p, q): the first p points are sums over the first q samples
    tail: np.ndarray  # (p, q): the last p points are sums over the last q samples
    scale: float = 1.0

    @property
    def is_periodic(self) -> bool:
        """Whether the axis is a circle, which has no ends."""
        return self.reach > 0 and not len(self.head)

    def scaled(self, factor: float) -> Stencil:
        """The same sums times a factor."""
        return Stencil(self.reach, self.weights, self.head, self.tail, self.scale * factor)

    def rows(self, n: int) -> Rows:
        """The same sums, written out for each of n points."""
        ends = (self.head, self.tail)
        width = max(len(self.weights), *(block.shape[1] for block in ends))
        p, q = map(len, ends)
        first = np.arange(n) - self.reach
        first[:p] = 0
        first[n - q :] = n - self.tail.shape[1]
        found = np.zeros((n, width))
        found[p : n - q, : len(self.weights)] = self.weights
        found[:p, : self.head.shape[1]] = self.head
        found[n - q :, : self.tail.shape[1]] = self.tail
        return Rows(first, found * self.scale)


@dataclass(frozen=True, eq=False)
class Rows:
    """A stencil of its own for each point: point i is the sum of weights[i, k] times sample first[i] + k, modulo n."""

    first: np.ndarray  # (n,)
    weights: np.ndarray  # (n, width)

    def scaled(self, factor: float) -> Rows:
        """The same sums times a factor."""
        return Rows(self.first, self.weights * factor)


Table = Stencil | Rows


@functools.lru_cache(maxsize=256)
def central(derivative: int, accuracy: int, edge: int | None) -> Stencil:
    """The derivative on a uniform axis of step 1; `edge` is the accuracy near the ends, None on a circle."""
    reach = stencils.central_reach(derivative, accuracy)
    inner = _exact(-reach, 2 * reach + 1, derivative)
    n_near = derivative + edge if edge else 0
    near = [_exact(*_nearest(point, n_near, point), derivative) for point in range(reach)] if edge else []
    denominator = math.lcm(*(weight.denominator for row in (inner, *near) for weight in row))
    width = max((_nearest(point, n_near)[0] + n_near for point in range(len(near))), default=0)
    head = np.zeros((len(near), width))
    for point, row in enumerate(near):
        start = _nearest(point, n_near)[0]
        head[point, start : start + n_near] = _integers(row, denominator)
    return Stencil(reach, _integers(inner, denominator), head, mirrored(head, derivative), 1 / denominator)


def mirrored(head: np.ndarray, derivative: int) -> np.ndarray:
    """What the stencils at one end are at the other."""
    return (-1.0) ** derivative * head[::-1, ::-1]


def neighbours(n: int, derivative: int, edge: int, step: float) -> Rows:
    """The derivative on so few points that all are near an end: each from the samples nearest to it."""
    first, found = stencils.windows(np.arange(n, dtype=np.float64), derivative + edge, derivative)
    return Rows(first, found / step**derivative)


def uneven(coords: np.ndarray, derivative: int, accuracy: int, edge: int) -> Rows:
    """The derivative at increasing or decreasing coordinates.

    A point is in the middle of an odd number of samples. There is no symmetry to gain an order from, so that an even derivative
    takes one sample more to each side than on a uniform axis.
    """
    coords, n = coords.astype(np.float64), len(coords)
    width = min(n, uneven_width(derivative, accuracy))
    first, found = stencils.windows(coords, width, derivative)
    if edge != accuracy:
        start, near = stencils.windows(coords, derivative + edge, derivative)
        half = width // 2
        for point in {*range(min(half, n)), *range(max(n - half, 0), n)}:
            found[point] = 0
            shift = start[point] - first[point]
            found[point, shift : shift + derivative + edge] = near[point]
    return Rows(first, found)


def uneven_circle(coords: np.ndarray, derivative: int, accuracy: int) -> Rows:
    """The derivative on a circle; the last of n + 1 coordinates is where the first sample comes again."""
    coords, n, width = coords.astype(np.float64), len(coords) - 1, uneven_width(derivative, accuracy)
    half, period = width // 2, coords[-1] - coords[0]
    around = np.concatenate([coords[n - half : n] - period, coords, coords[1:half] + period])
    _, found = stencils.windows(around, width, derivative)
    return Rows(np.arange(n) - half, found[half : half + n])


def uneven_width(derivative: int, accuracy: int) -> int:
    """How many samples a stencil takes where coordinates are not uniform."""
    return (derivative + accuracy) | 1


def _nearest(point: int, n: int, origin: int = 0) -> tuple[int, int]:
    """The first of n samples around a point near the start, relative to an origin, and n."""
    return max(point - n // 2, 0) - origin, n


def _exact(first: int, n: int, derivative: int) -> tuple[Fraction, ...]:
    return stencils.exact_weights(tuple(map(Fraction, range(first, first + n))), derivative)


def _integers(row: tuple[Fraction, ...], denominator: int) -> np.ndarray:
    return np.array([float(weight * denominator) for weight in row])
