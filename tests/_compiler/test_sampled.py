"""Functions of sampled data: values as NumPy's, derivatives as differences say."""

import numpy as np
import pytest
from interpret import agree, check_gradient

import fastgrad as fg

A = np.array([[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, -2.5], [3.0, 0.125, -1.0, 1.75]])
V = A[0]
C = np.linspace(-1, 1, 12).reshape(3, 4)
CUBE = np.arange(24.0).reshape(2, 3, 4) / 7 - 1
MASK = A > 0


def test_differences():
    agree(
        lambda x: (np.diff(x, prepend=0.0), np.diff(x, append=C[:, :1]), np.diff(x, 2, 0, 1.0, x[:1]), np.diff(x > 0)),
        A,
    )
    agree(lambda x: (np.ediff1d(x), np.ediff1d(x, to_end=[1, 2], to_begin=x[0, 0]), np.ediff1d(x[0], 9.0)), A)
    agree(lambda x: np.diff(x, append=x[0]), V)
    agree(lambda x: np.ediff1d(x, to_end=1.0), V.astype(np.float32))
    check_gradient(lambda x: (np.diff(x, prepend=0, append=x[:, :1]), np.ediff1d(x)), A)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradients_of_sampled_fields(edge_order):
    points = np.array([0.0, 0.5, 0.75, 2.0])
    cases = (
        lambda x: np.gradient(x, edge_order=edge_order),
        lambda x: np.gradient(x, 0.5, edge_order=edge_order),
        lambda x: np.gradient(x, 0.5, 2, edge_order=edge_order),
        lambda x: np.gradient(x, axis=0, edge_order=edge_order),
        lambda x: np.gradient(x, points, axis=1, edge_order=edge_order),
        lambda x: np.gradient(x, 2.0, points, axis=(0, 1), edge_order=edge_order),
        lambda x: np.gradient(x[0], points, edge_order=edge_order),
    )
    for case in cases:
        agree(case, A, rtol=1e-13, atol=1e-14)
        check_gradient(case, A)
    agree(lambda x: np.gradient(x, 0.5, edge_order=edge_order), V.astype(np.float32), rtol=1e-6)
    check_gradient(lambda x, p: np.gradient(x, p, axis=1, edge_order=edge_order), A, points, second=True)
    check_gradient(lambda x, h: np.gradient(x, h, edge_order=edge_order), V, 0.5, second=True)
    agree(lambda x: np.gradient(x[:2]), V)


def test_integrals():
    integrate = getattr(np, "trapezoid", None) or vars(np)["trapz"]
    agree(
        lambda x: (integrate(x), integrate(x, dx=0.5, axis=0), integrate(x, [0, 1, 1.5, 3]), integrate(x, C, axis=0)),
        A,
        rtol=1e-13,
    )
    agree(lambda x: (integrate(V, x[0]), integrate(x, x + 1.0)), A, rtol=1e-13)
    check_gradient(integrate, A, C, second=True)


KNOTS = np.array([-1.0, 0.25, 0.5, 2.0])
HEIGHTS = np.array([1.0, -2.0, 0.5, 4.0])


def test_interpolation():
    x = np.array([-3.0, -1.0, -0.5, 0.25, 0.3, 0.5, 1.0, 2.0, 2.5, np.nan, np.inf, -np.inf])
    agree(lambda x: (np.interp(x, KNOTS, HEIGHTS), np.interp(x, KNOTS, HEIGHTS, left=9.0, right=-9.0)), x)
    agree(
        lambda x: (
            np.interp(x, KNOTS, HEIGHTS, right=7),
            np.interp(x, [1.0], [2.0], left=3),
            np.interp(x, [0, 0, 1], [1, 2, 3]),
        ),
        x,
    )
    agree(
        lambda fp: (np.interp(x, KNOTS, fp), np.interp(0.3, KNOTS, fp, left=fp[0] * 2), np.interp(C, KNOTS, fp)),
        HEIGHTS,
    )
    agree(lambda x: np.interp(x, KNOTS, HEIGHTS), x[:4].astype(np.float32))
    agree(lambda x, low: np.interp(x, KNOTS, HEIGHTS, low, 2 * low), x, 5.0)
    check_gradient(lambda x, fp, low: np.interp(x, KNOTS, fp, low), x[[0, 2, 4, 6, 8]], HEIGHTS, 0.5, second=True)
    slopes = np.diff(HEIGHTS) / np.diff(KNOTS)
    each = fg.vmap(fg.grad(lambda x: np.interp(x, KNOTS, HEIGHTS)))(x[:9])
    np.testing.assert_allclose(
        each, [0, slopes[0], slopes[0], slopes[1], slopes[1], slopes[2], slopes[2], 0, 0], rtol=1e-14
    )
    assert np.isfinite(fg.grad(lambda fp: np.interp(0.0, [0, 0, 1], fp))(np.ones(3))).all()


@pytest.mark.skipif("remainder" not in fg._compiler.graph.ELEMENTWISE, reason="needs remainders")
def test_periods():
    x = np.array([-3.0, -0.2, 0.3, 1.0, 2.5, 7.75])
    agree(lambda x: np.interp(x, KNOTS, HEIGHTS, period=2.5), x, rtol=1e-12)
    check_gradient(lambda x, fp: np.interp(x, KNOTS, fp, period=2.5), x + 0.01, HEIGHTS)  # clear of the knots
    if np.cumsum in fg._compiler.operands.FUNCTIONS:
        agree(
            lambda x: (np.unwrap(x), np.unwrap(4 * x, period=3.0), np.unwrap(5 * C, axis=0), np.unwrap(x, 4)),
            x,
            rtol=1e-13,
        )
        check_gradient(np.unwrap, 2 * x)


@pytest.mark.skipif("trunc" not in fg._compiler.graph.ELEMENTWISE, reason="needs truncation")
@pytest.mark.filterwarnings("ignore:numpy.fix is deprecated")
def test_fix():
    agree(np.fix, A * 3)


def test_places_among_constant_points_are_numbers_without_derivative():
    bins = np.array([-1.0, 0.25, 0.25, 2.0])
    x = np.array([-2.0, -1.0, 0.25, 1.0, 2.0, 3.0, np.nan])
    for side in ("left", "right"):
        agree(lambda x: (np.searchsorted(bins, x, side), np.searchsorted(bins[::-1], x, side, sorter=[3, 2, 1, 0])), x)  # noqa: B023
    agree(lambda x: (np.digitize(x, bins), np.digitize(x, bins, right=True), np.searchsorted(bins, x[0])), x)
    agree(lambda x: (np.digitize(x, bins[::-1]), np.digitize(x, bins[::-1], right=True)), x[:-1])
    assert fg.grad(lambda x: np.sum(np.digitize(x, bins) * x))(x[:-1]).tolist() == [0, 1, 3, 3, 4, 4]


def test_pieces():
    agree(
        lambda x: (
            np.select([x > 1, x > 0], [x, 2 * x], -1.0),
            np.select([MASK, x < -1], [1, 2]),
            np.select([MASK], [x]),
        ),
        A,
    )
    agree(lambda x: np.select([MASK, C > 0], [V, x], 7.0), A)
    agree(
        lambda x: (
            np.piecewise(x, [x < 0, x >= 1], [lambda v: -v, np.exp, 3.0]),
            np.piecewise(x, [x < 0], [lambda v: v**2]),
        ),
        A,
    )
    agree(lambda x: np.piecewise(x, [MASK, C > 0], [1.0, lambda v, k, power=1: k * v**power], 5, power=2), A)
    agree(lambda x: np.piecewise(x, x < 0, [1.0, 2.0]), V)
    agree(
        lambda x: (
            np.piecewise(x[0], [x[0] < 0, x[0] >= 0], [-1.0, np.sqrt]),
            np.piecewise(x, [True, False, True, True], [1, 2]),
        ),
        V,
    )
    check_gradient(lambda x: np.piecewise(x, [x < 0, x > 1], [np.exp, lambda v: v**3, lambda v: 2 * v]), A, second=True)
    gradient = fg.grad(lambda x: np.sum(np.piecewise(x, [x > 0], [np.log, 0.0])))(np.array([2.0, 0.0, -1.0]))
    assert gradient.tolist() == [0.5, 0, 0]


def test_functions_along_axes():
    agree(lambda x: (np.apply_along_axis(np.sum, 0, x), np.apply_along_axis(lambda v: v[::-1] * v[0], 1, x)), A)
    agree(lambda x: (np.apply_along_axis(np.outer, 1, x, [1.0, 2.0]), np.apply_along_axis(np.diff, 0, x, n=2)), CUBE)
    agree(lambda x: np.apply_over_axes(np.sum, x, [0, 2]), CUBE)
    check_gradient(lambda x: np.apply_along_axis(lambda v: np.outer(v, v), 1, x), A, second=True)


def test_points_between_traced_ends():
    agree(
        lambda x: (
            np.linspace(x[0], 2.0, 5),
            np.linspace(x, x + 1, 4, axis=1),
            np.linspace(0, x[:, 1], 3, endpoint=False),
        ),
        A,
    )
    agree(lambda x: np.linspace(x[0, 0], x[0, 1], 1) + sum(np.linspace(0, x, 4, retstep=True)), A)
    agree(
        lambda x: (np.logspace(x[0], 2, 5), np.logspace(x, 1, 3, base=2.0), np.geomspace(x + 3, 7.0, 4)), A, rtol=1e-13
    )
    agree(lambda x: (np.geomspace(-1.0, x[0, 3] - 1, 5), np.geomspace(x[0, 0], 2, 5, endpoint=False)), A, rtol=1e-13)
    check_gradient(
        lambda a, b: (np.linspace(a, b, 5), np.logspace(a, b, 4), np.geomspace(a + 4, b + 4, 4)), A, C, second=True
    )


def test_sums_in_constant_bins():
    agree(lambda x: (np.bincount([0, 2, 2, 5], x), np.bincount([1, 1, 0, 0], weights=x, minlength=4)), V)
    check_gradient(lambda x: np.bincount([0, 2, 2, 5], x), V)
