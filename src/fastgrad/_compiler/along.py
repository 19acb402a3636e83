"""Operations on the last axes of nodes: running sums, sorting, elements by number, linear systems.

Each works one by one for every position of the leading axes, which its operands share; so a batch is one more leading
axis. graph.py lists them; here are the shapes of their results and what is made of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .graph import INFER, Inferred, Node, Shape, broadcast, full_slices, slices


def _infer(shape_of: Callable[..., Shape], *ranks: int) -> Callable[[tuple[Node, ...], Any], Inferred]:
    """For operations on the last axes, so many of each operand; `shape_of` what is left of their shapes gives."""

    def infer(inputs: tuple[Node, ...], attributes: Any) -> Inferred:
        first, leads = inputs[0], [x.shape[: len(x.shape) - n] for x, n in zip(inputs, ranks, strict=True)]
        cores = [x.shape[len(x.shape) - n :] for x, n in zip(inputs, ranks, strict=True)]
        fits = all(lead == leads[0] and len(core) == n for lead, core, n in zip(leads, cores, ranks, strict=True))
        if not fits or any(x.dtype is not first.dtype for x in inputs):
            raise AssertionError(f"operands of unlike shapes or dtypes: {inputs}")
        return (*leads[0], *shape_of(*cores, attributes)), first.dtype, False

    return infer


def _square(a: Shape) -> int:
    if a[0] != a[1]:
        raise AssertionError(f"a matrix that is not square: {a}")
    return a[0]


INFER |= {
    **dict.fromkeys(["cumsum", "cumprod", "cummax", "cummin"], _infer(lambda a, _: a, 1)),
    "recurrence": _infer(lambda a, b, _: np.broadcast_shapes(a, b), 1, 1),
    "sort_pairs": _infer(lambda a, _: (2, *a), 1),
    "take_along": _infer(lambda a, p, _: p, 1, 1),
    "put_along": _infer(lambda a, p, n: (n,), 1, 1),
    **dict.fromkeys(["search_left", "search_right"], _infer(lambda a, b, _: b, 1, 1)),
    **dict.fromkeys(["solve", "solve_lower"], _infer(lambda a, b, _: (_square(a), b[1]), 2, 2)),
    "det": _infer(lambda a, _: (_square(a),)[:0], 2),
    "slogdet": _infer(lambda a, _: (2 + 0 * _square(a),), 2),
    "cholesky": _infer(lambda a, _: (_square(a),) * 2, 2),
    "eigh": _infer(lambda a, _: (_square(a) + 1, a[1]), 2),
}


# ---- functions of nodes


def along_last(op: str, *operands: Node, attributes: Any = ()) -> Node:
    """An operation on the last axes of nodes of equal leading axes."""
    return operands[0].builder.make(op, operands, attributes)


def flipped(a: Node, *axes: int) -> Node:
    """`a` backwards along axes counted from the end, the last by default."""
    spec = list(full_slices(a.shape))
    for axis in axes or (-1,):
        n = a.shape[axis]
        spec[axis] = (n - 1, n, -1) if n > 1 else (0, n, 1)
    return slices(a, tuple(spec))


def identity(like: Node) -> Node:
    """Unit matrices of the shape and dtype of square matrices."""
    return broadcast(like.builder.constant(np.eye(like.shape[-1], dtype=like.dtype)), like.shape)


def solve_upper(a: Node, b: Node) -> Node:
    """Solutions of a x = b for the upper triangle of `a`: backwards it is a lower one."""
    return flipped(along_last("solve_lower", flipped(a, -2, -1), flipped(b, -2)), -2)
