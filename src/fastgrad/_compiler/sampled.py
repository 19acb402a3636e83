"""The part of NumPy for sampled functions: differences, integrals, interpolation, pieces, a function along an axis."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ..errors import shape_error, trace_error
from . import graph
from .along import along_last
from .graph import ELEMENTWISE, FLOAT64, Frozen, Node
from .layout import concatenate, expand_dims, index, moveaxis, moved, ravel, refuse_traced_index, stack
from .operands import (
    FUNCTIONS,
    array_operands,
    as_node,
    axes_of,
    constant_array,
    elementwise,
    given,
    numpy_function,
    one_axis,
    operands,
    own_nodes,
    refuse,
    stacked,
    truth,
    where,
)
from .reductions import as_count, sum_

# ---- differences and integrals


def neighbours(a: Node, axis: int) -> tuple[Node, Node]:
    """All elements along an axis but the first, and all but the last."""
    n = a.shape[axis]
    return graph.slice_axis(a, axis, min(1, n), max(n - 1, 0)), graph.slice_axis(a, axis, 0, max(n - 1, 0))


@numpy_function(np.diff)
def diff(a: Any, n: int = 1, axis: Any = -1, prepend: Any = None, append: Any = None) -> Node:
    ends = [end for end in (prepend, append) if end is not None and given(end)]
    a, *more = array_operands(a, *ends) if ends else [as_node(a)]
    axis = one_axis(a, axis)
    edge = (*a.shape[:axis], 1, *a.shape[axis + 1 :])
    more = [end if end.ndim else graph.broadcast(end, edge) for end in more]
    if more:
        at_front = prepend is not None and given(prepend)
        a = concatenate([*more[:at_front], a, *more[at_front:]], axis)
    for _ in range(n):
        a = elementwise("not_equal" if a.is_bool else "subtract", *neighbours(a, axis))
    return a


@numpy_function(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Node:
    steps = diff(ravel(ary))
    parts = [steps if part is steps else graph.cast(ravel(own_nodes(steps, part)[1]), steps.dtype)
             for part in (to_begin, steps, to_end) if part is not None]  # fmt: skip
    return graph.concatenate(parts, 0)


@numpy_function(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    f = as_count(operands(f, *varargs)[0])
    axes = axes_of(f, axis)
    spacings = varargs * len(axes) if len(varargs) == 1 else varargs or (1.0,) * len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(varargs)} spacings for {len(axes)} axes")
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order={edge_order!r} is neither 1 nor 2")
    slopes = [slope_along(f, h, i, edge_order) for h, i in zip(spacings, axes, strict=True)]
    return slopes[0] if len(slopes) == 1 else tuple(slopes)


def slope_along(f: Node, spacing: Any, axis: int, edge_order: int) -> Node:
    """Differences of second order inside, one-sided ones at the ends; `spacing` is a step, or the points."""
    n, dtype = f.shape[axis], f.dtype
    if n < edge_order + 1:
        raise shape_error(f"gradient: {n} points along axis {axis} are too few", "give edge_order + 1 or more")
    f, h = operands(f, spacing)
    if h.ndim and h.shape != (n,):
        raise shape_error(f"gradient: coordinates of shape {h.shape} for {n} points along axis {axis}")
    steps = diff(h) if h.ndim else graph.broadcast(h, (n - 1,))

    def f_at(start: int, length: int = 1) -> Node:
        return graph.slice_axis(f, axis, start, length)

    def step(start: int, length: int = 1) -> Node:
        part = graph.slice_axis(steps, 0, start, length)
        return graph.reshape(part, tuple(length if i == axis else 1 for i in range(f.ndim)))

    def slope(before: Node, after: Node, at: tuple[Node, Node, Node], place: int) -> Node:
        """That of the parabola through three points, at one of them."""
        left, right = (at[1] - at[0]) / before, (at[2] - at[1]) / after
        if place == 1:
            return (after * left + before * right) / (before + after)
        bend = (right - left) / (before + after)
        return left - before * bend if place == 0 else right + after * bend

    parts = []
    if edge_order == 1:
        parts.append((f_at(1) - f_at(0)) / step(0))
    else:
        parts.append(slope(step(0), step(1), (f_at(0), f_at(1), f_at(2)), 0))
    if n > 2:
        at = (f_at(0, n - 2), f_at(1, n - 2), f_at(2, n - 2))
        if h.ndim:
            parts.append(slope(step(0, n - 2), step(1, n - 2), at, 1))
        else:
            parts.append((at[2] - at[0]) / (2.0 * h))
    if edge_order == 1:
        parts.append((f_at(n - 1) - f_at(n - 2)) / step(n - 2))
    else:
        parts.append(slope(step(n - 3), step(n - 2), (f_at(n - 3), f_at(n - 2), f_at(n - 1)), 2))
    return graph.cast(graph.concatenate(parts, axis), dtype)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Node:
    y, h = operands(y, dx if x is None else x)
    y = as_count(y)
    axis = one_axis(y, axis)
    if x is not None:
        h = diff(h, axis=-1 if h.ndim == 1 else axis)
        if h.ndim == 1:
            h = graph.reshape(h, tuple(h.size if i == axis else 1 for i in range(y.ndim)))
    after, before = neighbours(y, axis)
    return sum_(elementwise("multiply", h, after + before) / 2.0, axis)


for _name in ("trapezoid", "trapz"):  # the old name went in NumPy 2.4, the new one came in 2.0
    if _name in vars(np):
        FUNCTIONS[vars(np)[_name]] = trapezoid


@numpy_function(np.linspace)
def linspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
             axis: Any = 0, *, device: Any = None) -> Any:  # fmt: skip
    refuse(dtype=dtype)
    first, last = map(as_count, operands(start, stop))
    num = operator.index(num)
    step = (last - first) / float(max(num - 1 if endpoint else num, 1))
    counts = np.arange(num, dtype=step.dtype).reshape(num, *(1,) * step.ndim)
    points = elementwise("add", elementwise("multiply", counts, step), first)
    if endpoint and num > 1:  # the last point without rounding
        end = graph.broadcast(graph.reshape(last, (1,) * (points.ndim - last.ndim) + last.shape), (1, *step.shape))
        points = graph.concatenate([graph.slice_axis(points, 0, 0, num - 1), end], 0)
    points = moveaxis(points, 0, axis)
    return (points, step) if retstep else points


@numpy_function(np.logspace)
def logspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None,
             axis: Any = 0) -> Node:  # fmt: skip
    return graph.power(*operands(base, linspace(start, stop, num, endpoint, dtype=dtype, axis=axis)))


@numpy_function(np.geomspace)
def geomspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: Any = 0) -> Node:
    refuse(dtype=dtype)
    first, last = map(as_count, operands(start, stop))
    num = operator.index(num)
    ratio = last / first
    shares = np.arange(num, dtype=float).reshape(num, *(1,) * ratio.ndim) / max(num - 1 if endpoint else num, 1)
    return moveaxis(elementwise("multiply", first, elementwise("power", ratio, shares)), 0, axis)


@numpy_function(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Node:
    """Sums of traced weights in constant bins."""
    refuse_traced_index(x)
    numbers, weights = np.asarray(x), as_count(as_node(weights))
    if numbers.ndim != 1 or numbers.shape != weights.shape:
        raise shape_error(f"bincount: {numbers.shape} bins for weights of shape {weights.shape}")
    if numbers.dtype.kind not in "iu" or (numbers < 0).any():
        raise ValueError("bincount: the bins are not integers from 0 on")
    size = max(operator.index(minlength), int(numbers.max(initial=-1)) + 1)
    return graph.scatter_add(graph.cast(weights, FLOAT64), Frozen(numbers.astype(np.int64)), (size,))


# ---- interpolation and search among constant points


@numpy_function(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Node:
    """How many of the ascending points lie before each value: a number, flat in the values. NaN stands last."""
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side={side!r} is neither 'left' nor 'right'")
    if sorter is not None:
        a = constant_array(a)[np.asarray(sorter)]
    points, v = map(as_count, array_operands(a, v))
    if points.ndim != 1:
        raise shape_error(f"searchsorted in an array of shape {points.shape}", "it must have one axis")
    found = along_last(f"search_{side}", points, ravel(v))
    return graph.cast(graph.reshape(found, v.shape), FLOAT64)


@numpy_function(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Node:
    if type(stacked(bins)) is Node:
        raise trace_error("digitize with traced bins", "give constant bins; the values may be traced")
    bins = constant_array(bins)
    rises = bool(np.all(bins[1:] >= bins[:-1]))
    if not rises and not np.all(bins[1:] <= bins[:-1]):
        raise ValueError("digitize: the bins neither rise nor fall throughout")
    side = "left" if right else "right"
    return searchsorted(bins, x, side) if rises else float(bins.size) - searchsorted(bins[::-1], x, side)


@numpy_function(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Node:
    """On a piece, the line through its ends; at a point where two meet, the derivative is that to the right."""
    if type(stacked(xp)) is Node:
        raise trace_error("interp between traced points", "give constant xp; x and fp may be traced")
    xp = constant_array(xp).astype(float)
    x, fp, *ends = (graph.cast(as_count(node), FLOAT64)
                    for node in operands(x, fp, *[end for end in (left, right) if end is not None]))  # fmt: skip
    if xp.ndim != 1 or fp.shape != xp.shape or not xp.size:
        raise shape_error(f"interp: points of shape {xp.shape} and values of shape {fp.shape} are no pairs")
    if period is not None:
        period, ends = abs(float(period)), []
        x, places = modulo(x, period), xp % period
        order = np.argsort(places)
        xp = np.concatenate([places[order[-1:]] - period, places[order], places[order[:1]] + period])
        fp = moved(lambda numbers: numbers[[order[-1], *order, order[0]]], fp)
    values = graph.reshape(x, (*x.shape, 1))
    inside = elementwise("logical_and", elementwise("greater_equal", values, xp[:-1]),
                         elementwise("less", values, xp[1:]))  # fmt: skip
    steps = np.diff(xp)
    after, before = neighbours(fp, 0)

    def at_piece(table: Any) -> Node:
        return sum_(where(inside, table, 0.0), -1)

    slope = at_piece(elementwise("divide", after - before, np.where(steps == 0, 1.0, steps)))
    first, last = index(fp, 0), index(fp, -1)
    # NumPy looks at a single point only, whatever x is
    y = slope * (x - at_piece(xp[:-1])) + at_piece(before) if xp.size > 1 else graph.broadcast(first, x.shape)
    low = ends.pop(0) if ends and left is not None else first
    high = ends.pop(0) if ends else last
    y = where(elementwise("less", x, float(xp[0])), low, y)
    y = where(elementwise("greater_equal", x, float(xp[-1])), last, y)
    y = where(elementwise("greater", x, float(xp[-1])), high, y)
    return where(elementwise("isnan", x), x, y) if xp.size > 1 else y


def modulo(x: Node, period: float) -> Node:
    if "remainder" not in ELEMENTWISE:
        raise trace_error("a remainder cannot be traced", "bring the values into one period before")
    return elementwise("remainder", x, period)


@numpy_function(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: Any = -1, *, period: Any = 2 * math.pi) -> Node:
    p = as_count(as_node(p))
    half, axis = period / 2, one_axis(p, axis)
    steps = diff(p, axis=axis)
    short = modulo(steps + half, float(period)) - half
    is_half_up = elementwise("logical_and", graph.equal(short, -half), graph.greater(steps, 0.0))
    short = graph.where(is_half_up, half, short)
    is_small = graph.less(graph.absolute(steps), half if discont is None else discont)
    correction = FUNCTIONS[np.cumsum](graph.where(is_small, 0.0, short - steps), axis)
    start = graph.slice_axis(p, axis, 0, min(1, p.shape[axis]))
    return graph.concatenate([start, neighbours(p, axis)[0] + correction], axis)


# ---- pieces


@numpy_function(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise ValueError(f"select: {len(condlist)} conditions for {len(choicelist)} choices")
    traced = next(x for x in map(stacked, (*condlist, *choicelist, default)) if type(x) is Node)
    chosen = default
    for condition, choice in zip(own_nodes(traced, *condlist)[:0:-1], choicelist[::-1], strict=True):
        chosen = where(condition, choice, chosen)
    return chosen


@numpy_function(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **options: Any) -> Node:
    """Each function is evaluated everywhere; where its condition fails, it contributes nothing to derivatives."""
    x = as_node(x)
    conditions = [condlist] if np.isscalar(condlist) else parts_of_list(condlist)
    first = stacked(conditions[0])
    if x.ndim and not (first.ndim if type(first) is Node else np.ndim(first)):  # one condition, not in a list
        conditions = [condlist]
    conditions = [truth(condition) for condition in own_nodes(x, *conditions)[1:]]
    if len(funclist) == len(conditions) + 1:
        some = reduce(lambda a, b: elementwise("logical_or", a, b), conditions)
        conditions.append(elementwise("logical_not", some))
    if len(funclist) != len(conditions):
        raise ValueError(f"piecewise: {len(funclist)} functions for {len(conditions)} conditions")
    y = graph.filled(x, 0.0)
    for condition, function in zip(conditions, funclist, strict=True):
        value = function(x, *args, **options) if callable(function) else function
        y = graph.cast(where(condition, value, y), x.dtype)
    return y


def parts_of_list(values: Any) -> list[Any]:
    return [index(values, i) for i in range(values.shape[0])] if type(values) is Node else list(values)


@numpy_function(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: Any, arr: Any, *args: Any, **options: Any) -> Node:
    """The function of each vector along an axis, one after the other."""
    a = as_node(arr)
    axis = one_axis(a, axis)
    rows = moveaxis(a, axis, -1)
    values = [func1d(index(rows, place), *args, **options) for place in np.ndindex(rows.shape[:-1])]
    if not values:
        raise shape_error(f"apply_along_axis: the array of shape {a.shape} has no vector along axis {axis}")
    joined = stack(values)
    shape = joined.shape[1:]
    y = graph.reshape(joined, (*rows.shape[:-1], *shape))
    lead = rows.ndim - 1
    order = [*range(axis), *range(lead, y.ndim), *range(axis, lead)]
    return graph.transpose(y, order)


@numpy_function(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Node:
    y = as_node(a)
    for axis in axes_of(y, axes):
        reduced = func(y, axis)
        y = reduced if reduced.ndim == y.ndim else expand_dims(reduced, axis)
    return y
