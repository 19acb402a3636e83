"""The machine that fastgrad runs on: threads, instruction sets, and the settings of the environment."""

from __future__ import annotations

import os
import platform
import sys

from . import _core

_NAMES = {"avx2": "AVX2 + FMA", "avx512": "AVX-512", "baseline": "SSE4.2", "neon": "NEON"}


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use; results do not depend on it.

    Parameters
    ----------
    n : int
        1 to 1024. Small calls use fewer. The initial number is ``FASTGRAD_NUM_THREADS`` if the environment sets it,
        else the number of processors that this process may use.

    Examples
    --------
    >>> import fastgrad as fg
    >>> fg.set_num_threads(2)
    >>> fg.get_num_threads()
    2
    """
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"the number of threads must be an integer, got {n!r}")
    if not 1 <= n <= 1024:
        raise ValueError(f"the number of threads must be 1 to 1024, got {n}")
    _core.set_num_threads(n)


def get_num_threads() -> int:
    """How many threads a call may use."""
    return _core.get_num_threads()


def release_memory() -> int:
    """Give the memory of freed results back to the system; how many bytes that was.

    The system clears every page that it hands out, which for large results takes about as long as computing them. So
    arrays of 4 MiB or more that transforms made leave their memory, when they are freed, to the next result of that
    size: at most 4 blocks, 256 MiB in all, which the system takes by itself as soon as memory is short. There is no
    need to call this; it is for those who watch the size of a process.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgrad as fg
    >>> gradients = fg.vmap(fg.grad(lambda x: np.sum(x**2)))(np.ones((100_000, 10)))
    >>> del gradients
    >>> fg.release_memory() >= 8_000_000
    True
    """
    return _core.release_memory()


def show_config() -> None:
    """Print versions, processor, kernels and threads: what a bug report should contain.

    Examples
    --------
    >>> import fastgrad as fg
    >>> fg.show_config()  # doctest: +ELLIPSIS
    fastgrad ...
    """
    import numpy

    from . import __version__

    here = _core.current_isa()
    print(f"fastgrad  {__version__}")
    print(f"Python    {platform.python_version()}, NumPy {numpy.__version__}")
    print(f"platform  {sys.platform}, {platform.machine()}")
    print(f"kernels   {here} ({_NAMES[here]}); this processor runs {', '.join(_core.supported_isas())}")
    print(f"threads   {get_num_threads()} of {_processors()} processors")


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _read_environment() -> None:
    threads = os.environ.get("FASTGRAD_NUM_THREADS", "")
    isa = os.environ.get("FASTGRAD_ISA", "")
    try:
        set_num_threads(int(threads) if threads else min(_processors(), 1024))
        _core.select_isa(isa)
    except ValueError as error:
        raise ImportError(f"FASTGRAD_NUM_THREADS={threads!r}, FASTGRAD_ISA={isa!r}: {error}") from error


_read_environment()
