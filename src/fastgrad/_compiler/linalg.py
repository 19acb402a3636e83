"""The part of NumPy that works along an axis, in order, or on matrices: running sums, sorting, quantiles, np.linalg.

What NumPy answers with an exception that depends on values, a singular matrix, gives NaN here: compiled code goes on.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import shape_error, trace_error
from . import graph
from .along import along_last, flipped, identity, solve_upper
from .graph import FLOAT32, FLOAT64, Node
from .layout import moveaxis, moved, ravel
from .operands import (
    FUNCTIONS,
    as_node,
    axes_of,
    common_shape,
    constant_array,
    elementwise,
    given,
    numpy_function,
    one_axis,
    operands,
    own_nodes,
    refuse,
)
from .reductions import as_count, as_dtype

# ---- along one axis


def along(op: str, a: Node, axis: int) -> Node:
    """An operation on the last axis that keeps its length, along another one."""
    return moveaxis(along_last(op, moveaxis(a, axis, -1)), -1, axis)


def accumulator(op: str) -> Callable[..., Node]:
    def accumulate(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Node:
        refuse(out=out)
        a = as_count(as_dtype(as_node(a), dtype))
        if axis is None:
            a, axis = ravel(a), 0
        return along(op, a, one_axis(a, axis))

    accumulate.__name__ = op
    return accumulate


cumsum, cumprod = accumulator("cumsum"), accumulator("cumprod")
FUNCTIONS |= {np.cumsum: cumsum, np.cumprod: cumprod}


def by_default_the_first(accumulate: Callable[..., Node]) -> Callable[..., Node]:
    return lambda array, axis=0, dtype=None, out=None: accumulate(array, axis, dtype, out)


ACCUMULATIONS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: by_default_the_first(cumsum),
    np.multiply: by_default_the_first(cumprod),
    np.maximum: by_default_the_first(accumulator("cummax")),
    np.minimum: by_default_the_first(accumulator("cummin")),
}


# ---- in order

MAX_EXACT = 1 << 24  # numbers of elements that float32 can tell apart


def check_numbers(a: Node, axis: int) -> None:
    if a.dtype is FLOAT32 and a.shape[axis] > MAX_EXACT:
        raise trace_error(
            f"an axis of {a.shape[axis]:,} elements has more than float32 can number", "use x.astype(np.float64)"
        )


def sorted_pairs(a: Node, axis: Any) -> tuple[Node, Node]:
    """Values in order along an axis, and the number that each had."""
    if axis is None:
        a, axis = ravel(a), 0
    axis = one_axis(a, axis)
    check_numbers(a, axis)
    last = moveaxis(a, axis, -1)
    pairs = along_last("sort_pairs", last)
    values, order = (
        moveaxis(graph.reshape(graph.slice_axis(pairs, a.ndim - 1, row, 1), last.shape), -1, axis) for row in (0, 1)
    )
    return values, order


@numpy_function(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Node:
    refuse(order=order)
    return sorted_pairs(as_count(as_node(a)), axis)[0]


@numpy_function(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Node:
    refuse(order=order)
    return graph.cast(sorted_pairs(as_count(as_node(a)), axis)[1], FLOAT64)


@numpy_function(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Node:
    """Sorted: that is partitioned too."""
    refuse(order=order)
    a = as_count(as_node(a))
    n = a.size if axis is None else a.shape[one_axis(a, axis)]
    for k in np.ravel(constant_array(kth)).tolist():
        if not -n <= operator.index(k) < n:
            raise shape_error(f"partition: element {k} of {n} does not exist")
    return sorted_pairs(a, axis)[0]


def in_order(name: str, a: Any, axis: Any) -> tuple[Node, tuple[int, ...]]:
    """The elements over some axes in order, as a new last axis; and the axes."""
    a = as_count(as_node(a))
    axes = axes_of(a, axis)
    left = tuple(n for i, n in enumerate(a.shape) if i not in axes)
    a = moveaxis(a, axes, tuple(range(len(left), a.ndim)))
    n = a.size // max(1, int(np.prod(left))) if a.size else 0
    if not n:
        raise shape_error(f"{name} over no elements: the array has shape {a.shape}")
    return sorted_pairs(graph.reshape(a, (*left, n)), -1)[0], axes


def spoilt_by_nan(result: Node, ordered: Node) -> Node:
    """NaN where there is any: it comes last."""
    n = ordered.shape[-1]
    last = graph.slice_axis(ordered, ordered.ndim - 1, n - 1, 1)
    last = graph.broadcast(last, (*ordered.shape[:-1], result.shape[-1]))
    return graph.where(elementwise("isnan", last), last, result)


@numpy_function(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Node:
    refuse(out=out)
    ordered, axes = in_order("median", a, axis)
    last, n = ordered.ndim - 1, ordered.shape[-1]
    low, high = (graph.slice_axis(ordered, last, i, 1) for i in ((n - 1) // 2, n // 2))
    middle = spoilt_by_nan(low if n % 2 else (low + high) / 2, ordered)
    return reduced_to(graph.reshape(middle, middle.shape[:-1]), as_node(a), axes, keepdims)


def reduced_to(y: Node, a: Node, axes: tuple[int, ...], keepdims: Any, n_lead: int = 0) -> Node:
    if not given(keepdims) or not keepdims:
        return y
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(a.shape))
    return graph.reshape(y, (*y.shape[:n_lead], *kept))


def quantile_of(name: str, scale: float) -> Callable[..., Node]:
    def quantile(
        a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
        keepdims: Any = False, *, weights: Any = None, interpolation: Any = None,
    ) -> Node:  # fmt: skip
        refuse(out=out, weights=weights, interpolation=interpolation)
        if method != "linear":
            raise trace_error(f"method={method!r} of {name} cannot be traced", "use method='linear', the default")
        if type(q) is Node:
            raise trace_error(f"a traced q of {name} would choose elements by its value", "use constants for q")
        levels = constant_array(q).astype(float) / scale
        if not ((levels >= 0) & (levels <= 1)).all():
            raise shape_error(f"{name}: q = {q!r} is outside 0 to {scale:g}")
        ordered, axes = in_order(name, a, axis)
        at = levels.ravel() * (ordered.shape[-1] - 1)
        low = np.floor(at).astype(int)
        high, share = np.ceil(at).astype(int), at - low
        near = np.where(share >= 0.5, high, low)  # as NumPy: from the nearer one, so that none is left out
        y = moved(np.take, ordered, near, -1)
        if share.any():
            gap = moved(np.take, ordered, high, -1) - moved(np.take, ordered, low, -1)
            y = elementwise("add", y, elementwise("multiply", gap, (at - near).astype(y.dtype)))
        y = moveaxis(spoilt_by_nan(y, ordered), -1, 0)
        y = graph.reshape(y, (*levels.shape, *y.shape[1:]))
        return reduced_to(y, as_node(a), axes, keepdims, levels.ndim)

    quantile.__name__ = name
    return quantile


FUNCTIONS |= {np.quantile: quantile_of("quantile", 1.0), np.percentile: quantile_of("percentile", 100.0)}


# ---- elements by numbers that are computed


@numpy_function(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Node:
    """Numbers that are traced count from 0; those out of range are taken to the nearest end."""
    if type(indices) is not Node:
        return moved(np.take_along_axis, arr, constant_array(indices), axis)
    a, indices = own_nodes(arr, indices)
    if axis is None:
        a, axis = ravel(a), 0
    axis = one_axis(a, axis)
    check_numbers(a, axis)
    if indices.ndim != a.ndim:
        raise shape_error(f"take_along_axis: shapes {a.shape} and {indices.shape} have different numbers of axes")
    a = moveaxis(as_count(a), axis, -1)
    indices = moveaxis(graph.cast(indices, a.dtype), axis, -1)
    lead = common_shape("take_along_axis", a.shape[:-1], indices.shape[:-1])
    if not a.shape[-1] and indices.size:
        raise shape_error(f"take_along_axis from no elements: the array has shape {arr.shape}")
    a, indices = (graph.broadcast(x, (*lead, x.shape[-1])) for x in (a, indices))
    return moveaxis(along_last("take_along", a, indices), -1, axis)


# ---- matrices


# as NumPy gives them
SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))
EighResult: Any = type(np.linalg.eigh(np.eye(1)))


def square(name: str, a: Any) -> Node:
    a = as_count(as_node(a))
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise shape_error(f"{name} of an array of shape {a.shape}", "the last two axes must have equal lengths")
    return a


@numpy_function(np.linalg.solve)
def solve(a: Any, b: Any) -> Node:
    a, b = map(as_count, operands(a, b))
    a = square("solve", a)
    n = a.shape[-1]
    right = graph.reshape(b, (b.size, 1)) if b.ndim == 1 else b
    if not b.ndim or right.shape[-2] != n:
        raise shape_error(f"solve: shapes {a.shape} and {b.shape} do not fit", f"the right side must have {n} rows")
    lead = common_shape("solve", a.shape[:-2], right.shape[:-2])
    a, right = (graph.broadcast(x, (*lead, *x.shape[-2:])) for x in (a, right))
    x = _solved(a, right)
    return graph.reshape(x, x.shape[:-1]) if b.ndim == 1 else x


def _solved(a: Node, right: Node) -> Node:
    """NumPy has no function for triangles: those that are known to be some need no factors."""
    if a.op == "cholesky":
        return along_last("solve_lower", a, right)
    if a.op == "transpose" and a.inputs[0].op == "cholesky" and a is graph.matrix_transpose(a.inputs[0]):
        return solve_upper(a, right)
    return along_last("solve", a, right)


@numpy_function(np.linalg.inv)
def inv(a: Any) -> Node:
    a = square("inv", a)
    return along_last("solve", a, identity(a))


@numpy_function(np.linalg.det)
def det(a: Any) -> Node:
    """Up to 3 by 3 by the formula, whose derivatives are finite for singular matrices too."""
    a = square("det", a)
    n = a.shape[-1]
    if n > 3:
        return along_last("det", a)

    def minor(rows: tuple[int, ...], columns: tuple[int, ...]) -> Node:
        if len(rows) == 1:
            spec = (*graph.full_slices(a.shape[:-2]), (rows[0], 1, 1), (columns[0], 1, 1))
            return graph.reshape(graph.slices(a, spec), a.shape[:-2])
        total = None
        for k, column in enumerate(columns):
            term = minor(rows[:1], (column,)) * minor(rows[1:], (*columns[:k], *columns[k + 1 :]))
            total = term if total is None else total - term if k % 2 else total + term
        assert total is not None
        return total

    if n == 0:
        return graph.broadcast(a.builder.scalar(1.0, a.dtype), a.shape[:-2])
    return minor(tuple(range(n)), tuple(range(n)))


@numpy_function(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    a = square("slogdet", a)
    if not a.shape[-1]:
        return SlogdetResult(*(graph.broadcast(a.builder.scalar(x, a.dtype), a.shape[:-2]) for x in (1.0, 0.0)))
    pair = along_last("slogdet", a)
    return SlogdetResult(*(graph.reshape(graph.slice_axis(pair, pair.ndim - 1, i, 1), a.shape[:-2]) for i in (0, 1)))


@numpy_function(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Node:
    a = square("cholesky", a)
    if upper:
        return graph.matrix_transpose(along_last("cholesky", graph.matrix_transpose(a)))
    return along_last("cholesky", a)


MAX_JACOBI = 256  # rows


@numpy_function(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """Reads one triangle, as NumPy does; the sign of a vector is any."""
    a = square("eigh", a)
    if a.shape[-1] > MAX_JACOBI:
        raise trace_error(
            f"eigh of a matrix of {a.shape[-1]} rows takes too long by Jacobi's method, which is for small ones",
            f"at most {MAX_JACOBI} rows; for the largest eigenvalues, iterate with a @ x",
        )
    if UPLO.upper() not in ("L", "U"):
        raise trace_error(f"eigh: UPLO={UPLO!r}", "use 'L' or 'U'")
    pair = along_last("eigh", graph.matrix_transpose(a) if UPLO.upper() == "U" else a)
    row, n = a.ndim - 2, a.shape[-1]
    values = graph.reshape(graph.slice_axis(pair, row, 0, 1), a.shape[:-1])
    return EighResult(values, graph.slice_axis(pair, row, min(1, n), n))


@numpy_function(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Node:
    values: Node = eigh(a, UPLO).eigenvalues
    return values


def least_squares(a: Node, b: Node) -> Node:
    """For matrices of full column rank: by the normal equations, and once more for what they left."""
    up = graph.matrix_transpose(a)
    normal = graph.matmul(up, a)
    x = along_last("solve", normal, graph.matmul(up, b))
    return x + along_last("solve", normal, graph.matmul(up, b - graph.matmul(a, x)))


@numpy_function(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Node, Node, int, Node]:
    a, b = map(as_count, operands(a, b))
    if a.ndim != 2 or b.ndim not in (1, 2) or a.shape[0] != b.shape[0]:
        raise shape_error(f"lstsq: shapes {a.shape} and {b.shape} do not fit", "two axes, and as many rows")
    m, n = a.shape
    if m < n:
        raise shape_error(f"lstsq: {n} unknowns and {m} equations", "add rows such as a small multiple of np.eye(n)")
    right = graph.reshape(b, (m, b.size // m if m else 1)) if b.ndim == 1 else b
    x = least_squares(a, right)
    left = right - graph.matmul(a, x)
    residuals = graph.reduction("sum", left * left, [0])
    if m == n:
        residuals = graph.slice_axis(residuals, 0, 0, 0)
    squares = along_last("eigh", graph.matmul(graph.matrix_transpose(a), a))  # of the singular values, if asked for
    squares = graph.reshape(graph.slice_axis(squares, 0, 0, 1), (n,))
    singular = graph.sqrt(flipped(elementwise("maximum", squares, 0.0)))
    return graph.reshape(x, (n,)) if b.ndim == 1 else x, residuals, n, singular


@numpy_function(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Node:
    """For matrices of full rank."""
    refuse(rcond=rcond, rtol=rtol)
    a = as_count(as_node(a))
    if a.ndim < 2:
        raise shape_error(f"pinv of an array of shape {a.shape}", "it must have two axes")
    if a.shape[-2] < a.shape[-1]:
        return graph.matrix_transpose(pinv(graph.matrix_transpose(a)))
    m = a.shape[-2]
    unit = a.builder.constant(np.eye(m, dtype=a.dtype))
    return least_squares(a, graph.broadcast(unit, (*a.shape[:-2], m, m)))
