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
    NO_VALUE,
    array_operands,
    as_node,
    axes_of,
    common_shape,
    elementwise,
    listed,
    numpy_function,
    one_axis,
    own_nodes,
    refuse,
    truth,
)

# ---- the same elements in another shape or order


@numpy_function(np.reshape)
def reshape(a: Any, shape: Any, order: str = "C", *, copy: Any = None) -> Node:
    a, shape = as_node(a), listed(shape)
    if order == "F":
        return transpose(reshape(transpose(a), shape[::-1]))
    if order != "C":
        raise trace_error(f"order={order!r} asks how the array lies in memory, which a trace does not know",
                          "use order='C' or order='F'")  # fmt: skip
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known and a.size % known == 0:
        shape = tuple(a.size // known if n == -1 else n for n in shape)
    if -1 in shape or math.prod(shape) != a.size:
        raise shape_error(f"an array of shape {a.shape} has {a.size} elements: no reshape to {shape}")
    return graph.reshape(a, shape)


@numpy_function(np.ravel)
def ravel(a: Any, order: str = "C") -> Node:
    a = as_node(a)
    return reshape(a, a.size, order)


@numpy_function(np.transpose)
def transpose(a: Any, axes: Any = None) -> Node:
    a = as_node(a)
    axes = tuple(range(a.ndim))[::-1] if axes is None else axes_of(a, axes)
    if len(axes) != a.ndim:
        raise shape_error(f"axes {axes} are not a permutation for an array of shape {a.shape}")
    return graph.transpose(a, axes)


@numpy_function(np.swapaxes)
def swapaxes(a: Any, axis1: Any, axis2: Any) -> Node:
    a = as_node(a)
    order = list(range(a.ndim))
    i, j = one_axis(a, axis1), one_axis(a, axis2)
    order[i], order[j] = j, i
    return graph.transpose(a, order)


@numpy_function(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Node:
    a = as_node(a)
    source, destination = axes_of(a, listed(source)), axes_of(a, listed(destination))
    if len(source) != len(destination):
        raise shape_error(f"moveaxis: {len(source)} axes cannot go to {len(destination)} places")
    order = [axis for axis in range(a.ndim) if axis not in source]
    for there, axis in sorted(zip(destination, source, strict=True)):
        order.insert(there, axis)
    return graph.transpose(a, order)


@numpy_function(np.rollaxis)
def rollaxis(a: Any, axis: Any, start: Any = 0) -> Node:
    a = as_node(a)
    axis, start = one_axis(a, axis), operator.index(start)
    if not -a.ndim <= start <= a.ndim:
        raise shape_error(f"rollaxis: start {start} does not exist in an array of shape {a.shape}")
    start += a.ndim if start < 0 else 0
    return moveaxis(a, axis, start - (axis < start))


@numpy_function(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Node:
    a, axes = as_node(a), listed(axis)
    n = a.ndim + len(axes)
    new, old = {one_axis_of(n, x) for x in axes}, iter(a.shape)
    return graph.reshape(a, tuple(1 if i in new else next(old) for i in range(n)))


def one_axis_of(ndim: int, axis: Any) -> int:
    if not -ndim <= axis < ndim:
        raise shape_error(f"axis {axis} does not exist in a result of {ndim} dimensions")
    return axis % ndim


@numpy_function(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Node:
    a = as_node(a)
    gone = [i for i, n in enumerate(a.shape) if n == 1] if axis is None else axes_of(a, axis)
    if any(a.shape[i] != 1 for i in gone):
        raise shape_error(f"squeeze of axes {tuple(gone)} in shape {a.shape}: only length 1 can go")
    return graph.reshape(a, tuple(n for i, n in enumerate(a.shape) if i not in gone))


@numpy_function(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Node:
    array, shape = as_node(array), listed(shape)
    if common_shape("broadcast_to", array.shape, shape) != shape:
        raise shape_error(f"an array of shape {array.shape} does not broadcast to {shape}")
    return graph.broadcast(array, shape)


@numpy_function(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Node, ...]:
    nodes = own_nodes(*args)
    shape = common_shape("broadcast_arrays", *[x.shape for x in nodes])
    return tuple([graph.broadcast(x, shape) for x in nodes])


@numpy_function(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Node, ...]:
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing={indexing!r} is neither 'xy' nor 'ij'")
    nodes, grids = [ravel(x) for x in own_nodes(*xi)], []
    place = [1, 0, *range(2, len(nodes))] if indexing == "xy" and len(nodes) > 1 else list(range(len(nodes)))
    for i, x in enumerate(nodes):
        grids.append(graph.reshape(x, tuple(x.size if axis == place[i] else 1 for axis in range(len(nodes)))))
    return tuple(grids) if sparse else broadcast_arrays(*grids)


def at_least(ndim: int) -> Callable[..., Any]:
    def widen(array: Node) -> Node:
        if ndim == 3 and array.ndim == 2:  # a matrix gets its third axis at the end, a vector stands in the middle
            return graph.reshape(array, (*array.shape, 1))
        if ndim == 3 and array.ndim == 1:
            return graph.reshape(array, (1, array.size, 1))
        return graph.reshape(array, (1,) * (ndim - array.ndim) + array.shape)

    return lambda *arrays: widen(as_node(*arrays)) if len(arrays) == 1 else tuple(map(widen, own_nodes(*arrays)))


@numpy_function(np.flip)
def flip(m: Any, axis: Any = None) -> Node:
    m = as_node(m)
    axes = axes_of(m, axis)
    return graph.slices(m, tuple((n - 1, n, -1) if i in axes and n else (0, n, 1) for i, n in enumerate(m.shape)))


@numpy_function(np.fliplr)
def fliplr(m: Any) -> Node:
    return flip(m, 1)


@numpy_function(np.flipud)
def flipud(m: Any) -> Node:
    return flip(m, 0)


@numpy_function(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Node:
    m = as_node(m)
    first, second = one_axis(m, axes[0]), one_axis(m, axes[1])
    if first == second:
        raise shape_error(f"rot90: the axes {tuple(axes)} are one axis")
    turns = operator.index(k) % 4
    if turns == 2:
        return flip(m, (first, second))
    if turns == 1:
        return swapaxes(flip(m, second), first, second)
    return flip(swapaxes(m, first, second), second) if turns else m


@numpy_function(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Node:
    return as_node(a)


def astype(
    a: Node, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Node:
    if np.dtype(dtype) == BOOL:
        return truth(a)
    if np.dtype(dtype).kind in "iu":  # whole numbers, which stay floats; the derivative is 0
        return elementwise("trunc", graph.cast(graph.truth_as_number(a), FLOAT64))
    if np.dtype(dtype) not in (FLOAT32, FLOAT64):
        raise trace_error(f"astype({np.dtype(dtype)}) has no derivative", "stay in float64 or float32")
    return graph.cast(graph.truth_as_number(a), np.dtype(dtype))


# ---- several arrays become one, or one several


@numpy_function(np.concatenate)
def concatenate(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Node:
    refuse(out=out)
    parts = parts_of(arrays, dtype)
    if axis is None:
        parts, axis = list(map(ravel, parts)), 0
    shapes = [x.shape for x in parts]
    if not parts[0].ndim:
        raise shape_error("concatenate of scalars", "use np.stack")
    axis = one_axis(parts[0], axis)
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) > 1 or len(set(map(len, shapes))) > 1:
        raise shape_error(f"concatenate along axis {axis}: shapes {shapes} differ in other axes")
    return graph.concatenate(parts, axis)


def parts_of(arrays: Any, dtype: Any = None) -> list[Node]:
    """The arrays to join, as nodes of one dtype; the rows of a traced array are parts too."""
    parts = [index(arrays, i) for i in range(arrays.shape[0])] if type(arrays) is Node else array_operands(*arrays)
    return parts if dtype is None or dtype is NO_VALUE else [astype(x, dtype) for x in parts]


@numpy_function(np.stack)
def stack(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Node:
    refuse(out=out)
    parts = parts_of(arrays, dtype)
    if len({x.shape for x in parts}) > 1:
        raise shape_error(f"stack: shapes {[x.shape for x in parts]} differ", "make them equal")
    return concatenate([expand_dims(x, axis) for x in parts], axis=one_axis_of(parts[0].ndim + 1, axis))


@numpy_function(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Node:
    parts = [at_least(1)(x) for x in parts_of(tup, dtype)]
    return concatenate(parts, axis=0 if parts[0].ndim == 1 else 1)


@numpy_function(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Node:
    return concatenate([at_least(2)(x) for x in parts_of(tup, dtype)])


@numpy_function(np.dstack)
def dstack(tup: Any) -> Node:
    return concatenate([at_least(3)(x) for x in parts_of(tup)], axis=2)


@numpy_function(np.column_stack)
def column_stack(tup: Any) -> Node:
    return concatenate([x if x.ndim > 1 else graph.reshape(x, (x.size, 1)) for x in parts_of(tup)], axis=1)


@numpy_function(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Node:
    return concatenate((arr, values), axis)


@numpy_function(np.block)
def block(arrays: Any) -> Node:
    leaves: list[Any] = []

    def depth_of(nested: Any) -> int:
        if type(nested) is not list:
            leaves.append(nested)
            return 0
        depths = {depth_of(part) for part in nested}
        if len(depths) != 1:
            raise shape_error("block: the lists are nested to different depths, or one is empty")
        return 1 + depths.pop()

    depth = depth_of(arrays)
    nodes = array_operands(*leaves)
    ndim = max(depth, *[x.ndim for x in nodes]) if nodes else depth
    blocks = iter([graph.reshape(x, (1,) * (ndim - x.ndim) + x.shape) for x in nodes])

    def join(nested: Any, axis: int) -> Node:
        return concatenate([join(part, axis + 1) for part in nested], axis) if type(nested) is list else next(blocks)

    return join(arrays, -depth)


FUNCTIONS |= {np.atleast_1d: at_least(1), np.atleast_2d: at_least(2), np.atleast_3d: at_least(3)}


def splitter(function: Any, fixed_axis: int | None = None) -> Callable[..., list[Node]]:
    """np.split and its like: NumPy splits the numbers of the places along the axis."""

    def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Node]:
        ary = as_node(ary)
        axis = one_axis(ary, axis)
        parts = function(np.arange(ary.shape[axis]), indices_or_sections)
        return [graph.slice_axis(ary, axis, int(part[0]) if len(part) else 0, len(part)) for part in parts]

    if fixed_axis is None:
        return split
    return lambda ary, indices_or_sections: split(
        ary, indices_or_sections, 0 if fixed_axis == 1 and as_node(ary).ndim == 1 else fixed_axis
    )


FUNCTIONS |= {function: splitter(function) for function in (np.split, np.array_split)}
FUNCTIONS |= {np.vsplit: splitter(np.split, 0), np.hsplit: splitter(np.split, 1), np.dsplit: splitter(np.split, 2)}


def unstack(x: Any, /, *, axis: Any = 0) -> tuple[Node, ...]:
    x = moveaxis(x, axis, 0)
    return tuple([index(x, i) for i in range(x.shape[0])])


if hasattr(np, "unstack"):  # from NumPy 2.1 on
    FUNCTIONS[np.unstack] = unstack


@numpy_function(np.ndenumerate)
def ndenumerate(arr: Any) -> list[tuple[tuple[int, ...], Node]]:
    a = as_node(arr)
    return [(place, index(a, place)) for place in np.ndindex(a.shape)]


# ---- repetition


@numpy_function(np.tile)
def tile(A: Any, reps: Any) -> Node:
    a, reps = as_node(A), listed(reps)
    ndim = max(a.ndim, len(reps))
    shape, reps = (1,) * (ndim - a.ndim) + a.shape, (1,) * (ndim - len(reps)) + reps
    each = [part for n in shape for part in (1, n)]
    both = [part for r, n in zip(reps, shape, strict=True) for part in (r, n)]
    repeated = graph.broadcast(graph.reshape(a, tuple(each)), tuple(map(operator.index, both)))
    return graph.reshape(repeated, tuple(operator.index(r) * n for r, n in zip(reps, shape, strict=True)))


@numpy_function(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Node:
    a = as_node(a)
    if axis is None:
        a, axis = ravel(a), 0
    axis = one_axis(a, axis)
    if not isinstance(repeats, (int, np.integer)):
        return moved(np.repeat, a, repeats, axis)
    before, n, after = a.shape[:axis], a.shape[axis], a.shape[axis + 1 :]
    repeated = graph.broadcast(graph.reshape(a, (*before, n, 1, *after)), (*before, n, int(repeats), *after))
    return graph.reshape(repeated, (*before, n * int(repeats), *after))


@numpy_function(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Node:
    a = as_node(a)
    if axis is None:
        return graph.reshape(roll(ravel(a), shift, 0), a.shape)
    shifts, axes = np.broadcast_arrays(listed(shift), listed(axis))
    for by, along in zip(shifts.tolist(), axes.tolist(), strict=True):
        along = one_axis(a, along)
        n = a.shape[along]
        if n and by % n:
            cut = n - by % n
            tail = graph.slice_axis(a, along, cut, n - cut)
            a = graph.concatenate([tail, graph.slice_axis(a, along, 0, cut)], along)
    return a


# ---- indexing


def index(a: Node, key: Any) -> Node:
    """`a[key]` for integers, slices, None, Ellipsis and constant arrays of integers or booleans."""
    if not is_basic(key):
        return _index_by_table(a, key)
    parts = key if isinstance(key, tuple) else (key,)
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


def is_basic(key: Any) -> bool:
    """Whether an index is made of integers, slices, None and Ellipsis: NumPy gives a view, not a copy."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is Ellipsis or isinstance(part, slice) or _is_integer(part) for part in parts)


def _is_integer(part: Any) -> bool:
    return type(part) is int or (isinstance(part, (np.integer, int)) and not isinstance(part, bool))


def _traced_in(key: Any) -> Node | None:
    if isinstance(key, (tuple, list)):
        return next((found for part in key if (found := _traced_in(part)) is not None), None)
    return key if type(key) is Node else None


def _index_by_table(a: Node, key: Any) -> Node:
    """Let NumPy index the element numbers; the result is the table to gather by."""
    refuse_traced_index(key)
    return moved(lambda numbers: numbers[key], a)


def refuse_traced_index(key: Any) -> None:
    """TraceError for an index or a mask that is traced."""
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


def moved(move: Callable[..., Any], a: Any, *args: Any, **options: Any) -> Node:
    """Any function of NumPy that only moves, repeats or omits elements: apply it to the element numbers."""
    a = as_node(a)
    numbers = np.arange(a.size).reshape(a.shape)
    try:
        table = np.asarray(move(numbers, *args, **options))
    except IndexError as error:
        raise indexing_error(f"{error} (in an array of shape {a.shape})") from None
    return graph.gather(a, Frozen(np.array(table, np.int64).ravel()), table.shape)


@numpy_function(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Node:
    refuse(out=out)
    refuse_traced_index(indices)
    return moved(np.take, a, indices, axis, mode=mode)


FUNCTIONS |= {function: functools.partial(moved, function) for function in (np.diagonal, np.resize)}


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
