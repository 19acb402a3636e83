"""The part of NumPy that can be traced: tables from NumPy's functions to functions of nodes.

layout.py has what only moves elements. trace.py unwraps its arrays to nodes, looks a function up in `UFUNCS`,
`FUNCTIONS` or `METHODS`, and wraps what comes back. Values other than nodes are constants of the user's; dtypes
follow NumPy's promotion, where Python numbers adapt, except that integers become float64.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import leak_error, shape_error, trace_error
from . import graph
from .graph import ELEMENTWISE, FLOAT64, Node
from .layout import (
    astype,
    broadcast_to,
    expand_dims,
    flip,
    moveaxis,
    moved,
    ravel,
    reshape,
    squeeze,
    swapaxes,
    take,
    transpose,
)
from .operands import (
    FUNCTIONS,
    NO_VALUE,
    _float_of,
    as_node,
    axes_of,
    common_shape,
    constant_array,
    elementwise,
    listed,
    numpy_function,
    operands,
    refuse,
    truth,
)

# ---- elementwise: ufuncs


# what NumPy does when all operands are truth values; None is an error there too
def power(x: Any, exponent: Any) -> Node:
    base, n = operands(x, exponent)
    common_shape("power", base.shape, n.shape)
    return graph.power(base, n)


def bitwise(name: str, op: str) -> Callable[..., Node]:
    def on_truths(*values: Any) -> Node:
        nodes = operands(*values)
        if not all(x.is_bool for x in nodes):
            raise trace_error(f"{name} of floats is not defined", "it combines truth values: compare first")
        return elementwise(op, *nodes)

    return on_truths


def matmul(a: Any, b: Any) -> Node:
    a, b = operands(a, b)
    if not a.ndim or not b.ndim:
        raise shape_error("matmul of a scalar", "use * for a product with a scalar")
    left = graph.reshape(a, (1, *a.shape)) if a.ndim == 1 else a
    right = graph.reshape(b, (*b.shape, 1)) if b.ndim == 1 else b
    if left.shape[-1] != right.shape[-2]:
        raise shape_error(
            f"matmul: shapes {a.shape} and {b.shape} do not fit", "the inner axes must have equal lengths"
        )
    if left.ndim > 2 and right.ndim == 2:  # one product with all rows, instead of a copy of b for each
        rows = graph.reshape(left, (math.prod(left.shape[:-1]), left.shape[-1]))
        y = graph.reshape(graph.matmul(rows, right), (*left.shape[:-1], right.shape[-1]))
    else:
        batch = common_shape("matmul", left.shape[:-2], right.shape[:-2])
        y = graph.matmul(
            graph.broadcast(left, (*batch, *left.shape[-2:])),
            graph.broadcast(right, (*batch, *right.shape[-2:])),
        )
    shape = list(y.shape)
    if b.ndim == 1:
        del shape[-1]
    if a.ndim == 1:
        del shape[-1 if b.ndim == 1 else -2]
    return graph.reshape(y, tuple(shape))


UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    getattr(np, name): functools.partial(elementwise, name)
    for name in ELEMENTWISE
    if isinstance(getattr(np, name, None), np.ufunc)
} | {
    np.power: power,
    np.float_power: lambda a, b: power(graph.cast(a, FLOAT64) if type(a) is Node else a, b),
    np.square: lambda a: elementwise("multiply", a, a),
    np.reciprocal: lambda a: elementwise("divide", 1.0, a),
    np.positive: lambda a: a,
    np.conjugate: lambda a: a,
    np.fabs: functools.partial(elementwise, "absolute"),
    np.exp2: lambda a: elementwise("power", 2.0, a),
    np.isinf: lambda a: elementwise("equal", elementwise("absolute", a), math.inf),
    np.deg2rad: lambda a: elementwise("multiply", a, math.pi / 180),
    np.radians: lambda a: elementwise("multiply", a, math.pi / 180),
    np.rad2deg: lambda a: elementwise("multiply", a, 180 / math.pi),
    np.degrees: lambda a: elementwise("multiply", a, 180 / math.pi),
    np.logical_xor: lambda a, b: elementwise("not_equal", truth(a), truth(b)),
    np.bitwise_and: bitwise("&", "logical_and"),
    np.bitwise_or: bitwise("|", "logical_or"),
    np.bitwise_xor: bitwise("^", "not_equal"),
    np.invert: bitwise("~", "logical_not"),
    np.matmul: matmul,
}

# what to write instead of functions left out: by a formula they would miss the accuracy of the others
CURES: dict[Any, str] = {
    np.floor_divide: "x / y, or np.where for the pieces",
    np.remainder: "np.where for the pieces",
    np.log2: "np.log(x) / np.log(2.0)",
    np.log10: "np.log(x) / np.log(10.0)",
    np.sinh: "(np.exp(x) - np.exp(-x)) / 2",
    np.cosh: "(np.exp(x) + np.exp(-x)) / 2",
    np.hypot: "np.sqrt(x * x + y * y)",
    np.fmax: "np.maximum(x, y), which passes NaN on",
    np.fmin: "np.minimum(x, y), which passes NaN on",
    np.cumsum: "np.stack of running sums, or a product with np.tril(np.ones((n, n)))",
    np.einsum: "np.matmul, np.tensordot or a sum of products with broadcasting",
    np.average: "np.sum(w * x) / np.sum(w)",
    np.floor: "a constant: it has no derivative",
    np.ceil: "a constant: it has no derivative",
}


@numpy_function(np.where)
def where(condition: Any, x: Any = None, y: Any = None) -> Node:
    if x is None or y is None:
        raise trace_error("np.where with one argument has a result of unknown size", "use np.where(c, x, y)")
    condition = truth(condition)
    nodes = [value for value in (condition, x, y) if type(value) is Node]
    if type(x) is Node or type(y) is Node:
        a, b = operands(x, y)
    else:  # both constant: NumPy's dtype, without regard to the condition
        like = nodes[0].builder
        arrays = [constant_array(value) for value in (x, y)]
        dtype = _float_of([np.result_type(x, y)], nodes)
        a, b = (like.copied_constant(array, dtype) for array in arrays)
    if type(condition) is not Node:
        condition = a.builder.copied_constant(condition, a.dtype)
    elif condition.builder is not a.builder:
        raise leak_error()
    shape = common_shape("where", condition.shape, a.shape, b.shape)
    chosen = (graph.cast(condition, a.dtype), a, b)
    return a.builder.make("where", tuple([graph.broadcast(node, shape) for node in chosen]))


@numpy_function(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    refuse(out=out)
    low, high = a_min if min is None else min, a_max if max is None else max
    if low is not None and low is not NO_VALUE:
        a = elementwise("maximum", a, low)
    if high is not None and high is not NO_VALUE:
        a = elementwise("minimum", a, high)
    return a


# ---- reductions


def kept(y: Node, a: Node, axes: tuple[int, ...], keepdims: Any) -> Node:
    """A reduction `y` of `a`, with axes of length 1 in place of those gone if asked for."""
    if keepdims is NO_VALUE or not keepdims:
        return y
    return graph.reshape(y, tuple(1 if axis in axes else n for axis, n in enumerate(a.shape)))


def reducer(op: str) -> Callable[..., Node]:
    arithmetic = op in ("sum", "prod")

    def reduce(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
               initial: Any = None, where: Any = None) -> Node:  # fmt: skip
        refuse(dtype=dtype, out=out, initial=initial, where=where)
        a = as_node(a)
        axes = axes_of(a, axis)
        if arithmetic:
            a = as_count(a)
        elif not all(a.shape[axis] for axis in axes):
            raise shape_error(f"{op} over no elements: the array has shape {a.shape}")
        return kept(graph.reduction(op, a, axes), a, axes, keepdims)

    reduce.__name__ = op
    if arithmetic:
        return reduce
    # NumPy's max and min have no dtype in third place
    return lambda a, axis=None, out=None, keepdims=False, initial=None, where=None: reduce(
        a, axis, None, out, keepdims, initial, where
    )


def as_count(a: Node) -> Node:
    """Truth values as numbers to be added: NumPy's integers, which are float64 here."""
    return graph.truth_as_number(graph.cast(a, FLOAT64)) if a.is_bool else a


sum_, prod, max_, min_ = map(reducer, ("sum", "prod", "max", "min"))
FUNCTIONS |= {np.sum: sum_, np.prod: prod, np.max: max_, np.amax: max_, np.min: min_, np.amin: min_}
REDUCTIONS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: sum_, np.multiply: prod, np.maximum: max_, np.minimum: min_,
}  # fmt: skip


@numpy_function(np.any)
def any_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = None) -> Node:
    return max_(truth(as_node(a)), axis, out, keepdims, None, where)


@numpy_function(np.all)
def all_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = None) -> Node:
    return min_(truth(as_node(a)), axis, out, keepdims, None, where)


@numpy_function(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *,
         where: Any = None) -> Node:  # fmt: skip
    refuse(dtype=dtype, out=out, where=where)
    a = as_node(a)
    count = math.prod(a.shape[axis] for axis in axes_of(a, axis))
    return sum_(a, axis, keepdims=keepdims) / count


@numpy_function(np.var)
def var(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
        where: Any = None, mean: Any = None, correction: Any = None) -> Node:  # fmt: skip
    refuse(dtype=dtype, out=out, where=where, mean=mean)
    a = as_count(as_node(a))
    ddof = ddof if correction is None or correction is NO_VALUE else correction
    axes = axes_of(a, axis)
    count = math.prod(a.shape[axis] for axis in axes)
    deviation = a - sum_(a, axes, keepdims=True) / count
    return sum_(deviation * deviation, axes, keepdims=keepdims) / (count - ddof)


@numpy_function(np.std)
@functools.wraps(var)
def std(*args: Any, **options: Any) -> Node:
    return graph.sqrt(var(*args, **options))


@numpy_function(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Node:
    x = as_node(x)
    axes = axes_of(x, axis)
    matrix = len(axes) != 1
    if ord == "fro" or (ord == 2 and not matrix):
        ord = None
    if ord is not None and (matrix or ord not in (1, math.inf)):
        raise trace_error(f"the norm of order {ord!r} over {len(axes)} axes cannot be traced")
    if ord == 1:
        return sum_(elementwise("absolute", x), axes, keepdims=keepdims)
    if ord == math.inf:
        return max_(elementwise("absolute", x), axes, keepdims=keepdims)
    squares = sum_(x * x, axes, keepdims=keepdims)
    # at 0, where the norm has a kink, the branch chosen has the subgradient 0
    return graph.where(graph.equal(squares, 0.0), squares, graph.sqrt(squares))


@numpy_function(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Node:
    refuse(dtype=dtype, out=out)
    return sum_(moved(np.diagonal, a, offset, axis1, axis2), -1)


# ---- products


@numpy_function(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Node:
    refuse(out=out)
    a, b = operands(a, b)
    if not a.ndim or not b.ndim:
        return elementwise("multiply", a, b)
    return tensordot(a, b, ((a.ndim - 1,), (max(b.ndim - 2, 0),)), "dot")


@numpy_function(np.inner)
def inner(a: Any, b: Any) -> Node:
    a, b = operands(a, b)
    if not a.ndim or not b.ndim:
        return elementwise("multiply", a, b)
    return tensordot(a, b, ((a.ndim - 1,), (b.ndim - 1,)), "inner")


@numpy_function(np.vdot)
def vdot(a: Any, b: Any) -> Node:
    return dot(*map(ravel, operands(a, b)))


@numpy_function(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Node:
    refuse(out=out)
    a, b = map(ravel, operands(a, b))
    return elementwise("multiply", graph.reshape(a, (a.size, 1)), graph.reshape(b, (1, b.size)))


@numpy_function(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2, name: str = "tensordot") -> Node:
    a, b = operands(a, b)
    if isinstance(axes, (int, np.integer)):
        axes = range(a.ndim - int(axes), a.ndim), range(int(axes))
    over_a, over_b = axes_of(a, listed(axes[0])), axes_of(b, listed(axes[1]))
    summed = tuple(a.shape[axis] for axis in over_a)
    if summed != tuple(b.shape[axis] for axis in over_b):
        raise shape_error(
            f"{name}: shapes {a.shape} and {b.shape} do not fit", "the axes summed must have equal lengths"
        )
    free_a = [axis for axis in range(a.ndim) if axis not in over_a]
    free_b = [axis for axis in range(b.ndim) if axis not in over_b]
    a, b = graph.transpose(a, (*free_a, *over_a)), graph.transpose(b, (*over_b, *free_b))
    if not free_a and not free_b:
        return sum_(a * b)
    rows, columns, n = a.shape[: len(free_a)], b.shape[len(over_b) :], math.prod(summed)
    left = graph.reshape(a, (math.prod(rows), n))
    right = graph.reshape(b, (n, math.prod(columns)))
    return graph.reshape(graph.matmul(left, right), (*rows, *columns))


# ---- methods of arrays: those whose arguments are the function's


def _spread_arguments(function: Callable[..., Node]) -> Callable[..., Node]:
    """a.reshape(2, 3) as well as a.reshape((2, 3)); a.transpose() as well."""

    def method(a: Node, *args: Any, **options: Any) -> Node:
        if args:
            args = (args if isinstance(args[0], (int, np.integer)) else args[0],)
        return function(a, *args, **options)

    return method


METHODS: dict[str, Callable[..., Any]] = {
    "all": all_, "any": any_, "astype": astype, "clip": clip, "conj": lambda a: a,
    "copy": lambda a, order="C": a,
    "diagonal": FUNCTIONS[np.diagonal], "dot": dot, "flatten": ravel, "max": max_, "mean": mean, "min": min_,
    "prod": prod, "ravel": ravel, "repeat": FUNCTIONS[np.repeat], "reshape": _spread_arguments(reshape),
    "squeeze": squeeze, "std": std, "sum": sum_, "swapaxes": swapaxes, "take": take, "trace": trace,
    "transpose": _spread_arguments(transpose), "var": var,
}  # fmt: skip

# NumPy gives a view on the same memory: writing to one would change the other
VIEWS = frozenset({
    reshape, ravel, transpose, swapaxes, moveaxis, squeeze, expand_dims, broadcast_to, flip,
    FUNCTIONS[np.atleast_1d], FUNCTIONS[np.atleast_2d], FUNCTIONS[np.diagonal], METHODS["reshape"],
    METHODS["transpose"], METHODS["conj"], FUNCTIONS[np.rot90], FUNCTIONS[np.fliplr], FUNCTIONS[np.flipud],
    FUNCTIONS[np.real],
})  # fmt: skip
