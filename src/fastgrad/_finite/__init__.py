"""Finite differences of callables: steps, schemes, evaluation, and the extrapolation behind ``method="adaptive"``."""
