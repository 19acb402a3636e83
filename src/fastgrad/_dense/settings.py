"""How to train: the settings of a training, checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..descent import SEARCH_FTOL, at_least, method_of, number
from ..errors import ShapeError
from .history import Epoch

MONITORS = ("loss", "validation_loss", "score")


def generator(rng: Any) -> np.random.Generator:
    """The generator that `rng` means: a seed, a generator itself, or None for an unpredictable one."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng must be a seed, a Generator or None, got {rng!r}: {error}") from error


def spawn(rng: np.random.Generator, n: int) -> list[np.random.Generator]:
    """n independent generators; also of one that was made of a RandomState, which cannot spawn."""
    try:
        return rng.spawn(n)
    except TypeError:
        return [np.random.default_rng(seed) for seed in rng.integers(2**63, size=n)]


@dataclass(frozen=True)
class TrainSettings:
    """How to train; as `fastgrad.fit` describes it.

    With `share_penalties` update rules divide l1 and l2 by the weight of each minibatch, as scikit-learn does.
    `seeds`, one for each member, take the place of `rng`. `gtol`, `ftol` and `maxfev` end searches, as in
    `fastgrad.minimize`. `callback` gets an `Epoch`.
    """

    optimizer: Any = "adam"
    learning_rate: Any = None
    batch_size: int | None = 32
    epochs: int = 10
    shuffle: bool = True
    patience: int | None = None
    min_delta: float = 0.0
    monitor: str | None = None
    l1: float = 0.0
    l2: float = 0.0
    share_penalties: bool = False
    rng: Any = None
    seeds: Any = None
    record: str | None = None
    progress: bool = False
    callback: Callable[[Epoch], Any] | None = None
    gtol: float = 1e-6
    ftol: float = SEARCH_FTOL
    maxfev: int | None = None

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 0)
        if self.batch_size is not None:
            at_least("batch_size", self.batch_size, 1)
        if self.patience is not None:
            at_least("patience", self.patience, 0)
        for name in ("min_delta", "l1", "l2"):
            value = number(name, getattr(self, name))
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {value!r}")
        for name in ("shuffle", "share_penalties", "progress"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.monitor is not None and not (isinstance(self.monitor, str) and self.monitor in MONITORS):
            raise ValueError(f"monitor must be one of {', '.join(map(repr, MONITORS))}, got {self.monitor!r}")
        if self.record is not None and not (isinstance(self.record, str) and self.record == "step"):
            raise ValueError(f"record must be None or 'step', got {self.record!r}")
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be a function, got {type(self.callback).__name__}")
        object.__setattr__(self, "optimizer", method_of(self.optimizer, self.learning_rate, "optimizer"))

    def seeds_of(self, members: int) -> np.ndarray:
        """A seed for each member."""
        if self.seeds is None:
            return generator(self.rng).integers(2**64, size=members, dtype=np.uint64)
        seeds = np.asarray(self.seeds, np.uint64)
        if seeds.shape != (members,):
            raise ShapeError(f"seeds has shape {seeds.shape}: give {members}, one for each member")
        return seeds
