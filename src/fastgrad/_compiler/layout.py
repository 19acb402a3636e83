"""The part of NumPy that moves elements or takes some of them: shapes, joining, splitting, indexing."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import indexing_error, shape_error, trace_error
from . import graph
from .graph import FLOAT32, FLOAT64, Frozen, Node
from .operands import (
    BOOL,
    FUNCTIONS,
    as_node,
    axes_of,
    common_shape,
    elementwise,
    listed,
    numpy_function,
    one_axis,
    operands,
    refuse,
    truth,
)

# ---- the same elements in another shape or order


@numpy_function(np.reshape)
def reshape(a: Any, shape: Any, order: str = "C", *, copy: Any = None) -> Node:
    a, order = as_node(a), c_order(order)
    shape = tuple(map(operator.index, shape)) if isinstance(shape, (tuple, list)) else (operator.index(shape),)
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known and a.size % known == 0:
        shape = tuple(a.size // known if n == -1 else n for n in shape)
    if -1 in shape or math.prod(shape) != a.size:
        raise shape_error(f"an array of shape {a.shape} has {a.size} elements: no reshape to {shape}")
    return graph.reshape(a, shape)


def c_order(order: str) -> str:
    if order not in ("C", "K", "A"):
        raise trace_error(f"order={order!r} cannot be traced", "transpose first, then use order='C'")
    return order


@numpy_function(np.ravel)
def ravel(a: Any, order: str = "C") -> Node:
    return reshape(a, -1 if as_node(a).size else 0, order)


@numpy_function(np.transpose)
def transpose(a: Any, axes: Any = None) -> Node:
    a = as_node(a)
    axes = tuple(range(a.ndim))[::-1] if axes is None else axes_of(a, axes)
    if len(axes) != a.ndim:
        raise shape_error(f"axes {axes} are not a permutation for an array of shape {a.shape}")
    return graph.transpose(a, axes)


@numpy_function(np.swapaxes)
def swapaxes(a: Any, axis1: Any, axis2: Any) -> Node:
    order = list(range(as_node(a).ndim))
    i, j = one_axis(a, axis1), one_axis(a, axis2)
    order[i], order[j] = j, i
    return graph.transpose(a, order)


@numpy_function(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Node:
    source, destination = axes_of(as_node(a), listed(source)), axes_of(a, listed(destination))
    order = [axis for axis in range(a.ndim) if axis not in source]
    for there, axis in sorted(zip(destination, source, strict=True)):
        order.insert(there, axis)
    return graph.transpose(a, order)


@numpy_function(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Node:
    axes = listed(axis)
    n = as_node(a).ndim + len(axes)
    new, old = {one_axis_of(n, x) for x in axes}, iter(a.shape)
    return graph.reshape(a, tuple(1 if i in new else next(old) for i in range(n)))


def one_axis_of(ndim: int, axis: Any) -> int:
    if not -ndim <= axis < ndim:
        raise shape_error(f"axis {axis} does not exist in a result of {ndim} dimensions")
    return axis % ndim


@numpy_function(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Node:
    gone = [i for i, n in enumerate(as_node(a).shape) if n == 1] if axis is None else axes_of(a, axis)
    if any(a.shape[i] != 1 for i in gone):
        raise shape_error(f"squeeze of axes {tuple(gone)} in shape {a.shape}: only length 1 can go")
    return graph.reshape(a, tuple(n for i, n in enumerate(a.shape) if i not in gone))


@numpy_function(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Node:
    shape = listed(shape)
    if common_shape("broadcast_to", as_node(array).shape, shape) != shape:
        raise shape_error(f"an array of shape {array.shape} does not broadcast to {shape}")
    return graph.broadcast(array, shape)


def at_least(ndim: int) -> Callable[..., Any]:
    def widen(array: Any) -> Node:
        return graph.reshape(array, (1,) * (ndim - array.ndim) + array.shape)

    return lambda *arrays: widen(*arrays) if len(arrays) == 1 else tuple(map(widen, operands(*arrays)))


@numpy_function(np.flip)
def flip(m: Any, axis: Any = None) -> Node:
    axes = axes_of(as_node(m), axis)
    return graph.slices(m, tuple((n - 1, n, -1) if i in axes and n else (0, n, 1) for i, n in enumerate(m.shape)))


@numpy_function(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Node:
    return a


def astype(
    a: Node, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Node:
    if np.dtype(dtype) == BOOL:
        return truth(a)
    if np.dtype(dtype) not in (FLOAT32, FLOAT64):
        raise trace_error(f"astype({np.dtype(dtype)}) has no derivative", "stay in float64 or float32")
    return graph.cast(graph.truth_as_number(a), np.dtype(dtype))


@numpy_function(np.concatenate)
def concatenate(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Node:
    refuse(out=out, dtype=dtype)
    parts = operands(*arrays)
    if axis is None:
        parts, axis = list(map(ravel, parts)), 0
    shapes = [x.shape for x in parts]
    if not parts[0].ndim:
        raise shape_error("concatenate of scalars", "use np.stack")
    axis = one_axis(parts[0], axis)
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) > 1 or len(set(map(len, shapes))) > 1:
        raise shape_error(f"concatenate along axis {axis}: shapes {shapes} differ in other axes")
    return graph.concatenate(parts, axis)


@numpy_function(np.stack)
def stack(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Node:
    refuse(out=out, dtype=dtype)
    parts = operands(*arrays)
    if len({x.shape for x in parts}) > 1:
        raise shape_error(f"stack: shapes {[x.shape for x in parts]} differ", "make them equal")
    return concatenate([expand_dims(x, axis) for x in parts], axis=one_axis_of(parts[0].ndim + 1, axis))


@numpy_function(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Node:
    parts = [at_least(1)(x) for x in operands(*tup)]
    return concatenate(parts, axis=0 if parts[0].ndim == 1 else 1, dtype=dtype)


@numpy_function(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Node:
    return concatenate([at_least(2)(x) for x in operands(*tup)], dtype=dtype)


@numpy_function(np.column_stack)
def column_stack(tup: Any) -> Node:
    return concatenate([x if x.ndim > 1 else graph.reshape(x, (x.size, 1)) for x in operands(*tup)], axis=1)


FUNCTIONS |= {np.atleast_1d: at_least(1), np.atleast_2d: at_least(2)}


def splitter(function: Any) -> Callable[..., list[Node]]:
    def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Node]:
        axis = one_axis(as_node(ary), axis)
        parts = function(np.arange(ary.shape[axis]), indices_or_sections)
        return [graph.slice_axis(ary, axis, int(part[0]) if len(part) else 0, len(part)) for part in parts]

    return split


FUNCTIONS |= {function: splitter(function) for function in (np.split, np.array_split)}


@numpy_function(np.diff)
def diff(a: Any, n: int = 1, axis: Any = -1, prepend: Any = None, append: Any = None) -> Node:
    refuse(prepend=prepend, append=append)
    axis = one_axis(as_node(a), axis)
    for _ in range(n):
        length = max(a.shape[axis] - 1, 0)
        a = elementwise("subtract", *(graph.slice_axis(a, axis, min(i, a.shape[axis]), length) for i in (1, 0)))
    return a


# ---- indexing


def index(a: Node, key: Any) -> Node:
    """`a[key]` for integers, slices, None, Ellipsis and constant arrays of integers or booleans."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(part is None or part is Ellipsis or isinstance(part, slice) or _is_integer(part) for part in parts):
        return _index_by_table(a, key)
    n_used = sum(part is not None and part is not Ellipsis for part in parts)
    if n_used > a.ndim:
        raise indexing_error(f"{n_used} indices for an array of shape {a.shape}")
    if not any(part is Ellipsis for part in parts):
        parts = (*parts, Ellipsis)
    spec: list[tuple[int, int, int]] = []
    shape: list[int] = []
    for part in parts:
        if part is None:
            shape.append(1)
        elif part is Ellipsis:
            for n in a.shape[len(spec) : len(spec) + a.ndim - n_used]:
                spec.append((0, n, 1))
                shape.append(n)
        elif isinstance(part, slice):
            start, stop, step = part.indices(a.shape[len(spec)])
            length = len(range(start, stop, step))
            spec.append((start if length else 0, length, step if length > 1 else 1))
            shape.append(length)
        else:
            axis, i = len(spec), operator.index(part)
            n = a.shape[axis]
            if not -n <= i < n:
                raise indexing_error(f"index {i} is out of bounds for axis {axis} with size {n}")
            spec.append((i % n, 1, 1))
    return graph.reshape(graph.slices(a, tuple(spec)), tuple(shape))


def _is_integer(part: Any) -> bool:
    return type(part) is int or (isinstance(part, (np.integer, int)) and not isinstance(part, bool))


def _traced_in(key: Any) -> Node | None:
    if isinstance(key, (tuple, list)):
        return next((found for part in key if (found := _traced_in(part)) is not None), None)
    return key if type(key) is Node else None


def _index_by_table(a: Node, key: Any) -> Node:
    """Let NumPy index the element numbers; the result is the table to gather by."""
    traced = _traced_in(key)
    if traced is not None and traced.is_bool:
        raise trace_error(
            "a traced truth array is used as a mask: the size of the result would depend on values",
            "np.where(mask, x, 0.0) keeps the shape",
        )
    if traced is not None:
        raise trace_error(
            "a traced array is used as an index", "index by constants, or select with np.where(i == k, ...)"
        )
    return moved(lambda numbers: numbers[key], a)


def moved(move: Callable[..., Any], a: Any, *args: Any, **options: Any) -> Node:
    """Any function of NumPy that only moves, repeats or omits elements: apply it to the element numbers."""
    numbers = np.arange(as_node(a).size).reshape(a.shape)
    try:
        table = np.asarray(move(numbers, *args, **options))
    except IndexError as error:
        raise indexing_error(f"{error} (in an array of shape {a.shape})") from None
    return graph.gather(a, Frozen(np.array(table, np.int64).ravel()), table.shape)


@numpy_function(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Node:
    refuse(out=out)
    if _traced_in(indices) is not None:
        return _index_by_table(a, indices)
    return moved(np.take, a, indices, axis, mode=mode)


FUNCTIONS |= {
    function: functools.partial(moved, function)
    for function in (np.diagonal, np.repeat, np.roll, np.rot90, np.tile, np.fliplr, np.flipud)
}


# ---- constants like a traced array


@numpy_function(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A constant array: its elements do not depend on `a`."""
    shape = a.shape if shape is None else shape
    if type(fill_value) is Node:
        return broadcast_to(fill_value, shape)
    return np.full(shape, fill_value, dtype or (BOOL if getattr(a, "is_bool", False) else a.dtype))


FUNCTIONS.update(
    {
        np.zeros_like: lambda a, dtype=None, shape=None: full_like(a, 0.0, dtype, shape),
        np.ones_like: lambda a, dtype=None, shape=None: full_like(a, 1.0, dtype, shape),
        np.empty_like: lambda a, dtype=None, shape=None: full_like(a, 0.0, dtype, shape),
    }
)
