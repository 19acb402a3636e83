"""Activations of layers: a table of NumPy functions, each with its derivative for those who learn or check.

A function maps pre-activations `z` to activations; the last axis holds the units of a layer, axes before it rows. The
compiled network traces the function and derives it by itself; the pullbacks are calculus by hand, used by
`MLP.backward` alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._compiler.special import UFUNCS_OF_SCIPY
from .._compiler.trace import Traced, call
from ..functions import grad, stop_gradient, vmap
from ..transform import Transform

Elementwise = Callable[[Any], Any]

LEAK = 0.01  # slope of leaky_relu below zero
SELU_SCALE = 1.0507009873554804934193349852946  # fixed point of mean 0 and variance 1: Klambauer et al. (2017)
SELU_ALPHA = 1.6732632423543772848170429916717
GELU_TANH = math.sqrt(2.0 / math.pi)


class Activation(NamedTuple):
    """A function of a layer's pre-activations."""

    name: str
    function: Callable[[Any], Any]
    pullback: Callable[[np.ndarray, np.ndarray], np.ndarray]  # of z and the derivative by the activations: that by z


# ---- operations of the machine that NumPy lacks


def _operation(name: str, plain: Elementwise) -> Elementwise:
    """One operation of the machine where it is traced, `plain` NumPy where it meets numbers."""

    def function(z: Any) -> Any:
        return call(UFUNCS_OF_SCIPY[name], (z,)) if isinstance(z, Traced) else plain(z)

    return function


_erf = np.frompyfunc(math.erf, 1, 1)

erf = _operation("erf", lambda z: np.asarray(_erf(z), np.result_type(z)))
softplus = _operation("softplus", lambda z: np.logaddexp(0, z))
sigmoid = _operation("expit", lambda z: np.exp(-np.logaddexp(0, -z)))


# ---- functions of z


def identity(z: Any) -> Any:
    return z


def relu(z: Any) -> Any:
    return np.where(z <= 0, 0, z)  # NaN stays


def leaky_relu(z: Any) -> Any:
    return np.where(z > 0, z, LEAK * z)


def elu(z: Any) -> Any:
    return np.where(z > 0, z, np.expm1(np.where(z > 0, 0, z)))


def selu(z: Any) -> Any:
    return SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.where(z > 0, 0, z)))


def gelu(z: Any) -> Any:
    return 0.5 * z * (1 + erf(z * math.sqrt(0.5)))


def gelu_tanh(z: Any) -> Any:
    return 0.5 * z * (1 + np.tanh(GELU_TANH * (z + 0.044715 * z * z * z)))


def silu(z: Any) -> Any:
    return z * sigmoid(z)


def softmax(z: Any) -> Any:
    e = np.exp(z - stop_gradient(np.max(z, axis=-1, keepdims=True)))
    return e / np.sum(e, axis=-1, keepdims=True)


# ---- their derivatives


def _gelu_slope(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + erf(z * math.sqrt(0.5))) + z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _gelu_tanh_slope(z: np.ndarray) -> np.ndarray:
    t = np.tanh(GELU_TANH * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * GELU_TANH * (1 + 3 * 0.044715 * z**2)


def _silu_slope(z: np.ndarray) -> np.ndarray:
    s = sigmoid(z)
    return s * (1 + z * (1 - s))


def _softmax_pullback(z: np.ndarray, g: np.ndarray) -> np.ndarray:
    p = softmax(z)
    return p * (g - np.sum(g * p, axis=-1, keepdims=True))


SLOPES: dict[Elementwise, Elementwise] = {
    identity: np.ones_like,
    relu: lambda z: np.where(z <= 0, 0, 1).astype(z.dtype),
    leaky_relu: lambda z: np.where(z > 0, 1, LEAK).astype(z.dtype),
    elu: lambda z: np.exp(np.minimum(z, 0)),
    selu: lambda z: SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * np.exp(np.minimum(z, 0))),
    gelu: _gelu_slope,
    gelu_tanh: _gelu_tanh_slope,
    silu: _silu_slope,
    softplus: sigmoid,
    np.tanh: lambda z: 1 - np.tanh(z) ** 2,
    sigmoid: lambda z: sigmoid(z) * sigmoid(-z),
}


def _elementwise(name: str, function: Elementwise) -> Activation:
    slope = SLOPES[function]
    return Activation(name, function, lambda z, g: g * slope(z))


FUNCTIONS: dict[str, Elementwise] = {
    f.__name__: f for f in (identity, relu, leaky_relu, elu, selu, gelu, gelu_tanh, silu)
} | {"softplus": softplus, "tanh": np.tanh, "sigmoid": sigmoid}
ACTIVATIONS: dict[str, Activation] = {name: _elementwise(name, function) for name, function in FUNCTIONS.items()}
OUTPUTS = ACTIVATIONS | {"softmax": Activation("softmax", softmax, _softmax_pullback)}


def activation(value: Any, name: str = "activation", table: dict[str, Activation] = ACTIVATIONS) -> Activation:
    """The activation of a name, or that made of a function of z; `name` is the argument's, for messages."""
    if isinstance(value, str):
        if value in table:
            return table[value]
        cure = "it belongs to the output: output='softmax'" if value == "softmax" else f"give one of {', '.join(table)}"
        raise ValueError(f"{name}={value!r} is not an activation\n  cure: {cure}, or a NumPy function of z")
    if not callable(value):
        raise TypeError(f"{name} must be a name or a NumPy function of z, got {value!r}")
    known = next((x for x in table.values() if x.function is value), None)
    return known or _of_user(value)


class OfUser:
    """A user's function of one row, or of several arrays' rows: traced as theirs, with stand-ins for NumPy.

    It gives numbers for arrays with any axes before the rows'. Two are equal when the function is the same.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__name__: str = getattr(function, "__name__", repr(function))
        self.traced = Transform(function, "vmap")
        self._rows = vmap(function)

    def __call__(self, *values: Any) -> Any:
        return self.traced(*values) if isinstance(values[0], Traced) else by_rows(self._rows, *values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OfUser) and self.function is other.function

    def __hash__(self) -> int:
        return id(self.function)


def by_rows(batch: Transform, *values: Any) -> Any:
    """A batch of instances, whose arrays have any number of axes before the last of the first one."""
    lead = values[0].shape[:-1]
    result = batch(*[x.reshape(-1, *x.shape[len(lead) :]) for x in values])
    return result.reshape(*lead, *result.shape[1:])


def _of_user(function: Callable[[Any], Any]) -> Activation:
    own = OfUser(function)
    pullback = vmap(grad(lambda z, g: np.sum(g * own.traced(z))))
    return Activation(own.__name__, own, lambda z, g: by_rows(pullback, z, g))
