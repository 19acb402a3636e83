"""A sparse Hessian from values of a scalar function alone: pair by pair of the components that matter.

A value is one number, so no grouping tells two elements apart: each takes evaluations of its own. They share the points
where one component moves.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from ..stencils import exact_weights
from . import sparsity
from .sparsity import Values, within
from .structures import Structure, across

_CENTRAL, _ASIDE, _FORWARD = range(3)  # how a component moves
_PLACES = (0.0, 1.0, -1.0, 2.0, 1 / 2, 2 / 3, 4 / 3)  # where to, in steps


def _weights(derivative: int, *places: Fraction | int) -> dict[float, float]:
    """Weights of places, those of zero left out."""
    exact = exact_weights(tuple(map(Fraction, places)), derivative)
    return {float(place): float(weight) for place, weight in zip(places, exact, strict=True) if weight}


_FIRST = {_CENTRAL: _weights(1, -1, 0, 1), _ASIDE: _weights(1, 0, 1, 2), _FORWARD: _weights(1, 0, 1)}
_SECOND = {
    _CENTRAL: _weights(2, -1, 0, 1),
    _ASIDE: _weights(2, 0, Fraction(2, 3), Fraction(4, 3), 2),
    _FORWARD: _weights(2, 0, Fraction(1, 2), 1),
}
# of two components: a product of first derivatives, or for central ones half as many new points
_MIXED = {
    (i, j): {(a, b): u * v for a, u in first.items() for b, v in second.items()}
    for i, first in _FIRST.items()
    for j, second in _FIRST.items()
}
_MIXED[_CENTRAL, _CENTRAL] = {
    (0, 0): 1,
    **dict.fromkeys([(1, 1), (-1, -1)], 1 / 2),
    **dict.fromkeys([(1, 0), (-1, 0), (0, 1), (0, -1)], -1 / 2),
}


def hessian_by_values(
    values: Values,
    x: np.ndarray,
    h: np.ndarray,
    scheme: str,
    structure: Structure,
    *,
    f0: float | None = None,
    one_sided: np.ndarray | None = None,
    limits: tuple[np.ndarray, np.ndarray] | None = None,
) -> Any:
    """A sparse Hessian from values of a scalar function: points (k, n) to values (k, 1).

    A value is one number, so groups of columns gain nothing: every element below the diagonal takes evaluations of its
    own, which is far fewer than all pairs. With p of them, "2-point" takes ``1 + 2 n + p`` evaluations for an error of
    order h; "3-point" ``1 + 2 n + 2 p`` for h². `one_sided` components of "3-point" stay within x and x + 2 h, which
    takes a few more. The structure is symmetric.
    """
    if scheme not in ("2-point", "3-point"):
        raise ValueError(f'method {scheme!r} makes no sparse Hessian: take "2-point" or "3-point"')
    n = x.size
    h = (x + np.asarray(h, x.dtype)) - x
    kind = np.full(n, _FORWARD)
    if scheme == "3-point":
        kind = np.where(np.zeros(n, bool) if one_sided is None else one_sided, _ASIDE, _CENTRAL)
    row, column = structure.row, structure.column
    points: list[np.ndarray] = []  # as numbers: which components move, and where to
    elements: list[np.ndarray] = []
    weights: list[np.ndarray] = []

    def add(here: np.ndarray, place_i: float, place_j: float, weight: float) -> None:
        i = row[here] * len(_PLACES) + _PLACES.index(place_i) if place_i else 0
        j = column[here] * len(_PLACES) + _PLACES.index(place_j) if place_j else 0
        points.append(np.broadcast_to(i * n * len(_PLACES) + j if place_i and place_j else i + j, here.shape))
        elements.append(here)
        weights.append(np.full(here.size, weight))

    for which, second in _SECOND.items():
        here = np.flatnonzero((row == column) & (kind[row] == which))
        for place, weight in second.items():
            add(here, place, 0, weight)
    for (which_i, which_j), mixed in _MIXED.items():
        here = np.flatnonzero((row > column) & (kind[row] == which_i) & (kind[column] == which_j))
        for (place_i, place_j), weight in mixed.items():
            add(here, place_i, place_j, weight)

    point, number = np.unique(np.concatenate(points), return_inverse=True)
    found = _at_points(values, x, h, point, f0, limits)
    with np.errstate(all="ignore"):
        products = np.concatenate(weights) * found[number]
        data = np.bincount(np.concatenate(elements), products, row.size) / (h[row] * h[column])
    return structure.matrix(np.where(row < column, data[across(structure)], data))


def _at_points(
    values: Values,
    x: np.ndarray,
    h: np.ndarray,
    point: np.ndarray,
    f0: float | None,
    limits: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    """Values at points with at most two components moved."""
    found = np.empty(point.size)
    known = int(f0 is not None and point.size > 0 and point[0] == 0)
    found[:known] = f0
    most = max(1, sparsity.BLOCK_BYTES // max(x.nbytes, 1))
    for first in range(known, point.size, most):
        moves = np.divmod(point[first : first + most], x.size * len(_PLACES))
        points = np.tile(x, (moves[0].size, 1))
        for move in moves:
            component, place = np.divmod(move, len(_PLACES))
            points[np.arange(move.size), component] += np.array(_PLACES, x.dtype)[place] * h[component]
        found[first : first + most] = values(within(points, limits))[:, 0]
    return found
