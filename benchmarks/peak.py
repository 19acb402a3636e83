"""The machine's peak of float32 multiply-adds, measured: a peer that no matrix product can beat."""

import ctypes
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .peers import compiled, cores
from .timing import Side


def peak_side(flops: float) -> Side:
    """So many operations on all cores, each on registers alone; there is nothing to compare."""
    library = _library()
    rounds = int(flops / (cores() * library.flops_of_a_round()))
    pool = ThreadPoolExecutor(cores())

    def run() -> Any:
        list(pool.map(lambda _: library.run(rounds, 0.5, 1.0), range(cores())))
        return ()

    return Side(run, note="registers only")


@functools.cache
def _library() -> Any:
    library = compiled("peak.c", "-march=native", "-ffp-contract=fast")
    library.flops_of_a_round.restype = ctypes.c_int64
    library.run.argtypes = [ctypes.c_int64, ctypes.c_float, ctypes.c_float]
    library.run.restype = ctypes.c_float
    return library
