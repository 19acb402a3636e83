"""Running sums, sorting, quantiles and np.linalg: what NumPy gives, and derivatives, in the machine and the oracle."""

import numpy as np
import pytest
from helpers import run
from interpret import directional, evaluate, evaluate_nested

from fastgrad._compiler.autodiff import value_and_gradient
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.graph import reduction
from fastgrad._compiler.simplify import simplify
from fastgrad._compiler.trace import Input, trace
from fastgrad._compiler.tree import flatten
from fastgrad.errors import ShapeError, TraceError

A = np.array([[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, -2.5], [3.0, 0.125, -1.0, 1.75]])
CUBE = np.sin(np.arange(24.0)).reshape(2, 3, 4)
SQUARES = np.random.default_rng(0).normal(size=(2, 5, 5)) + 4 * np.eye(5)
SYMMETRIC = SQUARES + SQUARES.swapaxes(-1, -2) + np.diag(np.arange(5.0))
RIGHT = np.cos(np.arange(20.0)).reshape(2, 5, 2)


def agree(fun, *arguments, rtol=1e-12):
    """Trace, run in the machine and by the oracle, before and after simplification: what NumPy gives."""
    arguments = [np.asarray(x) for x in arguments]
    graph = trace(fun, [Input(x.shape, x.dtype) for x in arguments])
    with np.errstate(all="ignore"):
        expected, structure = flatten(fun(*arguments))
    for version in (graph, simplify(graph)):
        assert version.structure == structure
        for results in (flatten(evaluate_nested(version, *arguments))[0], run(compile_graph(version), *arguments)):
            for value, right in zip(results, expected, strict=True):
                right = np.asarray(right)
                assert value.dtype == (right.dtype if right.dtype.kind == "f" else np.float64)
                np.testing.assert_allclose(value, right, rtol=rtol, atol=rtol, strict=right.dtype.kind == "f")


@pytest.mark.parametrize("function", [np.cumsum, np.cumprod, np.maximum.accumulate, np.minimum.accumulate])
@pytest.mark.parametrize("x", [A, CUBE, CUBE.astype(np.float32), A[:, :1], A[:0]], ids=lambda x: str(x.shape))
def test_running_combinations(function, x):
    rtol = 1e-6 if x.dtype == np.float32 else 1e-12
    for axis in range(-x.ndim, x.ndim):
        agree(lambda x, axis=axis: function(x, axis=axis), x, rtol=rtol)


def test_running_combinations_are_methods_and_ufunc_methods():
    agree(lambda x: (np.cumsum(x), np.cumprod(x), x.cumsum(), x.cumsum(1), x.cumprod(axis=0)), A)
    agree(lambda x: (np.add.accumulate(x), np.multiply.accumulate(x, 1), np.cumsum(x > 0)), A)
    agree(lambda x: np.cumsum(x, dtype=np.float32), A, rtol=1e-6)
    with pytest.raises(TraceError, match=r"subtract\.accumulate"):
        trace(np.subtract.accumulate, [Input((3,))])
    with pytest.raises(ShapeError, match="axis 2"):
        trace(lambda x: np.cumsum(x, 2), [Input((3, 3))])


@pytest.mark.parametrize("axis", [-1, 0, 1, None])
def test_sorting(axis):
    ties = np.round(CUBE[0] * 2)
    for x in (A, CUBE, ties, np.where(A > 1, np.nan, A), A[:, :0], A[:1]):
        if axis == 1 and x.ndim < 2:
            continue
        agree(lambda x: (np.sort(x, axis), np.argsort(x, axis, kind="stable"), np.partition(x, 0, axis))
              if x.size else np.sort(x, axis), x)  # fmt: skip
    agree(lambda x: (np.take_along_axis(x, np.argsort(x, axis), axis), x.argsort()), A)
    agree(lambda x: np.take_along_axis(x, np.array([[1, 1], [0, 2], [2, 0]]), -1), A)


def test_sorting_refuses_what_it_cannot():
    with pytest.raises(ShapeError, match="element 4 of 4"):
        trace(lambda x: np.partition(x, 4), [Input((4,))])
    with pytest.raises(TraceError, match="float64"):
        trace(np.sort, [Input((2**24 + 1,), np.float32)])
    with pytest.raises(ShapeError, match="numbers of axes"):
        trace(lambda x: np.take_along_axis(x, np.argsort(x[0]), 1), [Input((3, 4))])


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), (1, 2), -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_quantiles(axis, keepdims):
    for x in (CUBE, CUBE[:, :, :3], np.where(CUBE > 0.9, np.nan, CUBE)):
        agree(lambda x: (np.median(x, axis, keepdims=keepdims), np.quantile(x, 0.3, axis, keepdims=keepdims)), x)
        agree(lambda x: np.quantile(x, [0.0, 0.25, 0.5, 0.9, 1.0], axis=axis, keepdims=keepdims), x)
        agree(lambda x: np.percentile(x, [[10, 33], [50, 99]], axis, keepdims=keepdims), x)


def test_quantiles_refuse_what_they_cannot():
    for fun, message in [
        (lambda x: np.quantile(x, 0.5, method="lower"), "method='lower'"),
        (lambda x: np.quantile(x, x), "traced q"),
        (lambda x: np.percentile(x, 101), "outside 0 to 100"),
        (lambda x: np.median(x[:0]), "no elements"),
    ]:
        with pytest.raises((TraceError, ShapeError), match=message):
            trace(fun, [Input((3,))])


def test_searchsorted():
    grid = np.array([-1.0, 0.0, 0.5, 0.5, 2.0])
    agree(lambda v: (np.searchsorted(grid, v), np.searchsorted(grid, v, side="right")), A)
    agree(lambda v: np.searchsorted(np.sort(v), [0.25, 1.0, np.nan]), A[0])
    agree(lambda a, v: np.searchsorted(a, v, "right"), grid[:0], A)
    with pytest.raises(ShapeError, match="one axis"):
        trace(lambda a: np.searchsorted(a, 1.0), [Input((3, 4))])


def test_systems():
    agree(np.linalg.solve, SQUARES, RIGHT)
    agree(np.linalg.solve, SQUARES[0], RIGHT[0, :, 0])
    agree(np.linalg.solve, SQUARES[0], RIGHT)
    agree(np.linalg.solve, SQUARES[:, None], RIGHT)
    agree(lambda b: np.linalg.solve(SQUARES[0], b), RIGHT[0])
    agree(lambda a: (np.linalg.inv(a), np.linalg.inv(a.swapaxes(-1, -2))), SQUARES)
    agree(np.linalg.solve, SQUARES[:, :0, :0], RIGHT[:, :0])
    agree(np.linalg.solve, SQUARES.astype(np.float32), RIGHT.astype(np.float32), rtol=1e-5)


@pytest.mark.parametrize("n", range(6))
def test_determinants(n):
    agree(lambda a: (np.linalg.det(a), np.linalg.slogdet(a)), SQUARES[:, :n, :n])
    agree(lambda a: np.linalg.slogdet(a), -SQUARES[0, :n, :n])


def test_symmetric_matrices():
    spoilt = SYMMETRIC + np.triu(np.ones((5, 5)), 1)  # what is above the diagonal is not read
    positive = spoilt + 20 * np.eye(5)
    agree(lambda a: (np.linalg.cholesky(a), np.linalg.eigvalsh(a), np.linalg.eigvalsh(a, UPLO="U")), positive)
    agree(lambda a: np.linalg.cholesky(a, upper=True), positive)
    agree(lambda a: abs(np.linalg.eigh(a).eigenvectors), spoilt)
    agree(lambda a: np.linalg.eigh(a)[0], SYMMETRIC[:, :1, :1])


def test_least_squares():
    tall = np.cos(np.arange(21.0) ** 2).reshape(7, 3)
    agree(lambda a, b: np.linalg.lstsq(a, b)[0], tall, np.arange(7.0))
    agree(lambda a, b: [np.linalg.lstsq(a, b)[i] for i in (0, 1, 3)], tall, np.sin(np.arange(14.0)).reshape(7, 2))
    assert trace(lambda a: np.linalg.lstsq(a, a)[2], [Input((7, 3))]).outputs[0].value == 3
    agree(lambda a: (np.linalg.pinv(a), np.linalg.pinv(a.T)), tall)
    with pytest.raises(ShapeError, match="3 equations"):
        trace(lambda a: np.linalg.lstsq(a, a), [Input((3, 7))])


def test_many_rows_are_too_many_for_jacobi():
    with pytest.raises(TraceError, match="257 rows"):
        trace(np.linalg.eigvalsh, [Input((257, 257))])
    assert trace(np.linalg.lstsq, [Input((300, 260)), Input((300,))]).outputs[0].shape == (260,)


def test_shapes_that_do_not_fit_and_functions_left_out():
    for fun, message in [
        (lambda a: np.linalg.inv(a), r"inv of an array of shape \(2, 3\)"),
        (lambda a: np.linalg.solve(np.eye(3), a), "must have 3 rows"),
        (lambda a: np.linalg.svd(a), "eigh"),
        (lambda a: np.linalg.qr(a), "cholesky"),
        (lambda a: np.linalg.eig(a), "eigh"),
    ]:
        with pytest.raises((TraceError, ShapeError), match=message):
            trace(fun, [Input((2, 3))])


# ---- derivatives


def weighted(fun):
    """A number that all outputs go into, with curvature."""

    def total(*arguments):
        leaves = flatten(fun(*arguments))[0]
        return sum(np.sum(np.cos(np.arange(x.size).reshape(x.shape)) * (x + x * x)) for x in leaves)

    return total


def machine_gradient(fun, *arguments):
    graph = trace(fun, [Input(x.shape) for x in arguments])
    both = simplify(value_and_gradient(simplify(graph), range(len(arguments))))
    return run(compile_graph(both), *arguments)[1:]


FUNCTIONS = {
    "cumsum": (lambda x: np.cumsum(x, 0), A),
    "cumprod": (lambda x: np.cumprod(x, 1), A),
    "cumprod of zeros": (lambda x: np.cumprod(x), np.array([1.5, 0.0, 2.0, 0.0, 3.0])),
    "maximum": (lambda x: np.maximum.accumulate(x, 1), A),
    "sort": (lambda x: np.sort(x, 0), A),
    "median": (lambda x: (np.median(x, 0), np.median(x, 1), np.quantile(x, [0.2, 0.7], axis=1)), A),
    "argsort": (lambda x: np.take_along_axis(x * x, np.argsort(x, 1), 1), A),
    "solve": (lambda a, b: np.linalg.solve(a, b), SQUARES, RIGHT),
    "solve vector": (lambda a, b: np.linalg.solve(a, b), SQUARES[0], RIGHT[0, :, 0]),
    "inv": (lambda a: np.linalg.inv(a), SQUARES),
    "det": (lambda a: np.linalg.det(a / 4), SQUARES),
    "det 3": (lambda a: np.linalg.det(a), SQUARES[0, :3, :3]),
    "slogdet": (lambda a: np.linalg.slogdet(a), SQUARES),
    "cholesky": (lambda a: np.linalg.cholesky(a), SYMMETRIC + 20 * np.eye(5)),
    "eigvalsh": (lambda a: np.linalg.eigvalsh(a), SYMMETRIC),
    "eigh": (lambda a: np.linalg.eigh(a)[1] ** 2, SYMMETRIC),
    "lstsq": (lambda a, b: np.linalg.lstsq(a, b)[0], SQUARES[0, :, :2], RIGHT[0]),
    "pinv": (lambda a: np.linalg.pinv(a), SQUARES[0, :2]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_in_the_machine_are_the_slopes_of_numpy(name):
    fun, *arguments = FUNCTIONS[name]
    fun = weighted(fun)
    gradients = machine_gradient(fun, *arguments)
    rng = np.random.default_rng(1)
    for _ in range(3):
        directions = [rng.normal(size=x.shape) / 10 for x in arguments]
        slope = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
        assert slope == pytest.approx(directional(fun, arguments, directions), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives_in_the_machine(name):
    """The slope of the gradient along a direction, against differences of the gradient."""
    fun, *arguments = FUNCTIONS[name]
    rng = np.random.default_rng(2)
    directions = [rng.normal(size=x.shape) / 10 for x in arguments]
    graph = trace(weighted(fun), [Input(x.shape) for x in arguments])
    first = value_and_gradient(simplify(graph), range(len(arguments)))
    slope = 0.0
    for gradient, d in zip(first.outputs[1:], directions, strict=True):
        slope = slope + reduction("sum", gradient * gradient.builder.constant(d.copy()))
    graph = type(first)(first.inputs, (slope,))
    second = simplify(value_and_gradient(simplify(graph), range(len(arguments))))
    found = sum(np.sum(g * d) for g, d in zip(run(compile_graph(second), *arguments)[1:], directions, strict=True))
    measured = directional(lambda *args: float(evaluate(graph, *args)[0]), arguments, directions)
    assert found == pytest.approx(measured, rel=1e-6, abs=1e-6)


def test_products_with_zeros_have_exact_derivatives():
    x = np.array([2.0, 0.0, 3.0, 0.0, 5.0])
    np.testing.assert_array_equal(machine_gradient(lambda x: np.sum(np.cumprod(x)), x)[0], [1, 8, 0, 0, 0])
    np.testing.assert_array_equal(machine_gradient(lambda x: np.cumprod(x)[2], x[1:])[0], [0, 0, 0, 0])
    np.testing.assert_array_equal(machine_gradient(lambda x: np.cumprod(x)[1], x)[0], [0, 2, 0, 0, 0])


def test_running_extremes_share_at_a_tie():
    x = np.array([1.0, 1.0, 0.5])
    np.testing.assert_array_equal(machine_gradient(lambda x: np.maximum.accumulate(x)[2], x)[0], [0.5, 0.5, 0])
    np.testing.assert_array_equal(machine_gradient(lambda x: np.minimum.accumulate(x)[1], x)[0], [0.5, 0.5, 0])


def test_singular_matrices_give_nan_and_small_determinants_keep_their_derivative():
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    graph = trace(lambda a: (np.linalg.inv(a), np.linalg.cholesky(-a), np.linalg.slogdet(a)), [Input((2, 2))])
    inverse, factor, sign, logarithm = run(compile_graph(graph), singular)
    assert np.isnan(inverse).all()
    assert np.isnan(factor[np.tril_indices(2)]).all()
    assert factor[0, 1] == 0
    assert (sign, logarithm) == (0, -np.inf)
    np.testing.assert_array_equal(machine_gradient(np.linalg.det, singular)[0], [[4, -2], [-2, 1]])
    big = np.ones((4, 4))
    assert run(compile_graph(trace(np.linalg.det, [Input((4, 4))])), big)[0] == 0


@pytest.mark.parametrize("fun", [
    lambda a: np.sum(np.linalg.inv(a)),
    lambda a: np.sum(np.linalg.solve(a, a + 1)),
    lambda a: np.linalg.slogdet(a)[1],
    lambda a: np.sum(np.linalg.cholesky(a)),
    lambda a: np.sum(np.linalg.eigh(1 / a)[1] ** 3),
    lambda a: np.cumprod(1 / a.ravel())[-1],
    lambda a: np.linalg.det(np.concatenate([np.concatenate([1 / a, a]), np.concatenate([a, 1 / a])], 1)),
])  # fmt: skip
def test_a_branch_not_taken_contributes_nothing(fun):
    a = np.zeros((2, 2))
    guarded = machine_gradient(lambda a: np.where(np.sum(a) > 1, fun(a), np.sum(a * 3)), a)[0]
    np.testing.assert_array_equal(guarded, np.full((2, 2), 3.0))


@pytest.mark.parametrize("right", [RIGHT, RIGHT[0]], ids=["a right side each", "one for all"])
def test_cholesky_factors_are_solved_as_triangles(right):
    positive = SQUARES @ SQUARES.swapaxes(-1, -2) + np.eye(5)

    def solve(a, b):
        factor = np.linalg.cholesky(a)
        return np.linalg.solve(np.swapaxes(factor, -1, -2), np.linalg.solve(factor, b))

    agree(solve, positive, right)
    agree(lambda a, b: np.linalg.solve(np.linalg.cholesky(a, upper=True), b), positive, right)
    agree(lambda a, b: np.linalg.solve(np.linalg.cholesky(a), b), positive[0], right[..., 0].ravel()[:5])
    graph = trace(solve, [Input(positive.shape), Input(positive.shape)])
    assert [x.op for x in graph.nodes if "solve" in x.op] == ["solve_lower", "solve_lower"]
