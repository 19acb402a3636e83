"""How a training went, or that of an ensemble: losses and scores by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ._canvas import Floats, axes, long_names, name_axes, next_color, ordinal, suitable_scale, two_numbers
from ._records import percentiles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def history(
    hist: Any,
    *,
    ax: Axes | None = None,
    quantity: Literal["loss", "score"] = "loss",
    percentiles: tuple[float, float] = (5, 95),
    n_lines: int = 3,
    label: str | None = None,
    **line_kw: Any,
) -> Axes:
    """
    Draw the losses of a training by epoch, and which epoch was the best.

    A network gives a line for the data that it was trained on and one for the validation data. An ensemble gives
    the median of its members as a line, a ribbon between two percentiles, and as thin lines `n_lines` members
    that represent it, evenly spread over the order of their final values. A member that has stopped keeps its
    last value. A disc marks the best epoch: the one whose weights early stopping restores.

    Parameters
    ----------
    hist : TrainingHistory
        What ``net.fit`` returned, or the result of `fastgrad.fit`.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    quantity : {"loss", "score"}
        The losses, or the score of the validation data, for instance the accuracy of a classifier.
    percentiles : pair of floats
        Lower and upper edge of the ribbon.
    n_lines : int
        The most members of an ensemble to draw.
    label : str, optional
        Name in the legend, for several trainings on the same Axes. Each then has one colour, and where there
        are validation losses those of the training are dashed.
    **line_kw
        Settings of the lines, as for `matplotlib.axes.Axes.plot`. What belongs to a line follows its colour.

    Returns
    -------
    matplotlib Axes
        The y axis is logarithmic for losses that are positive and differ more than tenfold.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgrad as fg
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> net = fg.MLP([2, 16, 1], activation="tanh", rng=0)
    >>> hist = net.fit(X, X[:, :1] * X[:, 1:], validation=0.2, epochs=20, rng=0)
    >>> ax = fg.plot.history(hist)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('epoch', 'loss')
    """
    low, high = two_numbers("percentiles", percentiles)
    if not 0 <= low <= high <= 100:
        raise ValueError(f"percentiles must be two numbers from 0 to 100, low before high; got {percentiles!r}")
    if n_lines < 0:
        raise ValueError(f"n_lines must not be negative; got {n_lines!r}")
    curves = _curves(hist, quantity)
    best = np.ravel(getattr(hist, "history", hist).epoch)

    ax = axes(ax)
    name_axes(ax, "epoch", quantity)
    settings, floor = suitable_scale(np.concatenate([np.ravel(values) for values in curves.values()]), None)
    if not ax.has_data() and quantity == "loss":
        ax.set_yscale(**settings)
    line_kw, color = long_names(line_kw), None
    for name, values in curves.items():
        own: dict[str, Any] = {"linewidth": 1.8, "color": next_color(ax) if label is None else color or next_color(ax)}
        color = own["color"]
        monitored = name == list(curves)[-1]
        if not monitored:
            own |= {"linewidth": 1.4} | ({} if label is None else {"linestyle": (0, (4, 1.5)), "alpha": 0.8})
        own |= line_kw
        shown = np.where(np.isfinite(values), np.maximum(values, floor), np.nan)
        text = name if label is None else label if monitored else f"{label}, {name}"
        if values.shape[1] == 1:
            alone = {"marker": "."} if len(values) == 1 else {}  # a line of one point cannot be seen
            ax.plot(shown[:, 0], **{"label": text, **alone, **own})
        else:
            edges = (low, high) if monitored or label is None else None  # of several trainings, ribbons would overlap
            _draw_members(ax, shown, text, edges, n_lines if monitored else 0, own)
            if edges and label is None and monitored:
                ax.collections[-1].set_label(f"{ordinal(low)} to {ordinal(high)} percentile")
        if monitored:
            _mark(ax, shown, best, n_lines, own["color"], "best epoch" if label is None else "_best")
    ax.legend()
    return ax


def _curves(hist: Any, quantity: str) -> dict[str, Floats]:
    """Values by epoch and member, by name; the last are those that say which epoch was the best."""
    record = getattr(hist, "history", hist)
    if not hasattr(record, "validation_loss"):
        raise ValueError(f"hist must be the history of a training, as net.fit returns it; got {type(hist).__name__}")
    if quantity == "loss":
        found = {"training": record.loss, "validation": record.validation_loss}
    elif quantity == "score":
        found = {"validation": record.score}
        if record.score is None:
            raise ValueError("hist has no score: pass validation data to fit, and a loss that has a score")
    else:
        raise ValueError(f"quantity must be 'loss' or 'score'; got {quantity!r}")
    curves = {name: np.asarray(values, dtype=float) for name, values in found.items() if values is not None}
    curves = {
        name: values.reshape(len(values), values[0].size if len(values) else 1) for name, values in curves.items()
    }
    known = [np.isfinite(values).any(axis=1) for values in curves.values()]
    if not np.any(known):
        raise ValueError(f"hist holds no finite {quantity}: there is nothing to draw")
    epochs = int(np.flatnonzero(np.any(known, axis=0))[-1]) + 1
    return {name: values[:epochs] for name, values in curves.items()}


def _draw_members(
    ax: Axes, values: Floats, label: str, edges: tuple[float, float] | None, n_lines: int, settings: dict[str, Any]
) -> None:
    members = np.flatnonzero(np.isfinite(values).any(axis=0))
    wanted = (50, *(edges or ()))
    middle, *ribbon = percentiles_of(lambda rows, which: values[rows, which], len(values), members, wanted)[0]
    epochs, color = np.arange(len(values)), settings["color"]
    ax.plot(epochs, middle, label=f"{label}, median of {len(members):,}", **settings)
    for member in _representatives(values, n_lines):
        ax.plot(epochs, values[:, member], color=color, linewidth=0.7, alpha=0.6, label="_member")
    if edges:
        ax.fill_between(epochs, *ribbon, color=color, alpha=0.2, linewidth=0, label="_ribbon", zorder=1.5)


def _representatives(values: Floats, n_lines: int) -> list[int]:
    """Members evenly spread over the order of their final values, the lowest and the highest among them."""
    members = np.flatnonzero(np.isfinite(values).any(axis=0))
    last = len(values) - 1 - np.argmax(np.isfinite(values[::-1, members]), axis=0)
    order = members[np.argsort(values[last, members], kind="stable")]
    return order[np.linspace(0, len(order) - 1, min(n_lines, len(order))).round().astype(int)].tolist()


def _mark(ax: Axes, values: Floats, best: Any, n_lines: int, color: Any, label: str) -> None:
    """A disc at the best epoch, of an ensemble at that of each member drawn."""
    members = [0] if values.shape[1] == 1 else _representatives(values, n_lines)
    points = np.array([(best[i], values[best[i], i]) for i in members if 0 <= best[i] < len(values)])
    if not len(points):
        return
    if not label.startswith("_"):
        label += f" ({best[0]})" if values.shape[1] == 1 else " of a member"
    marker: dict[str, Any] = {
        "marker": "o",
        "markersize": 7 if values.shape[1] == 1 else 4.5,
        "markeredgecolor": "white",
    }
    ax.plot(*points.T, linestyle="none", color=color, label=label, zorder=4, **marker)
