"""The graph: immutable nodes, each distinct expression once, with inferred shape and dtype.

Tracing makes nodes from a user's function, differentiation and simplification make nodes from nodes, and
compilation turns them into a program. The functions below take nodes and Python numbers, so that rules read
like calculus.

Operations and their attributes (elementwise operations need operands of exactly one shape and dtype):

    input               its number
    const               (Frozen array, whether it holds truth values)
    cast                dtype
    reshape broadcast   shape
    stop_gradient       (): its operand, for which derivatives are zero
    transpose           permutation
    slice               (start, length, step) for each axis
    concatenate         axis
    index_add           slices: base with base[slices] += value
    gather              (table of flat element numbers, shape)
    scatter_add         (table, shape): zeros with [table] += value
    sum prod max min    axes, which disappear
    dot                 axes: the sum of a product
    matmul              (): (..., m, k) by (..., k, n) with equal leading axes
    lane_sum            (): the sum over all instances of a batch, of an output alone
    scan                Loop: see loops.py

and of the last axes alone, for operands of equal leading axes (along.py):

    cumsum cumprod cummax cummin   (): running combinations along (..., n)
    recurrence                     (): y[i] = a[i] y[i-1] + b[i], y[0] = b[0], of (..., n) twice; nothing comes from a
                                   y[i-1] of exactly zero, whatever a[i] is
    sort_pairs                     (): (..., n) to (..., 2, n), the values in order and the number each had
    take_along                     (): a[p[i]] of a (..., n) and numbers p (..., m)
    put_along                      n: zeros (..., n) with [p[i]] += a[i], of a and numbers p (..., m)
    search_left search_right       (): how many of the ascending a (..., n) are below, or not above, b (..., m)
    solve                          (): matrices (..., n, n) and right sides (..., n, k)
    solve_lower                    (): the same for the lower triangle of the matrices
    det slogdet                    (): (..., n, n) to (...), and to (..., 2) with the sign and log |det|
    cholesky                       (): the lower factor, from the lower triangle
    eigh                           (): (..., n, n) to (..., n + 1, n), eigenvalues above eigenvectors in columns
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core import operations
from ..errors import trace_error
from .tree import LEAF, Structure

Shape = tuple[int, ...]
Slices = tuple[tuple[int, int, int], ...]

FLOAT64 = np.dtype(np.float64)
FLOAT32 = np.dtype(np.float32)

# csrc/ops.def says what each operation computes; name: number of operands
ELEMENTWISE = {name: arity for name, arity, kind in operations() if kind == "elementwise"}
REDUCTIONS = frozenset(name for name, _, kind in operations() if kind == "reduction")
COMPARISONS = frozenset(["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"])
TRUTHS = COMPARISONS | {"logical_and", "logical_or", "logical_not", "isnan", "isfinite"}
KEEPS_TRUTH = frozenset(["copy", "maximum", "minimum", "fmax", "fmin", "absolute"])  # truth values in, truth values out
GENERALISED = frozenset([name for name, _, kind in operations() if kind == "generalised"] + ["solve", "det", "slogdet"])
# numbers, whatever comes in
NUMBERS = GENERALISED | {"sum", "prod", "dot", "matmul", "lane_sum", "index_add", "scatter_add", "scan"}
VIEWS = frozenset(["reshape", "transpose", "broadcast", "slice"])
SPREADS = frozenset(["reshape", "broadcast", "cast"])  # where one number goes in, the same comes out

SMALL = 64  # constants up to this many elements are compared by value, larger ones by identity


class Frozen:
    """A read-only array that can be an attribute: hashable, compared by value while small."""

    __slots__ = ("_key", "array")

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        array.flags.writeable = False
        small = array.size <= SMALL
        self._key = (array.dtype.char, array.shape, array.tobytes()) if small else (id(array),)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and self._key == other._key

    def __repr__(self) -> str:
        return f"Frozen({np.array2string(self.array, threshold=8)})"


class Node:
    """One operation. Immutable by convention; compared by identity; ids increase from operand to result."""

    __slots__ = ("attributes", "builder", "dtype", "id", "inputs", "is_bool", "number", "op", "shape")

    def __init__(
        self,
        op: str,
        inputs: tuple[Node, ...],
        attributes: Any,
        shape: Shape,
        dtype: np.dtype,
        is_bool: bool,
        id: int,
        builder: Builder,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attributes = attributes
        self.shape = shape
        self.dtype = dtype
        self.is_bool = is_bool  # holds truth values, stored as 0.0 and 1.0
        self.id = id
        self.builder = builder
        # the one number that all its elements are, when it is known
        self.number: float | None = inputs[0].number if op in SPREADS else None

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))

    @property
    def value(self) -> np.ndarray:
        """The array of a const node."""
        return self.attributes[0].array

    def __repr__(self) -> str:
        operands = ", ".join(f"%{x.id}" for x in self.inputs)
        kind = "bool " if self.is_bool else ""
        return f"%{self.id} = {self.op}({operands}) {self.attributes or ''} : {kind}{self.dtype} {self.shape}"

    def __index__(self) -> int:
        raise trace_error("a traced value is used as an integer", "use a constant such as x.shape[0]")

    def __add__(self, other: Operand) -> Node:
        return elementwise("add", self, other)

    def __radd__(self, other: float) -> Node:
        return elementwise("add", other, self)

    def __sub__(self, other: Operand) -> Node:
        return elementwise("subtract", self, other)

    def __rsub__(self, other: float) -> Node:
        return elementwise("subtract", other, self)

    def __mul__(self, other: Operand) -> Node:
        return elementwise("multiply", self, other)

    def __rmul__(self, other: float) -> Node:
        return elementwise("multiply", other, self)

    def __truediv__(self, other: Operand) -> Node:
        return elementwise("divide", self, other)

    def __rtruediv__(self, other: float) -> Node:
        return elementwise("divide", other, self)

    def __pow__(self, other: Operand) -> Node:
        return power(self, other)

    def __neg__(self) -> Node:
        return elementwise("negative", self)


Operand = Node | float


@dataclass(frozen=True)
class Graph:
    """What a function computes: input nodes, output nodes, and how the outputs are nested."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    structure: Structure = LEAF
    name: str = "function"

    @functools.cached_property
    def nodes(self) -> list[Node]:
        """All nodes that the outputs need, operands first."""
        return ancestors(self.outputs)

    def __str__(self) -> str:
        return "\n".join(map(repr, self.nodes))


def ancestors(outputs: Iterable[Node]) -> list[Node]:
    """`outputs` and everything they depend on, operands first.

    Depth first from the first output on: an order that the expressions alone decide, not when their nodes were made.
    """
    order: dict[Node, None] = {}  # a set that remembers the order
    stack = list(outputs)[::-1]
    while stack:
        node = stack[-1]
        if len(node.inputs) > 2 and node not in order:  # all at once: a long join is looked at twice, not n times
            stack += [x for x in node.inputs[::-1] if x not in order]
        else:
            for x in node.inputs:
                if x not in order:
                    stack.append(x)
                    break
        if stack[-1] is node:
            order[stack.pop()] = None
    return list(order)


class Builder:
    """Makes the nodes of a graph; the same expression gives the same node."""

    def __init__(self) -> None:
        self.is_open = True  # until the trace that it serves is over
        self.n_inputs = 0
        self.finished: set[Node] = set()  # inputs of the steps of loops, which mean nothing outside
        self.check: Callable[[np.ndarray], None] | None = None  # what may not become a constant raises
        self._nodes: dict[Any, Node] = {}
        self._ids = itertools.count()
        self._scalars: dict[Any, Node] = {}
        self._arrays: dict[Any, tuple[Any, Node]] = {}

    def make(self, op: str, inputs: tuple[Node, ...], attributes: Any = ()) -> Node:
        """The node for an operation on nodes of this builder."""
        key = (op, inputs, attributes)
        node = self._nodes.get(key)
        if node is None:
            # setdefault: two threads that differentiate one graph still agree on its nodes
            node = self._nodes.setdefault(key, self._new(op, inputs, attributes))
        return node

    def _new(self, op: str, inputs: tuple[Node, ...], attributes: Any) -> Node:
        """The node for an operation that is met for the first time."""
        infer = INFER.get(op)
        shape, dtype, is_bool = infer(inputs, attributes) if infer else _infer_elementwise(op, inputs)
        return Node(op, inputs, attributes, shape, dtype, is_bool, next(self._ids), self)

    def renamed(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """The same operation as a node's on other operands, whose shapes and dtypes are those of its own."""
        key = (node.op, inputs, node.attributes)
        made = Node(*key, node.shape, node.dtype, node.is_bool, next(self._ids), self)
        return self._nodes.setdefault(key, made)

    def find(self, op: str, inputs: tuple[Node, ...], attributes: Any = ()) -> Node | None:
        """The node for an operation if there is one already."""
        return self._nodes.get((op, inputs, attributes))

    def close(self) -> None:
        """Forget the nodes: when nothing will be made of them any more, memory need not wait for the collector."""
        self._nodes.clear()
        self._scalars.clear()
        self._arrays.clear()

    def input(self, shape: Shape, dtype: np.dtype, is_bool: bool = False) -> Node:
        """A new input."""
        number = self.n_inputs
        self.n_inputs += 1
        key = ("input", (), number)
        self._nodes[key] = node = Node("input", (), number, shape, dtype, is_bool, next(self._ids), self)
        return node

    def scalar(self, value: float, dtype: np.dtype = FLOAT64) -> Node:
        """A constant of shape ()."""
        key = (value, dtype is FLOAT32, value == 0 and math.copysign(1.0, value))
        node = self._scalars.get(key)
        if node is None:
            if self.check is not None and value != value:
                self.check(np.array(value))
            with np.errstate(over="ignore"):
                self._scalars[key] = node = self.constant(np.array(value, dtype))
        return node

    def constant(self, array: np.ndarray, is_bool: bool = False) -> Node:
        """A constant of float32 or float64, held as it is: hand over a copy."""
        frozen = Frozen(array)
        key = ("const", (), (frozen, is_bool))
        node = self._nodes.get(key)
        if node is None:
            made = Node("const", (), key[2], array.shape, array.dtype, is_bool, next(self._ids), self)
            if array.size == 1:
                made.number = float(array.item())
            node = self._nodes.setdefault(key, made)
        return node

    def copied_constant(self, array: np.ndarray, dtype: np.dtype) -> Node:
        """A constant with the present values of a user's array; one node while the array does not change."""
        is_bool = array.dtype.kind == "b"
        if self.check is not None:
            self.check(array)
        if array.size <= SMALL:
            return self.constant(np.array(array, dtype, order="C"), is_bool)
        key = (id(array), dtype.char)
        known, node = self._arrays.get(key, (None, None))
        if known is not array or node is None or not np.array_equal(node.value, array.astype(dtype, copy=False), True):
            node = self.constant(np.array(array, dtype, order="C"), is_bool)
            self._arrays[key] = (array, node)
        return node


# ---- shapes and dtypes of results

Inferred = tuple[Shape, np.dtype, bool]


def _infer_elementwise(op: str, inputs: tuple[Node, ...]) -> Inferred:
    first = inputs[0]
    shape, dtype = first.shape, first.dtype
    if len(inputs) != ELEMENTWISE[op]:
        raise AssertionError(f"{op} takes {ELEMENTWISE[op]} operands, not {len(inputs)}")
    for x in inputs:
        if x is not first and (x.dtype is not dtype or x.shape != shape):
            raise AssertionError(f"{op} of unequal operands {inputs}")
    if op in TRUTHS:
        return shape, dtype, True
    if op == "where":
        return shape, dtype, inputs[1].is_bool and inputs[2].is_bool
    return shape, dtype, op in KEEPS_TRUTH and all([x.is_bool for x in inputs])


def _infer_view(shape_of: Callable[[Shape, Any], Shape]) -> Callable[[tuple[Node, ...], Any], Inferred]:
    def infer(inputs: tuple[Node, ...], attributes: Any) -> Inferred:
        return shape_of(inputs[0].shape, attributes), inputs[0].dtype, inputs[0].is_bool

    return infer


def _infer_reduction(is_bool: bool) -> Callable[[tuple[Node, ...], Any], Inferred]:
    def infer(inputs: tuple[Node, ...], axes: tuple[int, ...]) -> Inferred:
        kept = tuple(n for axis, n in enumerate(inputs[0].shape) if axis not in axes)
        return kept, inputs[0].dtype, is_bool and inputs[0].is_bool

    return infer


def _infer_matmul(inputs: tuple[Node, ...], attributes: Any) -> Inferred:
    a, b = inputs
    if a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2] or a.dtype is not b.dtype:
        raise AssertionError(f"matmul of {a} and {b}")
    return (*a.shape[:-1], b.shape[-1]), a.dtype, False


def _infer_concatenate(inputs: tuple[Node, ...], axis: int) -> Inferred:
    first = inputs[0]
    length = sum(x.shape[axis] for x in inputs)
    return (
        (*first.shape[:axis], length, *first.shape[axis + 1 :]),
        first.dtype,
        all(x.is_bool for x in inputs),
    )


INFER: dict[str, Callable[[tuple[Node, ...], Any], Inferred]] = {
    "reshape": _infer_view(lambda shape, new: new),
    "broadcast": _infer_view(lambda shape, new: new),
    "transpose": _infer_view(lambda shape, permutation: tuple(shape[axis] for axis in permutation)),
    "slice": _infer_view(lambda shape, slices: tuple(length for _, length, _ in slices)),
    "gather": _infer_view(lambda shape, picked: picked[1]),
    "scatter_add": lambda inputs, picked: (picked[1], inputs[0].dtype, False),
    "index_add": lambda inputs, slices: (inputs[0].shape, inputs[0].dtype, False),
    "stop_gradient": _infer_view(lambda shape, attributes: shape),
    "cast": lambda inputs, dtype: (inputs[0].shape, dtype, inputs[0].is_bool),
    "sum": _infer_reduction(False),
    "prod": _infer_reduction(False),
    "dot": _infer_reduction(False),
    "max": _infer_reduction(True),
    "min": _infer_reduction(True),
    "matmul": _infer_matmul,
    "lane_sum": lambda inputs, attributes: (inputs[0].shape, inputs[0].dtype, False),
    "concatenate": _infer_concatenate,
}


# ---- functions of nodes


def elementwise(op: str, *operands: Operand) -> Node:
    """An elementwise operation; numbers take the nodes' dtype, shapes broadcast, float64 wins."""
    first = operands[0]
    if type(first) is Node:  # most often nothing needs to be done
        shape, dtype = first.shape, first.dtype
        for x in operands[1:]:
            if type(x) is not Node or x.dtype is not dtype or (x.shape is not shape and x.shape != shape):
                break
        else:
            return first.builder.make(op, operands)  # type: ignore[arg-type]
    nodes = [x for x in operands if type(x) is Node]
    builder, dtype, shape = nodes[0].builder, nodes[0].dtype, nodes[0].shape
    for x in nodes:
        if x.dtype is not dtype:
            dtype = FLOAT64
        if x.shape != shape:
            shape = np.broadcast_shapes(shape, x.shape)
    ready = [broadcast(cast(x, dtype) if isinstance(x, Node) else builder.scalar(x, dtype), shape) for x in operands]
    return builder.make(op, tuple(ready))


def _unary(op: str) -> Callable[[Node], Node]:
    return lambda a: a.builder.make(op, (a,))


def _binary(op: str) -> Callable[[Operand, Operand], Node]:
    return lambda a, b: elementwise(op, a, b)


sqrt, exp, log, sin, cos = map(_unary, ("sqrt", "exp", "log", "sin", "cos"))
sigmoid, softplus, sinh, cosh, digamma, trigamma, relu = map(
    _unary, ("sigmoid", "softplus", "sinh", "cosh", "digamma", "trigamma", "relu")
)
absolute, sign, rint, isfinite, isnan = map(_unary, ("absolute", "sign", "rint", "isfinite", "isnan"))
less, greater, equal, not_equal = map(_binary, ("less", "greater", "equal", "not_equal"))
maximum, minimum, logical_or, logaddexp = map(_binary, ("maximum", "minimum", "logical_or", "logaddexp"))
multiply_guarded, hypot, copysign, floor_divide, zeta, gate = map(
    _binary, ("multiply_guarded", "hypot", "copysign", "floor_divide", "zeta", "gate")
)


def where(condition: Node, a: Operand, b: Operand) -> Node:
    """`a` where the condition holds, else `b`."""
    return elementwise("where", condition, a, b)


MAX_REPEATED = 16  # integer powers up to this one are repeated multiplications


def power(x: Node, exponent: Operand) -> Node:
    """`x` to a power; a small integer becomes multiplications, a half a square root."""
    n = uniform(exponent) if isinstance(exponent, Node) else exponent
    if n is None:
        return elementwise("power", x, exponent)
    if isinstance(exponent, Node):  # keeps the shape and dtype that the exponent brings
        x = cast(x, np.result_type(x.dtype, exponent.dtype))
        x = broadcast(x, np.broadcast_shapes(x.shape, exponent.shape))
    if n == 0.5:
        return sqrt(x)
    if n != int(n if math.isfinite(n) else 0) or abs(n) > MAX_REPEATED:
        return elementwise("power", x, n)
    if n <= 0:
        return 1 / power(x, -n) if n else filled(x, 1.0)
    square, result, bits = x, None, int(n)
    while True:
        if bits & 1:
            result = square if result is None else result * square
        bits >>= 1
        if not bits:
            assert result is not None
            return result
        square = square * square


def uniform(x: Node) -> float | None:
    """The number that a constant holds in every element, or None."""
    return x.number


def filled(like: Node, value: float) -> Node:
    """A constant with the shape and dtype of a node."""
    return broadcast(like.builder.scalar(value, like.dtype), like.shape)


def cast(a: Node, dtype: np.dtype) -> Node:
    """`a` in float32 or float64; constants are converted at once."""
    if a.dtype is dtype:
        return a
    if a.op == "const":
        with np.errstate(over="ignore"):
            return a.builder.constant(a.value.astype(dtype), a.is_bool)
    return a.builder.make("cast", (a,), dtype)


def truth_as_number(a: Node) -> Node:
    """Truth values as ordinary numbers 0.0 and 1.0."""
    return where(a, 1.0, 0.0) if a.is_bool else a


def broadcast(a: Node, shape: Shape) -> Node:
    """`a` repeated to a shape."""
    return a if a.shape == shape else a.builder.make("broadcast", (a,), shape)


def reshape(a: Node, shape: Shape) -> Node:
    """`a` with the same elements in another shape."""
    return a if a.shape == shape else a.builder.make("reshape", (a,), shape)


def transpose(a: Node, permutation: Sequence[int]) -> Node:
    """`a` with axes in another order."""
    permutation = tuple(permutation)
    return a if permutation == tuple(range(len(a.shape))) else a.builder.make("transpose", (a,), permutation)


def full_slices(shape: Shape) -> Slices:
    """The slices that take everything."""
    return tuple((0, n, 1) for n in shape)


def slices(a: Node, spec: Slices) -> Node:
    """Part of `a`: (start, length, step) for each axis."""
    return a if spec == full_slices(a.shape) else a.builder.make("slice", (a,), spec)


def slice_axis(a: Node, axis: int, start: int, length: int, step: int = 1) -> Node:
    """Part of `a` along one axis."""
    spec = list(full_slices(a.shape))
    spec[axis] = (start, length, step)
    return slices(a, tuple(spec))


def index_add(base: Node, spec: Slices, value: Node) -> Node:
    """`base` with `value` added to a part of it."""
    return base.builder.make("index_add", (base, value), spec)


def gather(a: Node, table: Frozen, shape: Shape) -> Node:
    """Elements of `a` by flat number, in a new shape."""
    return a.builder.make("gather", (a,), (table, shape))


def scatter_add(value: Node, table: Frozen, shape: Shape) -> Node:
    """Zeros of a shape, with the elements of `value` added at flat numbers."""
    return value.builder.make("scatter_add", (value,), (table, shape))


def concatenate(parts: Sequence[Node], axis: int) -> Node:
    """Parts of one dtype joined along an axis."""
    return parts[0] if len(parts) == 1 else parts[0].builder.make("concatenate", tuple(parts), axis)


def matmul(a: Node, b: Node) -> Node:
    """Matrix products of `a` (..., m, k) and `b` (..., k, n) with equal leading axes."""
    return a.builder.make("matmul", (a, b))


def lane_sum(a: Node) -> Node:
    """The sum of `a` over all instances of a batch: made of outputs, after differentiation."""
    return a.builder.make("lane_sum", (a,))


def matrix_transpose(a: Node) -> Node:
    """`a` with its last two axes exchanged."""
    axes = range(len(a.shape))
    return transpose(a, (*axes[:-2], axes[-1], axes[-2]))


def reduction(op: str, a: Node, axes: Iterable[int] | None = None) -> Node:
    """sum, prod, max or min over axes (all of them when None), which disappear."""
    chosen = tuple(sorted(range(len(a.shape)) if axes is None else axes))
    return a.builder.make(op, (a,), chosen) if chosen else a


def spread(a: Node, axes: Iterable[int], shape: Shape) -> Node:
    """The value of a reduction over axes back at every element of `shape` that went into it."""
    gone = frozenset(axes)
    kept = tuple(1 if axis in gone else n for axis, n in enumerate(shape))
    return broadcast(reshape(a, kept), shape)


def without_unit_axes(shape: Shape) -> Shape:
    """`shape` less the axes of length 1: equal for two shapes when a reshape between them moves nothing."""
    return tuple(n for n in shape if n != 1)


def inline(graph: Graph, arguments: Sequence[Node]) -> list[Node]:
    """The outputs of `graph` with its inputs replaced, in the builder of the arguments.

    Other inputs in place of the inputs make nothing simpler: then nodes that a builder of the same kind made are taken
    as they are, so that a function becomes the same program alone and as a part of a batch.
    """
    made = dict(zip(graph.inputs, arguments, strict=True))
    builder = (arguments or graph.outputs)[0].builder
    is_as_simple = type((graph.outputs or arguments)[0].builder) is type(builder)
    is_renaming = is_as_simple and all([x.op == "input" for x in arguments]) and len(set(arguments)) == len(arguments)
    for node in graph.nodes:
        if node in made:
            continue
        operands = tuple([made[x] for x in node.inputs])
        if node.builder is builder and operands == node.inputs:
            made[node] = node
        elif node.op == "const":
            made[node] = builder.constant(node.value, node.is_bool)
        elif is_renaming:
            made[node] = builder.renamed(node, operands)
        else:
            made[node] = builder.make(node.op, operands, node.attributes)
    return [made[x] for x in graph.outputs]
