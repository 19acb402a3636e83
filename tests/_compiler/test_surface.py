"""Each function of NumPy that can be traced gives what NumPy gives, in value, shape and dtype."""

import math
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_same_bits
from interpret import agree, check_gradient

import fastgrad as fg
from fastgrad._compiler import surface
from fastgrad._compiler.trace import Input, trace
from fastgrad.errors import ShapeError

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
         "conjugate", "signbit", "sinh", "cosh", "arctan", "arcsinh", "cbrt", "floor", "ceil", "trunc",
             "rint"]  # fmt: skip
POSITIVE = ["log", "log2", "log10", "log1p", "sqrt"]
BELOW_1 = ["arcsin", "arccos", "arctanh"]
BINARY = ["add", "subtract", "multiply", "divide", "true_divide", "maximum", "minimum", "less",
    "less_equal", "greater",
          "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_xor",
              "logaddexp", "arctan2", "hypot", "copysign", "fmax", "fmin", "fmod", "remainder",
              "floor_divide", "heaviside"]  # fmt: skip


def test_every_ufunc_of_the_table_is_compared_here():
    compared = {*UNARY, *POSITIVE, *BELOW_1, *BINARY, "arccosh", "divmod", "modf"}
    compared |= {"power", "float_power", "bitwise_and", "bitwise_or", "bitwise_xor", "invert", "matmul"}
    compared |= {name for name in ("vecdot", "matvec", "vecmat") if hasattr(np, name)}
    assert set(surface.UFUNCS) == {getattr(np, name) for name in compared}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*UNARY, *POSITIVE, *BELOW_1, "arccosh"])
def test_unary_ufunc(name, dtype):
    x = abs(A) if name in POSITIVE else A / 10 if name in BELOW_1 else 1 + abs(A) if name == "arccosh" else A
    x = x.astype(dtype)
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


def test_functions_with_two_results():
    infinite = np.array([np.inf, -np.inf, 1.5, -2.5])
    agree(np.modf, A)
    agree(lambda x: np.modf(x), infinite)
    agree(np.divmod, A, C)
    agree(lambda x: (divmod(x, 0.75), divmod(2, x)), A)


def test_operators_that_divide_and_round():
    agree(lambda x: (x % 0.75, 2 % x, x // 0.75, 2 // x, x % C, x // C), A)
    agree(lambda x: (np.round(x), np.round(x, 2), np.around(x, -1), x.round(1)), 20 * A)

    def of_python(x):  # as of NumPy's scalars; its arrays leave them out
        x = x[()]
        return round(x), round(x, 1), math.floor(x), math.ceil(x), math.trunc(x)

    for value in (2.5, -0.5, 7.25):
        agree(of_python, np.float64(value))

    def in_place(x):
        y = x * 3
        y %= 2
        z = x * 5
        z //= 2
        return y, z

    agree(in_place, A)


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


def test_clip():
    agree(lambda x: (np.clip(x, -1, 1), x.clip(0), np.clip(x, None, 0.5), np.clip(x, C, 2), x.clip(max=1)), A)


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
    "orders": lambda x: (x.reshape(4, 3, order="F"), np.ravel(x, "F"), x.flatten("F"), x.reshape((-1, 2), order="F")),
    "rollaxis": lambda x: (np.rollaxis(x[None], 2), np.rollaxis(x[None], 0, 3), np.rollaxis(x[None], 2, -2)),
    "atleast_3d": lambda x: (np.atleast_3d(x), np.atleast_3d(x[0]), np.atleast_3d(x[0, 0], CUBE)),
    "broadcast_arrays": lambda x: (np.broadcast_arrays(x, x[0]), np.broadcast_arrays(x[:, :1], V)),
    "meshgrid": lambda x: (np.meshgrid(x[0], x[1, :3]), np.meshgrid(x[0], INTEGERS, x[1], indexing="ij"),
        np.meshgrid(x[0], x[1], sparse=True), np.meshgrid(x[0])),
    "dstack": lambda x: (np.dstack([x, x]), np.dstack([x[0], V]), np.dstack([x[0, 0], 1])),
    "block": lambda x: (np.block([[x, C], [C, x]]), np.block([x[0], 1.0, x[1]]), np.block([[x[0]], [V]]),
        np.block(x[0, 0]), np.block([[[x]], [[C]]])),
    "append": lambda x: (np.append(x, C), np.append(x, [[1, 2, 3, 4]], axis=0), np.append(x[0], 1.0)),
    "splits": lambda x: (np.hsplit(x, 2), np.hsplit(x[0], 2), np.vsplit(x, 3), np.vsplit(x, [1]),
        np.dsplit(x[None], [1, 2]), np.array_split(x, 2)),
    "unstack": lambda x: tuple(x) if not hasattr(np, "unstack") else (np.unstack(x), np.unstack(x, axis=1)),
    "tiles": lambda x: (np.tile(x, (2, 1, 3)), np.tile(x[0, 0], 3), np.tile(x, 0), np.repeat(x, 3),
        np.repeat(x, [1, 0, 2], axis=0), x.repeat(2, axis=1), np.repeat(x[0], INTEGERS)),
    "rolls": lambda x: (np.roll(x, -5), np.roll(x, 9, axis=1), np.roll(x, (1, 2), axis=(0, 1)), np.roll(x, 1, (0, 1)),
        np.roll(x, 0)),
    "rot90": lambda x: (np.rot90(x, 2), np.rot90(x, 3), np.rot90(x, -1), np.rot90(x, 4), np.rot90(x[None], 1, (2, 0))),
    "resize": lambda x: (np.resize(x, (5, 3)), np.resize(x, 4)),
    "flat": lambda x: (x.flat[3], sum(x.flat), len(x.flat) * x, [2 * v for v in x[0].flat]),
    "joins in float32": lambda x: (np.stack([x[0, 0].astype(np.float32), 1.0]), np.hstack([x.astype(np.float32)[0], 2]),
        np.concatenate([x, x], dtype=np.float32), np.append(x[0].astype(np.float32), np.float32(1)),
        np.meshgrid(x[0].astype(np.float32), V), np.vstack(x), np.stack(x, axis=1), np.hstack(x), np.column_stack(x)),
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
    """So that a new entry cannot go untested: the names stand in these files."""
    folder = Path(__file__).parent
    text = "".join(
        (folder / f"test_{name}.py").read_text()
        for name in ("surface", "reductions", "products", "rearrange", "sampled", "linalg")
    )
    assert [name for function in surface.FUNCTIONS if (name := function.__name__) not in text] == []


def test_questions_about_dtypes():
    small = A.astype(np.float32)
    agree(lambda x: x.astype(np.result_type(x, np.float32)) * (np.result_type(x, x) == x.dtype), A)
    agree(lambda x: x * np.can_cast(np.float32, np.result_type(x > 0, x)), small)


def test_shape_functions_that_numpy_answers_with_constants():
    agree(lambda x: np.empty_like(x) * 0 + x * np.iscomplexobj(x) + np.isrealobj(x) + np.real(x), A)
    agree(lambda x: (np.rot90(x), np.roll(x, 1, axis=0)), A)


# ---- elementwise functions that are made of others


def test_functions_made_of_elementwise_operations():
    special = np.array([0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan])
    agree(lambda x: (np.signbit(x[:-1]), np.heaviside(x, 0.5), np.isposinf(x), np.isneginf(x)), special)
    agree(lambda x, y: (np.isclose(x, y), np.isclose(x, y[::-1], equal_nan=True), np.allclose(x, y)), special, special)
    agree(lambda x: (np.isclose(x, x + 1e-9), np.isclose(x, C), np.allclose(x, 1.0, atol=9), np.isclose(1.0, x)), A)
    agree(lambda x: (np.nan_to_num(x), np.nan_to_num(x, nan=7.0, posinf=8, neginf=-9.0)), special)
    agree(lambda x: np.nan_to_num(x), special.astype(np.float32))
    agree(lambda x: np.real_if_close(x), special)
    check_gradient(lambda x, y: np.heaviside(np.where(abs(x) < 0.9, 0, x), y), A, C)
    assert fg.grad(lambda x: np.sum(np.nan_to_num(2 * x)))(special).tolist() == [2, 2, 2, 2, 0, 0, 0]


def test_zeros_have_numpys_signs():
    zero, other = np.array([0.0, -0.0, 0.0, -0.0, 1.0]), np.array([-0.0, 0.0, 0.0, -0.0, -0.0])

    def fun(x, y):
        return (
            np.maximum(x, y),
            np.minimum(x, y),
            np.sign(x),
            np.maximum(x, 0.0),
            np.minimum(-0.0, y),
            np.clip(x, -0.0, 0.0),
            np.heaviside(x, y),
            np.clip(x, 0.0, None),
            abs(x),
            -x,
        )

    for value, right in zip(fg.vmap(fun)(zero[None], other[None]), fun(zero, other), strict=True):
        assert_same_bits(value[0], right)


def test_clip_with_traced_bounds():
    agree(lambda x, y: (np.clip(x, y, y + 1), np.clip(C, x, 2), x.clip(min=y), np.clip([x, y], -1, y)), A, C)
    check_gradient(lambda x, low, high: np.clip(x, low, high), A, C - 0.5, C + 0.6)


def test_sinc_and_its_derivatives():
    x = np.array([0.0, 1e-300, 1e-9, -0.01, 0.2, 0.318, 0.3184, 0.5, -1.0, 2.75, 1e6])
    agree(np.sinc, x, rtol=3e-15, atol=1e-15)
    agree(np.sinc, x.astype(np.float32), rtol=1e-5, atol=1e-7)
    check_gradient(np.sinc, x[:-1], second=True)
    slope = fg.grad(np.sinc)
    assert (slope(0.0), fg.grad(slope)(0.0)) == (0.0, pytest.approx(-(np.pi**2) / 3, rel=1e-15))
    assert fg.grad(fg.grad(slope))(0.0) == 0
    near = 1e-7
    assert slope(near) == pytest.approx(-(np.pi**2) / 3 * near, rel=1e-12)


def test_ufuncs_with_dtype():
    agree(
        lambda x: (np.add(x, 1, dtype=np.float32), np.exp(x, dtype=np.float32), np.multiply(x, C, dtype="f8")),
        A,
        rtol=1e-6,
    )
    agree(lambda x: np.add(x, x, dtype=np.float64), A.astype(np.float32))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "less", "power", "logaddexp"])
def test_outer_methods_of_ufuncs(name):
    outer = getattr(np, name).outer
    agree(lambda x: (outer(x, V), outer(x[0], x[1]), outer(2.0, x), outer(C, x[0, 0])), abs(A), rtol=1e-13)


def test_reduce_methods_of_ufuncs():
    agree(
        lambda x: (
            np.logaddexp.reduce(x),
            np.logaddexp.reduce(x, axis=None),
            np.logaddexp.reduce(x, axis=1, keepdims=True),
            np.logaddexp.reduce(x, axis=(0, 1)),
            np.logaddexp.reduce(x, initial=1.0),
        ),
        A,
    )
    agree(
        lambda x: (np.logical_and.reduce(x > 0), np.logical_or.reduce(x > 0, axis=1), np.logical_xor.reduce(x > 0)), A
    )
    agree(
        lambda x: (
            np.add.reduce(x, axis=1, keepdims=True),
            np.add.reduce(x, where=MASK),
            np.add.reduce(x, 1, "f4"),
            np.maximum.reduce(x, initial=0.0),
            np.multiply.reduce(x, axis=(0, 1)),
        ),
        A,
        rtol=1e-6,
    )
    agree(
        lambda x: (
            np.add.reduceat(x, [0, 2]),
            np.add.reduceat(x, [0, 3, 1, 1, 2], axis=1),
            np.multiply.reduceat(x[0], [1]),
        ),
        A,
    )
    check_gradient(lambda x: (np.logaddexp.reduce(x, axis=1), np.add.reduceat(x, [2, 0])), A, second=True)
    agree(np.logaddexp.reduce, np.array([-np.inf, -np.inf, 1.0]))


def test_names_of_the_array_api():
    agree(lambda x: (np.imag(x), np.isreal(x), np.iscomplex(x)), A)
    cases = {
        np: {
            "vecdot": lambda f: (f(A, C), f(A, V)),
            "matvec": lambda f: (f(C, V), f(CUBE, CUBE[:, 0])),
            "vecmat": lambda f: f(V, C.T),
            "matrix_transpose": lambda f: f(CUBE),
            "astype": lambda f: f(A, np.float32),
        },
        np.linalg: {
            "cross": lambda f: f(A[:, :3], C[:, :3]),
            "diagonal": lambda f: f(CUBE, offset=1),
            "matmul": lambda f: f(A, C.T),
            "matrix_norm": lambda f: (f(CUBE), f(CUBE, ord=1, keepdims=True)),
            "matrix_transpose": lambda f: f(CUBE),
            "outer": lambda f: f(V, A[1]),
            "tensordot": lambda f: f(CUBE, CUBE, axes=((1,), (1,))),
            "trace": lambda f: f(CUBE),
            "vecdot": lambda f: f(A, C, axis=0),
            "vector_norm": lambda f: (f(A), f(A, axis=1, ord=3), f(A, ord=np.inf)),
        },
    }
    for module, functions in cases.items():
        for name, case in functions.items():
            if hasattr(module, name):
                function = getattr(module, name)
                agree(lambda x: case(lambda a, *rest, **options: function(a * x, *rest, **options)), 2.0)  # noqa: B023


def test_dtypes_of_results_are_numpys():
    x = A.astype(np.float32)
    agree(
        lambda x: (
            np.cov(x),
            np.vander(x[0]),
            np.corrcoef(x),
            np.add.outer(x, 1.0),
            np.dot(x, 2.0),
            np.kron(x, 2.0),
            np.linspace(x[0], 1, 5),
            np.average(x, 0, [1, 2, 3]),
            np.linalg.norm(x, 3, 0),
            np.nanmean(x),
            np.nanvar(x, 0),
            np.choose([0, 1, 0, 1], [x[0], 1.0]),
            np.polyval([1.0, 2], x),
            np.trapezoid(x, dx=0.5) if hasattr(np, "trapezoid") else x,
            np.sinc(x),
            np.heaviside(x, 0.5),
            np.interp(x, [0, 1], [0, 1]),
            np.float_power(x * x, 2),
            np.select([x > 0], [x], np.float64(0.5)),
            np.mean(x, where=MASK),
        ),
        x,
        rtol=1e-4,
        atol=1e-6,
    )


# ---- lists with traced values in them


def test_nested_lists_stand_for_arrays():
    agree(
        lambda x: (x[0] * [x[1, 0], 1.0, 2, x[1, 1]], np.add(x, [x[0], V, x[1]]), np.where(x[0] > 0, [x[0, 0]] * 4, 0)),
        A,
    )
    functions = {
        name: surface.FUNCTIONS[getattr(np, name)] for name in ("sum", "mean", "max", "dot", "diff", "tril", "pad")
    }
    build = trace(lambda x: x, [Input((2,))]).inputs[0].builder
    a, b = (build.input((), np.dtype(float)) for _ in range(2))
    assert functions["sum"]([a, b]).shape == ()
    assert functions["mean"]([[a, 1.0], (b, 2)], axis=0).shape == (2,)
    assert functions["max"]([a, b, 3]).shape == ()
    assert functions["dot"]([a, b], [[1.0, b], [a, 2]]).shape == (2,)
    assert functions["diff"]([a, b, 1.0]).shape == (2,)
    assert functions["tril"]([[a, b], [b, a]]).shape == (2, 2)
    assert functions["pad"]([a, b], 1).shape == (4,)
    assert [place for place, _ in surface.FUNCTIONS[np.ndenumerate]([[a, b]])] == [(0, 0), (0, 1)]
    with pytest.raises(ShapeError, match="is no array"):
        functions["sum"]([a, [a, b]])
