"""The one place where weighted sums along axes are computed."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence

import numpy as np

from .. import _core
from .tables import Rows, Stencil, Term


def apply(f: np.ndarray, out: np.ndarray, terms: Sequence[Term], accumulate: bool = False) -> None:
    """Write the sum of `terms` of `f`, each along an axis of its own, to `out`, or add it to what is there.

    Both are arrays of one shape and dtype that do not overlap, with any strides; the real and the imaginary parts of
    complex numbers are summed one by one. A sample whose weight is zero is not looked at, so its NaN stays where it is.
    """
    if f.dtype.kind == "c":
        apply(f.real, out.real, terms, accumulate)
        apply(f.imag, out.imag, terms, accumulate)
        return
    axes = [axis for axis, _, _ in terms]
    made = [
        _rows(table, f.dtype) if isinstance(table, Rows) else _stencil(table, f.shape[axis], f.dtype)
        for axis, table, _ in terms
    ]
    scales = [factor if isinstance(table, Rows) else factor * table.scale for _, table, factor in terms]
    _core.stencils(f, out, axes, made, scales, accumulate)


_known: weakref.WeakKeyDictionary[Rows, dict[np.dtype, _core.Stencil]] = weakref.WeakKeyDictionary()


def _rows(table: Rows, dtype: np.dtype) -> _core.Stencil:
    """The table for the C core, kept for as long as the table itself is."""
    made = _known.setdefault(table, {})
    if dtype not in made:
        made[dtype] = _core.Stencil(len(table.first), dtype, table.weights, first=table.first, periodic=True)
    return made[dtype]


@functools.lru_cache(maxsize=256)
def _stencil(table: Stencil, n: int, dtype: np.dtype) -> _core.Stencil:
    """The table for the C core, remembered: whoever steps through time asks for the same ones again and again."""
    offsets = range(-table.reach, table.reach + 1)
    if table.is_periodic:
        return _core.Stencil(n, dtype, table.weights, offsets=offsets, periodic=True)
    return _core.Stencil(n, dtype, table.weights, offsets=offsets, start=table.head, end=table.tail)
