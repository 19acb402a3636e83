"""Memory as the compiler sees it: storages, strided views of them, instructions on views, and places in the arena.

A view costs nothing: reshapes, transposes, slices and broadcasts are other offsets and strides of the same storage.

Cython compiles this module with the types that storage.pxd gives it, since every instruction of every program passes
through it several times. It is plain Python all the same.
"""

from __future__ import annotations

import bisect
import functools
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._core import operations
from .graph import Shape, Slices

INPUT, OUTPUT, CONSTANT, ARENA = range(4)  # fg_role
MAGIC = 0x3230444152474601
DTYPES = {"d": 0, "f": 1, "q": 2}  # fg_dtype by numpy's character
NAMES, ARITIES, KINDS = zip(*operations(), strict=True)
OPS = {name: number for number, name in enumerate(NAMES)}
SCAN = OPS["scan"]
ACROSS = frozenset(["lane_sum", "lane_matmul"])  # what sums over lanes
MAX_DIMS = 8  # axes of an instruction


class Storage:
    """Memory of one buffer, not yet placed when it belongs in the arena."""

    def __init__(
        self, role: int, dtype: str, is_lane: bool, size: int, position: int = -1, data: np.ndarray | None = None
    ) -> None:
        self.role = role
        self.dtype = dtype  # numpy's character
        self.is_lane = is_lane
        self.size = size
        self.position = position
        self.data = data  # of a constant
        self.blank: np.ndarray | None = None  # elements not written yet, while it is filled part by part
        self.number = -1  # in the program
        self.last = -1  # the instruction, among those on lanes or on uniform values, that uses it last


class View:
    """Elements of a storage in a shape, any strides."""

    def __init__(self, storage: Storage, offset: int, shape: Shape, strides: tuple[int, ...]) -> None:
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides

    def part(self, spec: Slices) -> View:
        """Start, length and step along each axis."""
        offset = self.offset + sum(start * s for (start, _, _), s in zip(spec, self.strides, strict=True))
        strides = tuple([step * s for (_, _, step), s in zip(spec, self.strides, strict=True)])
        return View(self.storage, offset, tuple([length for _, length, _ in spec]), strides)

    def transposed(self, permutation: Sequence[int]) -> View:
        """The axes in another order."""
        shape = tuple([self.shape[axis] for axis in permutation])
        return View(self.storage, self.offset, shape, tuple([self.strides[axis] for axis in permutation]))

    def repeated(self, shape: Shape) -> View:
        """Broadcast to a shape."""
        new = len(shape) - len(self.shape)
        kept = [0 if n == 1 else s for n, s in zip(self.shape, self.strides, strict=True)]
        return View(self.storage, self.offset, shape, (0,) * new + tuple(kept))

    def reshaped(self, shape: Shape) -> View | None:
        """In another shape; None when that needs the elements to move."""
        if 0 in shape:
            return View(self.storage, self.offset, shape, (0,) * len(shape))
        runs, (strides,) = merged(self.shape, (self.strides,))
        result = [0] * len(shape)
        axis = len(shape) - 1
        for n, stride in zip(reversed(runs), reversed(strides), strict=True):
            while n > 1:
                while shape[axis] == 1:
                    axis -= 1
                if n % shape[axis]:
                    return None
                result[axis] = stride
                stride *= shape[axis]
                n //= shape[axis]
                axis -= 1
        return View(self.storage, self.offset, shape, tuple(result))

    @property
    def is_packed(self) -> bool:
        """Whether the elements stand one after another."""
        shape, (strides,) = merged(self.shape, (self.strides,))
        return strides in ((), (1,)) or 0 in shape


def packed(storage: Storage, shape: Shape) -> View:
    """All of a storage, in a shape."""
    return View(storage, 0, shape, packed_strides(shape))


def fresh(dtype: str, is_lane: bool, shape: Shape) -> View:
    """All of a new storage in the arena."""
    return packed(Storage(ARENA, dtype, is_lane, math.prod(shape)), shape)


@functools.lru_cache
def packed_strides(shape: Shape) -> tuple[int, ...]:
    """Strides of elements that stand one after another."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


@functools.lru_cache(4096)  # a graph has many nodes and few layouts
def merged(shape: Shape, strides: tuple[tuple[int, ...], ...]) -> tuple[Shape, tuple[tuple[int, ...], ...]]:
    """Axes of length 1 left out, and neighbours joined that are one run for every one of the strides."""
    new_shape: list[int] = []
    new_strides: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        if new_shape and all([new[-1] == n * old[axis] for new, old in zip(new_strides, strides, strict=True)]):
            new_shape[-1] *= n
            for new, old in zip(new_strides, strides, strict=True):
                new[-1] = old[axis]
        else:
            new_shape.append(n)
            for new, old in zip(new_strides, strides, strict=True):
                new.append(old[axis])
    return tuple(new_shape), tuple(map(tuple, new_strides))


class Code:
    """Instructions in the order in which they run, as the words of a program."""

    def __init__(self) -> None:
        self.words: Any = np.empty(256, np.int64)  # the first `n_words` of them
        self.n_words = 0
        self.n_instructions = 0

    def reserve(self, n: int) -> None:
        """Room for n more words."""
        if self.n_words + n > len(self.words):
            longer = np.empty(2 * (self.n_words + n), np.int64)
            longer[: self.n_words] = self.words[: self.n_words]
            self.words = longer

    def ops(self) -> list[str]:
        """The name of each instruction's operation."""
        words, at, names = self.words, 0, []
        while at < self.n_words:
            names.append(NAMES[words[at]])
            step = 2 + words[at + 2]
            at = _operands_at(words, at) + _n_operands(words, at) * step
        return names

    def taken(self) -> np.ndarray:
        """The words."""
        return np.asarray(self.words)[: self.n_words]


def _operands_at(words: Any, at: int) -> int:
    """Where the operands of the instruction at a word stand, each as its storage, its offset and its strides."""
    first = at + 3 + words[at + 2]
    return first + 3 if words[at] == SCAN else first


def _n_operands(words: Any, at: int) -> int:
    """How many, with the result."""
    op = words[at]
    n = 1 + ARITIES[op]
    if op == SCAN:
        n += words[at + 5 + words[at + 2]]
    return n


FOREVER = sys.maxsize


class Tape:
    """Instructions on uniform values, which run first, those on lanes, and last the sums over lanes; and the storages
    that they use."""

    def __init__(self, fixed: Iterable[Storage]) -> None:
        self.uniform = Code()
        self.lane = Code()
        self.across = Code()
        self.storages: list[Storage] = []  # by number; `fixed` ones whether they are used or not
        for storage in fixed:
            self._add(storage)

    def _add(self, storage: Storage) -> None:
        storage.number = len(self.storages)
        self.storages.append(storage)

    def emit(self, op: str, *operands: View) -> None:
        """An operation on views of one shape, the first of which is the result."""
        shape = operands[0].shape
        if 0 in shape:
            return
        strides = tuple([x.strides for x in operands])
        if len(shape) > 1 or shape == (1,):
            shape, strides = merged(shape, strides)
        self.append(op, shape, operands, strides)

    def append(
        self,
        op: str,
        shape: Shape,
        operands: tuple[View, ...],
        strides: tuple[tuple[int, ...], ...],
        body: Storage | None = None,
        every: int = 0,
    ) -> None:
        """One more instruction, after all others on lanes or on uniform values.

        It walks each view with strides of its own along `shape`; a scan has the words of its body, too.
        """
        if body is not None:
            self._add(body)
        n_dims = len(shape)
        if n_dims > MAX_DIMS:
            self._append_parts(op, shape, operands, strides)
            return
        result = operands[0].storage
        is_lane = result.is_lane
        code = self.lane if is_lane else self.across if op in ACROSS else self.uniform
        code.reserve(6 + n_dims + len(operands) * (2 + n_dims))
        words, at, now = code.words, code.n_words, code.n_instructions
        words[at] = OPS[op]
        words[at + 1] = DTYPES[result.dtype]
        words[at + 2] = n_dims
        at += 3
        for n in shape:
            words[at] = n
            at += 1
        if body is not None:
            words[at] = body.number
            words[at + 1] = every
            words[at + 2] = len(operands) - 2
            at += 3
        for i, view in enumerate(operands):
            storage = view.storage
            if storage.number < 0:
                self._add(storage)
            if storage.role == ARENA:
                # every block of lanes reads what is uniform, and sums over lanes are made when all else is done
                end = now if storage.is_lane is is_lane else FOREVER
                if storage.last < end:
                    storage.last = end
            words[at] = storage.number
            words[at + 1] = view.offset
            at += 2
            for n in strides[i]:
                words[at] = n
                at += 1
        code.n_words = at
        code.n_instructions = now + 1

    def _append_parts(
        self, op: str, shape: Shape, operands: tuple[View, ...], strides: tuple[tuple[int, ...], ...]
    ) -> None:
        """An instruction of too many axes as one for each position of the shortest; not of the last, which may fold."""
        axis = min(range(len(shape) - 1), key=shape.__getitem__)
        rest = tuple([s[:axis] + s[axis + 1 :] for s in strides])
        for i in range(shape[axis]):
            parts = [View(x.storage, x.offset + i * s[axis], (), ()) for x, s in zip(operands, strides, strict=True)]
            self.append(op, shape[:axis] + shape[axis + 1 :], tuple(parts), rest)

    def program(self, n_inputs: int, n_outputs: int) -> np.ndarray:
        """The words of a program (csrc/fastgrad.h); its values get places in the arena."""
        allocate(self.uniform, self.storages, Arena(64))
        allocate(self.lane, self.storages, Arena(8))
        constants: list[np.ndarray] = []
        n_constant_words = 0
        buffers = np.empty((len(self.storages), 5), np.int64)
        for number, storage in enumerate(self.storages):
            if storage.role == CONSTANT:
                raw = np.ascontiguousarray(storage.data).tobytes()
                raw += b"\0" * (-len(raw) % 8)
                storage.position = n_constant_words
                constants.append(np.frombuffer(raw, np.int64))
                n_constant_words += len(raw) // 8
            position = max(storage.position, 0)  # what is empty is never written, and has no place
            buffers[number, 0] = storage.role
            buffers[number, 1] = DTYPES[storage.dtype]
            buffers[number, 2] = storage.is_lane
            buffers[number, 3] = storage.size
            buffers[number, 4] = position
        n_uniform = self.uniform.n_instructions
        n_across = self.across.n_instructions
        n_instructions = n_uniform + self.lane.n_instructions + n_across
        counts = [len(self.storages), n_instructions, n_uniform, n_across, n_inputs, n_outputs, n_constant_words]
        codes = [code.taken() for code in (self.uniform, self.lane, self.across)]
        return np.concatenate([[MAGIC, *counts], np.asarray(buffers).ravel(), *codes, *constants])


# ---- allocating


class Arena:
    """Free ranges of bytes, first fit; ranges given back are joined."""

    def __init__(self, alignment: int) -> None:
        self.alignment = alignment
        self.free: list[tuple[int, int]] = []  # start, end; sorted
        self.end = 0

    def take(self, n_bytes: int) -> int:
        n_bytes = -(-n_bytes // self.alignment) * self.alignment
        for i, (start, end) in enumerate(self.free):
            if end - start >= n_bytes:
                self.free[i : i + 1] = [(start + n_bytes, end)] if end - start > n_bytes else []
                return start
        self.end += n_bytes
        return self.end - n_bytes

    def give(self, start: int, n_bytes: int) -> None:
        end = start + -(-n_bytes // self.alignment) * self.alignment
        i = bisect.bisect_left(self.free, (start, end))
        if i < len(self.free) and self.free[i][0] == end:
            end = self.free.pop(i)[1]
        if i and self.free[i - 1][1] == start:
            i -= 1
            start = self.free.pop(i)[0]
        self.free.insert(i, (start, end))


def allocate(code: Code, storages: list[Storage], arena: Arena) -> None:
    """Positions in the arena for what instructions, all of them on lanes or all on uniform values, compute."""
    words, at = code.words, 0
    for i in range(code.n_instructions):
        op, step, n_operands = words[at], 2 + words[at + 2], _n_operands(words, at)
        first = _operands_at(words, at)
        at = first + n_operands * step
        dying: list[Storage] = []
        for k in range(first, at, step):
            storage = storages[words[k]]
            if storage.last == i and storage.position >= 0 and storage not in dying:
                dying.append(storage)
        result = storages[words[first]]
        if result.role == ARENA and result.position < 0:
            heir = None
            if KINDS[op] == "elementwise":
                heir = _heir(result, dying, words, first, at, step)
            if heir is not None:
                result.position = heir.position
                dying.remove(heir)
            else:
                result.position = arena.take(_n_bytes(result))
            if result.last == i:
                dying.append(result)
        for storage in dying:
            arena.give(storage.position, _n_bytes(storage))


def _n_bytes(storage: Storage) -> int:
    return storage.size * (4 if storage.dtype == "f" else 8)


def _heir(result: Storage, dying: list[Storage], words: Any, first: int, end: int, step: int) -> Storage | None:
    """A dying operand that an elementwise result may overwrite: read only in the very order of writing."""
    for storage in dying:
        if storage.size != result.size or storage.dtype != result.dtype or storage.is_lane is not result.is_lane:
            continue
        same = True
        for k in range(first, end, step):
            if words[k] == storage.number:
                for n in range(1, step):
                    same = same and words[k + n] == words[first + n]
        if same:
            return storage
    return None
