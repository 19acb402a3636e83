"""What is trained: the loss of one example, which becomes a program over the rows of a minibatch.

The loss is traced once, differentiated by the leaves of the parameters, and compiled to a program whose outputs are
sums over rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .._compiler.autodiff import value_and_gradient
from .._compiler.compile import compile_graph
from .._compiler.graph import Graph, Node, ancestors, cast, lane_sum, truth_as_number
from .._compiler.simplify import Simplifier
from .._compiler.substitute import trace
from .._compiler.trace import Input
from .._compiler.tree import LEAF
from ..errors import not_one_value, not_scalar
from ..transform import collector_at_rest


class Task(NamedTuple):
    """What is trained, for one example, in plain NumPy.

    Parameters
    ----------
    loss : callable
        ``loss(leaves, rows, noise)`` of lists of arrays, a scalar.
    score : callable or None
        ``score(leaves, rows)``, a scalar of which the history has the mean over the validation data.
    shapes : list of tuple
        Of the leaves, which lie one after another in a vector of parameters.
    penalised : list of bool
        Which leaves the penalties l1 and l2 act on.
    noise : list of tuple
        Shapes of the noise that a row needs, uniform in [0, 1). Where the loss is only looked at, `noise` is empty.
    dtype : dtype
        float32 or float64.
    """

    loss: Callable[..., Any]
    score: Callable[..., Any] | None
    shapes: Sequence[tuple[int, ...]]
    penalised: Sequence[bool]
    noise: Sequence[tuple[int, ...]]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Numbers of a vector of parameters."""
        return sum(map(math.prod, self.shapes))

    def split(self, vectors: np.ndarray) -> list[np.ndarray]:
        """The leaves, as views of the last axis of vectors of parameters."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        lead = vectors.shape[:-1]
        parts = zip(ends.tolist(), self.shapes, strict=True)
        return [vectors[..., end - math.prod(shape) : end].reshape(lead + tuple(shape)) for end, shape in parts]


class Programs(NamedTuple):
    """A task, compiled: what a step needs, and what looking at it needs."""

    step: Any  # leaves, share, rows and noise to the loss and the gradient by each leaf, summed over rows
    evaluation: Any  # leaves, share and rows to the loss and the score; or None


def compile_task(task: Task, shapes: Sequence[tuple[int, ...]], evaluates: bool = True) -> Programs:
    """The programs of a task for rows of these shapes; the one that looks at validation data only where it is asked."""
    name = str(getattr(task.loss, "__name__", "loss"))
    score = task.score

    def looked_at(leaves: Any, rows: Any) -> Any:
        return (task.loss(leaves, rows, []), *([score(leaves, rows)] if score else []))

    with collector_at_rest():
        builder = Simplifier()
        step = trace(task.loss, [_inputs(task, each) for each in (task.shapes, shapes, task.noise)], name, builder)
        value = _shared(step, task)
        both = value_and_gradient(value, range(len(task.shapes)))
        programs = Programs(over_rows(both, task), None)
        if evaluates:
            graph = trace(looked_at, [_inputs(task, each) for each in (task.shapes, shapes)], name, builder)
            programs = programs._replace(evaluation=over_rows(_shared(graph, task), task))
        builder.close()
    return programs


def _inputs(task: Task, shapes: Sequence[tuple[int, ...]]) -> list[Input]:
    return [Input(tuple(shape), task.dtype) for shape in shapes]


def _shared(graph: Graph, task: Task) -> Graph:
    """Each of the values of a row times the row's share in the mean over rows, an input after the leaves."""
    if any(child != LEAF for child in graph.structure.children):
        raise not_one_value(graph.name)
    for value in graph.outputs:
        if value.shape != ():
            raise not_scalar(value.shape, graph.name)
    share = graph.inputs[0].builder.input((), task.dtype)
    n = len(task.shapes)
    inputs = (*graph.inputs[:n], share, *graph.inputs[n:])
    outputs = tuple([cast(truth_as_number(value), task.dtype) * share for value in graph.outputs])
    return Graph(inputs, outputs, graph.structure, graph.name)


def over_rows(graph: Graph, task: Task) -> Any:
    """The program of a graph of one row, whose outputs are sums over rows."""
    n = len(task.shapes)
    lanes = [False] * n + [True] * (len(graph.inputs) - n)
    outputs = tuple([lane_sum(x) if _differs(x, graph.inputs[n:]) else x for x in graph.outputs])
    return compile_graph(replace(graph, outputs=outputs), lanes).program


def _differs(output: Node, lanes: Sequence[Node]) -> bool:
    """Whether an output is another for each row; the gradient by a leaf that the loss does not use is not."""
    return not set(ancestors([output])).isdisjoint(lanes)
