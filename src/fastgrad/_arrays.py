"""The border: what a caller hands over becomes contiguous float64 or float32 arrays, once, or a clear refusal."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

FLOAT64 = np.dtype(np.float64)
FLOAT32 = np.dtype(np.float32)


def as_floats(value: Any, name: str) -> np.ndarray:
    """`value` as a contiguous, aligned array of float64 or float32 in native byte order; no copy when it is one.

    float32 stays, float16 becomes float32, everything else that is real float64. Raises TypeError naming the
    argument for complex numbers, objects, strings and masked arrays.
    """
    is_plain = type(value) is np.ndarray and (value.dtype is FLOAT64 or value.dtype is FLOAT32)
    if is_plain and value.flags.c_contiguous and value.flags.aligned:  # asking for carray warns about broadcast arrays
        return value
    if type(value) is not np.ndarray and (met := refused_class(value)):
        raise TypeError(f"{name} is {met[0]}: {met[1]}")
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged nested sequences
        raise TypeError(f"{name} does not make an array: {error}") from error
    if array.dtype.kind not in "biuf":
        cure = "split it into real and imaginary parts" if array.dtype.kind == "c" else "pass an array of real numbers"
        raise TypeError(f"{name} has dtype {array.dtype}: {cure}")
    dtype = FLOAT32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else FLOAT64
    # ascontiguousarray would turn shape () into (1,)
    return np.require(array, dtype, ["C", "A"]) if array.ndim else np.array(array, dtype)


def refused_class(value: Any) -> tuple[str, str] | None:
    """What a value is and the cure, for arrays that mean something else than their plain copy would."""
    masked = sys.modules.get("numpy.ma")  # importing it takes longer than all the rest here
    if masked is not None and isinstance(value, masked.MaskedArray):
        return "a masked array", "fill it first with .filled(0), or use np.where with the mask"
    if isinstance(value, np.matrix):
        return "a np.matrix, whose * is a matrix product", "convert it with np.asarray and write @"
    return None


def is_number_array(value: Any) -> bool:
    """Whether a leaf holds data (arrays, floats, what converts itself to one), not a setting such as an integer."""
    if isinstance(value, (np.integer, np.bool_)):
        return False
    return isinstance(value, float) or hasattr(value, "__array__")


def is_integer(value: Any) -> bool:
    """Whether a value is an integer, True and False aside."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
