"""How a method works through a batch: an update rule by kernels of its own, a search as one program that is repeated.

Both are called to run all instances to their ends, or give the outcome after each iteration for a callback to look at.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from . import _core, schedules
from ._arrays import as_floats
from ._compiler.compile import Compiled
from ._compiler.graph import Graph, cast, inline
from ._compiler.trace import Input, Traced, trace
from ._searches import Bounds, Limits
from ._statuses import NON_FINITE, OUT_OF_EVALUATIONS, OUT_OF_ITERATIONS, RUNNING
from .errors import ShapeError
from .methods import Method
from .problem import Problem
from .results import QUANTITIES

LARGEST = 2**53  # iterations that a float64 counts
MOST_RUNS = 2**62  # as many as it takes: the limits stop a search
OUTCOME = ("x", "fun", "jac", "nit", "nfev")  # states of a search that an outcome is made of; some have results more
RECORDED = {"fun": "fun", "optimality": "gradient_norm", "step": "step", "x": "x"}  # quantities of a history, by state
NAMES_IN_C = {"fun": "fun", "gradient_norm": "norm", "step": "step", "x": "path"}  # of the histories of a rule


class Settings(NamedTuple):
    """How a descent stops, and what it records."""

    maxiter: int
    maxfev: float
    gtol: float
    ftol: float
    xtol: float
    every: int
    keeps_path: bool

    def histories(self, problem: Problem) -> dict[str, np.ndarray]:
        """Arrays (rows, B, ...) by quantity, which take no memory until they are written to."""
        if not self.every:
            return {}
        rows, item = self.maxiter // self.every + 1, problem.dtype.itemsize
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(QUANTITIES[:3], (rows, problem.batch))
        if self.keeps_path:
            shapes["x"] = (rows, problem.batch, problem.size)
        needed, most = item * sum(map(math.prod, shapes.values())), _memory() // 2
        if needed > most:
            raise MemoryError(
                f"a history of {rows:,} records of {problem.batch:,} instances takes {needed / 2**30:,.1f} GiB, and"
                f" at most {most / 2**30:,.1f} GiB, half of the memory, are given to it\n"
                "  cure: record every k-th iteration only (record=k), fewer iterations (maxiter), or record='fun'"
            )
        return {name: np.zeros(shape, problem.dtype) for name, shape in shapes.items()}


def _memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Outcome(NamedTuple):
    """What a run gives for its instances, in arrays of its own."""

    x: np.ndarray
    fun: np.ndarray
    jac: np.ndarray
    nit: np.ndarray
    nfev: np.ndarray
    status: np.ndarray
    occupancy: float
    own: dict[str, np.ndarray] = {}  # noqa: RUF012  # further results of a search, by name


class Search(Protocol):
    """A method that is a program: see _searches.py."""

    def shapes(self, n: int) -> dict[str, tuple[int, ...]]: ...
    def advance(self, state: Any, evaluate: Any, limits: Any, bounds: Any) -> tuple[Any, Any]: ...


# ---- update rules


class RuleRun:
    """An update rule over a batch (csrc/descent.c).

    The loop asks for gradients alone where no value is needed; values come from one more evaluation, at the ends.
    """

    def __init__(self, problem: Problem, method: Method, settings: Settings) -> None:
        self.problem, self.method, self.settings = problem, method, settings
        self.rule = _core.updates()[method.rule][0]
        self.maxiter = int(min(settings.maxiter, settings.maxfev - 1))  # the start is evaluated too
        rate, self.schedule = schedules.split(method.learning_rate, self.maxiter)
        self.rates = learning_rates(rate, problem.batch if problem.is_batch else None)
        self.recorded = settings.histories(problem)
        self.both, gradient = problem.compiled({"value and gradient": _unchanged, "gradient": _gradient_alone})
        self.looped = self.both if settings.every or settings.ftol >= 0 else gradient

    def __call__(self, report: Callable[[int], None] | None) -> Outcome:
        """All instances to their ends."""
        x = np.empty_like(self.problem.x0)
        nit, status, occupancy = self._descend(self.looped, self.problem, self.rates, x, report=report)
        return self._outcome(x, nit, status, occupancy, np.ones(len(x), bool))

    def by_iterations(self) -> Iterator[Outcome]:
        """Outcomes after each iteration, until all instances have stopped."""
        problem, x = self.problem, self.problem.x0.copy()
        standing = _core.Standing(self.rule, problem.batch, problem.size, problem.dtype)
        while np.any(running := standing.outcome == RUNNING):
            before = standing.nit.copy()
            nit, status, occupancy = self._descend(
                self.looped, problem, self.rates, x, start=x, state=standing, n_iterations=1
            )
            if np.any(nit > before) or np.any(status != RUNNING):
                outcome = self._outcome(x, nit.copy(), status, occupancy, running)
                yield outcome._replace(x=x.copy())

    def _descend(
        self,
        compiled: Compiled,
        problem: Problem,
        rates: np.ndarray,
        x: np.ndarray,
        start: np.ndarray | None = None,
        is_recorded: bool = True,
        **options: Any,
    ) -> tuple[np.ndarray, np.ndarray, float]:
        settings = self.settings
        lower, upper = problem.bounds or (None, None)
        if self.recorded and is_recorded:
            history = {NAMES_IN_C[quantity]: array for quantity, array in self.recorded.items()}
            options |= {"record_every": settings.every, **history}
        return compiled.program.descend(
            self.rule, problem.batch, [problem.x0 if start is None else start, *problem.data], x, maxiter=self.maxiter,
            gtol=settings.gtol, ftol=settings.ftol, xtol=settings.xtol, learning_rate=rates, schedule=self.schedule,
            lower=lower, upper=upper, **self.method.options(), **options,
        )  # fmt: skip

    def _outcome(
        self, x: np.ndarray, nit: np.ndarray, status: np.ndarray, occupancy: float, ran: np.ndarray
    ) -> Outcome:
        """Values and gradients at `x`. Of the instances that `ran`, those that have just become non-finite go back to
        their best point, in `x` as well."""
        problem = self.problem
        fun, jac = problem.evaluate(self.both, x)
        status[(status != RUNNING) & ~np.isfinite(fun)] = NON_FINITE  # where the gradient alone was finite
        bad = np.flatnonzero(ran & (status == NON_FINITE))
        if len(bad):  # rare: once more, this time looking at every value
            part, best = problem.subset(bad), np.empty_like(x[bad])
            self._descend(self.both, part, self.rates[bad % len(self.rates)], best, is_recorded=False, keep_best=True)
            x[bad] = best
            fun[bad], jac[bad] = part.evaluate(self.both, best)
        status = status.copy()
        if self.maxiter < self.settings.maxiter:
            status[status == OUT_OF_ITERATIONS] = OUT_OF_EVALUATIONS
        return Outcome(x, fun, jac, nit, nit + 1, status, occupancy)


def _unchanged(objective: Graph) -> Graph:
    return objective


def _gradient_alone(objective: Graph) -> Graph:
    return dataclasses.replace(objective, outputs=objective.outputs[1:])


def learning_rates(value: Any, n: int | None, each: str = "an instance") -> np.ndarray:
    """One rate for all, or one for each of `n`."""
    if type(value) is float and 0 < value < math.inf:  # mostly
        return np.array([value])
    rates = as_floats(value, "learning_rate").astype(np.float64, copy=False)
    if rates.ndim > 1 or (rates.ndim == 1 and rates.shape != (n,)):
        wanted = "one number" if n is None else f"one number, or {n} of them, one {each}"
        raise ShapeError(f"learning_rate has shape {rates.shape}: give {wanted}")
    if not np.all(rates > 0) or not np.all(np.isfinite(rates)):
        raise ValueError("learning_rate must be positive and finite")
    return np.ascontiguousarray(np.atleast_1d(rates))


# ---- searches


class SearchRun:
    """A search over a batch: its step and the function as one program, repeated (csrc/iterate.c)."""

    def __init__(self, problem: Problem, method: Search, settings: Settings) -> None:
        self.problem, self.method, self.settings = problem, method, settings
        self.own = getattr(method, "results", ())
        self.shapes = method.shapes(problem.size)
        self.names = list(self.shapes)
        lanes = [True] * len(self.names) + [False] * len(Limits._fields)
        lanes += [problem.has_own_bounds] * len(problem.bounds)
        (compiled,) = problem.compiled({(method, *lanes): self._step}, lanes)
        self.program = compiled.program
        most = 2.0**24 - 1 if problem.dtype == np.float32 else LARGEST  # what the counters count
        values = (min(settings.maxiter, most), min(settings.maxfev, most), settings.gtol, settings.ftol, settings.xtol)
        self.limits = [np.array(value, problem.dtype) for value in values]
        self.recorded = settings.histories(problem)

    def _step(self, objective: Graph) -> Graph:
        """States, limits and bounds come first, then the data; the states after one step, and the flag."""
        problem, data = self.problem, objective.inputs[1:]
        State = namedtuple("State", self.names)  # type: ignore[misc]

        def evaluate(point: Any) -> tuple[Any, ...]:
            return tuple([Traced(x) for x in inline(objective, [point._node, *data])])

        def step(state: list[Any], limits: list[Any], bounds: list[Any]) -> list[Any]:
            bounded = Bounds(*bounds) if bounds else None
            after, stop = self.method.advance(State(*state), evaluate, Limits(*limits), bounded)
            return [*[getattr(after, name) for name in self.names], stop]

        def inputs(shapes: Iterable[tuple[int, ...]]) -> list[Input]:
            return [Input(shape, problem.dtype) for shape in shapes]

        bounds = [(problem.size,)] * len(problem.bounds)
        arguments = [inputs(self.shapes.values()), inputs([()] * len(Limits._fields)), inputs(bounds)]
        graph = trace(step, arguments, objective.name, objective.inputs[0].builder)
        outputs = tuple([cast(x, problem.dtype) for x in graph.outputs])
        return Graph((*graph.inputs, *data), outputs, graph.structure, graph.name)

    def __call__(self, report: Callable[[int], None] | None) -> Outcome:
        """All instances to their ends."""
        problem, settings = self.problem, self.settings
        wanted = {name: self._zeros(name) for name in (*OUTCOME, *self.own)}
        history = [self.recorded.get(RECORDED.get(name, "")) for name in self.names] if settings.every else None
        results = [wanted.get(name) for name in self.names]
        status, occupancy = self.program.iterate(
            problem.batch, self._inputs(problem, {"x": problem.x0}), results, MOST_RUNS, self.names.index("nit"),
            settings.every, history, report,
        )  # fmt: skip
        return self._outcome(wanted, status, occupancy)

    def by_iterations(self) -> Iterator[Outcome]:
        """Outcomes whenever an instance has finished an iteration, until all have stopped; each step evaluates all."""
        problem = self.problem
        state = {name: self._zeros(name) for name in self.names}
        state["x"][:] = problem.x0
        status = np.full(problem.batch, RUNNING, np.int32)
        while (running := np.flatnonzero(status == RUNNING)).size:
            part = problem.subset(running)
            now = {name: np.ascontiguousarray(array[running]) for name, array in state.items()}
            before = now["nit"].copy()
            status[running], _ = self.program.iterate(
                part.batch, self._inputs(part, now), list(now.values()), 1, self.names.index("nit")
            )
            for name, array in now.items():
                state[name][running] = array
            self._record(state, running[(now["nit"] > before) | (now["nfev"] == 1)])
            if np.any(now["nit"] > before) or np.any(status[running] != RUNNING):
                copies = {name: state[name].copy() for name in (*OUTCOME, *self.own)}
                yield self._outcome(copies, status.copy(), len(running) / problem.batch)

    def _record(self, state: dict[str, np.ndarray], instances: np.ndarray) -> None:
        """As the loop in C does, for instances that have just finished an iteration."""
        if not self.settings.every:
            return
        nit = state["nit"][instances].astype(np.int64)
        due = nit % self.settings.every == 0
        rows, columns = nit[due] // self.settings.every, instances[due]
        for name, quantity in RECORDED.items():
            if quantity in self.recorded:
                self.recorded[quantity][rows, columns] = state[name][columns]

    def _inputs(self, problem: Problem, state: dict[str, np.ndarray]) -> list[np.ndarray | None]:
        own = [state.get(name) for name in self.names]  # None starts at zero
        return [*own, *self.limits, *problem.bounds, *problem.data]

    def _zeros(self, name: str) -> np.ndarray:
        return np.zeros((self.problem.batch, *self.shapes[name]), self.problem.dtype)

    def _outcome(self, state: dict[str, np.ndarray], status: np.ndarray, occupancy: float) -> Outcome:
        nit, nfev = (state[name].astype(np.int64) for name in ("nit", "nfev"))
        own = {name: state[name] for name in self.own}
        return Outcome(state["x"], state["fun"], state["jac"], nit, nfev, status, occupancy, own)
