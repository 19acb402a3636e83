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
        inputs: list[np.ndarray],
        x: np.ndarray,
        *,
        maxiter: int,
        gtol: float = -1,
        ftol: float = -1,
        xtol: float = -1,
        learning_rate: np.ndarray,
        schedule: np.ndarray | None = None,
        settings: np.ndarray,
        lower: np.ndarray | None = None,
        upper: np.ndarray | None = None,
        clip_value: float = 0,
        clip_norm: float = 0,
        weight_decay: float = 0,
        record_every: int = 0,
        fun: np.ndarray | None = None,
        norm: np.ndarray | None = None,
        step: np.ndarray | None = None,
        path: np.ndarray | None = None,
        keep_best: bool = False,
        state: Standing | None = None,
        n_iterations: int = ...,
        report: Callable[[int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray, float]: ...
    def iterate(
        self,
        batch: int,
        inputs: list[np.ndarray | None],
        results: list[np.ndarray | None],
        max_runs: int,
        counter: int,
        record_every: int = 0,
        history: list[np.ndarray | None] | None = None,
        report: Callable[[int], None] | None = None,
    ) -> tuple[np.ndarray, float]: ...

class Standing:
    update: int
    batch: int
    size: int
    dtype: np.dtype
    nit: np.ndarray
    outcome: np.ndarray
    step: np.ndarray
    def __init__(self, update: int, batch: int, size: int, dtype: np.dtype) -> None: ...

class Source:
    array: np.ndarray | None
    n_rows: int
    size: int
    def __init__(self, array: np.ndarray | None, scale: float = 1, shift: float = 0) -> None: ...

class TrainingState:
    moments: np.ndarray
    running: np.ndarray
    steps: np.ndarray
    epochs: np.ndarray
    outcome: np.ndarray
    best: np.ndarray
    best_value: np.ndarray
    best_epoch: np.ndarray
    stale: np.ndarray
    def __init__(self, update: int, members: int, size: int, dtype: np.dtype) -> None: ...

def total(
    program: Program,
    leaves: list[np.ndarray],
    sources: list[Source],
    n_rows: int,
    weights: np.ndarray | None = None,
    report: Callable[[int], None] | None = None,
) -> list[np.ndarray]: ...
def train(
    program: Program,
    parameters: np.ndarray,
    sources: list[Source],
    n_rows: int,
    *,
    state: TrainingState,
    n_leaves: int,
    update: int,
    settings: np.ndarray,
    learning_rate: np.ndarray,
    seeds: np.ndarray,
    batch_size: int,
    n_epochs: int,
    loss: np.ndarray,
    seconds: np.ndarray,
    rows: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    shuffle: bool = True,
    schedule: np.ndarray | None = None,
    weight_decay: float = 0,
    clip_value: float = 0,
    clip_norm: float = 0,
    penalties: np.ndarray | None = None,
    evaluation: Program | None = None,
    evaluation_sources: list[Source] | None = None,
    n_evaluation_rows: int = 0,
    evaluation_weights: np.ndarray | None = None,
    monitor: int = 0,
    patience: int = -1,
    min_delta: float = 0,
    validation_loss: np.ndarray | None = None,
    score: np.ndarray | None = None,
    step_loss: np.ndarray | None = None,
    report: Callable[[int], None] | None = None,
) -> None: ...
def read_capsule(capsule: object) -> tuple[int, str, int]: ...
def run_points(
    address: int,
    takes_data: bool,
    data: int,
    points: np.ndarray,
    values: np.ndarray,
    most_workers: int,
    report: Callable[[int], None] | None = None,
) -> None: ...
def all_floats(values: list[Any]) -> np.ndarray | None: ...
def agree(a: np.ndarray, b: np.ndarray, rtol: float) -> bool: ...
def same_objects(holders: list[Callable[[], Any]], values: list[Any]) -> bool: ...
def plain_points(x: np.ndarray, relative: float, is_central: bool) -> tuple[np.ndarray, np.ndarray]: ...
def plain_slopes(values: np.ndarray, at_x: float, span: np.ndarray) -> np.ndarray: ...
def magnitudes(x: np.ndarray) -> np.ndarray: ...
def steps_within_binades(far: np.ndarray, relative: float) -> np.ndarray: ...
def moved_points(
    x: np.ndarray, rows: np.ndarray | None, nodes: np.ndarray, step: np.ndarray, centre: bool
) -> np.ndarray: ...

class Extrapolation:
    def __init__(
        self,
        central: Any,
        sided: Any,
        far: np.ndarray,
        derivative: int,
        order: int,
        is_shared: bool,
        room: np.ndarray | None = None,
    ) -> None: ...
    def start(self, value: np.ndarray, noise: np.ndarray | None = None) -> None: ...
    def place(self, step: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]: ...
    def level(
        self,
        rows: np.ndarray | None,
        step: np.ndarray,
        is_sided: np.ndarray | None,
        around: np.ndarray,
        eps: float,
        rtol: float,
    ) -> tuple[bool, float]: ...
    def next(self, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]: ...
    def result(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]: ...

def order_by_breadth(
    start: np.ndarray, column: np.ndarray, starts: np.ndarray, transposed: tuple[np.ndarray, np.ndarray]
) -> np.ndarray: ...
def group_columns(
    start: np.ndarray,
    column: np.ndarray,
    order: np.ndarray,
    transposed: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray: ...

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

class Stencil:
    n: int
    dtype: np.dtype
    def __init__(
        self,
        n: int,
        dtype: np.dtype,
        weights: Any,
        *,
        offsets: Sequence[int] | np.ndarray | None = None,
        start: Any = None,
        end: Any = None,
        periodic: bool = False,
        first: Sequence[int] | np.ndarray | None = None,
    ) -> None: ...

def stencil(
    f: np.ndarray, out: np.ndarray, axis: int, table: Stencil, scale: float = 1.0, accumulate: bool = False
) -> None: ...
def stencils(
    f: np.ndarray,
    out: np.ndarray,
    axes: Sequence[int],
    tables: Sequence[Stencil],
    scales: Sequence[float] | None = None,
    accumulate: bool = False,
) -> None: ...
def weights(offsets: np.ndarray, derivative: int) -> np.ndarray: ...
def windows(coords: np.ndarray, width: int, derivative: int) -> tuple[np.ndarray, np.ndarray]: ...
def solve_ties(lines: np.ndarray, axis: int, tie: float, periodic: bool = False) -> None: ...
