"""Functions that the tests of finite differences share."""

import numpy as np

INF = np.inf


def rosen(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def curve(x):
    return np.array([x[0] * x[1], np.sin(x[1]), np.exp(x[2]) * x[0]])


def slopes(x):
    return np.array([[x[1], x[0], 0], [0, np.cos(x[1]), 0], [np.exp(x[2]), 0, np.exp(x[2]) * x[0]]])


def shifted(x, shift, *, scale=1.0):
    return scale * np.sum((x - shift) ** 3)


def random(*shape):
    return np.random.default_rng(3).normal(size=shape)


METHODS = ["2-point", "3-point", "cs"]
TOLERANCE = {"2-point": 1e-6, "3-point": 1e-8, "cs": 1e-13, "adaptive": 1e-9}


def recorded(fun, seen):
    def recording(x, *args):
        seen.append(np.array(x))
        return fun(x, *args)

    return recording
