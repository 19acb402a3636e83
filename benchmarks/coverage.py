"""How much of what others wrote can be traced, and is it right? `python -m benchmarks.coverage [package ...]`.

Each program of `programs` runs unmodified: it is traced, its value compared with Python's, and its gradient with
differences. `--write` makes a page of the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import re
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastgrad as fg

from .programs import PACKAGES, Program, collect

SECONDS = 60  # for one program
VALUE = 1e-9  # relative distance of values

# why a program is not traced, by what the error says; the first that fits
REASONS = {
    "a branch or loop on a value": r"truth of a traced|branch|paths",
    "complex numbers": r"complex",
    "a special function": r"scipy\.special\.\S+ cannot be traced|_single_pdf",
    "a mask or an index of unknown size": r"mask|index|unknown size|range",
    "compiled code, or a Python number": r"would have to become|code that cannot be traced|WRITEBACKIFCOPY",
    "an argument that is assigned to": r"caller's array|from outside",
    "a function or attribute of NumPy": r"cannot be traced|has no attribute",
}
OTHER = "anything else"


class Outcome(NamedTuple):
    """What became of a program: how far it came, and what stopped it."""

    program: Program
    kind: str  # of KINDS
    detail: str = ""


KINDS = ("right", "gradient", "value", "random", "failed")


def examine(program: Program) -> Outcome:
    """Trace a program, and compare it with Python."""
    fun, x0 = program.fun, program.x0
    expected = float(fun(x0.copy()))
    if float(fun(x0.copy())) != expected:
        return Outcome(program, "random")
    try:
        value, gradient = fg.value_and_grad(fun)(x0.copy())
    except Exception as error:  # that of the user's function too
        return Outcome(program, "failed", f"{type(error).__name__}: {error}")
    if not abs(value - expected) <= VALUE * max(1.0, abs(expected)):
        return Outcome(program, "value", f"{value!r}, where Python gives {expected!r}")
    try:
        check: Any = fg.check_grad(fun, x0, rtol=1e-5, atol=1e-7)
    except (ArithmeticError, ValueError) as error:  # a step of the differences leaves the domain
        check = None
        detail = f"{type(error).__name__}: {error}"
    else:
        detail = str(check)
    if check or _agrees_closely(fun, x0, gradient):
        return Outcome(program, "right")
    return Outcome(program, "gradient", detail)


def _agrees_closely(fun: Callable[..., Any], x0: np.ndarray, gradient: np.ndarray) -> bool:
    """Compare with small central differences in extended precision, for functions that oscillate or jump on a small
    scale, as far as the machine has that precision."""
    if np.finfo(np.longdouble).eps > 1e-18:
        return False
    for step in (1e-6, 1e-9, 1e-11, 1e-13, 1e-14):
        found = np.empty(x0.shape)
        for i in np.ndindex(x0.shape):
            width = np.longdouble(step * max(abs(x0[i]), 0.1))
            above, below = x0.astype(np.longdouble), x0.astype(np.longdouble)
            above[i] += width
            below[i] -= width
            found[i] = (fun(above) - fun(below)) / (above[i] - below[i])
        if np.all(np.abs(found - gradient) <= 1e-3 * np.max(np.abs(gradient)) + 1e-7):
            return True
    return False


class _Late(BaseException):
    """Longer than `SECONDS`; code that catches exceptions does not catch this."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(programs: Sequence[Program]) -> list[Outcome]:
    """The outcome of each, with what it prints kept away."""
    outcomes = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for program in programs:
            try:
                with _limited(), contextlib.redirect_stdout(io.StringIO()):
                    outcomes.append(examine(program))
            except _Late:
                outcomes.append(Outcome(program, "failed", f"TimeoutError: not done after {SECONDS} s"))
            except Exception as error:
                outcomes.append(Outcome(program, "gradient", f"{type(error).__name__}: {error}"))
    return outcomes


def reason(detail: str) -> str:
    """The category of an error."""
    first = detail.split("\n")[0]
    return next((name for name, pattern in REASONS.items() if re.search(pattern, first)), OTHER)


def described(detail: str) -> str:
    """An error in a line: what was met, and the line of the package, without the path of this machine."""
    met, *rest = [line.strip() for line in detail.split("\n")]
    where = re.search(r"at (\S+):(\d+), in (\S+)", " ".join(rest[:1]))
    if not where:
        return met
    path = where[1].replace("\\", "/").rpartition("site-packages/")[2].rpartition("benchmarks/")[2]
    source = f": `{rest[1]}`" if len(rest) > 1 and not rest[1].startswith("cure") else ""
    return f"{met.partition(': ')[2]} ({path}{source})"


def version(package: str) -> str:
    """That of the distribution; its name is that of the package, or of the part before a dot."""
    for name in (package, package.partition(".")[0], package.replace("_", "-")):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "?"


HEADER = ("package", "version", "functions", "traced", "values equal", "gradients equal")


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Counts by package, and of all. Functions that draw random numbers are left out."""
    lines = []
    for package in [*PACKAGES, "all"]:
        mine = [x for x in outcomes if package in ("all", x.program.package) and x.kind != "random"]
        kinds = Counter(x.kind for x in mine)
        if mine:
            traced = len(mine) - kinds["failed"]
            counts = (len(mine), traced, traced - kinds["value"], kinds["right"])
            lines.append((package, version(package) if package != "all" else "", *map(str, counts)))
    return lines


def table(lines: Sequence[tuple[str, ...]]) -> str:
    """In Markdown, which reads well as it is."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = [[x.ljust(w) if i < 2 else x.rjust(w) for i, (x, w) in enumerate(zip(line, widths, strict=True))]
             for line in lines]  # fmt: skip
    rule = ["-" * w if i < 2 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [cells[0], rule, *cells[1:]])


def page(outcomes: Sequence[Outcome]) -> str:
    """The figures as a page of the documentation."""
    kinds = Counter(x.kind for x in outcomes)
    total = len(outcomes) - kinds["random"]
    failed = [x for x in outcomes if x.kind == "failed"]
    reasons = Counter(reason(x.detail) for x in failed)
    text = [
        "# Code that others wrote",
        "",
        (
            f"{total - len(failed)} of {total} functions from installed packages are traced and differentiated without"
            " a change. `python -m benchmarks.coverage` makes this page; the extra `coverage` names the packages."
        ),
        "",
        (
            "*Selection.* Every public function of a module that gives a finite number at a random point of its domain:"
            " test functions of optimisation and of sensitivity analysis, line shapes and models as functions of their"
            " parameters, log densities, conversions of colours, properties of sea water, fluids and chemicals."
            " `benchmarks/programs.py` names the modules. Nothing is left out because it fails; "
            f"{kinds['random']} functions that draw random numbers are not counted."
        ),
        "",
        (
            f"*Right* means: the value is that of Python within {VALUE:g} relative, and the gradient that of"
            " differences (`fg.check_grad`), of smaller ones in extended precision where a function oscillates or jumps"
            " too fast for those."
        ),
        "",
        table([HEADER, *rows(outcomes)]),
        "",
        f"Python {sys.version_info.major}.{sys.version_info.minor}, NumPy {np.__version__}.",
        "",
        "## What stops the rest",
        "",
    ]
    for name, n in reasons.most_common():
        example = next(x for x in failed if reason(x.detail) == name)
        text.append(f"- **{name}**, {n}. For example {example.program.package}, {example.program.name}:")
        text.append(f"  {described(example.detail)}")
    for kind, title in (("value", "Values that differ"), ("gradient", "Gradients that differ from differences")):
        different = [x for x in outcomes if x.kind == kind]
        if different:
            text += ["", f"## {title}", ""]
            text += [f"- {x.program.package}, {x.program.name}: {described(x.detail)}" for x in different]
    return "\n".join(text) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="*", metavar="package", help=f"of {', '.join(PACKAGES)}; all by default")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    options = parser.parse_args(arguments)
    unknown = set(options.packages) - set(PACKAGES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    outcomes = run(collect(options.packages))
    for outcome in outcomes:
        if outcome.kind not in ("right", "random"):
            print(f"{outcome.kind:9}{outcome.program.package}.{outcome.program.name}: {described(outcome.detail)}")
    print(table([HEADER, *rows(outcomes)]))
    if options.write:
        options.write.write_text(page(outcomes), encoding="utf-8")
    return 1 if any(x.kind in ("value", "gradient") for x in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
