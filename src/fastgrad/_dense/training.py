"""Training, from the settings to the history: what calls the loops by epochs, watches them, and restores the best.

A `Task` says what is trained, `Data` with what, `TrainSettings` how. Update rules go through minibatches in C
(minibatches.py), searches use all rows at once (full_batch.py).
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from typing import Any

import numpy as np

from .. import _core
from .._progress import Progress
from .._statuses import NON_FINITE, OUT_OF_ITERATIONS, RUNNING, STOPPED
from ..methods import Method
from .full_batch import FullBatch
from .history import Epoch, TrainingHistory
from .minibatches import Histories, Minibatches, new_state, read
from .settings import TrainSettings
from .sources import Data, check_like, member_rows
from .task import Programs, Task, compile_task

__all__ = ["Data", "Exclusive", "Programs", "Task", "TrainSettings", "compile_task", "new_state", "total", "train"]

MOST_EPOCHS = 1024  # of one call, whose histories take memory beforehand


class Exclusive:
    """Held while an object's parameters are trained; who comes meanwhile is refused.

    Parameters
    ----------
    what : str
        The object, for the message.

    Examples
    --------
    >>> from fastgrad._dense.training import Exclusive
    >>> with Exclusive("the network"):
    ...     pass
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._lock = threading.Lock()
        self._process = os.getpid()

    def __enter__(self) -> None:
        if os.getpid() != self._process:  # forked while another thread held it, which did not come along
            self.__init__(self.what)  # type: ignore[misc]
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(
                f"{self.what} is being trained by another call\n"
                "  cure: wait until that has returned, or train a copy; callbacks are part of the call"
            )

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> Any:
        return Exclusive, (self.what,)  # a copy is free


def train(
    task: Task,
    parameters: np.ndarray,
    data: Data,
    settings: TrainSettings,
    programs: Programs | None = None,
    state: Any = None,
) -> TrainingHistory:
    """Train a vector of parameters (P,), or those of members (M, P), in place.

    With `patience` the parameters end as they were after the best epoch, otherwise after the last one; where the loss
    became non-finite, after the best one. An exception, Ctrl-C too, leaves them as they were after some step.
    `programs` are those of `compile_task`, where they are known. A `state` (`new_state`) that several calls with one
    optimizer are given makes them one training: moments, schedules, orders of rows and the best parameters go on.
    """
    if not parameters.flags.writeable:
        raise ValueError("parameters is read-only, but training changes it in place: give a copy")
    many = parameters if parameters.ndim == 2 else parameters[None]
    if many.ndim != 2 or many.dtype != task.dtype or many.shape[1] != task.size or not many.flags.carray:
        raise ValueError(
            f"parameters must be a contiguous array of {task.size:,} numbers of {task.dtype} for each member,"
            f" got shape {parameters.shape} of {parameters.dtype}"
        )
    if data.rows is not None:
        data = replace(data, rows=member_rows(data.rows, len(many), data.n_rows))
    if data.validation is not None:
        check_like(data.validation, data)
    if programs is None:
        programs = compile_task(task, data.shapes, data.validation is not None)
    training: Any
    if isinstance(settings.optimizer, Method):
        training = Minibatches(task, programs, many, data, settings, state)
    else:
        training = FullBatch(task, programs, many, data, settings)
    _run(training, settings, parameters.ndim == 2)
    return _finished(training, data, settings, parameters.ndim == 2)


def _run(training: Any, settings: TrainSettings, has_members: bool) -> None:
    """All epochs at once, or one by one where somebody looks on."""
    is_watched = settings.callback is not None or settings.progress
    at_once = 1 if is_watched else MOST_EPOCHS
    with Progress(settings.epochs, "fit", "epoch") if settings.progress else contextlib.nullcontext() as report:
        for epoch in range(0, settings.epochs, at_once):
            training.run(min(at_once, settings.epochs - epoch))
            if report is not None:
                report(epoch + 1)
            if settings.callback is not None and np.any(training.state.epochs - training.before > epoch):
                try:
                    settings.callback(_look(training, epoch, has_members))
                except StopIteration:
                    training.state.outcome[training.state.outcome == RUNNING] = STOPPED
            if np.all(training.state.outcome != RUNNING):
                return
        if not settings.epochs:
            training.run(0)


def _look(training: Any, epoch: int, has_members: bool) -> Epoch:
    parameters = training.parameters.view()
    parameters.flags.writeable = False
    values: list[Any] = [None if x is None else x[-1] for x in training.parts[-1][:3]]
    if not has_members:
        values, parameters = [None if x is None else float(x[0]) for x in values], parameters[0]
    loss, validation_loss, score = values
    return Epoch(epoch, loss, validation_loss, score, parameters)


def _finished(training: Any, data: Data, settings: TrainSettings, has_members: bool) -> TrainingHistory:
    """The history, with the best parameters restored where somebody waited for better ones."""
    state = training.state
    status = np.where(state.outcome == RUNNING, OUT_OF_ITERATIONS, state.outcome)
    if settings.patience is not None:
        known = state.best_epoch > 0
        training.parameters[known] = state.best[known]
    note = ""
    if np.any((status == NON_FINITE) & (state.best_epoch == 0)) and (names := data.non_finite()):
        note = f"{' and '.join(names)} {'holds' if len(names) == 1 else 'hold'} NaN or infinity"
    n_epochs = state.epochs - training.before
    histories = Histories.joined(training.parts, n_epochs.max())
    best = np.maximum(state.best_epoch - training.before, 0) - 1
    history = TrainingHistory(**histories._asdict(), status=status, epoch=best, n_epochs=n_epochs, note=note)
    return history if has_members else history[0]


def total(
    task: Task, parameters: np.ndarray, data: Data, programs: Programs | None = None
) -> tuple[float, list[np.ndarray]]:
    """The mean loss over all rows at a vector of parameters (P,), and its gradient by each leaf."""
    program = (programs or compile_task(task, data.shapes, False)).step
    value, *gradients = _core.total(program, task.split(parameters), read(data), data.n_rows, data.weights)
    return float(value[0]), [x.reshape(shape) for x, shape in zip(gradients, task.shapes, strict=True)]
