"""fastgrad: calculus for machine learning in compiled code.

Write a function in plain NumPy; fastgrad differentiates it exactly, runs it for one input or a million in C, and
descends on thousands of problems at once.
"""

from . import plot
from ._machine import get_num_threads, release_memory, set_num_threads, show_config
from .check import GradCheck, check_grad
from .descent import GD, Adam, History, Momentum, Result, minimize
from .errors import IndexingError, ShapeError, TraceError
from .explain import Explanation, explain
from .functions import (
    derivative,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    partial,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)  # fmt: skip
from .loops import fori_loop, scan

__version__ = "0.1.0"

__all__ = [
    "GD", "Adam", "Explanation", "GradCheck", "History", "IndexingError", "Momentum", "Result", "ShapeError",
    "TraceError", "check_grad", "derivative", "explain", "fori_loop", "get_num_threads", "grad", "hessian", "hvp",
    "jacobian", "jvp", "minimize", "partial", "plot", "release_memory", "scan", "set_num_threads", "show_config",
    "stop_gradient", "value_and_grad", "vjp", "vmap",
]  # fmt: skip
