"""The errors that fastgrad raises while it reads a user's function.

Each message says what was met, where in the user's own file it was met, and what to write instead.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable

import numpy as np

__all__ = ["IndexingError", "ShapeError", "TraceError"]

_OWN_FOLDERS = tuple(os.path.dirname(os.path.abspath(path)) + os.sep for path in (__file__, np.__file__))


class TraceError(TypeError):
    """A traced function does something that cannot be recorded, such as branching on a value."""


class LeakError(TraceError):
    """A traced array is used outside the trace that it belongs to."""


class TraceAttributeError(TraceError, AttributeError):
    """A traced array lacks this attribute; an AttributeError too, so that `hasattr` answers False."""


class ShapeError(ValueError):
    """Shapes or axes do not fit together."""


class IndexingError(IndexError):
    """An index lies outside its axis, or there are too many of them."""


def user_line() -> str:
    """The innermost line of code outside fastgrad and NumPy: `file:line, in name`, and its text."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((*_OWN_FOLDERS, "<__array_function__")):
        frame = frame.f_back
    code = frame.f_code
    text = f"{code.co_filename}:{frame.f_lineno}, in {code.co_name}"
    import linecache

    source = linecache.getline(code.co_filename, frame.f_lineno).strip()
    return f"{text}\n      {source}" if source else text


def _describe(met: str, cure: str) -> str:
    return f"{met}\n  at {user_line()}" + (f"\n  cure: {cure}" if cure else "")


class _Refusals(threading.local):
    """What was refused in the trace under way: code that catches the error must not go on as if nothing had been."""

    is_watched = False
    first: TraceError | None = None


refusals = _Refusals()


def trace_error(met: str, cure: str = "", is_numpys: bool = False) -> TraceError:
    """The error for what a trace cannot record: what was met, where, and the cure.

    `is_numpys` says that NumPy's array would raise an error as well, which a function may count on and catch.
    """
    error = TraceError(_describe(met, cure))
    if refusals.is_watched and refusals.first is None and not is_numpys:
        refusals.first = error
    return error


def leak_error(where: str = "") -> LeakError:
    """The error for a traced array in another trace; `where` stands for the line when that is known better."""
    met = "a traced array from another call of a differentiated function is used here"
    cure = "pass it as an argument or return it; do not keep it in a global, a closure or an attribute"
    return LeakError(f"{where}: {met}\n  cure: {cure}" if where else _describe(met, cure))


def attribute_error(met: str, cure: str = "") -> TraceAttributeError:
    """The error for an attribute of arrays that a traced one lacks."""
    return TraceAttributeError(_describe(met, cure))


def shape_error(met: str, cure: str = "") -> ShapeError:
    """The error for shapes or axes that do not fit."""
    return ShapeError(_describe(met, cure))


def indexing_error(met: str, cure: str = "") -> IndexingError:
    """The error for an index that its axis does not have."""
    return IndexingError(_describe(met, cure))


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names most like `name`, as the tail of a cure."""
    import difflib  # only for a message: it takes a while

    close = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.7)
    return f"the nearest names that fastgrad can trace: {', '.join(close)}" if close else ""


def not_scalar(shape: tuple[int, ...], name: str = "the function") -> ShapeError:
    """The error for the gradient of a function whose value is not one number."""
    return ShapeError(
        f"{name} returns an array of shape {shape}, but a gradient needs a function with a scalar value\n"
        "  cure: reduce the value to one number, for example with np.sum, or differentiate its elements one by one"
    )


def not_one_value(name: str = "the function") -> ShapeError:
    """The error for the gradient of a function that returns a dict, a list or a tuple."""
    return ShapeError(
        f"{name} returns several values, but a gradient needs a function with one scalar value\n"
        "  cure: return the one to differentiate"
    )
