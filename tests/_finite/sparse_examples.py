"""Functions whose derivatives have known patterns of zeros."""

import numpy as np
from scipy import sparse


class Counted:
    """A function of one point as `values`, with the number of points it has seen."""

    def __init__(self, fun):
        self.fun, self.nfev = fun, 0

    def __call__(self, points):
        self.nfev += len(points)
        return np.stack([np.atleast_1d(self.fun(x)) for x in points])


def band(n, *offsets):
    return np.sum([np.eye(n, k=k) for k in (0, *offsets)], axis=0)


def five_points(side):
    line = sparse.diags_array([np.ones(side - 1), np.ones(side - 1)], offsets=[-1, 1])
    return (sparse.kronsum(line, line) + sparse.eye_array(side**2)).toarray() != 0


def renumbered(matrix, seed=0):
    to = np.random.default_rng(seed).permutation(len(matrix))
    return matrix[to][:, to]


def arrow(n):
    matrix = np.eye(n)
    matrix[0] = matrix[:, 0] = 1
    return matrix


def scattered(m, n, density, seed=0):
    return np.random.default_rng(seed).random((m, n)) < density


PATTERNS = {
    "tridiagonal": band(30, -1, 1),
    "renumbered tridiagonal": renumbered(band(30, -1, 1)),
    "wide band": band(25, -4, -1, 2),
    "grid": five_points(7),
    "renumbered grid": renumbered(five_points(7)),
    "arrow": arrow(12),
    "scattered": scattered(20, 30, 0.1),
    "tall": scattered(40, 9, 0.2),
    "a row full": np.vstack([np.ones((1, 8)), np.eye(8)]),
    "dense": np.ones((5, 6)),
    "nothing": np.zeros((4, 3)),
    "no rows": np.zeros((0, 3)),
    "no columns": np.zeros((3, 0)),
    "one": np.ones((1, 1)),
}
SQUARE = {name: pattern for name, pattern in PATTERNS.items() if pattern.shape[0] == pattern.shape[1]}


def function_of(pattern, seed=1):
    """A nonlinear function with this pattern, for real and complex points, and its Jacobian."""
    a = np.random.default_rng(seed).uniform(0.5, 2, pattern.shape) * (pattern != 0)
    return (lambda x: a @ (np.sin(x) + x**2)), (lambda x: a * (np.cos(x) + 2 * x))


def point(n, seed=2):
    return np.random.default_rng(seed).uniform(-1, 1, n)


def objective_of(pattern, seed=3):
    """A scalar function whose Hessian has this symmetric pattern: value, gradient and Hessian."""
    a = np.random.default_rng(seed).uniform(0.5, 2, pattern.shape) * (pattern != 0)
    a = np.tril(a) + np.tril(a, -1).T

    def fun(x):
        s = np.sin(x)
        return 0.5 * s @ a @ s

    def gradient(x):
        return np.cos(x) * (a @ np.sin(x))

    def hessian(x):
        return np.outer(np.cos(x), np.cos(x)) * a - np.diag(np.sin(x) * (a @ np.sin(x)))

    return fun, gradient, hessian


SYMMETRIC = {
    name: (pattern != 0) | (pattern.T != 0) | np.eye(len(pattern), dtype=bool) for name, pattern in SQUARE.items()
} | {"scattered": (s := scattered(25, 25, 0.05)) | s.T | np.eye(25, dtype=bool)}
