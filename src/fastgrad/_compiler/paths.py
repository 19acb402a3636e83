"""Branches on traced values: the function runs once for each way that it can take, and its results are joined.

`if x > 0:` asks a traced value for its truth. There is none, so the first run answers True; when it is over, the
function runs again with the same answers but the last, which becomes False, and so on until every way was taken. The
results of two ways are joined by `where`, on the condition at which they part, so a derivative is that of the way
which the values take.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import LeakError, ShapeError, TraceError, leak_error, shape_error, trace_error
from .graph import FLOAT64, Builder, Node, cast, truth_as_number, where
from .tree import Structure

MOST_WAYS = 64  # each is a run of the function, and all are computed

# what a function raises where its arguments are not valid: it has no value there, which is NaN
NO_VALUE_THERE = (ValueError, ArithmeticError, AssertionError, RuntimeError)
OUR_OWN = (TraceError, ShapeError, LeakError)


class Results(NamedTuple):
    """What a function returns: flat, how it is nested, and which are Python's numbers, whose dtype adapts."""

    outputs: tuple[Node, ...]
    structure: Structure
    is_number: tuple[bool, ...]


class Way(NamedTuple):
    """One run: the conditions met with their answers, and what came of it."""

    answers: tuple[tuple[Node, bool], ...]
    results: Results | Exception


class Answers:
    """The answers to conditions in the run under way."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.given: list[tuple[Node, bool]] = []
        self.n_met = 0
        self.n_ways = 1  # that are known to be there

    def answer(self, condition: Node) -> bool:
        """Whether a condition, one number, holds in this run."""
        if condition.builder is not self.builder:
            raise leak_error()
        if condition.op == "const":
            return bool(condition.value.item() != 0)
        for known, answer in self.given[: self.n_met]:
            if known is condition:
                return answer
        if self.n_met == len(self.given):
            self.n_ways += 1
            if self.n_ways > MOST_WAYS:
                raise trace_error(
                    f"`if`, `while`, `and`, `or` or `not` ask for the truth of traced values in more than {MOST_WAYS}"
                    " combinations, each of which would have to be recorded",
                    "np.where(condition, a, b) for `if`; np.logical_and, np.logical_or, np.logical_not else; a fixed"
                    " number of steps for `while`",
                )
            self.given.append((condition, True))
        known, answer = self.given[self.n_met]
        if known is not condition:
            raise trace_error(
                "the function met another condition when it was run again for the other branch",
                "let branches on traced values depend on the arguments alone, not on random numbers or counters",
            )
        self.n_met += 1
        return answer

    def next_way(self) -> bool:
        """Go on to the next way; False when there is none."""
        while self.given and not self.given[-1][1]:
            self.given.pop()
        if self.given:
            self.given[-1] = (self.given[-1][0], False)
        self.n_met = 0
        return bool(self.given)


_threads = threading.local()


def _under_way() -> list[Answers]:
    if not hasattr(_threads, "answers"):
        _threads.answers = []
    answers: list[Answers] = _threads.answers
    return answers


def answer(condition: Node) -> bool:
    """The answer to a condition in the innermost trace under way."""
    answers = _under_way()
    if not answers:
        raise leak_error()
    return answers[-1].answer(condition)


def all_ways(run: Callable[[], Results], builder: Builder) -> Results:
    """The results of a function, `run` for every way that it takes, joined."""
    answers = Answers(builder)
    ways: list[Way] = []
    _under_way().append(answers)
    try:
        while True:
            try:
                results: Results | Exception = run()
            except NO_VALUE_THERE as error:
                if isinstance(error, OUR_OWN) or not answers.given:
                    raise
                results = error
            ways.append(Way(tuple(answers.given), results))
            if not answers.next_way():
                break
    finally:
        _under_way().pop()
    whole = _joined(ways, 0)
    if isinstance(whole, Exception):
        raise whole
    return whole


def _joined(ways: Sequence[Way], depth: int) -> Results | Exception:
    """The results of ways that have `depth` answers in common."""
    if len(ways) == 1:
        return ways[0].results
    condition = ways[0].answers[depth][0]
    a = _joined([way for way in ways if way.answers[depth][1]], depth + 1)
    b = _joined([way for way in ways if not way.answers[depth][1]], depth + 1)
    if isinstance(a, Exception):
        a, b = (_nothing_like(b), b) if not isinstance(b, Exception) else (a, b)
    elif isinstance(b, Exception):
        b = _nothing_like(a)
    if isinstance(a, Exception) or isinstance(b, Exception):
        return a
    if a.structure != b.structure:
        raise shape_error("the branches of an `if` on a traced value return differently nested values")
    chosen = [_chosen(condition, *pair) for pair in zip(a.outputs, b.outputs, a.is_number, b.is_number, strict=True)]
    both = [p and q for p, q in zip(a.is_number, b.is_number, strict=True)]
    return Results(tuple(chosen), a.structure, tuple(both))


def _nothing_like(results: Results) -> Results:
    """NaN in all places, with derivatives that are NaN too."""
    nothing = tuple([math.nan * truth_as_number(x) for x in results.outputs])
    return Results(nothing, results.structure, results.is_number)


def _chosen(condition: Node, x: Node, y: Node, x_adapts: bool, y_adapts: bool) -> Node:
    if x is y:
        return x
    if x.shape != y.shape:
        raise shape_error(
            f"the branches of an `if` on a traced value return arrays of shapes {x.shape} and {y.shape}",
            "make them equal, for example with np.broadcast_to",
        )
    if x.is_bool != y.is_bool:
        x, y = truth_as_number(x), truth_as_number(y)
    dtype = x.dtype if x.dtype is y.dtype or (y_adapts and not x_adapts) else y.dtype if x_adapts else FLOAT64
    return where(cast(condition, dtype), cast(x, dtype), cast(y, dtype))
