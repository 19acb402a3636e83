"""Derivatives of sampled fields: finite differences along the axes of an array."""

from __future__ import annotations

from .stencils import coefficients, weights

__all__ = ["coefficients", "weights"]
