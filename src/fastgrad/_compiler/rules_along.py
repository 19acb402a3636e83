"""The table of derivatives, continued: operations on the last axes. rules.py says what it means, and takes it in.

Each rule is made of the same operations, so it can be differentiated again and works for any leading axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .along import along_last, flipped, identity, solve_upper
from .graph import (
    Node,
    broadcast,
    concatenate,
    equal,
    filled,
    greater,
    less,
    matmul,
    matrix_transpose,
    multiply_guarded,
    not_equal,
    reduction,
    reshape,
    slice_axis,
    spread,
    where,
)

Times = Callable[[Node, Node], Node]  # multiply, or multiply_guarded where a branch may not be taken
Results = tuple[Node | None, ...]  # a contribution for each operand
Tangents = Sequence[Node | None]  # of the operands, None for zero

# ---- along the last axis


def shifted(a: Node, first: float) -> Node:
    """Each element one place later along the last axis, and a number in front."""
    last = a.ndim - 1
    front = broadcast(a.builder.scalar(first, a.dtype), (*a.shape[:-1], min(1, a.shape[last])))
    return concatenate([front, slice_axis(a, last, 0, max(a.shape[last] - 1, 0))], last)


def _backwards(factor: Node, g: Node) -> Node:
    """s[i] = g[i] + factor[i+1] s[i+1]: what an adjoint at i gathers when factor[i] is d y[i] / d y[i-1]."""
    return flipped(along_last("recurrence", shifted(flipped(factor), 0.0), flipped(g)))


def _recurrence(g: Node, times: Times, y: Node, a: Node, b: Node) -> Results:
    s = _backwards(a, g)
    return times(s, shifted(y, 0.0)), s


def _cumprod(g: Node, times: Times, y: Node, a: Node) -> Results:
    """By the recurrence, not a division: for the zeros."""
    return (times(_backwards(a, g), shifted(y, 1.0)),)


def _share_taken(follows: Callable[[Node, Node], Node], y: Node, a: Node) -> Node:
    """How much of each running extreme is the new element's: all, nothing, or half at a tie."""
    last, n = a.ndim - 1, a.shape[-1]
    before, after = slice_axis(y, last, 0, n - 1), slice_axis(a, last, 1, n - 1)
    later = where(equal(before, after), 0.5, follows(after, before))
    one = broadcast(a.builder.scalar(1.0, a.dtype), (*a.shape[:-1], 1))
    return concatenate([one, later], last)


def _running_extreme(follows: Callable[[Node, Node], Node]) -> Callable[..., Results]:
    """As of a chain of maximum or minimum: at a tie half to the element and half to those before it."""

    def pull_back(g: Node, times: Times, y: Node, a: Node) -> Results:
        if a.shape[-1] < 2:
            return (g,)
        taken = _share_taken(follows, y, a)
        return (times(_backwards(1 - taken, g), taken),)

    return pull_back


def _sort_pairs(g: Node, times: Times, y: Node, a: Node) -> Results:
    row = y.ndim - 2
    values, order = (reshape(slice_axis(x, row, i, 1), a.shape) for x, i in ((g, 0), (y, 1)))
    return (along_last("put_along", values, order, attributes=a.shape[-1]),)


# ---- matrices


def _taken(g: Node, times: Times, n_axes: int) -> Callable[[Node], Node]:
    """Zero in place of what was made from an adjoint of zeros, in a branch that may not be taken.

    What is singular there has solutions that are NaN, whatever the right side.
    """
    if times is not multiply_guarded:
        return lambda x: x
    kept = g.ndim - n_axes
    some = reduction("max", not_equal(g, 0.0), range(kept, g.ndim))
    return lambda x: where(spread(some, range(kept, x.ndim), x.shape), x, 0.0)


def _lower(a: Node, diagonal: float = 1.0) -> Node:
    """The lower triangle of matrices, its diagonal times a number, zeros above."""
    n = a.shape[-1]
    mask = a.builder.constant(np.tril(np.ones((n, n), a.dtype), -1) + diagonal * np.eye(n, dtype=a.dtype))
    return where(broadcast(not_equal(mask, 0.0), a.shape), a * mask, 0.0)


def _in_lower(s: Node) -> Node:
    """An adjoint of symmetric matrices as one of the lower triangle, all that is read of them."""
    return _lower(s + matrix_transpose(s), 0.5)


def _solve(g: Node, times: Times, y: Node, a: Node, b: Node) -> Results:
    taken = _taken(g, times, 2)
    to_b = along_last("solve", matrix_transpose(a), g)
    return taken(-matmul(to_b, matrix_transpose(y))), taken(to_b)


def _solve_lower(g: Node, times: Times, y: Node, a: Node, b: Node) -> Results:
    taken = _taken(g, times, 2)
    to_b = solve_upper(matrix_transpose(a), g)
    return taken(_lower(-matmul(to_b, matrix_transpose(y)))), taken(to_b)


def _inverse_transposed(a: Node) -> Node:
    return along_last("solve", matrix_transpose(a), identity(a))


def _det(g: Node, times: Times, y: Node, a: Node) -> Results:
    axes = (a.ndim - 2, a.ndim - 1)
    return (times(spread(g, axes, a.shape), spread(y, axes, a.shape) * _inverse_transposed(a)),)


def _slogdet(g: Node, times: Times, y: Node, a: Node) -> Results:
    logarithm = reshape(slice_axis(g, g.ndim - 1, 1, 1), g.shape[:-1])
    return (times(spread(logarithm, (a.ndim - 2, a.ndim - 1), a.shape), _inverse_transposed(a)),)


def _cholesky(g: Node, times: Times, y: Node, a: Node) -> Results:
    up = matrix_transpose(y)
    middle = _lower(matmul(up, _lower(g)), 0.5)
    left = solve_upper(up, middle)  # L^-T P
    return (_taken(g, times, 2)(_in_lower(matrix_transpose(solve_upper(up, matrix_transpose(left))))),)


def _inverse_gaps(y: Node, a: Node) -> Node:
    """1 / (w[j] - w[i]) for the eigenvalues w; zero where they are equal."""
    values = slice_axis(y, a.ndim - 2, 0, 1)
    gap = broadcast(values, a.shape) - broadcast(matrix_transpose(values), a.shape)
    apart = not_equal(gap, 0.0)
    return where(apart, 1 / where(apart, gap, 1.0), 0.0)


def _eigh(g: Node, times: Times, y: Node, a: Node) -> Results:
    """Between equal eigenvalues the vectors have no derivative: zero stands for it."""
    row, n = a.ndim - 2, a.shape[-1]
    vectors = slice_axis(y, row, 1, n)
    to_values, to_vectors = slice_axis(g, row, 0, 1), slice_axis(g, row, 1, n)
    up = matrix_transpose(vectors)
    turns = times(matmul(up, to_vectors), _inverse_gaps(y, a))
    middle = turns + identity(a) * broadcast(to_values, a.shape)
    return (_taken(g, times, 2)(_in_lower(matmul(matmul(vectors, middle), up))),)


PULLBACKS: dict[str, Callable[..., Results]] = {
    "cumsum": lambda g, times, y, a: (flipped(along_last("cumsum", flipped(g))),),
    "cumprod": _cumprod,
    "cummax": _running_extreme(greater),
    "cummin": _running_extreme(less),
    "recurrence": _recurrence,
    "sort_pairs": _sort_pairs,
    "take_along": lambda g, times, y, a, p: (along_last("put_along", g, p, attributes=a.shape[-1]), None),
    "put_along": lambda g, times, y, a, p: (along_last("take_along", g, p), None),
    "search_left": lambda g, times, y, a, b: (None, None),
    "search_right": lambda g, times, y, a, b: (None, None),
    "solve": _solve,
    "solve_lower": _solve_lower,
    "det": _det,
    "slogdet": _slogdet,
    "cholesky": _cholesky,
    "eigh": _eigh,
}


# ---- forward mode


def _slot(t: Node | None, like: Node) -> Node:
    return filled(like, 0.0) if t is None else t


def _push_recurrence(node: Node, tangents: Tangents) -> Node:
    (a, b), (ta, tb) = node.inputs, tangents
    to_add = _slot(tb, b)
    if ta is not None:
        to_add = to_add + ta * shifted(node, 0.0)
    return along_last("recurrence", a, to_add)


def _push_cumprod(node: Node, tangents: Tangents) -> Node | None:
    (a,), (t,) = node.inputs, tangents
    return None if t is None else along_last("recurrence", a, t * shifted(node, 1.0))


def _push_running_extreme(follows: Callable[[Node, Node], Node]) -> Callable[[Node, Tangents], Node | None]:
    def push(node: Node, tangents: Tangents) -> Node | None:
        (a,), (t,) = node.inputs, tangents
        if t is None or a.shape[-1] < 2:
            return t
        taken = _share_taken(follows, node, a)
        return along_last("recurrence", 1 - taken, t * taken)

    return push


def _push_sort_pairs(node: Node, tangents: Tangents) -> Node | None:
    (t,) = tangents
    if t is None:
        return None
    row = node.ndim - 2
    order = reshape(slice_axis(node, row, 1, 1), t.shape)
    values = reshape(along_last("take_along", t, order), (*t.shape[:-1], 1, t.shape[-1]))
    return concatenate([values, filled(values, 0.0)], row)


def _push_first(node: Node, tangents: Tangents) -> Node | None:
    """Linear in the first operand; numbers of elements have no derivative."""
    t = tangents[0]
    return None if t is None else along_last(node.op, t, node.inputs[1], attributes=node.attributes)


def _push_solve(triangle: Callable[[Node], Node]) -> Callable[[Node, Tangents], Node]:
    def push(node: Node, tangents: Tangents) -> Node:
        (a, b), (ta, tb) = node.inputs, tangents
        right = _slot(tb, b)
        if ta is not None:
            right = right - matmul(triangle(ta), node)
        return along_last(node.op, a, right)

    return push


def _push_det(node: Node, tangents: Tangents) -> Node | None:
    (a,), (t,) = node.inputs, tangents
    return None if t is None else node * reduction("sum", _inverse_transposed(a) * t, (a.ndim - 2, a.ndim - 1))


def _push_slogdet(node: Node, tangents: Tangents) -> Node | None:
    (a,), (t,) = node.inputs, tangents
    if t is None:
        return None
    logarithm = reduction("sum", _inverse_transposed(a) * t, (a.ndim - 2, a.ndim - 1))
    logarithm = reshape(logarithm, (*node.shape[:-1], 1))
    return concatenate([filled(logarithm, 0.0), logarithm], node.ndim - 1)


def _from_lower(t: Node) -> Node:
    """The tangent of symmetric matrices of which the lower triangle is read."""
    low = _lower(t, 0.5)
    return low + matrix_transpose(low)


def _push_cholesky(node: Node, tangents: Tangents) -> Node | None:
    (t,) = tangents
    if t is None:
        return None
    left = along_last("solve_lower", node, _from_lower(t))
    both = along_last("solve_lower", node, matrix_transpose(left))  # L^-1 S L^-T, which is symmetric
    return matmul(node, _lower(both, 0.5))


def _push_eigh(node: Node, tangents: Tangents) -> Node | None:
    (a,), (t,) = node.inputs, tangents
    if t is None:
        return None
    vectors = slice_axis(node, a.ndim - 2, 1, a.shape[-1])
    turned = matmul(matmul(matrix_transpose(vectors), _from_lower(t)), vectors)
    to_values = reduction("sum", turned * identity(a), (a.ndim - 2,))
    to_values = reshape(to_values, (*a.shape[:-2], 1, a.shape[-1]))
    return concatenate([to_values, matmul(vectors, turned * _inverse_gaps(node, a))], a.ndim - 2)


PUSHFORWARDS: dict[str, Callable[[Node, Tangents], Node | None]] = {
    "recurrence": _push_recurrence,
    "cumprod": _push_cumprod,
    "cummax": _push_running_extreme(greater),
    "cummin": _push_running_extreme(less),
    "sort_pairs": _push_sort_pairs,
    "take_along": _push_first,
    "put_along": _push_first,
    "search_left": lambda node, tangents: None,
    "search_right": lambda node, tangents: None,
    "solve": _push_solve(lambda t: t),
    "solve_lower": _push_solve(lambda t: _lower(t)),
    "det": _push_det,
    "slogdet": _push_slogdet,
    "cholesky": _push_cholesky,
    "eigh": _push_eigh,
}
