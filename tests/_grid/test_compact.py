"""Compact schemes: their coefficients, and the equations that they solve."""

from fractions import Fraction

import numpy as np
import pytest

from fastgrad._grid.compact import _tridiagonal, scheme, solve


@pytest.mark.parametrize(
    ("derivative", "accuracy", "tie", "right"),
    [  # Lele 1992, sections 2.1 and 2.2, his a/2, b/4, c/6 and a, b/4, c/9
        (1, 4, "1/4", "3/4"),
        (1, 6, "1/3", "7/9 1/36"),
        (1, 8, "3/8", "25/32 1/20 -1/480"),
        (2, 4, "1/10", "6/5"),
        (2, 6, "2/11", "12/11 3/44"),
        (2, 8, "9/38", "147/152 51/380 -23/6840"),
    ],
)
def test_coefficients_are_those_of_the_literature(derivative, accuracy, tie, right):
    found, stencil = scheme(derivative, accuracy, True)
    assert Fraction(found).limit_denominator(1000) == Fraction(tie)
    weights = stencil.weights * stencil.scale
    np.testing.assert_allclose(weights[stencil.reach + 1 :], [float(Fraction(w)) for w in right.split()], rtol=1e-14)
    np.testing.assert_allclose(weights, (-1) ** derivative * weights[::-1])


@pytest.mark.parametrize("n", [*range(3, 20), 64, 101])
@pytest.mark.parametrize("is_periodic", [False, True])
@pytest.mark.parametrize("tie", [0.1, 0.25, 1 / 3, 0.375])
def test_the_equations_are_solved(n, is_periodic, tie):
    rhs = np.random.default_rng(n).normal(size=(n, 2, 3))
    matrix = np.eye(n) + tie * (np.eye(n, k=1) + np.eye(n, k=-1))
    if is_periodic:
        matrix[0, -1] = matrix[-1, 0] = tie
    found = solve(tie, rhs, is_periodic)
    np.testing.assert_allclose(np.einsum("ij,j...->i...", matrix, found), rhs, atol=4e-15)
    assert solve(tie, rhs.astype(np.float32), is_periodic).dtype == np.float32


@pytest.mark.parametrize("n", range(1, 18))
def test_any_tridiagonal_matrix_of_dominant_diagonal(n):
    rng = np.random.default_rng(n)
    lower, upper, rhs = rng.uniform(-1, 1, (3, n))
    lower[0] = upper[-1] = 0
    diagonal = 2.5 + rng.uniform(0, 1, n)
    matrix = np.diag(diagonal) + np.diag(lower[1:], -1) + np.diag(upper[:-1], 1)
    np.testing.assert_allclose(_tridiagonal(lower, diagonal, upper, rhs), np.linalg.solve(matrix, rhs), atol=1e-14)
