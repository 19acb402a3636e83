"""How well do small networks read digits, and do they know when they guess?

1,797 handwritten digits of 8 by 8 pixels (scikit-learn's). One network stops by itself when the digits held out for
validation get no better. Then an ensemble is trained in one call: where its members disagree the digit is hard to read.
Losses and the hardest digits are drawn to digits.png in the current directory.

    python examples/digits.py [--output DIR] [--quick]
"""

import argparse
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import fastgrad as fg
import fastgrad.plot

SIZES = [64, 64, 10]


def load(train=1400, seed=0):
    """Split the digits at random; pixels are from 0 to 1."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    X, y = (X[order] / 16).astype(np.float32), y[order]
    return X[:train], y[:train], X[train:], y[train:]


def accuracy(probabilities, labels):
    """Share of the rows whose likeliest class is right."""
    return float(np.mean(probabilities.argmax(axis=-1) == labels))


def sklearn_training(X, y, epochs):
    """Train scikit-learn's network with the same settings, and give the seconds that it took."""
    net = MLPClassifier(SIZES[1:-1], batch_size=32, max_iter=epochs, alpha=0, n_iter_no_change=epochs, random_state=0)
    begin = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(X, y)
    return net, perf_counter() - begin


def picture(history, nets, X, y, path):
    """Draw the losses of the network beside the held-out digits on whose reading the ensemble agrees least."""
    mean = nets(X).mean(axis=0)
    entropy = -np.sum(mean * np.log(np.maximum(mean, 1e-30)), axis=1)
    hardest = np.argsort(-entropy, kind="stable")[:12]
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(5, 4))
    ax = fg.plot.history(history, ax=left.subplots())
    ax.set_title("one network", fontsize="medium")
    right.suptitle("hardest for the ensemble: its two best guesses (orange: wrong)", fontsize="medium")
    for ax, i in zip(right.subplots(3, 4).flat, hardest, strict=True):
        first, second = np.argsort(-mean[i])[:2]
        ax.imshow(X[i].reshape(8, 8), cmap="gray_r")
        ax.set_xticks([])
        ax.set_yticks([])
        guesses = f"{first}: {100 * mean[i, first]:.0f} %, {second}: {100 * mean[i, second]:.0f} %"
        ax.set_title(guesses, fontsize=8, color="#0072b2" if first == y[i] else "#d55e00")
        ax.set_xlabel(f"is {y[i]}", fontsize=8)
    figure.savefig(path, dpi=160)


def main():
    parser = argparse.ArgumentParser(description="Train networks to read digits.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="folder of the picture")
    parser.add_argument("--quick", action="store_true", help="a small version, which takes a second or two")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    epochs, members = (20, 5) if options.quick else (40, 20)

    X, y, X_held, y_held = load()
    print(f"Digits: {len(y):,} to train on, {len(y_held)} held out; networks {'-'.join(map(str, SIZES))}")

    net = fg.MLP(SIZES, output="softmax", rng=0)
    begin = perf_counter()
    net.fit(X, y, loss="cross_entropy", epochs=epochs)
    wall = perf_counter() - begin
    other, others_wall = sklearn_training(X, y, epochs)
    print()
    print(f"  {epochs} epochs           {wall:.2f} s, held-out accuracy {100 * accuracy(net(X_held), y_held):.1f} %")
    theirs = 100 * accuracy(other.predict_proba(X_held), y_held)
    print(f"  scikit-learn        {others_wall:.2f} s, held-out accuracy {theirs:.1f} %, with the same settings")
    print(f"                      fastgrad is {others_wall / wall:.1f} × faster")

    net = fg.MLP(SIZES, output="softmax", rng=0)
    history = net.fit(X, y, loss="cross_entropy", epochs=10 * epochs, validation=0.1, patience=10)
    print(f"  stopping by itself  best after {history.epoch + 1} of {len(history.loss)} epochs,", end=" ")
    print(f"held-out accuracy {100 * accuracy(net(X_held), y_held):.1f} %")

    nets = fg.MLP(SIZES, output="softmax", members=members, rng=0)
    begin = perf_counter()
    nets.fit(X, y, loss="cross_entropy", epochs=epochs, bootstrap=True)
    wall = perf_counter() - begin
    each = [accuracy(probabilities, y_held) for probabilities in nets(X_held)]
    together = 100 * accuracy(nets(X_held).mean(axis=0), y_held)
    print(
        f"  {members} networks at once {wall:.2f} s, {100 * min(each):.1f} to {100 * max(each):.1f} % alone,", end=" "
    )
    print(f"{together:.1f} % together")

    path = options.output / "digits.png"
    picture(history, nets, X_held, y_held, path)
    print()
    print(f"  picture             {path}")


if __name__ == "__main__":
    main()
