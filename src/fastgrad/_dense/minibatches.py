"""An update rule over minibatches: what the loop in C (csrc/train.c) is told, and the arrays that it fills."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _core, schedules
from .._runs import learning_rates
from .settings import MONITORS, TrainSettings
from .sources import Data
from .task import Programs, Task


class Histories(NamedTuple):
    """Arrays (epochs, M) that some epochs fill, NaN where they do not come to; `step_loss` is (steps, M)."""

    loss: np.ndarray
    validation_loss: np.ndarray | None
    score: np.ndarray | None
    time: np.ndarray  # since the start, at the end of each epoch
    step_loss: np.ndarray | None

    @classmethod
    def of(
        cls, task: Task, data: Data, settings: TrainSettings, members: int, n_epochs: int, n_steps: int
    ) -> Histories:
        """Those of so many epochs of so many steps each."""
        validates = data.validation is not None
        loss, time, validation_loss, score = np.full((4, n_epochs, members), np.nan)
        step_loss = np.full((n_epochs * n_steps, members), np.nan) if settings.record == "step" else None
        return cls(
            loss,
            validation_loss if validates else None,
            score if validates and task.score is not None else None,
            time,
            step_loss,
        )

    @classmethod
    def joined(cls, parts: Sequence[Histories], n_epochs: int) -> Histories:
        """Those of the epochs that were come to, from parts one after another."""
        n_rows = sum(len(part.loss) for part in parts)

        def column(arrays: Sequence[np.ndarray | None]) -> Any:
            if any(x is None for x in arrays):
                return None
            whole: np.ndarray = np.concatenate(arrays)  # type: ignore[arg-type]
            return whole[: len(whole) // max(n_rows, 1) * n_epochs]

        return cls(*map(column, zip(*parts, strict=True)))


def monitored(task: Task, data: Data, settings: TrainSettings) -> str:
    """What is looked at to tell a better epoch: one of MONITORS."""
    if settings.monitor is None:
        return "loss" if data.validation is None else "validation_loss"
    if settings.monitor != "loss" and data.validation is None:
        raise ValueError(
            f"monitor={settings.monitor!r} needs validation data\n  cure: give validation=0.1, for example"
        )
    if settings.monitor == "score" and task.score is None:
        raise ValueError("monitor='score' needs a loss that has a score")
    return settings.monitor


def read(data: Data) -> list[Any]:
    """The sources of data as C reads them."""
    return [_core.Source(*source) for source in data.sources]


def new_state(task: Task, members: int, settings: TrainSettings) -> Any:
    """What the optimizer of a training has to remember, at its start; given to each of several, they go on as one."""
    update = _core.updates()[settings.optimizer.rule][0]
    return _core.TrainingState(update, members, task.size, task.dtype)


class Minibatches:
    """A training by an update rule, which can be run on and on."""

    def __init__(
        self,
        task: Task,
        programs: Programs,
        parameters: np.ndarray,
        data: Data,
        settings: TrainSettings,
        state: Any = None,
    ) -> None:
        members = len(parameters)
        method = settings.optimizer
        n_rows = data.n_rows if data.rows is None else data.rows.shape[1]
        batch_size = min(settings.batch_size or n_rows, n_rows)
        n_steps = math.ceil(n_rows / batch_size)
        self.state = new_state(task, members, settings) if state is None else state
        last = int(self.state.steps.max(initial=0)) + settings.epochs * n_steps
        rate, schedule = schedules.split(method.learning_rate, last)
        rates = np.broadcast_to(learning_rates(rate, members, "a member"), members)
        self.before = self.state.epochs.copy()
        self.parameters = parameters
        self.program = programs.step
        self.parts: list[Histories] = []
        self._histories = functools.partial(Histories.of, task, data, settings, members, n_steps=n_steps)
        self.sources = [*read(data), *[_core.Source(None) for _ in task.noise]]
        self.n_rows = data.n_rows
        self.options = {
            "rows": data.rows,
            "weights": data.weights,
            "batch_size": batch_size,
            "shuffle": settings.shuffle,
            "seeds": settings.seeds_of(members),
            "update": _core.updates()[method.rule][0],
            "n_leaves": len(task.shapes),
            "learning_rate": np.ascontiguousarray(rates),
            "schedule": schedule,
            "penalties": np.outer(task.penalised, (settings.l1, settings.l2)).astype(np.float64),
            "share_penalties": settings.share_penalties,
            "monitor": MONITORS.index(monitored(task, data, settings)),
            "patience": -1 if settings.patience is None else max(settings.patience, 1),
            "min_delta": float(settings.min_delta),
            **method.options(),
        }
        if data.validation is not None:
            self.options |= {
                "evaluation": programs.evaluation,
                "evaluation_sources": read(data.validation),
                "n_evaluation_rows": data.validation.n_rows,
                "evaluation_weights": data.validation.weights,
            }
        self.start = time.perf_counter()

    def run(self, n_epochs: int) -> None:
        """Train for so many epochs more; in parts it is the same, bit by bit."""
        before = time.perf_counter() - self.start
        histories = self._histories(n_epochs)
        _core.train(
            self.program, self.parameters, self.sources, self.n_rows, n_epochs=n_epochs, state=self.state,
            **self.options, loss=histories.loss, validation_loss=histories.validation_loss, score=histories.score,
            seconds=histories.time, step_loss=histories.step_loss,
        )  # fmt: skip
        np.add(histories.time, before, out=histories.time)
        self.parts.append(histories)
