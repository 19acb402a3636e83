"""Each function of NumPy that can be traced gives what NumPy gives, in value, shape and dtype."""

import numpy as np
import pytest
from interpret import agree

from fastgrad._compiler import surface

A = np.array([[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, -2.5], [3.0, 0.125, -1.0, 1.75]])
V = A[0]
C = np.linspace(-1, 1, 12).reshape(3, 4)
CUBE = np.arange(24.0).reshape(2, 3, 4) / 7 - 1
MASK = A > 0
INTEGERS = np.array([2, 0, 1, 3])


UNARY = ["negative", "positive", "absolute", "fabs", "sign", "square", "exp", "expm1", "sin", "cos", "tan",
    "tanh",
         "exp2", "isnan", "isfinite", "isinf", "logical_not", "reciprocal", "deg2rad", "rad2deg", "radians",
             "degrees",
         "conjugate", "signbit"]  # fmt: skip
POSITIVE = ["log", "log1p", "sqrt"]
BINARY = ["add", "subtract", "multiply", "divide", "true_divide", "maximum", "minimum", "less",
    "less_equal", "greater",
          "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_xor",
              "logaddexp", "heaviside"]  # fmt: skip


def test_every_ufunc_of_the_table_is_compared_here():
    compared = {*UNARY, *POSITIVE, *BINARY}
    compared |= {"power", "float_power", "bitwise_and", "bitwise_or", "bitwise_xor", "invert", "matmul"}
    assert set(surface.UFUNCS) == {getattr(np, name) for name in compared}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", UNARY + POSITIVE)
def test_unary_ufunc(name, dtype):
    x = (abs(A) if name in POSITIVE else A).astype(dtype)
    agree(getattr(np, name), x, rtol=1e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("name", [*BINARY, "power", "float_power"])
def test_binary_ufunc_with_arrays_numbers_and_integers(name):
    ufunc = getattr(np, name)
    x = abs(A) if "power" in name else A
    agree(ufunc, x, C)
    agree(lambda x: ufunc(x, 1.5), x)
    agree(lambda x: ufunc(2, x), x)
    agree(lambda x: ufunc(x, INTEGERS), x)
    agree(lambda x: ufunc(C[:, :1] ** 2, x), x)
    agree(lambda x: ufunc(x, [1.0, 2.0, 3.0, 4.0]), x)


@pytest.mark.parametrize("other", [1, 1.5, True, np.float32(2), np.float64(2), np.int8(3), np.int64(3),
    np.float16(2),
                                   np.arange(4), np.arange(4, dtype=np.int8), np.ones(4, np.float32),
                                   np.ones(4),
                                   np.array([True, False, True, True])], ids=repr)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_promotion_is_numpys(dtype, other):
    agree(
        lambda x: (x + other, other * x, x / other if np.all(other) else x, np.maximum(x, other)),
        V.astype(dtype),
    )
    agree(lambda x: (x > other, np.where(x > 0, x, other), np.where(x > 0, other, x)), V.astype(dtype))


def test_operators():
    agree(lambda x, y: (x + y, x - y, x * y, x / y, -x, +x, abs(x), x @ y.T, y.T @ x), A, C)
    agree(lambda x: (1 + x, 1 - x, 2 * x, 1 / x, 2**x, C.T @ x, x @ C.T, C + x, C - x, C / x), A)
    agree(lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y, 0 < x, x == 0.5), A, C)  # noqa: SIM300
    agree(lambda x, y: ((x > 0) & (y > 0), (x > 0) | (y > 0), (x > 0) ^ (y > 0), ~(x > 0), MASK & (x < 1)), A, C)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 16, 17, -1, -2, -7, 0.5, 1.5, -0.5])
def test_powers_with_constant_exponents(n):
    agree(lambda x: x**n, abs(A), rtol=1e-13)
    agree(lambda x: x**n, np.abs(A, dtype=np.float32), rtol=1e-5)
    agree(lambda x: x ** np.full(4, n), abs(A), rtol=1e-13)


def test_integer_array_exponents():
    agree(lambda x: x[:, None] ** np.arange(4), V)


def test_truth_values_behave_as_numpys():
    agree(
        lambda x, y: (
            (x > 0) + (y > 0),
            (x > 0) * (y > 0),
            (x > 0) * x,
            (x > 0) * 2,
            (x > 0) + 1,
            1.5 - (x > 0),
        ),
        A,
        C,
    )
    agree(
        lambda x: (
            np.sum(x > 0),
            np.mean(x > 0),
            np.max(x > 0),
            np.prod(x > 0, 0),
            np.any(x > 1),
            np.all(x > -9, 1),
        ),
        A,
    )
    agree(
        lambda x: (
            (x > 0).astype(float),
            (x > 0).astype(np.float32),
            x.astype(bool),
            np.maximum(x > 0, x > 1),
        ),
        A,
    )
    agree(
        lambda x: (
            np.where(x > 0, x > 1, x < -1),
            np.concatenate([x > 0, x > 1]),
            (x > 0)[0],
            (x > 0) / (x < 9),
        ),
        A,
    )
    agree(
        lambda x: ((x > 0) * x, np.where(x, x, 1), np.logical_and(x > 0, np.float64(1e-300))),
        A.astype(np.float32),
    )
    agree(lambda x: ((x > 0) == (x > 1), (x > 0) != MASK, np.abs(x > 0), np.var(x > 0)), A)


def test_where():
    agree(lambda x, y: np.where(x > y, x, y), A, C)
    agree(
        lambda x: (np.where(x > 0, 1.0, 0.0), np.where(x > 0, 1, 0), np.where(MASK, x, 0), np.where(x, 1, x)),
        A,
    )
    agree(
        lambda x: (
            np.where(True, x, 0),
            np.where(x[:, :1] > 0, x, x[0]),
            np.where(MASK[0], x[0], [1, 2, 3, 4]),
        ),
        A,
    )
    agree(lambda x: np.where(x > 0, 1.0, 0.0), A.astype(np.float32))


def test_where_with_a_tiny_condition_is_still_true_in_float32():
    agree(lambda c, x: np.where(c, x, 0), np.array([1e-300, 0, 1]), np.ones(3, np.float32))


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


def test_clip():
    agree(lambda x: (np.clip(x, -1, 1), x.clip(0), np.clip(x, None, 0.5), np.clip(x, C, 2), x.clip(max=1)), A)


@pytest.mark.parametrize("shapes", [((), ()), ((), (3,)), ((4,), (4,)), ((3, 4), (4,)), ((3,), (3, 4)), ((3,
    4), (4, 2)),
                                    ((2, 3, 4), (4,)), ((2, 3, 4), (4, 5)), ((4,), (2, 4, 3)),
                                    ((2, 3, 4), (2, 4, 5)), ((3, 4), (5, 4, 2)), ((5, 1, 3, 4), (2, 4, 2))],
                                    ids=str)  # fmt: skip
def test_products(shapes):
    rng = np.random.default_rng(0)
    a, b = map(rng.standard_normal, shapes)
    agree(np.dot, a, b)
    agree(lambda x: np.dot(x, b), a)
    agree(lambda x: np.dot(a, x), b)
    if a.ndim and b.ndim:
        agree(np.matmul, a, b)
        agree(lambda x: a @ x, b)
    if a.shape[-1:] == b.shape[-1:]:
        agree(np.inner, a, b)
    agree(np.outer, a, b)
    if a.size == b.size:
        agree(np.vdot, a, b)


def test_tensordot():
    agree(lambda x: (np.tensordot(x, CUBE, ((1,), (2,))), np.tensordot(x, C), np.tensordot(x, C, 0)), A)
    agree(lambda x: np.tensordot(x, CUBE, ([0, 2], [0, 2])), CUBE)
    agree(lambda x: np.tensordot(x, V, 1), A)


MOVES = {
    "reshape": lambda x: (x.reshape(4, 3), np.reshape(x, (2, -1)), x.reshape((12,)), x.reshape(-1),
        x.reshape(2, 2, 3)),
    "ravel": lambda x: (x.ravel(), np.ravel(x), x.flatten()),
    "transpose": lambda x: (x.T, x.transpose(), np.transpose(x, (1, 0)), x.transpose(1, 0), x.transpose((-1,
        0)), x.mT),
    "swapaxes": lambda x: (x.swapaxes(0, 1), np.swapaxes(x, -1, 0)),
    "moveaxis": lambda x: (np.moveaxis(x, 0, -1), np.moveaxis(x[None], [0, 1], [-1, 0])),
    "expand_dims": lambda x: (np.expand_dims(x, 0), np.expand_dims(x, -1), np.expand_dims(x, (0, 3))),
    "squeeze": lambda x: (x[:1].squeeze(), np.squeeze(x[:1, None], axis=0), x[None, :1].squeeze((0, 1))),
    "atleast": lambda x: (np.atleast_1d(x[0, 0]), np.atleast_2d(x[0]), np.atleast_2d(x), np.atleast_1d(x[0,
        0], x)),
    "broadcast_to": lambda x: (np.broadcast_to(x, (2, 3, 4)), np.broadcast_to(x[:, :1], (3, 5))),
    "flip": lambda x: (np.flip(x), np.flip(x, 1), np.flipud(x), np.fliplr(x)),
    "concatenate": lambda x: (np.concatenate([x, C]), np.concatenate((x, x), axis=1), np.concatenate([x, C],
        axis=None)),
    "stack": lambda x: (np.stack([x, x + 1]), np.stack([x[0], V], axis=1), np.stack([x[0, 0], 1.0, x[1, 1]],
        -1)),
    "hstack": lambda x: (np.hstack([x, x]), np.hstack([x[0], V]), np.hstack([x[0, 0], 2])),
    "vstack": lambda x: (np.vstack([x, x]), np.vstack([x[0], V])),
    "column_stack": lambda x: (np.column_stack([x, x]), np.column_stack([x[0], V])),
    "tile": lambda x: (np.tile(x, 2), np.tile(x, (2, 1)), np.repeat(x, 2, axis=0), x.repeat(2), np.roll(x,
        1)),
    "split": lambda x: (np.split(x, 2, axis=1), np.split(x[0], [1, 3]), np.array_split(x.ravel(), 5)),
    "take": lambda x: (np.take(x, [0, 2], axis=1), x.take([5, 1]), np.take(x, 3), x.take(-1, axis=0)),
    "diff": lambda x: (np.diff(x), np.diff(x, axis=0), np.diff(x, n=2), np.diff(x[:1], axis=0)),
    "diagonal": lambda x: (np.diagonal(x), np.trace(x), x.trace(), np.diagonal(x, 1), x.diagonal()),
    "like": lambda x: (np.zeros_like(x) + x, np.ones_like(x) * x, np.full_like(x, 3.0) - x, np.full_like(x,
        x[0, 0])),
    "size": lambda x: (x * np.size(x), x * np.ndim(x), x * np.shape(x)[0], x * x.size, x * x.shape[1],
        x * len(x)),
    "copy": lambda x: (x.copy(), np.copy(x), x.astype(np.float32), x.astype("float64"), x.real, x.conj()),
    "iteration": lambda x: ([row * 2 for row in x], sum(sum(row) for row in x)),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    agree(MOVES[name], A)


INDICES = [0, -1, (1, 2), (0, -1), slice(None), slice(1, None), slice(None, -1), slice(None, None, 2),
    slice(None, None, -1),
           slice(2, 0, -1), slice(5, 9), slice(2, 1), (slice(None), 1), (slice(1, 3), slice(0, 4, 3)),
           Ellipsis,
           (Ellipsis, 0), (0, Ellipsis), (Ellipsis, slice(1, 2)), None, (None, 0), (slice(None), None), (0,
           None, 1),
           (None, Ellipsis, None), np.int64(1), (np.int8(-1), 0), [0, 2], np.array([2, 0]), [[0, 1], [2,
           0]], [-1],
           ([0, 1], [1, 2]), ([0, 1], slice(1, 3)), (slice(None), [3, 0]), (1, [0, 0, 0]), ([0, 2], None, 1),
           (np.array([[0], [2]]), np.array([1, 3])), MASK, MASK[:, 0], (slice(None), MASK[0]), (MASK[:, 1],
           0),
           (None, [0, 1], Ellipsis), (), [], np.array([], int), True, np.array(1), [True, False,
           True]]  # fmt: skip


@pytest.mark.parametrize("key", INDICES, ids=repr)
def test_indexing(key):
    agree(lambda x: x[key], A)


def test_every_function_of_the_table_is_used_here():
    """So that a new entry cannot go untested: the names stand in this file."""
    with open(__file__) as file:
        text = file.read()
    for function in surface.FUNCTIONS:
        name = function.__name__
        assert name in text, name


def test_shape_functions_that_numpy_answers_with_constants():
    agree(lambda x: np.empty_like(x) * 0 + x * np.iscomplexobj(x) + np.isrealobj(x) + np.real(x), A)
    agree(lambda x: (np.rot90(x), np.roll(x, 1, axis=0)), A)
