"""Sparse Hessians from values: accurate, symmetric, of the stated order, with the stated number of evaluations."""

import math

import numpy as np
import pytest
from sparse_examples import SYMMETRIC, Counted, objective_of, point

from fastgrad._finite import sparsity
from fastgrad._finite.pairs import hessian_by_values
from fastgrad._finite.structures import read_structure


@pytest.mark.parametrize("scheme", ["2-point", "3-point", "one-sided", "mixed"])
@pytest.mark.parametrize("pattern", SYMMETRIC.values(), ids=SYMMETRIC)
def test_a_hessian_from_values(pattern, scheme):
    fun, _, hessian = objective_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape, symmetric=True)
    n = len(pattern)
    x, values = point(n), Counted(fun)
    one_sided = {"one-sided": np.ones(n, bool), "mixed": np.arange(n) % 2 == 0}.get(scheme)
    of_scheme = "2-point" if scheme == "2-point" else "3-point"
    found = hessian_by_values(values, x, np.full(n, 2.0**-12), of_scheme, structure, one_sided=one_sided).toarray()
    np.testing.assert_allclose(found, hessian(x), atol=2e-2 if scheme == "2-point" else 1e-4)
    assert np.array_equal(found, found.T)
    pairs = np.count_nonzero(np.tril(pattern, -1))
    if one_sided is None:
        assert values.nfev == 1 + 2 * n + pairs * (1 if scheme == "2-point" else 2)
    before = values.nfev
    again = hessian_by_values(values, x, np.full(n, 2.0**-12), of_scheme, structure, f0=fun(x), one_sided=one_sided)
    assert np.array_equal(again.toarray(), found)
    assert values.nfev == 2 * before - 1


@pytest.mark.parametrize(
    ("scheme", "one_sided", "order"), [("2-point", None, 1), ("3-point", None, 2), ("3-point", [1, 1, 0, 1], 2)]
)
def test_a_hessian_from_values_converges_at_its_order(scheme, one_sided, order):
    fun, _, hessian = objective_of(np.ones((4, 4)))
    structure, _ = read_structure(np.ones((4, 4)), (4, 4), symmetric=True)
    x = point(4)
    errors = []
    for h in (2.0**-5, 2.0**-7):
        found = hessian_by_values(Counted(fun), x, np.full(4, h), scheme, structure, one_sided=one_sided)
        errors.append(np.abs(found.toarray() - hessian(x)).max())
    assert math.log(errors[0] / errors[1], 4) == pytest.approx(order, abs=0.25)


def test_a_hessian_from_values_stays_on_its_side():
    fun, _, _ = objective_of(np.ones((5, 5)))
    structure, _ = read_structure(np.ones((5, 5)), (5, 5), symmetric=True)
    x, h = point(5), np.array([1, -1, 1, -1, 1]) * 2.0**-12
    seen = []

    def values(points):
        seen.append((points - x) / h)
        return np.array([[fun(p)] for p in points])

    hessian_by_values(values, x, h, "3-point", structure, one_sided=np.ones(5, bool))
    moves = np.concatenate(seen)
    assert moves.min() >= 0
    assert moves.max() <= 2
    seen.clear()
    hessian_by_values(values, x, h, "2-point", structure)
    assert 0 <= np.concatenate(seen).min() <= np.concatenate(seen).max() <= 1


def test_blocks_of_points_do_not_change_a_bit(monkeypatch):
    pattern = SYMMETRIC["grid"]
    fun, _, _ = objective_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape, symmetric=True)
    x, h = point(len(pattern)), np.full(len(pattern), 1e-4)
    whole = hessian_by_values(Counted(fun), x, h, "3-point", structure).toarray()
    monkeypatch.setattr(sparsity, "BLOCK_BYTES", 5 * x.nbytes)
    assert np.array_equal(hessian_by_values(Counted(fun), x, h, "3-point", structure).toarray(), whole)


def test_a_nan_stays_where_it_is():
    pattern = SYMMETRIC["tridiagonal"]
    fun, _, hessian = objective_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape, symmetric=True)
    x = point(len(pattern))
    values = Counted(lambda y: np.nan if y[3] != x[3] else fun(y))
    found = hessian_by_values(values, x, np.full(x.size, 2.0**-12), "3-point", structure).toarray()
    assert np.isnan(found).sum() == 5
    kept = ~np.isnan(found)
    np.testing.assert_allclose(found[kept], hessian(x)[kept], atol=1e-4)


def test_complex_steps_are_refused():
    structure, _ = read_structure(np.eye(3), (3, 3))
    with pytest.raises(ValueError, match='"2-point" or "3-point"'):
        hessian_by_values(Counted(np.sum), np.ones(3), np.ones(3), "cs", structure)
