"""Cost, gradient and Gauss-Newton matrix against the Jacobian."""

import numpy as np
import pytest
from helpers import run
from scipy.optimize._lsq.least_squares import IMPLEMENTED_LOSSES, construct_loss_function

import fastgrad as fg
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.gauss_newton import LOSSES, MOST_COLUMNS, gauss_newton
from fastgrad._compiler.simplify import Simplifier
from fastgrad._compiler.substitute import trace
from fastgrad._compiler.trace import Input
from fastgrad.errors import ShapeError

RNG = np.random.default_rng(7)
X, Y = np.meshgrid(np.arange(5.0), np.arange(5.0))


def peak(p, data):
    height, x, y, width, base = p
    return height * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * width**2)) + base - data


def many(n):
    a = RNG.normal(size=(n + 3, n))
    return lambda p, data: np.tanh(a @ p) - data


CASES = {
    "peak on a grid": (peak, (5,), (5, 5)),
    "one residual": (lambda p, data: np.sin(p[0] * p[1]) - data, (2,), ()),
    "one parameter": (lambda p, data: np.exp(-p * data), (), (6,)),
    "matrix of parameters": (lambda p, data: np.cos(p).sum(0) * data, (2, 3), (3,)),
    "a parameter without effect": (lambda p, data: p[0] * data, (3,), (4,)),
    "more parameters than residuals": (lambda p, data: np.diff(p**2) - data, (6,), (5,)),
    "a loop of columns": (many(MOST_COLUMNS), (MOST_COLUMNS,), (MOST_COLUMNS + 3,)),
    "a matrix of directions": (many(MOST_COLUMNS + 4), (MOST_COLUMNS + 4,), (MOST_COLUMNS + 7,)),
}


def graph_of_sums(fun, shapes, dtypes=(np.float64, np.float64), **options):
    inputs = [Input(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    return gauss_newton(trace(fun, inputs, "fun", Simplifier()), 0, **options)


def expected(fun, p, data, loss, f_scale):
    r = np.ravel(fun(p, data)).astype(np.float64)
    jacobian = fg.jacobian(fun)(p, data).reshape(r.size, p.size).astype(np.float64)
    if loss == "linear":
        return 0.5 * r @ r, (jacobian.T @ r).reshape(p.shape), jacobian.T @ jacobian
    rho = construct_loss_function(r.size, loss, f_scale)(r)
    weight = np.maximum(rho[1] + 2 * rho[2] * r**2, np.finfo(np.float64).eps)
    return 0.5 * rho[0].sum(), (jacobian.T @ (rho[1] * r)).reshape(p.shape), jacobian.T @ (weight[:, None] * jacobian)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", CASES)
def test_the_jacobian_gives_the_same(name, loss):
    fun, *shapes = CASES[name]
    graph = graph_of_sums(fun, shapes, loss=loss, f_scale=0.7)
    p, data = RNG.uniform(0.5, 1.5, (9, *shapes[0])), RNG.normal(size=(9, *shapes[1]))
    lanes = run(compile_graph(graph, [True, True]), p, data)
    for i in range(9):
        alone = run(compile_graph(graph), p[i], data[i])
        for found, together, right in zip(alone, lanes, expected(fun, p[i], data[i], loss, 0.7), strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-13)
            np.testing.assert_array_equal(found, together[i])


def test_matrices_are_symmetric_to_the_bit():
    p, data = RNG.uniform(0.5, 1.5, 5), RNG.normal(size=(5, 5))
    matrix = run(compile_graph(graph_of_sums(peak, [(5,), (5, 5)])), p, data)[2]
    np.testing.assert_array_equal(matrix, matrix.T)


def test_losses_are_those_of_scipy():
    assert set(LOSSES) == set(IMPLEMENTED_LOSSES) | {"linear"}


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "linear"])
def test_an_outlier_beyond_measure_is_no_nan(loss):
    graph = graph_of_sums(lambda p, data: p + data, [(1,), (1,)], (np.float32,) * 2, loss=loss)
    found = run(compile_graph(graph), np.array([1e18], np.float32), np.zeros(1, np.float32))
    assert not any([np.isnan(x).any() for x in found])


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "linear"])
@pytest.mark.parametrize("residual", [0.0, 1e-12, 0.7, -0.7, 3.0, 1e9, -1e30])
def test_losses_of_small_and_large_residuals(loss, residual):
    def fun(p, data):
        return p + data

    p, data = np.array([residual]), np.zeros(1)
    found = run(compile_graph(graph_of_sums(fun, [(1,), (1,)], loss=loss, f_scale=0.7)), p, data)
    for value, right in zip(found, expected(fun, p, data, loss, 0.7), strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-11, atol=1e-13)


def test_the_gradient_is_that_of_the_cost():
    p, data = RNG.uniform(0.5, 1.5, 5), RNG.normal(size=(5, 5))
    for loss in LOSSES:
        compiled = compile_graph(graph_of_sums(peak, [(5,), (5, 5)], loss=loss, f_scale=0.4))
        gradient = run(compiled, p, data)[1]
        for k, step in enumerate(1e-6 * np.eye(5)):
            slope = (run(compiled, p + step, data)[0] - run(compiled, p - step, data)[0]) / 2e-6
            assert gradient[k] == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_results_have_the_dtype_of_the_parameters():
    p, data = RNG.uniform(0.5, 1.5, 5).astype(np.float32), RNG.normal(size=(5, 5))
    graph = graph_of_sums(peak, [(5,), (5, 5)], (np.float32, np.float64))
    found = run(compile_graph(graph), p, data)
    for value, right in zip(found, expected(peak, p.astype(np.float64), data, "linear", 1), strict=True):
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, right, rtol=1e-5, atol=1e-5)


def test_columns_are_the_partial_derivatives_alone():
    """No products with the zeros of a unit vector: the offset's column is constant, and the peak is computed once."""
    nodes = graph_of_sums(peak, [(5,), (5, 5)]).nodes
    assert sum([node.op == "exp" for node in nodes]) == 1
    assert not [node for node in nodes if node.op == "multiply" and 0.0 in [x.number for x in node.inputs]]


def test_residuals_are_one_array():
    with pytest.raises(ShapeError):
        graph_of_sums(lambda p, data: (p, data), [(2,), (2,)])
