"""The slow oracle: evaluates a graph node by node with plain NumPy, and derivatives by differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special

import fastgrad as fg
from fastgrad import _core
from fastgrad._compiler.graph import ELEMENTWISE, Graph
from fastgrad._compiler.simplify import simplify
from fastgrad._compiler.trace import Input, trace
from fastgrad._compiler.tree import flatten, unflatten


def truth(condition: np.ndarray, like: np.ndarray) -> np.ndarray:
    return condition.astype(like.dtype)


def index(spec: Sequence[tuple[int, int, int]]) -> Any:
    return np.ix_(*[start + step * np.arange(length) for start, length, step in spec])


def index_add(base: np.ndarray, value: np.ndarray, spec: Any) -> np.ndarray:
    result = base.copy()
    result[index(spec)] += value
    return result


def scatter_add(value: np.ndarray, attributes: Any) -> np.ndarray:
    table, shape = attributes
    result = np.zeros(shape, value.dtype)
    np.add.at(result.reshape(-1), table.array, value.ravel())
    return result


def sigmoid(a: np.ndarray) -> np.ndarray:
    e = np.exp(-abs(a))
    return np.where(a < 0, e, 1) / (1 + e)


def recurrence(a: np.ndarray, b: np.ndarray, _: Any) -> np.ndarray:
    result = b.copy()
    for i in range(1, b.shape[-1]):
        y = result[..., i - 1]
        result[..., i] += np.where(y == 0, 0, a[..., i] * y)
    return result


def sort_pairs(a: np.ndarray, _: Any) -> np.ndarray:
    order = np.argsort(a, -1, kind="stable")
    return np.stack([np.take_along_axis(a, order, -1), order.astype(a.dtype)], -2)


def positions(p: np.ndarray, n: int) -> np.ndarray:
    """Numbers of elements, those out of range taken to the nearest."""
    return np.where(p > 0, np.minimum(p, n - 1), 0).astype(int)


def put_along(a: np.ndarray, p: np.ndarray, n: int) -> np.ndarray:
    result = np.zeros((*a.shape[:-1], n), a.dtype)
    for at in np.ndindex(a.shape):
        result[(*at[:-1], positions(p, n)[at])] += a[at]
    return result


def search(side: Any) -> Callable[..., np.ndarray]:
    def along(a: np.ndarray, b: np.ndarray, _: Any) -> np.ndarray:
        result = np.empty_like(b)
        for at in np.ndindex(b.shape[:-1]):
            result[at] = np.searchsorted(a[at], b[at], side)
        return result

    return along


def one_by_one(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """NaN for the matrices that NumPy refuses."""

    def every(*operands: Any) -> np.ndarray:
        *arrays, _ = operands
        lead = arrays[0].shape[:-2]
        results = []
        for at in np.ndindex(lead):
            try:
                results.append(np.asarray(function(*[x[at] for x in arrays])))
            except np.linalg.LinAlgError:
                results.append(np.full_like(arrays[-1][at], np.nan))
        return np.array(results, arrays[0].dtype).reshape(*lead, *results[0].shape)

    return every


MEANING: dict[str, Callable[..., np.ndarray]] = {
    name: getattr(np, name) for name in ELEMENTWISE if hasattr(np, name)
} | {
    "copy": lambda a: a,
    "where": lambda c, a, b: np.where(c != 0, a, b),
    "multiply_add": lambda a, b, c: a * b + c,
    "multiply_subtract": lambda a, b, c: a * b - c,
    "negative_multiply_add": lambda a, b, c: c - a * b,
    "negative_multiply": lambda a, b: -(a * b),
    "multiply_guarded": lambda a, b: np.where(a == 0, 0, a * b),
    "relu": lambda a: np.where(a <= 0, 0, a),
    "gate": lambda a, b: np.where(b <= 0, 0, a),
    "sigmoid": sigmoid,
    "softplus": lambda a: np.logaddexp(0.0, a),
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "erfcx": scipy.special.erfcx,
    "gammaln": scipy.special.gammaln,
    "digamma": scipy.special.digamma,
    "trigamma": lambda a: scipy.special.zeta(2, a),
    "zeta": lambda s, q: scipy.special.zeta(s, np.where(q < 0, np.nan, q)),
    "isnan": lambda a: truth(np.isnan(a), a),
    "isfinite": lambda a: truth(np.isfinite(a), a),
    "logical_not": lambda a: truth(a == 0, a),
    "sum": lambda a, axes: a.sum(axes),
    "prod": lambda a, axes: a.prod(axes),
    "max": lambda a, axes: a.max(axes),
    "min": lambda a, axes: a.min(axes),
    "dot": lambda a, b, axes: (a * b).sum(axes),
    "matmul": lambda a, b, _: a @ b,
    "reshape": lambda a, shape: a.reshape(shape),
    "stop_gradient": lambda a, attributes: a,
    "transpose": lambda a, axes: a.transpose(axes),
    "broadcast": lambda a, shape: np.broadcast_to(a, shape),
    "slice": lambda a, spec: a[index(spec)] if a.ndim else a,
    "index_add": index_add,
    "gather": lambda a, attributes: a.ravel()[attributes[0].array].reshape(attributes[1]),
    "scatter_add": scatter_add,
    "concatenate": lambda *parts: np.concatenate(parts[:-1], parts[-1]),
    "cast": lambda a, dtype: a.astype(dtype),
    "scan": lambda first, *rest: scan(first, rest[:-1], rest[-1]),
    "cumsum": lambda a, _: a.cumsum(-1),
    "cumprod": lambda a, _: a.cumprod(-1),
    "cummax": lambda a, _: np.maximum.accumulate(a, -1),
    "cummin": lambda a, _: np.minimum.accumulate(a, -1),
    "recurrence": recurrence,
    "sort_pairs": sort_pairs,
    "take_along": lambda a, p, _: np.take_along_axis(a, positions(p, a.shape[-1]), -1),
    "put_along": put_along,
    "search_left": search("left"),
    "search_right": search("right"),
    "solve": one_by_one(np.linalg.solve),
    "solve_lower": one_by_one(lambda a, b: np.linalg.solve(np.tril(a), b)),
    "det": lambda a, _: np.linalg.det(a),
    "slogdet": lambda a, _: np.stack(np.linalg.slogdet(a), -1).astype(a.dtype),
    "cholesky": one_by_one(np.linalg.cholesky),
    "eigh": one_by_one(lambda a: np.concatenate([(w := np.linalg.eigh(a))[0][None], w[1]])),
}


def scan(carry: np.ndarray, operands: Sequence[np.ndarray], loop: Any) -> np.ndarray:
    made, stored = [], []
    for t in range(loop.length):
        if loop.every and t % loop.every == 0:
            stored.append(carry)
        rows = [x[t] if i < loop.n_rows else x for i, x in enumerate(operands)]
        carry, row = evaluate(loop.body, carry, *rows)
        made.append(row)
    return np.concatenate([carry, *made, *stored])


def evaluate(graph: Graph, *arguments: Any) -> list[np.ndarray]:
    """The outputs of a graph, as a flat list, for arrays that stand for its inputs in order."""
    values = {x: np.asarray(value, x.dtype) for x, value in zip(graph.inputs, arguments, strict=True)}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node in values:
                continue
            operands = [values[x] for x in node.inputs]
            if node.op == "const":
                value = node.value
            elif node.op in ELEMENTWISE:
                assert all(x.shape == node.shape and x.dtype == node.dtype for x in operands), node
                value = np.asarray(MEANING[node.op](*operands)).astype(node.dtype)
            else:
                value = np.asarray(MEANING[node.op](*operands, node.attributes))
            assert value.shape == node.shape, (node, value.shape)
            assert value.dtype == node.dtype, (node, value.dtype)
            assert not node.is_bool or np.isin(value, (0, 1)).all(), node
            values[node] = value
    return [values[x].astype(bool) if x.is_bool else values[x] for x in graph.outputs]


def evaluate_nested(graph: Graph, *arguments: Any) -> Any:
    """The outputs nested as the function nested them."""
    return unflatten(graph.structure, evaluate(graph, *arguments))


def directional(fun: Callable[..., Any], arguments: Sequence[np.ndarray], directions: Sequence[np.ndarray]) -> float:
    """The derivative of a scalar function along directions, by a Richardson step on central differences."""

    def central(h: float) -> float:
        ahead, behind = (fun(*[x + s * h * d for x, d in zip(arguments, directions, strict=True)]) for s in (1, -1))
        return (ahead - behind) / (2 * h)

    h = 2e-3
    d1, d2, d3 = central(h), central(h / 2), central(h / 4)
    return float((64 * d3 - 20 * d2 + d1) / 45)


def agree(fun: Callable[..., Any], *arguments: Any, rtol: float = 1e-14, atol: float = 1e-15) -> None:
    """Trace, evaluate, and compare with NumPy, before and after simplification."""
    arguments = tuple(np.asarray(x) for x in arguments)
    graph = trace(fun, [Input(x.shape, x.dtype) for x in arguments])
    with np.errstate(all="ignore"):
        expected, structure = flatten(fun(*arguments))
    for version in (graph, simplify(graph)):
        assert version.structure == structure
        results = flatten(evaluate_nested(version, *arguments))[0]
        for value, right in zip(results, expected, strict=True):
            right = np.asarray(right)
            kind = right.dtype.kind
            assert value.dtype == (right.dtype if kind in "bf" else np.float64)
            assert value.shape == right.shape
            np.testing.assert_allclose(value, right, rtol=rtol, atol=atol)


def check_gradient(fun: Callable[..., Any], *arguments: Any, second: bool = False, rtol: float = 1e-8) -> None:
    """Values, a directional derivative and if asked for one of second order, in the machine, against NumPy."""
    arguments = tuple(np.asarray(x, float) for x in arguments)
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(np.shape(part)) for part in flatten(fun(*arguments))[0]]
    directions = [rng.standard_normal(x.shape) for x in arguments]

    def total(*values: Any) -> Any:
        return sum(np.sum(w * part) for w, part in zip(weights, flatten(fun(*values))[0], strict=True))

    def along(gradients: Any) -> Any:
        return sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))

    both = fg.value_and_grad(total, argnums=tuple(range(len(arguments))))
    value, gradients = both(*arguments)
    np.testing.assert_allclose(value, total(*arguments), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(along(gradients), directional(total, arguments, directions), rtol=rtol, atol=rtol)
    if second:
        gradient = fg.grad(total, argnums=tuple(range(len(arguments))))
        exact = fg.grad(lambda *values: along(gradient(*values)), argnums=tuple(range(len(arguments))))(*arguments)
        numeric = directional(lambda *values: along(gradient(*values)), arguments, directions)
        np.testing.assert_allclose(along(exact), numeric, rtol=10 * rtol, atol=10 * rtol)


# ---- programs, read back from their words (csrc/fastgrad.h)

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


def run_words(words: Any, *arrays: Any, n_lanes: int) -> list[np.ndarray]:
    """The outputs of a program that sums over lanes, instruction by instruction; lane inputs have a row an instance."""
    words = words.tolist()
    _, n_buffers, n_instructions, _, _, _, n_outputs, n_constants = words[:8]
    constants = np.array(words[len(words) - n_constants :], np.int64).view(np.uint8)
    places = [words[8 + 5 * i : 13 + 5 * i] for i in range(n_buffers)]
    ends = [p + size * FLOATS[dtype].itemsize for role, dtype, _, size, p in places if role == 3]
    arenas = [np.zeros((n, max(ends, default=0)), np.uint8) for n in (1, n_lanes)]
    outputs: list[Any] = [None] * n_outputs
    buffers = []  # (1, size), or (lanes, size)
    for role, dtype, is_lane, size, position in places:
        n_bytes = size * FLOATS[dtype].itemsize
        if role == 0:
            memory = np.array(arrays[position], FLOATS[dtype]).reshape(n_lanes if is_lane else 1, size)
        elif role == 1:
            memory = outputs[position] = np.full((n_lanes if is_lane else 1, size), np.nan, FLOATS[dtype])
        elif role == 2:
            memory = constants[8 * position : 8 * position + n_bytes].view(FLOATS[dtype])[None]
        else:
            memory = arenas[is_lane][:, position : position + n_bytes].view(FLOATS[dtype])
        buffers.append(memory)
    at = 8 + 5 * n_buffers
    for _ in range(n_instructions):
        name, arity, kind = _core.operations()[words[at]]
        n_dims = words[at + 2]
        shape = words[at + 3 : at + 3 + n_dims]
        at += 3 + n_dims
        operands = []
        for _ in range(1 + arity):
            number, offset, *strides = words[at : at + 2 + n_dims]
            at += 2 + n_dims
            index = offset + sum(s * i for s, i in zip(strides, np.indices(shape, sparse=True), strict=True))
            operands.append((buffers[number], np.broadcast_to(index, shape)))
        (out, target), *rest = operands
        values = [memory[:, index] for memory, index in rest]
        if name in ("matmul", "matmul_add", "dot", "lane_matmul"):
            result = (values[0] * values[1]).sum(-1) + (values[2][..., 0] if arity == 3 else 0)
        elif kind == "reduction":
            result = MEANING[name](values[0], -1)
        else:
            result = values[0] if name in ("cast", "lane_sum") else MEANING[name](*values)
        if name.startswith("lane_"):
            result = result.sum(0, keepdims=True)
        out[:, target[..., 0] if target.ndim + 1 > result.ndim else target] = result
    return outputs
