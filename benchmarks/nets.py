"""The same training of the same dense network written for each peer: minibatches in the order of the rows, Adam.

All start from the same weights and see the same rows, so that their losses can be compared step by step. Each peer
runs in the fastest of its usual forms: JAX as one jitted scan over all steps, whose Adam works on the arrays of the
layers or on one flat vector; torch eagerly, by Adam over lists of arrays ("foreach") or by its fused kernel, which is
also tried on one thread: starting a second one takes longer than a small layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import fastgrad as fg

from .loops import BETA1, BETA2, EPSILON
from .peers import cores, import_jax, import_torch
from .timing import Side, fastest

RATE = 1e-3
COMPARED = 200  # steps: after more, a unit that some rounding switched on or off makes other losses
Layers = list[tuple[Any, Any]]  # weights (inputs, outputs) and biases of each layer


@dataclass(frozen=True)
class Work:
    """So many steps of Adam on the mean squared error of a network with relu, of one minibatch each."""

    sizes: tuple[int, ...]
    batch: int
    steps: int
    dtype: str = "float32"
    seed: int = 1

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a minibatch for every step, and what a smooth function makes of them."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((self.batch * self.steps, self.sizes[0]), dtype=np.float32).astype(self.dtype)
        directions = rng.normal(size=(self.sizes[0], self.sizes[-1])) / np.sqrt(self.sizes[0])
        return X, np.sin(X @ directions.astype(self.dtype))

    def start(self) -> Layers:
        """Weights by He's rule, and small biases."""
        rng = np.random.default_rng(self.seed)
        return [
            (
                rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs)).astype(self.dtype),
                rng.normal(0, 0.1, outputs).astype(self.dtype),
            )
            for inputs, outputs in zip(self.sizes, self.sizes[1:], strict=False)
        ]


def sides(work: Work) -> dict[str, Callable[[], Side]]:
    """Results are the mean of the steps' losses, then the first losses one by one."""
    return {
        "fastgrad": lambda: fastgrad_side(work),
        "jax": fastest(arrays=lambda: jax_side(work, flat=False), flat=lambda: jax_side(work, flat=True)),
        "torch": fastest(**{form: partial(torch_side, work, form) for form in ("foreach", "fused", "1 thread")}),
        "sklearn": lambda: sklearn_side(work),
    }


def fastgrad_network(work: Work) -> tuple[Any, np.ndarray]:
    """The network, and its first parameters, to begin another time."""
    net = fg.MLP(work.sizes, activation="relu", dtype=work.dtype)
    for layer, mine in zip(work.start(), zip(net.weights, net.biases, strict=True), strict=True):
        for start, array in zip(layer, mine, strict=True):
            array[:] = start
    return net, net.parameters.copy()


def fastgrad_side(work: Work) -> Side:
    X, Y = work.data()
    net, start = fastgrad_network(work)
    settings: dict[str, Any] = {"batch_size": work.batch, "epochs": 1, "shuffle": False, "record": "step"}

    def run() -> Any:
        net.parameters[:] = start
        history = net.fit(X, Y, learning_rate=RATE, **settings)
        return history.loss[0], history.step_loss[:COMPARED]

    return Side(run, work.steps)


def forward(activation: Callable[[Any], Any], layers: Any, x: Any) -> Any:
    """The network, of arrays of NumPy or JAX."""
    *hidden, (weights, biases) = layers
    for w, b in hidden:
        x = activation(x @ w + b)
    return x @ weights + biases


def jax_side(work: Work, flat: bool) -> Side:
    """One scan; the data are on the device, and the state is donated, so that its arrays are overwritten."""
    jax = import_jax()
    flatten = import_module("jax.flatten_util").ravel_pytree
    layers = jax.tree.map(jax.numpy.asarray, work.start())
    start, layers_of = flatten(layers) if flat else (layers, lambda layers: layers)
    train = jax.jit(_jax_training(jax, layers_of), donate_argnums=0)
    X, Y = _minibatches(work)

    def run() -> Any:
        _, losses = train(jax.tree.map(jax.numpy.copy, start), X, Y)
        losses.block_until_ready()
        return losses.mean(), losses[:COMPARED]

    return Side(run, work.steps)


def jax_members_side(work: Work, members: int) -> Side:
    """As many networks by vmap, with the seeds from 0 on; the mean loss of each."""
    jax = import_jax()
    starts = [replace(work, seed=seed).start() for seed in range(members)]
    start = jax.tree.map(lambda *parts: jax.numpy.stack(parts), *starts)
    train = jax.jit(jax.vmap(_jax_training(jax, lambda layers: layers), in_axes=(0, None, None)), donate_argnums=0)
    X, Y = _minibatches(work)

    def run() -> Any:
        _, losses = train(jax.tree.map(jax.numpy.copy, start), X, Y)
        return (losses.mean(axis=1).block_until_ready(),)

    return Side(run, work.steps * members)


def _minibatches(work: Work) -> Any:
    return tuple(import_jax().device_put(part.reshape(work.steps, work.batch, -1)) for part in work.data())


def _jax_training(jax: Any, layers: Callable[[Any], Any]) -> Callable[..., Any]:
    """A function from parameters and minibatches to the last parameters and all losses."""
    numpy, each = jax.numpy, jax.tree.map

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        return numpy.mean((forward(jax.nn.relu, layers(parameters), x) - y) ** 2)

    def step(state: Any, rows: Any) -> Any:
        parameters, mean, square, count = state
        value, slope = jax.value_and_grad(loss)(parameters, *rows)
        count = count + 1
        scale = (RATE / (1 - BETA1**count)).astype(value.dtype)
        root = (1 / numpy.sqrt(1 - BETA2**count)).astype(value.dtype)
        mean = each(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, slope)
        square = each(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, square, slope)
        parameters = each(lambda p, m, v: p - scale * m / (numpy.sqrt(v) * root + EPSILON), parameters, mean, square)
        return (parameters, mean, square, count), value

    def train(parameters: Any, X: Any, Y: Any) -> Any:
        zero = each(numpy.zeros_like, parameters)
        state, losses = jax.lax.scan(step, (parameters, zero, zero, numpy.zeros(())), (X, Y))
        return state[0], losses

    return train


def torch_side(work: Work, form: str) -> Side:
    torch = import_torch()
    X, Y = (torch.from_numpy(part).split(work.batch) for part in work.data())
    net = torch_network(work)
    start = [parameter.detach().clone() for parameter in net.parameters()]
    settings: dict[str, Any] = {"foreach": True} if form == "foreach" else {"fused": True}
    threads = 1 if form == "1 thread" else cores()

    def run() -> Any:
        torch.set_num_threads(threads)
        with torch.no_grad():
            for parameter, first in zip(net.parameters(), start, strict=True):
                parameter.copy_(first)
        optimiser = torch.optim.Adam(net.parameters(), lr=RATE, eps=EPSILON, **settings)
        losses = []
        for x, y in zip(X, Y, strict=True):
            optimiser.zero_grad()
            loss = torch.nn.functional.mse_loss(net(x), y)
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        curve = torch.stack(losses)
        return curve.mean(), curve[:COMPARED]

    return Side(run, work.steps)


def torch_network(work: Work) -> Any:
    torch = import_torch()
    layers: list[Any] = []
    for weights, biases in work.start():
        layer = torch.nn.Linear(*weights.shape, dtype=getattr(torch, work.dtype))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights.T))
            layer.bias.copy_(torch.from_numpy(biases))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def sklearn_side(work: Work) -> Side:
    """One epoch of `fit`; its loss is half of ours, and its Adam adds epsilon to another root."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    X, Y = work.data()
    Y = Y[:, 0] if Y.shape[1] == 1 else Y
    settings: dict[str, Any] = {"batch_size": work.batch, "max_iter": 1, "alpha": 0, "shuffle": False}
    net = MLPRegressor(
        hidden_layer_sizes=work.sizes[1:-1], learning_rate_init=RATE, warm_start=True, random_state=0, **settings
    )
    warnings.simplefilter("ignore", ConvergenceWarning)
    net.fit(X[: work.batch], Y[: work.batch])

    def run() -> Any:
        for layer, mine in zip(work.start(), zip(net.coefs_, net.intercepts_, strict=True), strict=True):
            for start, array in zip(layer, mine, strict=True):
                array[:] = start
        net.fit(X, Y)
        return (2 * net.loss_,)

    return Side(run, work.steps)
