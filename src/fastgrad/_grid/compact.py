"""Compact (Padé) schemes: the derivatives at neighbouring points are tied to each other, and solved for.

With the same samples they are two orders better than explicit stencils, and follow short waves much further.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np

from .. import stencils
from .tables import Stencil, mirrored

MOST_DERIVATIVE = 2  # from the third on the equations are singular for the shortest wave


@functools.lru_cache(maxsize=64)
def scheme(derivative: int, accuracy: int, is_periodic: bool) -> tuple[np.ndarray, Stencil]:
    """What each point adds of its two neighbours' derivatives, and of which samples that is the sum, for a step of 1.

    Row i of the first is for the i-th point from an end: what it adds of the neighbour towards the end, and of the other one; the
    last row is for all points further inside.
    """
    reach = stencils.central_reach(derivative, accuracy) - 1
    ties, row = _tied((-1, 1), tuple(range(-reach, reach + 1)), derivative)
    all_ties, rows = [ties], []
    if not is_periodic:
        for point in reversed(range(reach)):
            neighbours = (-1, 1) if point else (1,)
            samples = tuple(range(-point, derivative + accuracy - len(neighbours) - point))
            ties, weights = _tied(neighbours, samples, derivative)
            all_ties.insert(0, (Fraction(0),) * (2 - len(ties)) + ties)
            rows.insert(0, weights)
    denominator = math.lcm(*(weight.denominator for weights in (row, *rows) for weight in weights))
    head = np.zeros((len(rows), max(map(len, rows), default=0)))
    for point, weights in enumerate(rows):
        head[point, : len(weights)] = [float(weight * denominator) for weight in weights]
    inner = np.array([float(weight * denominator) for weight in row])
    return np.array(all_ties, np.float64), Stencil(reach, inner, head, mirrored(head, derivative), 1 / denominator)


def _tied(
    neighbours: tuple[int, ...], samples: tuple[int, ...], derivative: int
) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """Ties to neighbouring derivatives and weights of samples, such that the equation holds for the most polynomials."""
    n = len(neighbours) + len(samples)
    rows = []
    for power in range(n):  # sum of weight x sample^power - sum of tie x (x^power)' at neighbour = (x^power)' at 0
        slope = math.perm(power, derivative)
        row = [-slope * Fraction(place) ** max(power - derivative, 0) for place in neighbours]
        row += [Fraction(place) ** power for place in samples]
        rows.append([*row, Fraction(slope if power == derivative else 0)])
    for column in range(n):
        pivot = next(i for i in range(column, n) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [entry / rows[column][column] for entry in rows[column]]
        for i in range(n):
            if i != column and rows[i][column]:
                rows[i] = [mine - rows[i][column] * other for mine, other in zip(rows[i], rows[column], strict=True)]
    found = tuple(row[n] for row in rows)
    return found[: len(neighbours)], found[len(neighbours) :]


def solve(ties: np.ndarray, rhs: np.ndarray, is_periodic: bool) -> np.ndarray:
    """The derivatives along the first axis that the equations tie together."""
    n = len(rhs)
    pairs = np.broadcast_to(ties[-1], (n, 2)).copy()
    pairs[: len(ties) - 1] = ties[:-1]
    pairs[n + 1 - len(ties) :] = ties[-2::-1, ::-1]
    lower, upper = pairs.astype(rhs.real.dtype).T.reshape(2, n, *(1,) * (rhs.ndim - 1))
    diagonal = np.ones_like(lower)
    if not is_periodic:
        return _tridiagonal(lower, diagonal, upper, rhs)
    # the two corners are a matrix of rank one, added to a tridiagonal one (Sherman and Morrison)
    tie = ties[-1, 0]
    diagonal[0], diagonal[-1] = 2, 1 + tie**2
    lower[0] = upper[-1] = 0
    corner = np.zeros_like(diagonal)
    corner[0], corner[-1] = -1, tie
    found, part = _tridiagonal(lower, diagonal, upper, rhs), _tridiagonal(lower, diagonal, upper, corner)
    return found - part * ((found[0] - tie * found[-1]) / (1 + part[0] - tie * part[-1]))


def _tridiagonal(lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Solve by cyclic reduction: every other unknown is eliminated, all at once, until one is left.

    That takes as few steps as n has binary digits, each over whole arrays, along one axis or many. `lower[0]` and `upper[-1]`
    are zero.
    """
    n = len(rhs)
    if n == 1:
        return rhs / diagonal
    before, after = slice(0, n - 1, 2), slice(2, n, 2)  # the even unknowns before and after the odd ones
    k = (n - 1) // 2  # odd ones that have one after them
    left, right = lower[1::2] / diagonal[before], upper[1::2][:k] / diagonal[after]
    inner_diagonal = diagonal[1::2] - left * upper[before]
    inner_diagonal[:k] -= right * lower[after]
    inner_upper = np.zeros_like(inner_diagonal)
    inner_upper[:k] = -right * upper[after]
    inner_rhs = rhs[1::2] - left * rhs[before]
    inner_rhs[:k] -= right * rhs[after]
    found = np.empty_like(rhs)
    found[1::2] = _tridiagonal(-left * lower[before], inner_diagonal, inner_upper, inner_rhs)
    found[::2] = rhs[::2]
    found[before] -= upper[before] * found[1::2]
    found[after] -= lower[after] * found[1::2][:k]
    found[::2] /= diagonal[::2]
    return found
