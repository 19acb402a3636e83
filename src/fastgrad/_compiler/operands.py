"""What every traced function of NumPy does first: constants become nodes, dtypes are promoted, axes are checked.

`FUNCTIONS` is the table from NumPy's functions to functions of nodes; layout.py and surface.py fill it.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._arrays import refused_class
from ..errors import leak_error, shape_error, trace_error
from . import graph
from .graph import FLOAT32, FLOAT64, Node, Shape

BOOL = np.dtype(bool)
NO_VALUE = np._NoValue  # NumPy's mark for an option not given
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.iscomplexobj: lambda x: False,
    np.isrealobj: lambda x: True,
    np.real: lambda val: val,
}


def given(option: Any) -> bool:
    """Whether a value stands for an option, not NumPy's mark that there is none."""
    return option is not NO_VALUE


def numpy_function(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated function of nodes as the meaning of these functions of NumPy."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(functions, function))
        return function

    return enter


# ---- operands: constants become nodes, dtypes are promoted


def constant_array(value: Any) -> np.ndarray:
    """A user's constant as an array of booleans, integers or floats; TraceError for anything else."""
    if type(value) is not np.ndarray and (met := refused_class(value)):
        raise trace_error(f"{met[0]} meets a traced array", met[1])
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
                raise leak_error()
            builder = value.builder
            dtypes.append(BOOL if value.is_bool else value.dtype)
        elif kind is float or kind is int:
            dtypes.append(value if kind is float else 1)
        elif (kind is list or kind is tuple) and type(joined := stacked(value)) is Node:
            if builder is not None and builder is not joined.builder:
                raise leak_error()
            value, builder = joined, joined.builder
            dtypes.append(BOOL if value.is_bool else value.dtype)
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


def _float_of(dtypes: list[Any], values: Sequence[Any]) -> np.dtype:
    if all([x is FLOAT64 or type(x) in (float, int) for x in dtypes]):  # most of what is traced
        return FLOAT64
    dtype = np.result_type(*dtypes)
    if dtype == BOOL:  # stored in the dtype of the comparison that made them
        kinds = [x.dtype for x in values if type(x) is Node]
        return max(kinds, key=lambda dtype: dtype.itemsize, default=FLOAT64)
    return FLOAT32 if dtype.kind == "f" and dtype.itemsize <= 4 else FLOAT64


def stacked(value: Any) -> Any:
    """What np.array makes of nested lists of nodes and constants: one node; other values as they are."""
    if type(value) not in (list, tuple):
        return value
    parts = [stacked(part) for part in value]
    if not any(type(part) is Node for part in parts):
        return value
    nodes = array_operands(*parts)
    if len({x.shape for x in nodes}) > 1:
        raise shape_error(f"a list of arrays of shapes {[x.shape for x in nodes]} is no array", "make them equal")
    return graph.concatenate([graph.reshape(x, (1, *x.shape)) for x in nodes], 0)


def array_operands(*values: Any) -> list[Node]:
    """Operands whose Python numbers are float64, as where NumPy makes arrays first: in joins, not in arithmetic."""
    return operands(*[constant_array(x) if isinstance(x, (bool, int, float)) else x for x in values])


def as_node(a: Any) -> Node:
    """The array argument of a function, or nested lists of such; TraceError when some other argument is traced."""
    node: Any = stacked(a)
    if type(node) is not Node:
        raise trace_error(NOT_AN_ARRAY, "pass a number or array")
    return node


def own_nodes(*values: Any) -> list[Node]:
    """Nodes that keep their dtypes, for functions that give back several arrays."""
    arrays = [stacked(value) for value in values]
    builder = next((x.builder for x in arrays if type(x) is Node), None)
    if builder is None:
        raise trace_error(NOT_AN_ARRAY, "pass a number or array")

    def as_own(value: Any) -> Node:
        array = constant_array(value)
        return builder.copied_constant(array, _float_of([array.dtype], []))

    return [x if type(x) is Node else as_own(x) for x in arrays]


def common_shape(name: str, *shapes: Shape) -> Shape:
    """The shape that these broadcast to; ShapeError names them."""
    if shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(map(str, shapes))
        raise shape_error(
            f"{name}: shapes {listed} do not broadcast", "make the last axes equal, or one of them 1"
        ) from None


OPTION_CURES = {
    "where": "np.where(condition, f(x), 0)",
    "out": "use the value that the call returns",
    "fweights": "np.repeat the observations",
    "aweights": "np.average(..., weights=w) for the means, then of the products of deviations",
}


def refuse(**options: Any) -> None:
    """TraceError for an option that NumPy has and fastgrad does not, if it is given."""
    for name, value in options.items():
        if value is not None and value is not NO_VALUE:
            raise trace_error(f"the option {name}= cannot be traced", OPTION_CURES.get(name, "do without it"))


_PARAMETERS: dict[Any, frozenset[str]] = {}


def parameters_of(function: Callable[..., Any]) -> frozenset[str]:
    known = _PARAMETERS.get(function)
    if known is None:
        known = _PARAMETERS[function] = frozenset(inspect.signature(function).parameters)
    return known


def name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "").strip("_<>") or "the function"


def check_options(name: str, options: dict[str, Any], known: Any) -> dict[str, Any]:
    """`options` without those left at None; TraceError for one that is not known."""
    for key in [key for key in options if key not in known and "options" not in known]:
        if options[key] is not None and options[key] is not NO_VALUE:
            raise trace_error(f"the option {key}= of {name} cannot be traced", "leave it out")
    return {key: value for key, value in options.items() if key in known or "options" in known}


def axes_of(a: Node, axis: Any) -> tuple[int, ...]:
    """An `axis` argument as a tuple of axes from 0."""
    if axis is None:
        return tuple(range(a.ndim))
    axes = listed(axis)
    for n in axes:
        if not -a.ndim <= n < a.ndim:
            raise shape_error(f"axis {n} does not exist in an array of shape {a.shape}")
    if len({n % a.ndim for n in axes}) != len(axes):
        raise shape_error(f"axes {tuple(axes)} of an array of shape {a.shape} name one axis twice")
    return tuple(n % a.ndim for n in axes)


def one_axis(a: Node, axis: Any) -> int:
    return axes_of(a, (operator.index(axis),))[0]


def listed(axes: Any) -> tuple[int, ...]:
    """An integer, or a sequence of them, as a tuple of Python integers."""
    is_sequence = isinstance(axes, (tuple, list, range)) or (isinstance(axes, np.ndarray) and axes.ndim > 0)
    return tuple([operator.index(n) for n in (axes if is_sequence else (axes,))])


# ---- elementwise

ON_TRUTHS: dict[str, str | None] = {
    "add": "logical_or",
    "multiply": "logical_and",
    "maximum": "logical_or",
    "minimum": "logical_and",
    "fmax": "logical_or",
    "fmin": "logical_and",
    "absolute": "copy",
    "subtract": None,
    "negative": None,
    "sign": None,
}


def elementwise(op: str, *values: Any) -> Node:
    """An elementwise operation with NumPy's promotion and broadcasting."""
    if len(values) == 1 and type(values[0]) is Node and not values[0].is_bool:
        return values[0].builder.make(op, values)
    nodes = operands(*values)
    if op in ON_TRUTHS and all([x.is_bool for x in nodes]):
        meaning = ON_TRUTHS[op]
        if meaning is None:
            raise trace_error(f"{op} of truth values is not defined", "use np.logical_xor or np.logical_not")
        op = meaning
    shape = common_shape(op, *[x.shape for x in nodes])
    return nodes[0].builder.make(op, tuple([graph.broadcast(x, shape) for x in nodes]))


def truth(condition: Any) -> Any:
    """A condition as truth values, so that a cast to a narrower float cannot change it."""
    condition = stacked(condition)
    if type(condition) is Node:
        return condition if condition.is_bool else elementwise("not_equal", condition, 0.0)
    return constant_array(condition).astype(bool)


@numpy_function(np.where)
def where(condition: Any, x: Any = None, y: Any = None) -> Node:
    if x is None or y is None:
        raise trace_error("np.where with one argument has a result of unknown size", "use np.where(c, x, y)")
    condition, x, y = truth(condition), stacked(x), stacked(y)
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
