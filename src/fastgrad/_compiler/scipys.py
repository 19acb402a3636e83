"""What a traced function finds in place of functions of SciPy that are written in Python.

Most of them are copied like the user's own. Those that cannot be are here, by their full names, as SciPy is never
imported: densities and distribution functions, which pick the arguments that are in the domain, and the functions of
scipy.special that turn their arguments into arrays of numbers first (special.py). With no traced value among the
arguments, SciPy's own is called.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import trace_error
from .filled import has_traced, lowered
from .masked import Masked
from .special import FUNCTIONS_OF_SCIPY
from .trace import Traced, call


def as_array(value: Any) -> Any:
    """An argument as SciPy takes it: nested lists with traced values become one traced array."""
    value = lowered(value)
    if isinstance(value, (Traced, Masked)):
        return value
    return Traced(Traced.node_of(value)) if has_traced(value) else np.asarray(value)


def is_traced(values: Any) -> bool:
    """Whether anything among the arguments has no values yet."""
    return has_traced(lowered(values)) or any(type(x) is Masked for x in values)


class Method(NamedTuple):
    """A method of a distribution: what computes it within the support, and its values below and above."""

    inner: str
    below: float
    above: float
    density: str = ""  # "linear" or "log": how the scale enters


CONTINUOUS = {
    "pdf": Method("_pdf", 0.0, 0.0, "linear"),
    "logpdf": Method("_logpdf", -math.inf, -math.inf, "log"),
    "cdf": Method("_cdf", 0.0, 1.0),
    "logcdf": Method("_logcdf", -math.inf, 0.0),
    "sf": Method("_sf", 1.0, 0.0),
    "logsf": Method("_logsf", 0.0, -math.inf),
}
DISCRETE = {"pmf": Method("_pmf", 0.0, 0.0), "logpmf": Method("_logpmf", -math.inf, -math.inf)}


def _standardised(self: Any, x: Any, args: Any, options: Any) -> tuple[Any, Any, Any]:
    """The point with location and scale taken out, the shape parameters, and the scale."""
    args, loc, scale = self._parse_args(*args, **options)
    return as_array(x) - as_array(loc), tuple(map(as_array, args)), as_array(scale)


def of_distribution(method: Method, evaluate: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a distribution, evaluated everywhere and chosen from by `np.where`."""

    @functools.wraps(real)
    def stands_in(self: Any, x: Any, *args: Any, **options: Any) -> Any:
        if not is_traced((x, *args, *options.values())):
            return real(self, x, *args, **options)
        return evaluate(self, method, *_standardised(self, x, args, options))

    return stands_in


def continuous(self: Any, method: Method, x: Any, args: Any, scale: Any) -> Any:
    """A method of rv_continuous."""
    y = x / scale
    low, high = self._get_support(*args)
    value = getattr(self, method.inner)(y, *args)
    if method.density:
        value = value / scale if method.density == "linear" else value - np.log(scale)
        is_below, is_above = y < low, y > high
    else:
        is_below, is_above = y <= low, y >= high
    value = np.where(is_below, method.below, np.where(is_above, method.above, value))
    is_valid = np.logical_and(self._argcheck(*args), scale > 0)
    return np.where(np.logical_and(is_valid, y == y), value, self.badvalue)


def discrete(self: Any, method: Method, k: Any, args: Any, scale: Any) -> Any:
    """A method of rv_discrete."""
    low, high = self._get_support(*args)
    is_inside = np.logical_and(np.logical_and(k >= low, k <= high), np.floor(k) == k)
    value = getattr(self, method.inner)(k, *args)
    value = np.where(is_inside, np.clip(value, 0, 1) if method.inner == "_pmf" else value, method.below)
    return np.where(np.logical_and(self._argcheck(*args), k == k), value, self.badvalue)


def chosen(cond: Any, values: Any, if_true: Any, if_false: Any, fill: Any) -> Any:
    """Functions of several arrays by a condition, with `fill` for want of the second."""
    values = values if isinstance(values, tuple) else (values,)
    return np.where(cond, if_true(*values), fill if if_false is None else if_false(*values))


def apply_where(real: Callable[..., Any]) -> Callable[..., Any]:
    """Two functions, each of the elements where a condition says so."""

    @functools.wraps(real)
    def stands_in(cond: Any, args: Any, f1: Any, f2: Any = None, /, *, fill_value: Any = None, **options: Any) -> Any:
        if not is_traced((cond, args, fill_value)):
            return real(cond, args, f1, f2, fill_value=fill_value, **options)
        return chosen(cond, args, f1, f2, fill_value)

    return stands_in


def lazywhere(real: Callable[..., Any]) -> Callable[..., Any]:
    """The same in older versions."""

    @functools.wraps(real)
    def stands_in(cond: Any, arrays: Any, f: Any, fillvalue: Any = None, f2: Any = None) -> Any:
        if not is_traced((cond, arrays, fillvalue)):
            return real(cond, arrays, f, fillvalue, f2)
        return chosen(cond, tuple(arrays), f, f2, fillvalue)

    return stands_in


def on_nodes(function: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """A function of nodes."""

    @functools.wraps(real)
    def stands_in(*args: Any, **options: Any) -> Any:
        args, options = lowered(args), lowered(options)
        return call(function, args, options) if is_traced((*args, *options.values())) else real(*args, **options)

    return stands_in


def on_arrays(function: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays; options that are about checks and storage alone are left out."""

    @functools.wraps(real)
    def stands_in(*args: Any, **options: Any) -> Any:
        if not is_traced((*args, *options.values())):
            return real(*lowered(args), **lowered(options))
        options = {key: x for key, x in options.items() if not key.startswith("overwrite_") and key != "check_finite"}
        given = [as_array(x) if has_traced(lowered(x)) else x for x in args]
        try:
            bound = inspect.signature(function).bind(*given, **options)
        except TypeError as error:
            raise trace_error(
                f"scipy.linalg.{real.__name__}: {error} where an array is traced", "leave it out"
            ) from None
        return function(*bound.args, **bound.kwargs)

    return stands_in


def _cholesky(a: Any, lower: bool = False) -> Any:
    return np.linalg.cholesky(a) if lower else np.linalg.cholesky(np.swapaxes(a, -1, -2)).swapaxes(-1, -2)


def _solve(a: Any, b: Any) -> Any:
    return np.linalg.solve(as_array(a), as_array(b))


LINALG: dict[str, Callable[..., Any]] = {
    "norm": lambda a, ord=None, axis=None, keepdims=False: np.linalg.norm(a, ord, axis, keepdims),
    "inv": lambda a: np.linalg.inv(a),
    "det": lambda a: np.linalg.det(a),
    "solve": _solve,
    "cholesky": _cholesky,
    "eigh": lambda a, lower=True: np.linalg.eigh(a, "L" if lower else "U"),
    "eigvalsh": lambda a, lower=True: np.linalg.eigvalsh(a, "L" if lower else "U"),
}

# by top-level packages and qualified name: in which module of a package a function lies differs by version
OF_SCIPY: dict[str, Callable[[Any], Any]] = {
    **{
        f"scipy.stats.rv_continuous.{name}": functools.partial(of_distribution, x, continuous)
        for name, x in CONTINUOUS.items()
    },
    **{
        f"scipy.stats.rv_discrete.{name}": functools.partial(of_distribution, x, discrete)
        for name, x in DISCRETE.items()
    },
    **dict.fromkeys(["scipy._lib.apply_where", "scipy._external.apply_where"], apply_where),
    "scipy._lib._lazywhere": lazywhere,
    **{f"scipy.linalg.{name}": functools.partial(on_arrays, function) for name, function in LINALG.items()},
    **{name: functools.partial(on_nodes, function) for name, function in FUNCTIONS_OF_SCIPY.items()},
}


def of_scipy(function: Any) -> Callable[..., Any] | None:
    """The stand-in for a function of SciPy; None if there is none."""
    home = getattr(function, "__module__", None)
    if not isinstance(home, str) or not home.startswith("scipy."):
        return None
    make = OF_SCIPY.get(".".join([*home.split(".")[:2], getattr(function, "__qualname__", "")]))
    return make and make(function)
