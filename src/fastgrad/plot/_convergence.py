"""How a descent converged, or a batch of them: values by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ._canvas import axes, long_names, name_axes, next_color, ordinal, suitable_scale, two_numbers
from ._records import best_of, percentiles_of, recorded, walk

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    low, high = two_numbers("percentiles", percentiles)
    if not 0 <= low <= high <= 100:
        raise ValueError(f"percentiles must be two numbers from 0 to 100, low before high; got {percentiles!r}")
    nit, block, instances, name = recorded(res, quantity, optimum)
    count = len(instances)
    if count == 1:
        curves, best = block(slice(len(nit)), instances).T, None
    else:
        curves, ends = percentiles_of(block, len(nit), instances, (50, low, high))
        first = instances[best_of(ends, np.ravel(res.nit)[instances], optimum if quantity == "fun" else None)]
        best = np.concatenate(list(walk(block, len(nit), np.array([first]))))[:, 0]
    shown = curves if best is None else np.vstack([curves, best])
    if not np.isfinite(shown).any():
        raise ValueError(f"res.history holds no finite value of {quantity!r}: there is nothing to draw")

    ax = axes(ax)
    scale, floor = suitable_scale(shown, optimum if quantity == "fun" else None)
    curves = np.where(np.isfinite(curves), np.maximum(curves, floor), np.nan)
    name_axes(ax, "iteration", name)
    if not ax.has_data():
        ax.set_yscale(**scale)

    line_kw = {"color": next_color(ax), "linewidth": 1.8, **long_names(line_kw)}
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
    between = f"{ordinal(low)} to {ordinal(high)} percentile" if own else "_ribbon"
    ax.fill_between(
        nit, curves[1], curves[2], color=line.get_color(), alpha=0.2, linewidth=0, label=between, zorder=1.5
    )
    ax.legend()
    return ax
