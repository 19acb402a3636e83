"""Batching: from a graph for one instance to the graph for many of them, counted by a new leading axis.

This is `vmap` inside a traced function, where the instances are part of a larger graph; a batch at the outside becomes
lanes instead. Nodes that no batched input reaches stay as they are, so work that instances share is done once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import graph as g
from .graph import REDUCTIONS, Frozen, Graph, Node


def batched(graph: Graph, is_batched: Sequence[bool], n: int) -> Graph:
    """The graph of `n` instances.

    Parameters
    ----------
    graph : Graph
        What one instance computes.
    is_batched : sequence of bool
        Which inputs get the leading axis; the instances share the others.
    n : int
        Number of instances.

    Returns
    -------
    Graph
        Inputs of a builder of its own. Every output has the leading axis, of length `n`.
    """
    builder = g.Builder()
    made: dict[Node, Node] = {}
    many: set[Node] = set()
    for node, flag in zip(graph.inputs, is_batched, strict=True):
        made[node] = builder.input((n, *node.shape) if flag else node.shape, node.dtype, node.is_bool)
        if flag:
            many.add(node)
    for node in graph.nodes:
        if node in made:
            continue
        if node.op == "const":
            made[node] = builder.constant(node.value, node.is_bool)
            continue
        if not many.intersection(node.inputs):
            made[node] = builder.make(node.op, tuple([made[x] for x in node.inputs]), node.attributes)
            continue
        many.add(node)
        operands = tuple([_spread(made[x], x, n, many) for x in node.inputs])
        rule = RULES.get(node.op)
        made[node] = rule(node, operands, n) if rule else builder.make(node.op, operands, node.attributes)
    outputs = [_spread(made[x], x, n, many) for x in graph.outputs]
    return Graph(tuple([made[x] for x in graph.inputs]), tuple(outputs), graph.structure, graph.name)


def _spread(x: Node, one: Node, n: int, many: set[Node]) -> Node:
    """The operand with the leading axis, repeated if the instances share it."""
    return x if one in many else g.broadcast(x, (n, *one.shape))


# ---- what the leading axis does to the attributes; an operation not listed keeps its own

Rule = Callable[[Node, tuple[Node, ...], int], Node]


def _with(attributes: Callable[[Any, int], Any]) -> Rule:
    """The same operation with other attributes."""
    return lambda node, operands, n: operands[0].builder.make(node.op, operands, attributes(node.attributes, n))


def _broadcast(node: Node, operands: tuple[Node, ...], n: int) -> Node:
    (a,) = operands
    aligned = (n, *(1,) * (node.ndim - a.ndim + 1), *a.shape[1:])
    return g.broadcast(g.reshape(a, aligned), (n, *node.shape))


def _tables(table: Frozen, size: int, n: int) -> Frozen:
    """Element numbers in an array of `size`, as those in `n` such arrays one after another."""
    return Frozen((np.arange(n)[:, None] * size + table.array.ravel()).ravel())


def _gather(node: Node, operands: tuple[Node, ...], n: int) -> Node:
    table, shape = node.attributes
    return g.gather(operands[0], _tables(table, node.inputs[0].size, n), (n, *shape))


def _scatter_add(node: Node, operands: tuple[Node, ...], n: int) -> Node:
    table, shape = node.attributes
    return g.scatter_add(operands[0], _tables(table, math.prod(shape), n), (n, *shape))


_further = _with(lambda axes, n: tuple([axis + 1 for axis in axes]))
RULES: dict[str, Rule] = {
    "reshape": _with(lambda shape, n: (n, *shape)),
    "transpose": _with(lambda permutation, n: (0, *[axis + 1 for axis in permutation])),
    "broadcast": _broadcast,
    "slice": _with(lambda spec, n: ((0, n, 1), *spec)),
    "index_add": _with(lambda spec, n: ((0, n, 1), *spec)),
    "concatenate": _with(lambda axis, n: axis + 1),
    "gather": _gather,
    "scatter_add": _scatter_add,
    "dot": _further,
    **dict.fromkeys(sorted(REDUCTIONS), _further),
}
