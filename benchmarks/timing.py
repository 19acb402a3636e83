"""Times the sides of a case in turn (A B C, B C A, ...), after checking that their results agree."""

import statistics
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Results = Sequence[Any]
SETTLE = 0.2  # seconds: idle threads of BLAS and OpenMP keep their processors busy for a while


@dataclass(frozen=True)
class Side:
    """One library's way to do the work of a case.

    `run` does the work once, waits for it and returns its results (arrays, or what NumPy converts). They are
    compared with fastgrad's one by one. A side that does only the first of many instances returns only those;
    one that has nothing to compare returns (). `units` is how many rows, instances or steps one run does.
    With a `setup` a sample is one run, after the setup, which is not timed. `note` is printed beside the
    name: which of a peer's forms it is, or that it does less.
    """

    run: Callable[[], Results]
    units: float = 1
    setup: Callable[[], object] | None = None
    note: str = ""


@dataclass(frozen=True)
class Case:
    """The same work on several sides, built when the case is reached; the side "fastgrad" is the reference.

    `unit` starts with ns, us or ms. `targets` are ratios to reach, by side. `limit` is the most that fastgrad
    may take, in seconds a unit.
    """

    name: str
    unit: str
    sides: Mapping[str, Callable[[], Side]]
    targets: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    rtol: float = 1e-9
    atol: float = 1e-9


@dataclass(frozen=True)
class Outcome:
    """What measuring a case gave: for every side its note and its seconds a unit, one sample a round.

    `errors` are the largest differences from fastgrad's results, in tolerances.
    """

    case: Case
    samples: Mapping[str, Sequence[float]]
    notes: Mapping[str, str]
    errors: Mapping[str, float]

    @property
    def disagreeing(self) -> dict[str, float]:
        return {name: error for name, error in self.errors.items() if not error <= 1}

    def time(self, name: str) -> float:
        return statistics.median(self.samples[name])

    def ratio(self, name: str) -> float:
        """The median of the rounds' ratios: both times of a round were taken moments apart."""
        return statistics.median(
            theirs / ours for theirs, ours in zip(self.samples[name], self.samples["fastgrad"], strict=True)
        )


def fastest(**forms: Callable[[], Side]) -> Callable[[], Side]:
    """Builds every form and keeps the one that is fastest on this machine: peers are met at their best."""

    def build() -> Side:
        sides = {form: make() for form, make in forms.items()}
        best = min(sides, key=lambda form: _trial(sides[form]))
        return replace(sides[best], note=best)

    return build


def measure(case: Case, repeats: int, sample_seconds: float) -> Outcome:
    """Builds and warms up all sides, drops those whose results are not fastgrad's, times the rest in turn."""
    sides = {name: build() for name, build in case.sides.items()}
    expected = [np.array(array) for array in sides["fastgrad"].run()]
    errors = {name: _error(expected, side.run(), case) for name, side in sides.items() if name != "fastgrad"}
    sides = {name: side for name, side in sides.items() if name == "fastgrad" or errors[name] <= 1}
    timers = {name: timeit.Timer(side.run, side.setup or "pass") for name, side in sides.items()}
    counts = {name: _calls(timers[name], side, sample_seconds) for name, side in sides.items()}
    samples: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for _ in range(repeats):
        for name in names:
            time.sleep(SETTLE)
            samples[name].append(timers[name].timeit(counts[name]) / (counts[name] * sides[name].units))
        names = names[1:] + names[:1]
    return Outcome(case, samples, {name: side.note for name, side in sides.items()}, errors)


def _trial(side: Side) -> float:
    """Seconds a unit, roughly: the best of three runs after a warm-up."""
    side.run()
    timer = timeit.Timer(side.run, side.setup or "pass")
    calls = _calls(timer, side, 0.01)
    return min(timer.repeat(3, calls)) / (calls * side.units)


def _calls(timer: timeit.Timer, side: Side, seconds: float) -> int:
    """How many runs fill a sample."""
    calls = 1
    while side.setup is None and (spent := timer.timeit(calls)) < seconds:
        calls = max(2 * calls, min(100 * calls, int(1.1 * calls * seconds / max(spent, 1e-9))))
    return calls


def _error(expected: Sequence[np.ndarray], results: Results, case: Case) -> float:
    """The largest difference, in tolerances: results agree if it is at most 1. NaN agrees with nothing."""
    worst = 0.0
    for ours, theirs in zip(expected, results, strict=False):
        right = np.ravel(np.asarray(theirs, dtype=np.float64))
        left = np.ravel(ours)[: right.size]
        if left.size < right.size:
            return np.inf
        worst = np.maximum(worst, np.max(np.abs(left - right) / (case.atol + case.rtol * np.abs(left))))
    return float(worst)
