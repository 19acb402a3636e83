"""A search such as L-BFGS over all rows at once: its step, written in NumPy for one instance, runs here as it is.

Between two evaluations a search does little, so it needs no program of its own; what costs is the loss over all rows,
which the machine computes. An epoch is an iteration.
"""

from __future__ import annotations

import time
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import _core
from .._searches import Limits
from .._statuses import NO_PROGRESS, RUNNING
from .minibatches import Histories, monitored, read
from .settings import TrainSettings
from .sources import Data
from .task import Programs, Task

COUNTED = 2**24 - 1  # what the counters of a search count to in float32


class FullBatch:
    """A training by a search, which can be run on and on."""

    def __init__(
        self, task: Task, programs: Programs, parameters: np.ndarray, data: Data, settings: TrainSettings
    ) -> None:
        name = type(settings.optimizer).__name__
        if settings.l1:
            raise ValueError(f"l1={settings.l1} has kinks, where {name} gets stuck\n  cure: l2, or another optimizer")
        if task.noise:
            raise ValueError(f"dropout needs minibatches, but {name} uses all rows at once\n  cure: another optimizer")
        members, size = parameters.shape
        self.before = 0
        self.task, self.programs, self.data, self.settings = task, programs, data, settings
        self.parameters = parameters
        self.monitor = monitored(task, data, settings)
        self.parts: list[Histories] = []
        epochs = np.zeros(members, np.int64)
        self.state = SimpleNamespace(
            epochs=epochs,
            steps=epochs,
            outcome=np.full(members, RUNNING, np.int32),
            best=parameters.copy(),
            best_value=np.full(members, np.inf),
            best_epoch=np.zeros(members, np.int64),
            stale=np.zeros(members, np.int64),
        )
        shapes = settings.optimizer.shapes(size)
        start = namedtuple("State", shapes)(*[np.zeros(shape, task.dtype) for shape in shapes.values()])
        self.start = time.perf_counter()
        self.searches = [start._replace(x=x.copy()) for x in parameters]  # type: ignore[attr-defined]
        self.limits = Limits(
            min(settings.epochs, COUNTED), min(settings.maxfev or COUNTED, COUNTED), settings.gtol, settings.ftol, -1.0
        )
        self.l2 = settings.l2 * np.repeat(task.penalised, [x.size for x in task.split(parameters[0])])
        self.l2 = self.l2.astype(task.dtype)

    def run(self, n_epochs: int) -> None:
        """Search for so many iterations more."""
        members = len(self.parameters)
        self.parts.append(Histories.of(self.task, self.data, self.settings, members, n_epochs, 1))
        for member in range(members):
            for row in range(n_epochs):
                if self.state.outcome[member] == RUNNING:
                    self._iterate(member, row)

    def _iterate(self, member: int, row: int) -> None:
        """Evaluations until an iteration is done, which makes a row of the histories, or the search ends."""
        state, before = self.state, self.searches[member]
        stop, after = 0, before
        while not stop and after.nit == before.nit:
            with np.errstate(all="ignore"):
                after, stop = self.settings.optimizer.advance(after, self._evaluation(member), self.limits)
            after = type(after)(*[np.asarray(x, self.task.dtype) for x in after])
        self.searches[member] = after
        state.outcome[member] = int(stop) - 1
        if after.nit == before.nit:
            return
        self.parameters[member] = after.x
        histories = self.parts[-1]
        values = {"loss": float(after.fun), **self._validation(member)}
        for name, value in values.items():
            getattr(histories, name)[row, member] = value
        if histories.step_loss is not None:
            histories.step_loss[row, member] = values["loss"]
        state.epochs[member] += 1
        self._judge(member, -values["score"] if self.monitor == "score" else values[self.monitor])
        histories.time[row, member] = time.perf_counter() - self.start

    def _judge(self, member: int, value: float) -> None:
        """As the loop over minibatches does: the best of all is kept, and patience counts epochs without progress."""
        state, patience = self.state, self.settings.patience
        is_progress = value < state.best_value[member] - self.settings.min_delta
        state.stale[member] = 0 if is_progress else state.stale[member] + 1
        if value < state.best_value[member]:
            state.best[member] = self.parameters[member]
            state.best_value[member] = value
            state.best_epoch[member] = state.epochs[member]
        if patience is not None and state.stale[member] >= max(patience, 1) and state.outcome[member] == RUNNING:
            state.outcome[member] = NO_PROGRESS

    def _evaluation(self, member: int) -> Any:
        """Loss and gradient at a point, over the rows of a member."""
        task, data, program = self.task, self.data, self.programs.step
        weights, sources = self._weights(member), read(data)

        def evaluate(point: np.ndarray) -> tuple[Any, np.ndarray]:
            point = np.ascontiguousarray(point, task.dtype)
            value, *parts = _core.total(program, task.split(point), sources, data.n_rows, weights)
            gradient = np.concatenate(parts)
            return task.dtype.type(value[0] + self.l2 @ point**2 / 2), gradient + self.l2 * point

        return evaluate

    def _weights(self, member: int) -> np.ndarray | None:
        """What a row counts: as often as it stands among the member's rows."""
        rows, weights = self.data.rows, self.data.weights
        if rows is None:
            return weights
        counts = np.bincount(rows[member], minlength=self.data.n_rows).astype(np.float64)
        return counts if weights is None else counts * weights

    def _validation(self, member: int) -> dict[str, float]:
        data = self.data.validation
        if data is None:
            return {}
        leaves = self.task.split(self.parameters[member])
        found = _core.total(self.programs.evaluation, leaves, read(data), data.n_rows, data.weights)
        return {name: float(x[0]) for name, x in zip(("validation_loss", "score"), found, strict=False)}
