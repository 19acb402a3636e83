"""The part of NumPy that sums, multiplies, compares or counts along axes: reductions, norms, statistics."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import shape_error, trace_error
from . import graph
from .graph import FLOAT64, Node
from .layout import astype, expand_dims, moved, ravel
from .operands import (
    FUNCTIONS,
    NO_VALUE,
    array_operands,
    as_node,
    axes_of,
    elementwise,
    given,
    numpy_function,
    one_axis,
    operands,
    refuse,
    truth,
    where,
)

selected = where  # where= is also the name of an option below
IDENTITIES = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}


def kept(y: Node, a: Node, axes: tuple[int, ...], keepdims: Any) -> Node:
    """A reduction `y` of `a`, with axes of length 1 in place of those gone if asked for."""
    if not given(keepdims) or not keepdims:
        return y
    return graph.reshape(y, tuple(1 if axis in axes else n for axis, n in enumerate(a.shape)))


def reducer(op: str) -> Callable[..., Node]:
    arithmetic = op in ("sum", "prod")
    combine = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}[op]

    def reduce(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
               initial: Any = None, where: Any = True) -> Node:  # fmt: skip
        refuse(out=out)
        a = as_dtype(as_node(a), dtype)
        has_initial = given(initial) and initial is not None
        if not is_everywhere(where):
            if not arithmetic and not has_initial:
                raise trace_error(f"{op} with where= needs initial=, which stands where nothing is chosen")
            a = selected(where, a, op in ("prod", "min") if a.is_bool else IDENTITIES[op])
        axes = axes_of(a, axis)
        if arithmetic:
            a = as_count(a)
        elif not has_initial and not all(a.shape[axis] for axis in axes):
            raise shape_error(f"{op} over no elements: the array has shape {a.shape}", "give initial=")
        elif not all(a.shape[axis] for axis in axes):
            shape = tuple(n or 1 if i in axes else n for i, n in enumerate(a.shape))
            a = graph.broadcast(operands(initial, a)[0], shape)
        y = kept(graph.reduction(op, a, axes), a, axes, keepdims)
        return elementwise(combine, y, initial) if has_initial else y

    reduce.__name__ = op
    if arithmetic:
        return reduce
    # NumPy's max and min have no dtype in third place
    return lambda a, axis=None, out=None, keepdims=False, initial=None, where=True: reduce(
        a, axis, None, out, keepdims, initial, where
    )


def is_everywhere(where: Any) -> bool:
    """Whether a `where=` option leaves nothing out."""
    return where is True or where is None or not given(where)


def as_dtype(a: Node, dtype: Any) -> Node:
    return a if dtype is None or not given(dtype) else astype(a, dtype)


def as_count(a: Node) -> Node:
    """Truth values as numbers to be added: NumPy's integers, which are float64 here."""
    return graph.truth_as_number(graph.cast(a, FLOAT64)) if a.is_bool else a


sum_, prod, max_, min_ = map(reducer, ("sum", "prod", "max", "min"))
FUNCTIONS |= {np.sum: sum_, np.prod: prod, np.max: max_, np.amax: max_, np.min: min_, np.amin: min_}


@numpy_function(np.any)
def any_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Node:
    a = truth(as_node(a))
    return max_(a, axis, out, keepdims, NO_VALUE if a.size and is_everywhere(where) else False, where)


@numpy_function(np.all)
def all_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Node:
    a = truth(as_node(a))
    return min_(a, axis, out, keepdims, NO_VALUE if a.size and is_everywhere(where) else True, where)


@numpy_function(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Node:
    return sum_(truth(as_node(a)), axis, keepdims=keepdims)


@numpy_function(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Node:
    return elementwise("subtract", max_(a, axis, out, keepdims), min_(a, axis, out, keepdims))


def extreme_place(op: str) -> Callable[..., Node]:
    """np.argmax and np.argmin: the first place that attains the extreme; a number, flat in the elements."""

    def place(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Node:
        refuse(out=out)
        a = as_count(as_node(a))
        flat, along = (ravel(a), 0) if axis is None else (a, one_axis(a, axis))
        n = flat.shape[along]
        if not n:
            raise shape_error(f"arg{op} over no elements: the array has shape {a.shape}")
        extreme = graph.spread(graph.reduction(op, flat, (along,)), (along,), flat.shape)
        attained = elementwise("logical_or", graph.equal(flat, extreme), elementwise("isnan", flat))
        places = np.arange(n).reshape([n if i == along else 1 for i in range(flat.ndim)])
        first = graph.reduction("min", selected(attained, places, n), (along,))
        return kept(first, a, axes_of(a, axis), keepdims)

    place.__name__ = f"arg{op}"
    return place


argmax, argmin = map(extreme_place, ("max", "min"))
FUNCTIONS |= {np.argmax: argmax, np.argmin: argmin}


# ---- statistics


def counted(a: Node, axes: tuple[int, ...], where: Any, keepdims: Any) -> Any:
    """How many elements go into each result."""
    if is_everywhere(where):
        return float(math.prod(a.shape[axis] for axis in axes))
    if type(where) is Node:
        return sum_(graph.broadcast(as_count(truth(where)), a.shape), axes, keepdims=keepdims)
    return np.sum(np.broadcast_to(where, a.shape), axes, float, keepdims=given(keepdims) and bool(keepdims))


def quotient(y: Node, count: Any) -> Node:
    """A sum over the number of its elements, in the dtype of the sum."""
    return y / count if isinstance(count, float) else graph.cast(elementwise("divide", y, count), y.dtype)


@numpy_function(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *,
         where: Any = True) -> Node:  # fmt: skip
    refuse(out=out)
    a = as_count(as_dtype(as_node(a), dtype))
    axes = axes_of(a, axis)
    return quotient(sum_(a, axes, keepdims=keepdims, where=where), counted(a, axes, where, keepdims))


@numpy_function(np.var)
def var(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
        where: Any = True, mean: Any = None, correction: Any = None) -> Node:  # fmt: skip
    refuse(out=out)
    a = as_count(as_dtype(as_node(a), dtype))
    ddof = ddof if correction is None or not given(correction) else correction
    axes = axes_of(a, axis)
    if mean is None or not given(mean):
        mean = quotient(sum_(a, axes, keepdims=True, where=where), counted(a, axes, where, True))
    deviation = elementwise("subtract", a, mean)
    squares = sum_(elementwise("multiply", deviation, deviation), axes, keepdims=keepdims, where=where)
    count = counted(a, axes, where, keepdims)
    if isinstance(count, Node):
        return quotient(squares, elementwise("maximum", elementwise("subtract", count, ddof), 0.0))
    return quotient(squares, max(count - ddof, 0.0) if isinstance(count, float) else np.maximum(count - ddof, 0.0))


def root(y: Node) -> Node:
    """The square root with derivative 0 at 0, a subgradient of norms and deviations there."""
    return graph.where(graph.equal(y, 0.0), y, graph.sqrt(y))


@numpy_function(np.std)
@functools.wraps(var)
def std(*args: Any, **options: Any) -> Node:
    return root(var(*args, **options))


@numpy_function(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    if weights is None:
        a = as_count(as_node(a))
        y = mean(a, axis, keepdims=keepdims)
        count = a.size / y.size if y.size else 0.0
        return (y, graph.filled(y, count)) if returned else y
    a, w = map(as_count, array_operands(a, weights))
    axes = axes_of(a, axis)
    if w.shape != a.shape:
        order = np.argsort(axes).tolist()
        if axis is None or w.shape != tuple(a.shape[i] for i in axes):
            raise shape_error(f"average: weights of shape {w.shape} do not fit an array of shape {a.shape}",
                              "give them the shape of the array, or the lengths of the axes")  # fmt: skip
        w = graph.transpose(w, order)
        w = graph.broadcast(graph.reshape(w, tuple(n if i in axes else 1 for i, n in enumerate(a.shape))), a.shape)
    total = sum_(w, axes, keepdims=keepdims)
    y = sum_(elementwise("multiply", a, w), axes, keepdims=keepdims) / total
    return (y, total) if returned else y


def without_nan(op: Callable[..., Node], instead: float) -> Callable[..., Node]:
    """np.nansum and its like: a number that changes nothing in place of NaN."""

    def function(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
                 initial: Any = None, where: Any = True) -> Node:  # fmt: skip
        a = as_count(as_node(a))
        return op(selected(elementwise("isnan", a), instead, a), axis, dtype, out, keepdims, initial, where)

    return function


def extreme_without_nan(op: str) -> Callable[..., Node]:
    def function(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
                 where: Any = True) -> Node:  # fmt: skip
        a = as_count(as_node(a))
        isnan = elementwise("isnan", a)
        reduce = {"max": max_, "min": min_}[op]
        y = reduce(selected(isnan, IDENTITIES[op], a), axis, out, keepdims, initial, where)
        if given(initial) and initial is not None:
            return y
        return selected(all_(isnan, axis, keepdims=keepdims), math.nan, y)

    return function


def present(a: Node, where: Any) -> Node:
    """Where a number stands that the option `where=` does not leave out."""
    there = elementwise("logical_not", elementwise("isnan", a))
    return there if is_everywhere(where) else elementwise("logical_and", there, truth(where))


def over_numbers(function: Callable[..., Node]) -> Callable[..., Node]:
    """np.nanmean and its like: the function over those places that are not NaN."""

    @functools.wraps(function)
    def over(a: Any, *args: Any, where: Any = True, **options: Any) -> Node:
        a = as_count(as_node(a))
        return function(a, *args, where=present(a, where), **options)

    return over


FUNCTIONS |= {
    np.nansum: without_nan(sum_, 0.0),
    np.nanprod: without_nan(prod, 1.0),
    np.nanmax: extreme_without_nan("max"),
    np.nanmin: extreme_without_nan("min"),
    np.nanmean: over_numbers(mean),
    np.nanvar: over_numbers(var),
    np.nanstd: over_numbers(std),
}


@numpy_function(np.cov)
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None,
        aweights: Any = None, *, dtype: Any = None) -> Node:  # fmt: skip
    refuse(fweights=fweights, aweights=aweights)
    rows = []
    for x in map(as_count, array_operands(*[x for x in (m, y) if x is not None])):
        if x.ndim > 2:
            raise shape_error(f"cov: an array of shape {x.shape} has more than 2 dimensions")
        rows.append(graph.reshape(x, (1, x.size)) if x.ndim < 2 else x if rowvar else graph.matrix_transpose(x))
    x = as_dtype(graph.concatenate(rows, 0), FLOAT64 if dtype is None else dtype)
    n = x.shape[1]
    if ddof is None:
        ddof = 0 if bias else 1
    deviation = x - graph.broadcast(mean(x, 1, keepdims=True), x.shape)
    result = graph.matmul(deviation, graph.matrix_transpose(deviation)) / float(max(n - ddof, 0))
    return graph.reshape(result, tuple(n for n in result.shape if n != 1))


@numpy_function(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Node:
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    deviation = graph.sqrt(moved(np.diagonal, c))
    by_rows = elementwise("divide", c, expand_dims(deviation, 1))
    both = elementwise("divide", by_rows, expand_dims(deviation, 0))
    return elementwise("minimum", elementwise("maximum", both, -1.0), 1.0)


# ---- norms


@numpy_function(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Node:
    x = as_count(as_node(x))
    axes = axes_of(x, axis)
    if ord is None or (ord == "fro" and len(axes) == 2):
        return vector_norm(x, 2, axes, keepdims)
    if len(axes) == 1:
        return vector_norm(x, ord, axes, keepdims)
    if len(axes) != 2:
        raise shape_error(f"the norm of order {ord!r} over {len(axes)} axes is not defined", "name 1 or 2 axes")
    if ord in (1, -1, math.inf, -math.inf):
        sums = sum_(elementwise("absolute", x), axes[0 if abs(ord) == 1 else 1], keepdims=True)
        y = graph.reduction("max" if ord > 0 else "min", sums, axes)
        return kept(y, x, axes, keepdims)
    if ord in (2, -2, "nuc"):
        raise trace_error(f"the norm of order {ord!r} of a matrix needs singular values, which cannot be traced",
                          "the Frobenius norm, or np.sqrt(v @ A.T @ A @ v) for a vector v of norm 1")  # fmt: skip
    raise ValueError(f"norm: order {ord!r} is not one of matrices")


def vector_norm(x: Node, order: Any, axes: tuple[int, ...], keepdims: Any) -> Node:
    if isinstance(order, str):
        raise ValueError(f"norm: order {order!r} is not one of vectors")
    size = elementwise("absolute", x)
    if order in (math.inf, -math.inf):
        return (max_ if order > 0 else min_)(size, axes, keepdims=keepdims)
    if order == 2:
        return root(sum_(elementwise("multiply", x, x), axes, keepdims=keepdims))
    if order == 0:
        return graph.cast(count_nonzero(x, axes, keepdims=keepdims), x.dtype)
    if order == 1:
        return sum_(size, axes, keepdims=keepdims)
    # at 0 the absolute value has a kink and the powers may have none: the branches chosen there are flat
    is_zero = graph.equal(size, 0.0)
    zero_power = 0.0 if order > 0 else math.inf
    powers = graph.where(is_zero, zero_power, graph.power(graph.where(is_zero, 1.0, size), float(order)))
    total = sum_(powers, axes, keepdims=keepdims)
    flat = graph.equal(total, zero_power)
    return graph.where(flat, 0.0, graph.power(graph.where(flat, 1.0, total), 1.0 / order))


@numpy_function(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Node:
    return sum_(moved(np.diagonal, a, offset, axis1, axis2), -1, dtype, out)
