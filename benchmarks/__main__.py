"""The command line: `python -m benchmarks [suite ...]`; `--help` lists the options."""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastgrad as fg

from . import machine, peers, report
from .timing import Case, Outcome, measure

SUITES = ("gradient", "descent", "fits", "dense", "finite")
PICTURES = ("crossover",)  # suites that are also drawn; they run when they are named


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    fg.set_num_threads(peers.cores())
    described = machine.describe(options.peers)
    for key, value in described.items():
        print(f"{key + ':':10}{value}")
    print("ratio:    the peer's time over fastgrad's, median of the rounds")
    print("error:    the largest difference of its results from fastgrad's, in tolerances of the case")
    if options.quick:
        print("quick:    small sizes and short samples, so the ratios say little and no target counts")
    stored: dict[str, Any] = {"machine": described, "quick": options.quick, "suites": {}}
    for suite in options.suites:
        outcomes = _run(suite, options)
        print(f"\n{suite}\n{report.table(outcomes, options.quick)}", flush=True)
        stored["suites"][suite] = [report.record(outcome) for outcome in outcomes]
        if suite in PICTURES and options.out:
            _module(suite).draw(outcomes, options.out)
    if options.json:
        options.json.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return 1 if any(case["disagreeing"] for found in stored["suites"].values() for case in found) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="fastgrad against its peers.")
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}, all by default; crossover")
    parser.add_argument("--peers", type=_names, default=list(peers.NAMES), help=f"of {','.join(peers.NAMES)}")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, at least 5 (default 5)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs")
    parser.add_argument("--json", type=Path, help="write everything, raw samples too, to this file")
    parser.add_argument("--out", type=Path, help="the picture of the suite crossover")
    options = parser.parse_args(arguments)
    options.suites = options.suites or list(SUITES)
    unknown = set(options.suites) - {*SUITES, *PICTURES} | set(options.peers) - set(peers.NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if options.repeats < 5:
        parser.error("a median needs at least 5 repeats")
    return options


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _run(suite: str, options: argparse.Namespace) -> list[Outcome]:
    """Measures the suite's cases, each with the sides whose peer was asked for and is installed."""
    wanted = {"fastgrad", *filter(peers.installed, options.peers)}
    sample_seconds = 0.005 if options.quick else 0.05
    outcomes = []
    for case in _cases(suite, options.quick):
        print(f"measuring {case.name} ...", file=sys.stderr, flush=True)
        sides = {name: build for name, build in case.sides.items() if name.split()[0] in wanted}
        outcomes.append(measure(replace(case, sides=sides), options.repeats, sample_seconds))
    return outcomes


def _cases(suite: str, quick: bool) -> list[Case]:
    return _module(suite).cases(quick)


def _module(suite: str) -> Any:
    return importlib.import_module(f"{__package__}.{suite}")


if __name__ == "__main__":
    sys.exit(main())
