"""Sparse differences: as dense ones, from a handful of evaluations."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize._numdiff import approx_derivative
from sparse_examples import (
    PATTERNS,
    SYMMETRIC,
    Counted,
    band,
    function_of,
    objective_of,
    point,
    scattered,
)

from fastgrad._finite import sparsity
from fastgrad._finite.pairs import hessian_by_values
from fastgrad._finite.sparsity import (
    by_room,
    detect,
    group_coordinates,
    hessian_by_groups,
    jacobian_by_groups,
    linear_operator,
    only_own,
    spread,
)
from fastgrad._finite.structures import groups, read_structure, symmetric_groups

# ---- Jacobians


@pytest.mark.parametrize("scheme", ["2-point", "3-point", "cs"])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_a_sparse_jacobian_is_the_exact_one(pattern, scheme):
    fun, exact = function_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape)
    x = point(pattern.shape[1])
    step = {"2-point": 1e-8, "3-point": 1e-5, "cs": 1e-20}[scheme]
    found = jacobian_by_groups(Counted(fun), x, np.full(x.size, step), scheme, structure, groups(structure))
    assert isinstance(found, sparse.csr_array)
    assert found.nnz == np.count_nonzero(pattern)
    tolerance = {"2-point": 1e-6, "3-point": 1e-8, "cs": 1e-14}[scheme]
    np.testing.assert_allclose(found.toarray(), exact(x), atol=tolerance)


@pytest.mark.parametrize("scheme", ["2-point", "3-point", "cs"])
def test_it_is_scipys_bit_by_bit(scheme):
    pattern = scattered(20, 30, 0.1)
    fun, _ = function_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape)
    group, x = groups(structure), point(30)
    lower = np.where(np.arange(30) % 3 == 0, x, -np.inf)  # these are one-sided
    rel_step = {"2-point": 2.0**-26, "3-point": 2.0**-17, "cs": 2.0**-26}[scheme]
    expected = approx_derivative(
        fun, x, method=scheme, rel_step=rel_step, bounds=(lower, np.inf), sparsity=(pattern, group)
    )
    h = rel_step * np.where(x < 0, -1, 1) * np.abs(x)
    is_aside = lower == x
    if scheme == "3-point":
        h = np.abs(h)
    elif scheme == "2-point":
        h = np.where(is_aside, np.abs(h), h)
    found = jacobian_by_groups(Counted(fun), x, h, scheme, structure, group, one_sided=is_aside)
    assert np.array_equal(found.toarray(), expected.toarray())


def test_values_at_x_are_used_where_they_are_known():
    pattern = band(30, -1, 1)
    fun, _ = function_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape)
    x, h = point(30), np.full(30, 1e-6)
    for scheme, with_f0, without in (("2-point", 3, 4), ("3-point", 6, 6), ("cs", 3, 3)):
        values = Counted(fun)
        first = jacobian_by_groups(values, x, h, scheme, structure, groups(structure))
        assert values.nfev == without
        again = jacobian_by_groups(values, x, h, scheme, structure, groups(structure), f0=fun(x))
        assert values.nfev == without + with_f0
        assert np.array_equal(first.toarray(), again.toarray())


def test_one_sided_steps_are_accurate_and_stay_on_their_side():
    pattern = band(30, -1, 1)
    fun, exact = function_of(pattern)
    x = point(30)
    is_aside = np.arange(30) % 2 == 0
    seen = []
    structure, _ = read_structure(pattern, pattern.shape)

    def values(points):
        seen.append(points)
        return np.stack([fun(p) for p in points])

    h = np.where(np.arange(30) % 4 == 0, -1e-5, 1e-5)
    found = jacobian_by_groups(values, x, h, "3-point", structure, groups(structure), one_sided=is_aside)
    np.testing.assert_allclose(found.toarray(), exact(x), atol=1e-8)
    assert ((np.concatenate(seen) - x) * np.sign(h) >= 0)[:, is_aside].all()


def test_rounding_does_not_carry_a_point_past_a_limit():
    n = 50
    x, upper = point(n), point(n, seed=4) + 2
    h = (upper - x) / 2
    assert (x + 2 * h > upper).any()
    structure, _ = read_structure(band(n, -1, 1), (n, n), symmetric=True)
    limits = np.full(n, -np.inf), upper
    fun, gradient, _ = objective_of(band(n, -1, 1))
    is_aside = np.ones(n, bool)

    def watched(fun):
        def values(points):
            assert (points <= upper).all()
            return np.stack([np.atleast_1d(fun(p)) for p in points])

        return values

    for scheme, step in (("3-point", h), ("2-point", 2 * h)):
        of_groups = (x, step, scheme, structure)
        jacobian_by_groups(watched(gradient), *of_groups, groups(structure), one_sided=is_aside, limits=limits)
        hessian_by_groups(watched(gradient), *of_groups, symmetric_groups(structure), one_sided=is_aside, limits=limits)
        hessian_by_values(watched(fun), *of_groups, one_sided=is_aside, limits=limits)


def test_blocks_of_points_do_not_change_a_bit(monkeypatch):
    pattern = scattered(20, 30, 0.3)
    fun, _ = function_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape)
    x, h = point(30), np.full(30, 1e-5)

    def jacobian():
        return jacobian_by_groups(Counted(fun), x, h, "3-point", structure, groups(structure)).toarray()

    whole = jacobian()
    for size in (1, 5 * x.nbytes):
        monkeypatch.setattr(sparsity, "BLOCK_BYTES", size)
        assert np.array_equal(jacobian(), whole)


def test_a_nan_stays_in_its_row():
    pattern = band(10, -1, 1)
    fun, exact = function_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape)
    x = point(10)

    def broken(x):
        out = fun(x)
        out[4], out[7] = np.nan, np.inf
        return out

    found = jacobian_by_groups(Counted(broken), x, np.full(10, 1e-5), "3-point", structure, groups(structure)).toarray()
    rows = np.array([4, 7])
    assert np.isnan(found[rows]).sum() == 6
    np.testing.assert_allclose(np.delete(found, rows, 0), np.delete(exact(x), rows, 0), atol=1e-8)


def test_float32_stays_float32():
    pattern = band(10, -1, 1)
    fun, exact = function_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape)
    x = point(10).astype(np.float32)
    values = Counted(lambda x: fun(x).astype(x.dtype))
    for h in (np.full(10, 2**-8, np.float32), np.full(10, 2**-8)):
        found = jacobian_by_groups(values, x, h, "3-point", structure, groups(structure))
        assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), exact(x), atol=1e-3)


def test_a_scheme_that_is_none_is_refused():
    structure, _ = read_structure(np.eye(3), (3, 3))
    x = np.ones(3)
    with pytest.raises(ValueError, match='"2-point", "3-point" or "cs"'):
        jacobian_by_groups(Counted(np.sin), x, x, "4-point", structure, groups(structure))
    with pytest.raises(ValueError, match='"2-point", "3-point" or "cs"'):
        linear_operator(SimpleNamespace(values=Counted(np.sin), out_shape=(3,)), x, 1e-8, "adaptive")


def test_any_dense_method_serves_in_group_coordinates():
    pattern = scattered(20, 30, 0.1)
    fun, exact = function_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape)
    group, x = groups(structure), point(30)
    lower, upper = x - 0.25, x + 0.5
    scale = np.where(np.arange(30) % 2, 1.0, -1.0) * (1 + np.arange(30) / 30)
    values, least, most = group_coordinates(Counted(fun), x, scale, group, lower, upper)
    assert (least < 0).all()
    assert (most > 0).all()
    for t in (np.diag(least), np.diag(most)):
        moved = x + t[:, group] * scale
        assert (moved >= lower - 1e-15).all()
        assert (moved <= upper + 1e-15).all()
    t = 1e-5 * np.eye(least.size)
    derivative = (values(t) - values(-t)) / 2e-5
    np.testing.assert_allclose(spread(derivative, scale, structure, group).toarray(), exact(x), atol=1e-8)


def test_groups_are_parted_by_room():
    x, upper = np.zeros(7), np.array([np.inf, 1, 1e-13, 5e-14, 1e-6, 0, 0])
    lower = np.array([-np.inf, 0, 0, 0, 0, -1, 0])
    found, direction = by_room(x, np.ones(7), np.zeros(7, np.int64), lower, upper)
    assert found[:6].tolist() == [0, 0, 2, 2, 1, 0]
    assert direction.tolist() == [1, 1, 1, 1, 1, -1, 1]
    values, least, most = group_coordinates(Counted(np.exp), x, direction, found, lower, upper)
    assert least.tolist() == [0, 0, 0]
    assert most.tolist() == [1, 1e-6, 5e-14]
    assert np.array_equal(values(np.ones((1, 3)))[0], np.exp([1, 1, 1e-13, 5e-14, 1e-6, -1, 0]))
    # as little for all of them is no reason
    assert not by_room(x, np.ones(7), np.zeros(7, np.int64), x - 1e-9, x + 1e-9)[0].any()


def test_a_group_sees_its_own_values_alone():
    structure, _ = read_structure(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]), (3, 3))
    group, f0 = np.array([0, 1, 0]), np.array([10.0, 20, 30])
    values = only_own(lambda t: t @ np.ones((2, 3)), f0, structure, group, 2)
    found = values(np.array([[1.0, 0], [0, 2], [0, 0]]))
    assert found.tolist() == [[1, 20, 1], [2, 2, 30], [10, 20, 30]]


# ---- Hessians


@pytest.mark.parametrize("scheme", ["2-point", "3-point", "cs"])
@pytest.mark.parametrize("pattern", SYMMETRIC.values(), ids=SYMMETRIC)
def test_a_hessian_from_gradients(pattern, scheme):
    _, gradient, hessian = objective_of(pattern)
    structure, _ = read_structure(pattern, pattern.shape, symmetric=True)
    x = point(len(pattern))
    step = {"2-point": 1e-8, "3-point": 1e-5, "cs": 1e-20}[scheme]
    found = hessian_by_groups(
        Counted(gradient), x, np.full(x.size, step), scheme, structure, symmetric_groups(structure)
    ).toarray()
    np.testing.assert_allclose(found, hessian(x), atol={"2-point": 1e-6, "3-point": 1e-8, "cs": 1e-13}[scheme])
    assert np.array_equal(found, found.T)


# ---- detection


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_a_structure_is_found(pattern):
    fun, _ = function_of(pattern)
    x = point(pattern.shape[1])
    values = Counted(fun)
    found = detect(values, x, len(pattern))
    assert found.shape == pattern.shape
    assert np.array_equal(found.matrix(np.ones(found.column.size)).toarray() != 0, pattern != 0)
    assert values.nfev <= 3 * x.size + 1 + np.ceil(np.log2(max(x.size, 1)))


def test_a_band_is_found_in_few_evaluations():
    n = 4000

    def chain(points):
        out = np.sin(points)
        out[:, 1:] += points[:, :-1]
        out[:, :-1] += points[:, 1:] ** 2
        chain.nfev += len(points)
        return out

    chain.nfev = 0
    found = detect(chain, np.zeros(n), n)
    assert np.array_equal(found.column, read_structure(band(n, -1, 1), (n, n))[0].column)
    assert chain.nfev <= (2 * 3 + 1) * 12


def test_detection_stays_within_bounds_and_near_x():
    x = np.array([1.0, 0.0, -500.0, 2.0])
    lower, upper = np.array([1.0, -np.inf, -500.0, 1.9999]), np.array([np.inf, 0.0, -499.9, 2.0001])

    def values(points):
        assert (points >= lower).all()
        assert (points <= upper).all()
        assert (np.abs(points - x) <= 1e-3 * np.maximum(np.abs(x), 1)).all()
        return points + points[:, ::-1]

    found = detect(values, x, 4, lower=lower, upper=upper)
    assert np.array_equal(found.matrix(np.ones(8)).toarray(), np.eye(4) + np.eye(4)[::-1])


def test_a_product_at_zero_depends_on_its_factors():
    found = detect(Counted(lambda x: np.array([x[0] * x[1], x[2] ** 2])), np.zeros(3), 2)
    assert found.row.tolist() == [0, 0, 1]
    assert found.column.tolist() == [0, 1, 2]


def test_detection_says_where_it_cannot_see():
    with pytest.raises(ValueError, match=r'"auto" found nan as value 1 near x0.*pass the structure'):
        detect(Counted(lambda x: np.array([x[0], np.nan * x[1]])), np.ones(2), 2)


def test_detection_is_the_same_again():
    fun, _ = function_of(scattered(20, 30, 0.1))
    seen = []

    def values(points):
        seen.append(points)
        return np.stack([fun(p) for p in points])

    detect(values, point(30), 20)
    detect(values, point(30), 20)
    half = len(seen) // 2
    assert all(np.array_equal(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))


def test_detection_compares_what_was_evaluated_together():
    pattern = scattered(12, 12, 0.2)
    fun, _ = function_of(pattern)

    def values(points):
        seen.append(len(points))
        rounded = 1 + np.finfo(float).eps * (len(points) % 3)  # by another way for another number of points
        return np.stack([fun(p) for p in points]) * rounded

    for size in (sparsity.BLOCK_BYTES, 2 * 12 * 8):
        seen = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sparsity, "BLOCK_BYTES", size)
            found = detect(values, point(12), 12)
        assert np.array_equal(found.matrix(np.ones(found.column.size)).toarray() != 0, pattern)
    assert max(seen) == 3


def test_detection_moves_whatever_has_any_room():
    x = np.full(40, 1.0)
    found = detect(lambda points: points.copy(), x, 40, lower=x, upper=np.nextafter(x, 2))
    assert np.array_equal(found.row, found.column)
    assert found.column.size == 40
    assert detect(lambda points: points.copy(), x, 40, lower=x, upper=x).column.size == 0


# ---- operators


@pytest.mark.parametrize("scheme", ["2-point", "3-point", "cs"])
@pytest.mark.parametrize("steps", [1e-6, np.geomspace(1e-6, 1e-5, 8)], ids=["length", "components"])
def test_a_linear_operator_multiplies_by_the_jacobian(scheme, steps):
    fun, exact = function_of(scattered(5, 8, 0.5))
    x = point(8)
    calls = SimpleNamespace(values=Counted(fun), out_shape=(5,))
    operator = linear_operator(calls, x, steps, scheme)
    assert operator.shape == (5, 8)
    before = calls.values.nfev
    v = point(8, seed=9)
    tolerance = {"2-point": 1e-4, "3-point": 1e-8, "cs": 1e-9}[scheme]
    np.testing.assert_allclose(operator @ v, exact(x) @ v, atol=tolerance)
    assert calls.values.nfev - before == (2 if scheme == "3-point" else 1)
    np.testing.assert_allclose(operator @ np.eye(8), exact(x), atol=tolerance)
    assert np.array_equal(operator @ np.zeros(8), np.zeros(5))
    assert np.isnan(operator @ np.full(8, np.nan)).all()
    with pytest.raises(TypeError, match="complex"):
        operator @ (v + 1j)


def test_no_component_moves_farther_than_its_step():
    x, h = np.zeros(3), np.array([1e-3, 1e-6, 1e-4])

    def values(points):
        assert (np.abs(points - x) <= h * (1 + 1e-12)).all()
        return points

    operator = linear_operator(SimpleNamespace(values=values, out_shape=(3,)), x, h, "3-point")
    for v in (np.array([1.0, 1, 1]), np.array([0, 0, 7.0]), np.array([1e9, 1e-9, 0])):
        np.testing.assert_allclose(operator @ v, v)


def test_it_is_scipys_operator():
    fun, _ = function_of(scattered(5, 8, 0.5))
    x, v = point(8), point(8, seed=9)
    for scheme in ("2-point", "3-point", "cs"):
        theirs = approx_derivative(fun, x, method=scheme, rel_step=1e-6, as_linear_operator=True)
        ours = linear_operator(SimpleNamespace(values=Counted(fun), out_shape=(5,)), x, 1e-6, scheme)
        np.testing.assert_allclose(ours @ v, theirs @ v, rtol=1e-7)


def test_scipy_is_imported_only_when_used():
    code = "import sys, fastgrad._finite.sparsity, fastgrad._finite.pointers; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
