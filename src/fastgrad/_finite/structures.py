"""Where a sparse matrix may differ from zero, and which of its columns can be moved together.

Columns of a Jacobian that share no row are measured by one difference, since what they change falls on different rows.
For a Hessian less will do, as each element is there twice. Groups of columns are greedy colourings (csrc/colour.c) in
several orders, of which the best is taken: a difference costs far more than a colouring.

References
----------
A. R. Curtis, M. J. D. Powell, J. K. Reid, *On the estimation of sparse Jacobian matrices*, IMA Journal of Applied
Mathematics 13 (1974). A. H. Gebremedhin, F. Manne, A. Pothen, *What color is your Jacobian?*, SIAM Review 47 (2005).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core


@dataclass(frozen=True, eq=False)
class Structure:
    """Where a matrix may differ from zero: row i does in the columns ``column[start[i]:start[i + 1]]``, in order."""

    shape: tuple[int, int]
    start: np.ndarray
    column: np.ndarray

    @classmethod
    def of(cls, row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> Structure:
        """The structure with elements at these places, in any order and repeated or not."""
        n_rows, n_columns = shape
        place = np.asarray(row, np.int64) * n_columns + np.asarray(column, np.int64)
        if place.size and not (place[1:] > place[:-1]).all():
            place = np.sort(place)
            place = place[np.concatenate([[True], place[1:] != place[:-1]])]
        row, column = np.divmod(place, max(n_columns, 1))
        return cls(shape, _starts(row, n_rows), column)

    @functools.cached_property
    def row(self) -> np.ndarray:
        """The row of each element."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.start))

    @functools.cached_property
    def transposed(self) -> Structure:
        """The structure of the transposed matrix."""
        order = np.argsort(self.column, kind="stable")  # so rows stay in order
        return Structure((self.shape[1], self.shape[0]), _starts(self.column, self.shape[1]), self.row[order])

    @functools.cached_property
    def symmetric(self) -> Structure:
        """With the elements of the transposed matrix too."""
        return self.including(self.column, self.row)

    def including(self, row: np.ndarray, column: np.ndarray) -> Structure:
        """With these elements too."""
        return Structure.of(np.concatenate([self.row, row]), np.concatenate([self.column, column]), self.shape)

    def keeping(self, is_kept: np.ndarray) -> Structure:
        """Without the other elements."""
        return Structure(self.shape, _starts(self.row[is_kept], self.shape[0]), self.column[is_kept])

    def matrix(self, data: np.ndarray) -> Any:
        """A `scipy.sparse.csr_array` of these elements."""
        from scipy import sparse

        return sparse.csr_array((data, self.column.copy(), self.start.copy()), shape=self.shape)


def _starts(row: np.ndarray, n_rows: int) -> np.ndarray:
    """Where each row starts among elements in the order of rows, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n_rows))])


def read_structure(
    sparsity: Any, shape: tuple[int, int], *, symmetric: bool = False
) -> tuple[Structure, np.ndarray | None]:
    """What a caller says about a matrix of this shape.

    Parameters
    ----------
    sparsity : array_like, scipy.sparse matrix or array, or tuple
        Nonzero where the matrix may be; of a sparse matrix every stored element counts. Or such a structure together
        with the group of each column.
    shape : tuple of int
        Of the matrix.
    symmetric : bool, optional
        Whether it is a Hessian, of which one triangle is enough.

    Returns
    -------
    structure : Structure
    groups : ndarray or None
        Those that the caller gave.
    """
    if isinstance(sparsity, str):
        raise ValueError(f'sparsity is {sparsity!r}: pass "auto", or an array that is nonzero where the matrix may be')
    if (
        isinstance(sparsity, tuple)
        and len(sparsity) == 2
        and np.ndim(sparsity[1]) == 1
        and len(_shape(sparsity[0])) == 2
    ):
        structure, _ = read_structure(sparsity[0], shape, symmetric=symmetric)
        return structure, _read_groups(sparsity[1], structure, symmetric)
    if _shape(sparsity) != shape:
        raise ValueError(
            f"sparsity has shape {_shape(sparsity)}, but the matrix that it describes has shape {shape}:"
            " a row for each value, a column for each component of x0"
        )
    if isinstance(sparsity, Structure):
        structure = sparsity
    elif hasattr(sparsity, "tocoo"):
        elements = sparsity.tocoo()
        structure = Structure.of(elements.row, elements.col, shape)
    else:
        row, column = np.nonzero(np.asarray(sparsity))
        structure = Structure.of(row, column, shape)
    return structure.symmetric if symmetric else structure, None


def _shape(array: Any) -> tuple[int, ...]:
    return getattr(array, "shape", None) or np.shape(array)


def _read_groups(groups: Any, structure: Structure, symmetric: bool) -> np.ndarray:
    """Numbers of groups as they are counted here, from 0 without a gap; refused where they mix up elements."""
    groups, n = np.asarray(groups), structure.shape[1]
    if groups.shape != (n,) or groups.dtype.kind not in "iu":
        raise ValueError(f"groups must be {n} integers, one a column, got shape {groups.shape} of {groups.dtype}")
    groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    alone = is_alone(structure, groups)
    if symmetric:
        alone |= alone[across(structure)]
    if not alone.all():
        k = np.flatnonzero(~alone)[0]
        raise ValueError(
            f"groups put column {structure.column[k]} together with another that is nonzero in row {structure.row[k]}:"
            " leave them out, and they are found"
        )
    return groups


def is_alone(structure: Structure, groups: np.ndarray) -> np.ndarray:
    """Of each element, whether its row has no other in the columns of its group."""
    cell = structure.row * (groups.max(initial=0) + 1) + groups[structure.column]
    _, number, count = np.unique(cell, return_inverse=True, return_counts=True)
    return count[number] == 1


def across(structure: Structure) -> np.ndarray:
    """Of each element (i, j) of a symmetric structure, the number of (j, i)."""
    return np.lexsort((structure.row, structure.column))


# ---- groups


def groups(structure: Structure) -> np.ndarray:
    """The group of each column; columns of a group share no row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgrad._finite.structures import groups, read_structure
    >>> band = np.eye(6) + np.eye(6, k=1) + np.eye(6, k=-1)
    >>> groups(read_structure(band, (6, 6))[0])
    array([0, 1, 2, 0, 1, 2])
    """
    n = structure.shape[1]
    longest = int(np.diff(structure.start).max(initial=0))
    if longest == n:  # nothing can be done together
        return np.arange(n)
    return _fewest(structure, longest, structure.transposed)


def symmetric_groups(structure: Structure) -> np.ndarray:
    """The group of each column of a symmetric matrix; of (i, j) and (j, i) one is alone in its row in its group."""
    return _fewest(structure, 1)


def _fewest(structure: Structure, least: int, transposed: Structure | None = None) -> np.ndarray:
    """Groups by several orders of the columns, the fewest of them; `least` are enough."""
    other = structure if transposed is None else transposed
    arrays, others = (structure.start, structure.column), (other.start, other.column)
    length = np.diff(other.start)  # elements of a column
    reach = np.bincount(other.row, np.diff(structure.start)[other.column], length.size)  # and of its rows
    # paths through a hub, such as the point of an arrow, are many, but none counts before the hub has a group
    is_hub = (
        length > 64 * (1 + np.median(length)) if transposed is None and length.size else np.zeros(length.size, bool)
    )
    orders: tuple[Callable[[], np.ndarray], ...] = (
        lambda: np.arange(length.size),
        lambda: _core.order_by_breadth(*arrays, np.argsort(reach, kind="stable"), others),
        lambda: np.argsort(-reach, kind="stable"),
    )
    best = np.arange(length.size)
    for make in orders:
        order = make()
        order = np.concatenate([order[~is_hub[order]], order[is_hub[order]]])
        found = _core.group_columns(*arrays, order, None if transposed is None else others)
        best = min(best, found, key=lambda group: int(group.max(initial=-1)))
        if best.max(initial=-1) < least:
            break
    return best
