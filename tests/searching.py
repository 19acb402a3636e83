"""A slow driver of the searches, in NumPy: one instance, one call of `advance` an evaluation."""

import numpy as np

from fastgrad._searches import Bounds, Limits, State


def start_of(method, x0, dtype=np.float64):
    """The state in which a descent starts."""
    zeros = {name: np.zeros(shape, dtype)[()] for name, shape in method.shapes(len(x0)).items()}
    return State(**zeros)._replace(x=np.asarray(x0, dtype))


def descend(method, function, x0, bounds=None, dtype=np.float64, **limits):
    """The last state, the status, and all points that were evaluated; `function` gives value and gradient."""
    limits = {"maxiter": 1000, "maxfev": 5000, "gtol": 1e-6, "ftol": -1, "xtol": -1} | limits
    limits = Limits(**{name: dtype(number) for name, number in limits.items()})
    box = None if bounds is None else Bounds(*(np.asarray(bound, dtype) for bound in bounds))
    points = []

    def evaluate(point):
        assert point.dtype == dtype
        points.append(point)
        value, gradient = function(point)
        return dtype(value), np.asarray(gradient, dtype)

    state, stop = start_of(method, x0, dtype), 0
    shapes = method.shapes(len(x0))
    while not stop:
        with np.errstate(all="ignore"):
            state, stop = method.advance(state, evaluate, limits, box)
        fields = {name: np.asarray(getattr(state, name)) for name in shapes}
        assert {name: field.shape for name, field in fields.items()} == shapes
        assert {field.dtype for field in fields.values()} <= {np.dtype(dtype), np.dtype(bool)} | {np.dtype(float)}
        assert all(np.isfinite(fields[name]).all() for name in ("x", "moves", "changes", "inverses") if name in fields)
        state = State(**{name: field.astype(dtype)[()] for name, field in fields.items()})
    return state, int(stop) - 1, np.array(points)
