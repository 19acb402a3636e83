"""Sums over the lanes of a batch: which matrix products they are, so that no lane has to hold a product of its own.

The gradient of a weight matrix is, for one instance, the product of a column and a row. Summed over lanes it is a
product of two matrices, with the lanes among what is summed over: `lane_matmul`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from .graph import Node, without_unit_axes
from .storage import MAX_DIMS, Tape, View, fresh, merged


class Product(NamedTuple):
    """A product that is summed over lanes."""

    names: list[Node]  # it, and what only moves or converts its elements: nothing else needs them
    left: Node
    right: Node
    cut: int | None  # of an outer product: the first of the axes that belong to the right factor
    is_turned: bool  # the sum is that of its transpose


def product_of(total: Node, uses: Mapping[Node, int], on_lanes: Collection[Node]) -> Product | None:
    """The product of lane values that a sum over lanes adds up, if that is what it does."""
    (x,), names, is_turned = total.inputs, [], False
    while uses[x] == 1 and x in on_lanes and x.size > 1:
        names.append(x)
        if x.op == "cast" or (x.op == "reshape" and (not is_turned or _moves_nothing(x))):
            x = x.inputs[0]
        elif x.op == "transpose" and len(without_unit_axes(x.shape)) <= 2:
            moving = [axis for axis in x.attributes if x.inputs[0].shape[axis] != 1]
            is_turned ^= moving != sorted(moving)
            x = x.inputs[0]
        elif x.op in ("matmul", "multiply") and x.inputs[0] in on_lanes and x.inputs[1] in on_lanes:
            left, right = x.inputs
            if x.op == "matmul":
                return Product(names, left, right, None, is_turned) if math.prod(x.shape[:-2]) == 1 else None
            for a, b in ((left, right), (right, left)):
                of_a, of_b = _varying(a), _varying(b)
                if of_a and of_b and of_a[-1] < of_b[0]:
                    return Product(names, a, b, of_b[0], is_turned)
            return None
        else:
            return None
    return None


def _moves_nothing(x: Node) -> bool:
    return without_unit_axes(x.shape) == without_unit_axes(x.inputs[0].shape)


def _varying(x: Node) -> list[int]:
    """The axes along which a value may differ."""
    core = x.inputs[0].shape if x.op == "broadcast" else x.shape
    first = x.ndim - len(core)
    return [axis for axis, n in enumerate(core, first) if n != 1]


def emit_sum(tape: Tape, out: View, view: View) -> None:
    """The sum over lanes of any value."""
    if not view.storage.is_lane or len(merged(view.shape, (view.strides,))[0]) > MAX_DIMS:
        view = _copied(tape, view)
    tape.emit("lane_sum", out, view)


def emit_product(tape: Tape, out: View, product: Product, left: View, right: View) -> None:
    """The sum over lanes of a product."""
    if product.cut is None:
        a, b = [_matrix(tape, x, x.shape[-2:]) for x in (left, right)]
    else:
        n = product.cut
        a, b = [
            View(x.storage, x.offset, x.shape[part], x.strides[part])
            for x, part in ((left, slice(n)), (right, slice(n, None)))
        ]
        a, b = _matrix(tape, a, (math.prod(a.shape), 1)), _matrix(tape, b, (1, math.prod(b.shape)))
    a, b = [_converted(tape, x, out.storage.dtype) for x in (a, b)]
    if product.is_turned:
        a, b = b.transposed((1, 0)), a.transposed((1, 0))
    (m, k), n = a.shape, b.shape[1]
    if m and n:
        strides = ((n, 1, 0), (a.strides[0], 0, a.strides[1]), (0, b.strides[1], b.strides[0]))
        tape.append("lane_matmul", (m, n, k), (out, a, b), strides)


def _matrix(tape: Tape, view: View, shape: tuple[int, ...]) -> View:
    matrix = view.reshaped(shape) or _copied(tape, view).reshaped(shape)
    assert matrix is not None
    return matrix


def _converted(tape: Tape, view: View, dtype: str) -> View:
    """The factors of a product in the dtype of its sum: far fewer elements than the product has."""
    if view.storage.dtype == dtype:
        return view
    converted = fresh(dtype, True, view.shape)
    tape.emit("cast", converted, view)
    return converted


def _copied(tape: Tape, view: View) -> View:
    copy = fresh(view.storage.dtype, True, view.shape)
    tape.emit("copy", copy, view)
    return copy
