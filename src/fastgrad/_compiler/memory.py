"""Arrays that are filled: which traced value each element of a piece of memory holds at present.

The indices of a traced function are constants, so what an element holds is known while tracing: no assignment becomes
an operation. A `Memory` keeps for each of its elements the traced value that was written last and the element of that
value, or none. Views are NumPy's own, of a real array; they share the memory as they do in NumPy. What is read is
one value or part of one where it was written so, else an assembly of disjoint parts, which the compiler computes in
place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import shape_error, trace_error
from . import graph
from .graph import Builder, Frozen, Node, Shape, Slices

MOST_PARTS = 4  # a read of more parts than these is remembered as one value
MOST_WALKED = 1000  # nodes looked at for a transposition
MOST_BOXES = 16  # a value with more rectangles than these left of it is gathered element by element


MARK = 0x7FF8_FA57  # the first half of a NaN, which conversion to float32 and arithmetic keep
MARKED = np.array(MARK << 32, np.uint64).view(np.float64)


def refuse_marked(array: np.ndarray) -> None:
    """Raise if an array has elements of a traced one, by a way that could not be traced."""
    if array.dtype.kind == "f":
        nans = array[np.isnan(array)] if array.ndim else np.atleast_1d(array)
        if nans.size and (nans.astype(np.float64).view(np.uint64) >> 32 & 0x7FFF_FFFF == MARK).any():
            raise trace_error(
                "an array with traced elements went through code that cannot be traced, such as a function in C",
                "use NumPy's functions on it",
            )


class Memory:
    """The memory of a real array, with the traced values written into it.

    Where an element is traced the real array holds a NaN with a mark, so that code that fastgrad cannot see into finds
    no number, and what it makes of it is recognised when it comes back.
    """

    __slots__ = (
        "builder",
        "high",
        "is_foreign",
        "is_unclear",
        "low",
        "number",
        "piece",
        "raw",
        "values",
        "version",
        "wrapper",
    )

    def __init__(self, raw: np.ndarray, is_foreign: bool = False) -> None:
        self.raw = raw
        self.is_foreign = is_foreign  # made outside the traced function
        self.is_unclear = False  # whether a reshaped array shares this memory is not known
        self.low, self.high = np.lib.array_utils.byte_bounds(raw)
        self.piece: np.ndarray | None = None  # number in `values` for each element; below 0: the real value counts
        self.number: np.ndarray | None = None  # element of that value
        self.values: list[Node] = []
        self.version = 0
        self.builder: Builder | None = None
        self.wrapper: Any = None  # the class of the traced arrays written

    def holds(self, view: np.ndarray) -> bool:
        """Whether an array of the same dtype lies in this memory."""
        return view.dtype == self.raw.dtype and self.low <= view.__array_interface__["data"][0] < self.high

    def _laid(self, table: np.ndarray, view: np.ndarray) -> np.ndarray:
        """The entries of a table for the elements of a view."""
        if not view.size:
            return np.empty(view.shape, table.dtype)
        unit, entry = view.itemsize, table.itemsize
        offset = (view.__array_interface__["data"][0] - self.low) // unit * entry
        return np.ndarray(view.shape, table.dtype, table, offset, [s // unit * entry for s in view.strides])

    def is_traced(self, view: np.ndarray) -> bool:
        """Whether any element of a view is traced."""
        return self.piece is not None and bool((self._laid(self.piece, view) >= 0).any())

    def write(self, view: np.ndarray, key: Any, value: Node, wrapper: Any) -> None:
        """``view[key] = value`` for a traced value."""
        if self.is_foreign:
            raise trace_error(
                f"assignment of a traced value into an array of shape {view.shape} from outside the function",
                "copy it first: y = np.array(x), then assign into y",
            )
        if self.is_unclear:
            raise unclear_layout()
        if not view.flags.writeable:
            raise ValueError("assignment destination is read-only")
        if self.raw.dtype not in (graph.FLOAT64, graph.FLOAT32):
            raise trace_error(
                f"a traced value would be cut to the dtype {self.raw.dtype} of the array it is assigned into",
                "make the array with dtype float",
            )
        if self.piece is None or self.number is None:
            self.piece = np.full((self.high - self.low) // self.raw.itemsize, -1)
            self.number = np.zeros_like(self.piece)
        pieces = self._laid(self.piece, view)
        value = fitted(value, np.shape(pieces[key]), self.raw.dtype)
        self.builder, self.wrapper = value.builder, wrapper
        self.builder.check = refuse_marked
        view[key] = MARKED
        pieces[key] = len(self.values)
        self._laid(self.number, view)[key] = np.arange(value.size).reshape(value.shape) if value.shape else 0
        self.values.append(value)
        self.version += 1

    def write_constant(self, view: np.ndarray, key: Any, value: Any) -> None:
        """``view[key] = value`` for a real value."""
        if self.is_unclear:
            raise unclear_layout()
        view[key] = value
        if self.piece is not None:
            self._laid(self.piece, view)[key] = -1
            self.version += 1

    def read(self, view: np.ndarray, key: Any = ...) -> Any:
        """``view[key]`` as a node if any of its elements are traced, else as NumPy gives it."""
        found = view[key]
        if self.piece is None or self.number is None:
            return found
        pieces = self._laid(self.piece, view)[key]
        if pieces.size == 1:
            k = pieces.item()
            return found if k < 0 else taken(self.values[k], self._laid(self.number, view)[key])
        if not (pieces >= 0).any():
            return found
        numbers = self._laid(self.number, view)[key]
        node, n_parts = self._assembled(pieces, numbers, found)
        if n_parts > MOST_PARTS and np.may_share_memory(found, view):
            traced = pieces >= 0
            pieces[traced] = len(self.values)
            numbers[traced] = np.arange(node.size).reshape(node.shape)[traced]
            self.values.append(node)
        return node

    def _assembled(self, pieces: np.ndarray, numbers: np.ndarray, real: np.ndarray) -> tuple[Node, int]:
        """The value of elements that several values, and constants, make up; and how many of them."""
        assert self.builder is not None
        shape, flat, where = pieces.shape, pieces.ravel(), numbers.ravel()
        order = np.argsort(flat, kind="stable")
        edges = [0, *(np.flatnonzero(np.diff(flat[order])) + 1).tolist(), flat.size]
        groups = [order[i:j] for i, j in itertools.pairwise(edges)]
        if len(groups) == 1:
            return taken(self.values[flat[0]], numbers), 1
        is_mixed = bool(flat[order[0]] < 0)
        base = self._constants(pieces, real) if is_mixed else None
        parts: list[tuple[Slices, Node]] = []
        for group in groups[is_mixed:]:
            regions = boxes(group, shape)
            if regions is None:
                return self._gathered(groups, flat, where, base, shape), len(groups)
            value = self.values[flat[group[0]]]
            parts += [(spec, taken(value, numbers[_key(spec)])) for spec in regions]
        if base is None:
            base = graph.broadcast(self.builder.scalar(0.0, self.raw.dtype), shape)
        for spec, value in parts:
            base = graph.index_add(base, spec, value)
        return base, len(parts)

    def _constants(self, pieces: np.ndarray, real: np.ndarray) -> Node:
        """The real elements, and -0.0, to which anything can be added without a change, in place of the traced."""
        assert self.builder is not None
        constants = np.where(pieces >= 0, -0.0, real).astype(self.raw.dtype)
        if not constants.any():
            return graph.broadcast(self.builder.scalar(0.0, self.raw.dtype), constants.shape)
        return self.builder.constant(constants)

    def _gathered(
        self, groups: Sequence[np.ndarray], flat: np.ndarray, where: np.ndarray, base: Node | None, shape: Shape
    ) -> Node:
        """Everything joined, and picked element by element."""
        table, start, joined = np.empty(flat.size, np.int64), 0, []
        for group in groups:
            k = flat[group[0]]
            source = base if k < 0 else self.values[k]
            assert source is not None
            table[group] = start + (group if k < 0 else where[group])
            joined.append(graph.reshape(source, (source.size,)))
            start += source.size
        return graph.gather(graph.concatenate(joined, 0), Frozen(table), shape)


class Place:
    """An array in a memory: what a view of a filled array refers to."""

    __slots__ = ("_known", "_version", "memory", "raw")

    def __init__(self, memory: Memory, raw: np.ndarray) -> None:
        self.memory = memory
        self.raw = raw
        self._version = -1
        self._known: Node | None = None

    def node(self) -> Node:
        """The present value."""
        memory = self.memory
        if self._known is None or self._version != memory.version:
            found = memory.read(self.raw)
            if type(found) is not Node:
                assert memory.builder is not None
                found = memory.builder.copied_constant(np.asarray(found), memory.raw.dtype)
            self._known, self._version = found, memory.version
        return self._known

    def seen(self, how: Callable[[np.ndarray], Any]) -> Place | None:
        """Another view of the memory, if `how` makes one of NumPy's arrays."""
        raw = how(self.raw)
        return Place(self.memory, raw) if self.memory.holds(raw) or not raw.size else None


def new_place(node: Node, wrapper: Any) -> Place:
    """Memory of its own for a value."""
    raw = np.empty(node.shape, node.dtype)
    place = Place(Memory(raw), raw)
    place.memory.write(raw, ..., node, wrapper)
    return place


def fitted(value: Node, shape: Shape, dtype: Any) -> Node:
    """A value as an assignment to elements of this shape takes it."""
    extra = len(value.shape) - len(shape)
    own = value.shape[extra:] if extra > 0 else value.shape
    fits = extra <= 0 or set(value.shape[:extra]) <= {1}
    if fits and own != shape:
        fits = len(own) <= len(shape) and all(n in (1, m) for n, m in zip(own[::-1], shape[::-1], strict=False))
    if not fits:
        raise shape_error(
            f"a value of shape {value.shape} is assigned to elements of shape {shape}", "make the shapes equal"
        )
    value = graph.cast(graph.truth_as_number(value), dtype)
    return graph.broadcast(graph.reshape(value, own), shape)


def unclear_layout() -> Exception:
    """The error for a write that another array sees or not, as the layout is."""
    return trace_error(
        "assignment into an array that was reshaped after a transposition, or into the reshaped one: whether the two"
        " share memory depends on the layout of the result, which is not traced",
        "copy before the reshape: y = y.copy()",
    )


def transposed(value: Node) -> bool:
    """Whether NumPy might lay a value out in another order than C's: elementwise results follow their operands."""
    stack, seen = [value], set()
    while stack:
        node = stack.pop()
        if len(node.shape) < 2 or node in seen:
            continue
        if node.op == "transpose":
            return True
        seen.add(node)
        if node.op in graph.ELEMENTWISE or node.op in ("cast", "slice", "index_add", "gather"):
            stack.extend(node.inputs)
        if len(seen) > MOST_WALKED:
            return True
    return False


# ---- parts of values


def taken(value: Node, numbers: Any) -> Node:
    """Elements of a value by flat number, as a slice where they are one."""
    shape = np.shape(numbers)
    size = math.prod(shape)
    if size == 0:
        return graph.broadcast(value.builder.scalar(0.0, value.dtype), shape)
    first = int(numbers) if shape == () else int(numbers.flat[0])
    if shape == value.shape and first == 0 and (size == 1 or np.array_equal(numbers.ravel(), np.arange(size))):
        return value
    if size == 1:
        spec = tuple((int(i), 1, 1) for i in np.unravel_index(first, value.shape))
        return graph.reshape(graph.slices(value, spec), shape)
    strides = [int(numbers[(0,) * axis + (1,)].flat[0]) - first if n > 1 else 0 for axis, n in enumerate(shape)]
    expected: Any = first
    for axis, (n, stride) in enumerate(zip(shape, strides, strict=True)):
        expected = expected + (np.arange(n) * stride).reshape((n,) + (1,) * (len(shape) - axis - 1))
    if np.array_equal(expected, numbers):
        for source in (value, graph.reshape(value, (value.size,))):
            part = _as_slices(source, first, shape, strides)
            if part is not None:
                return part
    return graph.gather(value, Frozen(np.array(numbers, np.int64).ravel()), shape)


def _as_slices(value: Node, first: int, shape: Shape, strides: Sequence[int]) -> Node | None:
    """Elements at `first` and regular distances, if each axis of them runs along one axis of the value."""
    starts = [int(i) for i in np.unravel_index(first, value.shape)]
    spec = [(start, 1, 1) for start in starts]
    order: list[int] = []
    steps = [math.prod(value.shape[axis + 1 :]) for axis in range(value.ndim)]
    for n, stride in zip(shape, strides, strict=True):
        if n == 1:
            continue
        for axis, step in enumerate(steps):
            k, rest = divmod(stride, step)
            if axis not in order and rest == 0 and k and 0 <= starts[axis] + k * (n - 1) < value.shape[axis]:
                spec[axis] = (starts[axis], n, k)
                order.append(axis)
                break
        else:
            return None
    others = [axis for axis in range(value.ndim) if axis not in order]
    return graph.reshape(graph.transpose(graph.slices(value, tuple(spec)), (*others, *order)), shape)


def boxes(positions: np.ndarray, shape: Shape) -> list[Slices] | None:
    """Elements by ascending flat number as few slices of an array of this shape; None if they are not few."""
    if positions.size == 1:
        return [tuple((int(i), 1, 1) for i in np.unravel_index(positions[0], shape))]
    lattice = []
    for indices in np.unravel_index(positions, shape):
        values = np.unique(indices)
        step = int(values[1] - values[0]) if values.size > 1 else 1
        if values.size > 1 and (np.diff(values) != step).any():
            break
        lattice.append((int(values[0]), values.size, step))
    else:
        if math.prod(n for _, n, _ in lattice) == positions.size:
            return [tuple(lattice)]
    mask = np.zeros(shape, bool)
    mask.ravel()[positions] = True
    found: list[Slices] = []
    while mask.any():
        if len(found) == MOST_BOXES:
            return None
        corner = [int(i) for i in np.unravel_index(int(np.argmax(mask)), shape)]
        box = [slice(i, i + 1) for i in corner]
        for axis in reversed(range(len(shape))):  # as far as all of the box so far goes on
            rest = (*box[:axis], slice(corner[axis], None), *box[axis + 1 :])
            along = mask[rest].all(axis=tuple(i for i in range(len(shape)) if i != axis))
            length = along.size if along.all() else int(np.argmin(along))
            box[axis] = slice(corner[axis], corner[axis] + length)
        mask[tuple(box)] = False
        found.append(tuple((s.start, s.stop - s.start, 1) for s in box))
    return found


def _key(spec: Slices) -> tuple[slice, ...]:
    """Slices with positive steps as Python writes them."""
    return tuple(slice(start, start + (n - 1) * step + 1, step) for start, n, step in spec)
