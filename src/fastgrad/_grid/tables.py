"""Which samples along an axis are summed with which weights, for every point of it.

There are two kinds of tables: a `Stencil` serves all points of a uniform axis but those near its ends, which have
others; `Rows` are for coordinates that are not uniform, with a row of weights for each point.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from .. import _core, stencils


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


Table = Stencil | Rows


class Term(NamedTuple):
    """What is summed along an axis."""

    axis: int
    table: Table
    factor: float = 1.0


@functools.lru_cache(maxsize=256)
def central(derivative: int, accuracy: int, edge: int | None) -> Stencil:
    """The derivative on a uniform axis of step 1; `edge` is the accuracy near the ends, None on a circle."""
    reach = stencils.central_reach(derivative, accuracy)
    near = []
    if edge:
        for point in range(reach):
            start = max(point - (derivative + edge) // 2, 0)  # the samples nearest to it
            near.append((start, _exact(start - point, derivative + edge, derivative)))
    return from_exact(_exact(-reach, 2 * reach + 1, derivative), near, derivative)


def from_exact(inner: Sequence[Fraction], near: Sequence[tuple[int, Sequence[Fraction]]], derivative: int) -> Stencil:
    """The stencil with these weights; `near` has, for each point near the start, its first sample and its weights."""
    denominator = math.lcm(*(weight.denominator for row in (inner, *(row for _, row in near)) for weight in row))
    head = np.zeros((len(near), max((start + len(row) for start, row in near), default=0)))
    for point, (start, row) in enumerate(near):
        head[point, start : start + len(row)] = [float(weight * denominator) for weight in row]
    weights = np.array([float(weight * denominator) for weight in inner])
    return Stencil(len(inner) // 2, weights, head, mirrored(head, derivative), 1 / denominator)


def mirrored(head: np.ndarray, derivative: int) -> np.ndarray:
    """What the stencils at one end are at the other."""
    return (-1.0) ** derivative * head[::-1, ::-1]


def neighbours(n: int, derivative: int, edge: int) -> Rows:
    """The derivative on so few points of step 1 that all are near an end: each from the samples nearest to it."""
    return Rows(*_core.windows(np.arange(n, dtype=np.float64), derivative + edge, derivative))


def uneven(coords: np.ndarray, derivative: int, accuracy: int, edge: int) -> Rows:
    """The derivative at increasing or decreasing coordinates.

    A point is in the middle of an odd number of samples. There is no symmetry to gain an order from, so that an even
    derivative takes one sample more to each side than on a uniform axis.
    """
    coords, n = coords.astype(np.float64), len(coords)
    width = uneven_width(derivative, accuracy)
    inside = _core.windows(coords, min(n, width), derivative)
    if edge == accuracy:
        return Rows(*inside)
    first, found = inside
    near, own = _core.windows(coords, derivative + edge, derivative)
    if derivative + edge > width:
        first = np.minimum(inside[0], near)
        found = np.zeros((n, derivative + edge))
        np.put_along_axis(found, (inside[0] - first)[:, None] + np.arange(inside[1].shape[1]), inside[1], axis=1)
    points = np.flatnonzero(np.abs(2 * np.arange(n) - (n - 1)) > n - width)  # those near the ends
    found[points] = 0
    found[points[:, None], (near - first)[points, None] + np.arange(derivative + edge)] = own[points]
    return Rows(first, found)


def uneven_circle(coords: np.ndarray, derivative: int, accuracy: int) -> Rows:
    """The derivative on a circle; the last of n + 1 coordinates is where the first sample comes again."""
    coords, n, width = coords.astype(np.float64), len(coords) - 1, uneven_width(derivative, accuracy)
    half, period = width // 2, coords[-1] - coords[0]
    around = np.concatenate([coords[n - half : n] - period, coords, coords[1:half] + period])
    _, found = _core.windows(around, width, derivative)
    return Rows(np.arange(n) - half, found[half : half + n])


def uneven_width(derivative: int, accuracy: int) -> int:
    """How many samples a stencil takes where coordinates are not uniform."""
    return (derivative + accuracy) | 1


def _exact(first: int, n: int, derivative: int) -> tuple[Fraction, ...]:
    return stencils.exact_weights(tuple(map(Fraction, range(first, first + n))), derivative)
