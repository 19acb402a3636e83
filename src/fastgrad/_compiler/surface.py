"""The part of NumPy that can be traced: tables from NumPy's functions to functions of nodes.

trace.py unwraps its arrays to nodes, looks a function up in `UFUNCS`, `FUNCTIONS` or `METHODS`, and wraps
what comes back. Values other than nodes are constants of the user's; dtypes follow NumPy's promotion, where
Python numbers adapt, except that integers become float64.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import indexing_error, shape_error, trace_error
from . import graph
from .graph import ELEMENTWISE, FLOAT32, FLOAT64, Frozen, Node, Shape

BOOL = np.dtype(bool)
NO_VALUE = np._NoValue  # NumPy's mark for an option not given
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.zeros_like: lambda a, dtype=None, shape=None: full_like(a, 0.0, dtype, shape),
    np.ones_like: lambda a, dtype=None, shape=None: full_like(a, 1.0, dtype, shape),
    np.empty_like: lambda a, dtype=None, shape=None: full_like(a, 0.0, dtype, shape),
    np.iscomplexobj: lambda x: False,
    np.isrealobj: lambda x: True,
    np.real: lambda val: val,
}


def numpy_function(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated function of nodes as the meaning of these functions of NumPy."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(functions, function))
        return function

    return enter


@numpy_function(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A constant array: its elements do not depend on `a`."""
    shape = a.shape if shape is None else shape
    if type(fill_value) is Node:
        return broadcast_to(fill_value, shape)
    return np.full(shape, fill_value, dtype or (BOOL if getattr(a, "is_bool", False) else a.dtype))


# ---- operands: constants become nodes, dtypes are promoted


def constant_array(value: Any) -> np.ndarray:
    """A user's constant as an array of booleans, integers or floats; TraceError for anything else."""
    if isinstance(value, np.ma.MaskedArray):  # asarray would drop the mask silently
        raise trace_error("a masked array meets a traced array", "use np.where with the mask")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise trace_error(
            f"an array of dtype {array.dtype} meets a traced array",
            "only booleans, integers, float32 and float64 can be mixed with traced arrays",
        )
    return array


def operands(*values: Any) -> list[Node]:
    """Nodes of one dtype, the one that NumPy would choose; truth values stay truth values."""
    dtypes: list[Any] = []
    constants: list[Any] = []
    builder = None
    for value in values:
        kind = type(value)
        if kind is Node:
            if builder is not None and builder is not value.builder:
                raise trace_error(LEAK, LEAK_CURE)
            builder = value.builder
            dtypes.append(BOOL if value.is_bool else value.dtype)
        elif kind is float or kind is int:
            dtypes.append(value if kind is float else 1)
        else:
            value = constant_array(value)
            dtypes.append(value.dtype)
        constants.append(value)
    if builder is None:
        raise trace_error(NOT_AN_ARRAY, "pass a number or array")
    dtype = _float_of(dtypes, constants)
    return [
        graph.cast(value, dtype)
        if type(value) is Node
        else builder.copied_constant(value, dtype)
        if isinstance(value, np.ndarray)
        else builder.scalar(value, dtype)
        for value in constants
    ]


NOT_AN_ARRAY = "a traced value stands where NumPy needs a constant"
LEAK = "a traced array from another call of a differentiated function is used here"
LEAK_CURE = "pass it as an argument or return it; do not keep it in a global, a closure or an attribute"


def _float_of(dtypes: list[Any], values: Sequence[Any]) -> np.dtype:
    dtype = np.result_type(*dtypes)
    if dtype == BOOL:  # stored in the dtype of the comparison that made them
        return max((x.dtype for x in values if type(x) is Node), key=lambda dtype: dtype.itemsize)
    return FLOAT32 if dtype.kind == "f" and dtype.itemsize <= 4 else FLOAT64


def as_node(a: Any) -> Node:
    """The array argument of a function; TraceError when the traced value is some other argument."""
    if type(a) is not Node:
        raise trace_error(NOT_AN_ARRAY, "pass a number or array")
    return a


def common_shape(name: str, *shapes: Shape) -> Shape:
    """The shape that these broadcast to; ShapeError names them."""
    if len(set(shapes)) == 1:
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(map(str, shapes))
        raise shape_error(
            f"{name}: shapes {listed} do not broadcast", "make the last axes equal, or one of them 1"
        ) from None


def refuse(**options: Any) -> None:
    """TraceError for an option that NumPy has and fastgrad does not, if it is given."""
    for name, value in options.items():
        if value is not None and value is not NO_VALUE:
            raise trace_error(f"the option {name}= cannot be traced", "leave it out")


# ---- elementwise: ufuncs

# what NumPy does when all operands are truth values; None is an error there too
ON_TRUTHS: dict[str, str | None] = {
    "add": "logical_or",
    "multiply": "logical_and",
    "maximum": "logical_or",
    "minimum": "logical_and",
    "absolute": "copy",
    "subtract": None,
    "negative": None,
    "sign": None,
}


def elementwise(op: str, *values: Any) -> Node:
    """An elementwise operation with NumPy's promotion and broadcasting."""
    nodes = operands(*values)
    if op in ON_TRUTHS and all(x.is_bool for x in nodes):
        meaning = ON_TRUTHS[op]
        if meaning is None:
            raise trace_error(f"{op} of truth values is not defined", "use np.logical_xor or np.logical_not")
        op = meaning
    shape = common_shape(op, *[x.shape for x in nodes])
    return nodes[0].builder.make(op, tuple([graph.broadcast(x, shape) for x in nodes]))


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


def truth(condition: Any) -> Any:
    """A condition as truth values, so that a cast to a narrower float cannot change it."""
    if type(condition) is Node:
        return condition if condition.is_bool else elementwise("not_equal", condition, 0.0)
    return constant_array(condition).astype(bool)


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
        raise trace_error(LEAK, LEAK_CURE)
    shape = common_shape("where", condition.shape, a.shape, b.shape)
    chosen = (graph.cast(condition, a.dtype), a, b)
    return a.builder.make("where", tuple([graph.broadcast(node, shape) for node in chosen]))


@numpy_function(np.clip)
def clip(
    a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None
) -> Any:
    refuse(out=out)
    low, high = a_min if min is None else min, a_max if max is None else max
    if low is not None and low is not NO_VALUE:
        a = elementwise("maximum", a, low)
    if high is not None and high is not NO_VALUE:
        a = elementwise("minimum", a, high)
    return a


# ---- reductions


def axes_of(a: Node, axis: Any) -> tuple[int, ...]:
    """An `axis` argument as a tuple of axes from 0."""
    if axis is None:
        return tuple(range(a.ndim))
    axes = [operator.index(n) for n in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    for n in axes:
        if not -a.ndim <= n < a.ndim:
            raise shape_error(f"axis {n} does not exist in an array of shape {a.shape}")
    if len({n % a.ndim for n in axes}) != len(axes):
        raise shape_error(f"axes {tuple(axes)} of an array of shape {a.shape} name one axis twice")
    return tuple(n % a.ndim for n in axes)


def one_axis(a: Node, axis: Any) -> int:
    return axes_of(a, (operator.index(axis),))[0]


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
    over_a, over_b = axes_of(a, _listed(axes[0])), axes_of(b, _listed(axes[1]))
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


def _listed(axes: Any) -> tuple[int, ...]:
    return (int(axes),) if isinstance(axes, (int, np.integer)) else tuple(axes)


# ---- the same elements in another shape or order


@numpy_function(np.reshape)
def reshape(a: Any, shape: Any, order: str = "C", *, copy: Any = None) -> Node:
    a, order = as_node(a), c_order(order)
    shape = (
        tuple(map(operator.index, shape)) if isinstance(shape, (tuple, list)) else (operator.index(shape),)
    )
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
    source, destination = axes_of(as_node(a), _listed(source)), axes_of(a, _listed(destination))
    order = [axis for axis in range(a.ndim) if axis not in source]
    for there, axis in sorted(zip(destination, source, strict=True)):
        order.insert(there, axis)
    return graph.transpose(a, order)


@numpy_function(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Node:
    axes = _listed(axis)
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
    shape = _listed(shape)
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
    return graph.slices(
        m, tuple((n - 1, n, -1) if i in axes and n else (0, n, 1) for i, n in enumerate(m.shape))
    )


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
def concatenate(
    arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None
) -> Node:
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
        a = elementwise(
            "subtract", *(graph.slice_axis(a, axis, min(i, a.shape[axis]), length) for i in (1, 0))
        )
    return a


# ---- indexing


def index(a: Node, key: Any) -> Node:
    """`a[key]` for integers, slices, None, Ellipsis and constant arrays of integers or booleans."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(
        part is None or part is Ellipsis or isinstance(part, slice) or _is_integer(part) for part in parts
    ):
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


@numpy_function(np.trace)
def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None
) -> Node:
    refuse(dtype=dtype, out=out)
    return sum_(moved(np.diagonal, a, offset, axis1, axis2), -1)


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
    METHODS["transpose"], FUNCTIONS[np.rot90], FUNCTIONS[np.fliplr], FUNCTIONS[np.flipud], FUNCTIONS[np.real],
})  # fmt: skip
