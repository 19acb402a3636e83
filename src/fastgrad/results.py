"""What a descent gives back: points, values, statuses and the history of one problem or of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from ._compiler.tree import map_leaves
from ._statuses import MESSAGES, SUCCESSES

QUANTITIES = ("fun", "gradient_norm", "step", "x")  # of a history


@dataclass(frozen=True)
class History:
    """What `minimize` recorded at iterations ``nit``.

    Of a batch each array but `nit` has a second axis, of B instances, and ``history[i]`` is that of one of them.

    Attributes
    ----------
    nit : (K,) ndarray of int
        Iteration numbers.
    fun : (K,) or (K, B) ndarray
        Values; NaN after an instance stopped, as everything here.
    gradient_norm : (K,) or (K, B) ndarray
        Largest absolute component of the gradient, within bounds of the projected one.
    step : (K,) or (K, B) ndarray
        Euclidean length of the step that led there.
    x : (K, n...) or (K, B, n...) ndarray, nested like x0, or None
        Points.
    """

    nit: np.ndarray
    fun: np.ndarray
    gradient_norm: np.ndarray
    step: np.ndarray
    x: Any = None

    def __getitem__(self, i: Any) -> History:
        def of_instance(a: np.ndarray) -> Any:
            return a[:, i]

        x = None if self.x is None else map_leaves(of_instance, self.x)
        return History(self.nit, self.fun[:, i], self.gradient_norm[:, i], self.step[:, i], x)


@dataclass(frozen=True)
class Result:
    """Outcome of `minimize`; for a batch each array has a leading axis of B instances, and ``res[i]`` is one of them.

    Attributes
    ----------
    x : ndarray or nested, like x0 with the batch axis first
        Final points; where the descent became non-finite, the best finite ones.
    fun, jac : ndarray
        Values and gradients at `x`.
    nit, nfev : int or (B,) ndarray
        Iterations, and evaluations that they took.
    status : int or (B,) ndarray
        0 converged (gtol), 1 out of iterations, 2 non-finite, 3 small change of the value (ftol), 4 small step (xtol),
        5 out of evaluations, 6 no progress possible, 7 stopped by the callback.
    history : History or None
        What `record` asked for.
    lane_occupancy : float
        Share of the lanes that held an instance at work, over the whole call: near 1 unless few instances are left.
    maximize : bool
        Whether large values are the good ones.
    """

    x: Any
    fun: Any
    jac: Any
    nit: Any
    nfev: Any
    status: Any
    history: History | None = None
    lane_occupancy: float = 1.0
    maximize: bool = False

    _of_all: ClassVar[tuple[str, ...]] = ("history", "lane_occupancy", "maximize")

    @property
    def is_batch(self) -> bool:
        """Whether there is an axis of instances."""
        return np.ndim(self.status) == 1

    @property
    def success(self) -> Any:
        """Whether the descent came to an end by one of its criteria, for each instance."""
        return np.isin(self.status, SUCCESSES) if self.is_batch else int(self.status) in SUCCESSES

    @property
    def message(self) -> str:
        """What happened, in words; counted over a batch."""
        if not self.is_batch:
            return MESSAGES[int(self.status)]
        codes, counts = np.unique(self.status, return_counts=True)
        return "; ".join(f"{n:,} {MESSAGES[code]}" for code, n in zip(codes.tolist(), counts.tolist(), strict=True))

    @property
    def best(self) -> Result:
        """The instance of least finite value (greatest, where it was maximised); of a single problem, itself."""
        if not self.is_batch:
            return self
        if not len(self):
            raise ValueError("there is no best of no instances")
        loss = -self.fun if self.maximize else self.fun
        return self[int(np.argmin(np.where(np.isfinite(loss), loss, np.inf)))]

    def __len__(self) -> int:
        if not self.is_batch:
            raise TypeError("the result of a single problem has no length")
        return len(self.status)

    def __getitem__(self, i: Any) -> Any:
        if not self.is_batch:
            raise TypeError("the result of a single problem has no instances: pass in_axes=0 to minimize a batch")
        own = {f.name: _part(getattr(self, f.name), i) for f in fields(self) if f.name not in self._of_all}
        return replace(self, **own, history=None if self.history is None else self.history[i])

    def __repr__(self) -> str:
        if self.is_batch:
            if not len(self):
                return "Result of no instances"
            best = self.best
            return f"Result of {len(self):,} instances: {self.message}\n  best: fun={best.fun} at x={best.x!r}"
        counts = f"fun={self.fun}, nit={self.nit}, nfev={self.nfev}"
        return f"Result: {self.message}\n  {counts}\n  x={self.x!r}\n  jac={self.jac!r}"


def _part(value: Any, i: Any) -> Any:
    def of_instance(a: np.ndarray) -> Any:
        return a[i]

    return None if value is None else map_leaves(of_instance, value)


def make_history(
    nit: np.ndarray, every: int, recorded: dict[str, np.ndarray], nested: Callable[[np.ndarray], Any]
) -> History:
    """A history of the rows that were reached, from arrays (rows, B, ...) by quantity; `nit` is the instances'."""
    rows = int(nit.max(initial=0)) // every + 1
    numbers = np.arange(rows) * every
    is_past = numbers[:, None] > nit
    kept = {name: array[:rows] for name, array in recorded.items()}
    for array in kept.values():
        array[is_past] = np.nan
    x = kept.pop("x", None)
    return History(numbers, **kept, x=None if x is None else nested(x))
