"""`fit`: minibatch training of any loss of one example, written in NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import as_floats
from .._compiler import tree
from ..descent import at_least
from ..errors import ShapeError
from ..problem import flatten
from .history import TrainingHistory
from .settings import TrainSettings, generator
from .sources import Data, held_out, make_data
from .task import Task
from .training import train


@dataclass(frozen=True)
class Fit:
    """What `fit` gives back.

    Attributes
    ----------
    params : ndarray or nested, like the parameters given
        The trained ones, new arrays.
    history : TrainingHistory
        How the training went.
    """

    params: Any
    history: TrainingHistory

    @property
    def success(self) -> Any:
        """Whether the training came to its end: False where the loss became non-finite."""
        return self.history.success

    @property
    def message(self) -> str:
        """What happened, in words."""
        return self.history.message


def fit(
    loss_fun: Callable[..., Any],
    params: Any,
    data: Any,
    *,
    optimizer: Any = "adam",
    learning_rate: Any = None,
    batch_size: int | None = 32,
    epochs: int = 10,
    shuffle: bool = True,
    score: Callable[..., Any] | None = None,
    validation: Any = None,
    monitor: str | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    sample_weight: Any = None,
    scale: Any = None,
    members: int | None = None,
    rng: Any = None,
    record: str | None = None,
    progress: bool = False,
    callback: Callable[..., Any] | None = None,
) -> Fit:
    """Minimise the mean over rows of data of a loss written for ONE row, by minibatches.

    The loop over epochs and minibatches runs in C.

    Parameters
    ----------
    loss_fun : callable
        ``loss_fun(params, *row)``, written with NumPy, returning a scalar; ``loss_fun(params, **row)`` where `data` is
        a dict.
    params : array_like, or nested dicts, lists and tuples of them
        Where to start; not written to. Computation is in float32 where all of them are float32, else in float64.
    data : array_like, tuple of these, or dict of these
        Rows first. float64, float32, int64, int32, uint8 and bool are read where they are, whatever their strides, also
        read-only and memory-mapped; only other kinds are converted as a whole.
    optimizer : str or an object with its settings, optional
        An update rule, such as ``"adam"`` or ``fg.Adam(clip_norm=1.0, weight_decay=0.01)``: gd, momentum, nesterov,
        adagrad, rmsprop, adam, amsgrad, adamw, nadam, lion, rprop. Or a search over all rows at once: lbfgs
        (`fg.LBFGS`) or backtracking, whose iterations count as epochs.
    learning_rate : float, (M,) array_like or schedule, optional
        Replaces the optimizer's; one for all members or one each, or a function of the step (`fg.schedules`).
    batch_size : int or None, optional
        Rows of a minibatch; the last one of an epoch may be smaller. None, or more than there are, takes all rows.
    epochs : int, optional
        Passes over the data.
    shuffle : bool, optional
        Whether each epoch takes the rows in a new random order.
    score : callable, optional
        Called as `loss_fun`; its mean over the validation data is recorded. Larger is better.
    validation : data like `data`, or float, optional
        What is looked at after each epoch; a tuple may have sample weights as one array more. A number between 0 and 1
        holds out that share of the rows, chosen by `rng` and copied.
    monitor : "loss", "validation_loss" or "score", optional
        What tells a better epoch; the loss of the validation data where there are any.
    patience : int, optional
        Stop after so many epochs without an improvement by more than `min_delta`, and give back the parameters of the
        best epoch. By default all epochs are run, and the last parameters given back.
    min_delta : float, optional
        See `patience`.
    l1, l2 : float, optional
        Penalties ``l1 * sum(abs(p)) + l2 / 2 * sum(p**2)`` on the parameters, part of the loss. For decoupled decay see
        `fg.AdamW`, and `weight_decay` of every update rule.
    sample_weight : (n,) array_like, optional
        What each row counts in the mean.
    scale : float or (float, float), optional
        Numbers x of the first array count as ``scale * x``, or as ``scale * x + shift``: ``1 / 255`` for images.
    members : int, optional
        Train so many sets of parameters at once, each with an order of rows of its own. Every array of `params` then
        has a leading axis of that length.
    rng : int, Generator or None, optional
        Fixes everything random.
    record : None or "step", optional
        Whether the loss of every step is kept.
    progress : bool, optional
        Show a bar of epochs (tqdm's when it is installed).
    callback : callable, optional
        Called after each epoch with an object that has `epoch`, `loss`, `validation_loss`, `score` and `parameters`,
        nested like `params`. Raising StopIteration ends the training.

    Returns
    -------
    Fit
        With the trained ``.params``, the ``.history``, ``.success`` and ``.message``.

    Raises
    ------
    TraceError, ShapeError
        If `loss_fun` cannot be recorded or is not scalar, or the data do not fit together.
    KeyboardInterrupt
        On Ctrl-C.

    Notes
    -----
    A loss that becomes infinite or NaN stops the training with a status, never an exception, and the parameters of the
    best epoch are given back. Data are not searched for NaN beforehand; the message then says where there are any.

    Examples
    --------
    Logistic regression by a loss written by hand:

    >>> import numpy as np, fastgrad as fg
    >>> def loss(params, x, y):
    ...     z = x @ params["w"] + params["b"]
    ...     return np.logaddexp(0.0, z) - y * z
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 3))
    >>> y = X @ [1.0, -2.0, 0.5] + 0.3 > 0
    >>> res = fg.fit(loss, {"w": np.zeros(3), "b": 0.0}, (X, y), learning_rate=0.01, epochs=20, rng=0)
    >>> bool(np.mean((X @ res.params["w"] + res.params["b"] > 0) == y) > 0.98)
    True

    A mixture of two normal distributions, fitted to samples by maximum likelihood:

    >>> def surprise(params, x):
    ...     z = (x - params["mean"]) / np.exp(params["log_sigma"])
    ...     logs = params["logit"] - z**2 / 2 - params["log_sigma"]
    ...     return np.log(np.sum(np.exp(params["logit"]))) - np.log(np.sum(np.exp(logs)))
    >>> x = np.concatenate([rng.normal(-2, 0.5, 600), rng.normal(1, 1, 400)])
    >>> start = {"mean": np.array([-1.0, 1.0]), "log_sigma": np.zeros(2), "logit": np.zeros(2)}
    >>> fg.fit(surprise, start, x, optimizer="lbfgs", epochs=100).params["mean"].round(0)
    array([-2.,  1.])
    """
    for name, fun in (("loss_fun", loss_fun), ("score", score)):
        if not callable(fun) and (fun is not None or name == "loss_fun"):
            raise TypeError(f"{name} must be a function, got {type(fun).__name__}")
    rng = generator(rng)
    named, keys = _named(data, "data")
    rows = make_data(named, weights=sample_weight, scale=scale)
    if validation is not None:
        rows = _validated(rows, validation, keys, len(named), scale, rng)
    leaves, structure = flatten(params)
    names = tree.paths(structure, "params")
    if not leaves:
        raise TypeError(f"params={params!r} holds no array\n  cure: put at least one into it")
    starts = [as_floats(leaf, name) for leaf, name in zip(leaves, names, strict=True)]
    lead = () if members is None else (_members(members, starts, names),)
    dtype = np.result_type(*starts)
    shapes = [x.shape[len(lead) :] for x in starts]
    vectors = np.concatenate([x.reshape(*lead, -1) for x in starts], axis=-1, dtype=dtype)

    def of_row(fun: Callable[..., Any]) -> Callable[..., Any]:
        def called(leaves: Any, row: Any, noise: Any = ()) -> Any:
            nested = tree.unflatten(structure, leaves)
            return fun(nested, *row) if keys is None else fun(nested, **dict(zip(keys, row, strict=True)))

        called.__name__ = str(getattr(fun, "__name__", type(fun).__name__))
        return called

    score_of_row = None if score is None else of_row(score)
    task = Task(of_row(loss_fun), score_of_row, shapes, [True] * len(shapes), [], dtype)

    def nested(parameters: np.ndarray) -> Any:
        return tree.unflatten(structure, task.split(parameters))

    def look(epoch: Any) -> None:
        callback(dataclasses.replace(epoch, parameters=nested(epoch.parameters)))  # type: ignore[misc]

    settings = TrainSettings(
        optimizer=optimizer, learning_rate=learning_rate, batch_size=batch_size, epochs=epochs, shuffle=shuffle,
        patience=patience, min_delta=min_delta, monitor=monitor, l1=l1, l2=l2, rng=rng, record=record,
        progress=progress, callback=look if callable(callback) else callback,
    )  # fmt: skip
    history = train(task, vectors, rows, settings)
    return Fit(nested(vectors), history)


def _named(data: Any, name: str) -> tuple[dict[str, Any], list[Any] | None]:
    """Arrays by the name that messages give them, and the keywords of a dict."""
    if isinstance(data, Mapping):
        return {f"{name}[{key!r}]": value for key, value in data.items()}, list(data)
    if isinstance(data, tuple):
        return {f"{name}[{i}]": value for i, value in enumerate(data)}, None
    return {name: data}, None


def _validated(
    rows: Data, validation: Any, keys: list[Any] | None, n_arrays: int, scale: Any, rng: np.random.Generator
) -> Data:
    """The rows to train with, and those to validate with."""
    if isinstance(validation, (float, np.floating)):
        return held_out(rows, validation, rng)
    weights = None
    if keys is None and isinstance(validation, tuple) and len(validation) == n_arrays + 1:
        *arrays, weights = validation
        validation = tuple(arrays)
    named, its_keys = _named(validation, "validation")
    if its_keys != keys:
        if its_keys is None or keys is None or set(its_keys) != set(keys):
            raise TypeError("validation must be a number between 0 and 1, or nested like data, with as many arrays")
        named = {f"validation[{key!r}]": validation[key] for key in keys}
    if len(named) != n_arrays:
        raise ShapeError(f"validation has {len(named)} arrays, but data has {n_arrays}")
    its_rows = make_data(named, weights=weights, scale=scale, prefix="validation's ")
    return dataclasses.replace(rows, validation=its_rows)


def _members(members: Any, starts: list[np.ndarray], names: list[str]) -> int:
    n = at_least("members", members, 1)
    for x, name in zip(starts, names, strict=True):
        if x.ndim == 0 or len(x) != n:
            raise ShapeError(f"{name} has shape {x.shape}: with members={n} it needs a leading axis of that length")
    return n
