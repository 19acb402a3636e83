"""The paths that descents of two parameters took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._canvas import Floats, axes, long_names, name_axes, next_color, two_numbers
from ._contours import contours
from ._records import as_vectors, history_of, recorded_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    ax = axes(ax)
    full = ax.has_data()
    lowest = min(named, key=lambda name: float(np.fmin.reduce(np.ravel(named[name].fun))))
    frame = _frame([way for some in ways.values() for way, _ in some], ways[lowest][0][1])
    xlim = two_numbers("xlim", xlim) if xlim is not None else ax.get_xlim() if full else frame[0]
    ylim = two_numbers("ylim", ylim) if ylim is not None else ax.get_ylim() if full else frame[1]
    if fun is not None:
        contours(ax, fun, args, xlim, ylim, levels, contour_kw or {})
    name_axes(ax, "x[0]", "x[1]")

    line_kw = long_names(line_kw)
    for name, some in ways.items():
        _draw_ways(ax, some, name, line_kw)
    ax.set_xlim(xlim)
    ax.set_ylim(ylim)
    if isinstance(res, Mapping):
        ax.legend()
    return ax


def _ways(res: Any, name: Any, n_paths: int) -> list[tuple[Floats, Floats]]:
    """At most n_paths pairs of a path (steps, 2) and its end, spread evenly over the final values' order."""
    what = "res" if name is None else f"res[{name!r}]"
    history = history_of(res, "record='path'", what)
    x = recorded_points(history, what, "paths needs")
    if x.shape[-1] != 2:
        raise ValueError(
            f"paths draws problems of two parameters, and those of {what} have {x.shape[-1]}: "
            "minimise over two of them, or use convergence"
        )
    order = np.argsort(np.ravel(res.fun), kind="stable")  # NaN comes last
    order = order[np.isfinite(x[0, order]).all(axis=1)]
    if not len(order):
        raise ValueError(f"{what}.history holds no finite path: there is nothing to draw")
    ends, nit = as_vectors(res.x, (np.size(res.fun),)), np.ravel(res.nit)
    recorded = np.asarray(history.nit)
    ways = []
    for i in order[np.linspace(0, len(order) - 1, min(n_paths, len(order))).round().astype(int)]:
        known = np.isfinite(x[:, i]).all(axis=1)
        way, finite = x[known, i], np.isfinite(ends[i]).all()
        if finite and nit[i] > recorded[known][-1]:  # record=k may leave the last iterate out
            way = np.vstack([way, ends[i]])
        ways.append((way, ends[i] if finite else way[-1]))
    return ways


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
    own = {"color": next_color(ax), "linewidth": 0.9 if many else 1.4, "alpha": 0.75 if many else 1.0}
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
