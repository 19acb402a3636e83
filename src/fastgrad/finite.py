"""Finite differences of any Python callable: derivatives from values alone, for what cannot be traced.

The names of arguments, the steps and the results are SciPy's where SciPy has them, so that one can stand in for the
other. Shapes follow one rule: a gradient is shaped like x0, a Jacobian like the value and then x0, nothing is squeezed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._arrays import FLOAT64, as_floats, is_integer
from ._finite import methods, schemes, steps
from ._finite.calls import Calls
from ._finite.lines import Coordinates, Direction, Elements
from ._finite.methods import Settings
from ._finite.results import FINE, Difference
from .errors import ShapeError

__all__ = ["Difference", "derivative", "directional", "gradient", "hessian", "jacobian"]

_UNBOUNDED = (-np.inf, np.inf)
_MOST_ORDER = 10
_MOST_PLAIN = 128  # components of a gradient whose points are all made at once


def gradient(
    fun: Callable[..., Any],
    x0: Any,
    *,
    method: str = "3-point",
    kind: str | None = None,
    accuracy: int | None = None,
    rel_step: Any = None,
    abs_step: Any = None,
    f0: Any = None,
    bounds: Any = _UNBOUNDED,
    noise: float | None = None,
    args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    vectorized: bool = False,
    workers: Any = None,
    trace: bool = True,
    full_output: bool = False,
) -> Any:
    """Gradient of a scalar function, from its values.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args, **kwargs)`` with `x` like `x0`; a number.
    x0 : array_like
        The point, of any shape. float32 stays float32, and its precision sets the step.
    method : {"3-point", "2-point", "cs", "adaptive"}
        Central differences; differences to one side, for about half the calls and half the digits; imaginary steps, for
        analytic functions that take complex numbers, without cancellation; or extrapolation with an error estimate.
    kind : {None, "central", "forward", "backward"}
        To which side of `x0` points lie. None is central, or for "2-point" away from zero.
    accuracy : int, optional
        The power of the step that the error falls with: by default 1 for "2-point", 2 for "3-point", 4 for "adaptive",
        which takes 2, 4, 6 or 8.
    rel_step, abs_step : float or array_like, optional
        Steps relative to ``abs(x0)``, or as they are. By default SciPy's: eps^(1/2) for "2-point", eps^(1/3) for
        "3-point", times ``max(1, abs(x0))``, with eps of the narrower of the dtypes of `x0` and the value; and
        eps^(1/2) for "cs", at any `x0`.
    f0 : array_like, optional
        The value at `x0`, if known: one call less.
    bounds : (lower, upper) or object with lb and ub
        Numbers or arrays like `x0`, which no point leaves; near them, points lie on the other side.
    noise : float, optional
        Absolute error of the values, where it is larger than rounding; the steps follow from it.
    args, kwargs : optional
        Further arguments of `fun`.
    vectorized : bool
        Whether `fun` takes all points at once, ``(k, *x0.shape)``, and returns ``(k,)``.
    workers : int or callable, optional
        So many processes (-1: one a core), or what works like `map`, such as the ``map`` of a pool.
    trace : bool
        Whether a function that fastgrad can trace is compiled, its points run as lanes; others are called as they are
        either way. False for functions with side effects.
    full_output : bool
        Whether to return a `Difference`.

    Returns
    -------
    ndarray or Difference
        The gradient, shaped like `x0`; or this with error estimate, number of points, steps and status of each
        component.

    Raises
    ------
    ShapeError
        When the value of `fun` is not one number.
    ValueError
        For ``method="cs"``, when real differences show that `fun` is not analytic.

    Notes
    -----
    A component whose values are not finite is not finite; it does not touch the others. Points: n + 1 for "2-point" and
    "cs" (which takes two more to check itself), 2n + 1 for "3-point".

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.finite.gradient(lambda x: x[0] ** 2 + np.exp(x[1]), [3.0, 0.0]).round(8)
    array([6., 1.])
    >>> found = fg.finite.gradient(lambda x: np.sum(x**1.5), [0.0, 4.0], bounds=(0, np.inf), full_output=True)
    >>> found.value.round(2), found.nfev, found.status
    (array([0., 3.]), 5, array([0, 0]))
    """
    x = as_floats(x0, "x0")
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    calls = Calls(fun, x, args, kwargs, vectorized, workers, trace, f0, is_scalar=True)
    flat = x if x.ndim == 1 else x.reshape(-1)
    if (
        limits is None and kind is None and accuracy is None and rel_step is None and abs_step is None and noise is None
        and not vectorized and x.dtype is FLOAT64 and 0 < x.size <= _MOST_PLAIN
    ):  # fmt: skip
        if method == "adaptive":
            found = methods.plain_adaptive(calls, flat)
            return methods.difference(calls, found, x.shape, x, False) if full_output else found.value.reshape(x.shape)
        if (method == "2-point" or method == "3-point") and not full_output:
            return schemes.plain_gradient(calls, flat, method == "3-point").reshape(x.shape)
    settings = Settings(method, kind, accuracy, 1, rel_step, abs_step, limits, noise)
    found = methods.along(Coordinates(calls, flat), settings)
    if not full_output:
        return found.value.reshape(x.shape).astype(x.dtype, copy=False)
    return methods.difference(calls, found, x.shape, x, is_transposed=False)


def jacobian(
    fun: Callable[..., Any],
    x0: Any,
    *,
    method: str = "3-point",
    kind: str | None = None,
    accuracy: int | None = None,
    rel_step: Any = None,
    abs_step: Any = None,
    f0: Any = None,
    bounds: Any = _UNBOUNDED,
    noise: float | None = None,
    sparsity: Any = None,
    as_linear_operator: bool = False,
    args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    vectorized: bool = False,
    workers: Any = None,
    trace: bool = True,
    full_output: bool = False,
) -> Any:
    """Jacobian of a function of arrays, from its values.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args, **kwargs)`` with `x` like `x0`; an array, whose shape does not depend on `x`.
    x0, method, kind, accuracy, rel_step, abs_step, f0, bounds, noise, args, kwargs, workers, trace, full_output
        As for `gradient`.
    sparsity : array_like, scipy.sparse array or "auto", optional
        Which elements may differ from zero. Columns that share no row are then found together, so that a banded
        Jacobian takes few calls at any size.
    as_linear_operator : bool
        Whether to return a ``scipy.sparse.linalg.LinearOperator`` that finds products with vectors from two points
        each.
    vectorized : bool
        Whether `fun` takes all points at once, ``(k, *x0.shape)``, and returns ``(k, ...)``.

    Returns
    -------
    ndarray, scipy.sparse array, LinearOperator or Difference
        The derivatives, of shape ``value.shape + x0.shape``; with `sparsity` or as an operator ``(value.size,
        x0.size)``.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.finite.jacobian(lambda x: np.array([x[0] * x[1], x[1] ** 2]), [2.0, 3.0]).round(8)
    array([[3., 2.],
           [0., 6.]])
    """
    x = as_floats(x0, "x0")
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    settings = Settings(method, kind, accuracy, 1, rel_step, abs_step, limits, noise)
    calls = Calls(fun, x, args, kwargs, vectorized, workers, trace, f0)
    flat = x.reshape(-1)
    if as_linear_operator:
        return methods.operator(calls, flat, settings)
    if sparsity is not None:
        found = methods.sparse_jacobian(calls, flat, settings, sparsity)
        full = methods.difference(calls, found, (), x, is_transposed=False)
        return full if full_output else full.value
    found = methods.along(Coordinates(calls, flat), settings)
    shape = calls.out_shape + x.shape
    if not full_output:
        return np.ascontiguousarray(found.value.T).reshape(shape).astype(x.dtype, copy=False)
    return methods.difference(calls, found, shape, x, is_transposed=True)


def derivative(
    fun: Callable[..., Any],
    x0: Any,
    *,
    order: int = 1,
    method: str = "3-point",
    kind: str | None = None,
    accuracy: int | None = None,
    rel_step: Any = None,
    abs_step: Any = None,
    f0: Any = None,
    bounds: Any = _UNBOUNDED,
    noise: float | None = None,
    args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    vectorized: bool = False,
    workers: Any = None,
    trace: bool = True,
    full_output: bool = False,
) -> Any:
    """Derivative of any order of a function of one number, at one number or each of an array.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args, **kwargs)`` of a number; a number, or an array for a curve.
    x0 : array_like
        Where: `fun` gets its elements one by one.
    order : int
        Which derivative, 1 to 10.
    method, kind, accuracy, rel_step, abs_step, bounds, noise, args, kwargs, workers, trace, full_output
        As for `gradient`, but that "adaptive" has accuracy 8 by default, as a point more costs little here. "2-point"
        and "3-point" stand for accuracy 1 to one side and 2 to both; higher orders take as many points as that needs.
        "cs" is for order 1.
    f0 : array_like, optional
        The value, where `x0` is one number.
    vectorized : bool
        Whether `fun` takes an array of numbers ``(k,)`` and returns ``(k, ...)``.

    Returns
    -------
    float, ndarray or Difference
        Shaped like `x0`, then like the value of one number.

    Notes
    -----
    Steps of orders above 1 balance rounding with the first term that the stencil neglects, for a function that changes
    on the scale of ``max(1, abs(x0))``. Where it changes faster, give `rel_step`, or take ``method="adaptive"``; its
    accuracy 4 takes about half the points of 8 and errs ten times as much or more. Weights: B. Fornberg, *Generation of
    finite difference formulas on arbitrarily spaced grids*, Mathematics of Computation 51 (1988).

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> float(round(fg.finite.derivative(np.sin, 0.0), 9))
    1.0
    >>> fg.finite.derivative(np.exp, [0.0, 1.0], order=4, accuracy=6).round(4)
    array([1.    , 2.7183])
    """
    order = _order_of(order)
    x = as_floats(x0, "x0")
    numbers = x.reshape(-1)
    if f0 is not None and x.size != 1:
        raise ValueError(f"f0 is the value at one number, but x0 has {x.size}\n  cure: leave f0 out")
    if not x.size:
        raise ValueError("x0 is empty\n  cure: pass at least one number")
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    if accuracy is None and method == "adaptive":
        accuracy = 8
    settings = Settings(method, kind, accuracy, order, rel_step, abs_step, limits, noise)
    calls = Calls(fun, numbers[:1].reshape(()), args, kwargs, vectorized, workers, trace, f0)
    found = methods.along(Elements(calls, numbers), settings)
    shape = x.shape + calls.out_shape
    if not full_output:
        return found.value.reshape(shape).astype(x.dtype, copy=False)[()]
    return methods.difference(calls, found, shape, x, is_transposed=False)


def directional(
    fun: Callable[..., Any],
    x0: Any,
    direction: Any,
    *,
    order: int = 1,
    method: str = "3-point",
    kind: str | None = None,
    accuracy: int | None = None,
    rel_step: float | None = None,
    abs_step: float | None = None,
    f0: Any = None,
    bounds: Any = _UNBOUNDED,
    noise: float | None = None,
    args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    vectorized: bool = False,
    workers: Any = None,
    trace: bool = True,
    full_output: bool = False,
) -> Any:
    """Derivative along a direction: of ``fun(x0 + t * direction)`` by t at 0.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args, **kwargs)``, a number or an array.
    x0 : array_like
        The point.
    direction : array_like
        Like `x0`; its length counts.
    order : int
        Which derivative by t, 1 to 10.
    rel_step, abs_step : float, optional
        How far to go: relative to the largest of 1 and the components of `x0` that move, or as a value of t.
    method, kind, accuracy, f0, bounds, noise, args, kwargs, vectorized, workers, trace, full_output
        As for `gradient` and `derivative`.

    Returns
    -------
    float, ndarray or Difference
        Shaped like the value.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> float(fg.finite.directional(lambda x: x[0] * x[1], [2.0, 3.0], [1.0, 1.0]).round(9))
    5.0
    """
    order = _order_of(order)
    x = as_floats(x0, "x0")
    v = np.asarray(as_floats(direction, "direction"), np.float64)
    if v.shape != x.shape:
        raise ShapeError(f"direction has shape {v.shape}, but x0 {x.shape}\n  cure: pass a direction shaped like x0")
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    calls = Calls(fun, x, args, kwargs, vectorized, workers, trace, f0)
    flat, v = x.reshape(-1), v.reshape(-1)
    if not np.isfinite(v).all():
        raise ValueError("direction is not finite\n  cure: pass finite numbers")
    if not v.any():
        calls.known()
        zero = np.zeros(calls.out_shape, x.dtype)[()]
        return Difference(zero, None, calls.nfev, 0.0, FINE) if full_output else zero
    steps.check_finite(rel_step, "rel_step")
    steps.check_finite(abs_step, "abs_step")
    # directions of any length: a power of two of it is kept apart, as squares, and powers for higher orders, overflow
    power = np.frexp(np.abs(v).max())[1]
    v = np.ldexp(v, -power)
    # one step of t takes x as far as functions are expected to change; relative to t = 0 steps mean nothing
    far = 1.0 if method == "cs" and rel_step is None else float(np.abs(flat[v != 0]).max(initial=1.0))
    scale = (far if np.isfinite(far) else 1.0) / float(np.linalg.norm(v))
    line = Direction(calls, flat, scale * v, limits)
    with np.errstate(all="ignore"):  # of x that is not finite
        room = line.room
    step = float(np.ldexp(abs_step / scale, power)) if abs_step is not None else rel_step
    settings = Settings(method, kind, accuracy, order, None, step, room, noise)
    value, error, taken, status = methods.along(line, settings)
    with np.errstate(all="ignore"):  # as derivatives by the t of the caller
        for _ in range(order):
            value, error = (None if rows is None else np.ldexp(rows / scale, power) for rows in (value, error))
        found = methods.Found(value, error, np.ldexp(taken * scale, -power), status)
    if not full_output:
        return found.value.reshape(calls.out_shape).astype(x.dtype, copy=False)[()]
    return methods.difference(calls, found, calls.out_shape, flat[:0].sum(), is_transposed=False)


def hessian(
    fun: Callable[..., Any],
    x0: Any,
    *,
    method: str = "3-point",
    rel_step: Any = None,
    abs_step: Any = None,
    f0: Any = None,
    bounds: Any = _UNBOUNDED,
    noise: float | None = None,
    accuracy: int | None = None,
    jac: Callable[..., Any] | None = None,
    sparsity: Any = None,
    args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    vectorized: bool = False,
    workers: Any = None,
    trace: bool = True,
    full_output: bool = False,
) -> Any:
    """Hessian of a scalar function, from its values by one stencil of second differences.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args, **kwargs)`` with `x` like `x0`; a number.
    x0, f0, bounds, noise, args, kwargs, vectorized, workers, trace, full_output
        As for `gradient`.
    method : {"3-point", "2-point", "cs", "adaptive"}
        Central, n² + n + 1 points; forward, (n² + 3n) / 2 + 1; differences of complex steps, n² + n, with about ten
        digits; or extrapolated second derivatives along axes and diagonals, with an error estimate.
    rel_step, abs_step : float or array_like, optional
        As for `gradient`; by default about eps^(1/4) for "3-point", and eps^(1/3) for "2-point" and "cs".
    accuracy : int, optional
        For "adaptive": 2, 4, 6 or 8, by default 8.
    jac : callable, optional
        ``jac(x, *args, **kwargs)``, the gradient, if known. The Hessian is then made of its differences, which are
        fewer and more accurate, and `fun`, which may be None, is not called.
    sparsity : array_like, scipy.sparse array or "auto", optional
        Which second derivatives may differ from zero: only those take points. With `jac`, columns are found together,
        and "auto" finds the structure too.

    Returns
    -------
    ndarray, scipy.sparse array or Difference
        Symmetric, of shape ``x0.shape + x0.shape``; with `sparsity` ``(x0.size, x0.size)``.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.finite.hessian(lambda x: x[0] ** 2 * x[1], [1.0, 2.0]).round(5)
    array([[4., 2.],
           [2., 0.]])
    """
    x = as_floats(x0, "x0")
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    settings = Settings(method, None, accuracy, 1, rel_step, abs_step, limits, noise)
    flat = x.reshape(-1)
    if jac is not None:
        if f0 is not None:
            raise ValueError("f0 is given, but with jac the value of fun is not used\n  cure: leave it out")
        calls = Calls(jac, x, args, kwargs, vectorized, workers, trace)
        calls.known()
        if calls.out_shape != x.shape:
            raise ShapeError(
                f"jac returns shape {calls.out_shape}, but x0 has {x.shape}\n  cure: return one slope each"
            )
        found = methods.hessian_of_gradient(calls, flat, settings, sparsity)
    else:
        calls = Calls(fun, x, args, kwargs, vectorized, workers, trace, f0, is_scalar=True)
        if sparsity is None:
            found = methods.hessian(calls, flat, settings)
        else:
            found = methods.sparse_hessian(calls, flat, settings, sparsity)
    if full_output or sparsity is not None:
        full = methods.difference(calls, found, x.shape + x.shape, x, is_transposed=False)
        return full if full_output else full.value
    return found.value.reshape(x.shape + x.shape).astype(x.dtype, copy=False)


def _order_of(order: Any) -> int:
    if not is_integer(order) or not 1 <= order <= _MOST_ORDER:
        raise ValueError(f"order is {order!r}\n  cure: pass an integer from 1 to {_MOST_ORDER}")
    return int(order)
