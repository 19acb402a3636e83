"""Backpropagation in plain NumPy, layer by layer: to learn from, and to check what is compiled."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .layers import Layers
from .losses import Loss, rows_of_targets


class Trace(NamedTuple):
    """What a forward pass leaves behind, layer by layer; members of an ensemble are a leading axis.

    Attributes
    ----------
    activations : list of arrays
        ``(n, units)`` each: X, the activations of every hidden layer, the output.
    preactivations : list of arrays
        ``a @ W + b`` of every layer, before its activation.
    """

    activations: list[np.ndarray]
    preactivations: list[np.ndarray]


class Backward(NamedTuple):
    """What backpropagation finds, layer by layer; members of an ensemble are a leading axis.

    Attributes
    ----------
    value : float or array
        The mean loss.
    deltas : list of arrays
        Its derivatives by the pre-activations of every layer, ``(n, units)`` each.
    gradients : list of (dW, db)
        Its derivatives by the weights and biases of every layer.
    dX : array
        Its derivative by X.
    """

    value: Any
    deltas: list[np.ndarray]
    gradients: list[tuple[np.ndarray, np.ndarray]]
    dX: np.ndarray  # noqa: N815


def forward(layers: Layers, parameters: np.ndarray, X: np.ndarray) -> Trace:
    """All pre-activations and activations for rows of inputs."""
    a = X
    trace = Trace([a], [])
    for (W, b), own in zip(layers.split(parameters), layers.activations, strict=True):
        z = a @ W + b[..., None, :]
        a = own.function(z)
        trace.preactivations.append(z)
        trace.activations.append(a)
    return trace


def backward(layers: Layers, parameters: np.ndarray, trace: Trace, y: Any, loss: Loss) -> Backward:
    """The mean loss of the rows of a forward pass, and its derivatives by all that is in it."""
    activations, preactivations = trace
    n = len(activations[0])
    targets = rows_of_targets(loss, y, n, layers.sizes[-1]).astype(parameters.dtype)
    lead = parameters.shape[:-1]
    targets = np.broadcast_to(targets, lead + targets.shape)
    is_linked = layers.is_linked(loss)
    outputs = preactivations[-1] if is_linked else activations[-1]
    value = np.mean(loss.function(outputs, targets), axis=-1)
    g = loss.slope(outputs, targets) / n  # the derivative by what the loss takes
    delta = g if is_linked else layers.activations[-1].pullback(preactivations[-1], g)
    deltas, gradients = [delta], []
    weights = [W for W, _ in layers.split(parameters)]
    for i in reversed(range(len(weights))):
        gradients.append((np.swapaxes(activations[i], -1, -2) @ delta, np.sum(delta, axis=-2)))
        g = delta @ np.swapaxes(weights[i], -1, -2)  # the derivative by the activations of the layer before
        if i > 0:
            delta = layers.activations[i - 1].pullback(preactivations[i - 1], g)
            deltas.append(delta)
    return Backward(value, deltas[::-1], gradients[::-1], g)
