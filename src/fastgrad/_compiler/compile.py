"""From a graph to a program: the words that the C core verifies and runs (csrc/fastgrad.h describes them)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._core import Program
from .graph import Graph, Shape
from .loops import without_unread
from .selection import Selection
from .tree import Structure

MAX_SIZE = 2**30  # elements of a buffer


class Compiled(NamedTuple):
    """A program and what its inputs and outputs look like (without the axis of the batch)."""

    program: Program
    inputs: tuple[tuple[Shape, np.dtype], ...]
    is_lane: tuple[bool, ...]
    outputs: tuple[tuple[Shape, np.dtype], ...]
    structure: Structure


def compile_graph(graph: Graph, is_lane: Sequence[bool] | None = None) -> Compiled:
    """Compile a graph (best simplified).

    Parameters
    ----------
    graph : Graph
        Its inputs become the program's inputs.
    is_lane : sequence of bool, optional
        Which inputs differ by instance of a batch; none by default. When any does, all outputs have the batch axis.

    Returns
    -------
    Compiled
        The program, verified.
    """
    lanes = tuple(is_lane) if is_lane is not None else (False,) * len(graph.inputs)
    return Compiled(
        Program(_words(graph, lanes)),
        tuple([(x.shape, x.dtype) for x in graph.inputs]),
        lanes,
        tuple([(x.shape, x.dtype) for x in graph.outputs]),
        graph.structure,
    )


def _words(graph: Graph, lanes: Sequence[bool]) -> np.ndarray:
    graph = without_unread(graph)
    for shape in dict.fromkeys([node.shape for node in graph.nodes]):
        if math.prod(shape) > MAX_SIZE:
            raise MemoryError(f"{graph.name} makes an array of shape {shape}, more than {MAX_SIZE:,} elements")
    return Selection(graph, tuple(lanes), _words).tape.program(len(graph.inputs), len(graph.outputs))
