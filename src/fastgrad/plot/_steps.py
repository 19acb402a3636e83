"""How good a difference is for each step: truncation on one side of the V, rounding on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from .._arrays import as_floats, is_integer
from .._finite.steps import relative
from ..stencils import coefficients
from ._canvas import COLORS, Floats, axes, long_names, name_axes, next_color, ordinal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EPS = float(np.finfo(np.float64).eps)
_MARKERS = "osv^<>P"  # by colour; the diamond is for customary steps
_ORDERS = {"2-point": 1, "3-point": 2}
_LINE = 0.055  # of the height of the Axes: from one name of a power to the next
_NAMES = {"2-point": "2-point (forward)", "3-point": "3-point (central)", "cs": "complex step"}


def step_sweep(
    fun: Callable[..., Any],
    x0: ArrayLike,
    *,
    ax: Axes | None = None,
    methods: Sequence[str | int] | None = None,
    derivative: int = 1,
    steps: ArrayLike | None = None,
    exact: Any = None,
    args: tuple[Any, ...] = (),
    slopes: bool = True,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """
    Draw the error of finite differences against their step: a V, with the best step at its bottom.

    A long step truncates the Taylor series too early, a short one loses the digits in which the values of the
    function agree. Dashed lines show both powers of the step, where the errors follow them, and a diamond the step
    that is customary: SciPy's rule, which `fastgrad.finite` follows.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)``, any Python function of numbers or arrays.
    x0 : array_like
        Where to differentiate. Of an array, the largest error of any component is drawn.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    methods : sequence of str or int, optional
        Of "2-point" (forward), "3-point" (central), "cs" (complex step), and even numbers: central differences of that
        order of accuracy. By default the three named, "cs" where the function is analytic.
    derivative : int
        Which derivative; from the second on `x0` must be a number, and "cs" is left out.
    steps : array_like, optional
        Positive steps to try, relative to ``max(1, abs(x0))``. By default 121 from the rounding of the numbers to 1.
    exact : array_like or callable, optional
        The derivative to compare with, or a function of the same arguments that gives it. By default the exact one
        where `fun` can be traced, otherwise that of ``method="adaptive"``, whose expected error is then drawn as well.
    args : tuple
        Further arguments of `fun`.
    slopes : bool
        Whether to draw the dashed lines.
    label : str, optional
        Name in the legend, for several functions on the same Axes.
    **line_kw
        Settings of the curves, as for `matplotlib.axes.Axes.plot`.

    Returns
    -------
    matplotlib Axes
        Both axes are logarithmic.

    Notes
    -----
    An error below the rounding of the derivative itself is drawn there. A step at which the function has no finite
    value, or that is lost against `x0`, has no point. `fun` is called a few times for each step, component of `x0`
    and method.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgrad as fg
    >>> ax = fg.plot.step_sweep(lambda x: np.exp(np.sin(x)), 1.0, methods=["2-point", "3-point", 4])
    >>> [line.get_label() for line in ax.lines if not line.get_label().startswith("_")]
    ['2-point (forward)', '3-point (central)', 'central, order 4', 'customary step']
    """
    x = as_floats(x0, "x0")
    if not is_integer(derivative) or derivative < 1:
        raise ValueError(f"derivative must be a positive integer; got {derivative!r}")
    if derivative > 1 and x.ndim:
        raise ValueError(f"a derivative of order {derivative} needs a number x0; got an array of shape {x.shape}")
    sweep = _Sweep(fun, x, args, int(derivative))
    h = _checked_steps(steps, sweep.eps)
    reference, doubt = _reference(sweep, exact)
    schemes = _schemes(sweep, methods, reference)
    floor = 0.5 * _EPS * float(np.abs(reference).max(initial=0.0) or np.abs(sweep.value).max(initial=0.0)) or _EPS

    def error(scheme: _Scheme, at: Floats) -> Floats:
        worst = np.abs(sweep.differences(scheme, at) - reference).reshape(len(at), -1).max(axis=1)
        return np.where(np.isfinite(worst), np.maximum(worst, floor), np.nan)

    curves = [error(scheme, h) for scheme in schemes]
    if not np.isfinite(curves).any():
        raise ValueError("no step gave a finite difference: is fun finite near x0?")

    ax = axes(ax)
    first = not ax.has_data()
    if first:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.margins(x=0.08)  # room for the names of powers
    name_axes(ax, "step h / max(1, |x|)" if np.abs(x).max(initial=0.0) > 1 else "step h", _error_of(sweep))
    settings = {"linestyle": "none", "markersize": 3.8, "markeredgewidth": 0, **long_names(line_kw)}
    bends = []
    for scheme, curve in zip(schemes, curves, strict=True):
        color = next_color(ax)
        own = {"color": color, "marker": _MARKERS[COLORS.index(color)], **settings}
        name = scheme.name if label is None else f"{label}, {scheme.name}"
        (line,) = ax.plot(h, curve, label=name, **own)
        at = np.array([scheme.customary(sweep.eps)])
        ax.plot(at, error(scheme, at), color=line.get_color(), label="_customary", **_DIAMOND)
        bends.append((line.get_color(), scheme, curve))
    if slopes:
        _draw_slopes(ax, h, bends, derivative, first)
    if doubt > floor:
        ax.axhline(doubt, color="#555555", linewidth=0.9, linestyle=":", label="expected error of the reference")
    if first:
        ax.plot([], [], color="#ffffff", label="customary step", **_DIAMOND)
    entries = sorted(zip(*ax.get_legend_handles_labels(), strict=True), key=lambda entry: entry[1] == "customary step")
    ax.legend(*zip(*entries, strict=True), fontsize="small")
    return ax


def _error_of(sweep: _Sweep) -> str:
    if sweep.derivative > 1:
        return f"error of the {ordinal(sweep.derivative)} derivative"
    if sweep.out_shape:
        return "largest error of the Jacobian"
    return "largest error of the gradient" if sweep.x.ndim else "error of the derivative"


_DIAMOND: dict[str, Any] = {
    "marker": "D",
    "markersize": 7,
    "markeredgecolor": "#222222",
    "markeredgewidth": 1.0,
    "linestyle": "none",
    "zorder": 4,
}


@dataclass(frozen=True)
class _Scheme:
    name: str
    accuracy: int
    derivative: int
    offsets: tuple[int, ...]  # none of a complex step

    def customary(self, eps: float) -> float:
        """The step that `fastgrad.finite` takes by default, for the first derivative SciPy's."""
        return relative(eps, self.offsets, self.derivative) if self.offsets else eps**0.5


@dataclass
class _Sweep:
    """A function at a point, and its differences there for many steps."""

    fun: Callable[..., Any]
    x: Floats
    args: tuple[Any, ...]
    derivative: int

    def __post_init__(self) -> None:
        with np.errstate(all="ignore"):
            value = np.asarray(self.fun(self.x.copy(), *self.args))
        if value.dtype.kind not in "biuf" or not np.isfinite(value).all():
            raise ValueError(f"fun must be real and finite at x0; got {value!r}")
        self.value, self.out_shape = value * 1.0, value.shape
        kinds = [dtype for dtype in (self.x.dtype, value.dtype) if dtype.kind == "f"]
        self.eps = float(max(np.finfo(dtype).eps for dtype in kinds))

    def differences(self, scheme: _Scheme, h: Floats) -> Floats:
        """Derivatives by a scheme for each step: (steps, *out, *x)."""
        flat = self.x.ravel()
        scale = np.maximum(1, np.abs(flat)) * (1.0 if not scheme.offsets else np.where(flat < 0, -1.0, 1.0))
        found = np.empty((len(h), *self.out_shape, flat.size))
        with np.errstate(all="ignore"):
            for i in range(flat.size):
                if not scheme.offsets:
                    parts = [self._value(flat, i, complex(flat[i], step * scale[i])).imag for step in h]
                    found[..., i] = np.stack(parts) / (h * scale[i]).reshape(-1, *[1] * len(self.out_shape))
                    continue
                points = (flat[i] + np.multiply.outer(h * scale[i], scheme.offsets)).astype(flat.dtype)
                factors = _core.weights(points.astype(float) - float(flat[i]), self.derivative)
                values = np.array([[self._value(flat, i, point) for point in row] for row in points])
                # the weights sum to 0: without what all values share, only rounding of the function is left
                found[..., i] = np.einsum("sp,sp...->s...", factors, values - self.value)
        return found.reshape(len(h), *self.out_shape, *self.x.shape)

    def _value(self, flat: Floats, i: int, number: Any) -> Any:
        """The function with component i replaced; NaN where it has no value."""
        x = flat.astype(np.result_type(flat, np.complex64)) if isinstance(number, complex) else flat.copy()
        x[i] = number
        try:
            return np.asarray(self.fun(x.reshape(self.x.shape), *self.args)) * 1.0
        except (ArithmeticError, ValueError):
            return np.full(self.out_shape, np.nan)


def _checked_steps(steps: ArrayLike | None, eps: float) -> Floats:
    if steps is None:
        return np.geomspace(eps, 1.0, 121)
    h = np.unique(np.asarray(as_floats(steps, "steps"), dtype=float))
    if not h.size or not np.isfinite(h).all() or h[0] <= 0:
        raise ValueError(f"steps must be positive numbers; got {steps!r}")
    return h


def _schemes(sweep: _Sweep, methods: Sequence[str | int] | None, reference: Floats) -> list[_Scheme]:
    k = sweep.derivative
    wanted = ["2-point", "3-point", *["cs"] * (k == 1)] if methods is None else list(methods)
    schemes = []
    for method in wanted:
        if method == "cs":
            refusal = f"derivative is {k}" if k > 1 else _refuses_complex(sweep, reference)
            if not refusal:
                schemes.append(_Scheme(_NAMES["cs"], 2, k, ()))
            elif methods is not None:
                raise ValueError(f"methods has 'cs', but {refusal}: leave it out")
            continue
        if not is_integer(method) and method not in _ORDERS:
            raise ValueError(f"methods must be of '2-point', '3-point', 'cs' and even numbers; got {method!r}")
        order = _ORDERS[method] if isinstance(method, str) else method
        kind = "forward" if method == "2-point" else "central"
        offsets, weights = coefficients(k, order, kind)
        used = tuple(offset for offset, weight in zip(offsets, weights, strict=True) if weight)
        name = _NAMES[method] if k == 1 and isinstance(method, str) else f"{kind}, order {order}"
        schemes.append(_Scheme(name, order, k, used))
    if not schemes:
        raise ValueError("methods is empty: name at least one")
    return schemes


def _refuses_complex(sweep: _Sweep, reference: Floats) -> str:
    """What speaks against a complex step, or nothing."""
    try:
        derivative = sweep.differences(_Scheme("", 2, 1, ()), np.array([sweep.eps]))[0]
    except Exception as error:  # whatever a function does with numbers that it was not written for
        return f"fun takes no complex numbers ({type(error).__name__}: {error})"
    close = np.abs(derivative - reference) <= 1e3 * sweep.eps ** (2 / 3) * (1 + np.abs(reference))
    return "" if close.all() else "fun is not analytic, or not written for complex numbers"


def _reference(sweep: _Sweep, exact: Any) -> tuple[Floats, float]:
    """What to compare with, shaped (*out, *x), and its own expected error."""
    shape = sweep.out_shape + sweep.x.shape
    x, doubt = sweep.x.astype(np.float64), 0.0
    if exact is not None:
        found = exact(x, *sweep.args) if callable(exact) else exact
    else:
        import fastgrad as fg

        try:
            exactly = fg.jacobian(sweep.fun) if sweep.derivative == 1 else fg.derivative(sweep.fun, sweep.derivative)
            found = exactly(x, *sweep.args)
        except Exception:  # fun cannot be traced
            settings: dict[str, Any] = {"method": "adaptive", "args": sweep.args, "full_output": True}
            if sweep.derivative == 1:
                best = fg.finite.jacobian(sweep.fun, sweep.x, **settings)
            else:
                best = fg.finite.derivative(sweep.fun, sweep.x, order=sweep.derivative, **settings)
            found, doubt = best.value, float(np.max(best.error, initial=0.0))
    found = np.asarray(found, dtype=float)
    if found.size != np.prod(shape, dtype=int):
        raise ValueError(f"exact must have the shape {shape} of the derivative; got {found.shape}")
    return found.reshape(shape), doubt


def _draw_slopes(ax: Axes, h: Floats, bends: list[tuple[Any, _Scheme, Floats]], derivative: int, first: bool) -> None:
    """The powers of the step that the errors follow on both sides of the best one, from end to crossing."""
    bests = [_best_step(h, curve) for _, _, curve in bends]
    roundings = [
        _factor(h, _running(np.nanmax, curve, 9), -derivative, (0, best / 4))
        for (_, scheme, curve), best in zip(bends, bests, strict=True)
        if scheme.offsets
    ]
    rounding = max((factor for factor in roundings if factor), default=None)
    drawn: list[tuple[int, float, Any]] = []
    farthest = None
    for (color, scheme, curve), best in zip(bends, bests, strict=True):
        power, factor = scheme.accuracy, _factor(h, curve, scheme.accuracy, (2 * best, 30 * best))
        if factor is None:
            continue
        crossing = best
        if rounding is not None and scheme.offsets:
            crossing = (rounding / factor) ** (1 / (power + derivative))
            farthest = max(farthest or 0.0, crossing)
        _draw_power(ax, power, factor, (crossing, h[-1]), color)
        if not any(power == other and abs(np.log(factor / same)) < 0.5 for other, same, _ in drawn):
            drawn.append((power, factor, color))
    if rounding is not None:
        ends = h[0], farthest or max(bests)
        _draw_power(ax, -derivative, rounding, ends, "#444444")
        if first:  # above the middle, as rounding stays below its line
            middle = np.sqrt(ends[0] * ends[1])
            place = {"xytext": (5, 4), "textcoords": "offset points", "va": "bottom"}
            _name_power(ax, -derivative, (middle, rounding * middle**-derivative), "#444444", place)
    for power, factor, color in sorted(drawn, key=lambda line: line[0]):
        place = {"xytext": (8, 0), "textcoords": ("offset points", "axes fraction"), "va": "center", "gid": "end"}
        _name_power(ax, power, (h[-1], factor * h[-1] ** power), color, place)
    _spread_names(ax)


def _spread_names(ax: Axes) -> None:
    """Put the names of lines into a column right of their ends, those in the way of others below: lines meet there."""
    ax.autoscale_view()
    to_axes = ax.transData + ax.transAxes.inverted()
    names: list[Any] = [text for text in ax.texts if text.get_gid() == "end"]
    taken: list[float] = []
    for text in names:
        at = float(to_axes.transform(text.xy)[1])
        while near := [other for other in taken if abs(other - at) < _LINE]:
            at = min(near) - 1.001 * _LINE
        text.xyann = 8, at
        taken.append(at)


def _best_step(h: Floats, curve: Floats) -> float:
    """The longest step about as good as any, looked at through a running median: rounding has lucky moments."""
    smooth = np.nan_to_num(_running(np.nanmedian, curve, 5), nan=np.inf)
    return float(h[np.flatnonzero(smooth <= 3 * smooth.min())[-1]])


def _running(summary: Callable[..., Any], curve: Floats, width: int) -> Floats:
    """A summary of each value and its neighbours that are known."""
    padded = np.pad(curve, width // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    return np.array([summary(window) if np.isfinite(window).any() else np.nan for window in windows])


def _factor(h: Floats, curve: Floats, power: int, within: tuple[float, float]) -> float | None:
    """The factor of ``h**power`` that the curve follows between two steps, if it follows that power."""
    used = np.isfinite(curve) & (h >= within[0]) & (h <= within[1])
    if np.count_nonzero(used) < 4:
        return None
    x, y = np.log(h[used]), np.log(curve[used])
    if abs(np.polyfit(x, y, 1)[0] - power) > 0.2 + 0.1 * abs(power):
        return None
    return float(np.exp(np.median(y - power * x)))


def _draw_power(ax: Axes, power: int, factor: float, ends: tuple[float, float], color: Any) -> None:
    """A dashed line."""
    x = np.array(ends)
    ax.plot(x, factor * x**power, color=color, linestyle=(0, (5, 2)), linewidth=1.1, zorder=1.5, label="_slope")


def _name_power(ax: Axes, power: int, at: tuple[float, float], color: Any, place: dict[str, Any]) -> None:
    name = "h" if abs(power) == 1 else f"h^{{{abs(power)}}}"
    ax.annotate(f"${name}$" if power > 0 else f"$1/{name}$", at, color=color, fontsize="large", **place)
