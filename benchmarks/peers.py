"""Which peers are installed, and how each is asked for float64, equal threads and finished results."""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from .timing import Side

BUILT_IN = ("python", "numpy")
OPTIONAL = ("jax", "autograd", "casadi", "torch", "scipy", "sklearn", "numdifftools", "jacobi", "findiff")
NAMES = (*BUILT_IN, "peak", *OPTIONAL)  # peak: of the machine, measured with a C compiler


def cores() -> int:
    """The cores that this process may run on, which is what every side uses."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed(name: str) -> bool:
    if name == "peak":
        return c_compiler() is not None
    return name in BUILT_IN or importlib.util.find_spec(name) is not None


def c_compiler() -> str | None:
    return shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]) or shutil.which("cc")


def compiled(source: str, *flags: str) -> ctypes.CDLL:
    """A C file that lies beside this one, as a library."""
    compiler = c_compiler()
    assert compiler is not None
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "library.so"
        command = [compiler, "-O3", *flags, "-shared", "-fPIC", "-o", built, Path(__file__).with_name(source)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(built))


def version(name: str) -> str:
    return importlib.metadata.version({"sklearn": "scikit-learn"}.get(name, name))


def with_numpy(function: Callable[..., Any], module: Any) -> Callable[..., Any]:
    """The function as it would read had its file said `import module as np`: one source for every peer."""
    code, space = function.__code__, {**function.__globals__, "np": module}
    return FunctionType(code, space, function.__name__, function.__defaults__, function.__closure__)


def import_jax() -> Any:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    return jax


def import_torch() -> Any:
    torch = importlib.import_module("torch")
    torch.set_num_threads(cores())
    return torch


def jax_side(function: Callable[..., Any], *inputs: Any, units: float = 1) -> Side:
    """A jitted function of arrays that JAX already holds. All its outputs are ready when the last is."""
    jax = import_jax()
    compiled, held = jax.jit(function), jax.device_put(inputs)

    def run() -> Any:
        results = compiled(*held)
        results[-1].block_until_ready()
        return results

    return Side(run, units)
