"""The loop in C against the textbook's, for every kind of step; the same bits for any number of threads."""

import dataclasses

import numpy as np
import pytest
from helpers import assert_same_bits
from reference_training import noise, permutation
from test_training import examples, logistic_task, run, two_layers

import fastgrad as fg
from fastgrad._dense.training import Task

TASKS = {
    "logistic": logistic_task(),
    "single precision": logistic_task(np.float32),
    "two layers": Task(two_layers, None, [(3, 5), (5,), (5,)], [True, False, True], [], np.dtype(np.float64)),
    "dropout": Task(two_layers, None, [(3, 5), (5,), (5,)], [True, False, True], [(5,)], np.dtype(np.float64)),
    "single dropout": Task(two_layers, None, [(3, 5), (5,), (5,)], [True] * 3, [(5,)], np.dtype(np.float32)),
}
WAYS = {
    "plain": {},
    "one by one": {"batch_size": 1},
    "in order": {"shuffle": False, "batch_size": 7},
    "penalties": {"l1": 0.01, "l2": 0.1},
    "shared penalties": {"l1": 0.1, "l2": 1.0, "share_penalties": True},
    "clipped": {"optimizer": fg.Momentum(0.1, clip_value=0.05, clip_norm=0.07, weight_decay=0.1)},
    "schedule": {"optimizer": fg.Adam(fg.schedules.warmup(fg.schedules.cosine(0.1, 12), 5))},
    "patience": {"optimizer": fg.GD(3.0), "patience": 2, "epochs": 30, "min_delta": 0.001},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", TASKS)
def test_the_loop_in_c_does_what_the_textbook_says(name, way, as_textbook, threads):
    task = TASKS[name]
    rng = np.random.default_rng(2)
    data = examples(67, weights=rng.uniform(0, 1, 67))
    data = dataclasses.replace(data, rows=rng.integers(0, 67, (3, 53)), validation=examples(31))
    start = rng.normal(size=(3, task.size))
    options = {"learning_rate": None, "batch_size": 16, "epochs": 6, "record": "step", **WAYS[way]}
    x, history = run(task, data, start, members=3, **options)
    expected, its_history = as_textbook(run, task, data, start, members=3, **options)
    tolerance = {"rtol": 1e-9, "atol": 1e-10} if task.dtype == np.float64 else {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(x, expected, **tolerance)
    for quantity in ("loss", "validation_loss", "step_loss"):
        np.testing.assert_allclose(getattr(history, quantity), getattr(its_history, quantity), **tolerance)
    for quantity in ("status", "epoch", "n_epochs"):
        np.testing.assert_array_equal(getattr(history, quantity), getattr(its_history, quantity))
    for n in (1, 2, 3):
        threads(n)
        assert_same_bits(run(task, data, start, members=3, **options)[0], x)


# ---- the textbook itself


def test_a_permutation_depends_on_the_seed_and_the_epoch():
    first_places = np.zeros(10)
    for seed in range(20):
        for epoch in range(100):
            order = permutation(seed, epoch, 10)
            assert sorted(order) == list(range(10))
            first_places[order[0]] += 1
    assert np.sum((first_places - 200) ** 2 / 200) < 27.9  # chi square of 9 degrees of freedom, 0.1 %
    np.testing.assert_array_equal(permutation(7, 3, 10), permutation(7, 3, 10))


@pytest.mark.parametrize(("dtype", "digits"), [(np.float32, 24), (np.float64, 53)])
def test_noise_is_uniform_and_held_by_its_dtype(dtype, digits):
    x = noise(1, 2, 0, (500, 20), dtype)
    np.testing.assert_array_equal(x.astype(dtype), x)
    np.testing.assert_array_equal(x * 2.0**digits, np.rint(x * 2.0**digits))
    counts, _ = np.histogram(x, 10, (0, 1))
    assert np.sum((counts - 1000) ** 2 / 1000) < 27.9
    others = [noise(1, 3, 0, (500, 20), dtype), noise(2, 2, 0, (500, 20), dtype), noise(1, 2, 1, (500, 20), dtype)]
    for other in others:
        assert abs(np.corrcoef(x.ravel(), other.ravel())[0, 1]) < 0.05
