"""From checked arguments to what is summed along each axis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import is_integer
from . import tables
from .arguments import (
    MOST_ACCURACY,
    Boundary,
    Line,
    as_axes,
    as_boundaries,
    as_boundary,
    as_lines,
    as_lines_of_gradient,
    check_orders,
    check_points,
    even_step,
    factor_of,
    out_of_range,
)  # fmt: skip
from .tables import Term

MOST_REMEMBERED = 1024  # numbers of an array
_CONSTANTS = (int, float, bool, str, type(None))


class Numbers(NamedTuple):
    """The contents of an array, which are remembered instead of the array: that may change."""

    shape: tuple[int, ...]
    dtype: np.dtype
    content: bytes

    @staticmethod
    def of(value: Any) -> Any:
        """What stands for an argument: for an array its numbers, for a tuple those of its arrays."""
        if type(value) is tuple:
            return tuple(map(Numbers.of, value))
        if type(value) is np.ndarray and value.dtype.kind in "iuf" and value.size <= MOST_REMEMBERED:
            return Numbers(value.shape, value.dtype, value.tobytes())
        return value

    @staticmethod
    def back(value: Any) -> Any:
        """The argument again."""
        if isinstance(value, Numbers):
            return np.frombuffer(value.content, value.dtype).reshape(value.shape)
        return tuple(map(Numbers.back, value)) if type(value) is tuple else value


def remembered(make: Callable[..., Sequence[Term]]) -> Callable[..., Sequence[Term]]:
    """A function whose results are remembered, unless an argument is a list, a large array or what else may change."""

    @functools.lru_cache(maxsize=256, typed=True)
    def known(*given: Any) -> Sequence[Term]:
        return make(*map(Numbers.back, given))

    @functools.wraps(make)
    def call(*given: Any) -> Sequence[Term]:
        if _is_constant(given):
            return known(*given)
        keys = Numbers.of(given)
        return known(*keys) if _is_constant(keys) else make(*given)

    return call


def _is_constant(value: Any) -> bool:
    """Whether a value means the same for ever: what can be hashed may still change, or make another array tomorrow."""
    kind = type(value)
    if kind is tuple:
        return all(map(_is_constant, value))
    return kind in _CONSTANTS or kind is Numbers or isinstance(value, (np.number, np.bool_))


@remembered
def terms_along(
    shape: tuple[int, ...], derivative: Any, axis: Any, accuracy: int, spacing: Any, coords: Any, boundary: Any
) -> Sequence[Term]:
    """What `diff` sums along each axis, one after another."""
    is_single = is_integer(axis)
    axes = as_axes(axis, len(shape))
    orders = [derivative] if is_single else derivative
    if not isinstance(orders, (tuple, list)) or len(orders) != len(axes) or not axes:
        raise ValueError(f"derivative is {derivative!r}, and axis {axis!r}\n  cure: pass one derivative for each axis")
    boundaries = [as_boundary(boundary)] if is_single else as_boundaries(boundary, len(axes))
    lines = as_lines(shape, axes, spacing, coords, boundaries, is_single)
    for order in orders:
        check_orders(order, accuracy)
    return tuple(
        _term(line, int(order), int(accuracy), int(accuracy), bound)
        for line, order, bound in zip(lines, orders, boundaries, strict=True)
    )


@remembered
def terms_of_gradient(
    shape: tuple[int, ...], axis: Any, spacing: tuple[Any, ...], edge_order: Any, accuracy: Any, boundary: Any
) -> Sequence[Term]:
    """What `gradient` sums along each axis."""
    axes = as_axes(axis, len(shape))
    edge = edge_order if edge_order is not None else 1 if accuracy is None else accuracy
    if not is_integer(edge) or not 1 <= edge <= MOST_ACCURACY:
        raise ValueError(f"edge_order is {edge!r}\n  cure: pass an integer from 1 to {MOST_ACCURACY}")
    accuracy = 2 if accuracy is None else accuracy
    check_orders(1, accuracy)
    boundaries = as_boundaries(boundary, len(axes))
    lines = as_lines_of_gradient(shape, axes, spacing, boundaries, 1 + max(accuracy, edge))
    pairs = zip(lines, boundaries, strict=True)
    return tuple(_term(line, 1, int(accuracy), int(edge), bound) for line, bound in pairs)


def _term(line: Line, derivative: int, accuracy: int, edge: int, boundary: Boundary) -> Term:
    """What is summed along a line for a derivative; `edge` is the accuracy near the ends."""
    what = f"derivative {derivative} of accuracy {accuracy}"
    step, table = (
        line.step,
        tables.central(derivative, accuracy, None if boundary.is_periodic or boundary.given else edge),
    )
    if line.coords is not None and boundary.given:
        raise ValueError(
            "coords are not evenly spaced, but given stencils count in steps\n  cure: boundary='one-sided'"
        )
    if boundary.is_periodic:
        if line.coords is not None and len(line.coords) > line.n:
            check_points(line, tables.uneven_width(derivative, accuracy), what + " on a circle")
            return Term(line.axis, _in_range(tables.uneven_circle(line.coords, derivative, accuracy), line, derivative))
        check_points(line, 2 * table.reach + 1, what + " on a circle")
        step = even_step(line, "a circle", "append the coordinate at which the first sample comes again")
    elif boundary.given:
        table = _with_ends(table, boundary.given, derivative, line)
    elif line.coords is not None:
        check_points(line, derivative + edge, what)
        return Term(line.axis, _in_range(tables.uneven(line.coords, derivative, accuracy, edge), line, derivative))
    else:
        check_points(line, derivative + edge, what)
        if line.n < 2 * table.reach + 1:
            return Term(line.axis, tables.neighbours(line.n, derivative, edge), factor_of(line, step, derivative))
    return Term(line.axis, table, factor_of(line, step, derivative))


def _in_range(rows: tables.Rows, line: Line, derivative: int) -> tables.Rows:
    """The rows of weights at coordinates, unless they are no numbers."""
    if line.coords is not None and not np.isfinite(rows.weights).all():
        raise out_of_range(line, float(np.median(np.abs(np.diff(line.coords)))), derivative)
    return rows


def _with_ends(
    table: tables.Stencil, given: tuple[np.ndarray, np.ndarray | None], derivative: int, line: Line
) -> tables.Stencil:
    head, tail = given
    tail = tables.mirrored(head, derivative) if tail is None else tail
    for name, block in (("boundary[0]", head), ("boundary[1]", tail)):
        if len(block) < table.reach:
            raise ValueError(
                f"{name} has {len(block)} rows, but {table.reach} points near each end need one at this accuracy\n"
                f"  cure: pass {table.reach} rows or more, or ask for less accuracy"
            )
    check_points(line, max(len(head) + len(tail), head.shape[1], tail.shape[1]), "a boundary of these stencils")
    return tables.Stencil(table.reach, table.weights, head / table.scale, tail / table.scale, table.scale)
