"""fastgrad: calculus for machine learning in compiled code.

Write a function in plain NumPy; fastgrad differentiates it exactly, runs it for one input or a million in C, and
descends on thousands of problems at once.
"""

from typing import TYPE_CHECKING, Any

from ._machine import get_num_threads, release_memory, set_num_threads, show_config
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

if TYPE_CHECKING:
    from . import finite, grid, plot, schedules
    from . import sklearn as sklearn
    from ._check import GradCheck, check_grad
    from ._dense.fit import Fit, fit
    from ._dense.history import TrainingHistory
    from ._dense.losses import Huber
    from ._explain import Explanation, explain
    from ._levenberg import LM
    from ._multistart import Minima, multistart
    from ._searches import LBFGS, Backtracking
    from .descent import minimize
    from .fitting import CurveFit, curve_fit, least_squares
    from .loops import fori_loop, scan
    from .methods import GD, Adagrad, Adam, AdamW, AMSGrad, Lion, Momentum, NAdam, Nesterov, RMSprop, Rprop
    from .network import MLP
    from .problem import Bounds
    from .results import History, Result

__version__ = "0.1.0"

# loaded when they are first asked for, so that what only needs gradients starts sooner: by the module they are in
_LATER = {
    "_check": ["GradCheck", "check_grad"],
    "_dense.fit": ["Fit", "fit"],
    "_dense.history": ["TrainingHistory"],
    "_dense.losses": ["Huber"],
    "_explain": ["Explanation", "explain"],
    "_levenberg": ["LM"],
    "_multistart": ["Minima", "multistart"],
    "_searches": ["LBFGS", "Backtracking"],
    "descent": ["minimize"],
    "fitting": ["CurveFit", "curve_fit", "least_squares"],
    "loops": ["fori_loop", "scan"],
    "methods": [
        "GD", "AMSGrad", "Adagrad", "Adam", "AdamW", "Lion", "Momentum", "NAdam", "Nesterov", "RMSprop", "Rprop",
    ],
    "network": ["MLP"],
    "problem": ["Bounds"],
    "results": ["History", "Result"],
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names}
_MODULES = ("finite", "grid", "plot", "schedules", "sklearn")

__all__ = [
    "GD", "LBFGS", "LM", "MLP", "AMSGrad", "Adagrad", "Adam", "AdamW", "Backtracking", "Bounds", "CurveFit",
    "Explanation", "Fit", "GradCheck", "History", "Huber", "IndexingError", "Lion", "Minima", "Momentum", "NAdam",
    "Nesterov", "RMSprop", "Result", "Rprop", "ShapeError", "TraceError", "TrainingHistory", "check_grad",
    "curve_fit", "derivative", "explain", "finite", "fit", "fori_loop", "get_num_threads", "grad", "grid", "hessian",
    "hvp", "jacobian", "jvp", "least_squares", "minimize", "multistart", "partial", "plot", "release_memory", "scan",
    "schedules", "set_num_threads", "show_config", "stop_gradient", "value_and_grad", "vjp", "vmap",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
