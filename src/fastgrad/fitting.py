"""Least squares and curve fitting by Levenberg-Marquardt, for one problem or a million at once.

A curve fit is a least-squares problem whose residuals are a model less its data, over their standard deviations; what
it adds is how data are counted out to curves, and the covariance of what is found.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ._compiler.gauss_newton import LOSSES, gauss_newton
from ._compiler.graph import Graph, cast, concatenate, reshape
from ._compiler.tree import LEAF
from ._curves import residuals_of, sorted_curves
from ._levenberg import LM, covariance
from ._runs import Settings
from ._statuses import STOPPED
from .descent import at_least, descend, number, recording
from .functions import vmap
from .problem import Bounds, Problem
from .results import Result
from .transform import Transform

AT_ONCE = 1 << 14  # matrices that are inverted together: what that takes besides them stays small


def least_squares(
    residuals: Callable[..., Any],
    x0: Any,
    args: Sequence[Any] = (),
    method: str | LM = "lm",
    *,
    in_axes: int | Sequence[int | None] | None = None,
    bounds: Any = None,
    fixed: Any = None,
    loss: str = "linear",
    f_scale: float = 1.0,
    ftol: float | None = None,
    xtol: float | None = None,
    gtol: float | None = None,
    max_nfev: int | None = None,
    record: str | int | None = None,
    progress: bool = False,
    callback: Callable[..., Any] | None = None,
) -> Result:
    """Minimise half the sum of squared residuals, or a robust loss of them, with the exact Jacobian.

    Parameters
    ----------
    residuals : callable
        ``residuals(x, *args)`` written with NumPy for ONE instance, returning an array of any shape, or several.
        Or ``fg.jacobian(residuals)``, which remembers what was compiled: for many calls with arguments of the same
        shapes.
    x0, args, in_axes, fixed, record, progress, callback
        As for `fastgrad.minimize`.
    method : {"lm"} or fg.LM, optional
        Levenberg-Marquardt.
    bounds : fg.Bounds, scipy.optimize.Bounds or (lb, ub), optional
        Least and greatest values: numbers or arrays like x, or ``(B, ...)`` for each instance its own.
    loss : {"linear", "soft_l1", "huber", "cauchy", "arctan"}, optional
        The loss rho of ``(residual / f_scale)**2``, as in SciPy.
    f_scale : float, optional
        Residuals far beyond it count as outliers; not used by the linear loss.
    ftol, xtol : float, optional
        An instance stops when a step changes the cost by less than ``ftol`` of it, or is shorter than
        ``xtol * (xtol + |x|)``. By default 1e-8 in float64, 1e-4 in float32; 0 goes on until rounding hides progress.
    gtol : float, optional
        It stops when no component of the gradient exceeds this. By default 0, as it has the units of the residuals:
        nothing that suits volts suits nanovolts.
    max_nfev : int, optional
        Most evaluations of an instance, ``100 * (n + 1)`` by default.

    Returns
    -------
    Result
        Its `fun` is the cost ``0.5 * f_scale**2 * sum(rho)``, its `jac` the cost's gradient.

    Raises
    ------
    TraceError, ShapeError, ValueError
        As `fastgrad.minimize`.

    Notes
    -----
    The method is that of Levenberg (1944) and Marquardt (1963) with the scaling of Moré (1978), on the Gauss-Newton
    matrix.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> t = np.linspace(0, 1, 20)
    >>> def residuals(x, y):
    ...     return x[0] * np.exp(-x[1] * t) - y
    >>> rates = np.array([1.0, 2.0, 3.0])
    >>> y = 5 * np.exp(-rates[:, None] * t)
    >>> fg.least_squares(residuals, [1.0, 1.0], (y,), in_axes=(None, 0)).x.round(6)
    array([[5., 1.],
           [5., 2.],
           [5., 3.]])
    """
    method, objective = _method(method), _objective(loss, f_scale)
    fun, memory = _remembered(residuals, "residuals")
    if memory is not None and memory.argnums != (0,):
        raise ValueError(
            f"residuals differentiates by arguments {memory.argnums}, but x is argument 0\n"
            "  cure: fg.jacobian(residuals)"
        )
    if callable(args) or isinstance(args, str):
        raise TypeError(
            "args, the third argument, is a tuple of further arguments of residuals\n"
            "  cure: leave out SciPy's jac, as the Jacobian is exact"
        )
    problem = Problem(fun, x0, args, in_axes, objective, _as_bounds(bounds), fixed, memory)
    settings = _settings(problem, ftol, xtol, gtol, "max_nfev", max_nfev, record)
    return descend(problem, method, settings, progress=progress, callback=callback)[0]


def curve_fit(
    f: Callable[..., Any],
    xdata: Any,
    ydata: Any,
    p0: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    *,
    in_axes: int | Sequence[int | None] | None = None,
    bounds: Any = None,
    fixed: Any = None,
    method: str | LM = "lm",
    loss: str = "linear",
    f_scale: float = 1.0,
    ftol: float | None = None,
    xtol: float | None = None,
    gtol: float | None = None,
    maxfev: int | None = None,
    record: str | int | None = None,
    progress: bool = False,
    callback: Callable[..., Any] | None = None,
) -> CurveFit:
    """Fit a model to data, for one curve or a million, each with its own data, start and bounds.

    Parameters
    ----------
    f : callable
        ``f(xdata, *parameters)`` written with NumPy for ONE curve, returning an array like its `ydata`, or one number
        for all points. Or ``fg.jacobian(f)``, whatever its argnums, which remembers what was compiled: for many calls
        with arguments of the same shapes.
    xdata : array_like, or anything that f takes
        Where the model is evaluated: any shape, such as ``(k, m)`` for k independent variables. Lists and tuples become
        one array, as in SciPy.
    ydata : array_like
        What was measured, of any shape.
    p0 : (n,) or (B, n) array_like, optional
        Where to start; by default ones, or within bounds as SciPy chooses.
    sigma : float or array_like, optional
        Standard deviations: a number, an array like the `ydata` of one curve, or one like the whole of `ydata` (with 1
        for axes along which they do not change): infinite for a point to leave out. Or, where a curve's `ydata` has one
        axis, the ``(m, m)`` covariance matrix of its points, or ``(B, m, m)``.
    absolute_sigma : bool, optional
        Take `sigma` as it is; by default only its ratios count, and the spread of the residuals sets the scale.
    in_axes : None, int or (int or None, int or None, int or None), optional
        For ``(xdata, ydata, p0)``, the axis that counts curves, or None for what all of them share. One integer stands
        for xdata and ydata, and for p0 where that has two axes. None, the default, is a single curve.
    bounds, fixed, method, loss, f_scale, ftol, xtol, gtol, record, progress, callback
        As for `fastgrad.least_squares`. Fixed parameters have no variance.
    maxfev : int, optional
        Most evaluations of a curve, ``100 * (n + 1)`` by default.

    Returns
    -------
    CurveFit
        Unpacks into ``popt, pcov``.

    Raises
    ------
    TraceError
        If `f` does what cannot be recorded.
    ShapeError
        If the model does not give an array like `ydata`, or batch axes differ in length.
    ValueError
        If data that all curves share are not finite, or `p0` lies outside the bounds.

    Warns
    -----
    RuntimeWarning
        Once, if fits did not converge (`status` says which), or else if covariances could not be estimated.

    Notes
    -----
    Parameters and `pcov` have the dtype of `p0` (float64 where it is a list or missing); the model is computed in the
    dtype that NumPy gives it, so in float32 if `xdata`, `ydata` and `p0` all are.

    A curve of a batch whose own data hold NaN, or whose own `sigma` is not positive, ends at its `p0` with status 2 and
    leaves the others alone.

    As in SciPy, a curve whose covariance cannot be estimated (as many parameters as points, or parameters that the data
    do not tell apart) has infinite entries in `pcov`. Unlike there, points of infinite `sigma` do not count as points.

    Examples
    --------
    A thousand decays with noise, fitted at once:

    >>> import numpy as np, fastgrad as fg
    >>> def decay(t, height, rate):
    ...     return height * np.exp(-rate * t)
    >>> rng = np.random.default_rng(0)
    >>> t, rates = np.linspace(0, 4, 50), rng.uniform(0.5, 2, 1000)
    >>> y = decay(t, 3.0, rates[:, None]) + rng.normal(0, 0.01, (1000, 50))
    >>> popt, pcov = fg.curve_fit(decay, t, y, [1.0, 1.0], in_axes=(None, 0, None))
    >>> popt.shape, pcov.shape, bool(np.all(np.abs(popt[:, 1] - rates) < 0.05))
    ((1000, 2), (1000, 2, 2), True)
    """
    method, objective = _method(method), _objective(loss, f_scale, of_model=True)
    model, memory = _remembered(f, "f")
    bounds = _as_bounds(bounds)
    curves = sorted_curves(model, xdata, ydata, p0, sigma, in_axes, bounds)
    residuals = functools.partial(residuals_of, model)
    problem = Problem(residuals, curves.p0, curves.data, curves.in_axes, objective, bounds, fixed, memory, "p0")
    settings = _settings(problem, ftol, xtol, gtol, "maxfev", maxfev, record)
    result, own = descend(problem, method, settings, progress=progress, callback=callback)
    is_fixed = np.equal(*problem.bounds) if problem.bounds else np.zeros(problem.size, bool)
    n_spare = None if absolute_sigma else curves.n_points - problem.size + np.count_nonzero(is_fixed, axis=-1)
    pcov, n_unknown = _covariances(own["hessian"], result, n_spare, is_fixed)
    fit = CurveFit(**{f.name: getattr(result, f.name) for f in fields(Result)}, pcov=pcov)
    _warn(fit, n_unknown)
    return fit


@dataclass(frozen=True, repr=False)
class CurveFit(Result):
    """Outcome of `curve_fit`: a `Result` that unpacks into ``popt, pcov``.

    Attributes
    ----------
    popt : (n,) or (B, n) ndarray
        The parameters, which are also `x`.
    pcov : (n, n) or (B, n, n) ndarray
        Covariances of the parameters.
    perr : (n,) or (B, n) ndarray
        Standard deviations of the parameters, the roots of its diagonal.
    chi_square : float or (B,) ndarray
        Sum of the squared residuals, each over its sigma (of their losses, where that is not linear).
    """

    pcov: Any = None

    @property
    def popt(self) -> Any:
        """The parameters."""
        return self.x

    @property
    def perr(self) -> np.ndarray:
        """Standard deviations of the parameters."""
        return np.sqrt(np.diagonal(self.pcov, axis1=-2, axis2=-1))

    @property
    def chi_square(self) -> Any:
        """Sum of the squared residuals, each over its sigma."""
        return 2 * self.fun

    def __iter__(self) -> Iterator[Any]:
        return iter((self.x, self.pcov))

    def __repr__(self) -> str:
        if not self.is_batch:
            chi = f"chi_square={self.chi_square:.6g}, nfev={self.nfev}"
            return f"CurveFit: {self.message}\n  popt={self.popt!r}\n  perr={self.perr!r}\n  {chi}"
        if not len(self):
            return "CurveFit of no curves"
        finite = self.chi_square[np.isfinite(self.chi_square)]
        middle = np.median(finite) if len(finite) else np.nan
        return f"CurveFit of {len(self):,} curves: {self.message}\n  median chi_square={middle:.6g}"


# ---- arguments of both


@dataclass(frozen=True)
class _GaussNewton:
    """What a fit asks of the graph of its residuals; equal where its settings are, so that programs are found again."""

    loss: str
    f_scale: float
    of_model: bool  # the residuals are those of a model, which is what the memory is of

    def __call__(self, graph: Graph) -> Graph:
        if graph.structure != LEAF and graph.outputs:  # residuals in a list, say: all of them count
            dtype = np.result_type(*[y.dtype for y in graph.outputs])
            parts = [cast(reshape(y, (y.size,)), dtype) for y in graph.outputs]
            graph = Graph(graph.inputs, (concatenate(parts, 0),), LEAF, graph.name)
        return gauss_newton(graph, 0, self.loss, self.f_scale)


def _objective(loss: str, f_scale: float, of_model: bool = False) -> _GaussNewton:
    if not isinstance(loss, str) or loss not in LOSSES:
        raise ValueError(f"loss {loss!r} is not known: choose one of {', '.join(map(repr, LOSSES))}")
    f_scale = number("f_scale", f_scale)
    if not 0 < f_scale < math.inf:
        raise ValueError(f"f_scale must be positive and finite, got {f_scale}")
    return _GaussNewton(loss, 1.0 if loss == "linear" else f_scale, of_model)


def _remembered(fun: Any, name: str) -> tuple[Callable[..., Any], Transform | None]:
    """The function itself, and the transform that remembers its programs, if one was given."""
    if not callable(fun):
        raise TypeError(f"{name} must be a function, got {type(fun).__name__}")
    return (fun.fun, fun) if isinstance(fun, Transform) and fun.kind == "jacobian" else (fun, None)


def _method(method: str | LM) -> LM:
    if isinstance(method, str) and method == "lm":
        return LM()
    if not isinstance(method, LM):
        raise ValueError(
            f"method must be 'lm' or fg.LM(...), got {method!r}\n"
            "  cure: leave it out, as 'lm' takes bounds and losses too; other methods are those of fg.minimize"
        )
    return method


def _as_bounds(bounds: Any) -> Any:
    """SciPy's pair (lb, ub) of least squares, as bounds."""
    if bounds is None or (hasattr(bounds, "lb") and hasattr(bounds, "ub")):
        return bounds
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise TypeError(
            f"bounds must be fg.Bounds(lb, ub), or a pair (lb, ub) of numbers or arrays like the parameters,"
            f" got {bounds!r}\n  cure: fg.Bounds(*zip(*bounds)) where there is a pair for each parameter"
        )
    return Bounds(*(end if end is not None else sign * math.inf for end, sign in zip(bounds, (-1, 1), strict=True)))


def _settings(problem: Problem, ftol: Any, xtol: Any, gtol: Any, name: str, maxfev: Any, record: Any) -> Settings:
    usual = 1e-8 if problem.dtype == np.float64 else 1e-4
    tolerances = {"ftol": (ftol, usual), "xtol": (xtol, usual), "gtol": (gtol, 0.0)}
    found = {key: usual if value is None else number(key, value) for key, (value, usual) in tolerances.items()}
    most = 100 * (problem.size + 1) if maxfev is None else at_least(name, maxfev, 1)
    every, keeps_path = recording(record)
    return Settings(maxiter=most, maxfev=most, **found, every=every, keeps_path=keeps_path)


# ---- what comes out


def _covariances(matrices: np.ndarray, result: Result, n_spare: Any, is_fixed: np.ndarray) -> tuple[np.ndarray, int]:
    """Inverses of the Gauss-Newton matrices, in their place, infinite where there is none; and of how many that is.

    Where `n_spare` says how many more points than parameters there are, the spread of the residuals scales them.
    """
    scale = np.ones(len(matrices), matrices.dtype)
    if n_spare is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            scale[:] = np.where(n_spare > 0, 2 * np.atleast_1d(result.fun) / n_spare, np.inf)
    has_fixed, is_fixed = np.any(is_fixed), np.broadcast_to(is_fixed, matrices.shape[:2])
    n_unknown = 0
    for start in range(0, len(matrices), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        pcov, fixed = matrices[part], is_fixed[part]
        if has_fixed:
            out = fixed[:, :, None] | fixed[:, None, :]
            np.copyto(pcov, np.eye(pcov.shape[-1]), where=out)
        with np.errstate(invalid="ignore"):
            pcov[:] = _inverses(pcov) * scale[part, None, None]
        unknown = ~np.all(np.isfinite(pcov), axis=(1, 2))
        pcov[unknown] = np.inf
        if has_fixed:
            np.copyto(pcov, 0, where=out)
        n_unknown += int(np.count_nonzero(unknown))
    return matrices if result.is_batch else matrices[0], n_unknown


_inverses = vmap(covariance)


def _warn(fit: CurveFit, n_unknown: int) -> None:
    """Say once what popt and pcov alone would not."""
    failed = ~np.atleast_1d(fit.success)
    if np.any(failed):
        failed &= np.atleast_1d(fit.status) != STOPPED
    n_failed, total = np.count_nonzero(failed), failed.size
    if n_failed:
        which = f"{n_failed:,} of {total:,} fits did" if fit.is_batch else "the fit did"
        met = fit[failed].message if fit.is_batch else fit.message
        text = f"{which} not converge: {met}\n  cure: a p0 nearer to the solution, a larger maxfev, data without NaN"
    elif n_unknown:
        which = f"s of {n_unknown:,} of {total:,} fits" if fit.is_batch else ""
        text = (
            f"the covariance{which} could not be estimated\n"
            "  cure: more points than parameters, and parameters that the data tell apart (fixed= holds others)"
        )
    else:
        return
    warnings.warn(text, RuntimeWarning, stacklevel=3)
