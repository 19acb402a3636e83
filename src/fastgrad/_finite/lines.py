"""Lines of points: every derivative is that of a function of one number t along a line.

A gradient takes the lines through x parallel to the axes, where t is the component that moves; a derivative of a
function of numbers takes the numbers themselves; a directional one the line x + t v. So one scheme serves all of them,
and kinds of lines differ only in which point belongs to t.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .calls import Calls

Limits = tuple[np.ndarray, np.ndarray] | None


class Lines(Protocol):
    """Points along N lines."""

    calls: Calls
    t: np.ndarray  # (N,): where on its line each derivative is wanted
    far: np.ndarray | None  # (N,): of what moves, how far from zero it is in units of t; None: it is t itself
    is_one_point: bool  # all lines go through x0, whose value is known

    def values(self, t: np.ndarray, which: np.ndarray | None) -> np.ndarray:
        """The values (k, L, m) at t (k, L), for the lines `which`, or all."""


class Coordinates:
    """The lines through one point that are parallel to the axes: t is the component that moves."""

    is_one_point = True
    far = None

    def __init__(self, calls: Calls, x: np.ndarray) -> None:
        self.calls, self.t = calls, x
        self.t_values = calls.values

    def values(self, t: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """Values for components that move, in blocks that bound the memory of the points."""
        calls, x = self.calls, self.t
        k, n_lines = t.shape
        n = len(x)
        block = max(1, calls.block // (k * n + 1))
        if n_lines > block and not calls.is_vectorized:
            lines = np.arange(n) if which is None else which
            parts = [self.values(t[:, i : i + block], lines[i : i + block]) for i in range(0, n_lines, block)]
            return np.concatenate(parts, axis=1)
        points = np.empty((k, n_lines, n), t.dtype)
        points[...] = x
        if which is None:
            points.reshape(k, -1)[:, :: n + 1] = t
        else:
            points[:, np.arange(n_lines), which] = t
        return calls.values(points.reshape(k * n_lines, n)).reshape(k, n_lines, calls.f0.size)


class Elements:
    """Numbers that a function of one number is given one by one."""

    far = None

    def __init__(self, calls: Calls, x: np.ndarray) -> None:
        self.calls, self.t = calls, x
        self.is_one_point = len(x) == 1

    def values(self, t: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """Values at the numbers."""
        return self.calls.values(t.reshape(-1, 1)).reshape(*t.shape, self.calls.f0.size)


class Direction:
    """The line x + t v."""

    is_one_point = True

    def __init__(self, calls: Calls, x: np.ndarray, v: np.ndarray, limits: Limits = None) -> None:
        self.calls, self.x, self.v, self.limits = calls, x, v, limits
        self.t = np.zeros(1)
        self.far = np.atleast_1d(np.abs(x[v != 0]).max(initial=0.0) / np.abs(v).max()).astype(np.float64)

    @property
    def room(self) -> Limits:
        """From which t to which the line is within the limits."""
        if self.limits is None:
            return None
        moves = self.v != 0
        ends = np.sort([(limit[moves] - self.x[moves]) / self.v[moves] for limit in self.limits], axis=0)
        return ends[0].max(keepdims=True), ends[1].min(keepdims=True)

    def values(self, t: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """Values along the direction."""
        points = self.x + t.reshape(-1, 1) * self.v
        if points.dtype.kind != "c":
            points = clipped(points.astype(self.x.dtype, copy=False), self.limits)
        return self.calls.values(points).reshape(*t.shape, self.calls.f0.size)


class Grouped:
    """One line for each group of components that move together; `t_values` takes a number for each group."""

    is_one_point = True

    def __init__(self, calls: Calls, t_values: Callable[[np.ndarray], np.ndarray], far: np.ndarray) -> None:
        self.calls, self.t_values, self.far = calls, t_values, far
        self.t = np.zeros(len(far))


class Diagonals:
    """The lines through one point along several directions, (N, n)."""

    is_one_point = True

    def __init__(self, calls: Calls, x: np.ndarray, directions: np.ndarray, far: np.ndarray, limits: Limits) -> None:
        self.calls, self.x, self.directions, self.far, self.limits = calls, x, directions, far, limits
        self.t = np.zeros(len(directions), x.dtype)

    def values(self, t: np.ndarray, which: np.ndarray | None) -> np.ndarray:
        """Values along the lines."""
        directions = self.directions if which is None else self.directions[which]
        points = (self.x + t[:, :, None] * directions).astype(self.x.dtype, copy=False)
        return self.calls.values(clipped(points.reshape(-1, len(self.x)), self.limits)).reshape(*t.shape, 1)


def clipped(points: np.ndarray, limits: Limits) -> np.ndarray:
    """Points that rounding has not carried over the bounds."""
    return points if limits is None else np.clip(points, limits[0], limits[1], out=points, dtype=points.dtype)


def room_along(
    x: np.ndarray, first: np.ndarray, second: np.ndarray, scale: np.ndarray, other: np.ndarray, limits: Any
) -> tuple[np.ndarray, np.ndarray]:
    """From which t to which the lines of `Diagonals` are within the limits."""
    ends = []
    for component, move in ((first, scale[first]), (second, other)):
        sides = [(limit[component] - x[component]) / move for limit in limits]
        ends.append(np.sort(sides, axis=0))
    return np.maximum(ends[0][0], ends[1][0]), np.minimum(ends[0][1], ends[1][1])
