"""fastgrad: calculus for machine learning in compiled code.

Write a function in plain NumPy; fastgrad differentiates it exactly, runs it for one input or a million in C, and
descends on thousands of problems at once.
"""

from typing import TYPE_CHECKING, Any

from . import plot
from ._machine import get_num_threads, release_memory, set_num_threads, show_config
from .descent import GD, Adam, History, Momentum, Result, minimize
from .errors import IndexingError, ShapeError, TraceError
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

if TYPE_CHECKING:
    from ._check import GradCheck, check_grad
    from ._explain import Explanation, explain

__version__ = "0.1.0"

__all__ = [
    "GD", "Adam", "Explanation", "GradCheck", "History", "IndexingError", "Momentum", "Result", "ShapeError",
    "TraceError", "check_grad", "derivative", "explain", "fori_loop", "get_num_threads", "grad", "hessian", "hvp",
    "jacobian", "jvp", "minimize", "partial", "plot", "release_memory", "scan", "set_num_threads", "show_config",
    "stop_gradient", "value_and_grad", "vjp", "vmap",
]  # fmt: skip

# for looking at one function: loaded when they are first asked for
_LATER = {"GradCheck": "_check", "check_grad": "_check", "Explanation": "_explain", "explain": "_explain"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
