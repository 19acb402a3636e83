"""What every picture needs: Axes, colours, names and scales of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

# Okabe and Ito's colours, which stay apart for colour-blind eyes; those that are strong as a line come first
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("the pictures need matplotlib: pip install 'fastgrad[plot]'") from error
    return plt.subplots(layout="constrained")[1]


def name_axes(ax: Axes, x: str, y: str) -> None:
    if x.startswith(("iteration", "epoch")) and not ax.has_data():
        ax.locator_params(axis="x", integer=True)
    if not ax.get_xlabel():
        ax.set_xlabel(x)
    if not ax.get_ylabel():
        ax.set_ylabel(y)


def long_names(line_kw: Mapping[str, Any]) -> dict[str, Any]:
    short = {"c": "color", "lw": "linewidth", "ls": "linestyle", "colors": "color", "linewidths": "linewidth"}
    return {short.get(key, key): value for key, value in line_kw.items()}


def next_color(ax: Axes) -> str:
    """Give the first colour that no line of the Axes has."""
    from matplotlib.colors import to_hex

    used = {to_hex(line.get_color()) for line in ax.lines}
    return next((color for color in COLORS if color not in used), COLORS[len(used) % len(COLORS)])


def suitable_scale(values: Floats, optimum: ArrayLike | None) -> tuple[dict[str, Any], float]:
    """Scale of the y axis that suits the values, and the value below which nothing is to be drawn."""
    values = values[np.isfinite(values)]
    size = np.abs(values)
    rounding = rounding_of(size, optimum)
    if values.max() > rounding and values.min() >= (0.0 if optimum is None else -rounding):
        floor = values[values > 0].min()
        if values.max() > 10 * floor:
            return {"value": "log"}, floor
    usual = np.median(size)
    if values.min() < 0 and size.max() > 100 * usual > 0:  # far swings around the usual size
        return {"value": "symlog", "linthresh": 10.0 ** np.ceil(np.log10(usual))}, -np.inf
    return {"value": "linear"}, -np.inf


def rounding_of(values: ArrayLike, optimum: ArrayLike | None) -> float:
    size = max(np.abs(values).max(), 0.0 if optimum is None else np.abs(optimum).max())
    return float(64 * np.finfo(float).eps * size) if np.isfinite(size) else 0.0


def two_numbers(name: str, pair: Any) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in pair)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers; got {pair!r}") from None
    return low, high


def ordinal(number: float) -> str:
    if number != int(number):
        return f"{number:g}th"
    n = int(number)
    return f"{n}{'th' if 10 <= n % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"
