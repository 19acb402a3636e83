"""Weighted sums along axes as a sparse matrix; SciPy is imported here, when one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .tables import Stencil, Term


def matrix(shape: tuple[int, ...], terms: Sequence[Term]) -> Any:
    """The terms one after another, as a matrix of rows for the elements of a C-ordered array."""
    try:
        import scipy.sparse as sparse
    except ImportError as error:
        raise ImportError("fg.grid.operator makes a SciPy matrix\n  cure: pip install scipy") from error
    found: Any = None
    for axis, table, factor in terms:
        n = shape[axis]
        rows = table.rows(n) if isinstance(table, Stencil) else table
        columns = (rows.first[:, None] + np.arange(rows.weights.shape[1])) % n
        point, k = np.nonzero(rows.weights)
        along = sparse.csr_array((factor * rows.weights[point, k], (point, columns[point, k])), shape=(n, n))
        before, after = (sparse.eye_array(int(np.prod(part))) for part in (shape[:axis], shape[axis + 1 :]))
        whole = sparse.kron(sparse.kron(before, along), after, format="csr")
        found = whole if found is None else (whole @ found).tocsr()
    return found
