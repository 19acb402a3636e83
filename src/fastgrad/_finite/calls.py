"""How a function is evaluated at many points: one by one, all in one call, by workers, or as lanes of a program."""

from __future__ import annotations

import concurrent.futures
import functools
import os
import time
import types
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._arrays import FLOAT64, as_floats, is_integer
from ..errors import ShapeError, not_scalar
from . import steps
from .lanes import Lanes, lanes_of, refuse

if TYPE_CHECKING:
    from .pointers import Pointer

FEW = 8  # points that are not worth a program
_SLOW = 5e-3  # seconds of a call from which tracing, a hundred times slower than Python, would take long
_ROWS = 1 << 18  # numbers in the points of a block that Python goes through
_BATCH = 1 << 23  # and where a block is one call


class Calls:
    """A function and the ways to evaluate it, with a count of points.

    The value at x0 is known from the beginning, but for a vectorised function, which is asked for it together with the
    first points.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args, **kwargs)``, an array or a number.
    x0 : ndarray
        The point, of float64 or float32, whose shape and dtype all points have.
    args, kwargs
        Further arguments.
    vectorized : bool
        Whether ``fun`` takes points ``(k, *x0.shape)`` and returns ``(k, ...)``.
    workers : int, callable or None
        So many processes, or what works like `map`.
    trace : bool
        Whether a function that can be traced runs compiled, its points as lanes.
    f0 : array_like, optional
        The value at x0, where it is known.
    is_scalar : bool
        Whether the value has to be one number.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        x0: np.ndarray,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        vectorized: bool = False,
        workers: Any = None,
        trace: bool = True,
        f0: Any = None,
        is_scalar: bool = False,
    ) -> None:
        self.fun, self.x0 = fun, x0
        self.args = args if type(args) is tuple else tuple(args)
        pointer = None
        if type(fun) is not types.FunctionType and type(fun) is not types.MethodType:
            from .pointers import as_pointer

            pointer = as_pointer(fun, self.args)
            if pointer is None and not callable(fun):
                raise TypeError(f"fun is {fun!r}\n  cure: pass a function of x")
        self.kwargs = kwargs or {}
        self.nfev = 0
        self.block = _BATCH if vectorized else _ROWS
        self.is_vectorized, self._is_scalar = vectorized, is_scalar
        self._lanes: Lanes | None = None
        self.f0: Any = None  # the value at x0, flat and in float64
        self.out_shape: Any = None
        self.dtype: Any = None  # of the value
        self.eps = (
            steps.EPS if x0.dtype is FLOAT64 else steps.epsilon(x0.dtype, x0.dtype)
        )  # of the narrower of point and value
        self._is_array = True  # values are arrays, which fun may write into again
        self._seconds = 0.0
        self._pointer: Pointer | None = None
        if pointer is not None:
            if vectorized or self.kwargs:
                raise TypeError("fun is a C function of one point\n  cure: leave vectorized and kwargs out")
            if workers is not None and not is_integer(workers):
                raise TypeError(f"workers is {workers!r}, but fun is a C function\n  cure: a number of threads")
            self._threads = None if workers is None or workers < 1 else int(workers)
            self._pointer, self._run, self.block = pointer, Calls._in_c, max(_ROWS, 256 * x0.size)
        elif vectorized:
            if workers is not None:
                raise ValueError(
                    "vectorized=True makes one call, which workers cannot share\n  cure: choose one of them"
                )
            self._run = Calls._in_one_call
        elif workers is not None:
            self._map = _mapping(workers)
            self._run = Calls._by_workers
        else:
            self._run = Calls._one_by_one
            if trace:
                self._lanes = lanes_of(fun, len(self.args))
                self._is_compared = False
        if f0 is not None:
            self._start(f0)
        elif not vectorized:
            self._start(self._timed())

    # ---- the value at x0

    def _timed(self) -> Any:
        if self._pointer is not None:
            self.nfev += 1
            return self._pointer.values(self.x0.reshape(1, -1).copy(), 1)[0, 0]
        x = self.x0.copy() if self.x0.ndim else self.x0[()]
        self.nfev += 1
        if self._lanes is None or self._lanes.known:
            return self.fun(x, *self.args, **self.kwargs)
        before = time.perf_counter()
        value = self.fun(x, *self.args, **self.kwargs)
        self._seconds = time.perf_counter() - before
        return value

    def _start(self, value: Any) -> None:
        self._is_array = not (type(value) is np.float64 or type(value) is float)
        first = as_floats(value, "the value of fun") if self._is_array else np.array(value)
        if self._is_scalar and first.size != 1:
            raise not_scalar(first.shape, getattr(self.fun, "__name__", "fun"))
        self.out_shape, self.dtype = first.shape, first.dtype
        if first.dtype is not FLOAT64 or self.x0.dtype is not FLOAT64:
            is_half = np.asarray(value).dtype == np.float16  # has become float32
            self.eps = steps.epsilon(self.x0.dtype, np.dtype(np.float16) if is_half else first.dtype)
        self.f0 = first.reshape(-1)
        if self._is_array:
            self.f0 = self.f0.astype(FLOAT64)  # a copy

    def known(self) -> np.ndarray:
        """The value at x0, asked for alone if need be."""
        if self.f0 is None:
            self.values(np.empty((0, self.x0.size), self.x0.dtype))
        return self.f0

    # ---- values

    def values(self, points: np.ndarray) -> np.ndarray:
        """Values (k, m) at points (k, n), as float64, or complex128 where the points are complex."""
        if self.f0 is None:
            return self._with_first(points)
        k = len(points)
        self.nfev += k
        shaped = points if self.x0.ndim == 1 else points.reshape(k, *self.x0.shape)
        found = None
        if self._lanes is not None and k >= FEW and points.dtype.kind == "f":
            found = self._by_lanes(shaped)
        if found is None:
            found = self._run(self, shaped)
        return found.reshape(k, self.f0.size)

    def _one_by_one(self, points: np.ndarray) -> np.ndarray:
        fun, args, kwargs = self.fun, self.args, self.kwargs
        if not self._is_array:  # of numbers that cannot change later
            if args or kwargs:
                values = [fun(point, *args, **kwargs) for point in points]
            else:
                values = [fun(point) for point in points]
            found = _core.all_floats(values)
            return self._gathered(values, points) if found is None else found
        return self._gathered((fun(point, *args, **kwargs) for point in points), points)

    def _gathered(self, values: Iterable[Any], points: np.ndarray) -> np.ndarray:
        """Values one by one into one array, each before the next is asked for."""
        shape, is_complex = self.out_shape, points.dtype.kind == "c"
        out = np.empty((len(points), *shape), np.complex128 if is_complex else FLOAT64)
        n_values = 0
        for value in values:
            array = np.asarray(value)
            if array.shape != shape:
                raise self._reshaped(array.shape)
            if array.dtype.kind not in ("biufc" if is_complex else "biuf"):
                what = "a complex number for real x" if array.dtype.kind == "c" else f"{value!r:.100}"
                raise TypeError(f"fun returned {what}\n  cure: return real numbers")
            out[n_values] = array
            n_values += 1
        if n_values != len(points):
            raise ValueError(
                f"workers gave {n_values} values for {len(points)} points\n  cure: pass what works like map"
            )
        return out

    def _reshaped(self, shape: tuple[int, ...]) -> ShapeError:
        return ShapeError(
            f"fun returned an array of shape {shape}, but of shape {self.out_shape} at x0\n"
            "  cure: return values of one shape for all x"
        )

    def _in_one_call(self, points: np.ndarray) -> np.ndarray:
        array = found = np.asarray(self.fun(points, *self.args, **self.kwargs))
        if array.ndim == 0 or len(array) != len(points):
            raise ShapeError(
                f"fun returned an array of shape {array.shape} for {len(points)} points\n"
                "  cure: with vectorized=True, take points (k, ...) and return values (k, ...)"
            )
        if array.dtype.kind != "c" or points.dtype.kind != "c":
            array = as_floats(array, "the value of fun")
        if self.f0 is None:
            self._start(found[0].real if points.dtype.kind == "c" else found[0])
        if array.shape[1:] != self.out_shape:
            raise self._reshaped(array.shape[1:])
        return array if array.dtype.kind == "c" else array.astype(FLOAT64, copy=False)

    def _with_first(self, points: np.ndarray) -> np.ndarray:
        """Values at the points and at x0, so that there is one call in all."""
        if len(points) and np.array_equal(points[0], self.x0.reshape(-1)):
            self.nfev += len(points)
            return self._in_one_call(points.reshape(len(points), *self.x0.shape)).reshape(len(points), self.f0.size)
        everything = np.concatenate([self.x0.reshape(1, -1).astype(points.dtype), points])
        self.nfev += len(everything)
        found = self._in_one_call(everything.reshape(len(everything), *self.x0.shape))
        return found[1:].reshape(len(points), self.f0.size)

    def _in_c(self, points: np.ndarray) -> np.ndarray:
        return self._pointer.values(points.reshape(len(points), -1), self._threads)  # type: ignore[union-attr]

    def _by_workers(self, points: np.ndarray) -> np.ndarray:
        return self._gathered(self._map(functools.partial(_call, self.fun, self.args, self.kwargs), points), points)

    def _by_lanes(self, points: np.ndarray) -> np.ndarray | None:
        """Values by the program of the function, or None if it has none, or one that means something else by now."""
        lanes: Any = self._lanes
        try:
            if not self._is_compared:
                if not lanes.known and self._seconds > _SLOW:
                    self._lanes = None
                    return None
                if not self._agrees(lanes(self.x0[None], *self.args, **self.kwargs)):
                    raise ValueError("the program means something else")
                self._is_compared = True
                self.block = _BATCH
            found = lanes(points, *self.args, **self.kwargs)
            return found if found.dtype is FLOAT64 else found.astype(FLOAT64)
        except Exception:  # whatever a function does with arrays that are no arrays: Python calls it as it is
            refuse(self.fun)
            self._lanes = None
            return None

    def _agrees(self, again: Any) -> bool:
        """Whether a program gives the value that the function has now, but for rounding."""
        return again.shape[1:] == self.out_shape and _core.agree(again, self.f0, self.eps**0.75)


def _call(fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], x: np.ndarray) -> Any:
    return fun(x, *args, **kwargs)


def _mapping(workers: Any) -> Callable[..., Iterable[Any]]:
    """What works like `map`, of a number of processes too."""
    if callable(workers):
        return workers
    if not is_integer(workers) or (workers < 1 and workers != -1):
        raise ValueError(
            f"workers is {workers!r}\n  cure: a number of processes, -1 for all cores, or what works like map"
        )
    if workers == 1:
        return map
    return functools.partial(_by_processes, (os.cpu_count() or 1) if workers == -1 else int(workers))


def _by_processes(n: int, one: Callable[..., Any], points: np.ndarray) -> list[Any]:
    if not len(points):
        return []
    import pickle

    try:
        pickle.dumps(one)
    except Exception as error:
        raise TypeError(
            f"fun and its arguments cannot travel to other processes: {error}\n"
            "  cure: define fun in a module, or pass workers=concurrent.futures.ThreadPoolExecutor().map"
        ) from error
    n = min(n, len(points))
    with concurrent.futures.ProcessPoolExecutor(n) as pool:
        return list(pool.map(one, points, chunksize=-(-len(points) // (4 * n))))
