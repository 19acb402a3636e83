"""What a traced copy of a function finds in place of NumPy, math and some builtins.

The functions here act as those that they stand for on real values, except that arrays of floats made by them can be
filled with traced values; where a traced value is among the arguments, in lists and tuples too, they record. They hold
no state, so every trace shares them.
"""

from __future__ import annotations

import builtins
import functools
import itertools
import math
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .filled import WRITERS, FilledArray, adopted_all, filled, has_traced, lowered, traced_in, written
from .masked import Masked
from .operands import FUNCTIONS
from .scipys import of_scipy
from .trace import Traced

MODULES = ("numpy", "numpy.linalg", "math")


class ModuleStandIn(types.ModuleType):
    """A module whose functions are replaced by their stand-ins as they are asked for."""

    def __init__(self, module: types.ModuleType) -> None:
        super().__init__(module.__name__, module.__doc__)
        vars(self)["__wrapped__"] = module

    def __getattr__(self, name: str) -> Any:
        value = vars(self)[name] = stand_in(getattr(vars(self)["__wrapped__"], name))
        return value

    def __dir__(self) -> list[str]:
        return dir(vars(self)["__wrapped__"])


def stand_in(value: Any) -> Any:
    """What a traced function gets in place of something of NumPy's or Python's; the value itself if nothing."""
    try:
        known = _KNOWN.get(value)
    except TypeError:  # not hashable
        return value
    if known is not None:
        return known
    made = _made(value)
    if made is not value:
        _KNOWN[value] = _KNOWN[made] = made
    return made


def _made(value: Any) -> Any:
    if isinstance(value, types.ModuleType):
        is_ours = value.__name__ in MODULES and sys.modules.get(value.__name__) is value
        return ModuleStandIn(value) if is_ours else value
    if isinstance(value, np.ufunc):
        return UfuncStandIn(value)
    if isinstance(value, types.FunctionType) and (found := of_scipy(value)):
        return found
    home: Any = getattr(value, "__module__", None)
    is_function = callable(value) and not isinstance(value, type) and isinstance(home, str)
    if is_function and home.split(".")[0] == "numpy" and not home.startswith("numpy.random"):
        return _recording(value)
    return _recording(value) if is_function and value in FUNCTIONS else value


def _recording(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy's with traced values allowed wherever it takes arrays."""

    @functools.wraps(function)
    def recorded(*args: Any, **options: Any) -> Any:
        sources = (*args, *options.values())
        if function in WRITERS and has_traced(lowered(sources)):
            return WRITERS[function](*args, **options)
        args, options = lowered(args), lowered(options)
        traced = traced_in((args, options))
        if traced is None:
            return adopted_all(function(*args, **options), sources)
        out = options.pop("out", None)
        if function in FUNCTIONS:
            result = traced.__array_function__(function, (), args, options)
        if function not in FUNCTIONS or result is NotImplemented:
            result = function(*args, **options)
        return result if out is None else written(out, result)

    return recorded


class UfuncStandIn:
    """A ufunc that takes nested lists of traced values, and whose results can be filled."""

    def __init__(self, ufunc: np.ufunc) -> None:
        functools.update_wrapper(self, ufunc)
        self.__wrapped__ = ufunc

    def __call__(self, *args: Any, **options: Any) -> Any:
        if len(args) == 1 and type(args[0]) is Traced and not options:  # most often: nothing to look for
            return args[0].__array_ufunc__(self.__wrapped__, "__call__", args[0])
        return self._applied("__call__", args, options)

    def _applied(self, method: str, args: Sequence[Any], options: dict[str, Any]) -> Any:
        sources = args
        function = getattr(self.__wrapped__, method)
        if not any(type(x) in (FilledArray, list, tuple) for x in (*args, *options.values())):
            result = function(*args, **options)
        elif method == "at":
            return function(*args)
        else:
            out = options.pop("out", None)
            result = function(*[as_traced(lowered(x)) for x in args], **lowered(options))
            if out is not None:
                target = out[0] if isinstance(out, tuple) else out
                if isinstance(target, FilledArray) or has_traced(target):
                    target[...] = result
                    return target
                return function(*args, out=out, **options)
        return adopted_all(result, sources)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__wrapped__, name)
        if name in ("reduce", "accumulate", "outer", "at", "reduceat"):
            return lambda *args, **options: self._applied(name, args, options)
        return value

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


def as_traced(value: Any) -> Any:
    """Nested lists and tuples with traced values as one traced array; anything else as it is."""
    if type(value) in (list, tuple) and has_traced(value):
        return Traced(Traced.node_of(value))
    return value


# ---- what makes arrays


def _array(object: Any, dtype: Any = None, *, copy: Any = True, order: Any = "K", subok: bool = False,
           ndmin: int = 0, like: Any = None) -> Any:  # fmt: skip
    given, object = object, lowered(object)
    if type(object) is Masked:
        return object if dtype is None else object.astype(dtype)
    if not has_traced(object):
        return adopted_all(np.array(object, dtype, copy=copy, order=order, ndmin=ndmin), (given,))
    if type(object) is Traced:
        result = object
        if copy in (True, np._CopyMode.ALWAYS):
            result = Traced(object._node)
    else:
        result = as_traced(object)
    if dtype is not None:
        result = result.astype(dtype, copy=False)
    missing = ndmin - result.ndim
    return result.reshape((1,) * missing + result.shape) if missing > 0 else result


def _asarray(a: Any, dtype: Any = None, order: Any = None, **options: Any) -> Any:
    lower = lowered(a)
    if has_traced(lower) or type(lower) is Masked:
        return _array(lower, dtype, copy=bool(options.get("copy")))
    if type(a) is FilledArray and (dtype is None or np.dtype(dtype) == a.dtype) and order is None and not options:
        return a
    return adopted_all(np.asarray(lower, dtype, order, **options), (a,))


def _contiguous(a: Any, dtype: Any = None, **options: Any) -> Any:
    a = _asarray(a, dtype)
    return a.reshape(1) if not a.ndim else a if has_traced(lowered(a)) else adopted_all(np.ascontiguousarray(a), (a,))


def _at_least(function: Any) -> Callable[..., Any]:
    n = {np.atleast_1d: 1, np.atleast_2d: 2}[function]

    def widened(*arrays: Any) -> Any:
        results = [x if x.ndim >= n else x.reshape((1,) * (n - x.ndim) + x.shape) for x in map(_asarray, arrays)]
        return results[0] if len(results) == 1 else tuple(results)

    return widened


def _full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", **options: Any) -> Any:
    fill_value = as_traced(lowered(fill_value))
    if not has_traced(fill_value):
        return filled(np.full(shape, fill_value, dtype, order))
    result = filled(np.empty(shape, dtype or fill_value.dtype, order))
    result[...] = fill_value
    return result


def _like(function: Callable[..., Any]) -> Callable[..., Any]:
    """np.zeros_like and its like: the values of the pattern do not count."""

    @functools.wraps(function)
    def made(a: Any, *args: Any, **options: Any) -> Any:
        pattern = lowered(a)
        if has_traced(pattern):
            pattern = as_traced(pattern)
            pattern = np.empty(pattern.shape, pattern.dtype)
        if has_traced(lowered((args, options))):
            value = options.pop("fill_value", args[0] if args else None)
            result = filled(np.empty_like(pattern, *args[1:], **options))
            result[...] = value
            return result
        return filled(function(pattern, *args, **options))

    return made


def _append(arr: Any, values: Any, axis: Any = None) -> Any:
    arr, values = _asarray(arr), _asarray(values)
    if axis is None:
        arr, values = arr.ravel(), values.ravel()
    return stand_in(np.concatenate)((arr, values), 0 if axis is None else axis)


def _fromiter(iter: Any, dtype: Any, count: int = -1, **options: Any) -> Any:
    values = list(iter if count < 0 else itertools.islice(iter, count))
    return _array(values, dtype) if has_traced(lowered(values)) else filled(np.fromiter(values, dtype, count))


def _vectorize(pyfunc: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """np.vectorize, which calls the function once an element."""
    real = np.vectorize(pyfunc, *args, **options)

    @functools.wraps(pyfunc)
    def vectorized(*values: Any, **others: Any) -> Any:
        values = tuple(map(lowered, values))
        if not has_traced(values):
            return adopted_all(real(*values, **others), ())
        shape = np.broadcast_shapes(*[np.shape(x) for x in values])
        spread = [stand_in(np.broadcast_to)(x, shape).reshape(-1) for x in map(_asarray, values)]
        results = [pyfunc(*[x[i] for x in spread], **others) for i in range(math.prod(shape))]
        return _array(results).reshape(shape)

    return vectorized


def _scalar(dtype: Any) -> Callable[..., Any]:
    def converted(x: Any = 0.0) -> Any:
        x = lowered(x)
        return _array(x, dtype) if has_traced(x) else dtype(x)

    return converted


# ---- math and builtins


def number(value: Any) -> Any:
    """A traced array with one element as a number; anything else as it is."""
    value = lowered(value)
    if type(value) is Traced and value.shape:
        if value.size != 1:
            raise TypeError("only length-1 arrays can be converted to Python scalars")
        return value.reshape(())
    return value


def _of_numbers(real: Callable[..., Any], traced: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Python numbers, and what it is called for when one is traced."""

    @functools.wraps(real)
    def either(*args: Any, **options: Any) -> Any:
        for x in args:
            if type(x) is Traced or type(x) is FilledArray:
                return traced(*map(number, args), **options)
        return real(*args, **options)

    return either


def _of_sequence(real: Callable[..., Any], traced: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def either(*args: Any, **options: Any) -> Any:
        args = tuple([x if hasattr(x, "__len__") or not hasattr(x, "__iter__") else list(x) for x in args])
        return traced(*args, **options) if has_traced(lowered(args)) else real(*args, **options)

    return either


def _log(x: Any, base: Any = None) -> Any:
    return np.log(x) if base is None else np.log(x) / np.log(base)


def _distance(p: Any, q: Any) -> Any:
    return np.sqrt(sum([(a - b) ** 2 for a, b in zip(p, q, strict=True)]))


def _hypot(*coordinates: Any) -> Any:
    return np.hypot(*coordinates) if len(coordinates) == 2 else np.sqrt(sum([x * x for x in coordinates]))


def _product(iterable: Any, *, start: Any = 1) -> Any:
    return functools.reduce(lambda a, b: a * b, iterable, start)


def _dot(p: Any, q: Any) -> Any:
    return sum([a * b for a, b in zip(p, q, strict=True)])


def _special(name: str) -> Callable[..., Any]:
    """A function of scipy.special, by what the table of traced ufuncs has under its name."""

    def function(x: Any) -> Any:
        return getattr(sys.modules.get("scipy.special") or __import__("scipy.special").special, name)(x)

    return function


def _extreme(real: Callable[..., Any], function: Any) -> Callable[..., Any]:
    """max or min of several arguments or of an iterable."""

    @functools.wraps(real)
    def extreme(*args: Any, **options: Any) -> Any:
        values = args if len(args) != 1 else args[0] if isinstance(args[0], (list, tuple)) else list(args[0])
        if options or not has_traced(lowered(list(values))):
            return real(values, **options) if len(args) == 1 else real(*args, **options)
        return functools.reduce(function, [number(x) for x in values])

    return extreme


def _float(x: Any = 0.0) -> Any:
    x = number(x)
    return x.astype(np.float64, copy=False) if type(x) is Traced else float(x)


def _int(x: Any = 0, *base: Any) -> Any:
    x = number(x)
    return x.astype(np.int64) if type(x) is Traced else int(x, *base)


def _type(*args: Any) -> Any:
    if len(args) == 1:
        kind = type(args[0])
        return args[0].__class__ if kind is Traced else np.ndarray if kind is FilledArray else kind
    return type(*args)


def _round(x: Any, ndigits: Any = None) -> Any:
    x = lowered(x)
    return np.round(x, ndigits or 0) if type(x) is Traced else round(x, ndigits)


def _hasattr(x: Any, name: str) -> bool:
    if type(x) is Traced and not x.shape and not hasattr(np.float64, name):
        return False  # numbers have neither a length nor elements
    return hasattr(x, name)


MATH: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in (
        "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh",
        "exp", "expm1", "exp2", "log1p", "log2", "log10", "sqrt", "cbrt", "fabs", "floor", "ceil", "trunc",
        "degrees", "radians", "copysign", "isnan", "isfinite", "isinf", "fmod",
    )},
    **{f"a{name[3:]}": getattr(np, name) for name in ("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh")},
    "atan2": np.arctan2, "pow": np.power, "log": _log, "hypot": _hypot,
    "erf": _special("erf"), "erfc": _special("erfc"), "gamma": _special("gamma"), "lgamma": _special("gammaln"),
}  # fmt: skip
OF_SEQUENCES: dict[str, Callable[..., Any]] = {"fsum": sum, "prod": _product, "dist": _distance, "sumprod": _dot}

BUILTINS: dict[str, Callable[..., Any]] = {
    "max": _extreme(max, np.maximum),
    "min": _extreme(min, np.minimum),
    "round": _round,
    "hasattr": _hasattr,
}
# types, which are replaced only where they are called: elsewhere they serve as types
CALLED: dict[Any, Callable[..., Any]] = {
    float: _float, int: _int, type: _type,
    **{kind: _scalar(kind) for kind in (np.float64, np.float32, np.int64, np.int32)},
}  # fmt: skip


def _called_anywhere(kind: Any) -> Any:
    """A type of NumPy's that is the same in every respect, but calls its stand-in: for `dtype` in ``dtype(x)``."""
    meta: Any = type(
        "meta", (type,), {
            "__call__": lambda cls, *args: CALLED[kind](*args),
            "__eq__": lambda cls, other: other is cls or other is kind,
            "__hash__": lambda cls: hash(kind),
            "__instancecheck__": lambda cls, value: isinstance(value, kind),
            "__subclasscheck__": lambda cls, other: issubclass(other, kind),
        },
    )  # fmt: skip
    return meta(kind.__name__, (kind,), {"__module__": kind.__module__, "__slots__": ()})


PASSED: dict[Any, Any] = {kind: _called_anywhere(kind) for kind in (np.float64, np.float32)}
NAMES_CALLED = ("float64", "float32", "double", "single", "int64", "int32", "int_", "intp")  # of NumPy

_KNOWN: dict[Any, Any] = {
    np.array: _array, np.asarray: _asarray, np.asanyarray: _asarray, np.asarray_chkfinite: _asarray,
    np.ascontiguousarray: _contiguous, np.asfortranarray: _contiguous, np.require: lambda a, *args, **options: a,
    np.atleast_1d: _at_least(np.atleast_1d), np.atleast_2d: _at_least(np.atleast_2d),
    np.full: _full, np.append: _append, np.fromiter: _fromiter, np.vectorize: _vectorize,
    **{function: _like(function) for function in (np.zeros_like, np.ones_like, np.empty_like, np.full_like)},
    **{getattr(math, name): _of_numbers(getattr(math, name), traced)
       for name, traced in MATH.items() if hasattr(math, name)},
    **{getattr(math, name): _of_sequence(getattr(math, name), traced)
       for name, traced in OF_SEQUENCES.items() if hasattr(math, name)},
    **{getattr(builtins, name): function for name, function in BUILTINS.items()},
}  # fmt: skip
# np where a type of it is called, np.float64(x)
NUMPY_CALLED = ModuleStandIn(np)
vars(NUMPY_CALLED).update({name: CALLED[kind] for name in NAMES_CALLED if (kind := getattr(np, name)) in CALLED})
