"""A function of two parameters as filled contours, the ground of other pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._canvas import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUND = ("#ffffff", "#eaf0f5", "#c3d0dc", "#8fa3b8")  # from low to high, pale enough for every line above
_GRID = 201  # points a side on which a function is evaluated for its contours


def contours(
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
