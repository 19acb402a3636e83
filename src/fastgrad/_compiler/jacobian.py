"""Jacobians: many directions at once through a forward or a reverse pass.

`directions` gives the graph of one direction, with its seeds as further inputs: what a batch of lanes runs over. For
use inside a graph, and for small ones, `jacobian_graph` does all directions by a leading axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .autodiff import backward
from .batching import batched
from .forward import linearized
from .graph import Graph, Node, Shape, inline, reshape, slice_axis, transpose
from .tree import Structure, nested


@dataclass(frozen=True)
class Directions:
    """One direction of a Jacobian as a graph, and how its results for all of them become the blocks of the Jacobian.

    Forward, a direction is an element of the variables, the result a tangent of every value; in reverse a direction is
    an element of the values, the result an adjoint of every variable.
    """

    graph: Graph  # inputs of the function, then the seeds; structure of the Jacobian
    is_forward: bool
    seeds: tuple[Shape, ...]
    results: tuple[Shape, ...]

    @property
    def number(self) -> int:
        """How many directions there are."""
        return sum(map(math.prod, self.seeds))

    def blocks(self) -> list[tuple[int, int, int, Shape]]:
        """For each block of the Jacobian, values outside: number of the result it comes from, first direction, number
        of directions, shape."""
        found = []
        for start, seed in zip(_starts(self.seeds), self.seeds, strict=True):
            for number, result in enumerate(self.results):
                shape = (*result, *seed) if self.is_forward else (*seed, *result)
                found.append((number, start, math.prod(seed), shape))
        if self.is_forward:  # seeds are variables: they go inside
            n = len(self.results)
            found = [found[j * n + i] for i in range(n) for j in range(len(self.seeds))]
        return found


def _starts(shapes: Sequence[Shape]) -> list[int]:
    return [sum(map(math.prod, shapes[:i])) for i in range(len(shapes))]


def unit_vectors(shapes: Sequence[Shape], dtypes: Sequence[np.dtype]) -> list[np.ndarray]:
    """For arrays of these shapes, the unit vectors of all their elements together: a row each, cut into the arrays."""
    n = sum(map(math.prod, shapes))
    identity = np.eye(n)
    return [
        identity[:, start : start + math.prod(shape)].reshape(n, *shape).astype(dtype)
        for start, shape, dtype in zip(_starts(shapes), shapes, dtypes, strict=True)
    ]


def directions(graph: Graph, wrt: Sequence[int], structure: Structure) -> Directions:
    """The cheaper of the two passes: forward when there are no more elements to differentiate by than values."""
    variables = [graph.inputs[number] for number in wrt]
    of_variables, of_outputs = tuple([x.shape for x in variables]), tuple([y.shape for y in graph.outputs])
    whole = nested(graph.structure, structure)
    if sum(map(math.prod, of_variables)) <= sum(map(math.prod, of_outputs)):
        tangent = linearized(graph, wrt)
        return Directions(Graph(tangent.inputs, tangent.outputs, whole, graph.name), True, of_variables, of_outputs)
    seeds = [y.builder.input(y.shape, y.dtype) for y in graph.outputs]
    adjoints = backward(graph.outputs, seeds, variables)
    return Directions(
        Graph((*graph.inputs, *seeds), tuple(adjoints), whole, graph.name), False, of_outputs, of_variables
    )


def jacobian_graph(one: Directions) -> Graph:
    """All directions in one graph, of the function's inputs alone."""
    n_own = len(one.graph.inputs) - len(one.seeds)
    own, seeds = one.graph.inputs[:n_own], one.graph.inputs[n_own:]
    builder = own[0].builder
    values = [builder.constant(v) for v in unit_vectors(one.seeds, [x.dtype for x in seeds])]
    many = inline(batched(one.graph, [False] * n_own + [True] * len(seeds), one.number), [*own, *values])
    outputs = tuple([_block(many[i], start, n, shape, one.is_forward) for i, start, n, shape in one.blocks()])
    return Graph(own, outputs, one.graph.structure, one.graph.name)


def _block(result: Node, start: int, n: int, shape: Shape, is_forward: bool) -> Node:
    rows = slice_axis(result, 0, start, n)
    if is_forward:  # directions count variables: innermost
        rows = transpose(rows, (*range(1, rows.ndim), 0))
    return reshape(rows, shape)
