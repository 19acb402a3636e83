"""How weights start: random numbers whose spread keeps the size of signals and gradients through the layers.

Glorot & Bengio (2010) divide by the mean of both widths; He et al. (2015) by the inputs, twice as much for units that
are silent half of the time; LeCun et al. (1998) by the inputs. Biases start at zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Initializer = Callable[[int, int, np.random.Generator], np.ndarray]

VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda n_in, n_out: 2.0 / (n_in + n_out),
    "he": lambda n_in, n_out: 2.0 / n_in,
    "lecun": lambda n_in, n_out: 1.0 / n_in,
}
DRAWS: dict[str, Callable[[np.random.Generator, float, tuple[int, int]], np.ndarray]] = {
    "uniform": lambda rng, deviation, shape: rng.uniform(-math.sqrt(3) * deviation, math.sqrt(3) * deviation, shape),
    "normal": lambda rng, deviation, shape: rng.normal(0.0, deviation, shape),
}


def _initializer(rule: str, law: str) -> Initializer:
    def draw(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
        return DRAWS[law](rng, math.sqrt(VARIANCES[rule](n_in, n_out)), (n_in, n_out))

    return draw


INITIALIZERS: dict[str, Initializer] = {f"{rule}_{law}": _initializer(rule, law) for rule in VARIANCES for law in DRAWS}
# by the activation that the weights feed
USUAL = dict.fromkeys(["relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu"], "he_normal") | {
    "selu": "lecun_normal"
}


def initializer(value: Any, activation: str) -> Initializer:
    """The initializer of a name; for None that which the field uses with this activation."""
    if value is None:
        value = USUAL.get(activation, "glorot_uniform")
    if isinstance(value, str):
        if value not in INITIALIZERS:
            raise ValueError(
                f"init={value!r} is not an initializer\n  cure: give one of {', '.join(INITIALIZERS)}, or None for the"
                " usual one of each activation"
            )
        return INITIALIZERS[value]
    if not callable(value):
        raise TypeError(f"init must be a name or a function init(n_in, n_out, rng), got {value!r}")
    return value


def draw_weights(draw: Initializer, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The weights of one layer, checked: a user's initializer may return anything."""
    weights = np.asarray(draw(*shape, rng))
    if weights.shape != shape or weights.dtype.kind not in "biuf":
        raise ValueError(
            f"init gave an array of shape {weights.shape} and dtype {weights.dtype} for a layer whose weights are"
            f" real of shape {shape}\n  cure: return rng.normal(size=(n_in, n_out)) or the like"
        )
    return weights
