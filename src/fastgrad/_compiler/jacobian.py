"""Jacobians: many directions at once through a forward or a reverse pass.

`directions` gives the graph of one direction, with its seeds as further inputs: what a batch of lanes runs over. For
use inside a graph, and for small ones, `jacobian_graph` does all directions by a leading axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .autodiff import backward
from .batching import batched
from .forward import linearized
from .graph import (
    ELEMENTWISE,
    VIEWS,
    Graph,
    Node,
    Shape,
    broadcast,
    cast,
    inline,
    matrix_transpose,
    reshape,
    slice_axis,
    transpose,
)
from .tree import Structure, nested

A_TERM = 4  # of a matrix product with many directions: as long as so many elements of another operation


class Block(NamedTuple):
    """The derivatives of one value by one variable, as part of the results for all directions."""

    result: int  # which one
    start: int  # first direction
    number: int  # of directions
    shape: Shape  # the value's, then the variable's
    dtype: np.dtype  # the variable's


class Directions(NamedTuple):
    """One direction of a Jacobian as a graph, and how its results for all of them become the blocks of the Jacobian.

    Forward, a direction is an element of the variables, the result a tangent of every value; in reverse a direction is
    an element of the values, the result an adjoint of every variable.
    """

    graph: Graph  # inputs of the function, the seeds, columns of the matrices; structure of the Jacobian
    matrices: tuple[Node, ...]  # of the function's inputs; directions are their last axis forward, else the first
    is_forward: bool
    values: tuple[Shape, ...]
    variables: tuple[tuple[Shape, np.dtype], ...]

    @property
    def seeds(self) -> list[Shape]:
        """Shapes of the seeds."""
        return [shape for shape, _ in self.variables] if self.is_forward else list(self.values)

    @property
    def number(self) -> int:
        """How many directions there are."""
        return sum(map(math.prod, self.seeds))

    @property
    def own(self) -> tuple[Node, ...]:
        """Inputs of the function."""
        return self.graph.inputs[: len(self.graph.inputs) - len(self.seeds) - len(self.matrices)]

    @property
    def work(self) -> int:
        """How many elements all directions together compute; a matrix product of one program counts for more."""
        differ = set(self.graph.inputs[len(self.own) :])
        total = 0
        for x in self.graph.nodes:
            if not differ.isdisjoint(x.inputs):
                differ.add(x)
                if x.op not in VIEWS:
                    total += x.size * (A_TERM * x.inputs[0].shape[-1] if x.op == "matmul" else 1)
        return self.number * total

    @property
    def reads_seeds(self) -> bool:
        """Whether the seeds are read, not just columns."""
        return not set(self.graph.inputs[len(self.own) :][: len(self.seeds)]).isdisjoint(self.graph.nodes)

    @property
    def size(self) -> int:
        """Elements of the Jacobian."""
        return sum([math.prod(block.shape) for block in self.blocks()])

    def blocks(self) -> list[Block]:
        """The blocks of the Jacobian: by value, and within that by variable."""
        starts = _starts(self.seeds)
        return [
            Block(*((i, starts[j], math.prod(x)) if self.is_forward else (j, starts[i], math.prod(y))), (*y, *x), dtype)
            for i, y in enumerate(self.values)
            for j, (x, dtype) in enumerate(self.variables)
        ]


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
    whole = nested(graph.structure, structure)
    is_forward = sum([x.size for x in variables]) <= sum([y.size for y in graph.outputs])
    if is_forward:
        one = linearized(graph, wrt)
    else:
        seeds = [y.builder.input(y.shape, y.dtype) for y in graph.outputs]
        one = Graph((*graph.inputs, *seeds), tuple(backward(graph.outputs, seeds, variables)))
    one, matrices = _with_columns(one, len(graph.inputs), is_forward)
    return Directions(
        Graph(one.inputs, one.outputs, whole, graph.name),
        matrices,
        is_forward,
        tuple([y.shape for y in graph.outputs]),
        tuple([(x.shape, x.dtype) for x in variables]),
    )


def _with_columns(one: Graph, n_own: int, is_forward: bool) -> tuple[Graph, tuple[Node, ...]]:
    """A matrix makes of a unit vector one of its columns: inputs in place of such products, and the matrices."""
    if len(one.inputs) != n_own + 1:
        return one, ()
    seed = one.inputs[n_own]
    differ = {seed}
    scaled: dict[Node, Any] = {seed: 1.0}  # by what the seed is multiplied to give a node: a number, or a vector
    products, matrices = [], []
    for node in one.nodes:
        if differ.isdisjoint(node.inputs):
            continue
        differ.add(node)
        x, *others = sorted(node.inputs, key=lambda x: x not in scaled)
        if x not in scaled or not differ.isdisjoint(others):
            continue
        if node.op == "reshape":
            scaled[node] = scaled[x]
        elif node.op == "negative":
            scaled[node] = -scaled[x]
        elif node.op == "multiply":
            scaled[node] = reshape(others[0], (seed.size,)) * scaled[x]
        elif node.op == "matmul" and x.shape == ((seed.size, 1) if node.inputs[1] is x else (1, seed.size)):
            across = (node.inputs[1] is x) != is_forward  # whether the directions are rows, now or as they are wanted
            matrix = matrix_transpose(others[0]) if across else others[0]
            factor = scaled[x] if is_forward or not isinstance(scaled[x], Node) else reshape(scaled[x], (seed.size, 1))
            matrices.append(matrix * factor)
            products.append(node)
    columns = [seed.builder.input(x.shape, x.dtype) for x in products]
    cut = Graph((*one.inputs, *products), one.outputs)
    return Graph((*one.inputs, *columns), tuple(inline(cut, [*one.inputs, *columns]))), tuple(matrices)


def jacobian_graph(one: Directions) -> Graph:
    """All directions in one graph, of the function's inputs alone."""
    own, builder = one.own, one.graph.inputs[0].builder
    seeds, columns = one.graph.inputs[len(own) :][: len(one.seeds)], one.graph.inputs[len(own) + len(one.seeds) :]

    def of_all(x: Node) -> Shape:
        return (*x.shape, one.number) if one.is_forward else (one.number, *x.shape)

    if one.reads_seeds:
        units = unit_vectors(one.seeds, [x.dtype for x in seeds])
        values = [builder.constant(np.moveaxis(v, 0, -1) if one.is_forward else v) for v in units]
    else:  # anything will do
        values = [broadcast(builder.scalar(0.0, x.dtype), of_all(x)) for x in seeds]
    values += [reshape(matrix, of_all(x)) for x, matrix in zip(columns, one.matrices, strict=True)]
    many = _by_last_axis(one, values) if one.is_forward else _by_first_axis(one, values)
    outputs = []
    for block in one.blocks():
        axis = many[block.result].ndim - 1 if one.is_forward else 0
        part = slice_axis(many[block.result], axis, block.start, block.number)
        outputs.append(cast(reshape(part, block.shape), block.dtype))
    return Graph(own, tuple(outputs), one.graph.structure, one.graph.name)


def _by_first_axis(one: Directions, values: Sequence[Node]) -> list[Node]:
    is_batched = [False] * len(one.own) + [True] * len(values)
    return inline(batched(one.graph, is_batched, one.number), [*one.own, *values])


def _by_last_axis(one: Directions, values: Sequence[Node]) -> list[Node]:
    """Results with the directions last, as they are to be; turned over only if an operation is of another kind."""
    n, full = one.number, ((0, one.number, 1),)
    made = dict(zip(one.graph.inputs[len(one.own) :], values, strict=True))

    def spread(x: Node) -> Node:
        return made[x] if x in made else broadcast(reshape(x, (*x.shape, 1)), (*x.shape, n))

    for node in one.graph.nodes:
        if node in made or made.keys().isdisjoint(node.inputs):
            continue
        attributes = node.attributes
        if node.op == "reshape":
            attributes = (*attributes, n)
        elif node.op in ("slice", "index_add"):
            attributes = (*attributes, *full)
        elif node.op not in ELEMENTWISE:
            turned = [transpose(x, (x.ndim - 1, *range(x.ndim - 1))) for x in values]
            return [transpose(x, (*range(1, x.ndim), 0)) for x in _by_first_axis(one, turned)]
        made[node] = node.builder.make(node.op, tuple([spread(x) for x in node.inputs]), attributes)
    return [spread(x) for x in one.graph.outputs]
