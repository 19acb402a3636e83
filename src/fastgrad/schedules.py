"""Learning rates that change from iteration to iteration.

A schedule is a peak, one number or one for each instance of a batch, times a factor that depends on the instance's own
iteration t = 0, 1, 2, ...; `schedule(t)` is the rate, for an array of iterations too. Any function of t that returns a
number will do as well where a method takes a learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import as_floats, is_integer

__all__ = ["Schedule", "constant", "cosine", "exponential", "one_cycle", "step", "warmup"]

MOST_FACTORS = 10_000_000  # 80 MB


class Schedule:
    """A learning rate by iteration: ``schedule(t)`` is ``schedule.peak * schedule.factor(t)``."""

    if TYPE_CHECKING:

        @property
        def peak(self) -> Any:
            """The rate that the factors multiply, one for all instances or one each."""

    def factor(self, t: Any) -> np.ndarray:
        """The factor at iteration `t`, or at each of an array of iterations."""
        raise NotImplementedError

    @property
    def length(self) -> int | None:
        """The iteration from which on the factor stays the same; None when it never does."""
        return None

    def __call__(self, t: Any) -> Any:
        factor, peak = self.factor(np.asarray(t, np.float64)), np.asarray(self.peak, np.float64)
        rate = np.multiply.outer(factor, peak)
        return rate if rate.ndim else float(rate)


# The classes below are used like functions, and named like them.


@dataclass(frozen=True)
class constant(Schedule):  # noqa: N801
    """The same rate at every iteration.

    Parameters
    ----------
    peak : float or (B,) array_like
        The learning rate.

    Examples
    --------
    >>> import fastgrad as fg
    >>> fg.schedules.constant(0.1)(1000)
    0.1
    """

    peak: Any

    def factor(self, t: Any) -> np.ndarray:
        """One."""
        return np.ones(np.shape(t))

    @property
    def length(self) -> int:
        """No iteration differs from the first."""
        return 0


@dataclass(frozen=True)
class exponential(Schedule):  # noqa: N801
    """``peak * decay**t``, torch's ExponentialLR.

    Parameters
    ----------
    peak : float or (B,) array_like
        Rate of the first iteration.
    decay : float
        Factor from an iteration to the next, greater than 0 and at most 1.

    Examples
    --------
    >>> import fastgrad as fg
    >>> fg.schedules.exponential(1.0, decay=0.5)([0, 1, 2])
    array([1.  , 0.5 , 0.25])
    """

    peak: Any
    decay: float

    def __post_init__(self) -> None:
        _check_share("decay", self.decay)

    def factor(self, t: Any) -> np.ndarray:
        """The decay to the power of `t`."""
        return np.power(self.decay, np.asarray(t, np.float64))


@dataclass(frozen=True)
class step(Schedule):  # noqa: N801
    """Lowers the rate by a factor every so many iterations, torch's StepLR.

    Parameters
    ----------
    peak : float or (B,) array_like
        Rate of the first iterations.
    every : int
        Iterations between two changes.
    decay : float
        Factor of a change, greater than 0 and at most 1.

    Examples
    --------
    >>> import fastgrad as fg
    >>> fg.schedules.step(1.0, every=2, decay=0.5)([0, 1, 2, 3, 4])
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """

    peak: Any
    every: int
    decay: float = 0.1

    def __post_init__(self) -> None:
        _check_count("every", self.every)
        _check_share("decay", self.decay)

    def factor(self, t: Any) -> np.ndarray:
        """The decay to the power of the changes so far."""
        return np.power(self.decay, np.asarray(t, np.float64) // self.every)


@dataclass(frozen=True)
class cosine(Schedule):  # noqa: N801
    """Falls along half a cosine to its end, and stays there (Loshchilov & Hutter 2017, without restarts).

    Parameters
    ----------
    peak : float or (B,) array_like
        Rate of the first iteration.
    n_steps : int
        Iterations until the end.
    end : float
        The last rate as a share of the peak, from 0 to 1.

    Examples
    --------
    >>> import fastgrad as fg
    >>> fg.schedules.cosine(1.0, 4)([0, 2, 4, 100]).round(6)
    array([1. , 0.5, 0. , 0. ])
    """

    peak: Any
    n_steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_count("n_steps", self.n_steps)
        if not 0 <= self.end <= 1:
            raise ValueError(f"end must be a share of the peak from 0 to 1, got {self.end}")

    def factor(self, t: Any) -> np.ndarray:
        """From 1 to `end`."""
        return _along_cosine(1.0, self.end, np.minimum(t, self.n_steps) / self.n_steps)

    @property
    def length(self) -> int:
        """Where it ends."""
        return self.n_steps


@dataclass(frozen=True)
class warmup(Schedule):  # noqa: N801
    """Rises linearly to its peak, then does as another schedule: torch's LinearLR followed by that one.

    Parameters
    ----------
    schedule : float, (B,) array_like or Schedule
        The rate afterwards; its first value is the peak.
    n_steps : int
        Iterations of the rise; the schedule's own iteration 0 follows them.
    start : float
        The first rate as a share of the peak, greater than 0 and at most 1.

    Examples
    --------
    >>> import fastgrad as fg
    >>> rate = fg.schedules.warmup(fg.schedules.step(1.0, every=1, decay=0.5), 2, start=0.5)
    >>> rate([0, 1, 2, 3])
    array([0.5 , 0.75, 1.  , 0.5 ])
    """

    schedule: Any
    n_steps: int
    start: float = 1 / 3

    def __post_init__(self) -> None:
        _check_count("n_steps", self.n_steps)
        _check_share("start", self.start)

    @property
    def _after(self) -> Schedule:
        return self.schedule if isinstance(self.schedule, Schedule) else constant(self.schedule)

    @property
    def peak(self) -> Any:
        """That of the schedule afterwards."""
        return self._after.peak

    def factor(self, t: Any) -> np.ndarray:
        """From `start` to 1, times that of the schedule afterwards."""
        t = np.asarray(t, np.float64)
        rise = (self.start + (1 - self.start) * (np.minimum(t, self.n_steps) / self.n_steps)) * self._after.factor(0)
        return np.where(t < self.n_steps, rise, self._after.factor(np.maximum(t - self.n_steps, 0)))

    @property
    def length(self) -> int | None:
        """Where the schedule afterwards ends."""
        after = self._after.length
        return None if after is None else self.n_steps + after


@dataclass(frozen=True)
class one_cycle(Schedule):  # noqa: N801
    """Up to the peak and down again along cosines (Smith & Topin 2018), torch's OneCycleLR.

    Parameters
    ----------
    peak : float or (B,) array_like
        The largest rate.
    n_steps : int
        Iterations of the cycle, at least 2; the last rate stays.
    rise : float
        Share of the iterations in which the rate rises, greater than 0 and less than 1.
    start, end : float
        The first and the last rate as shares of the peak.

    Examples
    --------
    >>> import fastgrad as fg
    >>> fg.schedules.one_cycle(1.0, 11, rise=0.5, start=0.5, end=0.0)([0, 10])
    array([0.5, 0. ])
    """

    peak: Any
    n_steps: int
    rise: float = 0.3
    start: float = 1 / 25
    end: float = 1 / 25 / 1e4

    def __post_init__(self) -> None:
        _check_count("n_steps", self.n_steps)
        if not 0 < self.rise < 1 or not 1 < self.rise * self.n_steps < self.n_steps:
            raise ValueError(
                f"rise must be a share of n_steps greater than 0 and less than 1, and of more than one iteration,"
                f" got {self.rise} of {self.n_steps}"
            )
        for name in ("start", "end"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share of the peak from 0 to 1, got {getattr(self, name)}")

    def factor(self, t: Any) -> np.ndarray:
        """From `start` to 1 and on to `end`."""
        t = np.asarray(t, np.float64)
        top, last = self.rise * self.n_steps - 1, self.n_steps - 1
        down = _along_cosine(1.0, self.end, (np.clip(t, top, last) - top) / (last - top))
        return np.where(t <= top, _along_cosine(self.start, 1.0, np.minimum(t, top) / top), down)

    @property
    def length(self) -> int:
        """The last iteration of the cycle."""
        return self.n_steps - 1


def _along_cosine(first: float, last: float, share: Any) -> np.ndarray:
    return np.asarray(last + (first - last) / 2 * (np.cos(math.pi * share) + 1))


def _check_count(name: str, value: Any) -> None:
    if not is_integer(value) or not 0 < value <= MOST_FACTORS:
        raise ValueError(f"{name} must be a number of iterations from 1 to {MOST_FACTORS:,}, got {value!r}")


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f"{name} must be greater than 0 and at most 1, got {value}")


# ---- for the C core


def split(learning_rate: Any, maxiter: int) -> tuple[Any, np.ndarray | None]:
    """The rate and the factors by iteration, the last of which holds; no factors for a rate that is not a schedule."""
    if not callable(learning_rate):
        return learning_rate, None
    if isinstance(learning_rate, Schedule):
        length = learning_rate.length
        n = _table_length(maxiter if length is None else min(length, maxiter))
        return learning_rate.peak, np.atleast_1d(np.asarray(learning_rate.factor(np.arange(n)), np.float64))
    return 1.0, _of_function(learning_rate, _table_length(maxiter))


def _table_length(last: int) -> int:
    if last >= MOST_FACTORS:
        raise ValueError(
            f"a learning rate that never stays the same serves fewer than {MOST_FACTORS:,} iterations, got {last:,}"
        )
    return last + 1


def _of_function(rate: Callable[[int], Any], n: int) -> np.ndarray:
    """The rates that a user's function gives."""
    rates = np.empty(n)
    for t in range(n):
        value = as_floats(rate(t), f"learning_rate({t})")
        if value.size != 1 or not np.isfinite(value).all() or value.ravel()[0] < 0:
            raise ValueError(
                f"learning_rate({t}) is {value.tolist()!r}: a function of the iteration must return one finite number"
                " that is not negative; for rates that differ by instance use fg.schedules with an array as peak"
            )
        rates[t] = value.ravel()[0]
    return rates
