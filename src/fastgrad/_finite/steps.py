"""How long a step to take: SciPy's rule, within bounds, from known noise, and for derivatives of any order.

The relative step is a root of the machine epsilon of the narrower of the dtypes of point and value; it counts from
max(1, |x|), so that points near zero get a step too. Rounding makes x + h another number than it says; all schemes
divide by the step that was really taken. Imaginary steps meet neither cancellation nor the rounding of x, so they need
not grow with |x|, as SciPy's do and their error with them: a function may change on the scale of 1 wherever it is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from .._arrays import as_floats
from ..stencils import exact_weights

Offsets = tuple[int, ...]

EPS = float(np.finfo(np.float64).eps)


@functools.lru_cache(maxsize=64)
def epsilon(dtype: np.dtype, value_dtype: np.dtype) -> float:
    """Machine epsilon of the narrower of two dtypes; integer values say nothing about precision."""
    eps = float(np.finfo(dtype).eps)
    return max(eps, float(np.finfo(value_dtype).eps)) if value_dtype.kind in "fc" else eps


@functools.lru_cache(maxsize=256)
def relative(eps: float, offsets: Offsets, order: int) -> float:
    """Step, for a function and variable of scale one, that balances rounding and truncation.

    First derivatives follow SciPy: eps^(1/2) for one-sided differences, eps^(1/3) for three points. For higher orders
    the two errors, eps Σ|w| / h^order and C h^accuracy with C from the first moment that the weights w do not cancel,
    have the least sum.
    """
    weights = exact_weights(tuple(map(Fraction, offsets)), order)
    power = order + 1
    while not (moment := sum(w * Fraction(o) ** power for w, o in zip(weights, offsets, strict=True))):
        power += 1
    if order == 1:
        return eps ** (1 / power)
    constant = float(abs(moment)) / math.factorial(power)
    rounding = eps * float(sum(map(abs, weights)))
    return (order * rounding / ((power - order) * constant)) ** (1 / power)


def absolute(
    x: np.ndarray, rel: float, rel_step: Any, abs_step: Any, side: int | None = None, is_imaginary: bool = False
) -> np.ndarray:
    """Signed step of each component of the vector `x`: away from zero, or upwards for a `side` of 0 or 1, or downwards.

    A step of the user's that is lost in rounding is replaced by the default, `rel` times max(1, |x|); an imaginary one
    is lost only where it is zero, and `rel` is the default. No step leads away from infinity: it is NaN there.
    """
    default = np.where(np.isfinite(x), rel * (np.ones_like(x) if is_imaginary else np.maximum(1.0, np.abs(x))), np.nan)
    if rel_step is None and abs_step is None:
        if side is None:
            return np.copysign(default, x + 0.0)  # x + 0.0 is never -0.0
        return -default if side < 0 else default
    with np.errstate(all="ignore"):
        sign = np.copysign(1.0, x + 0.0)
        h = (
            _like(abs_step, "abs_step", x)
            if abs_step is not None
            else _like(rel_step, "rel_step", x) * sign * np.abs(x)
        )
        is_lost = h == 0 if is_imaginary else (x + h).astype(x.dtype) - x == 0
        h = np.where(is_lost | np.isnan(default), sign * default, h)
    if side is None:
        return h
    return -np.abs(h) if side < 0 else np.abs(h)


def _like(step: Any, name: str, x: np.ndarray) -> np.ndarray:
    array = np.asarray(as_floats(step, name), np.float64)
    if array.ndim and array.size != x.size:
        raise ValueError(
            f"{name} has shape {array.shape}, but x0 has {x.size} components\n  cure: one step, or one each"
        )
    check_finite(array, name)
    return np.broadcast_to(array.reshape(-1) if array.ndim else array, x.shape)


def check_finite(step: Any, name: str) -> None:
    """Refuse steps that lead nowhere."""
    if step is not None and not np.isfinite(step).all():
        raise ValueError(f"{name} is {step}\n  cure: finite numbers, or None for the default")


# ---- bounds


def box(bounds: Any, x0: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper bounds as vectors, or None where there are none.

    They are numbers of the dtype of x, so that no rounding to it leaves them.
    """
    if bounds is None:
        return None
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        bounds = bounds.lb, bounds.ub
    if len(bounds) != 2:
        raise ValueError(
            f"bounds has {len(bounds)} entries\n  cure: pass (lower, upper), each a number or shaped like x0"
        )
    lower, upper = (np.asarray(as_floats(bounds[k], f"bounds[{k}]"), np.float64) for k in (0, 1))
    for bound, name in ((lower, "bounds[0]"), (upper, "bounds[1]")):
        if bound.ndim and bound.shape != x0.shape:
            raise ValueError(f"{name} has shape {bound.shape}, but x0 {x0.shape}\n  cure: a number, or shaped like x0")
    if not np.all(lower <= upper):
        raise ValueError("bounds has a lower bound above the upper one, or NaN\n  cure: give lower <= upper")
    if np.any((x0 < lower) | (x0 > upper)):
        raise ValueError("x0 lies outside bounds\n  cure: np.clip(x0, lower, upper)")
    if np.all(lower == -np.inf) and np.all(upper == np.inf):
        return None
    lower, upper = -_at_most(-lower, x0.dtype), _at_most(upper, x0.dtype)
    return tuple(np.broadcast_to(bound, x0.shape).reshape(-1) for bound in (lower, upper))  # type: ignore[return-value]


def _at_most(limit: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The largest numbers of a dtype that are not above the limits."""
    with np.errstate(over="ignore"):
        near = limit.astype(dtype)
    return np.where(near > limit, np.nextafter(near, dtype.type(-np.inf)), near).astype(np.float64)


@np.errstate(invalid="ignore")  # of x at an infinite limit
def one_sided(x: np.ndarray, h: np.ndarray, reach: int, limits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Steps for stencils at 0, h .. reach h that stay within the limits.

    They turn round where they fit the other way, else they are shortened towards the wider side.
    """
    below, above = x - limits[0], limits[1] - x
    fits_ahead = np.where(h >= 0, above, below) >= np.abs(h) * reach
    fits_behind = np.where(h >= 0, below, above) >= np.abs(h) * reach
    shortened = np.where(above >= below, above, -below) / reach
    return np.where(fits_ahead | np.isnan(h), h, np.where(fits_behind, -h, shortened))


@np.errstate(invalid="ignore")
def two_sided(
    x: np.ndarray, h: np.ndarray, reach: int, aside: int, limits: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Steps for stencils that reach so many steps to both sides, and where to use one of `aside` to one.

    As SciPy does: where the central stencil does not fit, the one-sided one at full step or as far as the limit, but a
    central one with a step at least as long is preferred.
    """
    h = np.abs(h)
    below, above = x - limits[0], limits[1] - x
    is_central = (below >= h * reach) & (above >= h * reach)
    room = np.maximum(below, above)
    length = np.minimum(h, room / aside)
    nearest = np.minimum(below, above) / reach
    recentred = ~is_central & (length <= nearest)
    steps = np.where(is_central, h, np.where(recentred, nearest, np.where(above >= below, length, -length)))
    return steps, ~(is_central | recentred)


# ---- noise


def noise_of(noise: Any) -> float:
    """The absolute error of values that a caller gives."""
    if not isinstance(noise, (int, float, np.number)) or not 0 < noise < np.inf:
        raise ValueError(f"noise is {noise!r}\n  cure: one positive number, the absolute error of fun's values")
    return float(noise)


def from_noise(
    values: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    f0: Callable[[], np.ndarray],
    noise: Any,
    power: int,
    limits: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    """Steps for a function whose values are off by about `noise`, an absolute error.

    Forward differences: h = 8^(1/4) (noise / |f''|)^(1/2); central ones: h = (3 noise / |f'''|)^(1/3), for which f'''
    is taken as f'' over the scale max(1, |x|). The curvature comes from second differences over noise^(1/4), again over
    a step adapted to it where the first was within the noise or too long: Moré & Wild, *Estimating derivatives of noisy
    simulations*, ACM Transactions on Mathematical Software 38 (2012), section 5. Without curvature the probe's step
    stays.
    """
    level = noise_of(noise)
    scale = np.maximum(1.0, np.abs(x)).astype(np.float64)
    probe = level**0.25 * scale
    best = probe
    curvature = np.zeros(x.shape)
    for _ in range(2):
        difference, spread, used = _second(values, x, f0, probe, limits)
        with np.errstate(all="ignore"):
            new = difference / used**2
            found = (difference >= 100 * level) & np.isfinite(new)
            better = found & ((curvature == 0) | (spread <= 0.1))
            curvature = np.where(better, new, curvature)
            if np.all(found & (spread <= 0.1)):
                break
            # within the noise: longer; too long: as if the curvature seen were right
            probe = np.where(found, (level / new) ** 0.25, 8 * probe)
    with np.errstate(all="ignore"):
        h = 8**0.25 * np.sqrt(level / curvature) if power == 2 else np.cbrt(3 * level * scale / curvature)
    return np.where(curvature > 0, np.minimum(h, scale), best)


def _second(
    values: Callable[[np.ndarray], np.ndarray], x: np.ndarray, f0: Callable[[], np.ndarray], h: np.ndarray, limits: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Second differences, the largest of all values; the change relative to the values; the steps that were used."""
    n = len(x)
    shift = np.zeros(n)
    if limits is not None:
        below, above = x - limits[0], limits[1] - x
        h = np.minimum(h, 0.5 * (below + above))
        shift = np.clip(0.0, h - below, above - h)  # a middle from which both sides fit
    points = np.repeat(x[None], 3 * n, axis=0).reshape(3, n, n)
    rows = np.arange(n)
    for k, offset in enumerate((-1, 0, 1)):
        points[k, rows, rows] = x + shift + offset * h
    if limits is not None:
        np.clip(points, limits[0], limits[1], out=points)
    if shift.any():
        low, middle, high = values(points.reshape(3 * n, n)).reshape(3, n, -1)
    else:
        low, high = values(points[::2].reshape(2 * n, n)).reshape(2, n, -1)
        middle = np.broadcast_to(f0(), low.shape)
    with np.errstate(all="ignore"):
        difference = np.abs(low - 2 * middle + high).max(axis=1)
        largest = np.maximum(np.maximum(np.abs(low), np.abs(high)), np.abs(middle)).max(axis=1)
        change = np.maximum(np.abs(low - middle), np.abs(high - middle)).max(axis=1)
        return difference, change / largest, h
