"""Parts of an array that a traced mask picks: ``x[mask]``, and the places that ``np.where(mask)`` gives.

How many elements there are depends on values, so they are kept where they lie: the whole array, with the mask.
Elementwise functions act on the whole; a reduction replaces what the mask leaves out by what changes nothing; and
``y[mask] = part`` takes each element to its own place. What needs the number of elements as a constant is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..errors import trace_error

ELEMENTWISE = frozenset([np.where, np.clip, np.round, np.nan_to_num, np.isclose, np.sinc, np.copy, np.real])
NEUTRAL: dict[str, Any] = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf, "any": False, "all": True}
REDUCE = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_or": "any",
          "logical_and": "all"}  # fmt: skip
CURE = "np.where(mask, x, 0.0) keeps the shape"


class Masked(np.lib.mixins.NDArrayOperatorsMixin):
    """The elements of a traced array where a traced mask is true.

    Parameters
    ----------
    whole : Traced
        The array, whose first axes are those of the mask.
    mask : Traced
        Truth values.
    """

    __slots__ = ("mask", "whole")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, whole: Any, mask: Any) -> None:
        self.whole, self.mask = whole, mask

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return np.ndarray

    dtype = property(lambda self: self.whole.dtype)
    ndim = property(lambda self: self.whole.ndim - self.mask.ndim + 1)
    size = property(lambda self: self._count() * math.prod(self.whole.shape[self.mask.ndim :]))
    T = property(lambda self: self.transpose())

    def _count(self) -> Any:
        return np.sum(self.mask)

    def transpose(self) -> Any:
        """The same elements, in one axis."""
        return self if self.ndim == 1 else self._refuse("its transposition")

    def astype(self, dtype: Any, **options: Any) -> Any:
        """In another dtype."""
        return Masked(self.whole.astype(dtype), self.mask)

    def copy(self) -> Any:
        """The same elements."""
        return self

    ravel = flatten = transpose

    def _refuse(self, met: str) -> NoReturn:
        raise trace_error(
            f"{met} is asked of the elements that a traced truth array picks as a mask: the size of the result would"
            " depend on values",
            CURE,
        )

    def _together(self, values: Any) -> list[Any]:
        """The whole arrays of parts picked by this mask, and what can be combined with every element."""
        wholes = []
        for x in values:
            if type(x) is Masked or type(x) is Places:
                if not is_same(x.mask, self.mask):
                    self._refuse("a combination with those of another mask")
                wholes.append(x.whole)
            elif np.ndim(x) <= self.ndim - 1:
                wholes.append(x)
            else:
                self._refuse(f"a combination with an array of shape {np.shape(x)}")
        return wholes

    def _elementwise(self, function: Any, args: Any, options: Any) -> Any:
        result = function(*self._together(args), **options)
        return tuple([Masked(x, self.mask) for x in result]) if type(result) is tuple else Masked(result, self.mask)

    def _reduced(self, name: str, axis: Any = None) -> Any:
        if axis not in ((None, 0, -1) if self.ndim == 1 else (None,)):
            self._refuse(f"{name} along axis {axis}")
        mask = spread(self.mask, self.whole.ndim)
        if name == "mean":
            return np.sum(np.where(mask, self.whole, 0.0)) / self.size
        return getattr(np, name)(np.where(mask, self.whole, NEUTRAL[name]))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method == "reduce" and ufunc.__name__ in REDUCE:
            return self._reduced(REDUCE[ufunc.__name__], options.get("axis"))
        out = options.pop("out", (None,))[0]
        if method != "__call__" or (out is not None and out is not self):
            self._refuse(f"np.{ufunc.__name__}.{method}")
        result = self._elementwise(ufunc, inputs, options)
        if out is not self:
            return result
        self.whole = result.whole
        return self

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        name = {"amax": "max", "amin": "min"}.get(function.__name__, function.__name__)
        if name in NEUTRAL or name == "mean":
            return getattr(args[0], name)(*args[1:], **options)
        if function in (np.size, np.ndim):
            return args[0].size if function is np.size else args[0].ndim
        if function is np.result_type:
            return np.result_type(*[x.whole if type(x) in (Masked, Places) else x for x in args])
        if function in ELEMENTWISE:
            return self._elementwise(function, args, options)
        return self._refuse(f"np.{name}")

    def __getattr__(self, name: str) -> Any:
        if name in NEUTRAL or name == "mean":
            return lambda axis=None: self._reduced(name, axis)
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"a traced array has no attribute {name!r}")
        return self._refuse(f"the attribute {name!r}")

    def __array__(self, *args: Any, **options: Any) -> NoReturn:
        self._refuse("an array with values")

    def __bool__(self) -> NoReturn:
        self._refuse("the truth")

    def __len__(self) -> int:
        return self._refuse("the length")

    def __iter__(self) -> Any:
        return self._refuse("one element after another")

    def __getitem__(self, key: Any) -> Any:
        if is_mask(key) and is_same(key.mask if isinstance(key, Places) else key, self.mask):
            return self
        return self if key is Ellipsis or key == () else self._refuse("an element")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refuse("an assignment")

    def __float__(self) -> float:
        return self._refuse("a number")

    __int__ = __index__ = __float__


class Places(Masked):
    """Where a mask is true, along one of its axes: element `axis` of ``np.where(mask)``."""

    __slots__ = ("axis",)

    def __init__(self, whole: Any, mask: Any, axis: int) -> None:
        super().__init__(whole, mask)
        self.axis = axis


def places(condition: Any) -> tuple[Places, ...]:
    """``np.nonzero(condition)``."""
    mask = _truth(condition)
    numbers = np.indices(mask.shape).astype(float)
    return tuple([Places(np.where(mask, grid, grid), mask, axis) for axis, grid in enumerate(numbers)])


def spread(mask: Any, ndim: int) -> Any:
    """A mask with further axes of length 1 at its end."""
    return mask.reshape(mask.shape + (1,) * (ndim - mask.ndim))


def is_same(a: Any, b: Any) -> bool:
    """Whether two masks are one expression."""
    return a._node is b._node


def is_mask(key: Any) -> bool:
    """Whether an index is a traced truth array."""
    return hasattr(type(key), "node_of") and key.dtype == bool


def key_of(key: Any) -> Any:
    """An index, with the places where a mask is true replaced by the mask."""
    if type(key) is Places and key.mask.ndim == 1:
        return key.mask
    if type(key) is tuple and key and all(type(x) is Places for x in key):
        mask = key[0].mask
        if [x.axis for x in key] == list(range(mask.ndim)) and all(is_same(x.mask, mask) for x in key):
            return mask
    return key


def assigned(array: Any, mask: Any, value: Any) -> Any:
    """What ``array[mask] = value`` makes of the whole array."""
    if type(value) is Masked or type(value) is Places:
        (value,) = Masked(array, mask)._together([value])
    elif np.ndim(value) > array.ndim - mask.ndim and np.shape(value)[0] != 1:
        raise trace_error(
            f"a value of shape {np.shape(value)} is assigned where a traced mask is true: which elements it has depends"
            " on values",
            "y[mask] = z[mask] or y = np.where(mask, z, y) for z of the shape of y",
        )
    return np.where(spread(mask, array.ndim), value, array)


def _truth(condition: Any) -> Any:
    """What decides, as an array of truth values of its own."""
    return condition.copy() if condition.dtype == bool else np.not_equal(condition, 0.0)


def _extract(condition: Any, arr: Any) -> Any:
    if not hasattr(type(condition), "node_of"):
        return np.ravel(arr)[np.flatnonzero(condition)]
    mask, arr = _truth(condition).ravel(), np.ravel(arr)
    return (arr if hasattr(type(arr), "node_of") else np.where(mask, arr, arr))[mask]


def _shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Whether one is a view of the other, or both are of a third; it does not tell disjoint views."""
    if type(a) is not type(b):
        return False
    return a._root() is b._root() or (
        a._place is not None and b._place is not None and a._place.memory is b._place.memory
    )


# functions of NumPy that need the arrays, not only their values
OF_ARRAYS: dict[Any, Callable[..., Any]] = {
    np.where: places,
    np.nonzero: places,
    np.flatnonzero: lambda a: places(a.ravel())[0],
    np.extract: _extract,
    np.shares_memory: _shares_memory,
    np.may_share_memory: _shares_memory,
}
