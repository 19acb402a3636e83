"""What `np.zeros` and its like give while a function is traced: real arrays that traced values can be written into.

A `FilledArray` is a NumPy array in every respect until a traced value is assigned to one of its elements. From then on
whatever reads such an element gets a traced array, which knows the same memory (memory.py): both are one array with
two faces. Results of NumPy's functions on plain filled arrays are filled arrays again, as everything that a function
makes may be written to later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import trace_error
from .masked import Masked, assigned, key_of
from .memory import Memory, Place

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


class FilledArray(np.ndarray):
    """A real array, some elements of which may be traced."""

    _memory: Memory | None
    _raw: np.ndarray | None  # the same elements as an array of NumPy's own class

    def __array_finalize__(self, parent: Any) -> None:
        self._memory = self._raw = None
        if isinstance(parent, FilledArray):
            memory = memory_of(parent)
            if memory.holds(self):
                self._memory = memory

    def __getitem__(self, key: Any) -> Any:
        raw, memory = raw_of(self), memory_of(self)
        key = key_of(lowered(key))
        if has_traced(key):
            return _as_traced(self, key)[key]
        found = memory.read(raw, key)
        if isinstance(found, np.ndarray):
            if not memory.holds(found) or not memory.is_traced(found):
                return adopted(found, (memory,))
            return memory.wrapper(place=Place(memory, found))
        if not isinstance(found, np.generic) and memory.piece is not None:
            view = raw[key]
            if isinstance(view, np.ndarray) and memory.holds(view):
                return memory.wrapper(place=Place(memory, view))
            return memory.wrapper(found)
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        raw, memory = raw_of(self), memory_of(self)
        key, value = key_of(lowered(key)), lowered(value)
        traced = traced_in(value)
        if has_traced(key):
            _as_traced(self, key)[key] = value
        elif traced is not None:
            memory.write(raw, key, type(traced).node_of(value), type(traced))
        else:
            memory.write_constant(raw, key, value)

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.pop("out", None)
        arguments = [lowered(x) for x in inputs]
        if has_traced(arguments) and method == "at":
            return _accumulated(ufunc, inputs[0], *arguments[1:])
        if has_traced(arguments) or (out is not None and any(map(has_traced, map(lowered, out)))):
            result = getattr(ufunc, method)(*arguments, **options)
            return result if out is None else written(out, result)
        if out is not None:
            options["out"] = tuple([raw_of(x) if isinstance(x, FilledArray) else x for x in out])
        result = getattr(ufunc, method)(*arguments, **options)
        if out is not None:
            for x in out:
                memory_of(x).version += 1 if isinstance(x, FilledArray) else 0
            return out[0] if len(out) == 1 else out
        return adopted_all(result, inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function in WRITERS:
            return WRITERS[function](*args, **options)
        return adopted_all(function(*lowered(args), **lowered(options)), (*args, *options.values()))

    @property
    def flat(self) -> Any:
        """The elements in one row, which may be assigned to."""
        return self.reshape(-1)

    @flat.setter
    def flat(self, value: Any) -> None:
        self.reshape(-1)[...] = value

    def fill(self, value: Any) -> None:
        """Assign one value to every element."""
        self[...] = value

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def __reduce__(self) -> Any:
        return lowered(self).__reduce__()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()


def filled(array: Any, is_foreign: bool = False) -> Any:
    """An array of floats that the traced function made, as one that can be filled; anything else as it is."""
    if type(array) is not np.ndarray or array.dtype not in FLOATS or not (array.size or array.ndim):
        return array
    result = array.view(FilledArray)
    result._memory, result._raw = Memory(array, is_foreign), array
    return result


def raw_of(array: FilledArray) -> np.ndarray:
    """The real array: always the same object, by which constants are known."""
    if array._raw is None or array._raw.shape != array.shape:
        array._raw = array.view(np.ndarray)
    return array._raw


def memory_of(array: FilledArray) -> Memory:
    """The memory that an array lies in; one made by NumPy itself gets it now."""
    if array._memory is None:
        array._memory = Memory(raw_of(array))
    return array._memory


def adopted(result: Any, memories: Any) -> Any:
    """A result of NumPy's: a view of one of the memories, or an array of its own."""
    if type(result) is np.ndarray and result.dtype in FLOATS:
        for memory in memories:
            if memory.holds(result):
                view = result.view(FilledArray)
                view._memory, view._raw = memory, result
                return view
        return filled(result)
    return result


def adopted_all(result: Any, sources: Any) -> Any:
    """Like `adopted`, for one result or several of a function of `sources`."""
    memories = [memory_of(x) for x in sources if isinstance(x, FilledArray)]
    others = [x for x in sources if type(x) is np.ndarray]
    if type(result) in (list, tuple):
        return type(result)([adopted_all(x, sources) for x in result])
    if others and type(result) in (np.ndarray, FilledArray) and any(np.may_share_memory(result, x) for x in others):
        return result  # the caller's
    return adopted(result, memories)


def lowered(value: Any) -> Any:
    """A filled array as what it is at present, a real array or a traced one; in nested lists and tuples too."""
    kind = type(value)
    if kind is FilledArray:
        memory = memory_of(value)
        raw = raw_of(value)
        return memory.wrapper(place=Place(memory, raw)) if memory.is_traced(raw) else raw
    if kind is list or kind is tuple:
        return kind([lowered(x) for x in value])
    return {key: lowered(x) for key, x in value.items()} if kind is dict else value


def traced_in(value: Any) -> Any:
    """The first traced array in nested lists, tuples and dicts; None if there is none."""
    kind = type(value)
    if kind is list or kind is tuple:
        return next((found for x in value if (found := traced_in(x)) is not None), None)
    if kind is dict:
        return traced_in(list(value.values()))
    return value if hasattr(kind, "node_of") else None


def has_traced(value: Any) -> bool:
    """Whether there is a traced array in nested lists, tuples and dicts."""
    return traced_in(value) is not None


def written(out: Any, result: Any) -> Any:
    """A traced result in the array given as ``out=``."""
    target = out[0] if isinstance(out, tuple) else out
    if not isinstance(target, FilledArray) and not has_traced(target):
        raise trace_error(
            "a traced value cannot be written into an array from outside the function",
            "write y = y + x instead of y += x or out=y; or copy it first: y = np.array(y)",
        )
    target[...] = result
    return target


def _as_traced(array: FilledArray, like: Any) -> Any:
    """The traced face of an array, whatever it holds."""
    memory, traced = memory_of(array), traced_in(like)
    memory.wrapper = memory.wrapper or type(traced)
    memory.builder = memory.builder or traced._node.builder
    return memory.wrapper(place=Place(memory, raw_of(array)))


def _accumulated(ufunc: np.ufunc, array: Any, indices: Any, values: Any = None) -> None:
    """``np.add.at`` and its like: one element after another, as indices may repeat."""
    if not isinstance(array, FilledArray) or values is None:
        raise trace_error(f"np.{ufunc.__name__}.at into this array cannot be traced", "write a loop over the indices")
    numbers = np.arange(array.size).reshape(array.shape)[indices]
    flat = array.reshape(-1)
    values = np.broadcast_to(values, numbers.shape).reshape(-1)
    for i, number in enumerate(numbers.ravel().tolist()):
        flat[number] = ufunc(flat[number], values[i])


def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    step = a.shape[1] + 1 if a.ndim == 2 else 1 + sum(np.cumprod(a.shape[:-1]).tolist())
    end = None if wrap or a.ndim != 2 else a.shape[1] * a.shape[1]
    a.reshape(-1)[:end:step] = val


def _put(a: Any, ind: Any, v: Any, mode: Any = "raise") -> None:
    numbers = np.arange(a.size)[ind] if mode == "raise" else np.take(np.arange(a.size), ind, mode=mode)
    a.reshape(-1)[numbers] = v


def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    dst[...] = src if where is True else np.where(where, src, dst)


def _place(arr: Any, mask: Any, vals: Any) -> None:
    """Masked elements take the values in turn; of a traced mask, one value or those that the same mask picks."""
    mask = lowered(mask)
    if not has_traced(mask):
        mask = np.asarray(mask, bool).reshape(arr.shape)
        if mask.any():
            arr[mask] = np.resize(lowered(vals), np.count_nonzero(mask))
    elif type(vals) is Masked:
        arr[...] = assigned(lowered(arr).ravel(), mask.ravel(), vals).reshape(arr.shape)
    elif np.size(vals) == 1:
        arr[...] = np.where(mask, np.reshape(vals, ()), arr)
    else:
        assigned(arr, mask, vals)  # tells what is wrong


def _putmask(a: Any, mask: Any, values: Any) -> None:
    """Masked elements take the values at their own places."""
    if np.shape(values) != np.shape(a):
        _place(a, mask, values)
    else:
        a[...] = np.where(mask, values, a)


WRITERS: dict[Any, Callable[..., None]] = {
    np.fill_diagonal: _fill_diagonal, np.put: _put, np.copyto: _copyto, np.place: _place, np.putmask: _putmask,
}  # fmt: skip


# ---- methods: of the array as it is at present


def _method(name: str) -> Callable[..., Any]:
    def method(self: FilledArray, *args: Any, **options: Any) -> Any:
        own, arguments, options = lowered(self), lowered(args), lowered(options)
        if type(own) is np.ndarray and (has_traced(arguments) or has_traced(options)):
            own = _as_traced(self, [arguments, options])
        result = getattr(own, name)(*arguments, **options)
        return adopted_all(result, (self,)) if type(own) is np.ndarray else result

    method.__name__ = name
    return method


for _name in [
    *[name for name, value in vars(np.ndarray).items() if callable(value) and not name.startswith("_")],
    *[f"__{kind}__" for kind in ("bool", "int", "float", "complex", "index", "repr", "str", "format", "copy")],
]:
    if _name not in vars(FilledArray) and _name not in ("view", "getfield"):
        setattr(FilledArray, _name, _method(_name))
