"""Weights of difference stencils: what to multiply samples by so that their sum is a derivative.

One recurrence (Fornberg, Mathematics of Computation 51, 1988) serves all of them: here for rational numbers, in the C
core for floats and many stencils at once. Finite differences of functions and of sampled fields stand on them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from . import _core
from ._arrays import as_floats, is_integer

__all__ = ["coefficients", "weights"]


def weights(offsets: Any, derivative: int = 1) -> list[Fraction] | np.ndarray:
    """Weights of the samples at `offsets` whose weighted sum is a derivative at 0.

    The sum is exact for polynomials of a degree below the number of offsets. Offsets count in steps: for samples that
    are h apart, divide the sum by ``h**derivative``.

    Parameters
    ----------
    offsets : sequence of numbers
        Where the samples are, relative to the point of the derivative: at least ``derivative + 1`` different numbers.
    derivative : int, default 1
        Which derivative; 0 interpolates.

    Returns
    -------
    list of Fraction, or ndarray
        Exact weights where all offsets are integers or fractions, otherwise a float64 array.

    Examples
    --------
    >>> [str(weight) for weight in fg.grid.weights([-1, 0, 1], derivative=2)]
    ['1', '-2', '1']
    >>> fg.grid.weights([0.0, 0.5, 2.0])
    array([-2.5       ,  2.66666667, -0.16666667])
    """
    _check_count("derivative", derivative, 0)
    if isinstance(offsets, np.ndarray) and offsets.dtype.kind in "iu" and offsets.ndim == 1:
        offsets = offsets.tolist()
    if isinstance(offsets, Sequence) and all(isinstance(o, Fraction) or is_integer(o) for o in offsets):
        exact = tuple(offset if isinstance(offset, Fraction) else Fraction(int(offset)) for offset in offsets)
        _check_offsets(exact, derivative)
        return list(exact_weights(exact, int(derivative)))
    array = np.asarray(as_floats(offsets, "offsets"), np.float64)
    if array.ndim != 1:
        raise ValueError(f"offsets has shape {array.shape}\n  cure: pass a sequence of numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"offsets is {array}\n  cure: pass finite numbers")
    _check_offsets(array.tolist(), derivative)
    return _core.weights(array, int(derivative))


def coefficients(derivative: int, accuracy: int, kind: str = "central") -> tuple[list[int], list[Fraction]]:
    """Offsets and weights of a derivative from samples one step apart, to a given order of accuracy.

    Parameters
    ----------
    derivative : int
        Which derivative, from 1 on.
    accuracy : int
        The power of the step that the error falls with; even for central stencils.
    kind : {"central", "forward", "backward"}
        Which samples are used: those around the point, from it on, or up to it.

    Returns
    -------
    offsets : list of int
        Neighbouring offsets, in rising order.
    weights : list of Fraction
        What the sample at each offset is multiplied by, exactly.

    Examples
    --------
    >>> offsets, weights = fg.grid.coefficients(1, 2)
    >>> offsets, [str(weight) for weight in weights]
    ([-1, 0, 1], ['-1/2', '0', '1/2'])
    """
    _check_count("derivative", derivative, 1)
    _check_count("accuracy", accuracy, 1)
    if kind not in ("central", "forward", "backward"):
        raise ValueError(f"kind is {kind!r}\n  cure: write 'central', 'forward' or 'backward'")
    if kind == "central" and accuracy % 2:
        raise ValueError(
            f"accuracy is {accuracy}, but the error of a central stencil falls with an even power of the step\n"
            f"  cure: write {accuracy + 1}, or kind='forward'"
        )
    if kind == "central":
        half = central_reach(int(derivative), int(accuracy))
        offsets = range(-half, half + 1)
    else:
        offsets = range(derivative + accuracy)
        if kind == "backward":
            offsets = range(1 - derivative - accuracy, 1)
    return list(offsets), list(exact_weights(tuple(map(Fraction, offsets)), int(derivative)))


def central_reach(derivative: int, accuracy: int) -> int:
    """How far a central stencil on a uniform grid reaches to each side.

    An odd number of samples makes an even derivative one order better than their number says, by symmetry.
    """
    return (derivative + 1) // 2 + accuracy // 2 - 1


@functools.lru_cache(maxsize=1024)
def exact_weights(offsets: tuple[Fraction, ...], derivative: int) -> tuple[Fraction, ...]:
    """The weights of rational offsets, remembered."""
    return tuple(_fornberg(offsets, derivative))


def _fornberg(nodes: Sequence[Fraction], derivative: int) -> list[Fraction]:
    """Weights at 0 of the derivative for rational nodes; csrc/weights.c has the same for floats.

    table[k][j] is the weight of node j in the k-th derivative for the nodes seen so far. A further node changes the
    Lagrange polynomial of each earlier one by a factor (x - node) / (old - node), and has the polynomial of the one
    before it, times that one's missing factor, scaled.
    """
    table = [[Fraction(0)] * len(nodes) for _ in range(derivative + 1)]
    table[0][0] = norm = Fraction(1)  # product of (last - earlier node)
    for new in range(1, len(nodes)):
        node, last, old_norm = nodes[new], nodes[new - 1], norm
        norm = math.prod((node - old for old in nodes[:new]), start=Fraction(1))
        for k in range(min(new, derivative), -1, -1):
            below = table[k - 1] if k else [Fraction(0)] * new
            table[k][new] = old_norm * (k * below[new - 1] - last * table[k][new - 1]) / norm
            for old in range(new):
                table[k][old] = (node * table[k][old] - k * below[old]) / (node - nodes[old])
    return table[derivative]


def _check_count(name: str, value: Any, least: int) -> None:
    if not is_integer(value) or value < least:
        raise ValueError(f"{name} is {value!r}\n  cure: pass an integer from {least} on")


def _check_offsets(offsets: Sequence[Any], derivative: int) -> None:
    if len(offsets) <= derivative:
        raise ValueError(
            f"offsets has {len(offsets)} samples, but derivative {derivative} needs at least {derivative + 1}\n"
            "  cure: pass more offsets"
        )
    if len(set(offsets)) < len(offsets):
        twice = next(offset for offset in offsets if list(offsets).count(offset) > 1)
        raise ValueError(f"offsets has {twice} more than once\n  cure: pass each offset once")
