"""Pictures of descents.

Every function takes ``ax=None`` and returns the Axes that it drew on. None calls ``show`` or changes a
setting of matplotlib, which is imported by the first call and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._compiler import tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Floats = NDArray[np.float64]
    Block = Callable[[slice, Any], Floats]  # rows of the history, instances

__all__ = ["convergence", "outcomes", "paths"]

# Okabe and Ito's colours, which stay apart for colour-blind eyes; those that are strong as a line come first
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_GROUND = ("#ffffff", "#eaf0f5", "#c3d0dc", "#8fa3b8")  # from low to high, pale enough for every line above
_NAMES = {"fun": "fun(x)", "gradient_norm": "largest component of the gradient", "step": "length of the step"}
_ENDINGS = {  # by status
    0: ("converged (gtol)", "#0072b2"),
    1: ("out of iterations", "#d55e00"),
    2: ("not finite", "#000000"),
    3: ("converged (ftol)", "#009e73"),
    4: ("converged (xtol)", "#56b4e9"),
    5: ("out of evaluations", "#e69f00"),
    6: ("no progress", "#cc79a7"),
    7: ("stopped by the callback", "#999999"),
}
_BLOCK = 2**20  # values handled at once: 8 MB, which a cache still holds
_GRID = 201  # points a side on which a function is evaluated for its contours


def convergence(
    res: Any,
    *,
    ax: Axes | None = None,
    quantity: Literal["fun", "gradient_norm", "step", "distance"] = "fun",
    percentiles: tuple[float, float] = (5, 95),
    optimum: ArrayLike | None = None,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """
    Draw how a descent converged, or how a batch of them did.

    One problem gives a line. A batch gives the median of its instances as a line, a ribbon between two
    percentiles, and as a dashed line the best instance: the one that ended lowest or, where several did, the
    first of them to stop. An instance that has stopped keeps its last value.

    Parameters
    ----------
    res : result of `fastgrad.minimize`
        Made with ``record="fun"``, ``record="path"`` or an int.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    quantity : {"fun", "gradient_norm", "step", "distance"}
        The value of the function, the largest component of the gradient, the length of the last step, or the
        Euclidean distance of ``x`` from `optimum` (by default from the point where the instance ended), which
        needs a recorded path.
    percentiles : pair of floats
        Lower and upper edge of the ribbon.
    optimum : array_like, optional
        For ``"fun"`` the lowest value of the function, which is subtracted: a number, or one for each
        instance. For ``"distance"`` the best point, or one for each instance.
    label : str, optional
        Name in the legend, for several descents on the same Axes.
    **line_kw
        Settings of the line, as for `matplotlib.axes.Axes.plot`. The ribbon and the dashed line follow its
        colour.

    Returns
    -------
    matplotlib Axes
        The y axis is logarithmic for positive values that differ more than tenfold.

    Notes
    -----
    Instances without any value are left out. On a logarithmic axis a difference that is zero up to rounding
    is drawn at the smallest positive value of the picture.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgrad as fg
    >>> def bowl(x):
    ...     return np.sum(x**2)
    >>> starts = np.random.default_rng(0).normal(size=(100, 3))
    >>> res = fg.minimize(bowl, starts, in_axes=0, learning_rate=0.1, record="fun")
    >>> ax = fg.plot.convergence(res, optimum=0.0)
    >>> ax.get_ylabel()
    'fun(x) − optimum'
    """
    low, high = _two_numbers("percentiles", percentiles)
    if not 0 <= low <= high <= 100:
        raise ValueError(f"percentiles must be two numbers from 0 to 100, low before high; got {percentiles!r}")
    nit, block, instances, name = _recorded(res, quantity, optimum)
    count = len(instances)
    if count == 1:
        curves, best = block(slice(len(nit)), instances).T, None
    else:
        curves, ends = _percentiles(block, len(nit), instances, (50, low, high))
        first = instances[_best(ends, np.ravel(res.nit)[instances], optimum if quantity == "fun" else None)]
        best = np.concatenate(list(_held(block, len(nit), np.array([first]))))[:, 0]
    shown = curves if best is None else np.vstack([curves, best])
    if not np.isfinite(shown).any():
        raise ValueError(f"res.history holds no finite value of {quantity!r}: there is nothing to draw")

    ax = _axes(ax)
    scale, floor = _scale(shown, optimum if quantity == "fun" else None)
    curves = np.where(np.isfinite(curves), np.maximum(curves, floor), np.nan)
    _label(ax, "iteration", name)
    if not ax.has_data():
        ax.set_yscale(**scale)

    line_kw = {"color": _next_color(ax), "linewidth": 1.8, **_long_names(line_kw)}
    if best is None:
        ax.plot(nit, curves[0], label=label, **line_kw)
        if label is not None:
            ax.legend()
        return ax
    (line,) = ax.plot(nit, curves[0], label=f"median of {count:,}" if label is None else label, **line_kw)
    own = label is None
    best = np.where(np.isfinite(best), np.maximum(best, floor), np.nan)
    dashed: dict[str, Any] = {"linestyle": (0, (4, 1.5)), "linewidth": 0.7 * line.get_linewidth()}
    ax.plot(nit, best, label="best" if own else "_best", color=line.get_color(), **dashed)
    between = f"{_ordinal(low)} to {_ordinal(high)} percentile" if own else "_ribbon"
    ax.fill_between(
        nit, curves[1], curves[2], color=line.get_color(), alpha=0.2, linewidth=0, label=between, zorder=1.5
    )
    ax.legend()
    return ax


def paths(
    res: Any,
    fun: Callable[..., Any] | None = None,
    *,
    ax: Axes | None = None,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    n_paths: int = 50,
    levels: int | Sequence[float] = 20,
    args: tuple[Any, ...] = (),
    contour_kw: Mapping[str, Any] | None = None,
    **line_kw: Any,
) -> Axes:
    """
    Draw the paths that descents of two parameters took, over the contours of the function.

    A path begins at a circle and ends at a disc; up to three short ones have a dot at every iterate, which
    shows how long the steps are. Of a batch, `n_paths` are shown that represent it: evenly spread over the
    instances in the order of their final value, the best and the worst among them.

    Parameters
    ----------
    res : result of `fastgrad.minimize`, or dict of them by name
        Made with ``record="path"`` or an int. A dict gives every result its colour and its name in a legend.
    fun : callable, optional
        The function that was minimised, ``fun(x, *args)``; without it no contours are drawn.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    xlim, ylim : pair of floats, optional
        Range of ``x[0]`` and ``x[1]``. By default that of the paths; on Axes that hold a picture already,
        theirs.
    n_paths : int
        The most paths to draw of a result.
    levels : int or sequence of floats
        Number of contours, placed at even ratios above the lowest value in view, or the values themselves.
    args : tuple
        Further arguments of `fun`.
    contour_kw : mapping, optional
        Settings of the filled contours, as for `matplotlib.axes.Axes.contourf`.
    **line_kw
        Settings of the paths, as for `matplotlib.collections.LineCollection`. The markers follow their
        colour.

    Returns
    -------
    matplotlib Axes
        The paths of a result are one LineCollection.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgrad as fg
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> start = np.array([-1.5, 1.5])
    >>> gd = fg.minimize(rosenbrock, start, method="gd", learning_rate=1e-3, record="path")
    >>> adam = fg.minimize(rosenbrock, start, method="adam", learning_rate=1e-2, record="path")
    >>> ax = fg.plot.paths({"gradient descent": gd, "Adam": adam}, rosenbrock)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['gradient descent', 'Adam']
    """
    if n_paths < 1:
        raise ValueError(f"n_paths must be at least 1; got {n_paths!r}")
    named = dict(res) if isinstance(res, Mapping) else {None: res}
    if not named:
        raise ValueError("res is an empty dict: give at least one result")
    ways = {name: _ways(one, name, n_paths) for name, one in named.items()}

    ax = _axes(ax)
    full = ax.has_data()
    lowest = min(named, key=lambda name: float(np.fmin.reduce(np.ravel(named[name].fun))))
    frame = _frame([way for some in ways.values() for way, _ in some], ways[lowest][0][1])
    xlim = _two_numbers("xlim", xlim) if xlim is not None else ax.get_xlim() if full else frame[0]
    ylim = _two_numbers("ylim", ylim) if ylim is not None else ax.get_ylim() if full else frame[1]
    if fun is not None:
        _contours(ax, fun, args, xlim, ylim, levels, contour_kw or {})
    _label(ax, "x[0]", "x[1]")

    line_kw = _long_names(line_kw)
    for name, some in ways.items():
        _draw_ways(ax, some, name, line_kw)
    ax.set_xlim(xlim)
    ax.set_ylim(ylim)
    if isinstance(res, Mapping):
        ax.legend()
    return ax


def outcomes(res: Any, *, ax: Axes | None = None, optimum: ArrayLike | None = None, **marker_kw: Any) -> Axes:
    """
    Draw where each descent of a batch ended: its value over the iterations that it took.

    The colour says how it ended, and the legend how many did. Groups at one height are minima that several
    starts share.

    Parameters
    ----------
    res : result of `fastgrad.minimize`
        Of a batch; no history is needed.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    optimum : array_like, optional
        The lowest value of the function, which is subtracted: a number, or one for each instance.
    **marker_kw
        Settings of the markers, as for `matplotlib.axes.Axes.plot`.

    Returns
    -------
    matplotlib Axes
        The y axis is logarithmic for positive values that differ more than tenfold.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgrad as fg
    >>> def himmelblau(x):
    ...     return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2
    >>> starts = np.random.default_rng(0).uniform(-5, 5, (500, 2))
    >>> res = fg.minimize(himmelblau, starts, in_axes=0, learning_rate=0.1, maxiter=300)
    >>> ax = fg.plot.outcomes(res)
    >>> ax.get_xlabel()
    'iterations'
    """
    nit, status, values = (np.ravel(getattr(res, name)) for name in ("nit", "status", "fun"))
    values = values.astype(float)
    if optimum is not None:
        values = values - np.asarray(optimum, dtype=float)
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("res.fun holds no finite value: there is nothing to draw")
    ax = _axes(ax)
    scale, floor = _scale(values, optimum)
    _label(ax, "iterations", "fun(x)" if optimum is None else "fun(x) − optimum")
    if not ax.has_data():
        ax.set_yscale(**scale)
    own: dict[str, Any] = {
        "linestyle": "none",
        "marker": "o",
        "markeredgewidth": 0,
        "markersize": 6 if len(values) < 200 else 3,
    }
    own |= {"alpha": 0.9 if len(values) < 200 else 0.4} | _long_names(marker_kw)
    codes, counts = np.unique(status[finite], return_counts=True)
    for code in codes[np.argsort(-counts, kind="stable")].tolist():  # the rare ones on top
        mine = finite & (status == code)
        name, color = _ENDINGS[code]
        label = f"{np.count_nonzero(mine):,} {name}"
        ax.plot(nit[mine], np.maximum(values[mine], floor), label=label, **{"color": color, **own})
    if lost := np.count_nonzero(~finite):
        ax.plot([], [], linestyle="none", label=f"{lost:,} without a finite value")
    ax.legend(markerscale=6 / own["markersize"])
    return ax


# ---- what was recorded ----


def _history(res: Any, cure: str, what: str = "res") -> Any:
    history = getattr(res, "history", None)
    if history is None:
        raise ValueError(f"{what} has no history: pass {cure} to minimize")
    return history


def _recorded(res: Any, quantity: str, optimum: ArrayLike | None) -> tuple[NDArray, Block, NDArray, str]:
    """Give the iterations, a function to look values up, the instances that have any, and the axis's name."""
    target = None if optimum is None else _as_vectors(optimum) if _is_nested(optimum) else np.asarray(optimum, float)
    if target is not None and quantity in ("gradient_norm", "step"):
        raise ValueError(f"optimum is for quantity='fun' or 'distance', not for {quantity!r}")
    if quantity in _NAMES:
        history = _history(res, "record='fun'")
        nit, fun = np.asarray(history.nit), np.asarray(getattr(history, quantity), dtype=float)
        if quantity == "step":  # none led to the start
            nit, fun = nit[1:], fun[1:]
        if not len(fun):
            raise ValueError(f"res.history holds no finite value of {quantity!r}: there is nothing to draw")
        fun = fun.reshape(len(fun), -1)
        if target is not None and target.shape not in ((), fun.shape[1:]):
            raise ValueError(
                f"optimum has shape {target.shape}: give a number or one for each of {fun.shape[1]} problems"
            )
        first, last = fun[0], fun

        def values(rows: slice, which: Any) -> Floats:
            some = fun[rows, which]
            return some if target is None else some - (target[which] if target.ndim else target)

        name = _NAMES[quantity] + ("" if target is None else " − optimum")
    elif quantity == "distance":
        history = _history(res, "record='path'")
        x = _recorded_points(history, "res", "quantity='distance' needs")
        nit, end = np.asarray(history.nit), _as_vectors(res.x, np.shape(res.fun))
        if target is not None and target.size not in (end.size, end.shape[-1]):
            raise ValueError(
                f"optimum has shape {target.shape}: give a point like res.x, of {end.shape[-1]} numbers, or one for"
                " each instance"
            )
        goal = (end if target is None else target).reshape(-1, x.shape[-1])
        first, last = x[0].sum(axis=-1), x[..., 0]

        def values(rows: slice, which: Any) -> Floats:
            return np.linalg.norm(x[rows, which] - (goal[which] if len(goal) > 1 else goal), axis=-1)

        name = "distance of x from " + ("where it ended" if target is None else "the optimum")
    else:
        known = ", ".join(map(repr, (*_NAMES, "distance")))
        raise ValueError(f"quantity must be one of {known}; got {quantity!r}")
    instances = np.flatnonzero(~np.isnan(first))
    if not len(instances):
        raise ValueError(f"res.history holds no finite value of {quantity!r}: there is nothing to draw")
    rows = len(last)
    while np.isnan(last[rows - 1]).all():  # every instance has stopped before
        rows -= 1
    return nit[:rows], values, instances, name


def _recorded_points(history: Any, what: str, needed: str) -> Floats:
    """Recorded points as an array (iterations, instances, parameters)."""
    if history.x is None:
        raise ValueError(f"{what}.history has no path, which {needed}: pass record='path' to minimize")
    return _as_vectors(history.x, (len(history.nit), np.size(history.fun[0])))


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, (list, tuple)) and any(np.ndim(item) for item in value))


def _as_vectors(x: Any, lead: tuple[int, ...] = ()) -> Floats:
    """Points, which may be nested, as vectors: the last axis runs through their numbers."""
    leaves = tree.flatten(x)[0]
    return np.concatenate([np.asarray(leaf, dtype=float).reshape(*lead, -1) for leaf in leaves], axis=-1)


def _held(block: Block, length: int, instances: NDArray) -> Iterator[Floats]:
    """Walk through the history, some rows at a time; an instance that has stopped keeps its last value."""
    rows = max(1, _BLOCK // len(instances))
    whole = instances[-1] - instances[0] == len(instances) - 1
    which = slice(instances[0], instances[-1] + 1) if whole else instances  # a slice copies nothing
    last = None
    for first in range(0, length, rows):
        values = block(slice(first, min(first + rows, length)), which)
        if np.isnan(values).any():
            if last is not None:
                values = np.vstack([last, values])
            known = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
            np.maximum.accumulate(known, axis=0, out=known)
            values = np.take_along_axis(values, known, axis=0)[0 if last is None else 1 :]
        last = values[-1:]
        yield values


def _percentiles(block: Block, length: int, instances: NDArray, wanted: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Give the percentiles over the instances, a row each, and the value at which every instance ended."""
    parts, ends = [], np.empty(0)
    with np.errstate(invalid="ignore"):  # between two infinities there is no percentile
        for held in _held(block, length, instances):
            parts.append(np.percentile(held, wanted, axis=1))
            ends = held[-1]
    return np.concatenate(parts, axis=1), ends


def _best(ends: Floats, nit: NDArray, optimum: ArrayLike | None) -> int:
    """Of the instances that ended lowest, up to rounding, the one that stopped first."""
    lowest = ends.min()
    lowest += _rounding(lowest, optimum)
    tied = np.flatnonzero(ends <= lowest)
    return int(tied[np.argmin(nit[tied])])


def _rounding(values: ArrayLike, optimum: ArrayLike | None) -> float:
    size = max(np.abs(values).max(), 0.0 if optimum is None else np.abs(optimum).max())
    return float(64 * np.finfo(float).eps * size) if np.isfinite(size) else 0.0


def _ways(res: Any, name: Any, n_paths: int) -> list[tuple[Floats, Floats]]:
    """At most n_paths pairs of a path (steps, 2) and its end, spread evenly over the final values' order."""
    what = "res" if name is None else f"res[{name!r}]"
    history = _history(res, "record='path'", what)
    x = _recorded_points(history, what, "paths needs")
    if x.shape[-1] != 2:
        raise ValueError(
            f"paths draws problems of two parameters, and those of {what} have {x.shape[-1]}: "
            "minimise over two of them, or use convergence"
        )
    order = np.argsort(np.ravel(res.fun), kind="stable")  # NaN comes last
    order = order[np.isfinite(x[0, order]).all(axis=1)]
    if not len(order):
        raise ValueError(f"{what}.history holds no finite path: there is nothing to draw")
    ends, nit = _as_vectors(res.x, (np.size(res.fun),)), np.ravel(res.nit)
    recorded = np.asarray(history.nit)
    ways = []
    for i in order[np.linspace(0, len(order) - 1, min(n_paths, len(order))).round().astype(int)]:
        known = np.isfinite(x[:, i]).all(axis=1)
        way, finite = x[known, i], np.isfinite(ends[i]).all()
        if finite and nit[i] > recorded[known][-1]:  # record=k may leave the last iterate out
            way = np.vstack([way, ends[i]])
        ways.append((way, ends[i] if finite else way[-1]))
    return ways


# ---- drawing ----


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("the pictures need matplotlib: pip install 'fastgrad[plot]'") from error
    return plt.subplots(layout="constrained")[1]


def _label(ax: Axes, x: str, y: str) -> None:
    if x.startswith("iteration") and not ax.has_data():
        ax.locator_params(axis="x", integer=True)
    if not ax.get_xlabel():
        ax.set_xlabel(x)
    if not ax.get_ylabel():
        ax.set_ylabel(y)


def _long_names(line_kw: Mapping[str, Any]) -> dict[str, Any]:
    short = {"c": "color", "lw": "linewidth", "ls": "linestyle", "colors": "color", "linewidths": "linewidth"}
    return {short.get(key, key): value for key, value in line_kw.items()}


def _next_color(ax: Axes) -> str:
    """Give the first colour that no line of the Axes has."""
    from matplotlib.colors import to_hex

    used = {to_hex(line.get_color()) for line in ax.lines}
    return next((color for color in _COLORS if color not in used), _COLORS[len(used) % len(_COLORS)])


def _scale(values: Floats, optimum: ArrayLike | None) -> tuple[dict[str, Any], float]:
    """Scale of the y axis that suits the values, and the value below which nothing is to be drawn."""
    values = values[np.isfinite(values)]
    size = np.abs(values)
    rounding = _rounding(size, optimum)
    if values.max() > rounding and values.min() >= (0.0 if optimum is None else -rounding):
        floor = values[values > 0].min()
        if values.max() > 10 * floor:
            return {"value": "log"}, floor
    usual = np.median(size)
    if values.min() < 0 and size.max() > 100 * usual > 0:  # far swings around the usual size
        return {"value": "symlog", "linthresh": 10.0 ** np.ceil(np.log10(usual))}, -np.inf
    return {"value": "linear"}, -np.inf


def _frame(ways: list[Floats], end: Floats) -> list[tuple[float, float]]:
    """Limits that hold the starts, the best end and the paths, but not far excursions of them."""
    near = np.array([*(way[0] for way in ways), end])
    low, high = near.min(axis=0), near.max(axis=0)
    reach = max(float((high - low).max()), 1e-3)
    points = np.vstack(ways)
    points = points[((points >= low - reach) & (points <= high + reach)).all(axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.08 * np.where(high > low, high - low, reach)
    return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def _draw_ways(ax: Axes, ways_and_ends: list[tuple[Floats, Floats]], name: Any, line_kw: Mapping[str, Any]) -> None:
    from matplotlib.collections import LineCollection

    ways, ends = zip(*ways_and_ends, strict=True)
    many = len(ways) > 3
    own = {"color": _next_color(ax), "linewidth": 0.9 if many else 1.4, "alpha": 0.75 if many else 1.0}
    label = {} if name is None else {"label": str(name)}
    lines = LineCollection(ways, **{"zorder": 3, "capstyle": "round", **own, **label, **line_kw})
    ax.add_collection(lines)
    color, size = lines.get_colors()[0], 3.5 if many else 6.5
    marks: dict[str, Any] = {"linestyle": "none", "marker": "o", "color": color}
    if not many and max(map(len, ways)) <= 300:  # more would only thicken the line
        ax.plot(*np.vstack(ways).T, markersize=2.6, markeredgewidth=0, zorder=3, label="_steps", **marks)
    marks["markersize"] = size
    ax.plot(*np.transpose(ends), **marks, markeredgecolor="white", markeredgewidth=0.6, zorder=4, label="_end")
    ax.plot(
        *np.transpose([way[0] for way in ways]),
        **marks,
        markerfacecolor="white",
        markeredgecolor="#333333",
        zorder=5,
        label="_start",
    )


def _contours(
    ax: Axes,
    fun: Callable[..., Any],
    args: tuple[Any, ...],
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    levels: int | Sequence[float],
    contour_kw: Mapping[str, Any],
) -> None:
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    x, y = np.linspace(*xlim, _GRID), np.linspace(*ylim, _GRID)
    z = np.ma.masked_invalid(_on_grid(fun, x, y, args))
    if z.mask.all():
        raise ValueError("fun has no finite value within xlim and ylim: choose other limits")
    heights = _levels(z.compressed(), levels)
    if len(heights) < 2:  # a flat function has no contours
        return
    settings: dict[str, Any] = {"levels": heights, "extend": "both", "zorder": 0, **contour_kw}
    if not {"cmap", "norm", "colors"} & set(contour_kw):
        settings["cmap"] = LinearSegmentedColormap.from_list("ground", _GROUND)
    if "norm" not in contour_kw and "colors" not in contour_kw:
        settings["norm"] = BoundaryNorm(settings["levels"], 256, extend="both")
    ax.contourf(x, y, z, **settings)
    ax.contour(x, y, z, levels=settings["levels"], colors="#5b6b7c", linewidths=0.4, alpha=0.6, zorder=0.5)


def _on_grid(fun: Callable[..., Any], x: Floats, y: Floats, args: tuple[Any, ...]) -> Floats:
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    try:
        from fastgrad import vmap

        z = vmap(fun, in_axes=(0, *[None] * len(args)))(points, *args)
    except Exception:  # fun cannot be traced: what is wrong in it the loop reports better
        with np.errstate(all="ignore"):
            z = [fun(point, *args) for point in points]
    z = np.asarray(z, dtype=float)
    if z.size != len(points):
        raise ValueError(f"fun must return one number for a point; got {z.size // len(points)}")
    return z.reshape(len(y), len(x))


def _levels(z: Floats, levels: int | Sequence[float]) -> Floats:
    """Levels at even ratios above the lowest value; a hundredth of the points lies below and above them."""
    if not isinstance(levels, int | np.integer):
        return np.unique(np.asarray(levels, dtype=float))
    low = z.min()
    first, last = np.percentile(z - low, (1, 99))
    if not last > 0:
        return np.empty(0)
    return np.unique(low + np.geomspace(max(first, 1e-6 * last), last, levels))


# ---- small things ----


def _two_numbers(name: str, pair: Any) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in pair)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers; got {pair!r}") from None
    return low, high


def _ordinal(number: float) -> str:
    if number != int(number):
        return f"{number:g}th"
    n = int(number)
    return f"{n}{'th' if 10 <= n % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"
