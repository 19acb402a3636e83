"""Descents to draw, and what a picture shows of them."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from matplotlib.collections import FillBetweenPolyCollection, LineCollection


class Case(NamedTuple):
    what: str
    values: object
    expected: object


def descents(instances=40, steps=30, rate=0.1, seed=0):
    """Descend on |x - 1|^2 in two parameters; the i-th instance stops after steps - i % 5 steps."""
    x = np.empty((steps + 1, instances, 2))
    x[0] = np.random.default_rng(seed).normal(size=(instances, 2))
    for k in range(steps):
        x[k + 1] = x[k] - 2 * rate * (x[k] - 1)
    nit = steps - np.arange(instances) % 5
    x[np.arange(steps + 1)[:, None] > nit] = np.nan
    fun = bowl(x.T).T
    last = x[nit, np.arange(instances)]
    history = SimpleNamespace(nit=np.arange(steps + 1), fun=fun, x=x)
    return SimpleNamespace(x=last, fun=bowl(last.T), nit=nit, history=history)


def one(res, i=0):
    history = SimpleNamespace(nit=res.history.nit, fun=res.history.fun[:, i], x=res.history.x[:, i])
    return SimpleNamespace(x=res.x[i], fun=res.fun[i], nit=res.nit[i], history=history)


def with_values(fun):
    fun = np.asarray(fun, dtype=float)
    nit = np.sum(~np.isnan(fun), axis=0) - 1
    history = SimpleNamespace(nit=np.arange(len(fun)), fun=fun, x=None)
    return SimpleNamespace(fun=fun[-1], nit=nit, history=history)


def bowl(x):
    return np.sum((x - 1) ** 2, axis=0)


def held(values):
    values = values.copy()
    for k in range(1, len(values)):
        values[k] = np.where(np.isnan(values[k]), values[k - 1], values[k])
    return values


def ribbon(ax):
    """Lower and upper edge by iteration of the only ribbon on ax."""
    (area,) = (c for c in ax.collections if isinstance(c, FillBetweenPolyCollection))
    x, y = area.get_paths()[0].vertices.T
    steps = np.unique(x)
    return (
        np.array([y[x == step].min() for step in steps]),
        np.array([y[x == step].max() for step in steps]),
    )


def marks(ax):
    return {line.get_label(): line.get_xydata() for line in ax.lines}


def line_collections(ax):
    return [c for c in ax.collections if isinstance(c, LineCollection)]


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]
