"""Losses of one example, as NumPy functions of the network's output and the target, in a table.

The last axis of the output holds its units; axes before it are rows, so that the same function serves one example that
is traced and a whole batch in NumPy. Several outputs count with their mean, as elsewhere in the field. Losses of
probabilities take logits: the network hands them its last pre-activations where its output is the loss's own `link`,
which is exact for outputs of any size and has the simplest of derivatives, prediction minus target.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._arrays import refused_class
from ..errors import ShapeError
from ..functions import grad, stop_gradient, vmap
from .activations import OfUser, by_rows, sigmoid, softmax, softplus


class Names(NamedTuple):
    """How messages call things."""

    loss: str
    y: str


class Loss(NamedTuple):
    """A loss of one example, and what it wants."""

    name: str
    function: Callable[[Any, Any], Any]  # of output and target
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray]  # its derivative by the output, for rows
    targets: Callable[[np.ndarray, int, Names], np.ndarray]  # of y and the number of outputs: y checked
    score: Callable[[Any, Any], Any] | None = None  # of output and target; the larger the better
    link: str | None = None  # the output activation whose inverse is part of the loss


# ---- functions of output and target


def mse(o: Any, t: Any) -> Any:
    return np.mean((o - t) ** 2, axis=-1)


def mae(o: Any, t: Any) -> Any:
    return np.mean(np.abs(o - t), axis=-1)


def binary_cross_entropy(o: Any, t: Any) -> Any:
    return np.mean(softplus(o) - t * o, axis=-1)


def cross_entropy(o: Any, t: Any) -> Any:
    most = stop_gradient(np.max(o, axis=-1, keepdims=True))
    log_total = np.log(np.sum(np.exp(o - most), axis=-1)) + most[..., 0]
    if is_label(o, t):
        return log_total - np.sum(np.where(one_hot(o, t), o, 0), axis=-1)
    return np.sum(t, axis=-1) * log_total - np.sum(t * o, axis=-1)


def poisson(o: Any, t: Any) -> Any:
    return np.mean(np.exp(o) - t * o, axis=-1)


def hinge(o: Any, t: Any) -> Any:
    slack = 1 - t * o
    return np.mean(np.where(slack > 0, slack, 0), axis=-1)


def is_label(o: Any, t: Any) -> bool:
    """Whether targets are numbers of classes, not a probability for each."""
    return np.ndim(t) < np.ndim(o)


def one_hot(o: Any, t: Any) -> Any:
    return np.arange(o.shape[-1]) == t[..., None]


# ---- scores


def right_class(o: Any, t: Any) -> Any:
    label = t if is_label(o, t) else np.argmax(t, axis=-1)
    return np.where(np.argmax(o, axis=-1) == label, 1.0, 0.0)


def right_sides(o: Any, t: Any) -> Any:
    return np.mean(np.where((o > 0) == (t > 0.5), 1.0, 0.0), axis=-1)


# ---- what may be a target


def _numbers(y: np.ndarray, n_outputs: int, names: Names) -> np.ndarray:
    if y.ndim == 1 and n_outputs == 1:
        y = y[:, None]
    if y.shape[1:] != (n_outputs,):
        also = f" or {y.shape[:1]}" if n_outputs == 1 else ""
        raise ShapeError(
            f"{names.y} has shape {y.shape}, but loss {names.loss!r} needs {(len(y), n_outputs)}{also}: a number for"
            " each output of the network\n  cure: reshape y, or give the network as many outputs"
        )
    _extremes(y, names)
    return y


def _extremes(y: np.ndarray, names: Names) -> tuple[float, float]:
    if not y.size:
        return 0.0, 0.0
    least, most = float(np.min(y)), float(np.max(y))  # NaN where there is one; no copy of y, however large
    if not np.isfinite(least) or not np.isfinite(most):
        raise ValueError(f"{names.y} holds NaN or infinity\n  cure: leave out these rows, or give them a number")
    return least, most


def _within(low: float, high: float, what: str) -> Callable[[np.ndarray, int, Names], np.ndarray]:
    def check(y: np.ndarray, n_outputs: int, names: Names) -> np.ndarray:
        y = _numbers(y, n_outputs, names)
        least, most = _extremes(y, names)
        if least < low or most > high:
            wrong = least if least < low else most
            raise ValueError(f"{names.y} holds {wrong:g}, but loss {names.loss!r} wants {what}")
        return y

    return check


def _signs(y: np.ndarray, n_outputs: int, names: Names) -> np.ndarray:
    y = _numbers(y, n_outputs, names)
    wrong = y[(y != 1) & (y != -1)]
    if wrong.size:
        raise ValueError(
            f"{names.y} holds {wrong.flat[0]:g}, but loss {names.loss!r} wants -1 and 1\n  cure: 2 * y - 1 for 0 and 1"
        )
    return y


def _classes(y: np.ndarray, n_outputs: int, names: Names) -> np.ndarray:
    if n_outputs == 1:
        raise ShapeError(
            f"loss {names.loss!r} chooses among the network's outputs, but it has one\n"
            "  cure: as many outputs as classes, or loss='binary_cross_entropy' for two classes and one output"
        )
    least, most = _extremes(y, names)
    if y.ndim == 1:
        if y.dtype.kind == "f" and np.any(y != np.rint(y)):
            raise ValueError(
                f"{names.y} holds {y[y != np.rint(y)][0]:g}, but labels are whole numbers 0 to {n_outputs - 1}"
            )
        if least < 0 or most >= n_outputs:
            raise ValueError(
                f"{names.y} holds the label {least if least < 0 else most:g}, but the network has outputs for 0 to"
                f" {n_outputs - 1}\n  cure: number the classes from 0: np.unique(y, return_inverse=True)"
            )
        return y
    if y.shape[1:] != (n_outputs,):
        raise ShapeError(
            f"{names.y} has shape {y.shape}, but loss {names.loss!r} needs labels of shape {y.shape[:1]} or"
            f" probabilities of shape {(len(y), n_outputs)}"
        )
    if least < 0:
        raise ValueError(f"{names.y} holds {least:g}, which is no probability")
    wrong = np.abs(np.sum(y, axis=-1, dtype=float) - 1) > 1e-3
    if np.any(wrong):
        raise ValueError(
            f"{names.y} must hold probabilities that sum to 1 in each row, but row {int(np.argmax(wrong))} does not\n"
            "  cure: y / y.sum(axis=1, keepdims=True), or labels of shape (n,)"
        )
    return y


def _anything(y: np.ndarray, n_outputs: int, names: Names) -> np.ndarray:
    _extremes(y, names)
    return y


def rows_of_targets(loss: Loss, y: Any, n_rows: int, n_outputs: int, name: str = "y") -> np.ndarray:
    """The targets of all rows as the loss wants them: a view of `y`, whose dtype stays.

    Raises
    ------
    TypeError, ValueError
        If y is not of real numbers, its shape does not fit, or it holds what is no target of this loss.
    """
    if type(y) is not np.ndarray and (met := refused_class(y)):
        raise TypeError(f"{name} is {met[0]}: {met[1]}")
    try:
        array = np.asarray(y)
    except ValueError as error:  # ragged nested sequences
        raise TypeError(f"{name} does not make an array: {error}") from error
    if array.dtype.kind not in "biuf":
        cure = "np.unique(y, return_inverse=True) numbers classes" if array.dtype.kind in "OUS" else "give real numbers"
        raise TypeError(f"{name} has dtype {array.dtype}\n  cure: {cure}")
    if array.ndim == 0 or len(array) != n_rows:
        raise ShapeError(f"{name} has shape {array.shape}, but X has {n_rows} rows: give a target for each")
    return loss.targets(array, n_outputs, Names(loss.name, name))


# ---- the table


def _by_mean(slope: Callable[[Any, Any], Any]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The derivative of a mean over the outputs, from that of each output's term."""
    return lambda o, t: slope(o, t) / o.shape[-1]


def _soft(o: np.ndarray, t: np.ndarray) -> np.ndarray:
    p = one_hot(o, t) if is_label(o, t) else t
    return np.sum(p, axis=-1, keepdims=True) * softmax(o) - p


LOSSES: dict[str, Loss] = {
    x.name: x
    for x in [
        Loss("mse", mse, _by_mean(lambda o, t: 2 * (o - t)), _numbers),
        Loss("mae", mae, _by_mean(lambda o, t: np.sign(o - t)), _numbers),
        Loss(
            "binary_cross_entropy",
            binary_cross_entropy,
            _by_mean(lambda o, t: sigmoid(o) - t),
            _within(0, 1, "0, 1 or a probability\n  cure: (y + 1) / 2 for -1 and 1"),
            right_sides,
            "sigmoid",
        ),
        Loss("cross_entropy", cross_entropy, _soft, _classes, right_class, "softmax"),
        Loss(
            "poisson",
            poisson,
            _by_mean(lambda o, t: np.exp(o) - t),
            _within(0, np.inf, "counts, which are at least 0"),
        ),
        Loss("hinge", hinge, _by_mean(lambda o, t: np.where(t * o < 1, -t, 0)), _signs, right_sides),
    ]
}


@dataclass(frozen=True)
class Huber:
    """Loss for regression with outliers: half the square of a residual up to `delta`, beyond it a straight line.

    Parameters
    ----------
    delta : float, optional
        Where the square ends; ``loss="huber"`` means 1.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> loss = fg.Huber(delta=0.5)
    >>> float(loss(np.array([0.0, 3.0]), np.zeros(2)))  # half of 0.5 * (3 - 0.25)
    0.6875
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.delta, numbers.Real) or not 0 < self.delta < np.inf:
            raise ValueError(f"delta={self.delta!r} must be a positive number")

    def __call__(self, output: Any, target: Any) -> Any:
        size = np.abs(output - target)
        square, line = 0.5 * size * size, self.delta * (size - 0.5 * self.delta)
        return np.mean(np.where(size <= self.delta, square, line), axis=-1)

    def slope(self, o: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Derivative by the output."""
        return np.clip(o - t, -self.delta, self.delta) / o.shape[-1]


def loss_of(value: Any) -> Loss:
    """The loss of a name, a `Huber`, or that made of a function of the output and target of one example."""
    if isinstance(value, Loss):
        return value
    if value == "huber":
        value = Huber()
    if isinstance(value, Huber):
        return Loss("huber", value, value.slope, _numbers)
    if isinstance(value, str):
        if value in LOSSES:
            return LOSSES[value]
        raise ValueError(
            f"loss={value!r} is not a loss\n  cure: give one of {', '.join([*LOSSES, 'huber'])}, or a NumPy function"
            " loss(output, target) of one example"
        )
    if not callable(value):
        raise TypeError(f"loss must be a name or a NumPy function loss(output, target) of one example, got {value!r}")
    own = OfUser(value)
    slope = vmap(grad(value))
    return Loss(own.__name__, own, lambda o, t: by_rows(slope, o, t), _anything)
