"""Compact (Padé) schemes: the derivatives at neighbouring points are tied to each other, and solved for.

With the same samples they are two orders better than explicit stencils, and follow short waves much further.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from .. import _core, stencils
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


def solve(tie: float, lines: np.ndarray, axis: int, is_periodic: bool) -> None:
    """Replace the sums along an axis by the derivatives that the equations tie together."""
    parts = (lines.real, lines.imag) if lines.dtype.kind == "c" else (lines,)
    for part in parts:
        _core.solve_ties(part, axis, tie, is_periodic)
