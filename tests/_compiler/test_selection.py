"""Which instructions a graph becomes."""

import numpy as np
import pytest

import fastgrad as fg
from fastgrad._compiler.autodiff import value_and_gradient
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.graph import ELEMENTWISE
from fastgrad._compiler.selection import Selection
from fastgrad._compiler.simplify import Simplifier
from fastgrad._compiler.trace import Input, trace

X = np.array([[0.5, -1.25, 2.0], [1.5, -0.25, 3.0]])


def ops(graph):
    return sorted(Selection(graph, (False,) * len(graph.inputs), words_of=None).tape.uniform.ops())


@pytest.mark.parametrize(("fun", "left"), [
    (lambda x: x * x + 1, ["multiply_add"]),
    (lambda x: 1 + x * x, ["multiply_add"]),
    (lambda x: x * x - np.exp(x), ["exp", "multiply_subtract"]),
    (lambda x: np.exp(x) - x * x, ["exp", "negative_multiply_add"]),
    (lambda x: -(x * x), ["negative_multiply"]),
    (lambda x: -(2 * x), ["multiply"]),
    (lambda x: (x * x + 1) * (x * x), ["add", "multiply", "multiply"]),
    (lambda x: np.sum(x * x), ["dot"]),
    (lambda x: np.sum(x * np.exp(x), axis=1), ["dot", "exp"]),
    (lambda x: np.sum(x[0] * x), ["multiply", "sum"]),
    (lambda x: np.sum(x * x) + (x * x)[0, 0], ["add", "multiply", "sum"]),
])  # fmt: skip
def test_products_become_part_of_the_sum_that_alone_uses_them(fun, left):
    graph = trace(fun, [Input(X.shape)], builder=Simplifier())
    assert ops(graph) == left
    out = np.empty(graph.outputs[0].shape)
    compile_graph(graph).program.run([X], [out])
    np.testing.assert_allclose(out, fun(X), rtol=1e-14)


def test_a_product_is_added_to_a_part_at_once():
    def fun(x):
        return np.sum(x) + x[0] * x[1] - 3 * np.sum(x[1:] * x[:-1] * x[1:])

    both = value_and_gradient(trace(fun, [Input((4,))], builder=Simplifier()), [0])
    assert "multiply_add" in ops(both)
    assert "negative_multiply_add" in ops(both)
    x, value, slope = np.array([0.5, 2.0, -1.5, 3.0]), np.empty(()), np.empty(4)
    compile_graph(both).program.run([x], [value, slope])
    a, b = x[:-1], x[1:]
    right = np.array([1 + x[1], 1 + x[0], 1, 1]) - 3 * (np.append(b * b, 0) + np.append(0, 2 * a * b))
    np.testing.assert_allclose(slope, right, rtol=1e-14)


def test_the_gradient_of_rosenbrock_is_small():
    def rosenbrock(x):
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    both = value_and_gradient(trace(rosenbrock, [Input((9,))], builder=Simplifier()), [0])
    assert len([op for op in ops(both) if op in ELEMENTWISE]) <= 10


@pytest.mark.parametrize("pick", [
    lambda y: y[[1, 0, 2]],
    lambda y: np.add.reduceat(y, [0, 2, 1]),
    lambda y: np.cumsum(y),
    lambda y: np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 1]]) @ y,
])  # fmt: skip
@pytest.mark.parametrize("join", [np.concatenate, np.stack, lambda parts: np.stack(parts, axis=1)])
def test_parts_of_an_array_may_be_computed_from_each_other(pick, join):
    def fun(x):
        y = np.sin(x)
        return join([y, pick(y), pick(x)])

    x = np.array([0.5, -0.25, 1.5])
    np.testing.assert_allclose(fg.vjp(fun, x)[0], fun(x), rtol=1e-14)
    np.testing.assert_allclose(fg.vmap(fun)(np.stack([x, 2 * x])), [fun(x), fun(2 * x)], rtol=1e-14)


def test_a_gradient_gathered_next_to_what_it_comes_from():
    def fun(x):
        y = np.maximum(x, 0.1)
        return np.sum(np.sin(np.concatenate([y, y[[0, 1, 0, 0, 1]]])))

    x = np.array([0.5, -0.25, 1.5])
    np.testing.assert_allclose(fg.grad(fun)(x), [4 * np.cos(0.5), 0, np.cos(1.5)], rtol=1e-14)
