"""Layers: what a network computes, for one row or for several, as NumPy of its parameters.

A `Layers` holds no numbers, only sizes and activations; parameters are a vector, or a leading axis of vectors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import FLOAT32, FLOAT64, is_integer
from .activations import ACTIVATIONS, OUTPUTS, Activation, activation
from .losses import Loss

MOST_PARAMETERS = 2**30  # elements of a buffer

Layer = tuple[Any, Any]  # weights and biases
Between = Callable[[int, Any], Any]  # what happens to the activations of a hidden layer, by number


def unchanged(layer: int, a: Any) -> Any:
    """Nothing happens between layers."""
    return a


class Layers(NamedTuple):
    """Sizes, the input's first, and the activation of each layer, the output's last."""

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of weights and biases, layer by layer: ``(n_in, n_out)``, ``(n_out,)``, ..."""
        return [shape for n_in, n_out in itertools.pairwise(self.sizes) for shape in [(n_in, n_out), (n_out,)]]

    @property
    def n_parameters(self) -> int:
        """Weights and biases together."""
        return n_parameters(self.sizes)

    def split(self, parameters: Any) -> list[Layer]:
        """Weights and biases of each layer as views of the parameters."""
        layers, start = [], 0
        for n_in, n_out in itertools.pairwise(self.sizes):
            middle, end = start + n_in * n_out, start + n_in * n_out + n_out
            W = parameters[..., start:middle].reshape((*parameters.shape[:-1], n_in, n_out))
            layers.append((W, parameters[..., middle:end]))
            start = end
        return layers

    def predict(self, x: Any, parameters: Any) -> Any:
        """Outputs of one network."""
        return self.activations[-1].function(self.last_preactivations(self.split(parameters), x))

    def outputs(self, loss: Loss, layers: Sequence[Layer], x: Any, between: Between = unchanged) -> Any:
        """What the loss takes: the last pre-activations where the output inverts its link, else their activations."""
        z = self.last_preactivations(layers, x, between)
        return z if self.is_linked(loss) else self.activations[-1].function(z)

    def last_preactivations(self, layers: Sequence[Layer], x: Any, between: Between = unchanged) -> Any:
        """The last layer's ``a @ W + b``."""
        for i, ((W, b), own) in enumerate(zip(layers[:-1], self.activations[:-1], strict=True)):
            x = between(i, own.function(x @ W + b))
        W, b = layers[-1]
        return x @ W + b

    def is_linked(self, loss: Loss) -> bool:
        """Whether the loss takes the last pre-activations, since the output is the inverse of its own link."""
        output = self.activations[-1].name
        if loss.link and output != loss.link and output in ("sigmoid", "softmax"):
            raise ValueError(
                f"loss {loss.name!r} does not go with output={output!r}\n  cure: output={loss.link!r}, or 'identity'"
                " for a network that gives logits"
            )
        return output == loss.link


# ---- made of arguments


def layers_of(sizes: Any, hidden: Any, output: Any) -> Layers:
    """The layers that a caller describes; activations are one for all hidden layers, or one each."""
    sizes = _sizes(sizes)
    values = one_each(hidden, len(sizes) - 2, "activation", "hidden layers")
    own = [activation(x, "activation", ACTIVATIONS) for x in values]
    return Layers(sizes, (*own, activation(output, "output", OUTPUTS)))


def n_parameters(sizes: Sequence[int]) -> int:
    """Weights and biases of a network of these sizes."""
    return sum(n_in * n_out + n_out for n_in, n_out in itertools.pairwise(sizes))


def one_each(value: Any, n: int, name: str, of: str) -> list[Any]:
    """One value for all of `n` things, or a list of one each."""
    if not isinstance(value, (list, tuple)):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} names {len(value)}, but the network has {n} {of}\n  cure: one for all, or one each")
    return list(value)


def dtype_of(dtype: Any) -> np.dtype:
    """float32 or float64."""
    try:
        found = [known for known in (FLOAT32, FLOAT64) if dtype is not None and np.dtype(dtype) == known]
    except TypeError:
        found = []
    if not found:
        raise ValueError(f"dtype={dtype!r} must be 'float32' or 'float64'")
    return found[0]


def members_of(members: Any) -> int | None:
    """How many networks an ensemble has; None for one network by itself."""
    if members is not None and (not is_integer(members) or members < 1):
        raise ValueError(f"members={members!r} must be a whole number of at least 1, or None for one network")
    return None if members is None else int(members)


def _sizes(sizes: Any) -> tuple[int, ...]:
    try:
        values = tuple(sizes)
    except TypeError:
        raise TypeError(f"sizes={sizes!r} must be a sequence: inputs, hidden layers, outputs") from None
    if len(values) < 2 or not all(is_integer(n) and n > 0 for n in values):
        raise ValueError(f"sizes={sizes!r} must name the units of two layers or more, such as [784, 128, 10]")
    values = tuple(map(int, values))
    if (n := n_parameters(values)) > MOST_PARAMETERS:
        raise MemoryError(f"sizes={sizes!r} makes {n:,} parameters, more than {MOST_PARAMETERS:,}")
    return values
