"""Memory as the compiler sees it: storages, strided views of them, instructions on views, and positions in the arena.

A view costs nothing: reshapes, transposes, slices and broadcasts are other offsets and strides of the same storage.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .graph import ELEMENTWISE, Shape, Slices

INPUT, OUTPUT, CONSTANT, ARENA = range(4)  # fg_role


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
        runs, (strides,) = merged(self.shape, [self.strides])
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
        shape, (strides,) = merged(self.shape, [self.strides])
        return strides in ([], [1]) or 0 in shape


def packed(storage: Storage, shape: Shape) -> View:
    """All of a storage, in a shape."""
    return View(storage, 0, shape, packed_strides(shape))


def packed_strides(shape: Shape) -> tuple[int, ...]:
    """Strides of elements that stand one after another."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def merged(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
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
    return new_shape, new_strides


@dataclass(slots=True)
class Instruction:
    """One operation on views; the first operand is the result. All strides are along the axes of `shape`."""

    op: str
    shape: list[int]
    operands: list[tuple[Storage, int, list[int]]]  # storage, offset, strides
    body: Storage | None = None  # of a scan: the words of its body
    every: int = 0

    @property
    def result(self) -> Storage:
        """Where it writes."""
        return self.operands[0][0]


# ---- allocating


class _Arena:
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


def allocate(instructions: list[Instruction]) -> tuple[list[Instruction], int]:
    """Positions for the storages of the arena; returns the instructions, uniform ones first, and their number."""
    ordered = [x for x in instructions if not x.result.is_lane]
    n_uniform = len(ordered)
    ordered += [x for x in instructions if x.result.is_lane]
    last: dict[Storage, int] = {}
    for i, instruction in enumerate(ordered):
        for storage, _, _ in instruction.operands:
            last[storage] = i if storage.is_lane or i < n_uniform else len(ordered)  # lanes read uniforms each block
    arenas = {False: _Arena(64), True: _Arena(8)}
    for i, instruction in enumerate(ordered):
        operands = [s for s, _, _ in instruction.operands]
        # a list without repetitions: the order of a set would differ from run to run
        dying = [s for s in dict.fromkeys(operands) if s.role == ARENA and last[s] == i and s.position >= 0]
        result = instruction.result
        if result.role == ARENA and result.position < 0:
            heir = _heir(instruction, dying)
            if heir is not None:
                result.position = heir.position
                dying.remove(heir)
            else:
                result.position = arenas[result.is_lane].take(_n_bytes(result))
        for storage in dying:
            arenas[storage.is_lane].give(storage.position, _n_bytes(storage))
        if last[result] == i and result.role == ARENA and result not in dying:
            arenas[result.is_lane].give(result.position, _n_bytes(result))
    return ordered, n_uniform


def _n_bytes(storage: Storage) -> int:
    return storage.size * (4 if storage.dtype == "f" else 8)


def _heir(instruction: Instruction, dying: list[Storage]) -> Storage | None:
    """A dying operand that an elementwise result may overwrite: read only in the very order of writing."""
    result, offset, strides = instruction.operands[0]
    if instruction.op not in ELEMENTWISE:
        return None
    for storage in dying:
        if _n_bytes(storage) != _n_bytes(result) or storage.is_lane != result.is_lane or storage.dtype != result.dtype:
            continue
        if all([s is not storage or (o == offset and t == strides) for s, o, t in instruction.operands]):
            return storage
    return None
