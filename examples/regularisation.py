"""How strongly should a classifier be regularised? Try 64 strengths from 16 starts each, in one call.

Logistic regression tells benign from malignant tumours (Wisconsin breast cancer data: 569 rows, 30
measurements). The loss below is plain NumPy; fastgrad differentiates it, compiles it and runs all 1,024
descents together. The best strength is the one with the least loss on rows held out. Two pictures,
convergence.png and paths.png, are written into the current directory.

    python examples/regularisation.py [--output DIR] [--quick]
"""

import argparse
import math
from operator import mul
from pathlib import Path
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

import fastgrad as fg
import fastgrad.plot

MOMENTUM = 0.9


def loss(w, strength, X, s):
    """Logistic loss of weights w on rows X with labels s = ±1, and the penalty."""
    return np.mean(np.logaddexp(0.0, -s * (X @ w))) + strength * np.sum(w**2)


def load(train=0.7, seed=0):
    """Split the data at random, and standardise them with the mean and deviation of the part to train on."""
    data = load_breast_cancer()
    labels = np.where(data.target == 1, 1.0, -1.0)
    order = np.random.default_rng(seed).permutation(len(labels))
    fit, held = np.split(order, [int(train * len(labels))])
    mean, deviation = data.data[fit].mean(axis=0), data.data[fit].std(axis=0)
    X = (data.data - mean) / deviation
    return X[fit], labels[fit], X[held], labels[held], list(data.feature_names)


def curvature(X):
    """Bound of the second derivative of the logistic loss in any direction."""
    return np.linalg.eigvalsh(X.T @ X / len(X))[-1] / 4


# ---- the same descent, written by hand ----


def numpy_descent(w, strength, X, s, rate, steps, losses=None):
    """Descend from one start with NumPy and a gradient derived on paper."""
    w, velocity = w.copy(), np.zeros_like(w)
    for _ in range(steps):
        if losses is not None:
            losses.append(loss(w, strength, X, s))
        slope = -s / (1 + np.exp(s * (X @ w)))
        velocity = MOMENTUM * velocity + X.T @ slope / len(s) + 2 * strength * w
        w -= rate * velocity
    return w


def python_descent(w, strength, X, s, rate, steps):
    """Descend from one start with lists and the math module."""
    velocity = [0.0] * len(w)
    for _ in range(steps):
        gradient = [2 * strength * a for a in w]
        for row, sign in zip(X, s, strict=True):
            slope = -sign / (1 + math.exp(sign * sum(map(mul, row, w)))) / len(s)
            gradient = [g + slope * x for g, x in zip(gradient, row, strict=True)]
        velocity = [MOMENTUM * v + g for v, g in zip(velocity, gradient, strict=True)]
        w = [a - rate * v for a, v in zip(w, velocity, strict=True)]
    return w


def seconds_per_step(descend, starts, strengths, X, s, rates, count, steps):
    """Time `steps` steps of `count` instances that are spread over all, one at a time."""
    chosen = np.linspace(0, len(starts) - 1, count).astype(int)
    begin = perf_counter()
    for i in chosen:
        descend(starts[i], strengths[i], X, s, rates[i], steps)
    return (perf_counter() - begin) / (count * steps)


# ---- pictures ----


def picture_convergence(res, n_strengths, n_starts, path):
    """Draw the loss of all instances above the lowest that any start found at the same strength."""
    lowest = res.fun.reshape(n_strengths, n_starts).min(axis=1)
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    ax = fg.plot.convergence(res, ax=figure.subplots(), optimum=np.repeat(lowest, n_starts))
    ax.set(
        ylabel="loss − lowest loss at this strength",
        xscale="log",
        xlim=(1, res.nit.max()),
        ylim=(1e-13, None),
    )
    ax.set_title(f"{n_strengths} strengths × {n_starts} starts of logistic regression", fontsize="medium")
    figure.savefig(path, dpi=160)


def picture_paths(X, s, names, path):
    """Draw how three methods go down the loss of two of the measurements."""
    pair = ["worst radius", "worst concave points"]
    X = np.ascontiguousarray(X[:, [names.index(name) for name in pair]])
    strength, start = 1e-3, np.array([-4.0, 1.5])
    steepest = curvature(X) + 2 * strength
    rates = {"gd": 1.9 / steepest, "momentum": 0.3 / steepest, "adam": 0.25}
    found = {
        method: fg.minimize(loss, start, (strength, X, s), method, learning_rate=rate, maxiter=150, record="path")
        for method, rate in rates.items()
    }
    shown = {"gradient descent": found["gd"], "momentum": found["momentum"], "Adam": found["adam"]}
    figure = Figure(figsize=(7, 5), layout="constrained")
    ax = fg.plot.paths(shown, loss, args=(strength, X, s), ax=figure.subplots())
    ax.set(xlabel=f"weight of “{pair[0]}”", ylabel=f"weight of “{pair[1]}”")
    ax.set_title("150 steps down the logistic loss of two measurements", fontsize="medium")
    figure.savefig(path, dpi=160)


# ---- the report ----


def duration(seconds):
    """Write a time in the unit that suits it."""
    units = {"h": 3600, "min": 60, "s": 1, "ms": 1e-3, "µs": 1e-6}
    unit = next((unit for unit, size in units.items() if seconds >= size), "µs")
    return f"{seconds / units[unit]:.1f} {unit}"


def main():
    parser = argparse.ArgumentParser(description="Find the best of 64 strengths of regularisation.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="folder of the pictures")
    parser.add_argument("--quick", action="store_true", help="a small version, which takes a second or two")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    n_strengths, n_starts, maxiter = (8, 4, 500) if options.quick else (64, 16, 6000)

    X, s, X_held, s_held, names = load()
    strengths = np.repeat(np.logspace(-4, 0, n_strengths), n_starts)
    starts = np.random.default_rng(0).normal(size=(len(strengths), X.shape[1]))
    rates = 2 / (curvature(X) + 2 * strengths)  # heavy ball is stable up to 3.8
    print(f"Logistic regression: {len(s)} rows to train on, {len(s_held)} held out, {X.shape[1]} weights")
    runs = f"{len(starts):,}"
    print(f"{n_strengths} strengths × {n_starts} random starts = {runs} descents with momentum, in one call")

    begin = perf_counter()
    res = fg.minimize(
        loss,
        starts,
        (strengths, X, s),
        "momentum",
        in_axes=(0, 0, None, None),
        learning_rate=rates,
        maxiter=maxiter,
        record="fun",
        progress=True,
    )
    wall = perf_counter() - begin

    held_loss = [loss(w, 0.0, X_held, s_held) for w in res.x]
    best = int(np.argmin(held_loss))
    right = int(np.sum((X_held @ res.x[best] > 0) == (s_held > 0)))
    print()
    steps = f"{res.nit.min():,} to {res.nit.max():,} steps"
    print(f"  converged           {np.sum(res.success):,} of {runs}, after {steps}")
    print(f"  best strength       {strengths[best]:.2g}, with a held-out loss of {held_loss[best]:.4f}")
    print(f"  held-out accuracy   {100 * right / len(s_held):.1f} % ({right} of {len(s_held)})")

    steps = int(res.nit[best])
    losses = []
    numpy_descent(starts[best], strengths[best], X, s, rates[best], steps, losses)
    apart = np.max(np.abs(np.array(losses) / res.history.fun[:steps, best] - 1))
    if not apart < 1e-9:
        raise SystemExit(f"fastgrad and the NumPy loop disagree: their losses are up to {apart:.1e} apart")
    print(f"  same as by hand     the losses of its {steps} steps agree to {apart:.0e} with a NumPy loop")

    quick = (2, 20) if options.quick else (4, 50)
    many = (4, 100) if options.quick else (32, 500)
    by_python = seconds_per_step(
        python_descent, starts.tolist(), strengths.tolist(), X.tolist(), s.tolist(), rates.tolist(), *quick
    )
    by_numpy = seconds_per_step(numpy_descent, starts, strengths, X, s, rates, *many)
    total = int(res.nit.sum())
    print()
    print(f"  {f'{total:,} steps in all':<24}{'one step':>10}{'all steps':>14}    {'fastgrad is':>15}")
    for name, step in (("fastgrad", wall / total), ("NumPy loop *", by_numpy), ("pure Python *", by_python)):
        ratio = step * total / wall
        faster = f"{ratio:,.{0 if ratio >= 10 else 1}f} × faster" if name != "fastgrad" else ""
        print(f"  {name:<24}{duration(step):>10}{duration(step * total):>14}    {faster:>15}".rstrip())
    print(f"  * one descent at a time, gradient by hand; extrapolated from {many[0]} × {many[1]} steps")
    print(f"    (NumPy) and {quick[0]} × {quick[1]} steps (pure Python)")

    pictures = [options.output / name for name in ("convergence.png", "paths.png")]
    picture_convergence(res, n_strengths, n_starts, pictures[0])
    picture_paths(X, s, names, pictures[1])
    print()
    print(f"  pictures            {pictures[0]}, {pictures[1]}")


if __name__ == "__main__":
    main()
