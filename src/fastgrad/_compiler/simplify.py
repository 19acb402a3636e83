"""Rewrites an expression into an equal one with less to compute, while its graph is made.

`RULES` is a table from an operation to functions that may give a better node for it; `Simplifier`, a builder, asks
them whenever a new expression is made, so what a rule returns is simplified in turn. Operands come first and are
already simple, so nothing is looked at twice and the time is linear. Functions are traced and differentiated in a
builder of this kind. Rewrites keep NaN and infinities (x * 0 stays), but may change the sign of a zero and the last
bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import leak_error
from . import graph
from .graph import ELEMENTWISE, Builder, Graph, Node, Slices

Rule = Callable[..., Node | None]
MAX_FOLDED = 1 << 16  # elements of a constant that may be computed while compiling


class Simplifier(Builder):
    """A builder that looks for a better node before it makes one."""

    def _new(self, op: str, inputs: tuple[Node, ...], attributes: Any) -> Node:
        first = inputs[0].op
        if first == "const" and all([x.op == "const" for x in inputs]):
            folded = _fold(self, op, inputs, attributes)
            if folded is not None:
                return folded
        elif (first == "broadcast" or first == "const") and op in ELEMENTWISE:
            smaller = _on_smaller_shape(self, op, inputs)
            if smaller is not None:
                return smaller
        for rule in RULES.get(op, ()):
            better = rule(*inputs) if op in ELEMENTWISE else rule(*inputs, attributes)
            if better is not None and better.is_bool == _is_bool(op, inputs):
                return better
        return Builder._new(self, op, inputs, attributes)


def simplify(source: Graph) -> Graph:
    """An equal graph in a builder of its own that simplifies."""
    return rebuild(source, Simplifier())


def rebuild(source: Graph, builder: Builder, make: Callable[..., Node] | None = None) -> Graph:
    """The graph with each node made again, operands first, by `make` or by the builder."""
    inputs = tuple([builder.input(x.shape, x.dtype, x.is_bool) for x in source.inputs])
    made = dict(zip(source.inputs, inputs, strict=True))
    for node in source.nodes:
        if node in made:
            continue
        if node.op == "const":
            made[node] = builder.constant(node.value, node.is_bool)
        elif node.op == "input":
            raise leak_error(f"the value of {source.name}")
        else:
            operands = tuple([made[x] for x in node.inputs])
            made[node] = make(node, operands) if make else builder.make(node.op, operands, node.attributes)
    return Graph(inputs, tuple([made[x] for x in source.outputs]), source.structure, source.name)


def _is_bool(op: str, inputs: tuple[Node, ...]) -> bool:
    """Whether the result of the operation holds truth values: x * 1 is a number even when x is not."""
    if op in graph.TRUTHS:
        return True
    if op in graph.KEEPS_TRUTH or op == "where" or (op in graph.INFER and op not in graph.NUMBERS):
        return all(x.is_bool for x in inputs[-2:])
    return False


# ---- constants

NUMPY: dict[str, Callable[..., Any]] = {
    name: getattr(np, name) for name in ELEMENTWISE if isinstance(getattr(np, name, None), np.ufunc)
} | {
    "copy": np.positive,
    "where": lambda c, a, b: np.where(c != 0, a, b),
    "multiply_add": lambda a, b, c: a * b + c,
    "multiply_subtract": lambda a, b, c: a * b - c,
    "negative_multiply_add": lambda a, b, c: c - a * b,
    "negative_multiply": lambda a, b: -(a * b),
    "multiply_guarded": lambda a, b: np.where(a == 0, 0, a * b),
    "relu": lambda a: np.where(a <= 0, 0, a),
    "gate": lambda a, b: np.where(b <= 0, 0, a),
    "softplus": lambda a: np.logaddexp(0.0, a),
    "sigmoid": lambda a: np.where(a < 0, np.exp(a) / (1 + np.exp(a)), 1 / (1 + np.exp(-a))),
}
STRUCTURAL: dict[str, Callable[..., Any]] = {
    "reshape": lambda a, shape: a.reshape(shape),
    "transpose": lambda a, permutation: a.transpose(permutation),
    "slice": lambda a, spec: a[_as_slices(spec)],
    "cast": lambda a, dtype: a.astype(dtype),
    "gather": lambda a, picked: a.ravel()[picked[0].array].reshape(picked[1]),
    "concatenate": lambda *args: np.concatenate(args[:-1], args[-1]),
    "sum": lambda a, axes: np.sum(a, axes),
    "prod": lambda a, axes: np.prod(a, axes),
    "max": lambda a, axes: np.max(a, axes),
    "min": lambda a, axes: np.min(a, axes),
    "cumsum": lambda a, _: np.cumsum(a, -1),
    "cumprod": lambda a, _: np.cumprod(a, -1),
    "cummax": lambda a, _: np.maximum.accumulate(a, -1),
    "cummin": lambda a, _: np.minimum.accumulate(a, -1),
    "take_along": lambda a, p, _: np.take_along_axis(
        a, np.where(p > 0, np.minimum(p, a.shape[-1] - 1), 0).astype(int), -1
    ),
}


def _as_slices(spec: Slices) -> tuple[slice, ...]:
    stops = [start + length * step for start, length, step in spec]
    return tuple(
        slice(start, stop if stop >= 0 else None, step) if length else slice(0, 0)
        for (start, length, step), stop in zip(spec, stops, strict=True)
    )


def _fold(builder: Builder, op: str, inputs: tuple[Node, ...], attributes: Any) -> Node | None:
    function = NUMPY.get(op) or STRUCTURAL.get(op)
    if function is None or not inputs or max(x.size for x in inputs) > MAX_FOLDED:
        return None
    arrays = [x.value for x in inputs]
    dtype, is_bool = inputs[0].dtype, _is_bool(op, inputs)
    with np.errstate(all="ignore"):
        if op in ELEMENTWISE:
            array = function(*arrays)
        else:
            array = function(*arrays, attributes)
            dtype = attributes if op == "cast" else dtype
    if array.size > max(MAX_FOLDED, *(x.size for x in inputs)):
        return None
    return builder.constant(np.array(array, dtype, order="C"), is_bool)


def _on_smaller_shape(builder: Builder, op: str, inputs: tuple[Node, ...]) -> Node | None:
    """An operation on nothing but broadcasts: do it before they are broadcast."""
    shape = inputs[0].shape
    if not shape:
        return None
    cores = []
    for x in inputs:
        if x.op == "broadcast":
            cores.append(x.inputs[0])
        elif x.op == "const" and x.size == 1:
            cores.append(x)
        else:
            return None
    core = np.broadcast_shapes(*[x.shape for x in cores])
    if math.prod(core) == math.prod(shape):
        return None
    return graph.broadcast(builder.make(op, tuple([graph.broadcast(x, core) for x in cores])), shape)


def _is_power_of_two(c: float) -> bool:
    return math.isfinite(c) and math.frexp(c)[0] in (0.5, -0.5)


# ---- arithmetic


def _inner(op: str, x: Node) -> Node | None:
    """The operand of `x` if it is this operation of one operand."""
    return x.inputs[0] if x.op == op else None


def _scaled(x: Node) -> tuple[float, Node] | None:
    """(c, y) when x is c * y with a finite number c; products keep their number on the left."""
    if x.op == "multiply":
        c = x.inputs[0].number
        if c is not None and math.isfinite(c):
            return c, x.inputs[1]
    return None


def _negative(a: Node) -> Node | None:
    if a.op == "negative":
        return a.inputs[0]
    return a.inputs[1] - a.inputs[0] if a.op == "subtract" else None


def _common_factor(a: Node, b: Node) -> tuple[float, Node, Node] | None:
    """(2, x, y) when a is 2 * x and b is 2 * y: 2 * (x + y) is as exact, and overflows no sooner."""
    if a.op == "multiply" and b.op == "multiply" and a.inputs[0].number == b.inputs[0].number == 2:
        return 2.0, a.inputs[1], b.inputs[1]
    return None


def _add(a: Node, b: Node) -> Node | None:
    for x, y in ((a, b), (b, a)):
        if x.number == 0:
            return y
        if y.op == "negative":
            return x - y.inputs[0]
        if y.op == "index_add" and y.inputs[0].number == 0:
            return graph.index_add(x, y.attributes, y.inputs[1])
    if a is b:
        return 2.0 * a
    common = _common_factor(a, b)
    return common[0] * (common[1] + common[2]) if common else None


def _subtract(a: Node, b: Node) -> Node | None:
    if b.number == 0:
        return a
    if a.number == 0:
        return -b
    if b.op == "negative":
        return a + b.inputs[0]
    if a.op == "negative":
        return -(a.inputs[0] + b)
    common = _common_factor(a, b)
    return common[0] * (common[1] - common[2]) if common else None


def _multiply(a: Node, b: Node) -> Node | None:
    c = a.number
    if c is None and b.number is not None:
        return b * a  # numbers to the left, where the rules look for them
    if c is not None:
        if c == 1:
            return b
        if c < 0:  # signs outwards, where sums take them up
            return -(-c * b)
        if b.op == "negative":
            return -(c * b.inputs[0])
        scaled = _scaled(b)
        if scaled and (_is_power_of_two(c) or _is_power_of_two(scaled[0])):
            product = c * scaled[0]
            if 1e-30 < abs(product) < 1e30:  # in range for float32 too
                return product * scaled[1]
        return None
    for x, y in ((a, b), (b, a)):
        if x.op == "negative":
            return -(x.inputs[0] * y)
        if x.op == "multiply" and x.inputs[0].number == 2:  # of derivatives of squares; others may be there to scale
            return 2.0 * (x.inputs[1] * y)
        if x.op == "divide":
            top, bottom = x.inputs
            if top.number == 1:
                return y / bottom
            quotient = a.builder.find("divide", (y, bottom))  # both adjoints of a quotient share one division
            if quotient is not None and y.id > top.id:  # one way only: the adjoint y is the newer
                return top * quotient
    return None


def _divide(a: Node, b: Node) -> Node | None:
    c = b.number
    if c == 1:
        return a
    if c is not None and _is_power_of_two(c) and abs(math.frexp(c)[1]) < 100:  # exact, in float32 too
        return (1 / c) * a
    if a.op == "negative":
        return -(a.inputs[0] / b)
    return -(a / b.inputs[0]) if b.op == "negative" else None


def _multiply_guarded(a: Node, b: Node) -> Node | None:
    c, local = a.number, b.number
    if c == 0:
        return a
    if c is not None or (local is not None and math.isfinite(local)):
        return a * b
    return None


def _where(condition: Node, a: Node, b: Node) -> Node | None:
    c = condition.number
    if c is not None:
        return a if c else b
    if a is b:
        return a
    if a.number == 0 and condition.op in ("less_equal", "greater_equal"):  # the other way round NaN would become 0
        x, y = condition.inputs[:: 1 if condition.op == "less_equal" else -1]
        if x is b and y.number == 0:
            return graph.relu(b)
    inverse = _inner("logical_not", condition)
    return graph.where(inverse, b, a) if inverse is not None else None


def _in_float32(op: str) -> Rule:
    """A comparison of what float32 holds: then it need not be converted, as labels of that kind beside integers."""

    def compare(a: Node, b: Node) -> Node | None:
        if a.dtype is graph.FLOAT32 or (a.op == "const" and b.op == "const"):
            return None
        x = _narrow(a)
        y = None if x is None else _narrow(b)
        return graph.cast(a.builder.make(op, (x, y)), a.dtype) if x is not None and y is not None else None

    return compare


def _narrow(x: Node) -> Node | None:
    """The same numbers in float32."""
    if x.op == "cast":
        return x.inputs[0]
    if x.op in ("broadcast", "reshape"):
        inner = _narrow(x.inputs[0])
        return None if inner is None else x.builder.make(x.op, (inner,), x.attributes)
    if x.op == "const" and x.size <= MAX_FOLDED:
        with np.errstate(over="ignore"):
            is_same = np.array_equal(x.value.astype(np.float32), x.value, equal_nan=True)
        return graph.cast(x, graph.FLOAT32) if is_same else None
    return None


def _power(a: Node, b: Node) -> Node | None:
    n = b.number
    if n is None or not (n == 0.5 or (n == int(n) and abs(n) <= graph.MAX_REPEATED) if math.isfinite(n) else False):
        return None
    return graph.power(a, n)


# ---- functions that lose accuracy or overflow when they are composed of exp and log


def _one_plus(x: Node) -> Node | None:
    """y when x is 1 + y."""
    if x.op == "add":
        for one, y in (x.inputs, x.inputs[::-1]):
            if one.number == 1:
                return y
    return None


def _logistic(a: Node, b: Node) -> Node | None:
    """1 / (1 + exp(-z)) and exp(z) / (1 + exp(z)) are sigmoid(z)."""
    power = _one_plus(b)
    z = _inner("exp", power) if power is not None else None
    if z is None:
        return None
    if a is power:
        return graph.sigmoid(z)
    return graph.sigmoid(-z) if a.number == 1 else None


def _log(a: Node) -> Node | None:
    if a.op == "add":
        x, y = (_inner("exp", x) for x in a.inputs)
        if x is not None and y is not None:
            return graph.logaddexp(x, y)
        z = x if x is not None else y
        if z is not None and _one_plus(a) is not None:
            return graph.softplus(z)
    if a.op == "subtract" and a.inputs[0].number == 1:
        z = _inner("sigmoid", a.inputs[1])
        return -graph.softplus(z) if z is not None else None
    z = _inner("sigmoid", a)
    return -graph.softplus(-z) if z is not None else None


def _logaddexp(a: Node, b: Node) -> Node | None:
    for x, y in ((a, b), (b, a)):
        if x.number == 0:
            return graph.softplus(y)
    return None


def _log1p(a: Node) -> Node | None:
    z = _inner("exp", a)
    return graph.softplus(z) if z is not None else None


# ---- views and what moves elements


def _reshape(a: Node, shape: tuple[int, ...]) -> Node | None:
    if a.shape == shape:
        return a
    if a.op == "reshape":
        return graph.reshape(a.inputs[0], shape)
    if a.op == "broadcast" and a.inputs[0].size == 1:
        return graph.broadcast(graph.reshape(a.inputs[0], ()), shape)
    return None


def _transpose(a: Node, permutation: tuple[int, ...]) -> Node | None:
    if a.op == "transpose":
        return graph.transpose(a.inputs[0], [a.attributes[axis] for axis in permutation])
    if a.op == "broadcast" and a.inputs[0].size == 1:
        return graph.broadcast(graph.reshape(a.inputs[0], ()), tuple(a.shape[axis] for axis in permutation))
    moving = [axis for axis in permutation if a.shape[axis] != 1]
    if moving == sorted(moving):
        return graph.reshape(a, tuple(a.shape[axis] for axis in permutation))
    return None


def _broadcast(a: Node, shape: tuple[int, ...]) -> Node | None:
    if a.shape == shape:
        return a
    if a.op == "broadcast":
        return graph.broadcast(a.inputs[0], shape)
    if a.size == 1 and a.shape:
        return graph.broadcast(graph.reshape(a, ()), shape)
    if a.op == "reshape" and a.shape == (1,) * (a.ndim - a.inputs[0].ndim) + a.inputs[0].shape:
        return graph.broadcast(a.inputs[0], shape)
    if graph.without_unit_axes(a.shape) == graph.without_unit_axes(shape) and a.size == math.prod(shape):
        return graph.reshape(a, shape)
    return None


def _slice(a: Node, spec: Slices) -> Node | None:
    if spec == graph.full_slices(a.shape):
        return a
    if a.op == "slice":
        pairs = zip(spec, a.attributes, strict=True)
        return graph.slices(
            a.inputs[0],
            tuple((start + i * step, n, k * step if n > 1 else 1) for (i, n, k), (start, _, step) in pairs),
        )
    if a.op == "concatenate":
        return _slice_of_joined(a, spec)
    if a.op == "transpose":
        inverse = np.argsort(a.attributes).tolist()
        return graph.transpose(graph.slices(a.inputs[0], tuple(spec[axis] for axis in inverse)), a.attributes)
    if a.op == "broadcast":
        x = a.inputs[0]
        tail = spec[len(spec) - x.ndim :]
        part = tuple((0, 1, 1) if n == 1 else s for n, s in zip(x.shape, tail, strict=True))
        shape = tuple(n for _, n, _ in spec)
        if math.prod(shape):
            return graph.broadcast(graph.slices(x, part), shape)
    if a.op == "reshape" and graph.without_unit_axes(a.shape) == graph.without_unit_axes(a.inputs[0].shape):
        taken = iter([s for s, n in zip(spec, a.shape, strict=True) if n != 1])
        if all(s == (0, 1, 1) for s, n in zip(spec, a.shape, strict=True) if n == 1):
            x = a.inputs[0]
            part = tuple((0, 1, 1) if n == 1 else next(taken) for n in x.shape)
            return graph.reshape(graph.slices(x, part), tuple(n for _, n, _ in spec))
    return None


def _slice_of_joined(a: Node, spec: Slices) -> Node | None:
    """A slice within one of the joined parts."""
    axis = a.attributes
    start, n, step = spec[axis]
    low, high = sorted((start, start + (n - 1) * step))
    for x in a.inputs:
        if n and low >= 0 and high < x.shape[axis]:
            return graph.slices(x, (*spec[:axis], (start, n, step), *spec[axis + 1 :]))
        start, low, high = (at - x.shape[axis] for at in (start, low, high))
    return None


def _cast(a: Node, dtype: np.dtype) -> Node | None:
    if a.dtype is dtype:
        return a
    if a.op == "cast" and a.inputs[0].dtype is dtype and dtype is graph.FLOAT32:
        return a.inputs[0]  # there and back through float64 changes nothing
    if a.op == "broadcast":
        return graph.broadcast(graph.cast(a.inputs[0], dtype), a.shape)
    return None


def _index_add(base: Node, value: Node, spec: Slices) -> Node | None:
    if value.number == 0:
        return base
    if spec == graph.full_slices(base.shape):
        return base + value
    return None


def _sum(a: Node, axes: tuple[int, ...]) -> Node | None:
    if not a.size:
        return None
    shape = tuple(n for axis, n in enumerate(a.shape) if axis not in axes)
    if all(a.shape[axis] == 1 for axis in axes):
        return graph.reshape(a, shape)
    if a.op == "negative":
        return -graph.reduction("sum", a.inputs[0], axes)
    if a.op in ("reshape", "transpose") and len(axes) == a.ndim:
        return graph.reduction("sum", a.inputs[0])
    if a.op == "sum":
        return graph.reduction("sum", a.inputs[0], _joined_axes(a, axes))
    return _sum_of_broadcast(a, axes, shape) if a.op == "broadcast" else None


def _sum_of_broadcast(a: Node, axes: tuple[int, ...], shape: tuple[int, ...]) -> Node | None:
    """Along an axis that only repeats, a sum is a product with its length."""
    x = a.inputs[0]
    n_new = a.ndim - x.ndim
    repeated = [axis for axis in axes if axis < n_new or x.shape[axis - n_new] == 1]
    times = math.prod(a.shape[axis] for axis in repeated)
    if not repeated:
        return None
    dropped = graph.reshape(x, tuple(n for axis, n in enumerate(x.shape, n_new) if axis not in repeated))
    rest = graph.broadcast(dropped, tuple(n for axis, n in enumerate(a.shape) if axis not in repeated))
    still = [axis - sum(gone < axis for gone in repeated) for axis in axes if axis not in repeated]
    return float(times) * graph.reduction("sum", rest, still)


def _joined_axes(a: Node, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Axes of the operand of a reduction `a` that are gone after reducing `axes` of `a` as well."""
    left = [axis for axis in range(a.inputs[0].ndim) if axis not in a.attributes]
    return (*a.attributes, *(left[axis] for axis in axes))


def _extreme(a: Node, axes: tuple[int, ...]) -> Node | None:
    if axes and all(a.shape[axis] == 1 for axis in axes):
        return graph.reshape(a, tuple(n for axis, n in enumerate(a.shape) if axis not in axes))
    return None


RULES: dict[str, tuple[Rule, ...]] = {
    "copy": (lambda a: a,),
    "negative": (_negative,),
    "add": (_add,),
    "subtract": (_subtract,),
    "multiply": (_multiply,),
    "divide": (_logistic, _divide),
    "power": (_power,),
    "multiply_guarded": (_multiply_guarded,),
    "where": (_where,),
    **{op: (_in_float32(op),) for op in graph.COMPARISONS},
    "log": (_log,),
    "log1p": (_log1p,),
    "logaddexp": (_logaddexp,),
    "logical_not": (lambda a: a.inputs[0] if a.op == "logical_not" and a.inputs[0].is_bool else None,),
    "reshape": (_reshape,),
    "transpose": (_transpose,),
    "broadcast": (_broadcast,),
    "slice": (_slice,),
    "cast": (_cast,),
    "index_add": (_index_add,),
    "sum": (_sum,),
    "prod": (_extreme,),
    "max": (_extreme,),
    "min": (_extreme,),
}
