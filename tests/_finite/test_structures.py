"""Where a sparse matrix may differ from zero, and groups of its columns: few, and of columns that share no row."""

import time

import numpy as np
import pytest
from scipy import sparse
from sparse_examples import (
    PATTERNS,
    SQUARE,
    Counted,
    arrow,
    band,
    scattered,
)

from fastgrad._finite.sparsity import jacobian_by_groups
from fastgrad._finite.structures import Structure, groups, read_structure, symmetric_groups

# ---- structures


@pytest.mark.parametrize(
    "made",
    [np.asarray, np.ndarray.tolist, sparse.csr_array, sparse.csc_matrix, sparse.coo_matrix, sparse.lil_array],
    ids=["array", "list", "csr", "csc", "coo", "lil"],
)
def test_a_structure_is_read_from_anything_that_says_where(made):
    pattern = scattered(6, 9, 0.3).astype(float)
    structure, given = read_structure(made(pattern), (6, 9))
    assert given is None
    assert np.array_equal(structure.matrix(np.ones(structure.column.size)).toarray(), pattern)
    assert np.array_equal(structure.transposed.matrix(np.ones(structure.column.size)).toarray(), pattern.T)


def test_repeated_elements_count_once_and_stored_zeros_too():
    given = sparse.coo_array(([1.0, 0.0, 2.0, 3.0], ([1, 0, 1, 1], [2, 1, 2, 0])), shape=(2, 3))
    structure, _ = read_structure(given, (2, 3))
    assert structure.row.tolist() == [0, 1, 1]
    assert structure.column.tolist() == [1, 0, 2]


def test_a_hessian_is_known_by_one_triangle():
    structure, _ = read_structure(np.tril(band(5, -1)), (5, 5), symmetric=True)
    assert np.array_equal(structure.matrix(np.ones(13)).toarray(), band(5, -1, 1))


def test_what_describes_another_matrix_is_refused():
    with pytest.raises(ValueError, match=r"sparsity has shape \(3, 4\), but the matrix .* \(4, 3\)"):
        read_structure(np.ones((3, 4)), (4, 3))
    with pytest.raises(ValueError, match="sparsity is 'csr': pass"):
        read_structure("csr", (4, 3))


def test_groups_of_the_callers_are_taken_and_checked():
    pattern = band(6, -1, 1)
    structure, given = read_structure((pattern, [5, 7, 9, 5, 7, 9]), (6, 6))
    assert structure.column.size == 16
    assert given.tolist() == [0, 1, 2, 0, 1, 2]
    for wrong in ([0, 1, 0, 1, 0, 1], [0, 1, 2], [0.0, 1, 2, 0, 1, 2]):
        with pytest.raises(ValueError, match="groups"):
            read_structure((pattern, wrong), (6, 6))
    _, given = read_structure((arrow(6), [1, 0, 0, 0, 0, 0]), (6, 6), symmetric=True)
    assert given.tolist() == [1, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match=r"groups put column \d together with another that is nonzero in row \d"):
        read_structure((pattern, [0, 1, 0, 1, 0, 1]), (6, 6), symmetric=True)


# ---- groups


def alone(pattern, group):
    """Where no other column of an element's group is nonzero in its row."""
    members = np.eye(int(group.max(initial=0)) + 1)[group]
    return ((pattern != 0) @ members)[:, group] == 1


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_columns_of_a_group_share_no_row(pattern):
    group = groups(read_structure(pattern, pattern.shape)[0])
    assert group.shape == pattern.shape[1:]
    assert np.array_equal(np.unique(group), np.arange(group.max(initial=-1) + 1))
    assert (alone(pattern, group) | (pattern == 0)).all()


@pytest.mark.parametrize("pattern", SQUARE.values(), ids=SQUARE)
def test_an_element_of_a_hessian_or_its_mirror_is_alone(pattern):
    structure, _ = read_structure(pattern, pattern.shape, symmetric=True)
    whole = structure.matrix(np.ones(structure.column.size)).toarray()
    is_alone = alone(whole, symmetric_groups(structure))
    assert (is_alone | is_alone.T | (whole == 0)).all()


@pytest.mark.parametrize(
    ("name", "most", "most_symmetric"),
    [
        ("tridiagonal", 3, 3),
        ("renumbered tridiagonal", 3, 3),
        ("grid", 7, 6),
        ("renumbered grid", 8, 7),
        ("arrow", 12, 2),
        ("nothing", 1, None),
        ("a row full", 8, None),
        ("no columns", 0, None),
    ],
)
def test_groups_are_few(name, most, most_symmetric):
    pattern = PATTERNS[name]
    structure = read_structure(pattern, pattern.shape)[0]
    assert groups(structure).max(initial=-1) + 1 <= most
    if most_symmetric is not None:
        assert symmetric_groups(structure).max() + 1 <= most_symmetric


def test_a_large_tridiagonal_matrix_takes_four_evaluations_and_little_time():
    n = 100_000
    x = np.linspace(-1, 1, n)
    h = 1.5e-8 * np.maximum(np.abs(x), 1)
    given = sparse.diags_array([np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1], format="csr")

    def chain(x):
        out = 3 * x**2
        out[1:] += x[:-1] * x[1:]
        out[:-1] += np.sin(x[1:])
        return out

    values = Counted(chain)
    start = time.perf_counter()
    structure, _ = read_structure(given, (n, n))
    found = jacobian_by_groups(values, x, h, "2-point", structure, groups(structure))
    assert time.perf_counter() - start < 1
    assert values.nfev == 4
    lower, main, upper = x[1:], 6 * x + np.concatenate([[0], x[:-1]]), np.cos(x[1:])
    for k, exact in ((-1, lower), (0, main), (1, upper)):
        np.testing.assert_allclose(found.diagonal(k), exact, atol=2e-7)


def test_a_large_arrow_has_a_hessian_in_two_groups_and_little_time():
    n = 100_000
    i = np.arange(1, n)
    structure = Structure.of(np.concatenate([i, i]), np.concatenate([i, 0 * i]), (n, n)).symmetric
    start = time.perf_counter()
    group = symmetric_groups(structure)
    assert time.perf_counter() - start < 1
    assert group.max() == 1
