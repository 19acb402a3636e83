"""C functions as they come: what holds an address, what its signature says, and how it is run at many points.

Such a function is ``double f(int n, double *x, void *data)``, or without the data. It comes as a
`scipy.LowLevelCallable`, a ctypes function, or an object with an attribute `ctypes` or `address`, such as numba's
`cfunc`.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgrad import _core

WITH_DATA, WITHOUT_DATA = "double(int,double*,void*)", "double(int,double*)"

_ctypes_function: Any = ctypes.CFUNCTYPE(None).__mro__[1]
_CURE = "it must be double (int, double *, void *), or without the last"


@dataclass(frozen=True)
class Pointer:
    """A C function of a point, and the data that it is called with.

    Attributes
    ----------
    address, data : int
        Of the function, and of what it gets as its last argument.
    takes_data : bool
        Whether it has that argument.
    is_python : bool
        Whether it calls back into Python, where threads would wait for each other.
    """

    address: int
    data: int
    takes_data: bool
    is_python: bool
    _owners: tuple = field(repr=False)  # what must live as long as the addresses are used

    def values(self, points: np.ndarray, workers: int | None = None) -> np.ndarray:
        """Values (k, 1) at points (k, n), on at most so many threads, or as many as fastgrad may use.

        The function is called by several threads at the same time, without the GIL, and may write into the points.
        """
        if np.iscomplexobj(points):
            raise TypeError('fun is a C function of real numbers: method "cs" cannot be used with it')
        points = np.require(points, np.float64, ["C", "A", "W"])
        values = np.empty((len(points), 1))
        most = 1 if self.is_python else _core.get_num_threads() if workers is None else workers
        with _raising() if self.is_python else contextlib.nullcontext() as report:
            _core.run_points(self.address, self.takes_data, self.data, points, values, most, report)
        return values


_one_at_a_time = threading.RLock()  # who takes the hook, of which there is one


@contextlib.contextmanager
def _raising() -> Iterator[Callable[[int], None]]:
    """Raises what a callback into Python raises, which ctypes hands to `sys.unraisablehook` to go on with any number.

    Gives what a long call asks now and then, so that it ends early.
    """
    caught: list[BaseException] = []

    def raise_it(done: int = 0) -> None:
        if caught:
            raise caught[0]

    thread = threading.get_ident()
    with _one_at_a_time:
        before = sys.unraisablehook

        def hook(met: Any) -> None:
            is_ours = threading.get_ident() == thread and "ctypes callback" in (met.err_msg or "")
            if is_ours and met.exc_value is not None:
                caught.append(met.exc_value)
            else:
                before(met)

        sys.unraisablehook = hook
        try:
            yield raise_it
        finally:
            sys.unraisablehook = before
    raise_it()


def as_pointer(fun: Any, args: tuple = ()) -> Pointer | None:
    """The C function that `fun` holds, or None when it is not one.

    Parameters
    ----------
    fun : object
        Anything.
    args : tuple, optional
        Nothing, or one thing whose address is passed as data: a ctypes array, structure or pointer, a float64 array, or
        an address as an int. A `scipy.LowLevelCallable` brings its own instead.

    Raises
    ------
    TypeError
        It is a C function, but of another signature, or one that may only be called with the GIL held.

    Notes
    -----
    An object with an address alone says nothing about its signature: nothing can check it. A Python function behind a
    ctypes callback works, one call at a time, and what it raises is raised; the function itself would serve better.

    Examples
    --------
    >>> import ctypes, numpy as np
    >>> from fastgrad._finite.pointers import as_pointer
    >>> kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p)
    >>> total = kind(lambda n, x, data: sum(x[:n]))
    >>> as_pointer(total).values(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[3.],
           [7.]])
    """
    if type(fun).__name__ == "LowLevelCallable" and isinstance(fun, tuple):
        return _from_capsule(fun, args)
    inner = fun if isinstance(fun, _ctypes_function) else getattr(fun, "ctypes", None)
    if isinstance(inner, _ctypes_function):
        address = ctypes.cast(inner, ctypes.c_void_p).value
        signature = _signature_of(inner)
        is_python = _is_python(inner)
    elif isinstance(getattr(fun, "address", None), int) and not isinstance(fun, type):
        address, signature, is_python = fun.address, WITH_DATA, False
    else:
        return None
    if not address:
        raise TypeError("fun is a null pointer")
    data, owner = _data_of(args)
    return Pointer(address, data, _takes_data(signature, bool(args)), is_python, (fun, owner))


def _from_capsule(fun: Any, args: tuple) -> Pointer:
    """Of a scipy.LowLevelCallable, which is a tuple of a capsule, the function and the data."""
    if args:
        raise TypeError("args must be empty for a LowLevelCallable: give it its data as user_data")
    capsule, function, _ = tuple.__iter__(fun)
    address, signature, data = _core.read_capsule(capsule)
    is_python = isinstance(function, _ctypes_function) and _is_python(function)
    return Pointer(address, data, _takes_data(signature, data != 0), is_python, (fun,))


def _is_python(function: Any) -> bool:
    """Whether a ctypes function is a callback into Python; refuses one that needs the GIL held."""
    if type(function)._flags_ & ctypes._FUNCFLAG_PYTHONAPI:  # type: ignore[attr-defined]
        raise TypeError("fun is a function of Python's own C API, which needs the GIL: declare it by CFUNCTYPE or CDLL")
    return any(type(kept).__name__ == "CThunkObject" for kept in (function._objects or {}).values())


def _signature_of(function: Any) -> str:
    """A ctypes function's signature as C writes it, without spaces."""
    if function.argtypes is None:
        raise TypeError("fun is a ctypes function without argtypes: set its argtypes and its restype, " + _CURE)
    names = {
        ctypes.c_double: "double",
        ctypes.c_int: "int",
        ctypes.POINTER(ctypes.c_double): "double*",
        ctypes.c_void_p: "void*",
        None: "void",
    }
    result, *arguments = (names.get(kind, kind.__name__) for kind in (function.restype, *function.argtypes))
    return f"{result}({','.join(arguments)})"


def _takes_data(signature: str, has_data: bool) -> bool:
    plain = "".join(signature.split())
    if plain not in (WITH_DATA, WITHOUT_DATA):
        raise TypeError(f"fun is a C function {signature or 'of unknown signature'}: {_CURE}")
    if has_data and plain == WITHOUT_DATA:
        raise TypeError(f"fun is a C function {signature}, which takes no data, but args or user_data holds some")
    return plain == WITH_DATA


def _data_of(args: tuple) -> tuple[int, Any]:
    """The address of a C function's data, and what owns it."""
    if not args:
        return 0, None
    if len(args) > 1:
        raise TypeError(f"args has {len(args)} entries, but a C function takes one pointer: pack them in a structure")
    (data,) = args
    if isinstance(data, np.ndarray):
        if data.dtype != np.float64 or not data.flags.c_contiguous:
            raise TypeError(f"args[0] must be a contiguous array of float64, got {data.dtype}")
        return data.ctypes.data, data
    if isinstance(data, (ctypes.Array, ctypes.Structure, ctypes.Union)):
        return ctypes.addressof(data), data
    if isinstance(data, (int, np.integer)) and not isinstance(data, bool):
        return int(data), None
    try:
        if not isinstance(data, str):  # of which cast makes a copy that does not last
            return ctypes.cast(data, ctypes.c_void_p).value or 0, data
    except ctypes.ArgumentError:
        pass
    raise TypeError(
        f"args[0] is {type(data).__name__}, but a C function takes an address: a ctypes array, structure or pointer"
    )
