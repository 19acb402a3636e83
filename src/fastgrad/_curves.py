"""The data of curve fits: which number belongs to which curve, and what residuals are multiplied by."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._arrays import as_floats, is_integer
from .errors import ShapeError
from .functions import vmap


def residuals_of(f: Callable[..., Any], p: Any, xdata: Any, ydata: Any, weights: Any = None) -> Any:
    """What a model leaves of the data of one curve, weighted."""
    _check_number_of_parameters(f, p.size)
    y = _stacked(f(xdata, *p))
    is_constant = np.shape(y) == () and getattr(xdata, "ndim", 1) > 0  # not: one point of xdata taken for a curve
    if np.shape(y) != np.shape(ydata) and not is_constant:
        raise ShapeError(
            f"f gives an array of shape {np.shape(y)}, but the ydata of a curve has {np.shape(ydata)}\n"
            "  cure: return one value for each of ydata; in_axes tells which axis of xdata and ydata counts curves"
        )
    difference = y - ydata
    if weights is None:
        return difference
    is_matrix = np.ndim(weights) > np.ndim(ydata)
    return weights @ difference if is_matrix else weights * difference


def _stacked(y: Any) -> Any:
    """What a model returns, as an array."""
    if y is None:
        raise TypeError("f returns nothing\n  cure: return the model's values at xdata")
    return np.stack([_stacked(part) for part in y]) if isinstance(y, (list, tuple)) else y


class Curves(NamedTuple):
    """The data of curve fits, as a problem takes them."""

    p0: np.ndarray
    data: list[Any]  # xdata, ydata and what residuals are multiplied by
    in_axes: list[int | None] | None
    n_points: Any  # of a curve: one number for all of them, or for each its own


def sorted_curves(
    f: Callable[..., Any], xdata: Any, ydata: Any, p0: Any, sigma: Any, in_axes: Any, bounds: Any
) -> Curves:
    """What a caller of `curve_fit` gave, checked: float arrays, of which `ydata` and `sigma` count curves first."""
    x_axis, y_axis, p_axis = _axes_of_three(in_axes, p0)
    if isinstance(xdata, (list, tuple)):
        xdata = as_floats(xdata, "xdata")
    ydata = as_floats(ydata, "ydata")
    if p0 is None:
        p0 = _default_start(_n_parameters(f), bounds)
        p_axis = 0 if p0.ndim == 2 and in_axes is not None else None
    else:
        p0 = np.atleast_1d(as_floats(p0, "p0"))
        if p0.ndim > (1 if p_axis is None else 2):
            raise ShapeError(
                f"p0 has shape {p0.shape}, but parameters are a vector\n"
                "  cure: in_axes for (xdata, ydata, p0) where each curve has a start of its own"
            )
    lengths = {
        name: np.shape(value)[_checked(axis, np.shape(value), name)]
        for name, value, axis in (("xdata", xdata, x_axis), ("ydata", ydata, y_axis), ("p0", p0, p_axis))
        if axis is not None and not isinstance(value, dict)
    }
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} has {n:,}" for name, n in lengths.items())
        raise ShapeError(
            f"the axes that count curves differ in length: {each}\n  cure: set in_axes for xdata, ydata, p0"
        )
    if p_axis is not None and p0.ndim == 1:  # a single parameter
        p0, p_axis = p0[:, None], 0
    for name, value, axis in (("xdata", xdata, x_axis), ("ydata", ydata, y_axis)):
        is_shared = axis is None and isinstance(value, np.ndarray) and value.dtype.kind == "f"
        if is_shared and not np.all(np.isfinite(value)):
            raise ValueError(
                f"{name} holds NaN or infinity\n"
                "  cure: leave such points out, or put any number there with sigma=np.inf"
            )
    if y_axis is not None:
        ydata = np.moveaxis(ydata, y_axis, 0)
    shape = ydata.shape if y_axis is None else ydata.shape[1:]
    n_points: Any = math.prod(shape)
    if n_points == 0:
        raise ValueError("ydata is empty: give at least as many points as f has parameters")
    data, lanes = [xdata, ydata], [p_axis, x_axis, None if y_axis is None else 0]
    if sigma is not None:
        weights, is_own = _weights(sigma, ydata, y_axis)
        data.append(weights)
        lanes.append(0 if is_own else None)
        n_points = _counted(weights, shape, is_own)
    return Curves(p0, data, None if in_axes is None else lanes, n_points)


def _axes_of_three(in_axes: Any, p0: Any) -> tuple[int | None, int | None, int | None]:
    if in_axes is None:
        return None, None, None
    axes = (in_axes, in_axes, in_axes if np.ndim(p0) == 2 else None) if is_integer(in_axes) else in_axes
    is_three = isinstance(axes, (tuple, list)) and len(axes) == 3 and all(a is None or is_integer(a) for a in axes)
    if not is_three or all(a is None for a in axes):
        raise ValueError(
            f"in_axes={in_axes!r} must be three, for xdata, ydata and p0: the axis that counts curves, or None for what"
            " all curves share\n  cure: in_axes=(None, 0, None) for one xdata, rows of ydata and one p0; None for a"
            " single curve"
        )
    return axes[0], axes[1], axes[2]


def _checked(axis: int, shape: tuple[int, ...], name: str) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(
            f"{name} has shape {shape} and no axis {axis} that in_axes could count curves along\n"
            "  cure: in_axes is for (xdata, ydata, p0); give None for what all curves share"
        )
    return axis


def _positional(f: Callable[..., Any]) -> tuple[int, bool]:
    """How many arguments a function takes by position, and whether it takes any number more."""
    kinds = [p.kind for p in inspect.signature(f).parameters.values()]
    n = sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)
    return n, inspect.Parameter.VAR_POSITIONAL in kinds


def _n_parameters(f: Callable[..., Any]) -> int:
    try:
        n, takes_more = _positional(f)
    except ValueError:  # of a function in C
        n, takes_more = 0, True
    if takes_more or n < 2:
        raise ValueError("the number of parameters cannot be told from f\n  cure: give p0")
    return n - 1


def _check_number_of_parameters(f: Callable[..., Any], n: int) -> None:
    try:
        inspect.signature(f).bind(*[None] * (1 + n))
    except TypeError:
        takes = _positional(f)[0] - 1
        raise ValueError(
            f"p0 starts {n} parameters, but f takes {takes} after xdata\n"
            "  cure: a number in p0 for each; where p0 has rows for curves, in_axes says so"
        ) from None
    except ValueError:
        return


def _default_start(n: int, bounds: Any) -> np.ndarray:
    """Ones, or where bounds are: their middle, or one from the one that there is."""
    if bounds is None:
        return np.ones(n)
    lower, upper = np.asarray(bounds.lb, float), np.asarray(bounds.ub, float)
    try:
        lower, upper, start = np.broadcast_arrays(lower, upper, np.ones(n))
    except ValueError:
        raise ShapeError(
            f"bounds have shapes {lower.shape} and {upper.shape}, but f takes {n} parameters after xdata\n"
            "  cure: a pair (lb, ub) of numbers, or of arrays with a number for each parameter"
        ) from None
    has_lower, has_upper = np.isfinite(lower), np.isfinite(upper)
    with np.errstate(invalid="ignore"):
        start = np.where(has_lower, lower + 1, np.where(has_upper, upper - 1, start))
        return np.where(has_lower & has_upper, 0.5 * (lower + upper), start)


def _weights(sigma: Any, ydata: np.ndarray, axis: int | None) -> tuple[np.ndarray, bool]:
    """Factors of residuals, numbers or the matrix that makes them independent; whether each curve has its own.

    The curves of `ydata` are counted by its first axis, those of what the caller gave by `axis`.
    """
    sigma = as_floats(sigma, "sigma")
    shape = ydata.shape if axis is None else ydata.shape[1:]
    is_own = False
    if axis is not None and sigma.ndim == ydata.ndim:
        its = np.moveaxis(sigma, axis, 0)
        is_own = its.shape[0] == len(ydata) and _stretches(its.shape, ydata.shape)
        if is_own:
            sigma = its
    if is_own or sigma.ndim == 0 or (sigma.ndim == len(shape) and _stretches(sigma.shape, shape)):
        if not is_own and not np.all(sigma > 0):
            raise ValueError("sigma must be positive\n  cure: standard deviations; np.inf for a point to leave out")
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = 1 / sigma
        if is_own:
            weights[~(sigma > 0)] = np.nan
    else:
        matrix = shape * 2 if len(shape) == 1 else None
        is_own = axis is not None and matrix is not None and sigma.shape == (len(ydata), *matrix)
        if not is_own and sigma.shape != matrix:
            raise _sigma_error(sigma.shape, shape, len(ydata) if axis is not None else None)
        weights = _whitening(sigma if is_own else sigma[None])
        if not is_own:
            weights = weights[0]
            if not np.all(np.isfinite(weights)):
                raise ValueError("sigma, as the covariance matrix of the points, must be positive definite")
    return weights.astype(ydata.dtype, copy=False), is_own


def _stretches(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return all(n in (1, wanted) for n, wanted in zip(shape, to, strict=True))


def _sigma_error(given: tuple[int, ...], shape: tuple[int, ...], batch: int | None) -> ShapeError:
    own = f", {(batch, *shape)} for each curve its own, {(batch,) + (1,) * len(shape)} for one a curve" if batch else ""
    matrix = f", or the covariance matrix {shape * 2} of a curve's points" if len(shape) == 1 else ""
    return ShapeError(f"sigma has shape {given}\n  cure: one number, {shape} for a curve's points{own}{matrix}")


def _counted(weights: np.ndarray, shape: tuple[int, ...], is_own: bool) -> Any:
    """How many points of a curve have a weight."""
    if weights.ndim - is_own > len(shape):
        return math.prod(shape)
    counts = np.count_nonzero(weights, axis=tuple(range(int(is_own), weights.ndim)))
    return counts * (math.prod(shape) // max(1, math.prod(weights.shape[int(is_own) :])))


_whitening = vmap(lambda sigma: np.linalg.inv(np.linalg.cholesky(sigma)))
