"""What picks, inserts and fills in elements: values as NumPy's, derivatives as differences say."""

import numpy as np
import pytest
from interpret import agree, check_gradient

import fastgrad as fg

A = np.array([[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, -2.5], [3.0, 0.125, -1.0, 1.75]])
V = A[0]
C = np.linspace(-1, 1, 12).reshape(3, 4)
CUBE = np.arange(24.0).reshape(2, 3, 4) / 7 - 1
MASK = A > 0


REARRANGED = {
    "diag": lambda x: (
        np.diag(x),
        np.diag(x[0]),
        np.diag(x[0], 2),
        np.diag(x, -1),
        np.diag(x[0] > 0),
        np.diagflat(x, 1),
    ),
    "triangles": lambda x: (np.tril(x), np.triu(x, 1), np.tril(x[None], -1), np.triu(x[0]), np.tril(x > 0)),
    "pad": lambda x: (
        np.pad(x, 1),
        np.pad(x, ((1, 2), (0, 3)), constant_values=5.0),
        np.pad(x, (1, 2), mode="edge"),
        np.pad(x, 3, "reflect"),
        np.pad(x, 5, mode="symmetric"),
        np.pad(x, 6, mode="wrap"),
        np.pad(x, 1, constant_values=x[0, 0]),
        np.pad(x, 1, constant_values=((1, 2), (3, 4))),
        np.pad(x[0], (0, 2)),
    ),
    "insert": lambda x: (
        np.insert(x, 1, 9.0),
        np.insert(x, 1, V, axis=0),
        np.insert(x, [0, 2], x[:, :2], axis=1),
        np.insert(x, slice(0, 2), 1, axis=1),
        np.insert(V, 1, x[0, 0]),
        np.insert(x[0], [1, 1], [x[1, 0], 2]),
    ),
    "delete": lambda x: (
        np.delete(x, 1),
        np.delete(x, 1, 0),
        np.delete(x, [0, -1], axis=1),
        np.delete(x, slice(None, None, 2), 1),
    ),
    "take_along_axis": lambda x: (
        np.take_along_axis(x, np.argsort(A, 1), axis=1),
        np.take_along_axis(x, np.array([[0, 1, 2, 0]]), 0),
    ),
    "compress": lambda x: (
        np.compress([True, False, True], x, axis=0),
        np.compress([0, 1], x),
        x.compress([1, 0, 1, 1], axis=1),
    ),
    "extract": lambda x: (np.extract(MASK, x), np.extract(MASK.ravel()[:7], x)),
    "choose": lambda x: (np.choose([0, 1, 1, 0], [x[0], x[1]]), np.choose([[0], [2], [1]], [x[0], 1.0, V])),
}


@pytest.mark.parametrize("name", REARRANGED)
def test_rearrangements(name):
    agree(REARRANGED[name], A)
    check_gradient(REARRANGED[name], A)


def test_the_dtype_is_the_arrays():
    x = A.astype(np.float32)
    agree(
        lambda x: (
            np.pad(x, 1, constant_values=np.float64(2)),
            np.insert(x, 0, np.ones(4), axis=0),
            np.diag(x),
            np.tril(x),
        ),
        x,
    )
    agree(lambda x: (np.pad(x > 0, 1), np.diag(x > 0), np.insert(x[0] > 0, 1, True)), x)


def test_signed_zeros_and_what_is_not_finite_move_as_they_are():
    x = np.array([-0.0, np.inf, np.nan])
    matrix = fg.vmap(lambda x: np.diag(x))(x[None])[0]
    assert np.signbit(matrix).tolist() == [[True, False, False], [False] * 3, [False, False, np.signbit(x[2])]]
    assert np.isposinf(matrix[1, 1])
    assert matrix[1, 0] == 0
    gradient = fg.grad(lambda x: np.sum(np.tril(x)[2] * 2))(np.full((3, 3), np.nan))
    assert gradient.tolist() == [[0] * 3, [0] * 3, [2] * 3]
