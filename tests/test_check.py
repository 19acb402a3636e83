"""Gradients against differences of plain Python calls."""

import numpy as np
import pytest

import fastgrad as fg


@pytest.mark.parametrize(
    ("fun", "x"),
    [
        (lambda x: np.sum(np.exp(x) * np.sin(3 * x)), np.linspace(-2, 2, 7)),
        (lambda x: np.sum(np.log(x)), np.array([1e-3, 1e-8, 5e4])),
        (lambda x: np.prod(x) ** 2, np.array([1.0, 0.0, -3.0])),
        (lambda p: np.sum(p["w"] ** 3) * p["b"], {"w": np.ones((2, 2)), "b": -2.0}),
        (lambda x: x**2, 3),
        (lambda x: 0.0 * x, np.float32(2)),
    ],
)
def test_right_gradients_pass(fun, x):
    found = fg.check_grad(fun, x)
    assert found
    assert found.ok is True
    assert "agrees" in str(found)


def test_a_wrong_gradient_is_found_and_named():
    def fun(p):
        return np.sum(p["a"] ** 2) + np.sum(p["b"][1] * fg.stop_gradient(p["b"][1]))

    found = fg.check_grad(fun, {"a": np.ones(3), "b": [1.0, np.array([[1.0, 2.0]])]})
    assert not found
    assert found.where == "x0['b'][1][0, 1]"
    assert found.exact == 2.0
    assert found.difference == pytest.approx(4.0)
    assert "DIFFERS" in str(found)


def test_a_function_that_means_something_else_when_traced_is_found():
    assert not fg.check_grad(lambda x: np.sum(x**2) * (3 if np.ndarray in map(type, [x]) else 1), np.ones(3))


def test_kinks_and_infinite_slopes_do_not_pass_silently():
    assert not fg.check_grad(lambda x: np.sum(np.sqrt(x)), np.array([0.0, 1.0]))


def test_large_gradients_are_sampled():
    found = fg.check_grad(lambda x: np.sum(x**2), np.ones(5000), max_components=20, rng=1)
    assert found
    assert found.n_checked == 20


def test_further_arguments():
    assert fg.check_grad(lambda x, a, k: np.sum(a * x**k), np.array([1.0, 2.0]), (np.array([3.0, 4.0]), 3))
