"""The functions that are differentiated and descended, in NumPy, and their gradients by hand."""

from collections.abc import Callable, Sequence
from itertools import count, pairwise
from typing import Any

import numpy as np

_constants = count(1)


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def rosenbrock_scalars(x: Sequence[Any]) -> Any:
    """The same, written out over the components, which may be numbers or one array each."""
    return sum(100.0 * (after - here**2) ** 2 + (1.0 - here) ** 2 for here, after in pairwise(x))


def rosenbrock_plane(x: Any) -> Any:
    """The same for two components, as one writes it."""
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


def rosenbrock_value(x: np.ndarray) -> np.ndarray:
    """For every row of a batch."""
    return np.sum(100.0 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1.0 - x[..., :-1]) ** 2, axis=-1)


def rosenbrock_gradient(x: np.ndarray) -> np.ndarray:
    """By hand, for every row of a batch."""
    here = x[..., :-1]
    bend = x[..., 1:] - here**2
    gradient = np.empty_like(x)
    gradient[..., :-1] = -400.0 * bend * here - 2.0 * (1.0 - here)
    gradient[..., -1] = 0.0
    gradient[..., 1:] += 200.0 * bend
    return gradient


def rosenbrock_gradient_python(x: list[float]) -> list[float]:
    """By hand, on a list of floats."""
    gradient = [0.0] * len(x)
    for i in range(len(x) - 1):
        here = x[i]
        bend = x[i + 1] - here * here
        gradient[i] -= 400.0 * bend * here + 2.0 * (1.0 - here)
        gradient[i + 1] = 200.0 * bend
    return gradient


def fresh_rosenbrock() -> Callable[[Any], Any]:
    """A new function with a constant of its own, so that no cache of any library knows it."""
    scale = 100.0 + 1e-12 * next(_constants)

    def function(x: Any) -> Any:
        return np.sum(scale * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    return function


def chain(operations: int) -> Callable[[Any], Any]:
    """A new function of that many operations, each needing the one before."""
    scale = 1.0 + 1e-12 * next(_constants)

    def function(x: Any) -> Any:
        for _ in range(operations // 2):
            x = np.sin(x) * scale
        return np.sum(x)

    return function


def transcendental(x: Any) -> Any:
    return np.sum(np.log(1.0 + np.exp(-np.sin(x) * x))) + np.prod(np.tanh(x) + 1.5)


def transcendental_value_and_gradient(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By hand, for every row of a batch."""
    sine, tanh = np.sin(x), np.tanh(x)
    decay = np.exp(-sine * x)
    product = np.prod(tanh + 1.5, axis=-1)
    value = np.sum(np.log(1.0 + decay), axis=-1) + product
    slope = -(np.cos(x) * x + sine) * decay / (1.0 + decay)
    return value, slope + product[..., None] * (1.0 - tanh**2) / (tanh + 1.5)


def logistic(w: Any, strength: Any, X: Any, sign: Any) -> Any:
    """The regularised logistic loss; `sign` is -1 or 1 for every row of X."""
    return np.mean(np.logaddexp(0.0, -sign * (X @ w))) + strength * np.sum(w**2)


def patient_data() -> tuple[np.ndarray, np.ndarray]:
    """398 standardised rows of scikit-learn's breast cancer data and their signs; without it, random ones."""
    rng = np.random.default_rng(0)
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        X = rng.normal(size=(569, 30))
        label = X @ rng.normal(size=30) + rng.normal(size=569) > 0
    else:
        X, label = load_breast_cancer(return_X_y=True)
    rows = rng.permutation(len(X))[:398]
    X, label = X[rows], label[rows]
    return (X - X.mean(axis=0)) / X.std(axis=0), 2.0 * label - 1.0


def starts(rows: int, components: int) -> np.ndarray:
    """Random points at which Rosenbrock's gradient is moderate."""
    return np.random.default_rng(0).uniform(-1.0, 1.0, (rows, components))


def starts_by_steps(rows: int, rate: float, gtol: float, fewest: int, most: int) -> np.ndarray:
    """Points near Rosenbrock's minimum in the plane, `fewest` to `most` steps of gradient descent from it.

    The function is nearly quadratic there: in its flattest direction every step shrinks the gradient alike.
    """
    curvature, directions = np.linalg.eigh(np.array([[802.0, -400.0], [-400.0, 200.0]]))
    steps = np.random.default_rng(0).permutation(np.geomspace(fewest, most, rows))
    last = gtol / (curvature[0] * np.max(np.abs(directions[:, 0])))
    return 1.0 + np.outer(last * (1.0 - rate * curvature[0]) ** -steps, directions[:, 0])
