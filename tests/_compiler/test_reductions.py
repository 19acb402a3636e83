"""Reductions, statistics and norms: values as NumPy's, derivatives as differences say."""

import numpy as np
import pytest
from interpret import agree, check_gradient

import fastgrad as fg

A = np.array([[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, -2.5], [3.0, 0.125, -1.0, 1.75]])
V = A[0]
C = np.linspace(-1, 1, 12).reshape(3, 4)
CUBE = np.arange(24.0).reshape(2, 3, 4) / 7 - 1
MASK = A > 0


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), (1,), ()])
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "amax", "amin", "var", "std"])
def test_reductions(name, axis):
    function = getattr(np, name)
    agree(lambda x: function(x, axis=axis), A)
    agree(lambda x: function(x, axis=axis, keepdims=True), A)
    agree(lambda x: function(x, axis), A.astype(np.float32), rtol=1e-5)
    if not name.startswith("a"):
        agree(lambda x: getattr(x, name)(axis), A)


def test_reductions_through_ufuncs():
    agree(
        lambda x: (
            np.add.reduce(x),
            np.multiply.reduce(x, axis=1),
            np.maximum.reduce(x),
            np.minimum.reduce(x, axis=None),
        ),
        A,
    )


def test_sums_of_nothing():
    agree(lambda x: (np.sum(x), np.sum(x, 0), np.prod(x)), np.zeros((0, 3)))


def test_degrees_of_freedom():
    agree(lambda x: (np.var(x, ddof=1), np.std(x, 0, ddof=1), x.std(1, None, None, 1)), A)


def test_norms():
    agree(
        lambda x: (
            np.linalg.norm(x),
            np.linalg.norm(x, axis=1),
            np.linalg.norm(x, 1, 0),
            np.linalg.norm(x, np.inf, 1),
        ),
        A,
    )
    agree(lambda x: (np.linalg.norm(x), np.linalg.norm(x, 2), np.linalg.norm(x, axis=0, keepdims=True)), V)
    agree(lambda x: np.linalg.norm(x, "fro"), A)
    agree(np.linalg.norm, np.zeros(3))


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std", "max", "min", "any", "all", "nansum", "nanmean"])
def test_reductions_of_some_elements(name):
    function = getattr(np, name)
    options = {"initial": 0.5} if name in ("max", "min") else {}
    agree(lambda x: (function(x, where=MASK, **options), function(x, axis=0, where=MASK, **options)), A)
    agree(lambda x: function(x, axis=1, where=x > 0, keepdims=True, **options), A)
    agree(lambda x: function(x, axis=0, where=MASK[:, :1], **options), A)


def test_initial_values_and_dtypes():
    agree(
        lambda x: (np.sum(x, initial=2.0), np.prod(x, 0, initial=3), np.max(x, initial=1.0), x.min(1, initial=-1.0)), A
    )
    agree(lambda x: (np.sum(x, dtype=np.float64), np.mean(x, dtype=float), x.prod(dtype="f8")), A.astype(np.float32))
    agree(lambda x: (np.sum(x, 0, np.float32), np.var(x, dtype=np.float32)), A, rtol=1e-6)
    agree(
        lambda x: (
            np.max(x[:0], 0, initial=1.0),
            np.max(x[:0, :0], 0, initial=1.0),
            np.min(x[:0, :2], 1, initial=1.0),
            np.any(x[:0]),
            np.all(x[:0], axis=0),
        ),
        A,
    )
    agree(
        lambda x: (np.sum(x > 0, where=MASK), np.any(x > 0, where=~MASK), np.max(x > 1, initial=False, where=MASK)), A
    )


def test_variances():
    agree(
        lambda x: (
            np.var(x, ddof=2),
            np.std(x, 1, ddof=1, where=MASK),
            np.var(x, mean=np.mean(x)),
            np.var(x, correction=1),
        ),
        A,
    )
    check_gradient(lambda x: (np.var(x, 0, ddof=1), np.std(x, 1), np.std(x, where=MASK)), A, second=True)
    for x in (np.zeros(3), np.full(3, 2.5)):  # a kink: 0 is a subgradient
        assert fg.grad(np.std)(x).tolist() == [0, 0, 0]


def test_ptp_and_counts():
    agree(lambda x: (np.ptp(x), np.ptp(x, 0), np.ptp(x, axis=1, keepdims=True)), A)
    agree(
        lambda x: (
            np.count_nonzero(x),
            np.count_nonzero(x > 0, axis=0),
            np.count_nonzero(np.sign(x), 1, keepdims=True),
        ),
        A,
    )
    check_gradient(lambda x: np.ptp(x, 1), A)


def test_average():
    agree(
        lambda x: (np.average(x), np.average(x, 0), np.average(x, weights=MASK + 1.0), np.average(x, 1, weights=V + 2)),
        A,
    )
    agree(lambda x: np.average(x, 1, returned=True) + np.average(x, axis=0, weights=x[:, 1] + 3, returned=True), A)
    agree(lambda x: (np.average(C, 1, weights=abs(x[0])), np.average(x, 0, [1, 2, 3], keepdims=True)), A)
    agree(lambda x: np.average(x, (2, 0), np.arange(8.0).reshape(4, 2)), CUBE)
    check_gradient(lambda x, w: np.average(x, 1, w), A, V + 2, second=True)


GAPS = np.where(C > 0.6, np.nan, A)


@pytest.mark.filterwarnings(
    "ignore:All-NaN:RuntimeWarning", "ignore:Mean of:RuntimeWarning", "ignore:Degrees:RuntimeWarning"
)
@pytest.mark.parametrize("name", ["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd"])
def test_reductions_without_nan(name):
    function = getattr(np, name)
    agree(lambda x: (function(x), function(x, 0), function(x, axis=1, keepdims=True)), GAPS)
    agree(lambda x: function(x, 0), np.where(C[:, :1] < 9, np.nan, A))
    gradient = fg.grad(lambda x: np.sum(function(x, 0)))(GAPS)
    assert np.isfinite(gradient).all()
    assert (gradient[np.isnan(GAPS)] == 0).all()
    alone = fg.grad(lambda x: np.sum(getattr(np, name[3:])(x, 0)))(A)  # the first column has no gaps
    np.testing.assert_allclose(gradient[:, 0], alone[:, 0], rtol=1e-14, atol=1e-15)


def test_places_of_extremes_are_numbers_without_derivative():
    ties = np.array([[1.0, 3.0, 3.0], [2.0, np.nan, 5.0], [-1.0, -1.0, -1.0]])
    for name in ("argmax", "argmin"):
        function = getattr(np, name)
        for x in (A, CUBE, ties, A.astype(np.float32)):
            agree(lambda x: (function(x), function(x, 0), function(x, axis=-1, keepdims=True), function(x > 0)), x)  # noqa: B023
        agree(lambda x: (getattr(x, name)(1), function(x) * 2.0, np.where(np.arange(4) == function(x[0]), x[0], 0)), A)  # noqa: B023
        assert fg.grad(lambda x: np.argmax(x) * x[0])(V).tolist() == [2, 0, 0, 0]


def test_covariance_and_correlation():
    agree(
        lambda x: (np.cov(x), np.cov(x, rowvar=False), np.cov(x[0]), np.cov(x[0], x[1]), np.cov(x, C, ddof=0)),
        A,
        rtol=1e-13,
    )
    agree(
        lambda x: (np.corrcoef(x), np.corrcoef(x[0], x[1]), np.corrcoef(x, rowvar=False), np.corrcoef(x[0])),
        A,
        rtol=1e-12,
    )
    agree(lambda x: (np.cov(x, bias=True), np.cov(V, x[1])), A, rtol=1e-13)
    check_gradient(lambda x: (np.cov(x), np.corrcoef(x)[0, 1:]), A, second=True)


ORDERS = [None, 1, 2, 3, 1.5, 0.5, -1, -2, 0, np.inf, -np.inf]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_norms_of_vectors(order):
    agree(
        lambda x: (
            np.linalg.norm(x[0], order),
            np.linalg.norm(x, order, 1),
            np.linalg.norm(x, order, axis=0, keepdims=True),
        ),
        A,
        rtol=1e-13,
    )
    agree(lambda x: np.linalg.norm(x, order), np.array([0.0, 2.0, 0.0, -1.0]), rtol=1e-13)
    agree(lambda x: np.linalg.norm(x, order), np.zeros(3))
    check_gradient(lambda x: np.linalg.norm(x - C, order, 1), A, second=True)
    at_zero = fg.grad(lambda x: np.linalg.norm(x, order))(np.zeros(3))
    assert at_zero.tolist() == [0, 0, 0]
    assert np.isfinite(fg.grad(lambda x: np.linalg.norm(x, order))(np.array([0.0, 2.0]))).all()


def test_norms_of_matrices():
    for order in (None, "fro", 1, -1, np.inf, -np.inf):
        agree(lambda x: (np.linalg.norm(x, order), np.linalg.norm(x, order, keepdims=True)), A)  # noqa: B023
        agree(lambda x: (np.linalg.norm(x, order, (0, 2)), np.linalg.norm(x, order, (2, 1), keepdims=True)), CUBE)  # noqa: B023
        check_gradient(lambda x: np.linalg.norm(x, order), A + C / 8, second=True)  # noqa: B023
    assert fg.grad(lambda x: np.linalg.norm(x - x))(A).tolist() == np.zeros((3, 4)).tolist()


def test_trace():
    agree(lambda x: (np.trace(x, 1), np.trace(x[None], axis1=1, axis2=2), x.trace(-1)), A)
