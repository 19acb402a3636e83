"""Multilayer perceptrons: parameters as one vector, predictions, derivatives, and backpropagation step by step.

A network is one NumPy function of an example and the vector of parameters, of which weights and biases are slices. It
is traced once: rows of X are the lanes of its program, the parameters a uniform input. `MLP.backward` says the same in
plain NumPy, layer by layer, for those who learn and as a check of what is compiled.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ._arrays import as_floats
from ._compiler.filled import lowered
from ._compiler.trace import Traced
from ._dense import export, files
from ._dense.activations import Activation
from ._dense.backprop import Backward, Trace, backward, forward
from ._dense.history import TrainingHistory
from ._dense.initializers import draw_weights, initializer
from ._dense.layers import dtype_of, layers_of, members_of, one_each
from ._dense.losses import Loss, loss_of, rows_of_targets
from ._dense.objective import bootstrapped, dropout_rates, make_rows, make_task, paired, validated
from ._dense.settings import generator, spawn
from ._dense.sources import Data, rows_of
from ._dense.training import Exclusive, Programs, Task, TrainSettings, compile_task, total, train
from .errors import ShapeError
from .functions import grad, vmap
from .transform import Transform

MOST_MADE = 32  # transforms and programs that a network remembers
_FIXED = frozenset(["activation", "output", "init", "dtype", "members"])


class MLP:
    """A multilayer perceptron: dense layers ``activation(x @ W + b)``.

    Parameters
    ----------
    sizes : sequence of int
        Units of every layer: inputs, hidden layers, outputs.
    activation : str, callable, or sequence of these, optional
        Of the hidden layers, one for all or one each: "identity", "relu", "leaky_relu" (slope 0.01), "elu", "selu",
        "gelu" (exact), "gelu_tanh", "silu", "softplus", "tanh", "sigmoid", or a NumPy function of a row's
        pre-activations.
    output : str or callable, optional
        Activation of the last layer; also "softmax". Losses of probabilities are computed from the pre-activations
        where it is "softmax" or "sigmoid", so that they are exact for outputs of any size.
    dtype : dtype, optional
        float32 or float64.
    rng : int, Generator or None, optional
        Fixes the weights and, unless `fit` is given its own, all that is random in training.
    members : int, optional
        Networks of an ensemble, each with weights and a generator of its own. Parameters, weights, biases and
        predictions then have a leading axis.
    init : str, callable, or sequence of these, optional
        How the weights start, for all layers or one each: "glorot_uniform", "glorot_normal", "he_uniform",
        "he_normal", "lecun_uniform", "lecun_normal", or ``init(n_in, n_out, rng)``. None means he_normal into relu
        and its kin (leaky_relu, elu, gelu, gelu_tanh, silu), lecun_normal into selu, else glorot_uniform. Biases
        start at zero.

    Attributes
    ----------
    parameters : array of shape (P,) or (members, P)
        Everything that is trained; W and b of the first layer, then of the next. What is written into it, or into
        the views below, the network uses at once. A transform of the network, such as ``fg.jacobian(net)``, counts them
        as constants, as they were when it was first called: make it anew after training.
    weights, biases : tuples of arrays
        Of every layer, shape ``(n_in, n_out)`` and ``(n_out,)``: views of `parameters`.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> net = fg.MLP([2, 16, 1], activation="tanh", dtype="float64", rng=0)
    >>> net(np.array([[0.0, 0.0], [1.0, 2.0]])).shape, net(np.array([1.0, 2.0])).shape
    ((2, 1), (1,))
    >>> net.parameters.shape, net.weights[0].shape, net.biases[0].shape
    ((65,), (2, 16), (16,))
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Any = "relu",
        output: Any = "identity",
        dtype: Any = "float32",
        rng: Any = None,
        members: int | None = None,
        init: Any = None,
    ) -> None:
        self._layers = layers_of(sizes, activation, output)
        self.dtype = dtype_of(dtype)
        self.members = members_of(members)
        self.activation = list(activation) if isinstance(activation, (list, tuple)) else activation
        self.output, self.init = output, init
        inits = one_each(init, len(self._activations), "init", "layers")
        self._rng = generator(rng)
        self._parameters = np.zeros((self.members or 1, self._layers.n_parameters), self.dtype)
        rngs = [self._rng] if self.members is None else spawn(self._rng, self.members)
        for vector, own in zip(self._parameters, rngs, strict=True):
            for (W, _), a, how in zip(self._layers.split(vector), self._activations, inits, strict=True):
                W[...] = draw_weights(initializer(how, a.name), W.shape, own)
        if self.members is None:
            self._parameters = self._parameters[0]
        self._make_programs()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and name in vars(self):
            raise AttributeError(f"{name} of a network does not change: make a new MLP")
        super().__setattr__(name, value)

    def __copy__(self) -> MLP:
        """As `copy.deepcopy`: two networks never train the same parameters."""
        return copy.deepcopy(self)

    def _make_programs(self) -> None:
        """What is compiled when it is first called, and made again rather than pickled."""
        # of a row and the parameters, which are those of one member, or of all
        over_members = None if self.members is None else (None, 0)
        self._row = Transform(self._layers.predict, "MLP", in_axes=over_members)
        self._rows = vmap(self._layers.predict, in_axes=(0, None))
        self._row_shape = (self.sizes[0],)
        self._made: dict[Any, Any] = {}
        self._exclusive = Exclusive("the network")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, the input's first."""
        return self._layers.sizes

    @property
    def _activations(self) -> tuple[Activation, ...]:
        return self._layers.activations

    # ---- parameters

    @property
    def parameters(self) -> np.ndarray:
        """Everything that is trained, as one vector a network."""
        return self._parameters

    @parameters.setter
    def parameters(self, value: Any) -> None:
        self._assign("parameters", self._parameters, value)

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Weights of every layer, views of `parameters`."""
        return tuple([W for W, _ in self._layers.split(self._parameters)])

    @weights.setter
    def weights(self, values: Any) -> None:
        self._assign_all("weights", self.weights, values)

    @property
    def biases(self) -> tuple[np.ndarray, ...]:
        """Biases of every layer, views of `parameters`."""
        return tuple([b for _, b in self._layers.split(self._parameters)])

    @biases.setter
    def biases(self, values: Any) -> None:
        self._assign_all("biases", self.biases, values)

    def _assign_all(self, name: str, targets: Sequence[np.ndarray], values: Any) -> None:
        values = list(values) if isinstance(values, Iterable) else [values]
        if len(values) != len(targets):
            raise ShapeError(f"{name} has {len(values)} arrays, but the network has {len(targets)} layers")
        arrays = [as_floats(value, f"{name}[{i}]") for i, value in enumerate(values)]
        for i, (target, array) in enumerate(zip(targets, arrays, strict=True)):
            _check_shape(f"{name}[{i}]", array, target.shape)
        for target, array in zip(targets, arrays, strict=True):
            target[...] = array

    def _assign(self, name: str, target: np.ndarray, value: Any) -> None:
        array = as_floats(value, name)
        _check_shape(name, array, target.shape)
        target[...] = array

    # ---- predictions

    def __call__(self, X: Any) -> Any:
        """Outputs for the rows of `X`.

        Parameters
        ----------
        X : array_like of shape (n, n_in) or (n_in,)
            Rows, or one row. In a function that fastgrad traces a traced array; the parameters then count as constants,
            as they are when the function is traced.

        Returns
        -------
        array of shape (n, n_out) or (n_out,)
            With members a leading axis more.
        """
        if type(X) is np.ndarray and X.dtype is self.dtype and X.shape == self._row_shape:
            return self._row(X, self._parameters)  # a microsecond in all
        X = lowered(X)
        if isinstance(X, Traced):
            return self._traced(X)
        X = self._border(X)
        if X.ndim == 1:
            return self._row(X, self._parameters)
        if self.members is None and len(X):
            return self._rows(X, self._parameters)
        result = np.empty((*self._parameters.shape[:-1], len(X), self.sizes[-1]), self.dtype)
        if len(X):
            for parameters, out in zip(self._parameters, result, strict=True):
                self._rows(X, parameters, out=out)
        return result

    def _by_member(self, array: np.ndarray) -> Any:
        return [array] if self.members is None else array

    def _border(self, X: Any) -> np.ndarray:
        """Rows, or one row, in the network's dtype."""
        if isinstance(X, np.ndarray):
            self._check_rows(X.shape)  # before anything absurd is copied
        array = as_floats(X, "X")
        self._check_rows(array.shape)
        return array.astype(self.dtype, copy=False)

    def _check_rows(self, shape: tuple[int, ...]) -> None:
        n = self.sizes[0]
        if len(shape) not in (1, 2) or shape[-1] != n:
            raise ShapeError(
                f"X has shape {shape}, but the network takes rows of {n} numbers: (n, {n}), or ({n},) for one row"
            )

    def _traced(self, X: Any) -> Any:
        self._check_rows(X.shape)
        predict = self._layers.predict if X.ndim == 1 else self._rows
        results = [predict(X, parameters) for parameters in self._by_member(self._parameters)]
        return results[0] if self.members is None else np.stack(results)

    # ---- derivatives

    def value_and_grad(
        self, X: Any, y: Any, loss: Any = "mse", *, sample_weight: Any = None, wrt_input: bool = False
    ) -> tuple[Any, ...]:
        """Mean loss over rows, and its derivatives by the weights and biases of every layer.

        Parameters
        ----------
        X : array_like of shape (n, n_in) or (n_in,)
            Rows, or one row.
        y : array_like
            A target for each row: ``(n, n_out)``, or ``(n,)`` where there is one output or the targets are labels.
        loss : str, fg.Huber or callable, optional
            "mse" and "mae", the mean over the outputs of a row of squared and absolute errors; "huber" (with delta 1;
            or `fastgrad.Huber`); "binary_cross_entropy", for targets from 0 to 1 for each output; "cross_entropy", for
            labels 0, 1, ... or rows of probabilities; "poisson", for counts, where the output is the logarithm of the
            rate; "hinge", for targets -1 and 1 for each output; or ``loss(output, target)`` of one example in NumPy.
            The cross-entropies take logits: outputs "identity", or "sigmoid" and "softmax", whose inverse they
            contain.
        sample_weight : array_like of shape (n,), optional
            The mean is weighted.
        wrt_input : bool, optional
            Return the derivative by X too.

        Returns
        -------
        value, gradients[, dX]
            The mean; ``[(dW, db), ...]``; an array shaped like X. With members each has a leading axis.

        Examples
        --------
        >>> import numpy as np, fastgrad as fg
        >>> net = fg.MLP([2, 1], dtype="float64", rng=0)
        >>> net.weights = [[[1.0], [2.0]]]
        >>> value, [(dW, db)] = net.value_and_grad([[1.0, 1.0]], [[0.0]])
        >>> float(value), dW.tolist(), db.tolist()
        (9.0, [[6.0], [6.0]], [6.0])
        """
        kind = loss_of(loss)
        rows = rows_of(X, "X")
        is_one = rows.ndim == 1
        data = make_rows(self._layers, kind, *([rows[None], [y]] if is_one else [rows, y]), sample_weight=sample_weight)
        task, programs = self._compiled(kind, data)
        results = [total(task, parameters, data, programs) for parameters in self._by_member(self._parameters)]
        values, gradients = zip(*results, strict=True)
        result = (self._joined(values), paired([self._joined(x) for x in zip(*gradients, strict=True)]))
        if not wrt_input:
            return result
        dX = self._by_input(kind, data)
        return *result, dX[..., 0, :] if is_one else dX

    def _by_input(self, loss: Loss, data: Data) -> np.ndarray:
        """The derivative of the mean loss by X."""
        rows, targets = [np.require(x.array, self.dtype, "C") for x in data.sources]
        weights = np.ones(data.n_rows) if data.weights is None else data.weights
        shares = (weights / weights.sum()).astype(self.dtype)[:, None]
        by_row = self._of_rows(loss, 1)
        return self._joined(
            [shares * by_row(self._leaves(p), rows, targets) for p in self._by_member(self._parameters)]
        )

    def per_example_gradients(self, X: Any, y: Any, loss: Any = "mse") -> list[tuple[np.ndarray, np.ndarray]]:
        """Gradients of the loss of every row by itself.

        Parameters
        ----------
        X, y, loss
            As for `value_and_grad`.

        Returns
        -------
        list of (dW, db)
            For every layer arrays of shape ``(n, n_in, n_out)`` and ``(n, n_out)``; with members a leading axis more.

        Examples
        --------
        >>> import numpy as np, fastgrad as fg
        >>> net = fg.MLP([2, 1], dtype="float64", rng=0)
        >>> (dW, db), = net.per_example_gradients(np.eye(2), np.zeros(2))
        >>> dW.shape, db.shape
        ((2, 2, 1), (2, 1))
        """
        kind = loss_of(loss)
        self._layers.is_linked(kind)
        rows = self._border(X)
        if rows.ndim == 1:
            rows, y = rows[None], [y]
        targets = rows_of_targets(kind, y, len(rows), self.sizes[-1])
        if not len(rows):
            lead = (0,) if self.members is None else (self.members, 0)
            return paired([np.empty(lead + shape, self.dtype) for shape in self._layers.shapes])
        targets, by_row = np.require(targets, self.dtype, "C"), self._of_rows(kind, 0)
        results = [by_row(self._leaves(p), rows, targets) for p in self._by_member(self._parameters)]
        return paired([self._joined(x) for x in zip(*results, strict=True)])

    def _of_rows(self, loss: Loss, argnum: int) -> Transform:
        """Gradients of the loss of each row by the leaves of the parameters (0), or by the row itself (1)."""

        def of_row(leaves: Any, x: Any, y: Any) -> Any:
            return loss.function(self._layers.outputs(loss, paired(leaves), x), y)

        return self._remembered((loss.function, argnum), lambda: vmap(grad(of_row, argnum), in_axes=(None, 0, 0)))

    def _compiled(self, loss: Loss, data: Data, dropout: tuple[float, ...] = ()) -> tuple[Task, Programs]:
        """What is trained with rows like these, and its programs."""

        def made() -> tuple[Task, Programs]:
            task = make_task(self._layers, loss, dropout, self.dtype)
            return task, compile_task(task, data.shapes, evaluates)

        evaluates = data.validation is not None
        return self._remembered((loss.function, dropout, evaluates, *data.shapes), made)

    def _remembered(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` makes, the first time."""
        if key not in self._made:
            if len(self._made) >= MOST_MADE:
                self._made.pop(next(iter(self._made)), None)
            self._made[key] = make()
        return self._made[key]

    def _leaves(self, parameters: np.ndarray) -> list[np.ndarray]:
        return [leaf for layer in self._layers.split(parameters) for leaf in layer]

    def _joined(self, by_member: Sequence[Any]) -> Any:
        return by_member[0] if self.members is None else np.stack(by_member)

    # ---- training

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        loss: Any = "mse",
        optimizer: Any = "adam",
        learning_rate: Any = None,
        batch_size: int | None = 32,
        epochs: int = 10,
        shuffle: bool = True,
        validation: Any = None,
        monitor: str | None = None,
        patience: int | None = None,
        min_delta: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
        dropout: Any = 0.0,
        sample_weight: Any = None,
        class_weight: Any = None,
        scale: Any = None,
        bootstrap: bool = False,
        rng: Any = None,
        record: str | None = None,
        progress: bool = False,
        callback: Callable[..., Any] | None = None,
    ) -> TrainingHistory:
        """Train the parameters, in place, by minibatches; calling it again goes on from where they are.

        The loop over epochs and minibatches runs in C. Members of an ensemble are trained at once, each with an order
        of rows, and noise for dropout, of its own.

        Parameters
        ----------
        X : array_like of shape (n, n_in)
            Rows. float64, float32, int64, int32, uint8 and bool are read where they are, whatever their strides, also
            read-only and memory-mapped; only other kinds are converted as a whole.
        y, loss
            As for `value_and_grad`.
        optimizer, learning_rate, batch_size, epochs, shuffle, monitor, patience, min_delta, record, progress
            As for `fastgrad.fit`; with members one learning rate for all or one each.
        validation : (X, y), (X, y, sample_weight) or float, optional
            Rows whose loss, and accuracy where there are classes, are looked at after each epoch. A number between 0
            and 1 holds out that share of the rows, of each class where the targets are labels.
        l1, l2 : float, optional
            Penalties ``l1 * sum(abs(W)) + l2 / 2 * sum(W**2)`` on the weights, not on biases, part of the loss.
        dropout : float or sequence of float, optional
            The share of units that a step drops, the same for all hidden layers or one each.
        sample_weight : (n,) array_like, optional
            What each row counts in the mean over its minibatch.
        class_weight : dict or "balanced", optional
            What the rows of a class count; ``"balanced"`` gives all classes the same weight.
        scale : float or (float, float), optional
            Numbers x of X count as ``scale * x``, or as ``scale * x + shift``: ``1 / 255`` for images. Predictions do
            not scale: they want rows like those that the network was trained with, ``net(X * scale)``.
        bootstrap : bool, optional
            Train each member with n rows drawn with replacement.
        rng : int, Generator or None, optional
            Fixes everything random in this call; by default the generator that drew the weights goes on.
        callback : callable, optional
            Called after each epoch with an object that has `epoch`, `loss`, `validation_loss`, `score` and
            `parameters`. Raising StopIteration ends the training.

        Returns
        -------
        TrainingHistory
            With ``loss``, ``validation_loss``, ``score`` and ``time`` by epoch, and ``status``, ``message``, ``epoch``.

        Notes
        -----
        A loss that becomes infinite or NaN stops the training with a status, and the parameters of the best epoch come
        back. Dropout follows Srivastava et al. (2014), scaled while training.

        Examples
        --------
        >>> import numpy as np, fastgrad as fg
        >>> X = np.random.default_rng(0).normal(size=(500, 2))
        >>> inside = np.sum(X**2, axis=1) < 1
        >>> net = fg.MLP([2, 16, 2], activation="tanh", output="softmax", rng=0)
        >>> history = net.fit(X, inside, loss="cross_entropy", learning_rate=0.02, epochs=20, validation=0.2)
        >>> bool(history.score[-1] > 0.9), bool(net([0.0, 0.0])[1] > 0.9)
        (True, True)
        """
        kind = loss_of(loss)
        self._layers.is_linked(kind)
        rates = dropout_rates(dropout, len(self.sizes) - 2)
        rng = self._rng if rng is None else generator(rng)
        settings = TrainSettings(
            optimizer=optimizer, learning_rate=learning_rate, batch_size=batch_size, epochs=epochs, shuffle=shuffle,
            patience=patience, min_delta=min_delta, monitor=monitor, l1=l1, l2=l2, rng=rng, record=record,
            progress=progress, callback=callback,
        )  # fmt: skip
        with self._exclusive:
            data = make_rows(
                self._layers, kind, X, y, sample_weight=sample_weight, class_weight=class_weight, scale=scale
            )
            if validation is not None:
                data = validated(self._layers, kind, data, validation, scale, rng)
            if bootstrap:
                data = bootstrapped(data, self.members or 1, rng)
            task, programs = self._compiled(kind, data, rates)
            return train(task, self._parameters, data, settings, programs)

    # ---- backpropagation step by step

    def forward(self, X: Any) -> Trace:
        """A forward pass in NumPy that keeps what every layer computes.

        Parameters
        ----------
        X : array_like of shape (n, n_in) or (n_in,)
            Rows; one row counts as ``n = 1``.

        Returns
        -------
        Trace
            With ``activations`` and ``preactivations``.

        Examples
        --------
        >>> import numpy as np, fastgrad as fg
        >>> net = fg.MLP([2, 3, 1], rng=0)
        >>> trace = net.forward(np.ones((5, 2)))
        >>> [a.shape for a in trace.activations], [z.shape for z in trace.preactivations]
        ([(5, 2), (5, 3), (5, 1)], [(5, 3), (5, 1)])
        """
        X = self._border(X)
        return forward(self._layers, self._parameters, X if X.ndim == 2 else X[None])

    def backward(self, trace: Trace, y: Any, loss: Any = "mse") -> Backward:
        """Backpropagation in NumPy through a forward pass.

        Each step is an equation of the textbook: the delta of a layer is the loss's derivative by its pre-activations;
        ``dW = a.T @ delta`` with the activations of the layer before, ``db`` the sum of delta over rows, and
        ``delta @ W.T`` the derivative by those activations.

        Parameters
        ----------
        trace : Trace
            From `forward`, with the parameters as they still are.
        y, loss
            As for `value_and_grad`.

        Returns
        -------
        Backward
            With ``value``, ``deltas``, ``gradients`` and ``dX``.

        Examples
        --------
        >>> import numpy as np, fastgrad as fg
        >>> net = fg.MLP([2, 3, 1], rng=0)
        >>> back = net.backward(net.forward(np.ones((5, 2))), np.zeros(5))
        >>> [delta.shape for delta in back.deltas], back.gradients[0][0].shape
        ([(5, 3), (5, 1)], (2, 3))
        """
        return backward(self._layers, self._parameters, trace, y, loss_of(loss))

    # ---- in files and elsewhere

    save = files.save
    load: classmethod[MLP, [str | os.PathLike[str]], MLP] = classmethod(files.load)
    to_numpy = export.to_numpy
    to_onnx = export.to_onnx

    # ---- as an object

    def __repr__(self) -> str:
        *hidden, output = [a.name for a in self._activations]
        shown = hidden if len(set(hidden)) > 1 else "".join(hidden[:1]) or self.activation
        members = "" if self.members is None else f", members={self.members}"
        return f"MLP({list(self.sizes)}, activation={shown!r}, output={output!r}, dtype={self.dtype.name!r}{members})"

    def __getstate__(self) -> dict[str, Any]:
        made = ("_layers", "_row", "_rows", "_row_shape", "_made", "_exclusive")
        return {name: value for name, value in vars(self).items() if name not in made} | {"sizes": self.sizes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._layers = layers_of(state.pop("sizes"), state["activation"], state["output"])
        vars(self).update(state, dtype=dtype_of(state["dtype"]))  # a copy of a dtype is another object
        self._make_programs()


# ---- arguments


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}, but the network's has shape {shape}")
