"""Is a gradient right? The exact one against differences of the function as Python runs it.

The differences know nothing of tracing, so they also find a function that means something else when it is traced.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import as_floats
from ._compiler import tree
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
        expect of themselves is allowed on top, ten times.
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
    Central differences with Ridders' extrapolation: C. Ridders, *Accurate computation of F'(x) and F'(x) F''(x)*,
    Advances in Engineering Software 4 (1982). About sixty calls of `fun` a component. At a kink the two need not
    agree.

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
    components = [(k, index) for k, x in enumerate(points) for index in np.ndindex(x.shape)]
    if len(components) > max_components:
        drawn = np.random.default_rng(rng).choice(len(components), max_components, replace=False)
        components = [components[i] for i in np.sort(drawn)]

    def value_at(k: int, index: Any, number: float) -> float:
        moved = [x.copy() for x in points]
        moved[k][index] = number
        with np.errstate(all="ignore"):
            return float(fun(tree.unflatten(structure, [x[()] for x in moved]), *args))

    names = tree.paths(structure, "x0")
    worst, excess = GradCheck(True, "x0", 0.0, 0.0, 0.0, 0.0, len(components)), -1.0
    for k, index in components:
        exact = float(gradients[k][index])
        found, estimate = _difference(functools.partial(value_at, k, index), float(points[k][index]))
        error = abs(exact - found)
        allowed = atol + rtol * max(abs(exact), abs(found)) + 10 * estimate
        ratio = error / allowed if np.isfinite(error) and np.isfinite(allowed) else np.inf
        if ratio > excess:
            where = names[k] + (f"[{', '.join(map(str, index))}]" if index else "")
            worst, excess = GradCheck(ratio <= 1, where, exact, found, error, estimate, len(components)), ratio
    return worst


def _difference(fun: Callable[[float], float], x: float) -> tuple[float, float]:
    """Derivative of a function of a number, and the error to expect.

    Extrapolation from one first step believes in what it sees, also where the function oscillates faster than that; so
    the next smaller first step has to confirm it.
    """
    runs = [_ridders(fun, x, first * max(abs(x), 0.1)) for first in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)]
    pairs = [
        (a, max(error, other, abs(a - b))) for (a, error), (b, other) in itertools.pairwise(runs) if np.isfinite(a - b)
    ]
    return min(pairs, key=lambda pair: pair[1], default=(np.nan, np.inf))


def _ridders(fun: Callable[[float], float], x: float, step: float) -> tuple[float, float]:
    """The same from one first step."""
    shrink, n_steps = 1.6, 6
    best, error = np.nan, np.inf
    before: list[float] = []
    for _ in range(n_steps + 3):  # first steps may leave the domain of fun
        row = [(fun(x + step) - fun(x - step)) / ((x + step) - (x - step))]
        if not np.isfinite(row[0]):
            step /= 10
            continue
        step /= shrink
        factor = 1.0
        for known in before:
            factor *= shrink * shrink
            row.append((factor * row[-1] - known) / (factor - 1))
            distance = max(abs(row[-1] - row[-2]), abs(row[-1] - known))
            if distance <= error:
                best, error = row[-1], distance
        if len(row) == n_steps or (before and abs(row[-1] - before[-1]) > 2 * error):  # rounding has taken over
            break
        before = row
    return best, error
