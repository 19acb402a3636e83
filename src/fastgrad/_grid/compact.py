"""Compact (Padé) schemes: the derivatives at neighbouring points are tied to each other, and solved for.

With the same samples they are two orders better than explicit stencils, and follow short waves much further.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from .. import stencils
from .tables import Stencil, from_exact

MOST_DERIVATIVE = 2  # from the third on the equations are singular for the shortest wave


@functools.lru_cache(maxsize=64)
def scheme(derivative: int, accuracy: int, is_periodic: bool) -> tuple[float, Stencil]:
    """The tie, what each point adds of the derivatives at its two neighbours, and of which samples that is the sum.

    The tie makes one polynomial more come out right than the samples alone. It stays the same up to the ends, where the
    scheme takes more samples instead, because the equations of ties that gain an order there as well are near singular.
    """
    reach = stencils.central_reach(derivative, accuracy) - 1
    samples = range(-reach, reach + 1)
    power = len(samples) + (derivative + 1) % 2  # symmetry has taken care of the power between

    def error(place: int) -> Fraction:
        found = sum(weight * k**power for k, weight in zip(samples, _weights(samples, place, derivative), strict=True))
        return found - math.perm(power, derivative) * Fraction(place) ** (power - derivative)

    tie = -error(0) / (error(-1) + error(1))
    near = []
    for point in range(0 if is_periodic else reach):
        row = _tied(range(derivative + accuracy), (point - 1, point + 1) if point else (1,), point, tie, derivative)
        near.append((0, row))
    return float(tie), from_exact(_tied(samples, (-1, 1), 0, tie, derivative), near, derivative)


def _tied(samples: range, neighbours: Sequence[int], point: int, tie: Fraction, derivative: int) -> list[Fraction]:
    """Weights of the derivative at a point plus the tie times those at its neighbours."""
    found = list(_weights(samples, point, derivative))
    for neighbour in neighbours:
        found = [w + tie * more for w, more in zip(found, _weights(samples, neighbour, derivative), strict=True)]
    return found


def _weights(samples: range, place: int, derivative: int) -> Sequence[Fraction]:
    return stencils.exact_weights(tuple(Fraction(sample - place) for sample in samples), derivative)


def solve(tie: float, rhs: np.ndarray, is_periodic: bool) -> np.ndarray:
    """The derivatives along the first axis that the equations tie together."""
    ties = np.full((len(rhs), *(1,) * (rhs.ndim - 1)), tie, rhs.real.dtype)
    lower, upper = ties.copy(), ties
    lower[0] = upper[-1] = 0
    diagonal = np.ones_like(lower)
    if not is_periodic:
        return _tridiagonal(lower, diagonal, upper, rhs)
    # the two corners are a matrix of rank one, added to a tridiagonal one (Sherman and Morrison)
    diagonal[0], diagonal[-1] = 2, 1 + tie**2
    corner = np.zeros_like(diagonal)
    corner[0], corner[-1] = -1, tie
    found, part = _tridiagonal(lower, diagonal, upper, rhs), _tridiagonal(lower, diagonal, upper, corner)
    return found - part * ((found[0] - tie * found[-1]) / (1 + part[0] - tie * part[-1]))


def _tridiagonal(lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Solve by cyclic reduction: every other unknown is eliminated, all at once, until one is left.

    That takes as few steps as n has binary digits, each over whole arrays, along one axis or many. `lower[0]` and
    `upper[-1]` are zero.
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
