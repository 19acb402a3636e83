"""Which scheme, which steps: from what a caller asks for to derivatives, errors, steps and statuses.

A vectorised function is first called with all points, so that the dtype of its values, which sets the steps, is known
only then. Where it turns out to be narrower than that of x, everything is done once more.
"""

from __future__ import annotations

import copy
import functools
from typing import Any, NamedTuple

import numpy as np

from . import richardson, schemes, steps
from .calls import Calls
from .lines import Coordinates, Diagonals, Grouped, Limits, room_along
from .results import FINE, NO_ROOM, NOT_FINITE, Difference

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


class Settings(NamedTuple):
    """What a caller asks for."""

    method: str
    kind: str | None
    accuracy: int | None
    order: int
    rel_step: Any
    abs_step: Any
    limits: Limits
    noise: float | None


class Found(NamedTuple):
    """Derivatives and their errors, a row for each variable (N, m); steps and statuses (N,)."""

    value: Any
    error: Any
    step: np.ndarray
    status: np.ndarray | None = None


def side_of(method: str, kind: str | None) -> int | None:
    """Where points lie by a method of a kind."""
    try:
        return _SIDES[method, kind]
    except (KeyError, TypeError):
        if method not in _ACCURACY:
            raise ValueError(f"method is {method!r}\n  cure: one of {', '.join(map(repr, _ACCURACY))}") from None
        kinds = ", ".join(repr(known) for of, known in _SIDES if of == method)
        raise ValueError(f"kind is {kind!r}, but method={method!r}\n  cure: one of {kinds}") from None


# ---- along lines


def along(lines: Any, settings: Settings) -> Found:
    """Derivatives along lines."""
    method, kind, accuracy, order, rel_step, abs_step, limits, noise = settings
    calls: Calls = lines.calls
    side = side_of(method, kind)
    if accuracy is None:
        accuracy = _ACCURACY[method]
    while True:
        eps = calls.eps
        if method == "adaptive":
            found = _extrapolated(lines, settings, accuracy, side)
        elif method == "cs":
            if order != 1:
                raise ValueError(f"order is {order}, but method is 'cs'\n  cure: method='3-point' or 'adaptive'")
            h = steps.absolute(lines.t, eps**0.5, rel_step, abs_step, is_imaginary=True)
            found = Found(schemes.complex_step(lines, h, limits), None, h)
        else:
            scheme = schemes.scheme_of(order, accuracy, side == 0)
            if noise is not None and rel_step is None and abs_step is None:
                h = _noisy_step(lines, noise, scheme, side, limits)
            else:
                h = steps.absolute(lines.t, steps.relative(eps, scheme.offsets, order), rel_step, abs_step, side)
            value, h = schemes.differences(lines, h, order, accuracy, side == 0, limits)
            found = Found(value, None, h)
        if calls.eps == eps:
            return found


def _noisy_step(lines: Any, noise: float, scheme: schemes.Scheme, side: int | None, limits: Limits) -> np.ndarray:
    """Steps for values with an absolute error."""
    if scheme.order == 1 and scheme.span <= 2 and isinstance(lines, Coordinates):
        h = steps.from_noise(lines.calls.values, lines.t, lines.calls.known, noise, scheme.span + 1, limits)
        return -h if side == -1 else h
    level = _level(noise, lines.calls)
    return steps.absolute(lines.t, steps.relative(level, scheme.offsets, scheme.order), None, None, side)


def _level(noise: float | None, calls: Calls) -> float:
    """The relative error of values: rounding, or noise."""
    if noise is None:
        return calls.eps
    with np.errstate(all="ignore"):
        relative = steps.noise_of(noise) / np.abs(calls.known()).max(initial=0.0)
    return float(np.clip(relative, calls.eps, 0.1))


def plain_adaptive(calls: Calls, x: np.ndarray) -> Found:
    """What `along` gives for a scalar function where a caller asks for nothing but ``method="adaptive"``."""
    return Found(*richardson.plain_adaptive(calls.values, x, calls.f0, calls.eps))


def _extrapolated(lines: Any, settings: Settings, accuracy: int, side: int | None) -> Found:
    calls, t = lines.calls, lines.t
    if accuracy not in (2, 4, 6, 8):
        raise ValueError(f"accuracy is {accuracy!r}, but method is 'adaptive'\n  cure: one of 2, 4, 6, 8")
    if not t.size:
        nothing = np.empty((0, calls.known().size))
        return Found(nothing, nothing, t, np.empty(0, np.intp))
    first = None
    if settings.rel_step is not None or settings.abs_step is not None:
        first = steps.absolute(t, calls.eps ** (1 / (accuracy + settings.order)), settings.rel_step, settings.abs_step)
    lower, upper = (None, None) if settings.limits is None else settings.limits
    if side == 1:
        lower = t.copy()
    elif side == -1:
        upper = t.copy()
    noise = None if settings.noise is None else steps.noise_of(settings.noise)
    known = calls.f0 if lines.is_one_point else None
    if isinstance(lines, (Coordinates, Grouped)):
        found = richardson.adaptive(
            lines.t_values,
            t,
            first,
            lower=lower,
            upper=upper,
            order=accuracy,
            noise=noise,
            value=known,
            eps=calls.eps,
            far=lines.far,
        )
    else:
        found = richardson.adaptive_derivative(
            lines.values,
            t,
            first,
            order=settings.order,
            accuracy=accuracy,
            lower=lower,
            upper=upper,
            noise=noise,
            value=None if known is None else known if len(t) == 1 else np.repeat(known[None], len(t), axis=0),
            eps=calls.eps,
            far=lines.far,
        )
    return Found(*found)


# ---- sparse Jacobians


def sparse_jacobian(calls: Calls, x: np.ndarray, settings: Settings, sparsity: Any) -> Found:
    """The Jacobian as a sparse array, and its errors likewise."""
    from . import sparsity as sparse
    from . import structures

    side = side_of(settings.method, settings.kind)
    _refuse_accuracy(settings)
    values, limits = calls.values, settings.limits
    lower, upper = (-np.inf, np.inf) if limits is None else limits
    m, is_pinned = calls.known().size, np.broadcast_to(np.equal(lower, upper), x.shape)
    if isinstance(sparsity, str) and sparsity == "auto":
        structure, groups = sparse.detect(values, x, m, lower=lower, upper=upper), None
        if is_pinned.any():  # every value may depend on these
            pinned = np.flatnonzero(is_pinned)
            structure = structure.including(np.tile(np.arange(m), pinned.size), np.repeat(pinned, m))
    else:
        structure, groups = structures.read_structure(sparsity, (m, x.size))
    if groups is None:  # what does not move is in nobody's way
        needs_all = settings.method == "cs" or not is_pinned.any()
        groups = structures.groups(structure if needs_all else structure.keeping(~is_pinned[structure.column]))
    if settings.method == "adaptive":
        return _sparse_extrapolated(calls, x, settings, structure, groups)
    h, is_aside = _steps(calls, x, settings, side, 1)
    matrix = sparse.jacobian_by_groups(
        values, x, h, settings.method, structure, groups, f0=calls.f0, one_sided=is_aside, limits=limits
    )
    if settings.method == "cs":
        schemes.check_analytic(Coordinates(calls, x), matrix.T.tocsr(), limits)
    return Found(matrix, None, h, _column_statuses(matrix, h))


def _sparse_extrapolated(calls: Calls, x: np.ndarray, settings: Settings, structure: Any, groups: np.ndarray) -> Found:
    """Each group of columns as one variable, t = 0, that moves all its components."""
    from . import sparsity as sparse

    side = side_of("adaptive", settings.kind)
    lower, upper = (np.full(x.shape, end) for end in (-np.inf, np.inf)) if settings.limits is None else settings.limits
    if side == 1:
        lower = x
    elif side == -1:
        upper = x
    scale = np.maximum(1.0, np.abs(x))
    groups, direction = sparse.by_room(x, scale, groups, lower, upper)
    along = scale * direction
    values, least, most = sparse.group_coordinates(calls.values, x, along, groups, lower, upper)
    # a group is judged by the values that it changes, as far as these can be judged
    is_pinned, is_finite = lower == upper, np.isfinite(calls.f0)
    is_lost = is_pinned[structure.column] | ~is_finite[structure.row]
    judged = copy.copy(calls)
    judged.f0 = np.where(is_finite, calls.f0, 0.0)
    values = sparse.only_own(values, judged.f0, structure.keeping(~is_lost), groups, len(least))
    far = np.zeros(len(least))
    np.maximum.at(far, groups, np.where(is_pinned, 0.0, np.abs(x) / scale))
    lines = Grouped(judged, values, far)
    first = None if settings.abs_step is None and settings.rel_step is None else _steps(calls, x, settings, None, 1)[0]
    if first is not None:  # the shortest of a group
        shortest = np.full(len(least), np.inf)
        np.minimum.at(shortest, groups, np.where(is_pinned, np.inf, np.abs(first) / scale))
        first = np.where(np.isinf(shortest), 1.0, shortest)
    along_groups = settings._replace(limits=(least, most), rel_step=None, abs_step=first)
    accuracy = settings.accuracy or 4
    found = _extrapolated(lines, along_groups, accuracy, 0)
    value, error = (sparse.spread(part, along, structure, groups) for part in (found.value, found.error))
    error.data = np.where(is_lost, np.inf, np.abs(error.data))
    value.data[is_lost] = np.nan
    assert found.status is not None
    is_one_sided = np.abs(found.step) * max(accuracy // 2, 2) > np.minimum(-least, most)
    step = np.where(is_one_sided[groups], found.step[groups] * along, np.abs(found.step)[groups] * scale)
    status = found.status[groups]
    status[structure.column[is_lost]] = NOT_FINITE
    status[is_pinned] = NO_ROOM
    return Found(value, error, np.where(is_pinned, 0.0, step), status)


def operator(calls: Calls, x: np.ndarray, settings: Settings) -> Any:
    """The Jacobian as a SciPy LinearOperator."""
    from .sparsity import linear_operator

    side_of(settings.method, settings.kind)
    _refuse_accuracy(settings)
    if settings.limits is not None:
        raise ValueError("bounds cannot be kept by as_linear_operator=True, as directions are not known yet")
    calls.known()
    h = settings.rel_step if settings.abs_step is None else settings.abs_step
    steps.check_finite(h, "rel_step" if settings.abs_step is None else "abs_step")
    if h is None:
        h = calls.eps ** (1 / 3 if settings.method == "3-point" else 1 / 2)
    return linear_operator(calls, x, h, settings.method, f0=calls.f0)


def _refuse_accuracy(settings: Settings) -> None:
    accuracy, method = settings.accuracy, settings.method
    if method != "adaptive" and accuracy not in (None, _ACCURACY[method]):
        raise ValueError(
            f"accuracy is {accuracy!r}, but method={method!r} has {_ACCURACY[method]} here\n  cure: leave it out"
        )


def _steps(
    calls: Calls, x: np.ndarray, settings: Settings, side: int | None, order: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Steps for 2 or 3 points, and which of 3 points are to lie on one side."""
    method, limits = settings.method, settings.limits
    is_central = method == "3-point" and side == 0
    aside = schemes.scheme_of(order, _ACCURACY[method], False)
    scheme = schemes.scheme_of(order, _ACCURACY[method], is_central)
    if order > 1 and method == "2-point":
        side = None
    rel = steps.relative(_level(settings.noise, calls), scheme.offsets, order)
    if method == "cs":
        return steps.absolute(x, calls.eps**0.5, settings.rel_step, settings.abs_step, is_imaginary=True), None
    h = steps.absolute(x, rel, settings.rel_step, settings.abs_step, side)
    if not is_central:
        h = h if limits is None else steps.one_sided(x, h, aside.reach, limits)
        return h, np.ones(len(x), bool) if method == "3-point" else None
    return (h, None) if limits is None else steps.two_sided(x, h, scheme.reach, aside.reach, limits)


# ---- Hessians


def hessian(calls: Calls, x: np.ndarray, settings: Settings) -> Found:
    """Second derivatives of a scalar function."""
    method, limits = settings.method, settings.limits
    side_of(method, None)
    _refuse_accuracy(settings)
    while True:
        eps = calls.eps
        level = _level(settings.noise, calls)
        if method == "adaptive":
            found = _extrapolated_hessian(calls, x, settings)
        elif method == "cs":
            h = steps.absolute(x, steps.relative(level, (-1, 1), 1), settings.rel_step, settings.abs_step)
            imaginary = steps.absolute(x, eps**0.5, None, None, is_imaginary=True)
            found = Found(schemes.complex_hessian(calls, x, h, imaginary, limits), None, h)
        else:
            offsets = (-1, 0, 1) if method == "3-point" else (0, 1, 2)
            h = steps.absolute(x, steps.relative(level, offsets, 2), settings.rel_step, settings.abs_step)
            value, h = schemes.hessian(calls, x, h, method == "3-point", limits)
            found = Found(value, None, h)
        if calls.eps == eps:
            return found


@functools.lru_cache(maxsize=16)
def _pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """First and second number of each pair of n, read-only."""
    pairs = np.triu_indices(n, 1)
    for part in pairs:
        part.flags.writeable = False
    return pairs


def _extrapolated_hessian(calls: Calls, x: np.ndarray, settings: Settings) -> Found:
    """Second derivatives along the axes and the diagonals between two of them.

    Along s_i e_i + s_j e_j the second derivative is s_i² H_ii + 2 s_i s_j H_ij + s_j² H_jj.
    """
    n, limits = len(x), settings.limits
    scale = np.maximum(1.0, np.abs(x)).astype(np.float64)
    if settings.abs_step is not None or settings.rel_step is not None:
        scale = np.abs(steps.absolute(x, 1.0, settings.rel_step, settings.abs_step)) / calls.eps ** (1 / 6)
    first, second = _pairs(n)
    other = scale[second]
    room: Any = None
    if limits is not None:  # the diagonal with more room
        rooms = [room_along(x, first, second, scale, sign * other, limits) for sign in (1, -1)]
        wider = [upper - lower for lower, upper in rooms]
        other *= np.where(wider[1] > wider[0], -1.0, 1.0)
        axes = room_along(x, np.arange(n), np.arange(n), scale, scale, limits)
        diagonals = room_along(x, first, second, scale, other, limits)
        room = tuple(np.concatenate(pair) for pair in zip(axes, diagonals, strict=True))
    directions = np.zeros((n + len(first), n))
    directions.reshape(-1)[: n * n : n + 1] = scale
    both, pairs = directions[n:], np.arange(len(first))
    both[pairs, first], both[pairs, second] = scale[first], other
    units = np.abs(x) / scale
    far = np.concatenate([units, np.maximum(units[first], units[second])])
    lines = Diagonals(calls, x, directions, far, limits)
    found = _extrapolated(
        lines, settings._replace(order=2, limits=room, rel_step=None, abs_step=None), settings.accuracy or 8, 0
    )
    along_lines, its_error = found.value[:, 0], found.error[:, 0]
    along_axes, axis_error = along_lines[:n], its_error[:n]
    value, error = np.empty((n, n)), np.empty((n, n))
    with np.errstate(all="ignore"):
        square, divisor = scale * scale, 2 * scale[first] * other
        value.reshape(-1)[:: n + 1] = along_axes / square
        error.reshape(-1)[:: n + 1] = axis_error / square
        mixed = (along_lines[n:] - along_axes[first] - along_axes[second]) / divisor
        its_error = (its_error[n:] + axis_error[first] + axis_error[second]) / np.abs(divisor)
    value[first, second] = value[second, first] = mixed
    error[first, second] = error[second, first] = its_error
    assert found.status is not None
    status = found.status[:n].copy()
    if found.status.any():
        for ends in (first, second):
            np.maximum.at(status, ends, found.status[n:])
    return Found(value, error, found.step[:n] * scale, status)


def sparse_hessian(calls: Calls, x: np.ndarray, settings: Settings, sparsity: Any) -> Found:
    """The Hessian as a sparse array, from values at points for each element of the structure."""
    from . import pairs, structures

    if settings.method not in ("2-point", "3-point"):
        raise ValueError(f"method is {settings.method!r}, but sparsity is given\n  cure: method='2-point' or '3-point'")
    _refuse_accuracy(settings)
    if isinstance(sparsity, str):
        raise ValueError(
            f"sparsity is {sparsity!r}, but finding the structure from values takes as long as the Hessian itself\n"
            "  cure: pass the structure, or the gradient as jac"
        )
    structure, _ = structures.read_structure(sparsity, (x.size, x.size), symmetric=True)
    f0 = float(calls.known()[0])
    h, is_aside = _steps(calls, x, settings, side_of(settings.method, None), 2)
    matrix = pairs.hessian_by_values(
        calls.values, x, h, settings.method, structure, f0=f0, one_sided=is_aside, limits=settings.limits
    )
    return Found(matrix, None, h, _column_statuses(matrix, h))


def hessian_of_gradient(calls: Calls, x: np.ndarray, settings: Settings, sparsity: Any) -> Found:
    """The Hessian by differences of a gradient, symmetric."""
    if sparsity is None:
        found = along(Coordinates(calls, x), settings)
        value, error = ((part + part.T) / 2 if part is not None else None for part in (found.value, found.error))
        return found._replace(value=value, error=error)
    from . import sparsity as sparse
    from . import structures

    if settings.method == "adaptive":
        raise ValueError("method is 'adaptive', but sparsity is given\n  cure: method='2-point', '3-point' or 'cs'")
    _refuse_accuracy(settings)
    values, limits = calls.values, settings.limits
    lower, upper = (-np.inf, np.inf) if limits is None else limits
    if isinstance(sparsity, str) and sparsity == "auto":
        structure, groups = sparse.detect(values, x, x.size, lower=lower, upper=upper).symmetric, None
        pinned = np.flatnonzero(np.broadcast_to(np.equal(lower, upper), x.shape))
        structure = structure.including(pinned, pinned)  # the rest of these columns is seen in their rows
    else:
        structure, groups = structures.read_structure(sparsity, (x.size, x.size), symmetric=True)
    if groups is None:
        groups = structures.symmetric_groups(structure)
    g0 = calls.known()
    h, is_aside = _steps(calls, x, settings, side_of(settings.method, None), 1)
    matrix = sparse.hessian_by_groups(
        values, x, h, settings.method, structure, groups, g0=g0, one_sided=is_aside, limits=limits
    )
    return Found(matrix, None, h, _column_statuses(matrix, h))


# ---- results


def difference(calls: Calls, found: Found, shape: tuple[int, ...], x: np.ndarray, is_transposed: bool) -> Difference:
    """Everything known of a derivative of this shape."""
    value, error, step, status = found
    if status is None:
        is_finite = np.isfinite(value).all(axis=1)
        status = np.where(is_finite, FINE, np.where(step == 0, NO_ROOM, NOT_FINITE))
    value, error = (_shaped(rows, shape, x.dtype, is_transposed) for rows in (value, error))
    if x.ndim != 1:
        step, status = step.reshape(x.shape)[()], status.reshape(x.shape)[()]
    return Difference(value, error, calls.nfev, step, status)


def _shaped(rows: Any, shape: tuple[int, ...], dtype: np.dtype, is_transposed: bool) -> Any:
    if not isinstance(rows, np.ndarray):
        return None if rows is None else rows.astype(dtype, copy=False)  # sparse
    rows = (np.ascontiguousarray(rows.T) if is_transposed else rows).reshape(shape)
    return (rows if rows.dtype is dtype else rows.astype(dtype))[()]


def _column_statuses(matrix: Any, h: np.ndarray) -> np.ndarray:
    is_bad = np.zeros(matrix.shape[1], bool)
    is_bad[matrix.indices[~np.isfinite(matrix.data)]] = True
    return np.where(is_bad, np.where(h == 0, NO_ROOM, NOT_FINITE), FINE)
