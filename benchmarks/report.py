"""What is printed and what is stored: one aligned table a suite, and everything as JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

from .timing import Outcome

SCALES = {"ns": 1e9, "us": 1e6, "ms": 1e3}
HEADER = ("case", "unit", "fastgrad", "against", "time", "ratio", "target", "met", "error")


def table(outcomes: Iterable[Outcome], quick: bool) -> str:
    """A block of lines a case, one line a peer. In a quick run no target counts as met or missed."""
    lines: list[tuple[str, ...]] = [HEADER]
    for outcome in outcomes:
        first = (outcome.case.name, outcome.case.unit, _number(_scaled(outcome, "fastgrad")))
        for against in _lines(outcome, quick) or [("-",) * 6]:
            lines.append((*first, *against))
            first = ("", "", "")
    return _aligned(lines)


def record(outcome: Outcome) -> dict[str, Any]:
    """The outcome for JSON; times are in seconds a unit."""
    case = outcome.case
    sides = {
        name: {
            "note": outcome.notes[name],
            "samples": list(samples),
            "median": outcome.time(name),
            "ratio": outcome.ratio(name),
            "target": case.targets.get(name),
            "error": str(outcome.errors.get(name, 0.0)),
        }
        for name, samples in outcome.samples.items()
    }
    return {
        "case": case.name,
        "unit": case.unit,
        "limit": case.limit,
        "sides": sides,
        "disagreeing": {name: str(error) for name, error in outcome.disagreeing.items()},
    }


def _lines(outcome: Outcome, quick: bool) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for name in outcome.case.sides:
        if name == "fastgrad":
            continue
        target = outcome.case.targets.get(name)
        goal = "" if target is None else f"{target:,.2g}x" if target < 1 else f"{target:,g}x"
        if name in outcome.disagreeing:
            lines.append((name, "-", "differs", goal, "", f"{outcome.errors[name]:.1g}"))
            continue
        ratio, note = outcome.ratio(name), outcome.notes[name]
        met = "" if target is None or quick else "yes" if ratio >= target else "NO"
        label = f"{name} ({note})" if note else name
        error = f"{outcome.errors[name]:.1g}"
        lines.append((label, _number(_scaled(outcome, name)), f"{_number(ratio)}x", goal, met, error))
    limit = outcome.case.limit
    if limit is not None:
        met = "" if quick else "yes" if outcome.time("fastgrad") <= limit else "NO"
        most = _number(limit * _scale(outcome))
        lines.append(("limit", most, f"{_number(limit / outcome.time('fastgrad'))}x", "1x", met, ""))
    return lines


def _scale(outcome: Outcome) -> float:
    return SCALES[outcome.case.unit.partition(" ")[0]]


def _scaled(outcome: Outcome, name: str) -> float:
    return outcome.time(name) * _scale(outcome)


def _number(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    """Words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = {HEADER.index(name) for name in ("fastgrad", "time", "ratio", "target", "error")}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
