"""The part of NumPy that multiplies and sums: matrix and tensor products, einsum, convolutions, polynomials."""

from __future__ import annotations

import math
import operator
import string
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from ..errors import shape_error, trace_error
from . import graph
from .graph import FLOAT64, Node
from .layout import expand_dims, flip, moveaxis, ravel, squeeze, stack
from .operands import (
    array_operands,
    as_node,
    axes_of,
    common_shape,
    elementwise,
    listed,
    numpy_function,
    operands,
    refuse,
)
from .reductions import sum_

# ---- of vectors, matrices and tensors


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


@numpy_function(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Node:
    refuse(out=out)
    a, b = array_operands(a, b)
    if not a.ndim or not b.ndim:
        return elementwise("multiply", a, b)
    return tensordot(a, b, ((a.ndim - 1,), (max(b.ndim - 2, 0),)), "dot")


@numpy_function(np.inner)
def inner(a: Any, b: Any) -> Node:
    a, b = array_operands(a, b)
    if not a.ndim or not b.ndim:
        return elementwise("multiply", a, b)
    return tensordot(a, b, ((a.ndim - 1,), (b.ndim - 1,)), "inner")


@numpy_function(np.vdot)
def vdot(a: Any, b: Any) -> Node:
    return dot(*map(ravel, array_operands(a, b)))


@numpy_function(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Node:
    refuse(out=out)
    a, b = map(ravel, array_operands(a, b))
    return elementwise("multiply", graph.reshape(a, (a.size, 1)), graph.reshape(b, (1, b.size)))


@numpy_function(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2, name: str = "tensordot") -> Node:
    a, b = array_operands(a, b)
    if isinstance(axes, (int, np.integer)):
        axes = range(a.ndim - int(axes), a.ndim), range(int(axes))
    over_a, over_b = axes_of(a, listed(axes[0])), axes_of(b, listed(axes[1]))
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


def vecdot(a: Any, b: Any, *, axis: Any = -1) -> Node:
    a, b = operands(a, b)
    return sum_(elementwise("multiply", moveaxis(a, axis, -1), moveaxis(b, axis, -1)), -1)


def matvec(a: Any, b: Any) -> Node:
    a, b = operands(a, b)
    return squeeze(matmul(a, expand_dims(b, -1)), -1)


def vecmat(a: Any, b: Any) -> Node:
    a, b = operands(a, b)
    return squeeze(matmul(expand_dims(a, -2), b), -2)


@numpy_function(np.kron)
def kron(a: Any, b: Any) -> Node:
    a, b = array_operands(a, b)
    ndim = max(a.ndim, b.ndim)
    rows, columns = ((1,) * (ndim - x.ndim) + x.shape for x in (a, b))
    spread_a = graph.reshape(a, tuple(n for row in rows for n in (row, 1)))
    spread_b = graph.reshape(b, tuple(n for column in columns for n in (1, column)))
    shape = tuple(m * n for m, n in zip(rows, columns, strict=True))
    return graph.reshape(elementwise("multiply", spread_a, spread_b), shape)


@numpy_function(np.cross)
def cross(a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None) -> Node:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = array_operands(a, b)
    a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    if a.shape[-1:] != (3,) or b.shape[-1:] != (3,):
        raise shape_error(f"cross: vectors of length {a.shape[-1]} and {b.shape[-1]}",
                          "give them 3 components; in the plane: a[0] * b[1] - a[1] * b[0]")  # fmt: skip

    def part(x: Node, i: int) -> Node:
        return graph.reshape(graph.slice_axis(x, x.ndim - 1, i, 1), x.shape[:-1])

    def component(i: int, j: int) -> Node:
        return elementwise("subtract", elementwise("multiply", part(a, i), part(b, j)),
                           elementwise("multiply", part(a, j), part(b, i)))  # fmt: skip

    return stack([component(1, 2), component(2, 0), component(0, 1)], axisc)


@numpy_function(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Node:
    refuse(out=out)
    nodes = operands(*arrays)
    if len(nodes) < 2:
        raise ValueError("multi_dot: expected two arrays or more")
    if any(x.ndim != 2 for x in nodes[1:-1]) or not all(x.ndim in (1, 2) for x in (nodes[0], nodes[-1])):
        raise shape_error(f"multi_dot: shapes {[x.shape for x in nodes]} are not matrices, with vectors at the ends")
    rows, columns = nodes[0].ndim == 2, nodes[-1].ndim == 2
    letters = [string.ascii_letters[i : i + 2] for i in range(len(nodes))]
    letters[0], letters[-1] = letters[0][0 if rows else 1 :], letters[-1][: 2 if columns else 1]
    result = (letters[0][0] if rows else "") + (letters[-1][-1] if columns else "")
    return einsum(",".join(letters) + "->" + result, *nodes)


@numpy_function(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Node:
    a, n = as_node(a), operator.index(n)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise shape_error(f"matrix_power: an array of shape {a.shape} is not a square matrix")
    if n < 0:
        raise trace_error(f"matrix_power: the power {n} needs an inverse", "matrix_power of np.linalg.inv(a)")
    if n == 0:
        return graph.broadcast(a.builder.constant(np.eye(a.shape[-1], dtype=a.dtype)), a.shape)
    result, square = None, a
    while True:
        if n & 1:
            result = square if result is None else graph.matmul(result, square)
        n >>= 1
        if not n:
            assert result is not None
            return result
        square = graph.matmul(square, square)


# ---- einsum


def subscripts_of(args: Sequence[Any]) -> tuple[list[str], str | None, list[Any]]:
    """The labels of each operand and of the result (None: implicit), `.` standing for an ellipsis; the operands."""
    if isinstance(args[0], str):
        text, values = args[0].replace(" ", "").replace("...", "."), list(args[1:])
        inputs, arrow, output = text.partition("->")
        return inputs.split(","), output if arrow else None, values

    def word(labels: Any) -> str:
        return "".join("." if x is Ellipsis else string.ascii_letters[operator.index(x)] for x in labels)

    pairs = list(zip(args[::2], args[1::2], strict=False))
    return [word(labels) for _, labels in pairs], word(args[-1]) if len(args) % 2 else None, [x for x, _ in pairs]


@numpy_function(np.einsum)
def einsum(*args: Any, out: Any = None, dtype: Any = None, order: Any = "K", casting: Any = "safe",
           optimize: Any = False) -> Node:  # fmt: skip
    """Pairs of operands in a good order, each a matrix product of transposed and reshaped operands."""
    refuse(out=out, dtype=dtype)
    inputs, output, values = subscripts_of(args)
    nodes = [graph.truth_as_number(x) for x in operands(*values)]
    if len(inputs) != len(nodes):
        raise shape_error(f"einsum: {len(inputs)} subscripts for {len(nodes)} operands")
    # labels of axes that an ellipsis stands for: characters that are no letters, numbered from the last axis on
    hidden = [x.ndim - len(labels) + 1 if "." in labels else 0 for x, labels in zip(nodes, inputs, strict=True)]
    ellipsis = "".join(chr(0x100 + i) for i in range(max(hidden, default=0)))[::-1]
    if output is None:
        seen = "".join(inputs)
        output = "." * any("." in labels for labels in inputs)
        output += "".join(sorted(x for x in set(seen) - {"."} if seen.count(x) == 1))
    inputs = [x.replace(".", ellipsis[len(ellipsis) - max(n, 0) :]) for x, n in zip(inputs, hidden, strict=True)]
    output = output.replace(".", ellipsis)
    terms = []
    for x, labels in zip(nodes, inputs, strict=True):
        if x.ndim != len(labels):
            raise shape_error(f"einsum: the subscripts {labels!r} do not fit an array of shape {x.shape}")
        terms.append((x, labels))
    lengths: dict[str, int] = {}
    for x, labels in terms:
        for label, n in zip(labels, x.shape, strict=True):
            if lengths.setdefault(label, n) != n and 1 not in (n, lengths[label]):
                raise shape_error(f"einsum: label {label!r} has the lengths {lengths[label]} and {n}")
            lengths[label] = n if lengths[label] == 1 else lengths[label]
    if len(set(output)) != len(output) or not set(output) <= set(lengths):
        raise shape_error(f"einsum: each label of the result {output!r} must stand once there and in an operand")
    terms = [(graph.broadcast(x, tuple(lengths[label] for label in labels)), labels) for x, labels in terms]
    while len(terms) > 1:
        i, j = cheapest_pair(terms, output, lengths)
        second, first = terms.pop(j), terms.pop(i)
        terms.append(product_of(first, second, set(output).union(*[labels for _, labels in terms])))
    x, labels = summed(*terms[0], set(output))
    return graph.transpose(x, [labels.index(label) for label in output])


Term = tuple[Node, str]


def cheapest_pair(terms: list[Term], output: str, lengths: dict[str, int]) -> tuple[int, int]:
    """The first step of the best order for up to 5 operands, else the cheapest next step."""
    words = [frozenset(labels) for _, labels in terms]
    best = best_order(words, frozenset(output), lengths, deep=len(words) <= 5)
    return best[1]


def best_order(words: list[frozenset[str]], output: frozenset[str], lengths: dict[str, int], deep: bool) -> Any:
    """(multiplications, next pair) of the cheapest order to contract these sets of labels in."""
    if len(words) == 1:
        return 0, (0, 0)
    found: Any = None
    for j in range(len(words)):
        for i in range(j):
            others = [word for k, word in enumerate(words) if k not in (i, j)]
            both = words[i] | words[j]
            work = math.prod(lengths[label] for label in both)
            left = both & output.union(*others)
            size = math.prod(lengths[label] for label in left)
            if deep:
                work += best_order([*others, left], output, lengths, deep)[0]
            if found is None or (work, size) < found[0]:
                found = (work, size), (i, j)
    return found[0][0], found[1]


def summed(x: Node, labels: str, keep: set[str]) -> Term:
    """The diagonal where a label stands twice, and sums over labels that nothing else needs."""
    while len(set(labels)) < len(labels):
        label = next(c for c in labels if labels.count(c) > 1)
        i, j = labels.index(label), labels.rindex(label)
        order = [i, j, *(axis for axis in range(x.ndim) if axis not in (i, j))]
        n, rest = x.shape[i], tuple(x.shape[axis] for axis in order[2:])
        flat = graph.reshape(graph.transpose(x, order), (n * n, *rest))
        x = graph.slice_axis(flat, 0, 0, n, n + 1)  # every n + 1 from 0 on
        labels = label + "".join(labels[axis] for axis in order[2:])
    gone = [axis for axis, label in enumerate(labels) if label not in keep]
    return graph.reduction("sum", x, gone), "".join(c for c in labels if c in keep)


def product_of(first: Term, second: Term, keep: set[str]) -> Term:
    a, in_a = summed(*first, keep | set(second[1]))
    b, in_b = summed(*second, keep | set(in_a))
    batch = [c for c in in_a if c in in_b and c in keep]
    over = [c for c in in_a if c in in_b and c not in keep]
    rows, columns = [c for c in in_a if c not in in_b], [c for c in in_b if c not in in_a]
    left = graph.transpose(a, [in_a.index(c) for c in (*batch, *rows, *over)])
    right = graph.transpose(b, [in_b.index(c) for c in (*batch, *over, *columns)])
    lead, m, n = left.shape[: len(batch)], math.prod(left.shape[len(batch) : left.ndim - len(over)]), 1
    n = math.prod(right.shape[len(batch) + len(over) :])
    shape = (*lead, *left.shape[len(batch) : left.ndim - len(over)], *right.shape[len(batch) + len(over) :])
    if not over:
        left, right = graph.reshape(left, (*lead, m, 1)), graph.reshape(right, (*lead, 1, n))
        y = elementwise("multiply", left, right)
    elif not rows and not columns:
        y = graph.reduction("sum", elementwise("multiply", left, right), range(len(batch), left.ndim))
    else:
        k = math.prod(left.shape[left.ndim - len(over) :])
        count = math.prod(lead)
        left, right = graph.reshape(left, (count, m, k)), graph.reshape(right, (count, k, n))
        if not lead:
            left, right = graph.reshape(left, (m, k)), graph.reshape(right, (k, n))
        y = graph.matmul(left, right)
    return graph.reshape(y, shape), "".join((*batch, *rows, *columns))


# ---- convolutions and polynomials


def convolution(a: Node, v: Node, mode: Any, name: str) -> Node:
    """One matrix product: row j of the matrix is `a` moved j places to the right.

    Rows of `a` and zeros, one place longer than the rows of that matrix, lie one after the other in memory; read
    in rows of its length, each begins one place earlier in `a` than the row before.
    """
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        raise shape_error(f"{name}: shapes {a.shape} and {v.shape}", "give two vectors that are not empty")
    n, m = a.size, v.size
    zeros = graph.broadcast(a.builder.scalar(0.0, a.dtype), (m,))
    rows = graph.broadcast(graph.concatenate([a, zeros], 0), (m, n + m))
    places = graph.slice_axis(graph.reshape(rows, (m * (n + m),)), 0, 0, m * (n + m - 1))
    matrix = graph.reshape(places, (m, n + m - 1))
    full = graph.reshape(graph.matmul(graph.reshape(v, (1, m)), matrix), (n + m - 1,))
    mode = {0: "valid", 1: "same", 2: "full"}.get(mode, mode)
    if mode not in ("valid", "same", "full"):
        raise ValueError(f"{name}: mode={mode!r} is not one of 'full', 'same' and 'valid'")
    start, length = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}[mode]
    return graph.slice_axis(full, 0, start, length)


@numpy_function(np.convolve)
def convolve(a: Any, v: Any, mode: Any = "full") -> Node:
    a, v = map(graph.truth_as_number, operands(a, v))
    return convolution(a, v, mode, "convolve") if a.size >= v.size else convolution(v, a, mode, "convolve")


@numpy_function(np.correlate)
def correlate(a: Any, v: Any, mode: Any = "valid") -> Node:
    a, v = map(graph.truth_as_number, operands(a, v))
    if a.size >= v.size:
        return convolution(a, flip(v), mode, "correlate")
    return flip(convolution(v, flip(a), mode, "correlate"))


@numpy_function(np.polyval)
def polyval(p: Any, x: Any) -> Node:
    p, x = operands(p, x)
    if p.ndim > 1:
        raise shape_error(f"polyval: coefficients of shape {p.shape}", "give a vector, the highest power first")
    return horner([graph.reshape(graph.slice_axis(p, 0, i, 1), ()) for i in range(p.size)], x)


def horner(coefficients: Sequence[Node], x: Node) -> Node:
    """A polynomial whose coefficients begin with that of the highest power."""
    y = graph.filled(x, 0.0)
    return reduce(lambda y, c: elementwise("add", elementwise("multiply", y, x), c), coefficients, y)


@numpy_function(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Node:
    x = graph.cast(as_node(x), FLOAT64)
    if x.ndim != 1:
        raise shape_error(f"vander: an array of shape {x.shape} is not a vector")
    powers = [graph.power(x, float(i)) for i in range(x.size if N is None else operator.index(N))]
    return stack(powers if increasing else powers[::-1], 1)
