"""Sparse Jacobians and Hessians by differences: of groups of columns that move together, and products with a vector.

A function is given as ``values``: points (k, n) to values (k, m). Steps `h` have a sign, one for each component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .structures import Structure, across, groups, is_alone

Values = Callable[[np.ndarray], np.ndarray]

BLOCK_BYTES = 1 << 26  # of points that are made at once
AMPLE = 2.0**-4  # room, relative to max(1, abs(x)), that the steps of most functions fit into
ALIKE = 8.0  # how many times more room than another a component of its group may have, unless both have ample


def detect(
    values: Values, x: np.ndarray, m: int, *, lower: Any = -np.inf, upper: Any = np.inf, rng: Any = 0
) -> Structure:
    """Which values depend on which components of x near x, found by moving many at once.

    Halves of all components are moved by random amounts, then halves of those that had an effect, and so on. Blocks
    that no value depends on together are moved together, so a band of width b takes about ``2 b log2(n)`` evaluations,
    a matrix without zeros ``2 n`` to ``3 n``.

    Parameters
    ----------
    values : callable
        Points (k, n) to values (k, m).
    x : (n,) ndarray
        Where.
    m : int
        How many values there are.
    lower, upper : array_like, optional
        Bounds, never left. Columns of components without any room stay empty: nothing is known of them.
    rng : int or numpy.random.Generator, optional
        Where random moves come from.

    Returns
    -------
    Structure
        Of shape (m, n).

    Raises
    ------
    ValueError
        A value is not finite near x, so nothing can be seen in it.

    Notes
    -----
    A value counts as depending on a component if moving it by up to a thousandth (of its size, or of 1) changes any bit
    of the value. What this cannot see: a dependence behind a branch, a maximum or a threshold that is not taken near x;
    changes lost in rounding, such as ``1e20 + x``; and where `values` are few distinct numbers. Noisy ones seem
    to depend on everything. So a result holds near x alone: pass the structure where it is known.

    What is compared comes from one call of `values`, as other ways to evaluate a function may round otherwise.
    """
    rng = np.random.default_rng(rng)
    size = 1e-3 * np.maximum(np.abs(x), 1)
    least, most = np.maximum(x - size, lower), np.minimum(x + size, upper)
    base, moved = (rng.uniform(least, most).astype(x.dtype).clip(least, most) for _ in range(2))
    is_unmoved = base == moved  # by chance, or without room
    base = np.where(is_unmoved, least, base)
    moved = np.where(is_unmoved, most, moved)
    n = x.size
    edges = np.array([0, n] if n else [0])  # of the blocks of components
    found = Structure.of(np.arange(m * min(n, 1)), np.zeros(m * min(n, 1), np.int64), (m, min(n, 1)))
    while (np.diff(edges) > 1).any():
        middle = (edges[:-1] + edges[1:]) // 2  # the first half of one component is empty
        is_second = np.arange(n) >= np.repeat(middle, np.diff(edges))
        group = groups(found)
        # what is moved together: one half of all blocks of a group
        parts, part = np.unique(2 * np.repeat(group, np.diff(edges)) + is_second, return_inverse=True)
        row, block = [], []
        for first, after, at_x in _by_groups(values, base, moved[np.newaxis], part, parts.size, with_x=True):
            before = at_x[0]
            if not np.isfinite(before).all():
                bad = np.flatnonzero(~np.isfinite(before))[0]
                raise ValueError(
                    f'sparsity="auto" found {before[bad]} as value {bad} near x0, where nothing can be seen:'
                    " pass the structure"
                )
            for which, value in zip(parts[first:], after[:, 0], strict=False):
                is_changed = (group[found.column] == which // 2) & (value != before)[found.row]
                row.append(found.row[is_changed])
                block.append(2 * found.column[is_changed] + which % 2)
        sizes = np.stack([middle - edges[:-1], edges[1:] - middle], axis=1).ravel()
        number = np.cumsum(sizes > 0) - 1  # of a half among those that are not empty
        edges = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
        found = Structure.of(np.concatenate(row), number[np.concatenate(block)], (m, edges.size - 1))
    return found


# ---- differences


def _by_groups(
    values: Values, x: np.ndarray, moved: np.ndarray, groups: np.ndarray, n_groups: int, *, with_x: bool = False
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """For blocks of groups: the first; values (group, way, m) where only the components of a group have moved, to
    their places in each row (a way) of `moved`; and those at x (1, m) of this block, or none (0, m)."""
    n_ways, n = moved.shape
    most = max(1, BLOCK_BYTES // max(moved.nbytes, 1))
    for first in range(0, n_groups, most):
        last = min(first + most, n_groups)
        everything = np.empty((with_x + (last - first) * n_ways, n), moved.dtype)
        everything[:] = x
        points = everything[with_x:].reshape(last - first, n_ways, n)
        mine = _within_block(groups, first, last, n_groups)
        group = groups[mine] - first
        for way in range(n_ways):
            points[group, way, np.arange(n)[mine]] = moved[way, mine]
        found = values(everything)
        yield first, found[with_x:].reshape(last - first, n_ways, -1), found[:with_x]


def _within_block(group: np.ndarray, first: int, last: int, n_groups: int) -> Any:
    """Where a group is one of those from the first to before the last."""
    return slice(None) if last - first == n_groups else np.flatnonzero((group >= first) & (group < last))


def within(points: np.ndarray, limits: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """Points whose rounding has not carried them past a limit."""
    return points if limits is None else np.clip(points, *limits).astype(points.dtype, copy=False)


def _elements(
    values: Values,
    x: np.ndarray,
    h: np.ndarray,
    scheme: str,
    structure: Structure,
    groups: np.ndarray,
    f0: np.ndarray | None,
    one_sided: np.ndarray | None,
    limits: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    """The Jacobian at the elements of its structure."""
    h = np.asarray(h, x.dtype)
    is_aside = np.zeros(x.size, bool) if one_sided is None else np.asarray(one_sided, bool)
    if scheme == "2-point":
        moved = within((x + h)[np.newaxis], limits)
        width = moved[0] - x
    elif scheme == "3-point":
        moved = within(np.stack([np.where(is_aside, x + h, x - h), np.where(is_aside, x + 2 * h, x + h)]), limits)
        width = moved[1] - np.where(is_aside, x, moved[0])
    elif scheme == "cs":
        moved = (x + 1j * h)[np.newaxis]
        width = h
    else:
        raise ValueError(f'method {scheme!r} makes no sparse matrices: take "2-point", "3-point" or "cs"')
    needs_f0 = scheme == "2-point" or is_aside.any()
    at_x = values(x[np.newaxis])[0] if f0 is None and needs_f0 else np.asarray(f0)
    group = groups[structure.column]
    n_groups = int(groups.max(initial=-1)) + 1
    data = np.zeros(group.size, np.result_type(width, np.float32))
    for first, found, _ in _by_groups(values, x, moved, groups, n_groups):
        here = _within_block(group, first, first + len(found), n_groups)
        row, column = structure.row[here], structure.column[here]
        at = [found[group[here] - first, way, row] for way in range(len(moved))]
        with np.errstate(all="ignore"):
            if scheme == "cs":
                change = at[0].imag
            elif scheme == "2-point":
                change = at[0] - at_x[row]
            else:
                change = at[1] - at[0]
                if is_aside.any():
                    change = np.where(is_aside[column], -3 * at_x[row] + 4 * at[0] - at[1], change)
            data[here] = np.where(width[column] == 0, np.nan, change / width[column])  # nothing has moved
    return data


def jacobian_by_groups(
    values: Values,
    x: np.ndarray,
    h: np.ndarray,
    scheme: str,
    structure: Structure,
    groups: np.ndarray,
    *,
    f0: np.ndarray | None = None,
    one_sided: np.ndarray | None = None,
    limits: tuple[np.ndarray, np.ndarray] | None = None,
) -> Any:
    """A sparse Jacobian by one difference for each group of columns.

    Parameters
    ----------
    values : callable
        Points (k, n) to values (k, m); complex ones for "cs".
    x, h : (n,) ndarray
        Where, and steps with their signs.
    scheme : str
        "2-point", "3-point" or "cs": 1, 2 or 1 evaluations a group, and one at x where a formula needs it.
    structure : Structure
        Where the Jacobian may differ from zero.
    groups : (n,) ndarray
        As from `groups`.
    f0 : (m,) ndarray, optional
        The values at x, where they are known.
    one_sided : (n,) ndarray of bool, optional
        Components for which "3-point" takes x, x + h and x + 2 h.
    limits : tuple of (n,) ndarray, optional
        Bounds, which steps must fit into but for rounding.

    Returns
    -------
    scipy.sparse.csr_array
        Of shape (m, n), with every element of the structure stored.
    """
    return structure.matrix(_elements(values, x, h, scheme, structure, groups, f0, one_sided, limits))


def hessian_by_groups(
    gradients: Values,
    x: np.ndarray,
    h: np.ndarray,
    scheme: str,
    structure: Structure,
    groups: np.ndarray,
    *,
    g0: np.ndarray | None = None,
    one_sided: np.ndarray | None = None,
    limits: tuple[np.ndarray, np.ndarray] | None = None,
) -> Any:
    """A sparse Hessian by one difference of gradients for each group: points (k, n) to gradients (k, n).

    The structure is symmetric, the groups are those of `symmetric_groups`. An element is read where it is alone in its
    row in its group; where that holds for (i, j) and (j, i) it is their mean, so the result is symmetric.
    """
    data = _elements(gradients, x, h, scheme, structure, groups, g0, one_sided, limits)
    mirror, alone = across(structure), is_alone(structure, groups)
    with np.errstate(all="ignore"):
        mean = (data + data[mirror]) / 2
    return structure.matrix(np.where(alone, np.where(alone[mirror], mean, data), data[mirror]))


def group_coordinates(
    values: Values, x: np.ndarray, scale: np.ndarray, groups: np.ndarray, lower: Any = -np.inf, upper: Any = np.inf
) -> tuple[Values, np.ndarray, np.ndarray]:
    """`values` as a function of one number t for each group, which moves its components by ``t * scale``; bounds on t.

    So any method for dense Jacobians, at t = 0, serves sparse ones: `spread` says what its result means. Components
    without room stay where they are, and leave theirs to the rest of their group.
    """
    ends = np.sort(np.stack([(np.broadcast_to(bound, x.shape) - x) / scale for bound in (lower, upper)]), axis=0)
    ends[:, ends[0] == ends[1]] = [[-np.inf], [np.inf]]
    least, most = (np.full(groups.max(initial=-1) + 1, end) for end in (-np.inf, np.inf))
    np.maximum.at(least, groups, ends[0])
    np.minimum.at(most, groups, ends[1])
    return lambda t: values(np.clip(x + t[:, groups] * scale, lower, upper)), least, most


def by_room(
    x: np.ndarray, scale: np.ndarray, groups: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Groups for `group_coordinates`, and the sign that the scale of each component should have.

    A group has the room that all its components have. So those at an upper bound move the other way, and those with
    much less room than others are apart from them. Components without any room are in no group of their own.
    """
    below, above = (x - lower) / scale, (upper - x) / scale
    direction = np.where((above < below) & (above < AMPLE), -1.0, 1.0)
    room = np.minimum(np.maximum(below, above), AMPLE)
    moves = room > 0
    most = np.zeros(groups.max(initial=-1) + 1)
    np.maximum.at(most, groups, room)
    level = np.log2(most[groups][moves]) - np.log2(room[moves])
    level = np.floor(level / np.log2(ALIKE)).astype(np.int64)
    apart = np.zeros_like(groups)
    apart[moves] = np.unique(groups[moves] * (level.max(initial=0) + 1) + level, return_inverse=True)[1]
    return apart, direction


def only_own(values: Values, f0: np.ndarray, structure: Structure, groups: np.ndarray, n_groups: int) -> Values:
    """`values` of group coordinates, but `f0` where the structure has no element for the one that is not zero."""
    is_own = np.zeros((n_groups, f0.size), bool)
    is_own[groups[structure.column], structure.row] = True

    def own(t: np.ndarray) -> np.ndarray:
        has_moved = t != 0
        is_free = is_own[has_moved.argmax(axis=1)] & has_moved.any(axis=1)[:, np.newaxis]
        return np.where(is_free, values(t), f0)

    return own


def spread(derivative: np.ndarray, scale: np.ndarray, structure: Structure, groups: np.ndarray) -> Any:
    """The sparse Jacobian from derivatives (groups, m) with respect to group coordinates; or of their errors."""
    column = structure.column
    return structure.matrix(derivative[groups[column], structure.row] / scale[column])


# ---- products with a Jacobian


def linear_operator(calls: Any, x: np.ndarray, h: Any, scheme: str, *, f0: np.ndarray | None = None) -> Any:
    """The Jacobian as a `scipy.sparse.linalg.LinearOperator`: a product is one difference along the vector.

    Parameters
    ----------
    calls : object
        With ``values``, points (k, n) to values (k, m), and ``out_shape``, the shape of one value.
    x : (n,) ndarray
        Where.
    h : float or (n,) ndarray
        A number is the length of a step, as in SciPy; an array the farthest that a step takes each component.
    scheme : str
        "2-point", "3-point" or "cs".
    f0 : (m,) ndarray, optional
        The values at x, where they are known.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Of shape (m, n); all columns of a product with a matrix are evaluated together. It has no transpose: a
        difference along a vector says nothing about products from the left.
    """
    from scipy.sparse import linalg

    if scheme not in ("2-point", "3-point", "cs"):
        raise ValueError(f'method {scheme!r} makes no linear operator: take "2-point", "3-point" or "cs"')
    h = np.asarray(h, x.dtype)
    if f0 is None and scheme == "2-point":
        (f0,) = calls.values(x[np.newaxis])
    shape = (int(np.prod(calls.out_shape)), x.size)

    def products(V: Any) -> np.ndarray:
        V = np.asarray(V)
        if V.dtype.kind == "c":
            raise TypeError("the vector is complex: multiply its real and imaginary parts one by one")
        V = V.astype(np.result_type(V, np.float64), copy=False)
        # vectors of any length: differences are along multiples of about 1, by powers of two
        power = np.frexp(np.abs(V).max(axis=0, initial=0))[1]
        P = np.ldexp(V, -power).T.astype(x.dtype)
        with np.errstate(all="ignore"):
            if h.ndim:
                step = np.min(np.where(P != 0, np.abs(h) / np.abs(P), np.inf), axis=1, initial=np.inf)
            else:
                step = np.abs(h) / np.sqrt(np.sum(P * P, axis=1))
        step = np.where(np.isfinite(step), step, 1).astype(x.dtype)[:, np.newaxis]  # a zero vector needs none
        move = step * P
        if scheme == "cs":
            return np.ldexp((calls.values(x + 1j * move).imag / step).T, power)
        if scheme == "2-point":
            return np.ldexp(((calls.values(x + move) - f0) / step).T, power)
        both = calls.values(np.concatenate([x - move, x + move]))
        return np.ldexp(((both[len(P) :] - both[: len(P)]) / (2 * step)).T, power)

    return linalg.LinearOperator(
        shape, matvec=lambda v: products(np.reshape(v, (-1, 1)))[:, 0], matmat=products, dtype=x.dtype
    )
