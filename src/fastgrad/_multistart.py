"""Descent from many starts spread over a box, and the distinct minima that they reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import as_floats
from ._compiler import tree
from ._statuses import NO_PROGRESS
from .descent import at_least, minimize, number
from .problem import Bounds, flatten, leaves_like
from .results import Result


@dataclass(frozen=True)
class Minima:
    """What `multistart` found: distinct minima, the lowest first (maxima, the highest first, where it maximised).

    Attributes
    ----------
    x : (K, n...) ndarray, or nested like the bounds
        Points.
    fun : (K,) ndarray
        Values.
    basin_sizes : (K,) ndarray of int
        Starts that led to each.
    basin : (n_starts,) ndarray of int
        Which of the minima each start led to; -1 where its descent did not end at one.
    result : Result
        Every descent, in the order of the starts.
    """

    x: Any
    fun: np.ndarray
    basin_sizes: np.ndarray
    basin: np.ndarray
    result: Result

    @property
    def best(self) -> Result:
        """The descent that ended lowest."""
        return self.result.best

    def __len__(self) -> int:
        return len(self.fun)

    def __repr__(self) -> str:
        rows = [
            f"  fun={fun:.10g} from {size:,} starts at x={tree.map_leaves(lambda a, i=i: a[i], self.x)!r}"
            for i, (fun, size) in enumerate(zip(self.fun[:5], self.basin_sizes[:5], strict=True))
        ]
        more = [f"  and {len(self) - 5:,} more"] if len(self) > 5 else []
        what = "maxima" if self.result.maximize else "minima"
        return "\n".join([f"{len(self):,} {what} from {len(self.basin):,} starts", *rows, *more])


def multistart(
    fun: Callable[..., Any],
    bounds: Any,
    n_starts: int = 100,
    args: Sequence[Any] = (),
    method: Any = "lbfgs",
    *,
    rng: Any = None,
    sampling: str = "latin hypercube",
    tolerance: float = 1e-4,
    **settings: Any,
) -> Minima:
    """Minimise from many starts in a box, and tell the distinct minima apart.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` as for `fastgrad.minimize`.
    bounds : sequence of (least, greatest), fg.Bounds or scipy.optimize.Bounds
        The box, finite. Nested bounds make a nested x.
    n_starts : int, optional
        How many starts.
    args : sequence, optional
        Further arguments, shared by all starts.
    method : str or object, optional
        As for `fastgrad.minimize`; L-BFGS by default.
    rng : None, int or numpy.random.Generator, optional
        Where randomness comes from; the same integer gives the same result.
    sampling : {"latin hypercube", "sobol"}, optional
        How starts are spread (McKay, Beckman & Conover 1979; Sobol 1967, scrambled, which needs SciPy).
    tolerance : float, optional
        Ends that differ by no more than this share of the box in every component are one minimum.
    **settings
        Of `fastgrad.minimize`.

    Returns
    -------
    Minima
        Points, values and basins.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> def himmelblau(x):
    ...     return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2
    >>> found = fg.multistart(himmelblau, [(-5, 5), (-5, 5)], 200, rng=0)
    >>> len(found), bool(found.basin_sizes.sum() == 200)
    (4, True)
    """
    n_starts = at_least("n_starts", n_starts, 1)
    tolerance = number("tolerance", tolerance)
    if tolerance < 0:
        raise ValueError(f"tolerance must not be negative, got {tolerance}")
    lower, upper, structure, shapes = _box(bounds)
    unit = _spread(len(lower), n_starts, sampling, np.random.default_rng(rng))
    points = lower + unit * (upper - lower)
    points = np.clip(points, lower, upper)  # also after rounding
    ends = np.cumsum([size for _, size in shapes])[:-1]
    leaves = [
        part.reshape(n_starts, *shape) for part, (shape, _) in zip(np.split(points, ends, axis=1), shapes, strict=True)
    ]
    x0 = tree.unflatten(structure, leaves)
    result = minimize(fun, x0, args, method, in_axes=0, bounds=bounds, **settings)
    found = [np.asarray(leaf).reshape(n_starts, -1) for leaf in tree.flatten(result.x)[0]]
    basin, representatives = _basins(np.concatenate(found, axis=1), result, lower, upper, tolerance)
    x = tree.map_leaves(lambda a: a[representatives], result.x)
    sizes = np.bincount(basin[basin >= 0], minlength=len(representatives))
    return Minima(x, result.fun[representatives], sizes, basin, result)


def _box(bounds: Any) -> tuple[np.ndarray, np.ndarray, tree.Structure, list[tuple[tuple[int, ...], int]]]:
    """Lower and upper bounds as vectors, and how x is nested."""
    if not (hasattr(bounds, "lb") and hasattr(bounds, "ub")):
        try:
            pairs = [(math.nan if low is None else low, math.nan if high is None else high) for low, high in bounds]
        except (TypeError, ValueError):
            raise TypeError(
                "bounds must be fg.Bounds(lb, ub), or a pair (least, greatest) for each component of x"
            ) from None
        bounds = Bounds(*as_floats(pairs, "bounds").reshape(-1, 2).T)
    lb, ub = _with_arrays(bounds.lb), _with_arrays(bounds.ub)
    structure = max(tree.flatten(lb)[1], tree.flatten(ub)[1], key=lambda found: found != tree.LEAF)
    lows, names = leaves_like(structure, lb, "bounds.lb")
    highs, _ = leaves_like(structure, ub, "bounds.ub")
    both = [
        np.broadcast_arrays(as_floats(low, name), as_floats(high, name))
        for low, high, name in zip(lows, highs, names, strict=True)
    ]
    lower = np.concatenate([low.ravel() for low, _ in both])
    upper = np.concatenate([high.ravel() for _, high in both])
    if not lower.size:
        raise ValueError("bounds are empty\n  cure: a pair (least, greatest) for each component of x")
    if not np.all(np.isfinite(lower) & np.isfinite(upper) & (lower <= upper)):
        raise ValueError("bounds must be finite, the lower ones below the upper ones, for starts to be spread between")
    return lower, upper, structure, [(pair[0].shape, pair[0].size) for pair in both]


def _with_arrays(value: Any) -> Any:
    """With lists of numbers as arrays."""
    if isinstance(value, dict):
        return {key: _with_arrays(item) for key, item in value.items()}
    if not isinstance(value, (list, tuple)) or flatten(value)[1] == tree.LEAF:
        return np.asarray(value)
    items = map(_with_arrays, value)
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def _spread(n: int, n_starts: int, sampling: str, rng: np.random.Generator) -> np.ndarray:
    """Points of the unit cube, (n_starts, n)."""
    if sampling == "latin hypercube":  # each of n_starts slices of each axis holds one point
        slices = np.stack([rng.permutation(n_starts) for _ in range(n)], axis=1)
        return (slices + rng.random((n_starts, n))) / n_starts
    if sampling != "sobol":
        raise ValueError(f"sampling must be 'latin hypercube' or 'sobol', got {sampling!r}")
    try:
        from scipy.stats import qmc
    except ImportError:
        raise ImportError("sampling='sobol' needs SciPy\n  cure: pip install scipy, or the latin hypercube") from None
    sampler = qmc.Sobol(n, rng=rng)
    return sampler.random_base2((n_starts - 1).bit_length())[:n_starts]


def _basins(
    x: np.ndarray, result: Result, lower: np.ndarray, upper: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which minimum each descent ended at, the best being 0, or -1; and a descent that stands for each.

    The best end that belongs to none stands for a new one, with all ends near it. They are looked for where a mixture
    of the components, by which the ends are sorted, is near: so a valley of a thousand minima takes no longer.
    """
    loss = -result.fun if result.maximize else result.fun
    ended = np.isfinite(loss) & (result.success | (result.status == NO_PROGRESS))
    width = np.where(upper > lower, upper - lower, 1.0)
    shares = (x - lower) / width
    factors = np.sqrt(np.arange(2.0, x.shape[1] + 2))  # of which no small whole multiples add up to the same
    mixture = np.where(ended, shares @ factors, np.nan)
    order = np.argsort(mixture)  # NaN last
    ordered = mixture[order]
    reach = tolerance * factors.sum() * (1 + 1e-9) + 1e-12 * factors.sum()
    firsts = np.searchsorted(ordered, mixture - reach, "left")
    lasts = np.searchsorted(ordered, mixture + reach, "right")
    basin = np.full(len(x), -1)
    representatives: list[int] = []
    for i in np.flatnonzero(ended)[np.argsort(loss[ended], kind="stable")].tolist():
        if basin[i] >= 0:
            continue
        around = order[firsts[i] : lasts[i]]
        around = around[basin[around] < 0]
        is_near = np.all(np.abs(x[around] - x[i]) <= (upper - lower) * tolerance, axis=1)
        basin[around[is_near]] = basin[i] = len(representatives)
        representatives.append(i)
    return basin, np.array(representatives, int)
