"""A stencil: where a difference looks, and what it multiplies there."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import is_integer
from ..stencils import coefficients, weights
from ._canvas import axes, long_names, name_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIGNS = {1: ("#0072b2", "o"), -1: ("#d55e00", "s"), 0: ("#8a8a8a", "o")}  # colour and marker of a weight
Numbers = dict[Any, Any]


def stencil(
    offsets: Sequence[Any] | None = None,
    derivative: int | str | tuple[int, int] = 1,
    *,
    accuracy: int = 2,
    kind: str = "central",
    ax: Axes | None = None,
    **marker_kw: Any,
) -> Axes:
    """
    Draw a stencil: the points that a difference looks at, with their weights.

    Weights of whole or rational offsets are exact fractions. Positive ones are blue discs, negative ones vermilion
    squares, and a point whose weight is zero is hollow.

    Parameters
    ----------
    offsets : sequence of numbers, optional
        Where the samples are, in steps. By default those that the accuracy needs.
    derivative : int, pair of ints or "laplacian"
        Which derivative. A pair is a derivative in two dimensions, such as ``(1, 1)`` for the mixed one, and
        "laplacian" the sum of both second ones; the weights are then drawn in the plane.
    accuracy : int
        Power of the step that the error falls with, where no offsets are given.
    kind : {"central", "forward", "backward"}
        On which side the samples are, where no offsets are given.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    **marker_kw
        Settings of the markers, as for `matplotlib.axes.Axes.plot`.

    Returns
    -------
    matplotlib Axes
        On a line the y axis is the weight; in the plane both are offsets.

    Examples
    --------
    >>> import fastgrad as fg
    >>> ax = fg.plot.stencil(derivative=2, accuracy=4)
    >>> [text.get_text() for text in ax.texts]
    ['−1/12', '4/3', '−5/2', '4/3', '−1/12']
    """
    plane = isinstance(derivative, tuple) or derivative == "laplacian"
    if not plane and not is_integer(derivative):
        raise ValueError(f"derivative must be an integer, a pair of them or 'laplacian'; got {derivative!r}")
    if isinstance(derivative, tuple) and len(derivative) != 2:
        raise ValueError(f"derivative must have two orders, one for each axis; got {derivative!r}")
    if derivative == "laplacian":
        second, value = _on_a_line(offsets, 2, accuracy, kind), _on_a_line(offsets, 0, accuracy, kind)
        points = _product(second, value)
        for where, weight in _product(value, second).items():
            points[where] = points.get(where, 0) + weight
    elif isinstance(derivative, tuple):
        points = _product(*(_on_a_line(offsets, order, accuracy, kind) for order in derivative))
    else:
        points = _on_a_line(offsets, derivative, accuracy, kind)
    own, ax = ax is None, axes(ax)
    if plane:
        _draw_plane(ax, points, own, long_names(marker_kw))
    else:
        _draw_line(ax, points, derivative, long_names(marker_kw))
    return ax


def _on_a_line(offsets: Sequence[Any] | None, derivative: Any, accuracy: int, kind: str) -> Numbers:
    """Weights by offset."""
    if offsets is not None:
        return dict(zip(offsets, weights(offsets, derivative), strict=True))
    if derivative == 0:
        return {0: Fraction(1)}
    return dict(zip(*coefficients(derivative, accuracy, kind), strict=True))


def _product(first: Numbers, second: Numbers) -> Numbers:
    return {(x, y): a * b for x, a in first.items() for y, b in second.items()}


def _draw_line(ax: Axes, points: Numbers, derivative: Any, marker_kw: dict[str, Any]) -> None:
    x, w = list(points), [float(weight) for weight in points.values()]
    power = {0: "", 1: ", in units of $1/h$"}.get(derivative, f", in units of $1/h^{{{derivative}}}$")
    name_axes(ax, "offset, in steps h", f"weight{power}")
    ax.axhline(0.0, color="#999999", linewidth=0.8, zorder=1)
    ax.vlines(x, 0, w, colors=[_style(weight)["color"] for weight in w], linewidth=1.6, zorder=2)
    for offset, weight in points.items():
        ax.plot(float(offset), float(weight), **{"markersize": 9, "zorder": 3, **_style(weight), **marker_kw})
        above = weight >= 0
        ax.annotate(
            _text(weight),
            (float(offset), float(weight)),
            (0, 8 if above else -8),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
        )
    _ticks(ax.xaxis, x)
    ax.margins(0.1, 0.2)


def _draw_plane(ax: Axes, points: Numbers, may_grow: bool, marker_kw: dict[str, Any]) -> None:
    xs, ys = (sorted({where[axis] for where in points}, key=float) for axis in (0, 1))
    name_axes(ax, "offset along x, in steps h", "offset along y, in steps h")
    for values, line in ((xs, ax.axvline), (ys, ax.axhline)):
        for value in values:
            line(float(value), color="#dddddd", linewidth=0.8, zorder=0)
    _ticks(ax.xaxis, xs)
    _ticks(ax.yaxis, ys)
    reach = max(float(values[-1] - values[0]) for values in (xs, ys))
    gap = min((float(b - a) for values in (xs, ys) for a, b in pairwise(values)), default=1.0)
    for values, limits in ((xs, ax.set_xlim), (ys, ax.set_ylim)):
        limits(float(values[0]) - 0.6 * gap, float(values[-1]) + 0.6 * gap)
    ax.set_aspect("equal")

    shown = {where: weight for where, weight in points.items() if weight}
    size = 13 + 5.5 * max(len(_text(weight)) for weight in shown.values())
    figure: Any = ax.figure
    box = ax.get_window_extent()
    room = 0.75 * 72 / figure.dpi * min(box.width, box.height) * gap / (reach + 1.2 * gap)
    if may_grow and room < size:
        grown = min(size / room, 2.0)
        width, height = figure.get_size_inches() * grown
        figure.set_size_inches(width, height)
        room *= grown
    shrink = min(1.0, room / size)
    for (x, y), weight in shown.items():
        style = {"markersize": shrink * size, "zorder": 3, **_style(weight), **marker_kw}
        ax.plot(float(x), float(y), **style)
        ax.text(float(x), float(y), _text(weight), color="white", ha="center", va="center", size=10 * shrink, zorder=4)


def _style(weight: Any) -> dict[str, Any]:
    color, marker = _SIGNS[int(np.sign(weight))]
    face = {"markerfacecolor": "#ffffff"} if not weight else {}
    return {"color": color, "marker": marker, "linestyle": "none", "markeredgecolor": color, **face}


def _text(number: Any) -> str:
    exact = str(number) if isinstance(number, int | Fraction) else f"{number:.4g}"
    return (exact if len(exact) <= 12 else f"{float(number):.4g}").replace("-", "−")


def _ticks(axis: Any, offsets: list[Any]) -> None:
    if len(offsets) <= 21:
        axis.set_ticks([float(offset) for offset in offsets], [_text(offset) for offset in offsets])
