"""Weighted sums along axes over slices in NumPy: what `fastgrad._grid.run.apply` is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastgrad._grid.tables import Rows, Stencil, Term


def apply(f: np.ndarray, out: np.ndarray, terms: Sequence[Term], accumulate: bool = False) -> None:
    """What `run.apply` does."""
    if f.dtype.kind == "c":
        apply(f.real, out.real, terms, accumulate)
        apply(f.imag, out.imag, terms, accumulate)
        return
    for term in terms:
        _weigh(np.moveaxis(f, term.axis, 0), np.moveaxis(out, term.axis, 0), term, accumulate)
        accumulate = True


def _weigh(f: np.ndarray, out: np.ndarray, term: Term, accumulate: bool) -> None:
    n, table = len(f), term.table
    total = np.zeros_like(f)
    if isinstance(table, Rows):
        trailing = (...,) + (None,) * (f.ndim - 1)
        for k in range(table.weights.shape[1]):
            weights = table.weights[:, k].astype(f.dtype)[trailing]
            np.add(total, weights * f[(table.first + k) % n], out=total, where=weights != 0)
    else:
        _weigh_evenly(f, total, table)
    total *= f.dtype.type(term.factor)
    out[...] = out + total if accumulate else total


def _weigh_evenly(f: np.ndarray, total: np.ndarray, table: Stencil) -> None:
    n, p, q = len(f), len(table.head), len(table.tail)
    for offset, weight in enumerate(table.weights.astype(f.dtype), -table.reach):
        if weight and table.is_periodic:
            total += weight * np.roll(f, -offset, axis=0)
        elif weight:
            total[p : n - q] += weight * f[p + offset : n - q + offset]
    for points, block, samples in (
        (total[:p], table.head, f[: table.head.shape[1]]),
        (total[n - q :], table.tail, f[n - table.tail.shape[1] :]),
    ):
        for k, j in np.argwhere(block):
            points[k] += f.dtype.type(block[k, j]) * samples[j]
    total *= f.dtype.type(table.scale)
