"""The part of NumPy that picks, inserts and fills in elements by constant positions.

NumPy itself says where each element goes: its function is applied to the numbers of the elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import indexing_error, trace_error
from . import graph
from .graph import Frozen, Node
from .layout import astype, moved, ravel, refuse_traced_index
from .operands import BOOL, FUNCTIONS, array_operands, as_node, numpy_function, operands, own_nodes, refuse, where


def rearranged(move: Callable[..., Any], *values: Any) -> Node:
    """`move` of several arrays, for a function that only moves, repeats or omits elements; of one dtype."""
    nodes = array_operands(*values)
    numbers, start = [], 0
    for x in nodes:
        numbers.append(np.arange(start, start + x.size).reshape(x.shape))
        start += x.size
    try:
        table = np.asarray(move(*numbers))
    except IndexError as error:
        raise indexing_error(str(error)) from None
    joined = graph.concatenate([ravel(x) for x in nodes], 0)
    return graph.gather(joined, Frozen(np.array(table, np.int64).ravel()), table.shape)


def among_zeros(move: Callable[..., Any]) -> Callable[..., Node]:
    """np.diag and its like, which put the elements among zeros: the zero is element number 0."""

    def function(v: Any, *args: Any, **options: Any) -> Node:
        return rearranged(lambda zero, numbers: move(numbers, *args, **options), np.False_, as_node(v))

    return function


FUNCTIONS |= {function: among_zeros(function) for function in (np.diag, np.diagflat)}


def triangle(function: Any) -> Callable[..., Node]:
    def keep(m: Any, k: int = 0) -> Node:
        m = as_node(m)
        if m.ndim == 1:  # NumPy makes a square of it
            m = graph.broadcast(m, (m.size, m.size))
        return where(function(np.ones(m.shape[-2:], bool), k), m, np.False_)

    return keep


FUNCTIONS |= {function: triangle(function) for function in (np.tril, np.triu)}


@numpy_function(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", *, constant_values: Any = 0, reflect_type: str = "even",
        stat_length: Any = None, end_values: Any = None) -> Node:  # fmt: skip
    array = as_node(array)
    if mode in ("edge", "wrap") or (mode in ("reflect", "symmetric") and reflect_type == "even"):
        return moved(np.pad, array, pad_width, mode)
    if mode not in ("constant", "empty"):
        raise trace_error(f"np.pad with mode={mode!r} and its options cannot be traced",
                          "np.concatenate with the values that you want")  # fmt: skip
    padded = rearranged(lambda numbers, edge: np.pad(numbers, pad_width, constant_values=edge), array, constant_values)
    return astype(padded, BOOL if array.is_bool else array.dtype)


@numpy_function(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Node:
    refuse_traced_index(obj)
    array = own_nodes(arr, values)[0]
    inserted = rearranged(lambda numbers, new: np.insert(numbers, obj, new, axis), array, values)
    return astype(inserted, BOOL if array.is_bool else array.dtype)


@numpy_function(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Node:
    refuse_traced_index(obj)
    return moved(np.delete, arr, obj, axis)


@numpy_function(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Node:
    refuse(out=out)
    refuse_traced_index(condition)
    return moved(lambda numbers: np.compress(condition, numbers, axis), a)


@numpy_function(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: Any = "raise") -> Node:
    refuse(out=out)
    refuse_traced_index(a)
    return rearranged(lambda *numbers: np.choose(a, list(numbers), mode=mode), *operands(*choices))
