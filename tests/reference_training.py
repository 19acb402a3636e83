"""Minibatch training as a textbook has it, in plain NumPy: the oracle of the loop in C.

`train`, `total`, `Source` and `TrainingState` stand for those of the compiled core. A program is a `RowProgram` here:
it gives the loss and the gradient of each row of a minibatch, and all that follows is done in NumPy. What is random is
a function of counters, so that the order of an epoch depends on a member's seed and the epoch's number alone.
"""

import time
from typing import Any, NamedTuple

import numpy as np

from fastgrad._core import updates

RUNNING, NON_FINITE, NO_PROGRESS = -1, 2, 6
LOSS, VALIDATION, SCORE = range(3)  # what is monitored
GOLDEN = 0x9E3779B97F4A7C15


class Source(NamedTuple):
    """Where a row's input comes from: an array with rows first, taken times scale plus shift; None is noise."""

    array: Any
    scale: float = 1.0
    shift: float = 0.0


class TrainingState:
    """What a training knows between two calls."""

    def __init__(self, update, members, size, dtype):
        self.rules = [RULES[update](size, dtype) for _ in range(members)]
        self.steps, self.epochs, self.best_epoch, self.stale = np.zeros((4, members), np.int64)
        self.outcome = np.full(members, RUNNING, np.int32)
        self.best = np.zeros((members, size), dtype)
        self.best_value = np.full(members, np.inf)


# ---- random numbers


def mixed(z):
    """The mixing of SplitMix64 (Steele, Lea & Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def random_bits(key, places):
    """64 bits for each place of the stream `key`."""
    with np.errstate(over="ignore"):
        return mixed(np.uint64(key) + (np.asarray(places, np.uint64) + np.uint64(1)) * np.uint64(GOLDEN))


def stream(key, number):
    """The key of a stream of its own for each number."""
    with np.errstate(over="ignore"):
        return mixed(random_bits(key, number) ^ ~np.uint64(number))


def permutation(seed, epoch, n):
    """0 to n - 1 as Fisher and Yates shuffle them."""
    order = np.arange(n)
    words = random_bits(stream(seed, epoch), np.arange(n)).tolist()
    for i in range(n - 1, 0, -1):
        j = words[i] * (i + 1) >> 64
        order[i], order[j] = order[j], order[i]
    return order


def noise(seed, step, number, shape, dtype):
    """Numbers of [0, 1) for the rows of a minibatch, as many as `dtype` tells apart; `number` counts the sources."""
    digits = 53 if dtype == np.float64 else 24
    with np.errstate(over="ignore"):
        key = stream(~np.uint64(seed), step) + np.uint64(1 + number)
    words = random_bits(key, np.arange(np.prod(shape)).reshape(shape))
    return (words >> np.uint64(64 - digits)) / 2.0**digits


# ---- update rules: from a gradient g to the change of the parameters


class Rule:
    """Keeps two arrays like x, and counts the steps."""

    def __init__(self, size, dtype):
        self.u, self.v, self.w = np.zeros((3, size), dtype)
        self.t = 0
        self.product = 1.0

    def change(self, g, rate, settings):
        self.t += 1
        return self.of(g, rate, *settings)


class GD(Rule):
    def of(self, g, rate):
        return -rate * g


class Momentum(Rule):
    def of(self, g, rate, momentum):
        self.u = momentum * self.u + g
        return -rate * self.u


class Nesterov(Rule):
    def of(self, g, rate, momentum):
        self.u = momentum * self.u + g
        return -rate * (g + momentum * self.u)


class Adagrad(Rule):
    def of(self, g, rate, decay, initial, epsilon):
        self.u = self.u + g**2
        return -rate / (1 + (self.t - 1) * decay) * g / (np.sqrt(self.u + initial) + epsilon)


class RMSprop(Rule):
    def of(self, g, rate, alpha, epsilon, momentum, centered):
        self.u = alpha * self.u + (1 - alpha) * g**2
        self.v = alpha * self.v + (1 - alpha) * g
        deviation = np.sqrt(np.maximum(self.u - centered * self.v**2, 0.0))
        self.w = momentum * self.w + g / np.maximum(deviation + epsilon, np.finfo(g.dtype).tiny)
        return -rate * self.w


class Adam(Rule):
    largest = False

    def of(self, g, rate, beta1, beta2, epsilon):
        self.u = beta1 * self.u + (1 - beta1) * g
        self.w = beta2 * self.w + (1 - beta2) * g**2
        self.v = np.maximum(self.v, self.w) if self.largest else self.w
        mean, square = self.u / (1 - beta1**self.t), self.v / (1 - beta2**self.t)
        return -rate * mean / np.maximum(np.sqrt(square) + epsilon, np.finfo(g.dtype).tiny)


class AMSGrad(Adam):
    largest = True


class NAdam(Rule):
    def of(self, g, rate, beta1, beta2, epsilon, decay):
        now, later = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (self.t, self.t + 1))
        self.product *= now
        self.u = beta1 * self.u + (1 - beta1) * g
        self.w = beta2 * self.w + (1 - beta2) * g**2
        mean = (1 - now) / (1 - self.product) * g + later / (1 - self.product * later) * self.u
        return -rate * mean / (np.sqrt(self.w / (1 - beta2**self.t)) + epsilon)


class Lion(Rule):
    def of(self, g, rate, beta1, beta2):
        direction = np.sign(beta1 * self.u + (1 - beta1) * g)
        self.u = beta2 * self.u + (1 - beta2) * g
        return -rate * direction


class Rprop(Rule):
    def of(self, g, rate, eta_minus, eta_plus, step_min, step_max):
        same = g * self.u
        factor = np.where(same > 0, eta_plus, np.where(same < 0, eta_minus, 1.0))
        self.w = np.clip((rate if self.t == 1 else self.w) * factor, step_min, step_max)
        self.u = np.where(same < 0, 0.0, g)
        return -self.w * np.sign(self.u)


OF_NAME = {rule.__name__.lower(): rule for rule in Rule.__subclasses__() + Adam.__subclasses__()}
RULES = {number: OF_NAME[name] for name, (number, _) in updates().items()}


# ---- rows through a program


class RowProgram:
    """A compiled program of single rows: its inputs are leaves, a row's share in the mean, and a value a source."""

    def __init__(self, compiled):
        self.compiled = compiled
        self.n_leaves = compiled.is_lane.index(True)
        self.shapes = [shape for shape, _ in compiled.inputs[: self.n_leaves]]

    def split(self, parameters):
        """A vector as the leaves."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(parameters, ends), self.shapes, strict=True)]

    def sums(self, leaves, sources, weights, rows, seed=0, step=0):
        """The outputs summed over rows, each with its share in their mean."""
        lanes, n_noises = [shares(weights, rows)], 0
        for source, (shape, dtype) in zip(sources, self.compiled.inputs[self.n_leaves + 1 :], strict=True):
            if source.array is None:
                lanes.append(noise(seed, step, n_noises, (len(rows), *shape), dtype))
                n_noises += 1
            else:
                lanes.append(source.array[rows].astype(np.float64) * source.scale + source.shift)
        kinds = [dtype for _, dtype in self.compiled.inputs]
        inputs = [np.ascontiguousarray(x, dtype) for x, dtype in zip([*leaves, *lanes], kinds, strict=True)]
        outputs = [np.empty((len(rows), *shape), dtype) for shape, dtype in self.compiled.outputs]
        self.compiled.program.run_batch(len(rows), inputs, outputs)
        return [np.sum(x, axis=0) for x in outputs]


def shares(weights, rows):
    """What each row counts in the mean over some rows."""
    if weights is None:
        return np.full(len(rows), 1 / len(rows))
    total = np.sum(weights[rows])
    return weights[rows] / total if total else np.zeros(len(rows))


def total(program, leaves, sources, n_rows, weights=None, report=None):
    """The outputs of a program summed over all rows."""
    return [np.ravel(x) for x in program.sums(leaves, sources, weights, np.arange(n_rows))]


# ---- the loop


def train(
    program, parameters, sources, n_rows, *, state, n_leaves, update, settings, learning_rate, seeds, batch_size,
    n_epochs, loss, seconds, rows=None, weights=None, shuffle=True, schedule=None, weight_decay=0.0, clip_value=0.0,
    clip_norm=0.0, penalties=None, share_penalties=False, evaluation=None, evaluation_sources=None,
    n_evaluation_rows=0, evaluation_weights=None, monitor=LOSS, patience=-1, min_delta=0.0, validation_loss=None,
    score=None, step_loss=None, report=None,
):  # fmt: skip
    """Train the members, in place, for some epochs."""
    start = time.perf_counter()
    sizes = [int(np.prod(shape)) for shape in program.shapes]
    l1, l2 = np.repeat(np.zeros((n_leaves, 2)) if penalties is None else penalties, sizes, axis=0).T

    def step(m, batch):
        """One minibatch of a member: the loss before the step, and the step."""
        x = parameters[m]
        value, *parts = program.sums(program.split(x), sources, weights, batch, seeds[m], state.steps[m])
        g = np.concatenate([part.ravel() for part in parts])
        total_weight = len(batch) if weights is None else np.sum(weights[batch])
        unit = 1.0 if not share_penalties else 1 / total_weight if total_weight else 0.0
        value = value + unit * np.sum(l1 * np.abs(x) + l2 / 2 * x**2)
        g = g + unit * (l1 * np.sign(x) + l2 * x)
        if clip_value:
            g = np.clip(g, -clip_value, clip_value)
        if clip_norm:
            g = g * min(1.0, clip_norm / (np.linalg.norm(g) + 1e-6))
        rate = learning_rate[m]
        if schedule is not None:
            rate = rate * schedule[min(state.steps[m], len(schedule) - 1)]
        x -= rate * weight_decay * x
        x += state.rules[m].change(g.astype(x.dtype), rate, settings)
        state.steps[m] += 1
        if not np.isfinite(value):
            stop(m)
        return float(value)

    def stop(m):
        state.outcome[m] = NON_FINITE
        parameters[m] = state.best[m]

    def epoch(m, number):
        """One pass of a member over its rows; what is watched for improvement."""
        order = np.arange(n_rows) if rows is None else rows[m]
        if shuffle:
            order = order[permutation(seeds[m], state.epochs[m], len(order))]
        batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
        values, counts = [], []
        for i, batch in enumerate(batches):
            values.append(step(m, batch))
            counts.append(float(len(batch)) if weights is None else np.sum(weights[batch]))
            if step_loss is not None:
                step_loss[number * len(batches) + i, m] = values[-1]
            if state.outcome[m] != RUNNING:
                break
        state.epochs[m] += 1
        loss[number, m] = np.dot(values, counts) / np.sum(counts) if np.any(counts) else 0.0
        watched = [loss[number, m], np.nan, np.nan]
        if evaluation is not None and state.outcome[m] == RUNNING:
            leaves = program.split(parameters[m])
            found = total(evaluation, leaves, evaluation_sources, n_evaluation_rows, evaluation_weights)
            watched[1 : 1 + len(found)] = [float(x[0]) for x in found]
        if not (np.all(np.isfinite(parameters[m])) and np.isfinite(watched[monitor])):
            stop(m)
        if validation_loss is not None:
            validation_loss[number, m] = watched[VALIDATION]
        if score is not None:
            score[number, m] = watched[SCORE]
        seconds[number, m] = time.perf_counter() - start
        return -watched[SCORE] if monitor == SCORE else watched[monitor]

    def judge(m, value):
        """Keep the best parameters, and stop where patience is at its end."""
        state.stale[m] = 0 if value < state.best_value[m] - min_delta else state.stale[m] + 1
        if value < state.best_value[m]:
            state.best[m], state.best_value[m], state.best_epoch[m] = parameters[m], value, state.epochs[m]
        if 0 <= patience <= state.stale[m]:
            state.outcome[m] = NO_PROGRESS

    for m in range(len(parameters)):
        if state.epochs[m] == 0:
            state.best[m] = parameters[m]
        for number in range(n_epochs):
            if state.outcome[m] == RUNNING:
                with np.errstate(all="ignore"):
                    value = epoch(m, number)
                if state.outcome[m] == RUNNING:
                    judge(m, value)
