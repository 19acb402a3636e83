"""Differences as sparse matrices."""

import numpy as np
import pytest

import fastgrad as fg

sparse = pytest.importorskip("scipy.sparse")
COORDS = np.array([0.0, 1, 1.5, 3, 4, 6, 6.5, 8, 8.25, 9, 11, 12])


@pytest.mark.parametrize("derivative", range(1, 7))
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"spacing": 0.3, "accuracy": 4},
        {"boundary": "periodic", "accuracy": 4},
        {"coords": COORDS},
        {"coords": np.append(COORDS, 13), "boundary": "periodic"},
        {"boundary": (np.arange(36.0).reshape(4, 9), None), "spacing": 2.0},
    ],
)
def test_the_matrix_times_the_field_is_the_derivative(derivative, axis, options):
    f = np.random.default_rng(0).normal(size=(12, 12, 12))
    matrix = fg.grid.operator(f.shape, derivative, axis=axis, **options)
    assert isinstance(matrix, sparse.csr_array)
    wanted = fg.grid.diff(f, derivative, axis=axis, **options)
    np.testing.assert_allclose((matrix @ f.ravel()).reshape(f.shape), wanted, rtol=0, atol=3e-14 * np.abs(wanted).max())


def test_a_mixed_derivative_is_a_product():
    f = np.random.default_rng(0).normal(size=(7, 8))
    options = {"axis": (0, 1), "spacing": (0.5, 2.0), "boundary": ("one-sided", "periodic")}
    matrix = fg.grid.operator(f.shape, (1, 2), **options)
    np.testing.assert_allclose(matrix @ f.ravel(), fg.grid.diff(f, (1, 2), **options).ravel(), atol=1e-13)


def test_only_weights_other_than_zero_are_stored():
    matrix = fg.grid.operator(100, boundary="periodic")
    assert matrix.nnz == 200


@pytest.mark.parametrize("shape", [(), -1, 2.0, (3, "a")])
def test_a_wrong_shape_is_named(shape):
    with pytest.raises(ValueError, match="shape is"):
        fg.grid.operator(shape)
