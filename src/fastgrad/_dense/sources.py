"""The border of training data: arrays with rows first are checked against each other and read where they are.

The loop in C reads the rows of a minibatch from the caller's own memory, whatever its strides, and converts element by
element. So nothing here copies an array of a kind that it reads (`KINDS`), and nothing looks at all of its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .._arrays import as_floats, is_integer, refused_class
from ..errors import ShapeError

KINDS = tuple(map(np.dtype, (np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_)))
EXTREME = 900  # a power of two, beyond which a weight is scaled


class Source(NamedTuple):
    """Where an input of a row comes from: an array (n_rows, ...), whose numbers become ``value * scale + shift``; an
    array of None is noise, uniform in [0, 1)."""

    array: np.ndarray | None
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, eq=False)
class Data:
    """Rows to train with.

    Parameters
    ----------
    sources : tuple of Source
        Inputs of a row, in the order that a task's loss takes them.
    names : tuple of str
        What the caller calls them.
    n_rows : int
        Their common length.
    weights : (n_rows,) ndarray of float64 or None
        What a row counts.
    rows : (M, k) ndarray of int64 or None
        The rows that each member trains with, where these are not all; a row may stand there several times.
    validation : Data or None
        What the loss and the score are looked at with after each epoch.
    """

    sources: tuple[Source, ...]
    names: tuple[str, ...]
    n_rows: int
    weights: np.ndarray | None = None
    rows: np.ndarray | None = None
    validation: Data | None = None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the inputs of one row."""
        return [source.array.shape[1:] for source in self.sources if source.array is not None]

    def non_finite(self) -> list[str]:
        """Names of what holds NaN or infinity: a pass over all data."""
        arrays = {name: source.array for name, source in zip(self.names, self.sources, strict=True)}
        return [name for name, x in arrays.items() if x is not None and x.dtype.kind == "f" and not _is_finite(x)]


def make_data(
    arrays: Mapping[str, Any],
    *,
    weights: Any = None,
    scale: Any = None,
    class_weight: Any = None,
    labels: Any = None,
    prefix: str = "",
) -> Data:
    """Data of arrays by name, rows first.

    Arrays of float64, float32, int64, int32, uint8 and bool are read where they are, whatever their strides: also
    read-only, misaligned and memory-mapped ones. Only other kinds (float16, other integers, other byte orders, lists)
    are converted to floats as a whole, once.

    Parameters
    ----------
    arrays : mapping of str to array_like
        Each with n rows.
    weights : (n,) array_like, optional
        What each row counts, not negative.
    scale : float or (float, float), optional
        Numbers x of the first array count as ``scale * x``, or as ``scale * x + shift``.
    class_weight : dict or "balanced", optional
        What the rows of a class count, by the class in `labels`; ``"balanced"`` gives all classes the same weight.
    labels : (n,) array_like, optional
        The class of each row.
    prefix : str, optional
        Of the names of `weights` in messages.

    Returns
    -------
    Data
    """
    if not arrays:
        raise ValueError("data holds no array: give at least one, with rows first")
    found = {name: rows_of(value, name) for name, value in arrays.items()}
    lengths = {name: len(x) for name, x in found.items()}
    n_rows = next(iter(lengths.values()))
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} has {n:,}" for name, n in lengths.items())
        raise ShapeError(f"the numbers of rows differ: {each}\n  cure: give each array as many rows")
    if n_rows == 0:
        raise ValueError(f"{' and '.join(found)} {'has' if len(found) == 1 else 'have'} no rows: give at least one")
    sources = [Source(x) for x in found.values()]
    if scale is not None:
        sources[0] = Source(sources[0].array, *_scale(scale))
    name = f"{prefix}sample_weight"
    checked = None if weights is None else row_weights(weights, n_rows, name)
    if class_weight is not None:
        by_class = class_weights(class_weight, labels, n_rows)
        checked = row_weights(by_class if checked is None else checked * by_class, n_rows, "class_weight")
    return Data(tuple(sources), tuple(found), n_rows, checked)


def rows_of(value: Any, name: str) -> np.ndarray:
    """An array with rows first, of one of `KINDS`: the caller's own where it is one."""
    if met := refused_class(value):
        raise TypeError(f"{name} is {met[0]}: {met[1]}")
    array = value if isinstance(value, np.ndarray) else None
    if array is None or array.dtype not in KINDS or not array.dtype.isnative:
        array = as_floats(value, name)
    if array.ndim == 0:
        raise ShapeError(f"{name} is a single number: give an array with rows first")
    return array.view(np.ndarray)


def row_weights(value: Any, n_rows: int, name: str) -> np.ndarray:
    """What each row counts: finite, not negative, not all zero."""
    weights = np.array(as_floats(value, name), np.float64)
    if weights.shape != (n_rows,):
        raise ShapeError(f"{name} has shape {weights.shape}: give one weight for each of the {n_rows:,} rows")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise ValueError(f"{name} must be finite and not negative, got {weights[bad[0]]} for row {bad[0]:,}")
    if not np.any(weights):
        raise ValueError(f"{name} is zero for every row: give at least one row a positive weight")
    exponent = int(np.frexp(weights.max())[1])
    # sums of what is extreme would overflow or vanish: only proportions count, and these stay as they are
    return np.ldexp(weights, -exponent) if abs(exponent) > EXTREME else weights


def class_weights(value: Any, labels: Any, n_rows: int) -> np.ndarray:
    """What each row counts, by its class."""
    if labels is None:
        raise ValueError("class_weight is for classes, but the loss has none: give what rows count by sample_weight")
    labels = np.asarray(labels)
    if labels.shape != (n_rows,):
        raise ShapeError(
            f"class_weight needs one class for each of the {n_rows:,} rows, got labels of shape {labels.shape}\n"
            "  cure: give what rows count by sample_weight"
        )
    classes, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if isinstance(value, str) and value == "balanced":
        return (n_rows / (len(classes) * counts))[numbers]
    if not isinstance(value, Mapping):
        raise ValueError(f"class_weight must be a dict of weights by class, or 'balanced', got {value!r}")
    known = classes.tolist()
    if unknown := [label for label in value if label not in known]:
        raise ValueError(f"class_weight names {unknown[0]!r}, which is no class of the data: these are {known}")
    weights = as_floats([value.get(label, 1.0) for label in known], "class_weight")
    if weights.shape != (len(known),):
        raise ShapeError(f"class_weight must hold one number for each class, got {value!r}")
    return weights[numbers]


def held_out(data: Data, share: Any, rng: np.random.Generator, labels: Any = None) -> Data:
    """Data that trains with some rows and validates with a share of them, which are chosen by `rng` and copied.

    With `labels` each class keeps its share, as near as whole rows allow.
    """
    try:
        number = float(share)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 1:
        raise ValueError(f"validation must be data like that to train with, or a share between 0 and 1, got {share!r}")
    n_held = min(max(round(number * data.n_rows), 1), data.n_rows - 1)
    if n_held < 1:
        raise ValueError(f"validation={share!r} needs at least 2 rows, got {data.n_rows}")
    order = rng.permutation(data.n_rows)
    if labels is not None:  # ranks within the classes, in random order, as shares of each class
        of_order = np.asarray(labels)[order]
        by_class = np.argsort(of_order, kind="stable")
        _, first, counts = np.unique(of_order[by_class], return_index=True, return_counts=True)
        ranks = np.empty(data.n_rows)
        ranks[by_class] = (np.arange(data.n_rows) - np.repeat(first, counts) + 0.5) / np.repeat(counts, counts)
        order = order[np.argsort(ranks, kind="stable")]
    held, kept = np.sort(order[:n_held]), np.sort(order[n_held:])
    sources = tuple([source._replace(array=source.array[held]) for source in data.sources if source.array is not None])
    weights = None if data.weights is None else data.weights[held]
    if weights is not None and not (np.any(weights) and np.any(data.weights[kept])):  # type: ignore[index]
        raise ValueError(f"validation={share!r} leaves only rows of weight zero on one side: give a larger share")
    return replace(data, rows=kept[None], validation=Data(sources, data.names, n_held, weights))


def check_like(validation: Data, data: Data) -> None:
    """That rows to validate with look like those to train with."""
    for name, its_name, shape, its_shape in zip(
        data.names, validation.names, data.shapes, validation.shapes, strict=True
    ):
        if shape != its_shape:
            raise ShapeError(f"{its_name} has rows of shape {its_shape}, but {name} has rows of shape {shape}")


def member_rows(rows: Any, members: int, n_rows: int) -> np.ndarray:
    """The rows that each member may use, as (M, k) numbers; (1, k) are those of all members."""
    array = np.asarray(rows)
    if array.dtype.kind not in "iu" or array.ndim != 2 or len(array) not in (1, members) or not array.shape[1]:
        raise ShapeError(
            f"rows must be an integer array of shape ({members}, k), numbers of rows for each member, or (1, k),"
            f" got dtype {array.dtype} and shape {array.shape}"
        )
    if array.min() < 0 or array.max() >= n_rows:
        raise ValueError(f"rows must be from 0 to {n_rows - 1:,}, got {array.min():,} to {array.max():,}")
    return np.ascontiguousarray(np.broadcast_to(array, (members, array.shape[1])), np.int64)


def _scale(value: Any) -> tuple[float, float]:
    pair = (value, 0.0) if np.ndim(value) == 0 else tuple(value)
    if len(pair) != 2 or not all(is_integer(x) or isinstance(x, (float, np.floating)) for x in pair):
        raise ValueError(f"scale must be a number, or a pair (scale, shift), got {value!r}")
    scale, shift = map(float, pair)
    if not (math.isfinite(scale) and math.isfinite(shift)):
        raise ValueError(f"scale must be finite, got {value!r}")
    return scale, shift


def _is_finite(x: np.ndarray, block: int = 2**16) -> bool:
    """Part by part, so that an array larger than memory can be looked through."""
    step = max(block // max(math.prod(x.shape[1:]), 1), 1)
    return all(bool(np.isfinite(x[i : i + step]).all()) for i in range(0, len(x), step))
