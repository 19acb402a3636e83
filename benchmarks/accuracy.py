"""How exact each operation of the machine and its derivative are: `python -m benchmarks.accuracy`.

`--write docs/accuracy.md` writes the table of the documentation. Operations are found by walking the machine's own
table; each needs a line in OPERATIONS with what it means in mpmath, and is listed as not measured without one.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

import fastgrad as fg  # noqa: F401  (settings of the environment first)
from fastgrad import _core
from fastgrad._compiler.autodiff import value_and_gradient
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.graph import Builder, Graph, reduction
from fastgrad._compiler.simplify import simplify

BITS = 200
Exact = Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """What an operation means, its derivatives by its operands, and where it is measured."""

    value: Exact
    slopes: tuple[Exact | None, ...] = (None,)
    least: float = -math.inf
    most: float = math.inf
    near: Sequence[float] = ()  # samples crowd around these
    scale: Exact | None = None  # errors count against the larger of this and the result
    note: str = ""


def bounded(x: Any) -> Any:
    """x, or a number whose exponential is as much out of range."""
    return min(max(x, mpf(-4000)), mpf(4000))


def exp(x: Any) -> Any:
    return mp.exp(bounded(x))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + exp(-x))


def tanh(x: Any) -> Any:
    return mp.tanh(bounded(x))


def sech(x: Any) -> Any:
    return mp.sech(bounded(x))


def erfcx(x: Any) -> Any:
    if x < -100:
        return exp(mpf(5000))
    if x < 1000:
        return mp.exp(x * x) * mp.erfc(x)
    terms, term, k = [mpf(1)], mpf(1), 0
    while abs(term) > mpf(2) ** -BITS:
        term *= -(2 * k + 1) / (2 * x * x)
        terms.append(term)
        k += 1
    return mp.fsum(terms) / (x * mp.sqrt(mp.pi))


def erfc(x: Any) -> Any:
    return mp.erfc(min(x, mpf(100)))


def bell(x: Any) -> Any:
    return 2 / mp.sqrt(mp.pi) * exp(-x * x)


def gammaln(x: Any) -> Any:
    return mp.log(abs(mp.gamma(x))) if abs(x) < 150 and x < 0 else mp.re(mp.loggamma(x))


def digamma(x: Any) -> Any:
    return mp.psi(0, x) if x > 0 else mp.psi(0, 1 - x) - mp.pi / mp.tan(mp.pi * (x - mp.nint(x)))


def trigamma(x: Any) -> Any:
    return mp.psi(1, x) if x > 0 else (mp.pi / mp.sin(mp.pi * (x - mp.nint(x)))) ** 2 - mp.psi(1, 1 - x)


def power(x: Any, y: Any) -> Any:
    return exp(y * mp.log(x))


def quotient(a: Any, b: Any, whole: Callable[[Fraction], int]) -> Any:
    """The whole part of a / b, however many digits it has."""
    return mpf(whole(Fraction(float(a)) / Fraction(float(b))))


def rest(a: Any, b: Any, whole: Callable[[Fraction], int]) -> Any:
    """What a division with a whole quotient leaves."""
    dividend, divisor = Fraction(float(a)), Fraction(float(b))
    left = dividend - divisor * whole(dividend / divisor)
    return mpf(left.numerator) / left.denominator


def mirrored(function: Exact) -> Exact:
    return lambda x: max(mpf(1), abs(function(-x)))


PI_2 = math.pi / 2
TURNS = [k * PI_2 for k in (1, 2, 3, 4, 5, 11, 100, 1001, 10**5, 10**8)]
ZEROS = (1.4616321449683622, 1.0, 2.0, 3.0, 0.5)
POLES = [-k + d for k in (0, 1, 2, 3, 10, 40) for d in (0.0, 0.25, 0.5)]

OPERATIONS: dict[str, Operation | tuple[Operation, ...]] = {
    "negative": Operation(lambda a: -a, (lambda a: mpf(-1),)),
    "add": Operation(lambda a, b: a + b, (lambda a, b: mpf(1), lambda a, b: mpf(1))),
    "subtract": Operation(lambda a, b: a - b, (lambda a, b: mpf(1), lambda a, b: mpf(-1))),
    "multiply": Operation(lambda a, b: a * b, (lambda a, b: b, lambda a, b: a)),
    "divide": Operation(lambda a, b: a / b, (lambda a, b: 1 / b, lambda a, b: -a / b**2)),
    "fmod": Operation(
        lambda a, b: rest(a, b, math.trunc), (lambda a, b: mpf(1), lambda a, b: -quotient(a, b, math.trunc))
    ),
    "remainder": Operation(
        lambda a, b: rest(a, b, math.floor), (lambda a, b: mpf(1), lambda a, b: -quotient(a, b, math.floor))
    ),
    "floor_divide": Operation(lambda a, b: quotient(a, b, math.floor), (None, None)),
    "power": Operation(power, (lambda x, y: y * power(x, y - 1), lambda x, y: mp.log(x) * power(x, y)), 0, 300),
    "absolute": Operation(abs, (mp.sign,)),
    "sqrt": Operation(mp.sqrt, (lambda x: 1 / (2 * mp.sqrt(x)),), 0),
    "cbrt": Operation(lambda x: mp.sign(x) * mp.cbrt(abs(x)), (lambda x: 1 / (3 * mp.cbrt(abs(x)) ** 2),)),
    "hypot": Operation(mp.hypot, (lambda a, b: a / mp.hypot(a, b), lambda a, b: b / mp.hypot(a, b))),
    "exp": Operation(exp, (exp,), -760, 760),
    "exp2": Operation(lambda x: mpf(2) ** bounded(x), (lambda x: mp.log(2) * mpf(2) ** bounded(x),), -1100, 1100),
    "expm1": Operation(lambda x: mp.expm1(bounded(x)), (exp,), -760, 760),
    "log": Operation(mp.log, (lambda x: 1 / x,), 0, near=(1,)),
    "log2": Operation(lambda x: mp.log(x, 2), (lambda x: 1 / (x * mp.log(2)),), 0, near=(1, 2, 8)),
    "log10": Operation(mp.log10, (lambda x: 1 / (x * mp.log(10)),), 0, near=(1, 10, 1000)),
    "log1p": Operation(mp.log1p, (lambda x: 1 / (1 + x),), -1, near=(-1,)),
    "sin": Operation(mp.sin, (mp.cos,), near=TURNS),
    "cos": Operation(mp.cos, (lambda x: -mp.sin(x),), near=TURNS),
    "tan": Operation(mp.tan, (lambda x: mp.sec(x) ** 2,), near=TURNS),
    "arcsin": Operation(mp.asin, (lambda x: 1 / mp.sqrt(1 - x * x),), -1, 1, (-1, 1)),
    "arccos": Operation(mp.acos, (lambda x: -1 / mp.sqrt(1 - x * x),), -1, 1, (-1, 1)),
    "arctan": Operation(mp.atan, (lambda x: 1 / (1 + x * x),)),
    "arctan2": Operation(
        lambda a, b: mp.atan2(a, b), (lambda a, b: b / (a * a + b * b), lambda a, b: -a / (a * a + b * b))
    ),
    "sinh": Operation(lambda x: mp.sinh(bounded(x)), (lambda x: mp.cosh(bounded(x)),), -760, 760),
    "cosh": Operation(lambda x: mp.cosh(bounded(x)), (lambda x: mp.sinh(bounded(x)),), -760, 760),
    "tanh": Operation(tanh, (lambda x: sech(x) ** 2,)),
    "arcsinh": Operation(mp.asinh, (lambda x: 1 / mp.hypot(1, x),)),
    "arccosh": Operation(mp.acosh, (lambda x: 1 / (mp.sqrt(x - 1) * mp.sqrt(x + 1)),), 1, near=(1,)),
    "arctanh": Operation(mp.atanh, (lambda x: 1 / (1 - x * x),), -1, 1, (-1, 1)),
    "sigmoid": Operation(sigmoid, (lambda x: sigmoid(x) * sigmoid(-x),), -760, 760),
    "softplus": Operation(lambda x: mp.log1p(exp(x)) if x < 4000 else x, (sigmoid,), -760, 760),
    "logaddexp": Operation(
        lambda a, b: max(a, b) + mp.log1p(exp(-abs(a - b))),
        (lambda a, b: sigmoid(a - b), lambda a, b: sigmoid(b - a)),
        scale=lambda a, b: mpf("0.01"),
        note="against max(|f|, 0.01)",
    ),
    "erf": Operation(mp.erf, (bell,), near=(-1, 1)),
    "erfc": Operation(erfc, (lambda x: -bell(x),), -40, 30, (0.46875, -0.46875, 26)),
    "erfcx": Operation(erfcx, (lambda x: 2 * x * erfcx(x) - 2 / mp.sqrt(mp.pi),), -26, near=(0.5, 3)),
    "gammaln": (
        Operation(gammaln, (digamma,), 0, near=ZEROS, note="x > 0"),
        Operation(
            gammaln, (digamma,), -1e6, 0, POLES, mirrored(gammaln), "x < 0, against max(|f(-x)|, 1)"
        ),
    ),
    "digamma": (
        Operation(digamma, (trigamma,), 0, near=ZEROS, note="x > 0"),
        Operation(
            digamma, (trigamma,), -1e6, 0, POLES, mirrored(digamma),
            "x < 0, against max(|f(-x)|, 1)",
        ),
    ),
    "trigamma": (
        Operation(trigamma, (lambda x: mp.psi(2, x),), 0, 1e30, near=ZEROS, note="x > 0"),
        Operation(trigamma, (None,), -1e6, 0, POLES, note="x < 0"),
    ),
    "zeta": Operation(
        lambda s, q: mp.zeta(s, q), (None, lambda s, q: -s * mp.zeta(s + 1, q)), 1, 12, note="1 < s, q < 12"
    ),
}  # fmt: skip
EXACT_BY_NATURE = {
    "copy", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or",
    "logical_not", "isnan", "isfinite", "where", "maximum", "minimum", "fmax", "fmin", "sign", "copysign", "floor",
    "ceil", "trunc", "rint", "multiply_add", "multiply_subtract", "negative_multiply_add", "negative_multiply",
    "multiply_guarded",
}  # fmt: skip


# ---- samples


def samples(operation: Operation, arity: int, dtype: Any, n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    columns = [_column(operation, dtype, n, rng) for _ in range(arity)]
    length = min(map(len, columns))
    return [rng.permutation(x)[:length] for x in columns] if arity > 1 else columns


def _column(operation: Operation, dtype: Any, n: int, rng: np.random.Generator) -> np.ndarray:
    info = np.finfo(dtype)
    low, top = math.log10(float(info.smallest_subnormal)), math.log10(float(info.max))
    size = 10.0 ** np.concatenate([rng.uniform(low, top, n), rng.uniform(-6, 6, n), rng.uniform(-1.5, 1.5, n)])
    size = np.concatenate([size, rng.uniform(0, 10, n), rng.uniform(0, 800, n)])
    steps = np.concatenate([[0], 10.0 ** rng.uniform(math.log10(info.eps), -1, 40)])
    near = [x + s * d * max(1, abs(x)) for x in operation.near for d in steps for s in (1, -1)]
    with np.errstate(over="ignore", under="ignore"):
        x = np.concatenate([size, -size, near]).astype(dtype)
    return x[np.isfinite(x) & (x > operation.least) & (x < operation.most) & (x != 0)]


# ---- measuring


def evaluate(name: str, columns: Sequence[np.ndarray], by: int | None) -> np.ndarray:
    """The operation in the machine, or its derivative by an operand, on the kernels selected."""
    builder = Builder()
    inputs = tuple(builder.input(x.shape, x.dtype) for x in columns)
    graph = Graph(inputs, (builder.make(name, inputs),))
    if by is not None:
        total = Graph(inputs, (reduction("sum", graph.outputs[0]),))
        graph = Graph(inputs, value_and_gradient(total, [by]).outputs[1:])
    compiled = compile_graph(simplify(graph), (False,) * len(columns))
    results = [np.empty(shape, dtype) for shape, dtype in compiled.outputs]
    compiled.program.run(list(columns), results)
    return results[0]


def exactly(function: Exact, columns: Sequence[np.ndarray]) -> list[Any]:
    def at(*row: float) -> Any:
        try:
            return function(*map(mpf, row))
        except (ZeroDivisionError, ValueError, mpmath.libmp.ComplexResult):
            return mp.nan

    with mp.workprec(BITS):
        return [at(*row) for row in zip(*[x.tolist() for x in columns], strict=True)]


def worst(found: np.ndarray, exact: Sequence[Any], scales: Sequence[Any] | None) -> float:
    """The largest error in units in the last place of the exact result, or of the scale where that is larger."""
    info = np.finfo(found.dtype)
    most, least = mpf(float(info.max)), mpf(float(info.smallest_subnormal))
    result = 0.0
    with mp.workprec(BITS):
        for i, (value, right) in enumerate(zip(found.tolist(), exact, strict=True)):
            if not mp.isfinite(right) or mp.im(right) != 0 or abs(right) >= most:
                continue
            size = max(abs(right), scales[i]) if scales else abs(right)
            unit = max(mp.ldexp(1, mp.frexp(size)[1] - 1 - info.nmant), least) if size else least
            result = max(result, float(abs(mpf(value) - right) / unit) if math.isfinite(value) else math.inf)
    return result


@dataclass
class Row:
    name: str
    values: dict[str, float]  # by ISA
    slope: float | None  # worst of all ISAs
    slope_at_least_one: float | None  # against max(|f'|, 1)


def measure(name: str, operation: Operation, arity: int, dtype: Any, n: int) -> Row:
    columns = samples(operation, arity, dtype, n)
    exact = exactly(operation.value, columns)
    scales = exactly(operation.scale, columns) if operation.scale else None
    slopes = {by: exactly(function, columns) for by, function in enumerate(operation.slopes) if function is not None}
    ones = [mpf(1)] * len(exact)
    values, relative, absolute = {}, [], []
    before = _core.current_isa()
    for isa in _core.supported_isas():
        _core.select_isa(isa)
        values[isa] = worst(evaluate(name, columns, None), exact, scales)
        for by, right in slopes.items():
            found = evaluate(name, columns, by)
            relative.append(worst(found, right, None))
            absolute.append(worst(found, right, ones))
    _core.select_isa(before)
    label = f"`{name}`" + (f" ({operation.note})" if operation.note else "")
    return Row(label, values, max(relative, default=None), max(absolute, default=None))


def figure(x: float | None) -> str:
    if x is None:
        return "–"
    return f"{x:.2f}" if x < 100 else f"{x:.0f}" if x < 1e4 else f"{x:.0e}"


def table(rows: Sequence[Row], isas: Sequence[str]) -> str:
    heads = ["operation", *isas, "derivative", "against max(\\|f'\\|, 1)"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [row.name.replace("|", "\\|"), *(figure(row.values[isa]) for isa in isas), figure(row.slope)]
        lines.append("| " + " | ".join([*cells, figure(row.slope_at_least_one)]) + " |")
    return "\n".join(lines)


PAGE = """# Accuracy

Worst errors found, in units in the last place (ulp) of the exact result: 0.5 is correct rounding. This page is
generated by `python -m benchmarks.accuracy --write docs/accuracy.md`.

Every operation of the machine is evaluated by the machine itself, once with the kernels of each instruction set, at
samples of its whole domain: logarithmically spaced from the smallest subnormal to the largest number, both signs,
denser around 1, and crowded around zeros, poles and the seams between methods. The same samples go through
mpmath with {bits} bits. Results that overflow are left out.

*derivative* is the derivative that fastgrad generates, as the user gets it, against the exact derivative of the
function at the same point; the worst of all instruction sets and operands. It is a formula of other operations, and
where their terms cancel it is not relative to itself: the last column counts the same errors against the larger of |f'|
and 1. An infinite error is a derivative whose formula overflows on the way.

Comparisons, selections, signs and copies are exact; products with an addition are rounded once where the instruction
set can, else twice. Sums of n elements are added in a fixed order with an error of at most 40 eps times the sum of
their sizes for n up to 5000.
{missing}
## float64

{float64}

## float32

{float32}
"""


def page(n: int, only: Sequence[str], report: Callable[[str], None]) -> str:
    found: dict[Any, list[Row]] = {np.float64: [], np.float32: []}
    arities = {name: arity for name, arity, kind in _core.operations() if kind == "elementwise"}
    for name, operations in OPERATIONS.items():
        if name not in arities or (only and name not in only):
            continue
        report(f"measuring {name} ...")
        for operation in operations if isinstance(operations, tuple) else (operations,):
            for dtype, rows in found.items():
                rows.append(measure(name, operation, arities[name], dtype, n))
    missing = sorted(set(arities) - set(OPERATIONS) - EXACT_BY_NATURE)
    isas = _core.supported_isas()
    return PAGE.format(
        bits=BITS,
        missing=f"\nNot measured: {', '.join(missing)}.\n" if missing else "",
        float64=table(found[np.float64], isas),
        float32=table(found[np.float32], isas),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("operations", nargs="*", help="names of operations; all by default")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    parser.add_argument("--samples", type=int, default=40, help="samples of each kind (default 40)")
    options = parser.parse_args(arguments)
    text = page(options.samples, options.operations, functools.partial(print, file=sys.stderr, flush=True))
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
