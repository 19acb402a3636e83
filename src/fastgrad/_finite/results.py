"""What finite differences give back when more than the derivative is asked for, and how each component ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FINE, INACCURATE, NOT_FINITE, NO_ROOM = range(4)

MESSAGES = {
    FINE: "as accurate as the method promises",
    INACCURATE: "the estimated error is larger than the tolerance, and no step makes it smaller",
    NOT_FINITE: "the derivative is not finite, as values of the function are not",
    NO_ROOM: "the bounds or the size of x leave no room for a proper step",
}


@dataclass(eq=False)
class Difference:
    """A derivative by finite differences, with how it was found.

    Attributes
    ----------
    value : float, ndarray or scipy.sparse array
        The derivative.
    error : ndarray or None
        Estimated absolute error of each component, shaped like `value`; None but for ``method="adaptive"``, as the
        other methods have nothing to estimate it from.
    nfev : int
        Points at which the function was evaluated.
    step : float or ndarray
        The step of each variable: the last one for ``method="adaptive"``, negative where it went downwards.
    status : int or ndarray
        How each variable fared, shaped like `step`: 0 is well, `messages` explains all of them.
    message : str
        The worst of `status`, in words.
    """

    value: Any
    error: Any
    nfev: int
    step: Any
    status: Any

    @property
    def message(self) -> str:
        """The worst of `status`, in words, and how many components share it."""
        status = np.asarray(self.status)
        worst = int(status.max(initial=FINE))
        if worst == FINE:
            return MESSAGES[FINE]
        return f"{MESSAGES[worst]} ({np.count_nonzero(status == worst)} of {status.size} components)"

    @property
    def success(self) -> bool:
        """Whether every component is well."""
        return not np.any(self.status)

    def __repr__(self) -> str:
        lines = [
            f"{name:>7}: {getattr(self, name)!s}" for name in ("value", "error", "nfev", "step", "status", "message")
        ]
        return "\n".join(line.replace("\n", "\n" + 9 * " ") for line in lines)
