import gc
import weakref

import numpy as np
import pytest

from fastgrad._compiler import graph as g
from fastgrad._compiler.graph import FLOAT32, FLOAT64, Builder, Frozen, Graph
from fastgrad._compiler.simplify import Simplifier


@pytest.fixture
def builder():
    return Builder()


def test_the_same_expression_is_one_node(builder):
    x = builder.input((3,), FLOAT64)
    assert g.sin(x) * 2 is g.sin(x) * 2
    assert x + 1 is not 1 + x
    assert builder.input((3,), FLOAT64) is not x


def test_small_constants_are_shared_by_value_large_ones_by_identity(builder):
    assert builder.constant(np.ones(4)) is builder.constant(np.ones(4))
    assert builder.constant(np.ones(4)) is not builder.constant(np.ones((2, 2)))
    assert builder.constant(np.ones(1000)) is not builder.constant(np.ones(1000))


def test_zeros_of_either_sign_and_nan_stay_apart(builder):
    assert builder.scalar(0.0) is not builder.scalar(-0.0)
    assert np.signbit(builder.scalar(-0.0).value)
    assert np.isnan(builder.scalar(float("nan")).value)
    assert builder.scalar(1, FLOAT32) is not builder.scalar(1, FLOAT64)


def test_a_users_array_is_copied_once_and_again_when_it_changes(builder):
    table = np.arange(100.0)
    first = builder.copied_constant(table, FLOAT64)
    assert builder.copied_constant(table, FLOAT64) is first
    table[3] = -1
    second = builder.copied_constant(table, FLOAT64)
    assert second is not first
    assert first.value[3] == 3
    assert second.value[3] == -1


def test_constants_cannot_be_written(builder):
    with pytest.raises(ValueError, match="read-only"):
        builder.constant(np.ones(3)).value[0] = 2


def test_ids_are_a_topological_order(builder):
    x = builder.input((), FLOAT64)
    y = g.exp(x * x + 1)
    nodes = g.ancestors([y])
    assert nodes[-1] is y
    for node in nodes:
        assert all(a.id < node.id for a in node.inputs)


def test_operands_broadcast_and_promote(builder):
    x, y = builder.input((3, 1), FLOAT32), builder.input((4,), FLOAT64)
    assert (x + y).shape == (3, 4)
    assert (x + y).dtype is FLOAT64
    assert (x * 2.5).dtype is FLOAT32


@pytest.mark.parametrize("op", ["less", "logical_not", "isnan"])
def test_comparisons_give_truth_values_in_the_dtype_of_their_operands(builder, op):
    x = builder.input((2,), FLOAT32)
    node = builder.make(op, (x,) * g.ELEMENTWISE[op])
    assert node.is_bool
    assert node.dtype is FLOAT32
    assert g.reshape(node, (1, 2)).is_bool
    assert g.where(node, node, node).is_bool
    assert not g.where(node, x, node).is_bool
    assert not (node * 1.0).is_bool
    assert not g.truth_as_number(node).is_bool


def test_unequal_operands_are_caught(builder):
    x, y = builder.input((2,), FLOAT64), builder.input((3,), FLOAT64)
    with pytest.raises(AssertionError):
        builder.make("add", (x, y))
    with pytest.raises(AssertionError):
        builder.make("add", (x, builder.input((2,), FLOAT32)))
    with pytest.raises(AssertionError):
        builder.make("add", (x,))


def test_identity_views_make_no_node(builder):
    x = builder.input((2, 3), FLOAT64)
    assert g.reshape(x, (2, 3)) is x
    assert g.transpose(x, (0, 1)) is x
    assert g.broadcast(x, (2, 3)) is x
    assert g.slices(x, ((0, 2, 1), (0, 3, 1))) is x
    assert g.cast(x, FLOAT64) is x
    assert g.reduction("sum", x, ()) is x


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 16, -1, -2, -16])
def test_small_integer_powers_are_products(builder, n):
    ops = {node.op for node in g.ancestors([g.power(builder.input((), FLOAT64), n)])}
    assert ops <= {"input", "const", "multiply", "divide"}


@pytest.mark.parametrize("n", [17, 0.3, float("inf"), float("nan")])
def test_other_powers_stay(builder, n):
    assert g.power(builder.input((), FLOAT64), n).op == "power"
    assert g.power(builder.input((), FLOAT64), 0.5).op == "sqrt"


def test_frozen_arrays_hash_and_compare():
    assert Frozen(np.arange(3)) == Frozen(np.arange(3))
    assert hash(Frozen(np.arange(3))) == hash(Frozen(np.arange(3)))
    assert Frozen(np.arange(3)) != Frozen(np.arange(4))
    assert Frozen(np.arange(3)) != "x"


def test_inline_replaces_inputs(builder):
    x = builder.input((), FLOAT64)
    graph = Graph((x,), (g.sin(x) * 2,))
    other = Builder()
    y = other.input((), FLOAT64)
    (result,) = g.inline(graph, [g.cos(y)])
    assert result is g.sin(g.cos(y)) * 2


def test_inline_renames_inputs_and_simplifies_other_arguments():
    inner, outer = Simplifier(), Simplifier()
    x, y, a, b = [builder.input((), FLOAT64) for builder in (inner, inner, outer, outer)]
    graph = Graph((x, y), (x * y / y, g.sin(x) * 1.5))
    renamed = Graph((a, b), tuple(g.inline(graph, [a, b])))
    assert [(n.op, n.attributes) for n in renamed.nodes] == [(n.op, n.attributes) for n in graph.nodes]
    folded = g.inline(graph, [outer.scalar(0.5), a])[1]
    assert folded.number == np.sin(0.5) * 1.5
    (same,) = g.inline(Graph((a,), (g.cos(b),)), [outer.scalar(2.0)])
    assert same is g.cos(b)  # what does not depend on the argument stays


def test_the_memory_of_a_closed_builder_needs_no_collector(builder):
    x = builder.input((), FLOAT64)
    constant = builder.constant(np.arange(3.0)).value
    gone = weakref.ref(constant)
    del constant
    gc.disable()
    try:
        builder.close()
        assert gone() is None
        assert x.builder is builder
    finally:
        gc.enable()


def test_a_deep_graph_needs_no_recursion(builder):
    x = builder.input((), FLOAT64)
    y = x
    for _ in range(100_000):
        y = builder.make("sin", (y,))
    assert len(g.ancestors([y])) == 100_001
    assert repr(y).startswith("%100000 = sin(%99999)")
