"""What callers pass, checked: fields, axes, steps, coordinates, boundaries and results."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from .._arrays import as_floats, is_integer, refused_class

MOST_DERIVATIVE = 6
MOST_ACCURACY = 8
COMPLEX = {np.dtype(np.complex64), np.dtype(np.complex128)}
KEPT = {np.dtype(np.float32), np.dtype(np.float64), *COMPLEX}  # dtypes that stay as they are


def as_field(value: Any, name: str = "f") -> np.ndarray:
    """`value` as an array of floats or complex floats, of any strides; no copy when it is one."""
    array = value
    if refused_class(value) is None:
        with contextlib.suppress(ValueError):  # what makes no array is refused below
            array = np.asarray(value)
    if type(array) is np.ndarray and array.dtype in KEPT and array.dtype.isnative and array.flags.aligned:
        field = array
    elif type(array) is np.ndarray and array.dtype.kind == "c":
        field = array.astype(np.complex64 if array.dtype.itemsize == 8 else np.complex128)
    else:
        field = as_floats(array, name)
    if not field.ndim:
        raise ValueError(f"{name} is a single number\n  cure: pass an array of at least one axis")
    return field


def as_vector(value: Any, name: str) -> list[np.ndarray]:
    """The components of a vector field, which come first: fields of one shape and dtype."""
    is_many = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)
    parts = list(value) if is_many else []
    if not parts:
        raise TypeError(
            f"{name} is {type(value).__name__}\n  cure: pass the components, as a sequence or along the first axis"
        )
    fields = [as_field(part, f"{name}[{i}]") for i, part in enumerate(parts)]
    shapes = {field.shape for field in fields}
    if len(shapes) > 1:
        raise ValueError(f"{name} has components of shapes {sorted(shapes)}\n  cure: pass components of one shape")
    dtype = np.result_type(*fields)
    return [field.astype(dtype, copy=False) for field in fields]


def as_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from the front; None stands for all."""
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    for one in given:
        if not is_integer(one):
            raise TypeError(f"axis has {one!r}\n  cure: pass integers")
        if not -ndim <= one < ndim:
            raise ValueError(f"axis is {one}, but f has {ndim} axes\n  cure: pass a number from {-ndim} to {ndim - 1}")
    axes = tuple(int(one) % ndim for one in given)
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis is {axis!r}, which names an axis twice\n  cure: pass each axis once")
    return axes


def as_shape(shape: Any) -> tuple[int, ...]:
    """The shape of a field that an integer or a tuple describes."""
    lengths = shape if isinstance(shape, (tuple, list)) else (shape,)
    if not lengths or not all(is_integer(n) and n >= 0 for n in lengths):
        raise ValueError(f"shape is {shape!r}\n  cure: pass an integer, or a tuple of them")
    return tuple(map(int, lengths))


def as_step(value: Any, name: str = "spacing") -> float:
    """The distance between neighbouring samples."""
    step = np.asarray(value)
    if step.ndim or step.dtype.kind not in "iuf":
        raise TypeError(f"{name} is {value!r}\n  cure: pass a number, or coords for samples that are not evenly spaced")
    if not np.isfinite(step) or step == 0:
        raise ValueError(f"{name} is {value!r}\n  cure: pass a finite number other than zero")
    return float(step)


def as_coords(value: Any, lengths: tuple[int, ...], name: str = "coords") -> np.ndarray:
    """Finite coordinates, of one of some lengths."""
    coords = as_floats(value, name)
    if coords.ndim != 1 or len(coords) not in lengths:
        wanted = " or ".join(map(str, lengths))
        raise ValueError(
            f"{name} has shape {coords.shape}, but the axis has {lengths[0]} samples\n  cure: pass {wanted} coordinates"
        )
    if not np.isfinite(coords).all():
        raise ValueError(f"{name} has NaN or infinity\n  cure: leave these samples out")
    return coords


@dataclass(frozen=True)
class Line:
    """An axis with what is known of the samples along it: their step, or coordinates that are not uniform."""

    axis: int
    n: int
    step: float
    coords: np.ndarray | None = None


def factor_of(line: Line, step: float, derivative: int) -> float:
    """What the weighted sums of a derivative at distance 1 are multiplied by."""
    try:
        return step**-derivative
    except OverflowError:
        raise out_of_range(line, step, derivative) from None


def out_of_range(line: Line, step: float, derivative: int) -> ValueError:
    """The error for samples so close that there are no floats for the weights of a derivative."""
    return ValueError(
        f"spacing or coords have steps of about {step:.3g} along axis {line.axis}: the weights of derivative"
        f" {derivative} are out of the range of floats\n  cure: measure the axis in a unit of about one step"
    )


@dataclass(frozen=True)
class Boundary:
    """What is known beyond the ends: nothing, that the axis is a circle, or stencils given for the points near them."""

    is_periodic: bool = False
    given: tuple[np.ndarray, np.ndarray | None] | None = None


def as_boundaries(value: Any, n_axes: int) -> list[Boundary]:
    """The boundaries of some axes: one for all of them, or one for each where a string is among them."""
    if isinstance(value, (tuple, list)) and any(isinstance(one, str) for one in value):
        if len(value) != n_axes:
            raise ValueError(
                f"boundary is for {n_axes} axes, not {len(value)}\n  cure: pass one for each, or one for all"
            )
        return [as_boundary(one) for one in value]
    return [as_boundary(value)] * n_axes


def as_boundary(value: Any) -> Boundary:
    """The boundary that an argument describes."""
    if isinstance(value, str):
        if value not in ("one-sided", "periodic"):
            raise ValueError(
                f"boundary is {value!r}\n  cure: write 'one-sided' or 'periodic', or pass stencils for both ends"
            )
        return Boundary(value == "periodic")
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(
            f"boundary is {type(value).__name__}\n"
            "  cure: pass a pair: rows of weights for the first points, and for the last or None for the mirror image"
        )
    return Boundary(
        given=(_as_block(value[0], "boundary[0]"), None if value[1] is None else _as_block(value[1], "boundary[1]"))
    )


def _as_block(value: Any, name: str) -> np.ndarray:
    try:
        rows = [np.asarray(as_floats(row, name), np.float64) for row in value]
    except TypeError as error:
        raise TypeError(f"{name} is not a list of rows of weights: {error}") from None
    if not rows or any(row.ndim != 1 for row in rows) or not all(np.isfinite(row).all() for row in rows):
        raise ValueError(
            f"{name} is not a list of rows of weights\n  cure: pass a row of finite numbers for each point near the end"
        )
    return np.array([np.pad(row, (0, max(map(len, rows)) - len(row))) for row in rows])


def as_lines(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    spacing: Any,
    coords: Any,
    boundaries: list[Boundary],
    is_single: bool = False,
) -> list[Line]:
    """The lines along some axes; `is_single` says that spacing and coords are for the one axis, not one for each."""
    steps = [spacing] if is_single else _one_for_each(spacing, axes, "spacing", np.ndim(spacing) == 0)
    places = [coords] if is_single else _one_for_each(coords, axes, "coords", coords is None)
    lines = []
    for i, (axis, step, place, boundary) in enumerate(zip(axes, steps, places, boundaries, strict=True)):
        of = "" if is_single else f"[{i}]"
        line = Line(axis, shape[axis], as_step(step, "spacing" + of))
        if place is not None:
            if line.step != 1:
                raise ValueError(f"both spacing{of} and coords{of} are given\n  cure: pass one of them")
            line = evenly(line, as_coords(place, (line.n, line.n + 1)[: 1 + boundary.is_periodic], "coords" + of))
            if line.coords is not None:
                check_monotonic(line.coords, "coords" + of)
        lines.append(line)
    return lines


def as_lines_of_gradient(
    shape: tuple[int, ...], axes: tuple[int, ...], spacing: tuple[Any, ...], boundaries: list[Boundary], width: int
) -> list[Line]:
    """The lines along some axes, from what numpy.gradient takes as distances or coordinates.

    Coordinates may turn back, as along a curve, but not meet again within `width` samples.
    """
    given = [1.0] * len(axes) if not spacing else list(spacing)
    if len(given) == 1 and np.ndim(given[0]) == 0:
        given = given * len(axes)
    if len(given) != len(axes):
        raise TypeError(
            f"{len(given)} spacings are given\n  cure: pass none, one number, or one for each of {len(axes)} axes"
        )
    lines = []
    for i, (axis, value, boundary) in enumerate(zip(axes, given, boundaries, strict=True)):
        if np.ndim(value) == 0:
            lines.append(Line(axis, shape[axis], as_step(value, f"spacing[{i}]")))
            continue
        coords = as_coords(value, (shape[axis], shape[axis] + 1)[: 1 + boundary.is_periodic], f"spacing[{i}]")
        for shift in range(1, min(width, len(coords))):
            if (coords[shift:] == coords[:-shift]).any():
                raise ValueError(f"spacing[{i}] has the same coordinate twice\n  cure: drop samples that come twice")
        lines.append(evenly(Line(axis, shape[axis], 1.0), coords))
    return lines


def _one_for_each(value: Any, axes: tuple[int, ...], name: str, is_shared: bool) -> list[Any]:
    if is_shared:
        return [value] * len(axes)
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != len(axes):
        raise ValueError(f"{name} is for {len(axes)} axes\n  cure: pass a sequence of {len(axes)}")
    return list(value)


def evenly(line: Line, coords: np.ndarray) -> Line:
    """The line with these coordinates, or with their step where they are even to the rounding of a field's samples.

    What the rounding of their range moves a sample by changes a derivative no more than rounding the sample does.
    """
    step, error = _steps(coords)
    if step and error <= 4 * np.finfo(np.float64).eps * abs(step) * len(coords):
        return Line(line.axis, line.n, step)
    return Line(line.axis, line.n, 1.0, coords)


def _steps(coords: np.ndarray) -> tuple[float, float]:
    """The mean step between coordinates, and by how much others differ from it."""
    if len(coords) < 2:
        return 0.0, 0.0
    exact = coords.astype(np.float64)
    step = float((exact[-1] - exact[0]) / (len(exact) - 1))
    return step, float(np.abs(np.diff(exact) - step).max())


def check_monotonic(coords: np.ndarray, name: str) -> None:
    """Refuse coordinates that turn back or stay."""
    steps = np.diff(coords)
    wrong = np.flatnonzero(steps * np.sign(steps[:1]) <= 0)
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            f"{name} must increase or decrease throughout, but goes from {coords[i]} to {coords[i + 1]} at {i + 1}\n"
            "  cure: sort the samples by coordinate, and drop those that come twice"
        )


def even_step(line: Line, method: str, cure: str = "use fg.grid.diff, or interpolate onto a regular grid") -> float:
    """The step of a line whose coordinates are even to their own rounding; others are refused."""
    if line.coords is None:
        return line.step
    step, error = _steps(line.coords)
    if error > 4 * np.finfo(line.coords.dtype).eps * np.abs(line.coords).max():
        raise ValueError(
            f"{method} needs a regular grid, but coords have steps that differ by up to {error:.3g} from {step:.6g}\n"
            f"  cure: {cure}"
        )
    return step


def check_orders(derivative: Any, accuracy: Any, most: int = MOST_DERIVATIVE) -> None:
    """Refuse a derivative or an accuracy that there is no scheme for."""
    if not is_integer(derivative) or not 1 <= derivative <= most:
        raise ValueError(f"derivative is {derivative!r}\n  cure: pass an integer from 1 to {most}")
    if not is_integer(accuracy) or accuracy % 2 or not 2 <= accuracy <= MOST_ACCURACY:
        raise ValueError(f"accuracy is {accuracy!r}\n  cure: pass an even integer from 2 to {MOST_ACCURACY}")


def check_points(line: Line, needed: int, what: str) -> None:
    """Refuse an axis with too few samples."""
    if line.n < needed:
        raise ValueError(
            f"axis {line.axis} of f has {line.n} samples, but {what} needs at least {needed}\n"
            f"  cure: pass {needed} samples or more, or ask for less accuracy"
        )


def result(out: Any, shape: tuple[int, ...], dtype: np.dtype, *inputs: np.ndarray) -> np.ndarray:
    """Where to compute: `out`, unless it is None or shares memory with the inputs."""
    if out is not None:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out is {type(out).__name__}\n  cure: pass an array of shape {shape} and dtype {dtype}")
        if out.shape != shape or out.dtype != dtype or not out.dtype.isnative:
            raise ValueError(
                f"out has shape {out.shape} and dtype {out.dtype}, but the result has shape {shape} and dtype {dtype}\n"
                f"  cure: np.empty({shape}, np.{dtype})"
            )
        if not out.flags.writeable or not out.flags.aligned:
            raise ValueError("out is read-only or misaligned\n  cure: pass an array that can be written to")
        if not any(np.may_share_memory(out, f) for f in inputs):
            return out
    return np.empty(shape, dtype) if dtype in COMPLEX else _core.empty(shape, dtype)


def deliver(computed: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """The result, in `out` where there is one."""
    if out is None or out is computed:
        return computed
    out[...] = computed
    return out
