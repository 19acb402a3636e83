"""The table of derivatives. Autodiff reads it; adding an operation means adding one line here.

`PARTIALS` holds, for each elementwise operation, the partial derivatives by each operand as a function of
the operands and the result. Forward and reverse mode both use it. `PULLBACKS` holds the operations that move
or combine elements, and the two whose derivative selects: each takes an adjoint of the result back to one
contribution per operand. In forward mode those in `LINEAR` are applied to the tangents; `PUSHFORWARDS` has the rest.
rules_along.py has those of the operations on the last axes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from . import rules_along
from .graph import (
    Frozen,
    Node,
    Operand,
    Slices,
    broadcast,
    cast,
    concatenate,
    copysign,
    cos,
    cosh,
    digamma,
    elementwise,
    equal,
    exp,
    filled,
    floor_divide,
    full_slices,
    gate,
    gather,
    greater,
    hypot,
    index_add,
    isfinite,
    isnan,
    less,
    log,
    logical_or,
    matmul,
    matrix_transpose,
    multiply_guarded,
    not_equal,
    power,
    reduction,
    reshape,
    rint,
    sigmoid,
    sign,
    sin,
    sinh,
    slice_axis,
    slices,
    spread,
    sqrt,
    transpose,
    trigamma,
    uniform,
    where,
    zeta,
)

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)

Partial = Operand | None  # None: the derivative is zero everywhere


def _power_by_base(x: Node, n: Node) -> Node:
    constant = uniform(n)
    if constant is not None:
        return constant * power(x, constant - 1) if constant else filled(x, 0.0)
    # x**0 is 1 everywhere, also at x = 0 where 0 * 0**-1 would be NaN
    return n * power(x, where(equal(n, 0.0), 1.0, n - 1))


def _power_by_exponent(x: Node, y: Node) -> Node:
    return y * log(where(equal(x, 0.0), 1.0, x))  # 0**n is flat in n > 0; no log(0)


def _weight(a: Node, b: Node) -> Node:
    """d logaddexp(a, b) / da = sigmoid(a - b), which is 1/2 for equal infinities."""
    if any(math.isfinite(c) for c in (uniform(a), uniform(b)) if c is not None):
        return sigmoid(a - b)
    return sigmoid(where(logical_or(isfinite(a), not_equal(a, b)), a - b, 0.0))


def _by_distance(a: Node, y: Node) -> Node:
    """a / y for the distance y of a point from 0, which has the subgradient 0 there."""
    return a / where(equal(y, 0.0), 1.0, y)


def _turn(a: Node, b: Node) -> tuple[Partial, ...]:
    """Of the angle of (b, a): their distance from 0 neither over- nor underflows, as its square would."""
    y = hypot(a, b)
    return (b / y) / y, -((a / y) / y)


def _chosen(a: Node, b: Node, wins: Node) -> Node:
    """1 where fmax or fmin is `a`: it wins, or b is NaN; half at a tie."""
    return where(equal(a, b), 0.5, logical_or(wins, isnan(b)))


# at a tie, maximum and minimum share the adjoint: half to each
PARTIALS: dict[str, Callable[..., tuple[Partial, ...]]] = {
    "copy": lambda a, y: (1.0,),
    "negative": lambda a, y: (-1.0,),
    "add": lambda a, b, y: (1.0, 1.0),
    "subtract": lambda a, b, y: (1.0, -1.0),
    "multiply": lambda a, b, y: (b, a),
    "divide": lambda a, b, y: (1 / b, -(y / b)),
    "power": lambda x, n, y: (_power_by_base(x, n), _power_by_exponent(x, y)),
    "multiply_add": lambda a, b, c, y: (b, a, 1.0),
    "multiply_subtract": lambda a, b, c, y: (b, a, -1.0),
    "negative_multiply_add": lambda a, b, c, y: (-b, -a, 1.0),
    "negative_multiply": lambda a, b, y: (-b, -a),
    "less": lambda a, b, y: (None, None),
    "less_equal": lambda a, b, y: (None, None),
    "greater": lambda a, b, y: (None, None),
    "greater_equal": lambda a, b, y: (None, None),
    "equal": lambda a, b, y: (None, None),
    "not_equal": lambda a, b, y: (None, None),
    "logical_and": lambda a, b, y: (None, None),
    "logical_or": lambda a, b, y: (None, None),
    "logical_not": lambda a, y: (None,),
    "isnan": lambda a, y: (None,),
    "isfinite": lambda a, y: (None,),
    "maximum": lambda a, b, y: (where(equal(a, b), 0.5, greater(a, b)), where(equal(a, b), 0.5, less(a, b))),
    "minimum": lambda a, b, y: (where(equal(a, b), 0.5, less(a, b)), where(equal(a, b), 0.5, greater(a, b))),
    "fmax": lambda a, b, y: (_chosen(a, b, greater(a, b)), _chosen(b, a, greater(b, a))),
    "fmin": lambda a, b, y: (_chosen(a, b, less(a, b)), _chosen(b, a, less(b, a))),
    "floor": lambda a, y: (None,),
    "ceil": lambda a, y: (None,),
    "trunc": lambda a, y: (None,),
    "rint": lambda a, y: (None,),
    "fmod": lambda a, b, y: (1.0, rint((y - a) / b)),  # not -trunc(a / b), whose quotient may round up to a whole one
    "remainder": lambda a, b, y: (1.0, -floor_divide(a, b)),
    "floor_divide": lambda a, b, y: (None, None),
    "copysign": lambda a, b, y: (sign(a) * copysign(1.0, b), None),
    "absolute": lambda a, y: (sign(a),),
    "sign": lambda a, y: (None,),
    "sqrt": lambda a, y: (0.5 / y,),
    "cbrt": lambda a, y: (1 / (3.0 * (y * y)),),
    "hypot": lambda a, b, y: (_by_distance(a, y), _by_distance(b, y)),
    "exp": lambda a, y: (y,),
    "exp2": lambda a, y: (math.log(2) * y,),
    "expm1": lambda a, y: (y + 1,),
    "log": lambda a, y: (1 / a,),
    "log2": lambda a, y: (1 / math.log(2) / a,),
    "log10": lambda a, y: (1 / math.log(10) / a,),
    "log1p": lambda a, y: (1 / (1 + a),),
    "sin": lambda a, y: (cos(a),),
    "cos": lambda a, y: (-sin(a),),
    "tan": lambda a, y: (1 + y * y,),
    "arcsin": lambda a, y: (1 / sqrt((1 - a) * (1 + a)),),
    "arccos": lambda a, y: (-1 / sqrt((1 - a) * (1 + a)),),
    "arctan": lambda a, y: (1 / (1 + a * a),),
    "arctan2": lambda a, b, y: _turn(a, b),
    "sinh": lambda a, y: (cosh(a),),
    "cosh": lambda a, y: (sinh(a),),
    "tanh": lambda a, y: (1 - y * y,),
    "arcsinh": lambda a, y: (1 / hypot(1.0, a),),
    "arccosh": lambda a, y: (1 / (sqrt(a - 1) * sqrt(a + 1)),),
    "arctanh": lambda a, y: (1 / ((1 - a) * (1 + a)),),
    "sigmoid": lambda a, y: (y * (1 - y),),
    "softplus": lambda a, y: (sigmoid(a),),
    "logaddexp": lambda a, b, y: (_weight(a, b), _weight(b, a)),
    "erf": lambda a, y: (TWO_OVER_ROOT_PI * exp(-(a * a)),),
    "erfc": lambda a, y: (-TWO_OVER_ROOT_PI * exp(-(a * a)),),
    "erfcx": lambda a, y: (2.0 * a * y - TWO_OVER_ROOT_PI,),
    "gammaln": lambda a, y: (digamma(a),),
    "digamma": lambda a, y: (trigamma(a),),
    "trigamma": lambda a, y: (-2.0 * zeta(3.0, a),),
    "zeta": lambda s, q, y: (None, -(s * zeta(s + 1.0, q))),  # s is never traced
}


# ---- contributions that touch a part of an operand only; autodiff gathers them without filling whole arrays


class Sliced(NamedTuple):
    """An adjoint for a slice of the operand."""

    spec: Slices
    value: Node


class Picked(NamedTuple):
    """An adjoint for numbered elements of the operand."""

    table: Frozen
    value: Node


Contribution = Node | Sliced | Picked | None
Times = Callable[[Node, Node], Node]  # multiply, or multiply_guarded where a branch may not be taken


def _sum(g: Node, times: Times, y: Node, a: Node) -> tuple[Contribution, ...]:
    return (spread(g, y.attributes, a.shape),)


def _dot(g: Node, times: Times, y: Node, a: Node, b: Node) -> tuple[Contribution, ...]:
    g = spread(g, y.attributes, a.shape)
    return times(g, b), times(g, a)


def _extreme(g: Node, times: Times, y: Node, a: Node) -> tuple[Contribution, ...]:
    """Equal shares among the elements that attain the maximum or minimum."""
    axes = y.attributes
    attained = equal(a, spread(y, axes, a.shape))
    share = attained / spread(reduction("sum", attained, axes), axes, a.shape)
    return (times(spread(g, axes, a.shape), share),)


def _prod(g: Node, times: Times, y: Node, a: Node) -> tuple[Contribution, ...]:
    """Each element's adjoint is the product of the others: by a tree, not a division, for the zeros."""
    axes = y.attributes
    kept = [axis for axis in range(a.ndim) if axis not in axes]
    order = (*kept, *axes)
    moved = transpose(a, order)
    level = reshape(moved, (*y.shape, math.prod(a.shape[axis] for axis in axes)))
    last = level.ndim - 1
    levels = []
    while level.shape[last] > 1:
        n = level.shape[last]
        if n % 2:  # a one more, so that all elements pair up
            one = broadcast(a.builder.scalar(1.0, a.dtype), (*y.shape, 1))
            level = concatenate([level, one], last)
        left, right = (slice_axis(level, last, start, (n + 1) // 2, 2) for start in (0, 1))
        levels.append((n, left, right))
        level = left * right
    others = broadcast(reshape(g, (*y.shape, 1)), (*y.shape, level.shape[last]))
    for n, left, right in reversed(levels):
        both = broadcast(a.builder.scalar(0.0, a.dtype), (*y.shape, n + n % 2))
        for start, sibling in ((0, right), (1, left)):
            spec = (*full_slices(y.shape), (start, sibling.shape[last], 2))
            both = index_add(both, spec, times(others, sibling))
        others = slice_axis(both, last, 0, n)
    return (transpose(reshape(others, moved.shape), np.argsort(order).tolist()),)


def _matmul(g: Node, times: Times, y: Node, a: Node, b: Node) -> tuple[Contribution, ...]:
    if times is multiply_guarded:  # term by term: in a sum of products nothing could be told apart any more
        rows, columns, lead = y.ndim - 2, y.ndim - 1, y.shape[:-2]
        terms = (*lead, *y.shape[-2:], a.shape[-1])
        each = broadcast(reshape(g, (*y.shape, 1)), terms)
        left = broadcast(reshape(a, (*lead, a.shape[-2], 1, a.shape[-1])), terms)
        right = broadcast(reshape(matrix_transpose(b), (*lead, 1, b.shape[-1], b.shape[-2])), terms)
        to_a, to_b = reduction("sum", times(each, right), [columns]), reduction("sum", times(each, left), [rows])
        return to_a, matrix_transpose(to_b)
    return matmul(g, matrix_transpose(b)), matmul(matrix_transpose(a), g)


def _broadcast(g: Node, times: Times, y: Node, a: Node) -> tuple[Contribution, ...]:
    n_new = y.ndim - a.ndim
    stretched = [axis for axis in range(y.ndim) if axis < n_new or a.shape[axis - n_new] != y.shape[axis]]
    factors, rest = _split(g, stretched) if stretched else ([], g)
    total = reshape(reduction("sum", rest, stretched), a.shape)
    for op, factor in factors:
        first = tuple([(0, 1, 1) if i in stretched else (0, n, 1) for i, n in enumerate(factor.shape)])
        total = elementwise(op, total, reshape(slices(factor, first), a.shape))
    return (total,)


MOST_SPLIT = 6  # products within each other


def _split(g: Node, axes: Sequence[int], depth: int = MOST_SPLIT) -> tuple[list[tuple[str, Node]], Node]:
    """Factors and divisors of `g` that are the same all along `axes`, and what is left: a sum multiplies by them once,
    and sums that share the rest share its elements."""
    if g.op not in ("multiply", "divide") or not depth:
        return [], g
    a, b = g.inputs
    if _is_same_along(b, axes):
        factors, rest = _split(a, axes, depth - 1)
        return [*factors, (g.op, b)], rest
    if g.op == "divide":
        factors, rest = _split(a, axes, depth - 1)
        return (factors, rest / b) if factors else ([], g)
    if _is_same_along(a, axes):
        factors, rest = _split(b, axes, depth - 1)
        return [*factors, ("multiply", a)], rest
    (of_a, rest_a), (of_b, rest_b) = _split(a, axes, depth - 1), _split(b, axes, depth - 1)
    return ([*of_a, *of_b], rest_a * rest_b) if of_a or of_b else ([], g)


def _is_same_along(x: Node, axes: Sequence[int]) -> bool:
    if x.op != "broadcast":
        return x.number is not None
    n_new, core = x.ndim - x.inputs[0].ndim, x.inputs[0].shape
    return all(axis < n_new or core[axis - n_new] == 1 for axis in axes)


def _concatenate(g: Node, times: Times, y: Node, *parts: Node) -> tuple[Contribution, ...]:
    axis, start, pieces = y.attributes, 0, []
    for part in parts:
        pieces.append(slice_axis(g, axis, start, part.shape[axis]))
        start += part.shape[axis]
    return tuple(pieces)


def _where(g: Node, times: Times, y: Node, condition: Node, a: Node, b: Node) -> tuple[Contribution, ...]:
    # a selection, not a product with 0 and 1: whatever g is, nothing reaches the branch not taken
    return None, where(condition, g, 0.0), where(condition, 0.0, g)


PULLBACKS: dict[str, Callable[..., Sequence[Contribution]]] = {
    "sum": _sum,
    "prod": _prod,
    "max": _extreme,
    "min": _extreme,
    "dot": _dot,
    "matmul": _matmul,
    "where": _where,
    # the product of an adjoint a and a derivative b, in a branch that may not be taken: a = 0 says it is not
    "multiply_guarded": lambda g, times, y, a, b: (multiply_guarded(g, b), multiply_guarded(a, g)),
    # likewise, by the sign of what went forward or of what came out, which then need not both be kept
    "relu": lambda g, times, y, a: (gate(g, y),),
    "gate": lambda g, times, y, a, b: (gate(g, b), None),
    "cast": lambda g, times, y, a: (cast(g, a.dtype),),
    "reshape": lambda g, times, y, a: (reshape(g, a.shape),),
    "transpose": lambda g, times, y, a: (transpose(g, np.argsort(y.attributes).tolist()),),
    "broadcast": _broadcast,
    "slice": lambda g, times, y, a: (Sliced(y.attributes, g),),
    "index_add": lambda g, times, y, base, value: (g, slices(g, y.attributes)),
    "gather": lambda g, times, y, a: (Picked(y.attributes[0], g),),
    "scatter_add": lambda g, times, y, a: (gather(g, y.attributes[0], a.shape),),
    "concatenate": _concatenate,
    **rules_along.PULLBACKS,
    "stop_gradient": lambda g, times, y, a: (None,),
}

# operations whose rule takes trouble for each operand: it is told which are `wanted`
COSTLY: set[str] = set()


# ---- forward mode

# linear in all operands together: the tangent is the operation on the tangents
LINEAR = frozenset(
    ["sum", "cast", "reshape", "transpose", "broadcast", "slice", "index_add", "gather", "scatter_add", "concatenate"]
) | {"cumsum"}

Tangents = Sequence[Node | None]  # of the operands, None for zero


def _push_product(node: Node, tangents: Tangents) -> Node | None:
    """A product of two operands, linear in each: one after the other is replaced by its tangent."""
    total: Node | None = None
    for i, t in enumerate(tangents):
        if t is not None:
            operands = (t, node.inputs[1]) if i == 0 else (node.inputs[0], t)
            term = node.builder.make(node.op, operands, node.attributes)
            total = term if total is None else total + term
    return total


def _push_reduction(node: Node, tangents: Tangents) -> Node | None:
    """The sum over the reduced elements of their derivatives times their tangents."""
    (a,), (t,) = node.inputs, tangents
    (local,) = PULLBACKS[node.op](filled(node, 1.0), operator.mul, node, a)
    assert isinstance(local, Node)
    return None if t is None else reduction("sum", local * t, node.attributes)


def _push_where(node: Node, tangents: Tangents) -> Node | None:
    _, ta, tb = tangents
    if ta is None and tb is None:
        return None
    return where(node.inputs[0], 0.0 if ta is None else ta, 0.0 if tb is None else tb)


PUSHFORWARDS: dict[str, Callable[[Node, Tangents], Node | None]] = {
    "dot": _push_product,
    "matmul": _push_product,
    "multiply_guarded": _push_product,
    "prod": _push_reduction,
    "max": _push_reduction,
    "min": _push_reduction,
    "where": _push_where,
    "relu": lambda node, tangents: None if tangents[0] is None else gate(tangents[0], node),
    "gate": lambda node, tangents: None if tangents[0] is None else gate(tangents[0], node.inputs[1]),
    "stop_gradient": lambda node, tangents: None,
    **rules_along.PUSHFORWARDS,
}
