"""Memory as the compiler sees it: storages, strided views of them, instructions on views, and positions in the arena.

A view costs nothing: reshapes, transposes, slices and broadcasts are other offsets and strides of the same storage.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .graph import ELEMENTWISE, Shape, Slices

INPUT, OUTPUT, CONSTANT, ARENA = range(4)  # fg_role
MAX_DIMS = 8  # axes of an instruction


@dataclass(eq=False, slots=True)
class Storage:
    """Memory of one buffer, not yet placed when it belongs in the arena."""

    role: int
    dtype: str  # numpy's character
    is_lane: bool
    size: int
    position: int = -1
    data: np.ndarray | None = None  # of a constant
    blank: np.ndarray | None = None  # elements not written yet, while it is filled part by part
    number: int = -1  # in the program
    last: int = -1  # the instruction, among those on lanes or on uniform values, that uses it last


@dataclass(slots=True)
class View:
    """Elements of a storage in a shape, any strides."""

    storage: Storage
    offset: int
    shape: Shape
    strides: tuple[int, ...]

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


@dataclass(slots=True)
class Instruction:
    """One operation on views, the first of which is the result; each is walked with strides along `shape`."""

    op: str
    shape: Shape
    operands: Sequence[View]
    strides: Sequence[tuple[int, ...]]
    body: Storage | None = None  # of a scan: the words of its body
    every: int = 0


FOREVER = sys.maxsize


class Tape:
    """Instructions in the order in which they run, those on uniform values first, and the storages that they use."""

    def __init__(self, fixed: Iterable[Storage]) -> None:
        self.uniform: list[Instruction] = []
        self.lane: list[Instruction] = []
        self.storages: list[Storage] = []  # by number; `fixed` ones whether they are used or not
        for storage in fixed:
            self._add(storage)

    def _add(self, storage: Storage) -> None:
        storage.number = len(self.storages)
        self.storages.append(storage)

    def append(
        self,
        op: str,
        shape: Shape,
        operands: Sequence[View],
        strides: Sequence[tuple[int, ...]],
        body: Storage | None = None,
        every: int = 0,
    ) -> None:
        """One more instruction, after all others on lanes or on uniform values."""
        if body is not None:
            self._add(body)
        if len(shape) > MAX_DIMS:
            self._append_parts(op, shape, operands, strides)
            return
        is_lane = operands[0].storage.is_lane
        instructions = self.lane if is_lane else self.uniform
        now = len(instructions)
        for view in operands:
            storage = view.storage
            if storage.number < 0:
                self._add(storage)
            if storage.role == ARENA:
                end = now if storage.is_lane is is_lane else FOREVER  # every block of lanes reads what is uniform
                if storage.last < end:
                    storage.last = end
        instructions.append(Instruction(op, shape, operands, strides, body, every))

    def _append_parts(
        self, op: str, shape: Shape, operands: Sequence[View], strides: Sequence[tuple[int, ...]]
    ) -> None:
        """An instruction of too many axes as one for each position of the shortest; not of the last, which may fold."""
        axis = min(range(len(shape) - 1), key=shape.__getitem__)
        rest = [s[:axis] + s[axis + 1 :] for s in strides]
        for i in range(shape[axis]):
            parts = [View(x.storage, x.offset + i * s[axis], (), ()) for x, s in zip(operands, strides, strict=True)]
            self.append(op, shape[:axis] + shape[axis + 1 :], parts, rest)

    def __iter__(self) -> Iterator[Instruction]:
        return itertools.chain(self.uniform, self.lane)


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


def allocate(instructions: list[Instruction], arena: Arena) -> None:
    """Positions in the arena for what instructions, all of them on lanes or all on uniform values, compute."""
    for i, instruction in enumerate(instructions):
        dying: list[Storage] = []
        for view in instruction.operands:
            storage = view.storage
            if storage.last == i and storage.position >= 0 and storage not in dying:
                dying.append(storage)
        result = instruction.operands[0].storage
        if result.role == ARENA and result.position < 0:
            heir = _heir(instruction, dying) if dying else None
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


def _heir(instruction: Instruction, dying: list[Storage]) -> Storage | None:
    """A dying operand that an elementwise result may overwrite: read only in the very order of writing."""
    if instruction.op not in ELEMENTWISE:
        return None
    views, strides = instruction.operands, instruction.strides
    target, result = views[0], views[0].storage
    for storage in dying:
        if storage.size != result.size or storage.dtype != result.dtype or storage.is_lane is not result.is_lane:
            continue
        for view, walk in zip(views, strides, strict=True):
            if view.storage is storage and (view.offset != target.offset or walk != strides[0]):
                break
        else:
            return storage
    return None
