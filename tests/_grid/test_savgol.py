"""Weights of smoothing derivatives against exact least squares."""

from fractions import Fraction
from math import perm

import numpy as np
import pytest

from fastgrad._grid.savgol import smoothing


def exact(window_length, polyorder, derivative, place):
    """Weights of the derivative at a place of the best polynomial, from the normal equations in rational numbers."""
    reach, size = window_length // 2, polyorder + 1
    powers = [[Fraction(k) ** j for j in range(size)] for k in range(-reach, reach + 1)]
    rows = [[sum(p[i] * p[j] for p in powers) for j in range(size)] for i in range(size)]
    slopes = [perm(j, derivative) * Fraction(place) ** max(j - derivative, 0) for j in range(size)]
    rows = [[*row, slope] for row, slope in zip(rows, slopes, strict=True)]
    for i in range(size):  # positive definite
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for k in range(size):
            if k != i:
                rows[k] = [a - rows[k][i] * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [float(sum(row[-1] * p for row, p in zip(rows, power, strict=True))) for power in powers]


@pytest.mark.parametrize(
    ("window_length", "polyorder", "derivative"),
    [(1, 0, 0), (3, 2, 1), (5, 2, 0), (5, 3, 2), (11, 3, 1), (21, 6, 3), (51, 4, 2), (101, 10, 2)],
)
def test_weights_are_those_of_least_squares(window_length, polyorder, derivative):
    reach = window_length // 2
    table = smoothing(window_length, polyorder, derivative, False)
    for found, place in [*zip(table.head, range(-reach, 0), strict=True), (table.weights, 0)]:
        wanted = np.array(exact(window_length, polyorder, derivative, place))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    assert (table.tail == (-1) ** derivative * table.head[::-1, ::-1]).all()
    assert not len(smoothing(window_length, polyorder, derivative, True).head)
