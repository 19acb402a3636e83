"""The one place where weighted sums along axes are computed."""

from __future__ import annotations

import functools
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
    axes, found, factors, further = [], [], [], []
    for axis, table, factor in terms:
        n = f.shape[axis]
        if isinstance(table, Rows):
            first, *rest = (_core.Stencil(n, f.dtype, part.weights, first=part.first) for part in table.unwrapped(n))
            further += [(axis, part, factor) for part in rest]
        else:
            first, factor = _stencil(table, n, f.dtype), factor * table.scale
        axes.append(axis)
        found.append(first)
        factors.append(factor)
    _core.stencils(f, out, axes, found, factors, accumulate)
    for axis, part, factor in further:
        _core.stencil(f, out, axis, part, factor, accumulate=True)


@functools.lru_cache(maxsize=256)
def _stencil(table: Stencil, n: int, dtype: np.dtype) -> _core.Stencil:
    """The table for the C core, remembered: whoever steps through time asks for the same ones again and again."""
    offsets = range(-table.reach, table.reach + 1)
    if table.is_periodic:
        return _core.Stencil(n, dtype, table.weights, offsets=offsets, periodic=True)
    return _core.Stencil(n, dtype, table.weights, offsets=offsets, start=table.head, end=table.tail)
