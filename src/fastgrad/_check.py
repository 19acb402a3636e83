"""Is a gradient right? The exact one against differences of the function as Python runs it.

The differences know nothing of tracing, so they also find a function that means something else when it is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import as_floats
from ._compiler import tree
from ._finite.richardson import adaptive
from .functions import grad


@dataclass(frozen=True)
class GradCheck:
    """Outcome of `check_grad`; true when every component agrees.

    Attributes
    ----------
    ok : bool
        Whether all components agree within their tolerance.
    where : str
        The worst component, such as ``x0['w'][3, 1]``.
    exact, difference : float
        Its derivative by fastgrad, and by differences.
    error : float
        Their distance.
    estimate : float
        The error that the differences expect of themselves there.
    n_checked : int
        Components looked at.
    """

    ok: bool
    where: str
    exact: float
    difference: float
    error: float
    estimate: float
    n_checked: int

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = "the gradient agrees with differences" if self.ok else "the gradient DIFFERS from differences"
        return (
            f"{verdict} in {self.n_checked} components; worst at {self.where}: exact {self.exact:.15g}, difference"
            f" {self.difference:.15g} (expected error {self.estimate:.1e}), apart {self.error:.1e}"
        )


def check_grad(
    fun: Callable[..., Any],
    x0: Any,
    args: Sequence[Any] = (),
    *,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    max_components: int = 1000,
    rng: Any = None,
) -> GradCheck:
    """Compare the exact gradient of a scalar function with differences of its plain Python calls.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)``, a scalar.
    x0 : array_like
        The point: an array, or nested dicts, lists and tuples of arrays. float32 is widened for the differences.
    args : sequence, optional
        Further arguments.
    rtol, atol : float, optional
        Allowed distance, relative to the larger of the two derivatives and absolute; the error that the differences
        expect of themselves is allowed on top: ten times, or once where they have not become accurate.
    max_components : int, optional
        Of a larger gradient, so many components are drawn at random.
    rng : int, Generator or None, optional
        For that draw.

    Returns
    -------
    GradCheck
        True or false, with the worst component; prints as a sentence.

    Raises
    ------
    TraceError, ShapeError
        As `grad`.

    Notes
    -----
    Extrapolated central differences, with an error estimate for each component: about five calls of `fun` a component,
    more where the first step is not the right one. At a kink the two need not agree.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> bool(fg.check_grad(lambda x: np.sum(np.exp(x) * x), np.array([0.5, 2.0])))
    True
    """
    leaves, structure = tree.flatten(x0)
    points = [
        np.array(as_floats(leaf, name), np.float64)
        for leaf, name in zip(leaves, tree.paths(structure, "x0"), strict=True)
    ]
    gradients, _ = tree.flatten(grad(fun)(tree.unflatten(structure, points), *args))
    ends = np.cumsum([point.size for point in points])
    x = np.concatenate([point.ravel() for point in points])
    chosen = np.arange(len(x))
    if len(x) > max_components:
        chosen = np.sort(np.random.default_rng(rng).choice(len(x), max_components, replace=False))
    exact = np.concatenate([np.ravel(gradient) for gradient in gradients])[chosen].astype(np.float64)

    def values(rows: np.ndarray) -> np.ndarray:
        found = []
        for row in rows:
            moved = x.copy()
            moved[chosen] = row
            parts = [part.reshape(point.shape) for part, point in zip(np.split(moved, ends), points, strict=False)]
            found.append(fun(tree.unflatten(structure, [part[()] for part in parts]), *args))
        return np.reshape(np.array(found), (len(rows), 1))

    with np.errstate(all="ignore"):
        difference, estimate, _, status = adaptive(values, x[chosen])
        difference, estimate = difference[:, 0], estimate[:, 0]
        error = np.abs(exact - difference)
        # an estimate that came out too large, as at a kink, is no excuse for ten times as much
        allowed = atol + rtol * np.maximum(np.abs(exact), np.abs(difference)) + np.where(status, 1, 10) * estimate
        ratio = np.where(np.isfinite(error) & np.isfinite(allowed), error / allowed, np.inf)
    if not len(chosen):
        return GradCheck(True, "x0", 0.0, 0.0, 0.0, 0.0, 0)
    worst = int(np.argmax(ratio))
    return GradCheck(
        bool(ratio[worst] <= 1),
        _name(chosen[worst], ends, points, tree.paths(structure, "x0")),
        float(exact[worst]),
        float(difference[worst]),
        float(error[worst]),
        float(estimate[worst]),
        len(chosen),
    )


def _name(position: int, ends: np.ndarray, points: list[np.ndarray], names: list[str]) -> str:
    """How a component is written, such as ``x0['w'][3, 1]``."""
    k = int(np.searchsorted(ends, position, side="right"))
    index = np.unravel_index(position - (ends[k] - points[k].size), points[k].shape)
    return names[k] + (f"[{', '.join(map(str, index))}]" if index else "")
