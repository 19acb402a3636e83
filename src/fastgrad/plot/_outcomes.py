"""Where each descent of a batch ended, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ._canvas import axes, long_names, name_axes, suitable_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    ax = axes(ax)
    scale, floor = suitable_scale(values, optimum)
    name_axes(ax, "iterations", "fun(x)" if optimum is None else "fun(x) − optimum")
    if not ax.has_data():
        ax.set_yscale(**scale)
    own: dict[str, Any] = {
        "linestyle": "none",
        "marker": "o",
        "markeredgewidth": 0,
        "markersize": 6 if len(values) < 200 else 3,
    }
    own |= {"alpha": 0.9 if len(values) < 200 else 0.4} | long_names(marker_kw)
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
