"""What a network's training minimises: the loss of one row, with dropout, as a task; and the rows to train with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from .layers import Layers, one_each
from .losses import Loss, rows_of_targets
from .sources import Data, held_out, make_data, rows_of
from .task import Task


def make_task(layers: Layers, loss: Loss, dropout: Sequence[float], dtype: np.dtype) -> Task:
    """The loss and the score of one row (x, y), from weights and biases.

    A unit of a hidden layer is dropped where its noise is below the layer's rate; those that stay are scaled up, so
    that their mean is the same and predictions need no factor (inverted dropout). Activations are multiplied by the
    mask: a `where` would guard the products of the way back, which then are no matrix products.
    """

    def outputs(leaves: Any, x: Any, noise: Any = ()) -> Any:
        drawn = iter(noise)
        is_kept = {i: next(drawn) >= rate for i, rate in enumerate(dropout) if rate > 0 and len(noise)}

        def dropped(i: int, a: Any) -> Any:
            return a * is_kept[i] * (1 / (1 - dropout[i])) if i in is_kept else a

        return layers.outputs(loss, paired(leaves), x, dropped)

    def loss_of_row(leaves: Any, row: Any, noise: Any) -> Any:
        x, y = row
        return loss.function(outputs(leaves, x, noise), y)

    def score_of_row(leaves: Any, row: Any) -> Any:
        x, y = row
        return loss.score(outputs(leaves, x), y)  # type: ignore[misc]

    loss_of_row.__name__ = loss.name
    noise = [(n,) for n, rate in zip(layers.sizes[1:], dropout, strict=False) if rate > 0]
    penalised = [True, False] * len(layers.activations)
    return Task(loss_of_row, score_of_row if loss.score else None, layers.shapes, penalised, noise, dtype)


def paired(leaves: Sequence[Any]) -> list[Any]:
    """Weights and biases of each layer."""
    return list(zip(leaves[::2], leaves[1::2], strict=True))


def dropout_rates(value: Any, n_hidden: int) -> tuple[float, ...]:
    """The share of each hidden layer's units that a step drops."""
    rates = one_each(value, n_hidden, "dropout", "hidden layers")
    for rate in rates:
        try:
            is_share = 0 <= float(rate) < 1
        except (TypeError, ValueError):
            is_share = False
        if not is_share:
            raise ValueError(f"dropout must be a share of at least 0 and below 1, got {rate!r}")
    return tuple(map(float, rates))


def make_rows(
    layers: Layers, loss: Loss, X: Any, y: Any, *, sample_weight: Any = None, class_weight: Any = None,
    scale: Any = None, prefix: str = "",
) -> Data:  # fmt: skip
    """Rows and their targets, read where they are."""
    rows = rows_of(X, f"{prefix}X")
    if rows.shape[1:] != layers.sizes[:1]:
        n = layers.sizes[0]
        raise ShapeError(f"{prefix}X has shape {rows.shape}, but the network takes rows of {n} numbers: (n, {n})")
    targets = rows_of_targets(loss, y, len(rows), layers.sizes[-1], f"{prefix}y")
    arrays = {f"{prefix}X": rows, f"{prefix}y": targets}
    labels = None if class_weight is None else labels_of(loss, targets)
    return make_data(
        arrays, weights=sample_weight, scale=scale, class_weight=class_weight, labels=labels, prefix=prefix
    )


def validated(layers: Layers, loss: Loss, data: Data, validation: Any, scale: Any, rng: np.random.Generator) -> Data:
    """The rows to train with, and those that are looked at after each epoch: given, or a share held out."""
    if not isinstance(validation, (tuple, list)):
        targets = data.sources[1].array
        return held_out(data, validation, rng, None if targets is None else labels_of(loss, targets))
    if len(validation) not in (2, 3):
        raise ValueError(
            f"validation has {len(validation)} entries: give (X, y), (X, y, sample_weight), or the share of rows to"
            " hold out"
        )
    X, y, *weights = validation
    rows = make_rows(
        layers, loss, X, y, sample_weight=weights[0] if weights else None, scale=scale, prefix="validation's "
    )
    return dataclasses.replace(data, validation=rows)


def bootstrapped(data: Data, members: int, rng: np.random.Generator) -> Data:
    """For each member as many rows as there are, drawn with replacement."""
    rows = np.arange(data.n_rows) if data.rows is None else data.rows[0]
    return dataclasses.replace(data, rows=rows[rng.integers(len(rows), size=(members, len(rows)))])


def labels_of(loss: Loss, targets: np.ndarray) -> np.ndarray | None:
    """The class of each row; None where the loss has no classes, or a row several."""
    if loss.score is None:
        return None
    if loss.link == "softmax":
        return targets if targets.ndim == 1 else np.argmax(targets, axis=1)
    return targets[:, 0] if targets.shape[1] == 1 else None
