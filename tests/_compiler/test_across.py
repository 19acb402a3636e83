"""Sums over lanes: the gradient of a data set as one program."""

import numpy as np
import pytest
from helpers import assert_same_bits
from interpret import run_words

import fastgrad as fg
from fastgrad._compiler.autodiff import value_and_gradient
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.graph import Graph, lane_sum
from fastgrad._compiler.selection import Selection
from fastgrad._compiler.simplify import Simplifier
from fastgrad._compiler.trace import Input, trace

RNG = np.random.default_rng(0)
N = 6  # rows
SHAPES = [(3, 4), (4,), (4, 5), (5,), (), (3,)]  # two layers, what a row weighs, a row


def graph_of(loss, shapes, n_leaves, dtype=np.float64, builder=Simplifier):
    graph = trace(loss, [Input(shape, np.dtype(dtype)) for shape in shapes], builder=builder() if builder else None)
    both = value_and_gradient(graph, range(n_leaves))
    return Graph(both.inputs, tuple([lane_sum(x) for x in both.outputs]))


def lists(graph, n_leaves):
    """Instructions on uniform values, on lanes, and across lanes."""
    lanes = [i >= n_leaves for i in range(len(graph.inputs))]
    tape = Selection(graph, tuple(lanes), words_of=None).tape
    return [code.ops() for code in (tape.uniform, tape.lane, tape.across)]


def check(loss, shapes, n_leaves, dtype=np.float64, builder=Simplifier, integers=()):
    """The sums of a program against those of gradients one by one."""
    graph = graph_of(loss, shapes, n_leaves, dtype, builder)
    lanes = [i >= n_leaves for i in range(len(shapes))]
    arrays = [RNG.normal(size=((N, *s) if lane else s)).astype(dtype) for s, lane in zip(shapes, lanes, strict=True)]
    for i in integers:
        arrays[i] = RNG.integers(0, 5, arrays[i].shape).astype(dtype)
    found = run_words(compile_graph(graph, lanes).program.words, *arrays, n_lanes=N)
    one = fg.value_and_grad(loss, argnums=tuple(range(n_leaves)))
    rows = [one(*[x[i] if lane else x for x, lane in zip(arrays, lanes, strict=True)]) for i in range(N)]
    totals = [sum(value for value, _ in rows), *[sum(parts) for parts in zip(*[g for _, g in rows], strict=True)]]
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    for result, right in zip(found, totals, strict=True):
        np.testing.assert_allclose(result.ravel(), np.ravel(right), rtol=tolerance, atol=tolerance)
    return lists(graph, n_leaves)


def relu(z):
    return np.where(z <= 0, 0, z)


def network(activation, leaves, x):
    W, b, V, c = leaves
    return activation(x @ W + b) @ V + c


def squares(activation):
    return lambda *args: args[4] * np.sum((network(activation, args[:4], args[5]) - args[6]) ** 2)


def cross_entropy(*args):
    z = network(relu, args[:4], args[5])
    m = fg.stop_gradient(np.max(z))
    return args[4] * (m + np.log(np.sum(np.exp(z - m))) - np.sum(np.where(np.arange(5) == args[6], z, 0)))


ALL = ["lane_sum", "lane_matmul", "lane_sum", "lane_matmul", "lane_sum"]
FORWARD, BACKWARD = ["matmul_add", "relu", "matmul_add"], ["matmul", "gate"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_network_passes_once_over_each_layer_each_way(dtype):
    uniform, lane, across = check(squares(relu), [*SHAPES, (5,)], 4, dtype)
    assert (uniform, across) == ([], ALL)
    assert lane == [*FORWARD, "subtract", "dot", *["multiply"] * 3, *BACKWARD]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_labels_cost_no_guards_and_no_casts(dtype):
    uniform, lane, across = check(cross_entropy, [*SHAPES, ()], 4, dtype, integers=[6])
    assert (uniform, across) == ([], ALL)
    assert lane[:3] == FORWARD
    assert lane[-2:] == BACKWARD
    assert lane.count("exp") == 1
    assert not {"cast", "multiply_guarded", "copy"} & set(lane)


@pytest.mark.parametrize("activation", [
    np.tanh,
    lambda z: np.where(z > 0, z, 0.01 * z),
    lambda z: np.where(z > 0, z, np.expm1(np.where(z > 0, 0, z))),
    lambda z: np.maximum(z, 0),
    lambda z: np.where(abs(z) < 1, 0.5 * z * z, abs(z) - 0.5),
])  # fmt: skip
def test_no_activation_takes_a_product_apart(activation):
    _, lane, across = check(squares(activation), [*SHAPES, (5,)], 4)
    assert lane.count("matmul_add") == 2
    assert lane.count("matmul") == 1
    assert across == ALL
    assert "sum" not in lane


def test_a_branch_that_alone_needs_a_product_guards_it():
    def loss(W, x, s):
        return np.sum(np.where(s > 0, np.exp(x @ W), 0.0))

    _, lane, _ = check(loss, [(3, 2), (3,), ()], 1)
    assert "multiply_guarded" in lane
    W = np.array([[1.0, np.nan]] * 3)
    slope = fg.grad(lambda x: np.sum(np.where(np.array([True, False]), x @ W, 0.0)))(np.ones(3))
    np.testing.assert_array_equal(slope, [1, 1, 1])


@pytest.mark.parametrize(("loss", "shapes", "across"), [
    (lambda W, x, s: s * np.sum(np.tanh(W @ x)), [(4, 3), (3,), ()], ["lane_sum", "lane_matmul"]),
    (lambda W, x, s: s * np.sum(np.tanh(x @ W.T)), [(4, 3), (3,), ()], ["lane_sum", "lane_matmul"]),
    (lambda W, X, s: s * np.sum(np.tanh(X @ W)), [(4, 3), (2, 4), ()], ["lane_sum", "lane_matmul"]),
    (lambda W, X, s: s * np.sum(np.tanh(W @ X)), [(4, 3), (3, 5), ()], ["lane_sum", "lane_matmul"]),
    (lambda W, x, s: s * np.sum(np.sin(np.sum(W * x[:, None], axis=0))), [(4, 3), (4,), ()],
        ["lane_sum", "lane_matmul"]),
    (lambda W, x, s: s * np.sum(np.sin(np.sum(W * x, axis=1))), [(4, 3), (3,), ()], ["lane_sum", "lane_matmul"]),
    (lambda W, x, y: x @ W @ y, [(4, 3), (4,), (3,)], ["lane_sum", "lane_matmul"]),
    (lambda W, x, y: np.sum(np.outer(x, y) * np.sin(W)), [(4, 3), (4,), (3,)], ["lane_sum", "lane_sum"]),
    (lambda W, x, s: s * np.sum(np.sin(W) * x), [(3,), (3,), ()], ["lane_sum", "lane_sum"]),
    (lambda W, x, s: s * np.sum(W[x.shape[0] - 2 :] * x[1:]), [(3,), (3,), ()], ["lane_sum", "lane_sum"]),
    (lambda W, x, s: s * np.sum(x) + np.sum(W * W), [(3,), (3,), ()], ["lane_sum", "lane_sum"]),
    (lambda W, x, s: s * np.sum(x), [(3, 2), (3,), ()], ["lane_sum", "lane_sum"]),
    (lambda W, x, s: s * np.sum((W - x) ** 2), [(3, 2), (3, 2), ()], ["lane_sum", "lane_sum"]),
    (lambda W, x, s: s * np.sum(W), [(0,), (3,), ()], ["lane_sum"]),
])  # fmt: skip
@pytest.mark.parametrize("builder", [Simplifier, None])
def test_every_sum_over_lanes_is_right(loss, shapes, across, builder):
    found = check(loss, shapes, 1, builder=builder)[2]
    assert found == across or builder is None


def test_leaves_with_the_same_gradient_have_outputs_of_their_own():
    def loss(a, b, W, V, x):
        return np.sum(np.exp(a + b) * x) + np.sum(np.tanh(x @ (W + V)))

    assert check(loss, [(3,), (3,), (3, 2), (3, 2), (3,)], 4)[2].count("lane_matmul") in (1, 2)


def test_a_value_that_is_summed_and_used_besides_is_computed():
    def outputs(W, x):
        y = np.tanh(x @ W)
        return y, np.sum(y * y)

    graph = trace(outputs, [Input((3, 2)), Input((3,))], builder=Simplifier())
    graph = Graph(graph.inputs, tuple([lane_sum(x) for x in graph.outputs]))
    W, x = RNG.normal(size=(3, 2)), RNG.normal(size=(N, 3))
    y, total = run_words(compile_graph(graph, [False, True]).program.words, W, x, n_lanes=N)
    np.testing.assert_allclose(y[0], np.tanh(x @ W).sum(0), rtol=1e-13)
    np.testing.assert_allclose(total, np.sum(np.tanh(x @ W) ** 2), rtol=1e-13)


def test_outputs_of_parameters_alone_may_stand_beside():
    graph = trace(lambda w, x: (np.exp(w), w, np.sum(w * x)), [Input((3,)), Input((3,))], builder=Simplifier())
    graph = Graph(graph.inputs, (*graph.outputs[:2], lane_sum(graph.outputs[2])))
    w, x = RNG.normal(size=3), RNG.normal(size=(N, 3))
    e, same, total = run_words(compile_graph(graph, [False, True]).program.words, w, x, n_lanes=N)
    np.testing.assert_allclose(e[0], np.exp(w), rtol=1e-14)
    np.testing.assert_array_equal(same[0], w)
    np.testing.assert_allclose(total, np.sum(x @ w), rtol=1e-13)


def test_factors_are_converted_rather_than_products():
    def loss(W, x, s):  # float64 from the constants on
        return s * np.sum(np.sin(x @ W) * np.linspace(0.1, 1, 2) @ np.ones((2, 3)))

    graph = graph_of(loss, [(4, 2), (4,), ()], 1, np.float32)
    assert lists(graph, 1)[2] == ["lane_sum", "lane_matmul"]
    check(loss, [(4, 2), (4,), ()], 1, np.float32)

    def twice(W, V, x):
        return np.sum(np.tanh((x.astype(np.float64) @ W) @ V))

    _, lane, across = check(twice, [(4, 2), (2, 3), (4,)], 2, np.float32)
    assert across == ["lane_sum", "lane_matmul", "lane_matmul"]
    assert lane.count("matmul") == 3


def test_no_lane_holds_a_gradient_of_its_own():
    shapes = [(300, 200), (200,), (200, 5), (5,), (), (300,), (5,)]
    words = compile_graph(graph_of(squares(relu), shapes, 4), [False] * 4 + [True] * 3).program.words
    buffers = words[8 : 8 + 5 * words[1]].reshape(-1, 5)
    lane_arena = buffers[(buffers[:, 0] == 3) & (buffers[:, 2] == 1)]
    assert (lane_arena[:, 4] + 8 * lane_arena[:, 3]).max() < 8 * 1000


def test_without_sums_over_lanes_nothing_starts_from_a_bias():
    graph = trace(lambda W, b, x: x @ W + b, [Input((3, 2)), Input((2,)), Input((3,))], builder=Simplifier())
    tape = Selection(graph, (False, False, True), words_of=None).tape
    assert sorted(tape.lane.ops()) == ["add", "matmul"]


def test_only_training_runs_such_a_program():
    compiled = compile_graph(graph_of(lambda w, x: np.sum(w * x), [(3,), (3,)], 1), [False, True])
    outputs = [np.zeros(shape) for shape, _ in compiled.outputs]
    with pytest.raises(ValueError, match="training"):
        compiled.program.run_batch(2, [np.ones(3), np.ones((2, 3))], outputs)
    with pytest.raises(ValueError, match="training"):
        compiled.program.run([np.ones(3), np.ones(3)], outputs)


def test_no_output_of_a_lane_stands_beside():
    graph = trace(lambda x: np.sum(x), [Input((3,))], builder=Simplifier())
    (value,) = graph.outputs
    with pytest.raises(AssertionError, match="no output differs by lane"):
        compile_graph(Graph(graph.inputs, (lane_sum(value), value)), [True])


def test_relu_has_the_bits_of_what_it_stands_for():
    def loss(x, w):
        return np.sum(np.where(x * w <= 0, 0, x * w) ** 2)

    x, w = RNG.normal(size=(50, 7)), RNG.normal(size=7)
    z = x * w
    gradient = fg.vmap(fg.grad(loss), in_axes=(0, None))(x, w)
    assert_same_bits(abs(gradient), abs(2 * (np.where(z > 0, z, 0) * w)))
