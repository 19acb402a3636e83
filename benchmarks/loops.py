"""The same descent written for each peer: so many steps of gradient descent ("gd") or Adam as published.

Adam as everybody writes it divides the mean by one bias correction and the variance by another. `folded` puts
both into two scalars, which saves divisions in every component; the JAX form that gains by it uses it.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from .peers import import_jax, import_torch

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
Gradient = Callable[[Any], Any]


def numpy_descent(gradient: Gradient, x: np.ndarray, method: str, rate: float, steps: int) -> np.ndarray:
    """On arrays of any shape, so a whole batch at once."""
    x = x.copy()
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for step in range(1, steps + 1):
        slope = gradient(x)
        if method == "gd":
            x -= rate * slope
            continue
        mean += (1.0 - BETA1) * (slope - mean)
        square += (1.0 - BETA2) * (slope * slope - square)
        size = np.sqrt(square / (1.0 - BETA2**step)) + EPSILON
        x -= (rate / (1.0 - BETA1**step)) * mean / size
    return x


def python_descent(gradient: Gradient, x: list[float], rate: float, steps: int) -> list[float]:
    """Gradient descent on a list of floats."""
    for _ in range(steps):
        x = [here - rate * slope for here, slope in zip(x, gradient(x), strict=True)]
    return x


def python_differences(function: Callable[[list[float]], float], x: list[float]) -> list[float]:
    """Central differences: what a program without derivatives does for a function that it does not know."""
    gradient = []
    for i, here in enumerate(x):
        step = 6e-6 * max(1.0, abs(here))
        ahead, behind = x.copy(), x.copy()
        ahead[i], behind[i] = here + step, here - step
        gradient.append((function(ahead) - function(behind)) / (2.0 * step))
    return gradient


def torch_descent(function: Callable[[Any], Any], x: Any, method: str, rate: float, steps: int) -> Any:
    """torch's own optimiser; `function` adds up the values of the batch."""
    torch = import_torch()
    x = x.clone().requires_grad_()
    optimiser = {"gd": torch.optim.SGD, "adam": torch.optim.Adam}[method]([x], lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        function(x).backward()
        optimiser.step()
    return x.detach()


def jax_descent(gradient: Gradient, method: str, rate: float, steps: int, folded: bool = False) -> Gradient:
    """A function from the first to the last x, an array or a tuple of arrays."""
    jax = import_jax()
    start, step = _jax_adam(jax, gradient, rate, folded) if method == "adam" else _jax_gd(jax, gradient, rate)
    return lambda x: jax.lax.fori_loop(0, steps, lambda _, state: step(state), start(x))[0]


def jax_descent_until(gradient: Gradient, rate: float, gtol: float, steps: int) -> Gradient:
    """The same by gradient descent that stops where no component of the gradient exceeds `gtol`."""
    jax = import_jax()

    def going(state: Any) -> Any:
        _, slope, count = state
        worst = [jax.numpy.max(jax.numpy.abs(leaf)) for leaf in jax.tree.leaves(slope)]
        return (count < steps) & (reduce(jax.numpy.maximum, worst) > gtol)

    def step(state: Any) -> Any:
        x, slope, count = state
        x = jax.tree.map(lambda here, slope: here - rate * slope, x, slope)
        return x, gradient(x), count + 1

    return lambda x: jax.lax.while_loop(going, step, (x, gradient(x), 0))[0]


def _jax_gd(jax: Any, gradient: Gradient, rate: float) -> Any:
    def step(state: Any) -> Any:
        (x,) = state
        return (jax.tree.map(lambda here, slope: here - rate * slope, x, gradient(x)),)

    return lambda x: (x,), step


def _jax_adam(jax: Any, gradient: Gradient, rate: float, folded: bool) -> Any:
    sqrt = jax.numpy.sqrt

    def start(x: Any) -> Any:
        zero, one = jax.tree.map(jax.numpy.zeros_like, x), jax.numpy.ones(())
        return x, zero, zero, one, one

    def step(state: Any) -> Any:
        x, mean, square, power1, power2 = state
        slope = gradient(x)
        power1, power2 = power1 * BETA1, power2 * BETA2
        mean = jax.tree.map(lambda m, g: BETA1 * m + (1.0 - BETA1) * g, mean, slope)
        square = jax.tree.map(lambda v, g: BETA2 * v + (1.0 - BETA2) * g * g, square, slope)
        if folded:
            scale, root = rate / (1.0 - power1), 1.0 / sqrt(1.0 - power2)
            x = jax.tree.map(lambda x, m, v: x - scale * m / (sqrt(v) * root + EPSILON), x, mean, square)
        else:
            fix1, fix2 = 1.0 - power1, 1.0 - power2
            change = jax.tree.map(lambda m, v: rate * (m / fix1) / (sqrt(v / fix2) + EPSILON), mean, square)
            x = jax.tree.map(lambda x, d: x - d, x, change)
        return x, mean, square, power1, power2

    return start, step
