"""Compact schemes: their coefficients, and the equations that they solve."""

from fractions import Fraction

import numpy as np
import pytest

from fastgrad import _core
from fastgrad._grid.compact import scheme, solve


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


@pytest.mark.parametrize("n", [*range(3, 20), 64, 101, 3000])
@pytest.mark.parametrize("is_periodic", [False, True])
@pytest.mark.parametrize("tie", [0.1, 0.25, 1 / 3, 0.375])
def test_the_equations_are_solved(n, is_periodic, tie):
    rhs = np.random.default_rng(n).normal(size=(2, n, 3))
    for dtype in (np.float64, np.float32, np.complex128, np.complex64):
        found = (rhs * (2 - 1j)).astype(dtype) if np.dtype(dtype).kind == "c" else rhs.astype(dtype)
        wanted = found.copy()
        solve(tie, found, 1, is_periodic)
        sums = found.copy()
        sums[:, 1:] += tie * found[:, :-1]
        sums[:, :-1] += tie * found[:, 1:]
        if is_periodic:
            sums[:, 0] += tie * found[:, -1]
            sums[:, -1] += tie * found[:, 0]
        np.testing.assert_allclose(sums, wanted, atol=30 * np.finfo(dtype).eps)


def test_lines_that_cannot_be_solved():
    lines = np.ones((4, 5))
    for axis in (-1, 2):
        with pytest.raises(ValueError, match=f"axis {axis} is not one of 2"):
            _core.solve_ties(lines, axis, 0.25)
    for tie in (0.5, -0.5, np.nan):
        with pytest.raises(ValueError, match="less than 1/2"):
            _core.solve_ties(lines, 0, tie)
    for bad in (np.ones(4, int), np.ones(4, ">f8"), np.ones(4, complex)):
        with pytest.raises(TypeError, match="float64 or float32"):
            _core.solve_ties(bad, 0, 0.25)
    with pytest.raises(ValueError, match="read-only"):
        _core.solve_ties(np.broadcast_to(lines, (3, 4, 5)), 1, 0.25)
    with pytest.raises(ValueError, match="share memory"):
        _core.solve_ties(np.lib.stride_tricks.as_strided(lines, (4, 5), (0, 8)), 1, 0.25)


def test_what_is_no_number_is_the_whole_line_and_no_other():
    n = 200
    for is_periodic in (False, True):
        for point in (0, 100, n - 1):
            lines = np.ones((3, n))
            lines[1, point] = np.nan
            solve(0.25, lines, 1, is_periodic)
            np.testing.assert_array_equal(np.isnan(lines).sum(axis=1), [0, n, 0])


def test_memory_comes_back():
    live = _core.live_memory()
    for _ in range(20):
        solve(0.375, np.ones((50, 600, 2)), 1, True)
    assert _core.live_memory() == live
