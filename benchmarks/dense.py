"""Dense networks: steps of training by size, one prediction, one matrix product, digits, ensembles.

A step is one minibatch: forward, backward and Adam. Every library trains from the same weights on the same rows in the
same order, and its losses are compared with fastgrad's; the cases of 200 steps do so step by step.
"""

import functools
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import fastgrad as fg
from fastgrad import _core

from . import nets
from .nets import Work
from .peak import peak_side
from .peers import cores, import_jax, import_torch
from .timing import Case, Side

NEVER_SLOWER = {"torch": 1.0, "sklearn": 1.0}
STEPS = (  # sizes, batch, steps in one call, target against JAX
    (Work((2, 16, 16, 1), 32, 4000), 5.0),
    (Work((8, 64, 64, 1), 64, 2000), 2.5),
    (Work((64, 64, 64, 10), 128, 1000), 2.0),
    (Work((784, 128, 10), 128, 200), 1.8),
    (Work((784, 512, 512, 10), 256, 40), 1.1),
    (Work((1024, 1024, 1024, 1024), 512, 8), 1.1),
)
Build = Callable[[], Side]


def cases(quick: bool) -> list[Case]:
    few = 8 if quick else 1
    works = [(replace(work, steps=work.steps // few), target) for work, target in STEPS]
    small, middle = works[0][0], works[2][0]
    found = [_training(work, target) for work, target in works]
    found += [_convergence(dtype) for dtype in ("float32", "float64")]
    found += [_memory(small), _members(replace(small, steps=small.steps // 4), 64 // few)]
    found += [_prediction((64, 64, 64, 10)), _product(1024 // few), _digits(few)]
    return found + ([_threads(middle)] if cores() > 1 else [])


def _training(work: Work, target: float) -> Case:
    targets = {"jax": target} | NEVER_SLOWER
    return Case(f"step {work.name}", "us a step", nets.sides(work), targets, rtol=1e-3, atol=0.0)


def _convergence(dtype: str) -> Case:
    """200 steps whose losses must agree one by one. scikit-learn has another Adam."""
    work = Work((64, 64, 64, 10), 128, 200, dtype)
    sides = {name: build for name, build in nets.sides(work).items() if name != "sklearn"}
    rtol = {"float32": 1e-4, "float64": 1e-10}[dtype]
    name = f"{work.steps} losses of {work.name}, {dtype}, equal to {rtol:.0e}"
    return Case(name, "us a step", sides, {"torch": 1.0, "jax": 1.0}, rtol=rtol, atol=0.0)


def _memory(work: Work) -> Case:
    """A long call against one of a step. They must allocate the same, up to 4 KB: nothing by step or by row."""

    def build(steps: int) -> Side:
        net, start = nets.fastgrad_network(work)
        X, Y = (part[: steps * work.batch] for part in work.data())

        def run() -> Any:
            net.parameters[:] = start
            blocks = _core.live_memory()[0]
            tracemalloc.start()
            net.fit(X, Y, learning_rate=nets.RATE, batch_size=work.batch, epochs=1, shuffle=False)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return most, 4096.0 * (_core.live_memory()[0] - blocks)

        run()
        return Side(run)

    sides: dict[str, Build] = {"fastgrad": partial(build, work.steps), "fastgrad 1 step": partial(build, 1)}
    return Case(f"memory of a call of {work.steps:,} steps", "us a call", sides, rtol=0.0, atol=4096.0)


def _members(work: Work, members: int) -> Case:
    """Networks with weights of their own, at once and one after another."""
    X, Y = work.data()
    starts = [nets.fastgrad_network(replace(work, seed=seed))[1] for seed in range(members)]
    settings: dict[str, Any] = {"batch_size": work.batch, "epochs": 1, "shuffle": False, "learning_rate": nets.RATE}

    def at_once() -> Side:
        net = fg.MLP(work.sizes, activation="relu", dtype=work.dtype, members=members)

        def run() -> Any:
            net.parameters[:] = starts
            return (np.ravel(net.fit(X, Y, **settings).loss),)

        return Side(run, work.steps * members)

    def one_by_one() -> Side:
        net = fg.MLP(work.sizes, activation="relu", dtype=work.dtype)

        def run() -> Any:
            losses = []
            for start in starts:
                net.parameters[:] = start
                losses.append(net.fit(X, Y, **settings).loss[0])
            return (losses,)

        return Side(run, work.steps * members)

    sides: dict[str, Build] = {
        "fastgrad": at_once,
        "fastgrad one by one": one_by_one,
        "jax": partial(nets.jax_members_side, work, members),
    }
    targets = {"fastgrad one by one": 1.0, "jax": 1.0}
    name = f"{members} networks {work.name}"
    return Case(name, "us a network and step", sides, targets, rtol=1e-3, atol=0.0)


def _prediction(sizes: tuple[int, ...]) -> Case:
    """One row through a network, from Python to Python."""
    work = Work(sizes, 1, 1)
    row = work.data()[0][0]

    def fastgrad() -> Side:
        net, _ = nets.fastgrad_network(work)
        return Side(lambda: (net(row),))

    def torch() -> Side:
        torch, net = import_torch(), nets.torch_network(work)
        held = torch.from_numpy(row)

        def run() -> Any:
            with torch.no_grad():
                return (net(held),)

        return Side(run)

    def jax() -> Side:
        jax = import_jax()
        layers, held = jax.device_put(work.start()), jax.device_put(row)
        predict = jax.jit(partial(nets.forward, jax.nn.relu))
        return Side(lambda: (predict(layers, held).block_until_ready(),))

    def numpy() -> Side:
        layers = work.start()
        return Side(lambda: (nets.forward(lambda z: np.maximum(z, 0), layers, row),))

    sides: dict[str, Build] = {"fastgrad": fastgrad, "torch": torch, "jax": jax, "numpy": numpy}
    name = f"prediction of one row, {'-'.join(map(str, sizes))}"
    return Case(name, "us a call", sides, {"torch": 10.0}, limit=2e-6, rtol=1e-4, atol=1e-5)


def _product(size: int) -> Case:
    """A matrix product, as one layer without a bias worth the name, and the peak of the machine's multiply-adds."""
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))

    def fastgrad() -> Side:
        net = fg.MLP([size, size], dtype="float32")
        net.weights[0][:] = B
        net.biases[0][:] = 0
        return Side(lambda: (net(A),))

    def torch() -> Side:
        left, right = (import_torch().from_numpy(part) for part in (A, B))
        return Side(lambda: (left @ right,))

    def jax() -> Side:
        jax = import_jax()
        product = jax.jit(lambda left, right: left @ right)
        left, right = jax.device_put((A, B))
        return Side(lambda: (product(left, right).block_until_ready(),))

    sides: dict[str, Build] = {
        "fastgrad": fastgrad,
        "numpy": lambda: Side(lambda: (A @ B,)),
        "torch": torch,
        "jax": jax,
        "peak": partial(peak_side, 2.0 * size**3),
    }
    targets = {"numpy": 0.95, "torch": 0.95, "jax": 0.95, "peak": 0.85}
    return Case(f"product {size} x {size} x {size}, float32", "us a product", sides, targets, rtol=1e-3, atol=1e-3)


def _digits(few: int) -> Case:
    """Digits of scikit-learn, to 97 % of those held out: so many epochs as both need, and the same settings."""
    epochs, hidden, batch = (40 if few == 1 else 8), 64, 32

    @functools.cache
    def data() -> tuple[np.ndarray, ...]:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(y))
        X, y = (X[order] / 16).astype(np.float32), y[order]
        return X[:1400], y[:1400], X[1400:], y[1400:]

    def reached(right: np.ndarray) -> Any:
        return (np.mean(right) >= (0.97 if few == 1 else 0.9),)

    def fastgrad() -> Side:
        X, y, held, labels = data()

        def run() -> Any:
            net = fg.MLP([64, hidden, 10], activation="relu", rng=0)
            net.fit(X, y, loss="cross_entropy", batch_size=batch, epochs=epochs, learning_rate=nets.RATE, rng=0)
            return reached(np.argmax(net(held), axis=1) == labels)

        return Side(run)

    def sklearn() -> Side:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        X, y, held, labels = data()
        settings: dict[str, Any] = {
            "batch_size": batch,
            "max_iter": epochs,
            "alpha": 0,
            "random_state": 0,
            "n_iter_no_change": epochs,
        }
        warnings.simplefilter("ignore", ConvergenceWarning)

        def run() -> Any:
            net = MLPClassifier(hidden_layer_sizes=(hidden,), learning_rate_init=nets.RATE, **settings).fit(X, y)
            return reached(net.predict(held) == labels)

        return Side(run)

    sides: dict[str, Build] = {"fastgrad": fastgrad, "sklearn": sklearn}
    name = f"digits, {epochs} epochs, 97 % of the held-out"
    return Case(name, "ms a training", sides, {"sklearn": 10.0}, limit=1.0, rtol=0.0, atol=0.5)


def _threads(work: Work) -> Case:
    """All threads against one; the results must be the same to the last bit."""

    def build(threads: int) -> Side:
        side = nets.fastgrad_side(work)

        def run() -> Any:
            fg.set_num_threads(threads)
            results = side.run()
            fg.set_num_threads(cores())
            return results

        return replace(side, run=run)

    sides: dict[str, Build] = {"fastgrad": partial(build, cores()), "fastgrad 1 thread": partial(build, 1)}
    return Case(f"step {work.name}, {cores()} threads", "us a step", sides, rtol=0.0, atol=5e-324)
