"""Descent by line searches: L-BFGS, and gradient descent with backtracking.

A step of a method is written once, in plain NumPy for one instance, and traced together with the function to minimise:
a state goes in, the state after one more evaluation and a stop flag come out. So nothing here branches on a value, and
a line search is a state machine. The same code serves every batch, dtype and number of threads.

A trial is the point ``x + trial * direction``, clipped to the bounds, so that many of them can become active at once.
Along this path values count as gains on its start in units of the slope there: it starts at 0 with slope -1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ._statuses import (
    CONVERGED,
    NO_PROGRESS,
    NON_FINITE,
    OUT_OF_EVALUATIONS,
    OUT_OF_ITERATIONS,
    SMALL_CHANGE,
    SMALL_STEP,
)

ROUNDING = 4  # values that differ by so many units of rounding count as equal
FLATTER = 0.9  # share of the slope at the start that may be left after a step
NARROW = 0.1  # width of an interval in units of its end, below which a search has found its minimum
CURVED = 0.1  # share of a pair's curvature that the free variables must have for it to serve them


class Limits(NamedTuple):
    """When to stop; -1 switches a criterion off."""

    maxiter: Any
    maxfev: Any
    gtol: Any
    ftol: Any
    xtol: Any


class Bounds(NamedTuple):
    """Of each variable, or of its next step; what is fixed has equal bounds."""

    lower: Any
    upper: Any

    def clip(self, values: Any) -> Any:
        return np.minimum(np.maximum(values, self.lower), self.upper)


class State(NamedTuple):
    """Of a descent by searches; all zero at first but `x`. What comes after `scale` is used by L-BFGS only."""

    x: Any  # accepted last, with the value and the gradient there
    fun: Any
    jac: Any
    nit: Any
    nfev: Any
    optimality: Any  # largest component of the gradient, of the projected one where there are bounds
    step: Any  # length of the last accepted step
    direction: Any
    slope: Any  # along the direction, at x
    trial: Any  # share of the direction that is evaluated next
    tries: Any  # trials of this search so far
    scale: Any  # of the gradient, to make a step of it
    best: Any = None  # the lowest trial of this search, its gain and its slope
    best_gain: Any = None
    best_slope: Any = None
    other: Any = None  # the other end of the interval that holds a minimum, once it is bracketed
    other_gain: Any = None
    other_slope: Any = None
    bracketed: Any = None
    width: Any = None  # of the interval, after the last trial and after the one before
    width_before: Any = None
    moves: Any = None  # the memory, its newest pair first; inverses of move @ change, 0 where there is no pair yet
    changes: Any = None
    inverses: Any = None


class Trial(NamedTuple):
    """What was found at a trial; gain and slope are inf and 0 where one of them is not finite."""

    gain: Any
    slope: Any
    promised: Any  # minus the gain that the slope at the start promises
    is_equal: Any  # gain or loss are lost in rounding, but the path has become flatter (Hager & Zhang 2005)


class Search(NamedTuple):
    """What a line search makes of a trial."""

    is_met: Any  # its conditions hold
    is_over: Any  # no better trial will come: take this one if it is lower than the start
    is_lost: Any  # nothing lower was found
    trial: Any  # the next one
    fields: dict[str, Any]  # of the state, as they are within a search
    starts: dict[str, float]  # of these fields, where a new search begins


class Step(NamedTuple):
    """From one accepted point to a trial, and what is known at the point where the descent goes on."""

    is_step: Any  # the trial is accepted
    is_retried: Any  # the search found none, and starts again without the memory
    move: Any
    change: Any  # of the gradient
    down: Any  # minus the gradient, projected where there are bounds
    optimality: Any


Evaluate = Callable[[Any], tuple[Any, Any]]


class _Descent:
    """What the methods share: evaluate a trial, decide, set out along a new path."""

    def shapes(self, n: int) -> dict[str, tuple[int, ...]]:
        """Shapes of those fields of the state that the method uses."""
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(State._fields[: State._fields.index("best")], ())
        return shapes | dict.fromkeys(("x", "jac", "direction"), (n,))

    def advance(
        self, state: State, evaluate: Evaluate, limits: Limits, bounds: Bounds | None = None
    ) -> tuple[State, Any]:
        """The state after one more evaluation, and 0 or 1 + the status with which the descent ends there."""
        point = ahead = state.x + state.trial * state.direction
        path = state.direction
        if bounds is not None:
            point = bounds.clip(ahead)
            path = np.where(point == ahead, path, 0.0)
        value, gradient = evaluate(point)
        nfev = state.nfev + 1.0
        is_first = state.nfev == 0.0
        is_last = nfev == limits.maxfev
        move = point - state.x

        # no slope is finite where a component of the gradient is not; the first call, without a path, divides by zero
        drop = -state.slope
        slope = gradient @ path
        gain, steepness = (value - state.fun) / drop, slope / drop
        is_finite = np.isfinite(gain + steepness)
        gain, steepness = np.where(is_finite, gain, np.inf), np.where(is_finite, steepness, 0.0)
        rounding = ROUNDING * np.finfo(state.x.dtype).eps * np.abs(state.fun) / drop
        is_flatter = np.abs(steepness) <= FLATTER
        promised = state.trial if bounds is None else (state.jac @ move) / state.slope
        search = self._search(state, Trial(gain, steepness, promised, is_flatter & (gain <= rounding)))
        is_step = search.is_met | ((search.is_over | is_last) & (gain < 0.0))
        is_taken = is_step | is_first
        is_stuck = (search.is_over | search.is_lost) & np.logical_not(is_taken)

        x = np.where(is_taken, point, state.x)
        fun = np.where(is_taken, value, state.fun)
        jac = np.where(is_taken, gradient, state.jac)
        room = None if bounds is None else Bounds(bounds.lower - x, bounds.upper - x)
        down = -jac if room is None else room.clip(-jac)
        optimality = np.max(np.abs(down), initial=0.0)
        is_retried = np.logical_and(is_stuck, self._recalls(state))
        step = Step(is_step, is_retried, move, gradient - state.jac, down, optimality)
        scale, memory = self._learn(state, step)

        steepest, is_free = -(scale * jac), None
        if room is not None:
            inside = room.clip(steepest)
            is_free = inside == steepest
            steepest = inside
        direction = whole = self._bend(memory, scale, -jac, is_free, steepest)
        if room is not None:
            whole = room.clip(direction)
            direction = np.where(whole == 0.0, 0.0, direction)
        new_slope = jac @ direction
        if direction is not steepest:
            is_descent = np.isfinite(new_slope) & (new_slope < 0.0) & (jac @ whole < 0.0)
            direction = np.where(is_descent, direction, steepest)
            new_slope = np.where(is_descent, new_slope, jac @ steepest)

        is_new = is_taken | is_retried
        nit = state.nit + is_step
        length = np.sqrt(move @ move)
        largest = np.maximum(np.maximum(np.abs(value), np.abs(state.fun)), 1.0)
        stop = state.x.dtype.type(0.0)
        for condition, status in (  # the last that holds counts
            (is_stuck & np.logical_not(is_retried), NO_PROGRESS),
            (is_last, OUT_OF_EVALUATIONS),
            (nit == limits.maxiter, OUT_OF_ITERATIONS),
            (is_step & (length <= limits.xtol * (np.abs(limits.xtol) + np.sqrt(x @ x))), SMALL_STEP),
            (is_step & (state.fun - value <= limits.ftol * largest), SMALL_CHANGE),
            (optimality <= np.maximum(limits.gtol, 0.0), CONVERGED),
            (is_first & np.logical_not(np.isfinite(value + slope)), NON_FINITE),
        ):
            stop = np.where(condition, 1.0 + status, stop)
        starts = {
            name: np.where(is_new, state.x.dtype.type(start), search.fields[name])
            for name, start in search.starts.items()
        }
        after = state._replace(
            x=x,
            fun=fun,
            jac=jac,
            nit=nit,
            nfev=nfev,
            optimality=optimality,
            step=np.where(is_step, length, state.step),
            direction=np.where(is_new, direction, state.direction),
            slope=np.where(is_new, new_slope, state.slope),
            trial=np.where(is_new, 1.0, search.trial),
            tries=np.where(is_new, 0.0, state.tries + 1.0),
            scale=scale,
            **(search.fields | starts | memory),
        )
        return after, stop

    # what a method says of itself

    def _recalls(self, state: State) -> Any:
        """Whether there is a memory, without which a stuck search may get on."""
        return False

    def _search(self, state: State, found: Trial) -> Search:
        """Judge a trial, and choose the next one."""
        raise NotImplementedError

    def _learn(self, state: State, step: Step) -> tuple[Any, dict[str, Any]]:
        """The scale of the gradient, and the memory."""
        raise NotImplementedError

    def _bend(self, memory: dict[str, Any], scale: Any, down: Any, is_free: Any, steepest: Any) -> Any:
        """The direction, made of the steepest one; what is not free (None: all is) goes along that."""
        return steepest


@dataclass(frozen=True)
class LBFGS(_Descent):
    """Limited-memory BFGS (Liu & Nocedal 1989) with the line search of Moré & Thuente (1994).

    Bounds are kept as by projected quasi-Newton methods (Bertsekas 1982): variables that the gradient's step would
    take to a bound go there, the others follow the quasi-Newton step, and the search goes along the projected path.

    Parameters
    ----------
    memory : int
        How many pairs of steps and gradient changes are remembered (SciPy's ``maxcor``).
    c1 : float
        Share of the decrease that the slope promises which a step must bring.
    c2 : float
        Share of the slope at the start that a step may leave; between `c1` and 1.
    maxls : int
        Most trials of one search.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum((x - 3) ** 4), [0.0], method=fg.LBFGS(memory=5)).success
    True
    """

    memory: int = 10
    c1: float = 1e-3
    c2: float = 0.9
    maxls: int = 20

    def __post_init__(self) -> None:
        _check_count("memory", self.memory)
        _check_count("maxls", self.maxls)
        _check_share("c1", self.c1, 0.0, self.c2)
        _check_share("c2", self.c2, self.c1, 1.0)

    def shapes(self, n: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the fields of the state."""
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(State._fields, ())
        pairs = {"moves": (self.memory, n), "changes": (self.memory, n), "inverses": (self.memory,)}
        return shapes | super().shapes(n) | pairs

    def _recalls(self, state: State) -> Any:
        return state.inverses[0]

    def _search(self, state: State, found: Trial) -> Search:
        """As dcsrch and dcstep of MINPACK-2, but for the function modified by c1, which c1 is too small to need."""
        gain, slope, trial = found.gain, found.slope, state.trial
        best, bracketed = state.best, state.bracketed
        is_higher = gain > state.best_gain
        is_across = np.logical_not(is_higher) & (slope * state.best_slope < 0.0)
        is_onward = np.logical_not(is_higher | is_across)
        is_flatter = np.abs(slope) < np.abs(state.best_slope)
        is_steep = is_onward & np.logical_not(is_flatter)

        # the minima of a cubic and of a parabola, measured from the trial
        back = best - trial
        span = state.other - trial
        cubic_end = np.where(is_steep, span, back)
        end_slope = np.where(is_steep, state.other_slope, state.best_slope)
        chord = (np.where(is_steep, state.other_gain, state.best_gain) - gain) / cubic_end
        bend = slope + end_slope - 3.0 * chord
        root = np.copysign(np.sqrt(np.maximum(bend * bend - slope * end_slope, 0.0)), cubic_end)
        share = (root - slope + bend) / (2.0 * root - slope + end_slope)
        reach = np.where(bracketed, span, -4.0 * back)  # how far it may go on
        has_no_minimum = np.logical_not((share < 0.0) & (root != 0.0))
        goes_far = is_onward & np.where(is_flatter, has_no_minimum, np.logical_not(bracketed))
        cubic = np.where(goes_far, reach, share * cubic_end)
        halved = 1.0 - 0.5 * state.best_slope / (state.best_slope - chord)
        parabola = back * np.where(is_higher, halved, slope / (slope - state.best_slope))

        is_cautious = np.logical_and(bracketed, is_onward)
        takes_cubic = is_steep | ((np.abs(cubic) > np.abs(parabola)) != is_cautious)
        step = np.where(takes_cubic, cubic, np.where(is_higher, 0.5 * (cubic + parabola), parabola))
        least = np.where(np.logical_or(bracketed, best == 0.0), 0.0, 1.1 * np.abs(back))
        most = np.abs(np.where(np.logical_and(bracketed, is_flatter), 0.66 * reach, reach))
        onward = np.copysign(np.minimum(np.maximum(np.abs(step), least), most), reach)
        new_trial = trial + np.where(is_onward, onward, step)

        # the interval, whose other end is also a trial that is not finite
        other = np.where(is_higher, trial, np.where(is_across, best, state.other))
        other_gain = np.where(is_higher, gain, np.where(is_across, state.best_gain, state.other_gain))
        other_slope = np.where(is_higher, slope, np.where(is_across, state.best_slope, state.other_slope))
        best = np.where(is_higher, best, trial)
        now_bracketed = np.logical_or(bracketed, np.logical_not(is_onward))
        width = np.abs(other - best)
        is_slow = np.logical_and(bracketed, width >= 0.66 * state.width_before)
        new_trial = np.where(is_slow | np.logical_not(np.isfinite(new_trial)), 0.5 * (best + other), new_trial)
        low, high = np.minimum(best, other), np.maximum(best, other)
        is_narrow = now_bracketed & ((new_trial <= low) | (new_trial >= high) | (width <= NARROW * high))
        new_trial = np.where(is_narrow | (state.tries + 1.0 >= self.maxls), best, new_trial)

        return Search(
            is_met=((gain <= -self.c1 * found.promised) & (np.abs(slope) <= self.c2)) | found.is_equal,
            is_over=trial == state.best,
            is_lost=new_trial <= 0.0,
            trial=new_trial,
            fields={
                "best": best,
                "best_gain": np.where(is_higher, state.best_gain, gain),
                "best_slope": np.where(is_higher, state.best_slope, slope),
                "other": other,
                "other_gain": other_gain,
                "other_slope": other_slope,
                "bracketed": now_bracketed,
                "width": width,
                "width_before": np.where(bracketed, state.width, np.inf),
            },
            starts={"best": 0.0, "best_gain": 0.0, "best_slope": -1.0, "bracketed": 0.0},
        )

    def _learn(self, state: State, step: Step) -> tuple[Any, dict[str, Any]]:
        """Remember a pair whose curvature is not lost in rounding; before the first, a step has length 1 at most."""
        curvature = step.move @ step.change
        inverse = 1.0 / curvature
        scale = curvature / (step.change @ step.change)
        least = np.finfo(state.x.dtype).eps * np.abs(state.trial * state.slope)
        is_kept = step.is_step & (curvature > least) & np.isfinite(inverse + scale) & (scale > 0.0)

        def remembered(newest: Any, others: Any) -> Any:
            first, later = np.where(is_kept, newest, others[0]), np.where(is_kept, others[:-1], others[1:])
            return np.concatenate([first[None], later])

        inverses = np.where(step.is_retried, 0.0, remembered(inverse, state.inverses))
        unit = step.down / step.optimality
        first_scale = np.minimum(1.0, 1.0 / (step.optimality * np.sqrt(unit @ unit)))
        scale = np.where(inverses[0] > 0.0, np.where(is_kept, scale, state.scale), first_scale)
        moves, changes = remembered(step.move, state.moves), remembered(step.change, state.changes)
        return scale, {"moves": moves, "changes": changes, "inverses": inverses}

    def _bend(self, memory: dict[str, Any], scale: Any, down: Any, is_free: Any, steepest: Any) -> Any:
        """The two loops of Nocedal (1980), over the free variables alone."""
        moves, changes, inverses = memory["moves"], memory["changes"], memory["inverses"]
        q = down
        if is_free is not None:
            q = np.where(is_free, q, 0.0)
            moves, changes = moves * is_free, changes * is_free
            shares = inverses * np.sum(moves * changes, axis=1)
            inverses = np.where(shares > CURVED, inverses / shares, 0.0)
        weights = []
        for i in range(self.memory):
            weights.append(inverses[i] * (moves[i] @ q))
            q = q - weights[i] * changes[i]
        q = scale * q
        for i in reversed(range(self.memory)):
            q = q + (weights[i] - inverses[i] * (changes[i] @ q)) * moves[i]
        return q if is_free is None else np.where(is_free, q, steepest)


@dataclass(frozen=True)
class Backtracking(_Descent):
    """Gradient descent with backtracking (Armijo 1966), from the shorter step of Barzilai & Borwein (1988).

    An iteration first tries ``s @ y / y @ y``, with the last move s and the gradient's change y, or twice the last step
    where that is not positive. Within bounds the path is projected (Birgin, Martínez & Raydan 2000).

    Parameters
    ----------
    learning_rate : float
        Step size that is tried first of all.
    c1 : float
        Share of the decrease that the slope promises which a step must bring.
    shrink : float
        Factor of the step after a trial that does not.
    maxls : int
        Most trials of one search.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.Backtracking(learning_rate=0.1)).success
    True
    """

    learning_rate: float = 1.0
    c1: float = 1e-4
    shrink: float = 0.5
    maxls: int = 60

    def __post_init__(self) -> None:
        if not 0.0 < self.learning_rate < np.inf:
            raise ValueError(f"learning_rate must be positive and finite, got {self.learning_rate}")
        _check_share("c1", self.c1, 0.0, 1.0)
        _check_share("shrink", self.shrink, 0.0, 1.0)
        _check_count("maxls", self.maxls)

    def _search(self, state: State, found: Trial) -> Search:
        return Search(
            is_met=(found.gain <= -self.c1 * found.promised) | found.is_equal,
            is_over=False,
            is_lost=state.tries + 1.0 >= self.maxls,
            trial=self.shrink * state.trial,
            fields={},
            starts={},
        )

    def _learn(self, state: State, step: Step) -> tuple[Any, dict[str, Any]]:
        curvature = step.move @ step.change
        scale = np.where(curvature > 0.0, curvature / (step.change @ step.change), np.inf)
        scale = np.where(np.isfinite(scale), scale, 2.0 * state.trial * state.scale)
        scale = np.where(step.is_step, scale, np.where(state.nfev == 0.0, self.learning_rate, state.scale))
        return scale, {}


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def _check_share(name: str, value: float, lower: float, upper: float) -> None:
    if not lower < value < upper:
        raise ValueError(f"{name} must lie between {lower:g} and {upper:g}, got {value!r}")
