"""The part of NumPy that can be traced: tables from NumPy's functions to functions of nodes.

Here are the elementwise functions and the tables of ufuncs and methods; layout.py, rearrange.py, reductions.py,
products.py and sampled.py enter the other functions. trace.py unwraps its arrays to nodes, looks a function up in
`UFUNCS`, `UFUNC_METHODS`, `FUNCTIONS` or `METHODS`, and wraps what comes back. Values other than nodes are constants of
the user's; dtypes follow NumPy's promotion, where Python numbers adapt, except that integers become float64.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import indexing_error, shape_error, trace_error
from . import graph
from .graph import ELEMENTWISE, FLOAT64, Node
from .layout import (
    astype,
    broadcast_to,
    expand_dims,
    flip,
    full_like,
    moveaxis,
    moved,
    ravel,
    refuse_traced_index,
    reshape,
    rollaxis,
    squeeze,
    swapaxes,
    take,
    transpose,
)
from .linalg import ACCUMULATIONS, argsort, cumprod, cumsum
from .operands import (
    BOOL,
    FUNCTIONS,
    NO_VALUE,
    array_operands,
    as_node,
    axes_of,
    common_shape,
    elementwise,
    given,
    numpy_function,
    one_axis,
    operands,
    refuse,
    truth,
    where,
)
from .products import cross, dot, horner, matmul, matvec, outer, tensordot, vecdot, vecmat
from .rearrange import choose, compress
from .reductions import (
    all_,
    any_,
    argmax,
    argmin,
    as_count,
    is_everywhere,
    kept,
    max_,
    mean,
    min_,
    norm,
    prod,
    std,
    sum_,
    trace,
    var,
    vector_norm,
)
from .sampled import searchsorted

# ---- elementwise: ufuncs


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


def heaviside(a: Node, b: Node) -> Node:
    """NaN where `a` is; its derivative by `a` is 0 throughout, by `b` 1 where `a` is 0."""
    step = where(graph.greater(a, 0.0), 1.0, where(graph.less(a, 0.0), 0.0, elementwise("multiply", a, 0.0)))
    return where(graph.equal(a, 0.0), b, step)


def modf(a: Any) -> tuple[Node, Node]:
    whole = elementwise("trunc", a)
    is_infinite = elementwise("equal", elementwise("absolute", a), math.inf)
    return where(is_infinite, 0.0, elementwise("subtract", a, whole)), whole


UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    getattr(np, name): functools.partial(elementwise, name)
    for name in ELEMENTWISE
    if isinstance(getattr(np, name, None), np.ufunc)
} | {
    np.power: power,
    np.float_power: lambda a, b: power(*[graph.cast(x, FLOAT64) for x in operands(a, b)]),
    np.square: lambda a: elementwise("multiply", a, a),
    np.reciprocal: lambda a: elementwise("divide", 1.0, a),
    np.positive: as_node,
    np.conjugate: as_node,
    np.fabs: functools.partial(elementwise, "absolute"),
    np.isinf: lambda a: elementwise("equal", elementwise("absolute", a), math.inf),
    np.deg2rad: lambda a: elementwise("multiply", a, math.pi / 180),
    np.radians: lambda a: elementwise("multiply", a, math.pi / 180),
    np.rad2deg: lambda a: elementwise("multiply", a, 180 / math.pi),
    np.degrees: lambda a: elementwise("multiply", a, 180 / math.pi),
    np.heaviside: lambda a, b: heaviside(*operands(a, b)),
    np.signbit: lambda a: elementwise(
        "logical_or", elementwise("less", a, 0.0), elementwise("less", elementwise("divide", 1.0, a), 0.0)
    ),
    np.logical_xor: lambda a, b: elementwise("not_equal", truth(a), truth(b)),
    np.bitwise_and: bitwise("&", "logical_and"),
    np.bitwise_or: bitwise("|", "logical_or"),
    np.bitwise_xor: bitwise("^", "not_equal"),
    np.invert: bitwise("~", "logical_not"),
    np.divmod: lambda a, b: (elementwise("floor_divide", a, b), elementwise("remainder", a, b)),
    np.modf: modf,
    np.matmul: matmul,
}

# what to write instead of functions left out
CURES: dict[Any, str] = {
    np.linalg.svd: "np.linalg.eigh(a.T @ a): squares of the singular values, and the right vectors",
    np.linalg.qr: "np.linalg.cholesky(a.T @ a).T, which is R up to signs for full column rank",
    np.linalg.eig: "np.linalg.eigh for symmetric matrices",
    np.linalg.eigvals: "np.linalg.eigvalsh for symmetric matrices",
    np.array_equal: "np.all(a == b) for the same shapes",
    np.array_equiv: "np.all(a == b)",
    np.fill_diagonal: "np.where(np.eye(n, dtype=bool), value, a)",
    np.put_along_axis: "np.where with a constant mask",
    np.argwhere: "np.where(condition, x, 0.0): how many elements there are would depend on values",
    np.unique: "the elements as they are: how many differ would depend on values",
    np.angle: "np.arctan2(y, x) for the real and imaginary parts",
    np.subtract: "first - np.sum(rest)",
    np.divide: "first / np.prod(rest)",
}

# the same for what arrays have
METHOD_CURES: dict[str, str] = {
    "partition": "y = np.sort(x)",
    "put": "y = np.where(mask, values, x) with a constant mask",
    "resize": "y = np.resize(x, shape)",
    "view": "y = x, or x.astype(np.float32); for a np.matrix that meets x np.asarray(matrix), and @",
    "tobytes": "return the array, and store it outside of the function",
    "tofile": "return the array, and store it outside of the function",
    "dump": "return the array, and store it outside of the function",
    "dumps": "return the array, and store it outside of the function",
    "data": "the array itself",
    "ctypes": "the array itself",
    "strides": "x.shape: how an array lies in memory is not known in a trace",
    "flags": "x.shape and x.dtype: how an array lies in memory is not known in a trace",
    "base": "the array itself",
    "imag": "np.imag(x), which is 0: traced arrays are real",
}


@numpy_function(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    refuse(out=out)
    bounds = {"maximum": a_min if min is None else min, "minimum": a_max if max is None else max}
    bounds = {op: bound for op, bound in bounds.items() if bound is not None and given(bound)}
    for op, bound in bounds.items():  # of equals the second: so NumPy keeps the sign of a zero between two bounds
        a = elementwise(op, a, bound) if len(bounds) == 1 else elementwise(op, bound, a)
    return a


@numpy_function(np.sinc)
def sinc(x: Any) -> Node:
    """sin(pi x) / (pi x); near 0 its series, whose derivatives of every order are right there."""
    y = graph.truth_as_number(as_node(x)) * math.pi
    is_near = graph.less(graph.absolute(y), 1.0)
    squared = y * y
    terms = [(-1) ** k / math.factorial(2 * k + 1) for k in range(10)][::-1]
    series = horner([graph.filled(y, term) for term in terms], squared)
    return graph.where(is_near, series, graph.sin(y) / graph.where(is_near, 1.0, y))


@numpy_function(np.round, np.around)
def round_(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    refuse(out=out)
    scale = 10.0 ** abs(operator.index(decimals))
    there, back = ("multiply", "divide") if decimals >= 0 else ("divide", "multiply")
    if scale == 1:
        return elementwise("rint", a)
    return elementwise(back, elementwise("rint", elementwise(there, a, scale)), scale)


@numpy_function(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Node:
    x = as_node(x)
    limits = np.finfo(x.dtype)
    high, low = (limits.max if posinf is None else posinf), (limits.min if neginf is None else neginf)
    y = where(elementwise("equal", x, math.inf), high, where(elementwise("equal", x, -math.inf), low, x))
    return graph.cast(where(elementwise("isnan", x), nan, y), x.dtype)


@numpy_function(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Node:
    a, b = map(graph.truth_as_number, operands(a, b))
    bound = elementwise("add", atol, elementwise("multiply", rtol, graph.absolute(b)))
    distance = graph.absolute(elementwise("subtract", a, b))
    is_near = elementwise("logical_and", elementwise("less_equal", distance, bound), graph.isfinite(b))
    close = elementwise("logical_or", is_near, elementwise("equal", a, b))
    both_nan = elementwise("logical_and", elementwise("isnan", a), elementwise("isnan", b))
    return elementwise("logical_or", close, both_nan) if equal_nan else close


@numpy_function(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Node:
    return all_(isclose(a, b, rtol, atol, equal_nan))


OF_REALS: dict[Any, Callable[..., Any]] = {
    np.real_if_close: lambda a, tol=100: as_node(a),
    np.imag: lambda val: full_like(as_node(val), 0.0),
    np.isreal: lambda x: np.ones(as_node(x).shape, bool),
    np.iscomplex: lambda x: np.zeros(as_node(x).shape, bool),
    np.isposinf: lambda x, out=None: elementwise("equal", x, math.inf),
    np.isneginf: lambda x, out=None: elementwise("equal", x, -math.inf),
}
FUNCTIONS |= OF_REALS


def _kinds(function: Callable[..., Any]) -> Callable[..., Any]:
    """A question about dtypes."""
    return lambda *args: function(*[(BOOL if x.is_bool else x.dtype) if type(x) is Node else x for x in args])


FUNCTIONS |= {function: _kinds(function) for function in (np.result_type, np.can_cast)}

if "trunc" in ELEMENTWISE:
    FUNCTIONS[np.fix] = lambda x, out=None: elementwise("trunc", x)


# ---- names of the array API standard, from NumPy 2 on

for _ufunc, _meaning in {"vecdot": vecdot, "matvec": matvec, "vecmat": vecmat}.items():
    if hasattr(np, _ufunc):
        UFUNCS[getattr(np, _ufunc)] = _meaning

STANDARD: dict[Any, dict[str, Callable[..., Any]]] = {
    np: {
        "astype": lambda x, dtype, /, *, copy=True, device=None: astype(as_node(x), dtype),
        "matrix_transpose": lambda x, /: swapaxes(x, -1, -2),
    },
    np.linalg: {
        "cross": lambda a, b, /, *, axis=-1: cross(a, b, axis=axis),
        "diagonal": lambda x, /, *, offset=0: moved(np.diagonal, x, offset, -2, -1),
        "matmul": lambda a, b, /: matmul(a, b),
        "matrix_norm": lambda x, /, *, keepdims=False, ord="fro": norm(x, ord, (-2, -1), keepdims),
        "matrix_transpose": lambda x, /: swapaxes(x, -1, -2),
        "outer": lambda a, b, /: outer(a, b),
        "tensordot": lambda a, b, /, *, axes=2: tensordot(a, b, axes),
        "trace": lambda x, /, *, offset=0, dtype=None: trace(x, offset, -2, -1, dtype),
        "vecdot": lambda a, b, /, *, axis=-1: vecdot(a, b, axis=axis),
        "vector_norm": lambda x, /, *, axis=None, keepdims=False, ord=2: vector_norm(
            as_count(as_node(x)), ord, axes_of(as_node(x), axis), keepdims
        ),
    },
}
for _module, _functions in STANDARD.items():
    FUNCTIONS |= {getattr(_module, name): function for name, function in _functions.items() if hasattr(_module, name)}


# ---- methods of ufuncs


def outer_of(ufunc: np.ufunc) -> Callable[..., Node]:
    def outer(a: Any, b: Any) -> Node:
        a, b = array_operands(a, b)
        return UFUNCS[ufunc](graph.reshape(a, a.shape + (1,) * b.ndim), b)

    return outer


def folded(ufunc: np.ufunc) -> Callable[..., Node]:
    """The reduction by an associative operation that has no instruction: halves are combined, again and again."""

    def reduce(a: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False,
               initial: Any = NO_VALUE, where: Any = True) -> Node:  # fmt: skip
        refuse(out=out, dtype=dtype)
        if not is_everywhere(where):
            raise trace_error(f"the option where= of np.{ufunc.__name__}.reduce cannot be traced",
                              "np.where(condition, x, a value that changes nothing)")  # fmt: skip
        a = as_node(a)
        axes = axes_of(a, axis)
        rows = graph.transpose(a, [*(i for i in range(a.ndim) if i not in axes), *axes])
        lead = rows.ndim - len(axes)
        n = math.prod(rows.shape[lead:])
        if not n:
            raise shape_error(f"np.{ufunc.__name__}.reduce over no elements: the array has shape {a.shape}")
        rows = graph.reshape(rows, (*rows.shape[:lead], n))
        while (n := rows.shape[lead]) > 1:
            first, second = (graph.slice_axis(rows, lead, start, n // 2) for start in (0, n // 2))
            rest = [graph.slice_axis(rows, lead, n - 1, 1)] if n % 2 else []
            rows = graph.concatenate([UFUNCS[ufunc](first, second), *rest], lead)
        y = kept(graph.reshape(rows, rows.shape[:lead]), a, axes, keepdims)
        return UFUNCS[ufunc](y, initial) if given(initial) and initial is not None else y

    return reduce


def reduction_of_runs(reduce: Callable[..., Node]) -> Callable[..., Node]:
    """reduceat: from each of the constant places to the next one; the one element where the next lies not behind."""

    def reduceat(a: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Node:
        refuse(out=out)
        refuse_traced_index(indices)
        a = as_node(a)
        along, starts = one_axis(a, axis), [operator.index(i) for i in indices]
        n = a.shape[along]
        if any(not 0 <= i < n for i in starts):
            raise indexing_error(f"reduceat: indices {starts} for an axis of length {n}")
        ends = [max(end, start + 1) for start, end in zip(starts, [*starts[1:], n], strict=True)]
        runs = [graph.slice_axis(a, along, i, end - i) for i, end in zip(starts, ends, strict=True)]
        return graph.concatenate([reduce(run, axis=along, dtype=dtype, keepdims=True) for run in runs], along)

    return reduceat


UFUNC_METHODS: dict[str, dict[np.ufunc, Callable[..., Any]]] = {
    "__call__": UFUNCS,
    "outer": {ufunc: outer_of(ufunc) for ufunc in UFUNCS if ufunc.nin == 2 and ufunc is not np.matmul},
    "reduce": {
        np.add: sum_, np.multiply: prod, np.maximum: max_, np.minimum: min_, np.logical_and: all_,
        np.logical_or: any_,
    } | {ufunc: folded(ufunc) for ufunc in (np.logaddexp, np.logaddexp2, np.hypot, np.fmax, np.fmin, np.logical_xor)
         if ufunc in UFUNCS},
    "reduceat": {np.add: reduction_of_runs(sum_), np.multiply: reduction_of_runs(prod)},
    "accumulate": ACCUMULATIONS,
}  # fmt: skip


def with_dtype(function: Callable[..., Node], dtype: Any) -> Callable[..., Node]:
    """A ufunc with dtype=: its operands are converted first."""
    return lambda *values: function(*[astype(x, dtype) for x in operands(*values)])


# ---- methods of arrays: those whose arguments are the function's


def _spread_arguments(function: Callable[..., Node]) -> Callable[..., Node]:
    """a.reshape(2, 3) as well as a.reshape((2, 3)); a.transpose() as well."""

    def method(a: Node, *args: Any, **options: Any) -> Node:
        if args:
            args = (args if isinstance(args[0], (int, np.integer)) else args[0],)
        return function(a, *args, **options)

    return method


METHODS: dict[str, Callable[..., Any]] = {
    "all": all_, "any": any_, "argmax": argmax, "argmin": argmin, "argsort": argsort, "astype": astype,
    "choose": choose, "clip": clip, "cumprod": cumprod, "cumsum": cumsum,
    "compress": lambda a, condition, axis=None, out=None: compress(condition, a, axis, out),
    "conj": lambda a: a, "conjugate": lambda a: a, "copy": lambda a, order="C": a,
    "diagonal": FUNCTIONS[np.diagonal], "dot": dot, "flatten": ravel, "max": max_, "mean": mean, "min": min_,
    "prod": prod, "ravel": ravel, "repeat": FUNCTIONS[np.repeat], "reshape": _spread_arguments(reshape),
    "round": round_,
    "searchsorted": searchsorted, "squeeze": squeeze, "std": std, "sum": sum_, "swapaxes": swapaxes, "take": take,
    "trace": trace, "transpose": _spread_arguments(transpose), "var": var,
}  # fmt: skip

# NumPy gives a view on the same memory: writing to one would change the other
VIEWS = frozenset({
    reshape, ravel, transpose, swapaxes, moveaxis, rollaxis, squeeze, expand_dims, broadcast_to, flip,
    METHODS["reshape"], METHODS["transpose"], METHODS["conj"], METHODS["conjugate"],
    *(FUNCTIONS[function] for function in (np.atleast_1d, np.atleast_2d, np.atleast_3d, np.diagonal, np.diag, np.rot90,
                                           np.fliplr, np.flipud, np.real, np.real_if_close)),
})  # fmt: skip
RESHAPED = frozenset({reshape, ravel, METHODS["reshape"]})  # a view if the layout in memory lets it be one
