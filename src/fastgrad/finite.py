"""Finite differences of any Python callable: derivatives from values alone, for what cannot be traced.

The names of arguments, the steps and the results are SciPy's where SciPy has them, so that one can stand in for the
other. Shapes follow one rule: a gradient is shaped like x0, a Jacobian like the value and then x0, nothing is squeezed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._arrays import as_floats, is_integer
from ._finite import schemes, steps
from ._finite.calls import Calls
from ._finite.results import FINE, NO_ROOM, NOT_FINITE, Difference
from .errors import ShapeError

__all__ = ["Difference", "derivative", "directional", "gradient", "hessian", "jacobian"]

_UNBOUNDED = (-np.inf, np.inf)
_ACCURACY = {"2-point": 1, "3-point": 2, "cs": 2, "adaptive": 4}
# where points lie: on both sides (0), above (1), below (-1), or away from zero
_SIDES: dict[tuple[str, str | None], int | None] = {
    ("2-point", None): None,
    ("2-point", "forward"): 1,
    ("2-point", "backward"): -1,
    ("3-point", None): 0,
    ("3-point", "central"): 0,
    ("3-point", "forward"): 1,
    ("3-point", "backward"): -1,
    ("cs", None): None,
    ("adaptive", None): 0,
    ("adaptive", "central"): 0,
    ("adaptive", "forward"): 1,
    ("adaptive", "backward"): -1,
}


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
        The power of the step that the error falls with: by default 1 for "2-point", 2 for "3-point", 4 for "adaptive", which
        takes 2, 4, 6 or 8.
    rel_step, abs_step : float or array_like, optional
        Steps relative to ``abs(x0)``, or as they are. By default SciPy's: eps^(1/2) for "2-point" and "cs", eps^(1/3) for
        "3-point", times ``max(1, abs(x0))``, with eps of the narrower of the dtypes of `x0` and the value.
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
        The gradient, shaped like `x0`; or this with error estimate, number of points, steps and status of each component.

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
    >>> found = fg.finite.gradient(lambda x: np.log(x).sum(), [1.0, 0.0], bounds=(0, np.inf), full_output=True)
    >>> found.status
    array([0, 2])
    """
    x = as_floats(x0, "x0")
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    calls = Calls(fun, x, args, kwargs, vectorized, workers, trace, f0, is_scalar=True)
    lines = schemes.Coordinates(calls, x.reshape(-1))
    found = _along(lines, method, kind, accuracy, 1, rel_step, abs_step, limits, noise, full_output)
    if not full_output:
        return found[0].reshape(x.shape).astype(x.dtype, copy=False)
    return _difference(calls, found, x.shape, x)


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
        Which elements may differ from zero. Columns that share no row are then found together, so that a banded Jacobian
        takes few calls at any size.
    as_linear_operator : bool
        Whether to return a ``scipy.sparse.linalg.LinearOperator`` that finds products with vectors from two points each.
    vectorized : bool
        Whether `fun` takes all points at once, ``(k, *x0.shape)``, and returns ``(k, ...)``.

    Returns
    -------
    ndarray, scipy.sparse array, LinearOperator or Difference
        The derivatives, of shape ``value.shape + x0.shape``; with `sparsity` or as an operator ``(value.size, x0.size)``.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.finite.jacobian(lambda x: np.array([x[0] * x[1], x[1] ** 2]), [2.0, 3.0]).round(8)
    array([[3., 2.],
           [0., 6.]])
    """
    x = as_floats(x0, "x0")
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    calls = Calls(fun, x, args, kwargs, vectorized, workers, trace, f0)
    lines = schemes.Coordinates(calls, x.reshape(-1))
    found = _along(lines, method, kind, accuracy, 1, rel_step, abs_step, limits, noise, full_output)
    shape = calls.out_shape + x.shape
    if not full_output:
        return np.ascontiguousarray(found[0].T).reshape(shape).astype(x.dtype, copy=False)
    return _difference(calls, found, shape, x)


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
        As for `gradient`. "2-point" and "3-point" stand for accuracy 1 to one side and 2 to both; higher orders take as
        many points as that needs. "cs" is for order 1.
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
    Steps of orders above 1 balance rounding with the first term that the stencil neglects, for a function that changes on
    the scale of ``max(1, abs(x0))``. Where it changes faster, give `rel_step`, or take ``method="adaptive"``. Weights: B.
    Fornberg, *Generation of finite difference formulas on arbitrarily spaced grids*, Mathematics of Computation 51 (1988).

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> float(round(fg.finite.derivative(np.sin, 0.0), 9))
    1.0
    >>> fg.finite.derivative(np.exp, [0.0, 1.0], order=4, accuracy=6).round(4)
    array([1.    , 2.7183])
    """
    if not is_integer(order) or not 1 <= order <= 10:
        raise ValueError(f"order is {order!r}\n  cure: pass an integer from 1 to 10")
    x = as_floats(x0, "x0")
    numbers = x.reshape(-1)
    if f0 is not None and x.size != 1:
        raise ValueError(f"f0 is the value at one number, but x0 has {x.size}\n  cure: leave f0 out")
    if not x.size:
        raise ValueError("x0 is empty\n  cure: pass at least one number")
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    calls = Calls(fun, numbers[:1].reshape(()), args, kwargs, vectorized, workers, trace, f0)
    lines = schemes.Elements(calls, numbers)
    found = _along(lines, method, kind, accuracy, int(order), rel_step, abs_step, limits, noise, full_output)
    shape = x.shape + calls.out_shape
    if not full_output:
        return found[0].reshape(shape).astype(x.dtype, copy=False)[()]
    return _difference(calls, found, shape, x, is_transposed=False)


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
    if not is_integer(order) or not 1 <= order <= 10:
        raise ValueError(f"order is {order!r}\n  cure: pass an integer from 1 to 10")
    x = as_floats(x0, "x0")
    v = np.asarray(as_floats(direction, "direction"), np.float64)
    if v.shape != x.shape:
        raise ShapeError(f"direction has shape {v.shape}, but x0 {x.shape}\n  cure: pass a direction shaped like x0")
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    calls = Calls(fun, x, args, kwargs, vectorized, workers, trace, f0)
    flat, v = x.reshape(-1), v.reshape(-1)
    length = float(np.linalg.norm(v))
    if not np.isfinite(length):
        raise ValueError("direction is not finite\n  cure: pass finite numbers")
    if not length:
        calls.known()
        zero = np.zeros(calls.out_shape, x.dtype)[()]
        return Difference(zero, None, calls.nfev, 0.0, FINE) if full_output else zero
    scale = (
        float(np.abs(flat[v != 0]).max(initial=1.0)) / length
    )  # so that t = 1 is where the function may have changed
    lines = schemes.Direction(calls, flat, scale * v, limits)
    along = None if limits is None else _room(flat, scale * v, limits)
    # t counts from 0, where steps relative to it mean nothing
    absolute = abs_step / scale if abs_step is not None else rel_step
    value, error, step, status = _along(
        lines, method, kind, accuracy, int(order), None, absolute, along, noise, full_output
    )
    value = (value[0] / scale**order).reshape(calls.out_shape).astype(x.dtype, copy=False)[()]
    if not full_output:
        return value
    if error is not None:
        error = (error[0] / scale**order).reshape(calls.out_shape)[()]
    return Difference(value, error, calls.nfev, float(step[0] * scale), int(status[0]))  # type: ignore[index]


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
        Central, n² + n + 1 points; forward, (n² + 3n) / 2 + 1; differences of complex steps, n² + n, with about ten digits; or
        extrapolated second derivatives along axes and diagonals, with an error estimate.
    rel_step, abs_step : float or array_like, optional
        As for `gradient`; by default about eps^(1/4) for "3-point", and eps^(1/3) for "2-point" and "cs".
    accuracy : int, optional
        For "adaptive": 2, 4, 6 or 8.
    sparsity : array_like, scipy.sparse array or "auto", optional
        Which second derivatives may differ from zero; those of columns that do not meet are found together.

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
    if (method, None) not in _SIDES:
        raise _refusal(method, None)
    limits = None if bounds is _UNBOUNDED else steps.box(bounds, x)
    calls = Calls(fun, x, args, kwargs, vectorized, workers, trace, f0, is_scalar=True)
    flat = x.reshape(-1)
    error = None
    while True:
        eps = calls.eps
        level = _noise_level(noise, calls, eps)
        if method == "adaptive":
            raise NotImplementedError
        if method == "cs":
            h = steps.absolute(flat, steps.relative(level, (-1, 1), 1), rel_step, abs_step)
            imaginary = steps.absolute(flat, eps**0.5, None, None)
            value, taken = schemes.complex_hessian(calls, flat, h, imaginary, limits), h
        else:
            offsets = (-1, 0, 1) if method == "3-point" else (0, 1, 2)
            h = steps.absolute(flat, steps.relative(level, offsets, 2), rel_step, abs_step)
            value, taken = schemes.hessian(calls, flat, h, method == "3-point", limits)
        if calls.eps == eps:
            break
    shape = x.shape + x.shape
    if not full_output:
        return value.reshape(shape).astype(x.dtype, copy=False)
    status = _statuses(value, taken)
    return Difference(
        value.reshape(shape).astype(x.dtype, copy=False),
        error,
        calls.nfev,
        taken.reshape(x.shape),
        status.reshape(x.shape),
    )


# ---- shared parts

Found = tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]
"""Derivatives and errors (N, m), steps and statuses (N,)."""


def _along(
    lines: Any,
    method: str,
    kind: str | None,
    accuracy: int | None,
    order: int,
    rel_step: Any,
    abs_step: Any,
    limits: schemes.Limits,
    noise: float | None,
    full_output: bool,
) -> Found:
    """Derivatives along lines by any method."""
    calls: Calls = lines.calls
    try:
        side = _SIDES[method, kind]
    except (KeyError, TypeError):
        raise _refusal(method, kind) from None
    accuracy = _ACCURACY[method] if accuracy is None else accuracy
    while True:
        eps = calls.eps
        if method == "adaptive":
            raise NotImplementedError
        if method == "cs":
            if order != 1:
                raise ValueError(f"order is {order}, but method is 'cs'\n  cure: method='3-point' or 'adaptive'")
            h = steps.absolute(lines.t, eps**0.5, rel_step, abs_step)
            value, taken = schemes.complex_step(lines, h, limits), h
        else:
            scheme = schemes.scheme_of(order, accuracy, side == 0)
            if noise is not None and rel_step is None and abs_step is None:
                h = _noisy_step(lines, noise, eps, scheme, side, limits)
            else:
                h = steps.absolute(lines.t, steps.relative(eps, scheme.offsets, order), rel_step, abs_step, side)
            value, taken = schemes.differences(lines, h, order, accuracy, side == 0, limits)
        if calls.eps == eps:
            break
    return value, None, taken, _statuses(value, taken) if full_output else None


def _noisy_step(
    lines: Any, noise: float, eps: float, scheme: schemes.Scheme, side: int | None, limits: schemes.Limits
) -> np.ndarray:
    """Steps for values with an absolute error."""
    if scheme.order == 1 and scheme.span <= 2 and isinstance(lines, schemes.Coordinates):
        h = steps.from_noise(lines.calls.values, lines.t, lines.calls.known, noise, scheme.span + 1, limits)
        return -h if side == -1 else h
    level = _noise_level(noise, lines.calls, eps)
    return steps.absolute(lines.t, steps.relative(level, scheme.offsets, scheme.order), None, None, side)


def _noise_level(noise: float | None, calls: Calls, eps: float) -> float:
    """The relative error of values: rounding, or noise."""
    if noise is None:
        return eps
    with np.errstate(all="ignore"):
        return float(np.clip(steps.noise_of(noise) / np.abs(calls.known()).max(initial=0.0), eps, 0.1))


def _refusal(method: Any, kind: Any) -> ValueError:
    if method not in _ACCURACY:
        return ValueError(f"method is {method!r}\n  cure: one of {', '.join(map(repr, _ACCURACY))}")
    kinds = [known for of, known in _SIDES if of == method]
    return ValueError(f"kind is {kind!r}, but method={method!r}\n  cure: one of {', '.join(map(repr, kinds))}")


def _room(x: np.ndarray, v: np.ndarray, limits: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """For which t x + t v is within the limits."""
    with np.errstate(all="ignore"):
        ends = np.sort([(limits[0] - x) / v, (limits[1] - x) / v], axis=0)
    moves = v != 0
    lower, upper = ends[0][moves].max(initial=-np.inf), ends[1][moves].min(initial=np.inf)
    return np.array([min(lower, 0.0)]), np.array([max(upper, 0.0)])


def _statuses(value: np.ndarray, taken: np.ndarray) -> np.ndarray:
    finite = np.isfinite(value).all(axis=1)
    return np.where(finite, FINE, np.where(taken == 0, NO_ROOM, NOT_FINITE))


def _difference(
    calls: Calls, found: Found, shape: tuple[int, ...], x: np.ndarray, is_transposed: bool = True
) -> Difference:
    def shaped(rows: np.ndarray | None) -> Any:
        if rows is None:
            return None
        rows = rows.T if is_transposed else rows
        return np.ascontiguousarray(rows).reshape(shape).astype(x.dtype, copy=False)[()]

    value, error, step, status = found
    return Difference(
        shaped(value),
        shaped(error),
        calls.nfev,
        step.reshape(x.shape)[()],
        status.reshape(x.shape)[()],  # type: ignore[union-attr]
    )
