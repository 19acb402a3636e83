"""From a graph to a program: the words that the C core verifies and runs (csrc/fastgrad.h describes them)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._core import Program, operations
from .graph import Graph, Shape
from .loops import without_unread
from .selection import Selection
from .storage import CONSTANT, Arena, Tape, allocate
from .tree import Structure

MAX_SIZE = 2**30  # elements of a buffer
MAGIC = 0x3130444152474601
DTYPES = {"d": 0, "f": 1, "q": 2}  # fg_dtype by numpy's character
OPS = {name: number for number, (name, _, _) in enumerate(operations())}


@dataclass(frozen=True)
class Compiled:
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
    for node in graph.nodes:
        if node.shape and node.size > MAX_SIZE:
            raise MemoryError(f"{graph.name} makes an array of shape {node.shape}, more than {MAX_SIZE:,} elements")
    tape = Selection(graph, tuple(lanes), _words).tape
    allocate(tape.uniform, Arena(64))
    allocate(tape.lane, Arena(8))
    return _write(tape, len(graph.inputs), len(graph.outputs))


def _write(tape: Tape, n_inputs: int, n_outputs: int) -> np.ndarray:
    constants: list[np.ndarray] = []
    n_constant_words = 0
    words: list[int] = []
    for storage in tape.storages:
        position = max(storage.position, 0)  # what is empty is never written, and has no place
        if storage.role == CONSTANT:
            assert storage.data is not None
            position = n_constant_words
            raw = np.ascontiguousarray(storage.data).tobytes()
            raw += b"\0" * (-len(raw) % 8)
            constants.append(np.frombuffer(raw, np.int64))
            n_constant_words += len(raw) // 8
        words += (storage.role, DTYPES[storage.dtype], storage.is_lane, storage.size, position)
    for x in tape:
        words += (OPS[x.op], DTYPES[x.operands[0].storage.dtype], len(x.shape), *x.shape)
        if x.body is not None:
            words += (x.body.number, x.every, len(x.operands) - 2)
        for view, strides in zip(x.operands, x.strides, strict=False):
            words += (view.storage.number, view.offset, *strides)
    n_uniform = len(tape.uniform)
    n_instructions = n_uniform + len(tape.lane)
    header = [MAGIC, len(tape.storages), n_instructions, n_uniform, n_inputs, n_outputs, n_constant_words]
    return np.concatenate([np.fromiter(header + words, np.int64), *constants])
