"""Derivatives of sampled fields: finite differences along the axes of an array.

Every function takes arrays of any strides, keeps float32, makes float64 of lists and integers, and works on complex
numbers by parts. Components, of gradients and of vector fields, come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import is_integer
from ._grid import arguments
from ._grid.arguments import Line, as_axes, as_boundary, as_field, as_lines, as_vector, deliver
from ._grid.run import apply
from ._grid.tables import Term
from ._grid.terms import terms_along, terms_of_gradient
from .stencils import coefficients, weights

__all__ = [
    "coefficients", "compact", "curl", "diff", "divergence", "gradient", "hessian", "laplacian", "operator", "savgol",
    "weights",
]  # fmt: skip


def diff(
    f: Any,
    derivative: int | tuple[int, ...] = 1,
    *,
    axis: int | tuple[int, ...] = -1,
    accuracy: int = 2,
    spacing: Any = 1.0,
    coords: Any = None,
    boundary: Any = "one-sided",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A derivative of a sampled field along an axis, or a mixed one along several.

    Parameters
    ----------
    f : array_like
        The samples.
    derivative : int or tuple of int, default 1
        Which derivative, from 1 to 6; for a mixed one a tuple as long as `axis`.
    axis : int or tuple of int, default -1
        The axis, or those of a mixed derivative.
    accuracy : int, default 2
        The power of the spacing that the error falls with, up to the ends: 2, 4, 6 or 8.
    spacing : float, default 1.0
        The distance between samples; for several axes one for all, or a sequence.
    coords : (n,) array_like, optional
        Where the samples are, if not evenly spaced: increasing or decreasing. For several axes a sequence, with None
        for those that have a spacing. On a circle there is one more, where the first sample comes again.
    boundary : {"one-sided", "periodic"} or pair, default "one-sided"
        Near the ends, stencils of the same accuracy take the samples on one side, or the axis is a circle. A pair are
        stencils for spacing 1: rows of weights, first of the samples at the start for the first points, then of those
        at the end for the last points; None there means the mirror image. For several axes, a tuple with a string among
        its items has one item for each axis.
    out : ndarray, optional
        Where to write the result; it may be `f` itself.

    Returns
    -------
    ndarray
        The derivative, with the shape of `f`.

    Examples
    --------
    >>> x = np.linspace(0, 1, 5)
    >>> fg.grid.diff(x**2, spacing=0.25)
    array([0. , 0.5, 1. , 1.5, 2. ])
    >>> fg.grid.diff([1.0, 4.0, 25.0, 36.0, 81.0], 2, coords=[1, 2, 5, 6, 9])
    array([2., 2., 2., 2., 2.])
    >>> fg.grid.diff(np.outer(x, x**2), (1, 1), axis=(0, 1), spacing=0.25)[2]
    array([0. , 0.5, 1. , 1.5, 2. ])
    """
    field = as_field(f)
    terms = terms_along(field.shape, derivative, axis, accuracy, spacing, coords, boundary)
    target = arguments.result(out, field.shape, field.dtype, field)
    for term in terms[:-1]:
        between = arguments.result(None, field.shape, field.dtype)
        apply(field, between, [term])
        field = between
    apply(field, target, terms[-1:])
    return deliver(target, out)


def gradient(
    f: Any,
    *spacing: Any,
    axis: int | Sequence[int] | None = None,
    edge_order: int | None = None,
    accuracy: int | None = None,
    boundary: Any = "one-sided",
    out: Any = None,
) -> Any:
    """First derivatives along each axis; whatever `numpy.gradient` is called with works here, and gives the same.

    Parameters
    ----------
    f : array_like
        The samples.
    *spacing : float or array_like
        Nothing for distances of 1, one distance for all axes, or for each axis a distance or the coordinates, which may
        turn back here, as along a curve.
    axis : int or sequence of int, optional
        Some of the axes; all by default.
    edge_order : int, optional
        The accuracy at the ends: by default 1, as in `numpy.gradient`, or `accuracy` where that is given.
    accuracy : int, optional
        The accuracy at the other points: 2, 4, 6 or 8; 2 by default.
    boundary : optional
        As in `diff`.
    out : ndarray or sequence of ndarray, optional
        Where to write: one array along one axis, otherwise one array each, or a single one with the components first.

    Returns
    -------
    ndarray or tuple of ndarray
        One array for each axis; the array alone where there is one axis.

    See Also
    --------
    numpy.gradient : dates, masked arrays and other subclasses are handed to it as they are.

    Examples
    --------
    >>> fg.grid.gradient(np.array([1.0, 2.0, 4.0, 7.0, 11.0]))
    array([1. , 1.5, 2.5, 3.5, 4. ])
    >>> by_row, by_column = fg.grid.gradient(np.arange(12.0).reshape(3, 4), 0.5, accuracy=2)
    >>> by_row[0], by_column[0]
    (array([8., 8., 8., 8.]), array([2., 2., 2., 2.]))
    """
    if _is_numpys(f) and accuracy is None and out is None and boundary == "one-sided":
        options: dict[str, Any] = {} if edge_order is None else {"edge_order": edge_order}
        return np.gradient(f, *spacing, axis=axis, **options)
    field = as_field(f)
    axes = tuple(axis) if isinstance(axis, list) else axis
    terms = terms_of_gradient(field.shape, axes, spacing, edge_order, accuracy, boundary)
    outs = [out] if len(terms) == 1 else [None] * len(terms) if out is None else out
    if len(outs) != len(terms):
        raise ValueError(f"out has {len(outs)} arrays\n  cure: pass one for each of {len(terms)} axes")
    targets = [arguments.result(one, field.shape, field.dtype, field) for one in outs]
    for term, target in zip(terms, targets, strict=True):
        apply(field, target, [term])
    found = tuple(deliver(target, one) for target, one in zip(targets, outs, strict=True))
    return found[0] if len(terms) == 1 else found


def laplacian(
    f: Any,
    *,
    axis: int | tuple[int, ...] | None = None,
    accuracy: int = 2,
    spacing: Any = 1.0,
    coords: Any = None,
    boundary: Any = "one-sided",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The sum of the second derivatives along the axes.

    Parameters
    ----------
    f : array_like
        The samples.
    axis : int or tuple of int, optional
        The axes that the sum is over; all by default.
    accuracy, spacing, coords, boundary : optional
        As in `diff`, for several axes.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        The laplacian, with the shape of `f`.

    Examples
    --------
    >>> x, y = np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij")
    >>> fg.grid.laplacian(x**2 + 3 * y**2)[0]
    array([8., 8., 8., 8., 8.])
    """
    field = as_field(f)
    axes = as_axes(axis, field.ndim)
    terms = terms_along(field.shape, (2,) * len(axes), axes, accuracy, spacing, coords, boundary)
    target = arguments.result(out, field.shape, field.dtype, field)
    apply(field, target, terms)
    return deliver(target, out)


def divergence(
    v: Any,
    *,
    axis: tuple[int, ...] | None = None,
    accuracy: int = 2,
    spacing: Any = 1.0,
    coords: Any = None,
    boundary: Any = "one-sided",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The divergence of a vector field: the sum of each component's derivative along its own axis.

    Parameters
    ----------
    v : array_like, or sequence of array_like
        The components, along the first axis or as separate arrays.
    axis : tuple of int, optional
        For each component its axis, as the component counts them; by default there are as many axes as components.
    accuracy, spacing, coords, boundary : optional
        As in `diff`, for several axes.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        The divergence, with the shape of one component.

    Examples
    --------
    >>> x, y = np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij")
    >>> fg.grid.divergence([x * x, x * y])[:, 0]
    array([0., 3., 6., 9.])
    """
    parts = as_vector(v, "v")
    shape, dtype = parts[0].shape, parts[0].dtype
    axes = _axes_of_vector(parts, axis)
    terms = terms_along(shape, (1,) * len(axes), axes, accuracy, spacing, coords, boundary)
    target = arguments.result(out, shape, dtype, *parts)
    for i, (part, term) in enumerate(zip(parts, terms, strict=True)):
        apply(part, target, [term], accumulate=i > 0)
    return deliver(target, out)


def curl(
    v: Any,
    *,
    axis: tuple[int, ...] | None = None,
    accuracy: int = 2,
    spacing: Any = 1.0,
    coords: Any = None,
    boundary: Any = "one-sided",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The curl of a vector field of two or three components.

    Parameters
    ----------
    v : array_like, or sequence of array_like
        The components, along the first axis or as separate arrays.
    axis : tuple of int, optional
        For each component its axis, as the component counts them; by default there are as many axes as components.
    accuracy, spacing, coords, boundary : optional
        As in `diff`, for several axes.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Three components, along the first axis; of a field of two components the third alone, with the shape of one.

    Examples
    --------
    >>> x, y = np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij")
    >>> fg.grid.curl([-y, x])[0]
    array([2., 2., 2., 2., 2.])
    """
    parts = as_vector(v, "v")
    shape, dtype = parts[0].shape, parts[0].dtype
    if len(parts) not in (2, 3):
        raise ValueError(f"v has {len(parts)} components, but a curl needs 2 or 3\n  cure: pass the components first")
    axes = _axes_of_vector(parts, axis)
    terms = terms_along(shape, (1,) * len(axes), axes, accuracy, spacing, coords, boundary)
    pairs = [(1, 2), (2, 0), (0, 1)] if len(parts) == 3 else [(0, 1)]
    target = arguments.result(out, shape if len(parts) == 2 else (3, *shape), dtype, *parts)
    for component, (i, j) in zip(target if len(parts) == 3 else [target], pairs, strict=True):
        apply(parts[j], component, [terms[i]])
        apply(parts[i], component, [terms[j]._replace(factor=-terms[j].factor)], accumulate=True)
    return deliver(target, out)


def hessian(
    f: Any,
    *,
    axis: int | tuple[int, ...] | None = None,
    accuracy: int = 2,
    spacing: Any = 1.0,
    coords: Any = None,
    boundary: Any = "one-sided",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """All second derivatives of a field.

    Parameters
    ----------
    f : array_like
        The samples.
    axis : int or tuple of int, optional
        The n axes to differentiate along; all by default.
    accuracy, spacing, coords, boundary : optional
        As in `diff`, for several axes.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Second derivatives of shape (n, n, *f.shape), symmetric in the first two axes.

    Examples
    --------
    >>> x, y = np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij")
    >>> fg.grid.hessian(x * x * y)[:, :, 2, 3]
    array([[6., 4.],
           [4., 0.]])
    """
    field = as_field(f)
    axes = as_axes(axis, field.ndim)
    firsts, seconds = (
        terms_along(field.shape, (order,) * len(axes), axes, accuracy, spacing, coords, boundary) for order in (1, 2)
    )
    target = arguments.result(out, (len(axes), len(axes), *field.shape), field.dtype, field)
    slope = np.empty_like(field)
    for i in range(len(axes)):
        apply(field, target[i, i], [seconds[i]])
        if i + 1 < len(axes):
            apply(field, slope, [firsts[i]])
        for j in range(i + 1, len(axes)):
            apply(slope, target[i, j], [firsts[j]])
            target[j, i] = target[i, j]
    return deliver(target, out)


def compact(
    f: Any,
    derivative: int = 1,
    *,
    axis: int = -1,
    accuracy: int = 4,
    spacing: float = 1.0,
    coords: Any = None,
    boundary: str = "one-sided",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A derivative by a compact (Padé) scheme: the derivatives at neighbouring points are solved for together.

    It takes fewer samples than `diff` at the same accuracy and has a smaller error, most of all for short waves, but
    every derivative depends on all samples of its line, if ever less on those further away.

    Parameters
    ----------
    f : array_like
        The samples, on a regular grid.
    derivative : {1, 2}, default 1
        Which derivative.
    axis : int, default -1
        The axis.
    accuracy : {4, 6, 8}, default 4
        The power of the spacing that the error falls with, up to the ends.
    spacing : float, default 1.0
        The distance between samples.
    coords : (n,) array_like, optional
        Where the samples are, instead; what is not a regular grid is refused.
    boundary : {"one-sided", "periodic"}, default "one-sided"
        Whether the axis ends or is a circle.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        The derivative, with the shape of `f`.

    References
    ----------
    S. K. Lele, Compact finite difference schemes with spectral-like resolution, J. Comput. Phys. 103, 1992.

    Examples
    --------
    >>> x = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    >>> error = fg.grid.compact(np.sin(x), coords=x, boundary="periodic") - np.cos(x)
    >>> bool(np.abs(error).max() < 1e-4)
    True
    """
    from ._grid import compact as schemes

    field = as_field(f)
    if not is_integer(accuracy) or accuracy not in (4, 6, 8):
        raise ValueError(f"accuracy is {accuracy!r}\n  cure: pass 4, 6 or 8")
    arguments.check_orders(derivative, accuracy, schemes.MOST_DERIVATIVE)
    line, is_periodic = _regular_line(field, axis, spacing, coords, boundary)
    arguments.check_points(line, derivative + accuracy, f"derivative {derivative} of accuracy {accuracy}")
    step = arguments.even_step(line, "fg.grid.compact")
    tie, table = schemes.scheme(int(derivative), int(accuracy), is_periodic)
    target = arguments.result(out, field.shape, field.dtype, field)
    apply(field, target, [Term(line.axis, table, arguments.factor_of(line, step, derivative))])
    schemes.solve(tie, target, line.axis, is_periodic)
    return deliver(target, out)


def savgol(
    f: Any,
    window_length: int,
    polyorder: int,
    derivative: int = 1,
    *,
    axis: int = -1,
    spacing: float = 1.0,
    coords: Any = None,
    boundary: str = "one-sided",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A smoothed derivative for noisy samples (Savitzky and Golay): that of the polynomial which fits a window best.

    Parameters
    ----------
    f : array_like
        The samples, on a regular grid.
    window_length : int
        How many samples each polynomial is fitted to, an odd number.
    polyorder : int
        The degree of the polynomials, less than `window_length`.
    derivative : int, default 1
        Which derivative, at most `polyorder`; 0 only smooths.
    axis : int, default -1
        The axis.
    spacing : float, default 1.0
        The distance between samples.
    coords : (n,) array_like, optional
        Where the samples are, instead; what is not a regular grid is refused.
    boundary : {"one-sided", "periodic"}, default "one-sided"
        Near the ends the polynomial of the first or last window counts, or the axis is a circle; SciPy calls this
        ``mode="interp"`` and ``"wrap"``.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        The derivative, with the shape of `f`.

    Examples
    --------
    >>> x = np.linspace(0, 1, 101)
    >>> noisy = x**2 + 1e-3 * np.random.default_rng(0).normal(size=101)
    >>> plain, smooth = fg.grid.diff(noisy, coords=x), fg.grid.savgol(noisy, 25, 2, coords=x)
    >>> bool(np.abs(smooth - 2 * x).max() < np.abs(plain - 2 * x).max() / 4)
    True
    """
    from ._grid.savgol import smoothing

    field = as_field(f)
    if not is_integer(window_length) or window_length < 1 or window_length % 2 == 0:
        raise ValueError(f"window_length is {window_length!r}\n  cure: pass an odd integer")
    if not is_integer(polyorder) or not 0 <= polyorder < window_length:
        raise ValueError(f"polyorder is {polyorder!r}\n  cure: pass an integer from 0 to {window_length - 1}")
    if not is_integer(derivative) or not 0 <= derivative <= polyorder:
        raise ValueError(
            f"derivative is {derivative!r}\n  cure: pass an integer from 0 to polyorder, which is {polyorder}"
        )
    line, is_periodic = _regular_line(field, axis, spacing, coords, boundary)
    arguments.check_points(line, int(window_length), f"a window of {window_length}")
    step = arguments.even_step(line, "fg.grid.savgol", "interpolate the samples onto a regular grid")
    table = smoothing(int(window_length), int(polyorder), int(derivative), is_periodic)
    target = arguments.result(out, field.shape, field.dtype, field)
    apply(field, target, [Term(line.axis, table, arguments.factor_of(line, step, derivative))])
    return deliver(target, out)


def operator(
    shape: int | tuple[int, ...],
    derivative: int | tuple[int, ...] = 1,
    *,
    axis: int | tuple[int, ...] = -1,
    accuracy: int = 2,
    spacing: Any = 1.0,
    coords: Any = None,
    boundary: Any = "one-sided",
) -> Any:
    """What `diff` does, as a sparse matrix for the elements of an array in C order.

    Parameters
    ----------
    shape : int or tuple of int
        The shape of the arrays.
    derivative, axis, accuracy, spacing, coords, boundary : optional
        As in `diff`.

    Returns
    -------
    scipy.sparse.csr_array
        A matrix A with ``A @ f.ravel()`` equal to ``diff(f, ...).ravel()``; SciPy has to be installed.

    Examples
    --------
    >>> A = fg.grid.operator(4, 2, boundary="periodic")
    >>> A.toarray()
    array([[-2.,  1.,  0.,  1.],
           [ 1., -2.,  1.,  0.],
           [ 0.,  1., -2.,  1.],
           [ 1.,  0.,  1., -2.]])
    """
    from ._grid.sparse import matrix

    lengths = arguments.as_shape(shape)
    return matrix(lengths, terms_along(lengths, derivative, axis, accuracy, spacing, coords, boundary))


def _regular_line(f: np.ndarray, axis: Any, spacing: Any, coords: Any, boundary: Any) -> tuple[Line, bool]:
    """The one axis of a method that needs a regular grid, and whether it is a circle."""
    if not is_integer(axis):
        raise TypeError(f"axis is {axis!r}\n  cure: pass an integer")
    found = as_boundary(boundary)
    if found.given:
        raise ValueError("boundary is a pair of stencils\n  cure: write 'one-sided' or 'periodic', or use fg.grid.diff")
    (line,) = as_lines(f.shape, as_axes(axis, f.ndim), spacing, coords, [found], is_single=True)
    return line, found.is_periodic


def _axes_of_vector(parts: list[np.ndarray], axis: Any) -> tuple[int, ...]:
    """For each component of a vector field, the axis that it points along."""
    axes = as_axes(axis, parts[0].ndim)
    if len(axes) != len(parts):
        raise ValueError(
            f"v has {len(parts)} components, but {len(axes)} axes to differentiate along\n"
            "  cure: pass components first, and with axis= the axis of each where there are further axes"
        )
    return axes


def _is_numpys(f: Any) -> bool:
    """Whether numpy.gradient knows more about such an array than that it holds floats: dates, masks, units, traces."""
    if type(f) is not np.ndarray and not isinstance(f, np.memmap) and hasattr(type(f), "__array_function__"):
        return True
    return getattr(f, "dtype", None) is not None and np.dtype(f.dtype).kind in "mMO"
