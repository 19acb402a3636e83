"""What a training gives back: losses by epoch, the best epoch, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from .._statuses import NON_FINITE, TRAINING_MESSAGES


@dataclass(frozen=True)
class Epoch:
    """What a callback sees after an epoch.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 0.
    loss : float or (M,) ndarray
        Mean loss of its minibatches, each before its step; with penalties.
    validation_loss, score : float, (M,) ndarray or None
        Mean loss and score of the validation data after it.
    parameters : ndarray, or nested as they were given
        The parameters after it, read-only: copy what is to be kept.
    """

    epoch: int
    loss: Any
    validation_loss: Any
    score: Any
    parameters: Any


@dataclass(frozen=True)
class TrainingHistory:
    """How a training went, by epochs; with members each array has a second axis of M, and ``history[i]`` is one's.

    Attributes
    ----------
    loss : (E,) or (E, M) ndarray
        Mean loss over the minibatches of an epoch, each before its step; with penalties. NaN after a member stopped, as
        everything here.
    validation_loss, score : (E,) or (E, M) ndarray, or None
        Mean loss and score of the validation data after each epoch; without penalties.
    time : (E,) or (E, M) ndarray
        Seconds since the start, at the end of each epoch.
    step_loss : (S,) or (S, M) ndarray, or None
        Loss of every minibatch before its step, with ``record="step"``.
    status : int or (M,) ndarray
        0 converged (gtol), 1 ran all epochs, 2 non-finite, 3 small change of the loss (ftol), 5 out of evaluations,
        6 no more progress, 7 stopped by the callback. 0, 3 and 5 only come from searches.
    epoch : int or (M,) ndarray
        The best epoch, from 0, by what was monitored; -1 where there was none.
    n_epochs : int or (M,) ndarray
        Epochs that were run; the last one ended early where the loss became non-finite.
    note : str
        What more is known about the end.
    """

    loss: np.ndarray
    validation_loss: np.ndarray | None
    score: np.ndarray | None
    time: np.ndarray
    step_loss: np.ndarray | None
    status: Any
    epoch: Any
    n_epochs: Any
    note: str = ""

    _by_epoch: ClassVar[tuple[str, ...]] = ("loss", "validation_loss", "score", "time", "step_loss")

    @property
    def has_members(self) -> bool:
        """Whether there is an axis of members."""
        return np.ndim(self.status) == 1

    @property
    def success(self) -> Any:
        """Whether the training came to its end: False where the loss became non-finite."""
        return self.status != NON_FINITE if self.has_members else int(self.status) != NON_FINITE

    @property
    def message(self) -> str:
        """What happened, in words; counted over members."""
        if not self.has_members:
            text = TRAINING_MESSAGES[int(self.status)]
        else:
            codes, counts = np.unique(self.status, return_counts=True)
            each = zip(codes.tolist(), counts.tolist(), strict=True)
            text = "; ".join(f"{n:,} {TRAINING_MESSAGES[code]}" for code, n in each)
        return f"{text} ({self.note})" if self.note else text

    def __len__(self) -> int:
        if not self.has_members:
            raise TypeError("the history of a single training has no length")
        return len(self.status)

    def __getitem__(self, i: Any) -> TrainingHistory:
        if not self.has_members:
            raise TypeError("the history of a single training has no members")

        def of_member(name: str) -> Any:
            value = getattr(self, name)
            return value if value is None else value[:, i] if name in self._by_epoch else value[i]

        return replace(self, **{f.name: of_member(f.name) for f in fields(self) if f.name != "note"})

    def __repr__(self) -> str:
        if self.has_members:
            head = f"TrainingHistory of {len(self):,} members: {self.message}"
        else:
            head = f"TrainingHistory: {self.message}"
        lines = [head, f"  n_epochs={self.n_epochs}, best epoch={self.epoch}"]
        for name in ("loss", "validation_loss", "score"):
            values = getattr(self, name)
            if values is not None and len(values):
                lines.append(f"  {name}: {values[0]} -> {values[np.max(self.n_epochs) - 1]}")
        return "\n".join(lines)
