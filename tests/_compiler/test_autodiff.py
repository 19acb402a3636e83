"""Gradients of whole functions: order, accumulation, branches not taken, higher derivatives."""

import numpy as np
import pytest
from interpret import directional, evaluate

from fastgrad._compiler.autodiff import backward, value_and_gradient
from fastgrad._compiler.graph import Graph, reduction
from fastgrad._compiler.simplify import simplify
from fastgrad._compiler.trace import Input, trace
from fastgrad.errors import ShapeError

RNG = np.random.default_rng(2)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def network(w1, b1, w2, x):
    return np.mean((np.tanh(x @ w1 + b1) @ w2 - 1) ** 2)


def cross_entropy(w, x):
    p = 1 / (1 + np.exp(-(x @ w)))
    y = np.array([1.0, 0, 1, 0, 1])
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def softmax_loss(w, x):
    z = x @ w
    z = z - z.max(axis=1, keepdims=True)
    return -np.sum((z - np.log(np.sum(np.exp(z), axis=1, keepdims=True)))[np.arange(5), [0, 1, 0, 1, 1]])


def loops(x):
    s = 0.0
    for i in range(len(x) - 1):
        s += np.sin(x[i]) * x[i + 1] ** 2
    return s


def mixed(x, y):
    z = np.concatenate([x[::-1] * y[0], np.flip(y, 1).ravel()])
    return np.prod(np.abs(z)) ** 0.25 + np.std(z) + np.linalg.norm(z[[0, 0, 2]]) + np.max(y.T @ y) + z[1:3].dot(z[2:4])


FUNCTIONS = {
    rosenbrock: [(6,)],
    network: [(3, 4), (4,), (4,), (5, 3)],
    cross_entropy: [(3,), (5, 3)],
    softmax_loss: [(3, 2), (5, 3)],
    loops: [(5,)],
    mixed: [(3,), (2, 3)],
}


@pytest.mark.parametrize("fun", FUNCTIONS, ids=lambda fun: fun.__name__)
@pytest.mark.parametrize("form", ["plain", "simplified"])
def test_gradient_along_random_directions(fun, form):
    arguments = [RNG.standard_normal(shape) for shape in FUNCTIONS[fun]]
    directions = [RNG.standard_normal(shape) for shape in FUNCTIONS[fun]]
    graph = trace(fun, [Input(shape) for shape in FUNCTIONS[fun]])
    if form != "plain":
        graph = simplify(graph)
    both = value_and_gradient(graph, range(len(arguments)))
    if form != "plain":
        both = simplify(both)
    value, *gradients = evaluate(both, *arguments)
    assert value == pytest.approx(fun(*arguments), rel=1e-12)
    found = sum(np.sum(a * b) for a, b in zip(gradients, directions, strict=True))
    assert found == pytest.approx(directional(fun, arguments, directions), rel=1e-6)


@pytest.mark.parametrize("fun", FUNCTIONS, ids=lambda fun: fun.__name__)
def test_second_derivative_along_random_directions(fun):
    arguments = [RNG.standard_normal(shape) for shape in FUNCTIONS[fun]]
    directions = [RNG.standard_normal(shape) for shape in FUNCTIONS[fun]]
    graph = value_and_gradient(simplify(trace(fun, [Input(s) for s in FUNCTIONS[fun]])), [0])
    slope = reduction("sum", graph.outputs[1] * graph.outputs[1].builder.constant(directions[0]))
    graph = Graph(graph.inputs, (slope,))
    both = simplify(value_and_gradient(graph, range(len(arguments))))
    found = sum(np.sum(a * b) for a, b in zip(evaluate(both, *arguments)[1:], directions, strict=True))
    measured = directional(lambda *args: evaluate(graph, *args)[0], arguments, directions)
    assert found == pytest.approx(measured, rel=1e-5, abs=1e-6)


def test_derivatives_of_any_order():
    graph = trace(lambda x: np.sin(2 * x), [Input(())])
    for _ in range(6):
        graph = value_and_gradient(graph, [0])
        graph = simplify(Graph(graph.inputs, graph.outputs[1:]))
    assert evaluate(graph, 0.3)[0] == pytest.approx(-64 * np.sin(0.6))


def gradient(fun, x):
    x = np.asarray(x, float)
    graph = trace(fun, [Input(x.shape)])
    plain = evaluate(value_and_gradient(graph, [0]), x)[1]
    simple = evaluate(simplify(value_and_gradient(simplify(graph), [0])), x)[1]
    np.testing.assert_array_equal(plain, simple)
    return plain


@pytest.mark.parametrize(("fun", "x", "right"), [
    (lambda x: np.where(x > 0, np.log(x), 0.0), -1.0, 0),
    (lambda x: np.where(x > 0, np.log(x), 0.0), 0.0, 0),
    (lambda x: np.where(x > 0, np.log(x), 0.0), 2.0, 0.5),
    (lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0, 0),
    (lambda x: np.where(x > 0, x**0.3, 0.0), 0.0, 0),
    (lambda x: np.where(x > 0, 3 * np.exp(1 / x) * np.sqrt(x), -x), 0.0, -1),
    (lambda x: np.where(x <= 0, x, np.sum(np.log(np.stack([x, x])))), 0.0, 1),
    (lambda x: np.where(x == 0, 1.0, np.sin(x) / x), 0.0, 0),
])  # fmt: skip
def test_nothing_passes_into_the_branch_not_taken(fun, x, right):
    assert gradient(fun, x) == right


@pytest.mark.parametrize("fun", [
    lambda x: np.where(x > 0, np.log(x), 0.0),
    lambda x: np.where(x > 0, np.sqrt(x) * np.log(x), x),
    lambda x: np.where(x > 0, np.exp(-1 / x), 0.0),
])  # fmt: skip
@pytest.mark.parametrize("x", [-1.0, 0.0])
def test_nor_does_it_at_second_and_third_order(fun, x):
    graph = trace(fun, [Input(())])
    for _ in range(2):
        graph = value_and_gradient(graph, [0])
        graph = Graph(graph.inputs, graph.outputs[1:])
        assert evaluate(value_and_gradient(graph, [0]), x)[1] == 0
        assert evaluate(simplify(value_and_gradient(simplify(graph), [0])), x)[1] == 0


def test_a_guarded_direction_is_flat_at_the_origin():
    def unit(x):
        n = np.sqrt(np.sum(x * x))
        return np.sum(np.where(n > 0, x / n, 0.0))

    np.testing.assert_array_equal(gradient(unit, [0.0, 0.0]), [0, 0])


def test_guards_stand_only_where_a_branch_needs_them():
    graph = value_and_gradient(trace(lambda x: np.sin(np.where(x > 0, 1.0, 0.0) * np.exp(x)), [Input(())]), [0])
    assert "multiply_guarded" not in {node.op for node in graph.nodes}


def test_an_input_that_is_not_used_has_gradient_zero():
    graph = value_and_gradient(trace(lambda x, y: x * 2, [Input(()), Input((2, 3), np.float32)]), [0, 1])
    value, dx, dy = evaluate(graph, 1.0, np.ones((2, 3)))
    assert (value, dx) == (2, 2)
    assert dy.dtype == np.float32
    np.testing.assert_array_equal(dy, np.zeros((2, 3)))


def test_constant_and_identical_functions():
    assert evaluate(value_and_gradient(trace(lambda x: 3.0, [Input(())]), [0]), 1.0) == [3, 0]
    assert evaluate(value_and_gradient(trace(lambda x: x, [Input(())]), [0, 0]), 5.0) == [5, 1, 1]
    assert evaluate(value_and_gradient(trace(lambda x: np.sum(x > 0), [Input((3,))]), [0]), np.ones(3))[1].sum() == 0


def test_precision_changes_on_the_way_are_undone_by_the_gradient():
    graph = trace(lambda x: np.sum(x.astype(np.float64) * np.ones(3)) ** 2, [Input((3,), np.float32)])
    value, dx = evaluate(value_and_gradient(graph, [0]), [1, 2, 3])
    assert value.dtype == np.float64
    assert dx.dtype == np.float32
    np.testing.assert_array_equal(dx, [12, 12, 12])


def test_a_value_that_is_not_scalar_is_refused_with_its_shape():
    with pytest.raises(ShapeError, match=r"shape \(3,\)(.|\n)*np\.sum"):
        value_and_gradient(trace(lambda x: x * 2, [Input((3,))]), [0])


def test_a_pullback_takes_a_seed_for_each_output():
    graph = trace(lambda x: (x**2, np.sum(x)), [Input((3,))])
    builder = graph.outputs[0].builder
    seeds = [builder.constant(np.array([1.0, 10, 100])), builder.scalar(0.5)]
    (dx,) = backward(graph.outputs, seeds, graph.inputs)
    np.testing.assert_array_equal(evaluate(Graph(graph.inputs, (dx,)), [1, 2, 3])[0], [2.5, 40.5, 600.5])


@pytest.mark.parametrize("take", [lambda x, i: x[i], lambda x, i: x[i : i + 2].sum(), lambda x, i: x[[i, 0]].sum()])
def test_n_reads_of_elements_cost_n_nodes_and_no_n_arrays(take):
    def sizes(n):
        graph = trace(lambda x: sum(take(x, i) * i for i in range(n)), [Input((n,))])
        nodes = value_and_gradient(graph, [0]).nodes
        return len(nodes), sum(node.size for node in nodes if node.op not in ("index_add", "broadcast", "const"))

    (few, small), (many, large) = sizes(50), sizes(100)
    assert many < 2.2 * few
    assert large < 2.5 * small


def test_reads_of_rows_and_then_elements_stay_small_after_simplification():
    def fun(x):
        return sum(x[i][j] * x.T[j][i] for i in range(10) for j in range(10))

    graph = value_and_gradient(simplify(trace(fun, [Input((10, 10))])), [0])
    assert {node.size for node in graph.nodes} <= {1, 100}
    np.testing.assert_array_equal(evaluate(graph, np.eye(10))[1], 2 * np.eye(10))


def test_deep_graphs_need_no_recursion():
    def fun(x):
        for _ in range(30_000):
            x = np.sin(x)
        return x

    graph = simplify(value_and_gradient(trace(fun, [Input(())]), [0]))
    assert len(graph.nodes) < 100_000
