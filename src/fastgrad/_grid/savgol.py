"""Savitzky and Golay's smoothing derivatives: of the polynomial that fits a window of samples best."""

from __future__ import annotations

import functools

import numpy as np

from .tables import Stencil, mirrored


@functools.lru_cache(maxsize=64)
def smoothing(window_length: int, polyorder: int, derivative: int, is_periodic: bool) -> Stencil:
    """The derivative of the best polynomial around each point, for a step of 1; near the ends, of the last one."""
    reach = window_length // 2
    size = max(reach, 1)
    places = np.arange(-reach, reach + 1) / size
    basis, triangle = np.linalg.qr(np.polynomial.chebyshev.chebvander(places, polyorder))
    slopes = np.polynomial.chebyshev.chebder(np.eye(polyorder + 1), derivative)
    at = np.polynomial.chebyshev.chebval(places[: reach + 1], slopes)  # of each Chebyshev polynomial, at each place
    rows = np.linalg.solve(triangle.T, at).T @ basis.T / float(size) ** derivative
    inner = (rows[reach] + (-1) ** derivative * rows[reach, ::-1]) / 2  # exactly as symmetric as it should be
    head = rows[:0] if is_periodic else rows[:reach]
    return Stencil(reach, inner, head, mirrored(head, derivative))
