"""Whole Jacobians against formulas and against single directions: as one program, and as lanes."""

import pickle

import numpy as np
import pytest
from helpers import assert_same_bits
from numpy.testing import assert_allclose

import fastgrad as fg
from fastgrad.matrices import Lanes

RNG = np.random.default_rng(11)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def layer_jacobian(x, w):
    return (1 - np.tanh(w @ x) ** 2)[:, None] * w


def two_layers(x, w):
    return np.sin(w[:, 1:] @ np.tanh(w[1:] @ x))


def two_layers_jacobian(x, w):
    inner = w[:, 1:] @ np.tanh(w[1:] @ x)
    return np.cos(inner)[:, None] * (w[:, 1:] @ layer_jacobian(x, w[1:]))


def fewer_values(x, w):
    return two_layers(x, w)[20:]


def fewer_values_jacobian(x, w):
    return two_layers_jacobian(x, w)[20:]


@pytest.mark.parametrize(
    ("fun", "by_hand", "shape"),
    [
        (two_layers, two_layers_jacobian, (151, 151)),
        (fewer_values, fewer_values_jacobian, (151, 151)),  # in reverse
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_large_jacobian_runs_its_directions_as_lanes_with_the_same_bits(fun, by_hand, shape, dtype):
    w, x = RNG.normal(size=shape).astype(dtype), RNG.normal(size=shape[1]).astype(dtype)
    rtol = 1e-11 if dtype is np.float64 else 1e-3
    large = fg.jacobian(fun)
    matrix = large(x, w)
    assert matrix.dtype == dtype
    assert isinstance(next(iter(large.known.values())), Lanes)
    assert_allclose(matrix, by_hand(x.astype(np.float64), w.astype(np.float64)), rtol=rtol, atol=rtol)
    found = []
    for n in (1, 2, 3):
        fg.set_num_threads(n)
        found.append(large(x, w))
    for other in found:
        assert_same_bits(other, matrix)
    out = np.empty_like(matrix)
    assert large(x, w, out=out) is out
    assert_same_bits(out, matrix)
    copy = pickle.loads(pickle.dumps(large))
    assert_same_bits(copy(x, w), matrix)
    w[0, 1] = 0.5  # of the arguments nothing is kept
    assert_allclose(large(x, w), by_hand(x.astype(np.float64), w.astype(np.float64)), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("n", [7, 200])
@pytest.mark.parametrize(
    "fun",
    [
        lambda x, w: np.tanh(x @ w),
        lambda x, w: -(w @ (3 * -x.reshape(-1, 1) * x[:, None])).ravel() + x,
        lambda x, w: (w @ x) * (w.T @ x) + w[:5].sum() * x,
        lambda x, w: w[:, :3] @ x[:3] + np.exp(w @ x),
        lambda x, w: np.sin(w @ (w @ x))[: len(x) // 2],
        lambda x, w: np.ones((2, 2)) * np.sum(w @ x),
    ],
)
def test_columns_of_matrices_are_what_products_with_unit_vectors_give(fun, n):
    w, x = RNG.normal(size=(n, n)) / n, RNG.normal(size=n)
    matrix = fg.jacobian(fun)(x, w)
    directions = [fg.jvp(lambda x: fun(x, w), (x,), (e,))[1] for e in np.eye(n)]
    assert_allclose(matrix, np.stack(directions, -1), rtol=1e-12, atol=1e-13)


def test_a_jacobian_by_several_arguments_as_lanes():
    w, x = RNG.normal(size=(40, 30)), RNG.normal(size=30)
    by_x, by_w = fg.jacobian(two := lambda x, w: np.tanh(w @ x), (0, 1))(x, w)
    assert_allclose(by_x, layer_jacobian(x, w), rtol=1e-12, atol=1e-14)
    expected = np.einsum("i,ij,k->ijk", 1 - two(x, w) ** 2, np.eye(40), x)
    assert_allclose(by_w, expected, rtol=1e-12, atol=1e-15)


def test_a_large_hessian_runs_its_directions_as_lanes():
    x = RNG.normal(size=203)
    large = fg.hessian(rosenbrock)
    here, bend = x[:-1], np.zeros(203)
    bend[:-1] = 1200 * here**2 - 400 * x[1:] + 2
    bend[1:] += 200
    expected = np.diag(bend) - np.diag(400 * here, 1) - np.diag(400 * here, -1)
    assert_allclose(large(x), expected, rtol=1e-12)
    assert isinstance(next(iter(large.known.values())), Lanes)


@pytest.mark.parametrize("n", [9, 1025])
def test_the_columns_of_a_matrix_are_exact(n):
    w, x = RNG.normal(size=(n, n)), RNG.normal(size=n)
    w[1, 2], w[2, 1] = np.inf, -0.0
    assert_same_bits(fg.jacobian(lambda x: w @ x)(x), w)
    assert_same_bits(fg.jacobian(lambda x: w[:-1] @ x)(x), w[:-1])


def test_a_large_jacobian_of_one_matrix_holds_no_unit_vectors():
    w, x = RNG.normal(size=(1500, 1200)), RNG.normal(size=1200)
    jacobian = fg.jacobian(lambda x, w: np.tanh(w @ x))
    jacobian(x, w)
    (runner,) = jacobian.known.values()
    assert runner.program.words.nbytes < 1 << 16
