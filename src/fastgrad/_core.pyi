from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

def select_isa(name: str = "") -> None: ...
def current_isa() -> str: ...
def supported_isas() -> list[str]: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def live_memory() -> tuple[int, int]: ...
def kept_memory() -> int: ...
def release_memory() -> int: ...
def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray: ...
def operations() -> list[tuple[str, int, str]]: ...
def updates() -> dict[str, tuple[int, int]]: ...

class Program:
    words: np.ndarray
    n_inputs: int
    n_outputs: int
    cost: float
    def __init__(self, words: np.ndarray) -> None: ...
    def run(self, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None: ...
    def run_batch(
        self,
        batch: int,
        inputs: list[np.ndarray],
        outputs: list[np.ndarray],
        report: Callable[[int], None] | None = None,
    ) -> None: ...
    def run_directions(
        self, n: int, inputs: list[np.ndarray | None], outputs: list[np.ndarray], lanes_innermost: bool
    ) -> None: ...
    def descend(
        self,
        update: int,
        batch: int,
        maxiter: int,
        gtol: float,
        learning_rate: np.ndarray,
        settings: np.ndarray,
        inputs: list[np.ndarray],
        x: np.ndarray,
        record_every: int,
        history_fun: np.ndarray | None,
        history_x: np.ndarray | None,
        keep_best: bool,
        report: Callable[[int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]: ...

class Runner:
    program: Program
    results: Sequence[tuple[tuple[int, ...], np.dtype]]
    structure: Any
    assemble: Callable[[list[Any]], Any] | None
    def __init__(
        self,
        program: Program,
        inputs: Sequence[tuple[tuple[int, ...], np.dtype]],
        outputs: Sequence[tuple[tuple[int, ...], np.dtype]],
        is_lane: Sequence[bool],
        statics: tuple[tuple[Any] | None, ...] | None,
        structure: Any,
        assemble: Callable[[list[Any]], Any] | None,
        is_pair: bool,
    ) -> None: ...

class Function:
    def remember(self, runner: Runner) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
