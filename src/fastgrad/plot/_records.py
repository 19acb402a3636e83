"""What a descent has recorded, as numbers to draw: values by iteration, their percentiles, points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._compiler import tree
from ._canvas import Floats, rounding_of

Block = Callable[[slice, Any], Floats]  # rows of the history, instances

_NAMES = {"fun": "fun(x)", "gradient_norm": "largest component of the gradient", "step": "length of the step"}
BLOCK = 2**20  # values handled at once: 8 MB, which a cache still holds


def history_of(res: Any, cure: str, what: str = "res") -> Any:
    history = getattr(res, "history", None)
    if history is None:
        raise ValueError(f"{what} has no history: pass {cure} to minimize")
    return history


def recorded(res: Any, quantity: str, optimum: ArrayLike | None) -> tuple[NDArray, Block, NDArray, str]:
    """Give the iterations, a function to look values up, the instances that have any, and the axis's name."""
    target = None if optimum is None else as_vectors(optimum) if _is_nested(optimum) else np.asarray(optimum, float)
    if target is not None and quantity in ("gradient_norm", "step"):
        raise ValueError(f"optimum is for quantity='fun' or 'distance', not for {quantity!r}")
    if quantity in _NAMES:
        history = history_of(res, "record='fun'")
        nit, fun = np.asarray(history.nit), np.asarray(getattr(history, quantity), dtype=float)
        if quantity == "step":  # none led to the start
            nit, fun = nit[1:], fun[1:]
        if not len(fun):
            raise ValueError(f"res.history holds no finite value of {quantity!r}: there is nothing to draw")
        fun = fun.reshape(len(fun), -1)
        if target is not None and target.shape not in ((), fun.shape[1:]):
            raise ValueError(
                f"optimum has shape {target.shape}: give a number or one for each of {fun.shape[1]} problems"
            )
        first, last = fun[0], fun

        def values(rows: slice, which: Any) -> Floats:
            some = fun[rows, which]
            return some if target is None else some - (target[which] if target.ndim else target)

        name = _NAMES[quantity] + ("" if target is None else " − optimum")
    elif quantity == "distance":
        history = history_of(res, "record='path'")
        x = recorded_points(history, "res", "quantity='distance' needs")
        nit, end = np.asarray(history.nit), as_vectors(res.x, np.shape(res.fun))
        if target is not None and target.size not in (end.size, end.shape[-1]):
            raise ValueError(
                f"optimum has shape {target.shape}: give a point like res.x, of {end.shape[-1]} numbers, or one for"
                " each instance"
            )
        goal = (end if target is None else target).reshape(-1, x.shape[-1])
        first, last = x[0].sum(axis=-1), x[..., 0]

        def values(rows: slice, which: Any) -> Floats:
            return np.linalg.norm(x[rows, which] - (goal[which] if len(goal) > 1 else goal), axis=-1)

        name = "distance of x from " + ("where it ended" if target is None else "the optimum")
    else:
        known = ", ".join(map(repr, (*_NAMES, "distance")))
        raise ValueError(f"quantity must be one of {known}; got {quantity!r}")
    instances = np.flatnonzero(~np.isnan(first))
    if not len(instances):
        raise ValueError(f"res.history holds no finite value of {quantity!r}: there is nothing to draw")
    rows = len(last)
    while np.isnan(last[rows - 1]).all():  # every instance has stopped before
        rows -= 1
    return nit[:rows], values, instances, name


def recorded_points(history: Any, what: str, needed: str) -> Floats:
    """Recorded points as an array (iterations, instances, parameters)."""
    if history.x is None:
        raise ValueError(f"{what}.history has no path, which {needed}: pass record='path' to minimize")
    return as_vectors(history.x, (len(history.nit), np.size(history.fun[0])))


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, (list, tuple)) and any(np.ndim(item) for item in value))


def as_vectors(x: Any, lead: tuple[int, ...] = ()) -> Floats:
    """Points, which may be nested, as vectors: the last axis runs through their numbers."""
    leaves = tree.flatten(x)[0]
    return np.concatenate([np.asarray(leaf, dtype=float).reshape(*lead, -1) for leaf in leaves], axis=-1)


def walk(block: Block, length: int, instances: NDArray) -> Iterator[Floats]:
    """Walk through the history, some rows at a time; an instance that has stopped keeps its last value."""
    rows = max(1, BLOCK // len(instances))
    whole = instances[-1] - instances[0] == len(instances) - 1
    which = slice(instances[0], instances[-1] + 1) if whole else instances  # a slice copies nothing
    last = None
    for first in range(0, length, rows):
        values = block(slice(first, min(first + rows, length)), which)
        if np.isnan(values).any():
            if last is not None:
                values = np.vstack([last, values])
            known = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
            np.maximum.accumulate(known, axis=0, out=known)
            values = np.take_along_axis(values, known, axis=0)[0 if last is None else 1 :]
        last = values[-1:]
        yield values


def percentiles_of(block: Block, length: int, instances: NDArray, wanted: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Give the percentiles over the instances, a row each, and the value at which every instance ended."""
    parts, ends = [], np.empty(0)
    with np.errstate(invalid="ignore"):  # between two infinities there is no percentile
        for held in walk(block, length, instances):
            parts.append(np.percentile(held, wanted, axis=1))
            ends = held[-1]
    return np.concatenate(parts, axis=1), ends


def best_of(ends: Floats, nit: NDArray, optimum: ArrayLike | None) -> int:
    """Of the instances that ended lowest, up to rounding, the one that stopped first."""
    lowest = ends.min()
    lowest += rounding_of(lowest, optimum)
    tied = np.flatnonzero(ends <= lowest)
    return int(tied[np.argmin(nit[tied])])
