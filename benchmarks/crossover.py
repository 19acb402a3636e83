"""Steps of training per second over the width of the layers: where which library is ahead, as a table and a picture.

`python -m benchmarks crossover --out docs/images/crossover.png` measures and draws it. Small networks cost what each
step's instructions and calls cost, large ones what their arithmetic does, where every library meets the same bound.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from . import nets
from .nets import Work
from .peers import cores
from .timing import Case, Outcome

BATCHES = (64, 256)
WIDTHS = tuple(2**k for k in range(2, 12))
# Okabe and Ito's colours, and a mark each for who sees none of them
STYLES = {
    "fastgrad": ("fastgrad", "#0072b2", "o"),
    "jax": ("JAX", "#d55e00", "s"),
    "torch": ("PyTorch", "#009e73", "^"),
    "sklearn": ("scikit-learn", "#cc79a7", "D"),
}
Speeds = Mapping[str, np.ndarray]  # by library, steps per second at each width


def cases(quick: bool) -> list[Case]:
    widths, most = (WIDTHS[:6], 50) if quick else (WIDTHS, 500)
    return [_case(Work((width,) * 4, batch, _steps(width, batch, most))) for batch in BATCHES for width in widths]


def _case(work: Work) -> Case:
    targets = dict.fromkeys(("jax", "torch", "sklearn"), 1.0)
    return Case(f"step {work.name}", "us a step", nets.sides(work), targets, rtol=1e-3, atol=0.0)


def _steps(width: int, batch: int, most: int) -> int:
    """As many as take a fifth of a second at 100 GFLOP/s, within reason: a call also has a beginning and an end."""
    return int(np.clip(0.2 * 100e9 / (18 * batch * width**2), 16, most))


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """For each size of the minibatch the speeds, and below them how many times a peer's speed is fastgrad's."""
    from matplotlib.figure import Figure

    by_batch: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_batch.setdefault(outcome.case.name.rpartition(" ")[2], []).append(outcome)
    figure = Figure(figsize=(5.2 * len(by_batch), 7.2), layout="constrained")
    grid = figure.subplots(2, len(by_batch), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2))
    for (above, below), (batch, measured) in zip(grid.T, by_batch.items(), strict=True):
        widths = np.array([int(outcome.case.name.split()[1].split("-")[0]) for outcome in measured])
        speeds = {
            name: np.array([1 / outcome.time(name) if name in outcome.samples else np.nan for outcome in measured])
            for name in STYLES
            if any(name in outcome.samples for outcome in measured)
        }
        _draw_speeds(above, widths, speeds)
        _draw_ratios(below, widths, speeds)
        above.set_title(f"minibatches of {batch} rows", fontsize="medium", loc="left")
        below.set_xlabel("width w of the layers")
    for (first, *_), least in zip(grid, (np.inf, 0.7), strict=True):  # with room for the highest name
        low, high = first.get_ylim()
        first.set_ylim(min(low, least), 2 * high)
    grid[0, 0].set_ylabel("steps of training per second")
    grid[1, 0].set_ylabel("fastgrad is so many times\nas fast as the peer")
    lines, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=len(names), frameon=False)
    figure.suptitle(f"Training of networks w-w-w-w: float32, Adam, {cores()} cores")
    figure.savefig(path, dpi=160)


def _draw_speeds(ax: Any, widths: np.ndarray, speeds: Speeds) -> None:
    """Lines, and a ring where fastgrad's meets the fastest."""
    for name, speed in speeds.items():
        _line(ax, widths, speed, name)
    peers = [speed for name, speed in speeds.items() if name != "fastgrad"]
    found = crossings(widths, speeds["fastgrad"], np.fmax.reduce(peers)) if peers else []
    for i, (width, speed) in enumerate(found):
        ax.plot(width, speed, "o", markersize=13, markerfacecolor="none", markeredgecolor="#333333", zorder=5)
        ax.annotate(
            f"crossover at width {width:,.0f}",
            (width, speed),
            (0.97, 0.85 - 0.08 * i),
            textcoords="axes fraction",
            ha="right",
            color="#333333",
            arrowprops={"arrowstyle": "-", "color": "#333333", "linewidth": 0.8, "shrinkB": 7},
        )
    if peers and not found and np.all(speeds["fastgrad"] > np.fmax.reduce(peers)):
        ax.text(0.97, 0.93, "no crossover: fastgrad is ahead", ha="right", color="#333333", transform=ax.transAxes)
    _logarithmic(ax, widths)


def _draw_ratios(ax: Any, widths: np.ndarray, speeds: Speeds) -> None:
    from matplotlib.ticker import LogLocator

    ratios = {name: speeds["fastgrad"] / speed for name, speed in speeds.items() if name != "fastgrad"}
    for name, ratio in ratios.items():
        _line(ax, widths, ratio, name)
    ax.axhline(1, color="#333333", linewidth=1.2, zorder=2)
    _logarithmic(ax, widths)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.set_yticks([], minor=True)


def _line(ax: Any, x: np.ndarray, y: np.ndarray, name: str) -> None:
    label, color, marker = STYLES[name]
    width, size, order = (2.4, 5.5, 4) if name == "fastgrad" else (1.6, 4.5, 3)
    marks: dict[str, Any] = {"marker": marker, "markersize": size, "markeredgecolor": "white", "markeredgewidth": 0.6}
    ax.plot(x, y, label=label, color=color, linewidth=width, zorder=order, **marks)


def _logarithmic(ax: Any, widths: np.ndarray) -> None:
    ax.set(xscale="log", yscale="log", xlim=(widths[0] / 1.25, widths[-1] * 1.25))
    ax.set_xticks(widths, [str(width) for width in widths])
    ax.set_xticks([], minor=True)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    ax.grid(color="#e3e7eb", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def crossings(widths: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> list[tuple[float, float]]:
    """Where the lines cross on logarithmic axes: widths and speeds."""
    x, gap, height = np.log(widths), np.log(ours / theirs), np.log(ours)
    found = []
    for i, j in pairwise(range(len(x))):
        if gap[i] * gap[j] < 0:
            share = gap[i] / (gap[i] - gap[j])
            found.append(tuple(np.exp([x[i] + share * (x[j] - x[i]), height[i] + share * (height[j] - height[i])])))
    return found
