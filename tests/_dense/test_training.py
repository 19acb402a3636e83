"""Training against other libraries' trajectories and hand-written loops; how it ends, in C and as a textbook has it."""

import dataclasses
import pickle
import signal
import threading

import numpy as np
import pytest
from helpers import assert_same_bits
from reference_trajectories import REFERENCES, START, STEPS
from test_methods import CASES, FUNCTIONS

import fastgrad as fg
from fastgrad._dense import training
from fastgrad._dense.sources import held_out, make_data
from fastgrad._dense.training import Exclusive, Task, TrainSettings, compile_task, new_state, total, train

pytestmark = pytest.mark.usefixtures("engine")


def logistic(leaves, rows, noise=()):
    (w, b), (x, y) = leaves, rows
    z = x @ w + b
    return np.logaddexp(0.0, z) - y * z


def is_right(leaves, rows):
    (w, b), (x, y) = leaves, rows
    return (x @ w + b > 0) == (y > 0.5)


def two_layers(leaves, rows, noise=()):
    (V, b, w), (x, y) = leaves, rows
    h = np.tanh(x @ V + b)
    if noise:
        h = np.where(noise[0] < 0.8, h / 0.8, 0.0)
    return (h @ w - y) ** 2


DROPOUT = Task(two_layers, None, [(3, 5), (5,), (5,)], [True, False, True], [(5,)], np.dtype(np.float64))


def logistic_task(dtype=np.float64):
    return Task(logistic, is_right, [(3,), ()], [True, False], [], np.dtype(dtype))


def examples(n=50, dtype=np.float64, **options):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(n, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.3 * rng.normal(size=n) > 0
    return make_data({"X": X.astype(dtype), "y": y}, **options)


def run(task, data, start=None, members=None, **settings):
    """Train from a start; the parameters and the history."""
    lead = () if members is None else (members,)
    parameters = np.zeros((*lead, task.size), task.dtype)
    parameters[...] = 0.1 * np.arange(task.size) if start is None else start
    settings = TrainSettings(**{"rng": 3, **settings})
    return parameters, train(task, parameters, data, settings)


# ---- steps


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("case", CASES)
def test_the_path_is_that_of_other_libraries(case, function):
    def loss(leaves, rows, noise):
        return FUNCTIONS[function](leaves[0]) + 0.0 * rows[0]

    task = Task(loss, None, [(4,)], [False], [], np.dtype(np.float64))
    path = [np.array(START)]
    run(
        task, make_data({"rows": np.zeros(1)}), START, optimizer=CASES[case], epochs=100,
        callback=lambda epoch: path.append(epoch.parameters.copy()),
    )  # fmt: skip
    np.testing.assert_allclose(np.array(path)[STEPS], REFERENCES[case, function], rtol=1e-11)


def test_steps_are_those_of_a_loop_by_hand():
    weights = np.random.default_rng(0).uniform(0, 2, 50)
    data = examples(weights=weights)
    X, y = (source.array for source in data.sources)
    decay, l1, l2, rates = 0.01, 0.02, 0.3, fg.schedules.step(0.5, every=5, decay=0.8)
    found, history = run(
        logistic_task(), data, optimizer=fg.GD(rates, weight_decay=decay), batch_size=8, epochs=3, shuffle=False,
        l1=l1, l2=l2, record="step",
    )  # fmt: skip

    x, losses, t = 0.1 * np.arange(4), [], 0
    for _ in range(3):
        for first in range(0, 50, 8):
            part = slice(first, first + 8)
            share = weights[part] / weights[part].sum()
            z = X[part] @ x[:3] + x[3]
            penalty = l1 * np.abs(x[:3]).sum() + l2 / 2 * (x[:3] ** 2).sum()
            losses.append(share @ (np.logaddexp(0, z) - y[part] * z) + penalty)
            delta = share * (1 / (1 + np.exp(-z)) - y[part])
            g = np.append(delta @ X[part] + l1 * np.sign(x[:3]) + l2 * x[:3], delta.sum())
            x = x - rates(t) * decay * x
            x = x - rates(t) * g
            t += 1
    np.testing.assert_allclose(found, x, rtol=1e-12)
    np.testing.assert_allclose(history.step_loss, losses, rtol=1e-12)
    counts = np.add.reduceat(weights, np.arange(0, 50, 8))
    np.testing.assert_allclose(history.loss, np.reshape(losses, (3, 7)) @ counts / counts.sum(), rtol=1e-12)


def test_every_epoch_visits_each_row_once_in_an_order_of_its_own():
    """The loss of a step is the parameter, which hardly moves, times the row."""
    task = Task(lambda leaves, rows, noise: leaves[0] * rows[0], None, [()], [False], [], np.dtype(np.float64))
    orders = set()
    for seed in (1, 2):
        options = {"optimizer": fg.GD(1e-9), "batch_size": 1, "epochs": 3, "record": "step", "rng": seed}
        _, history = run(task, make_data({"rows": np.arange(40)}), 1.0, **options)
        for order in np.rint(history.step_loss.reshape(3, 40)).astype(int).tolist():
            assert sorted(order) == list(range(40))
            orders.add(tuple(order))
    assert len(orders | {tuple(range(40))}) == 7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_last_minibatch_and_one_larger_than_the_data(dtype):
    data = examples(20, dtype)
    whole, history = run(logistic_task(dtype), data, batch_size=20, epochs=4, record="step")
    assert history.step_loss.shape == (4,)
    for batch_size in (None, 21, 1000):
        assert_same_bits(run(logistic_task(dtype), data, batch_size=batch_size, epochs=4)[0], whole)
    assert run(logistic_task(dtype), data, batch_size=19, epochs=4, record="step")[1].step_loss.shape == (8,)
    assert whole.dtype == dtype


def test_rows_of_weight_zero_count_nothing():
    weights = np.repeat([1.0, 0.0], 25)
    some = examples()
    some = make_data({"X": some.sources[0].array[:25], "y": some.sources[1].array[:25]})
    a, history_a = run(logistic_task(), examples(weights=weights), batch_size=25, shuffle=False, epochs=1)
    b, history_b = run(logistic_task(), some, batch_size=25, shuffle=False, epochs=1)
    # the second minibatch has no weight: no gradient, but Adam goes on by its moments
    np.testing.assert_allclose(history_a.loss, history_b.loss, rtol=1e-12)
    gd = {"optimizer": "gd", "batch_size": 25, "shuffle": False, "epochs": 3}
    a, b = run(logistic_task(), examples(weights=weights), **gd)[0], run(logistic_task(), some, **gd)[0]
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_score_and_the_loss_of_the_validation_data():
    data = examples()
    weights = np.linspace(0, 1, 50)
    X, y = (source.array for source in data.sources)
    data = dataclasses.replace(data, validation=examples(weights=weights))
    found, history = run(logistic_task(), data, epochs=2, l2=10.0)
    z = X @ found[:3] + found[3]
    assert history.validation_loss[1] == pytest.approx(np.average(np.logaddexp(0, z) - y * z, weights=weights))
    assert history.score[1] == pytest.approx(np.average((z > 0) == y, weights=weights))


def test_a_total_is_the_mean_over_all_rows_and_its_gradient():
    data = examples(weights=np.arange(50.0))
    x = np.array([0.3, -0.1, 0.2, 0.5])
    value, (dw, db) = total(logistic_task(), x, data)
    X, y = (source.array for source in data.sources)

    def mean(x, y, X, weights):
        z = X @ x[:3] + x[3]
        return np.sum(weights * (np.logaddexp(0.0, z) - y * z)) / np.sum(weights)

    expected, gradient = fg.value_and_grad(mean)(x, y.astype(float), X, data.weights)
    assert value == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose([*dw, db], gradient, rtol=1e-12)


# ---- in parts, and with members


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "rprop", "lbfgs"])
def test_a_training_that_is_watched_is_the_same(optimizer, capsys):
    data = held_out(examples(), 0.2, np.random.default_rng(0))
    options = {"optimizer": optimizer, "epochs": 5, "batch_size": 8, "record": "step"}
    plain, history = run(logistic_task(), data, **options)
    seen = []
    watched, its_history = run(logistic_task(), data, callback=seen.append, progress=True, **options)
    assert_same_bits(watched, plain)
    for name in ("loss", "validation_loss", "score", "step_loss"):
        assert_same_bits(getattr(history, name), getattr(its_history, name))
        if name != "step_loss":
            assert [getattr(epoch, name) for epoch in seen] == list(getattr(history, name))
    assert [epoch.epoch for epoch in seen] == list(range(5))
    assert np.all(np.diff(its_history.time) > 0)
    assert "fit" in capsys.readouterr().err


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_members_are_trained_as_each_would_be_alone(optimizer):
    rng = np.random.default_rng(1)
    data = dataclasses.replace(examples(weights=rng.uniform(1, 2, 50)), rows=rng.integers(0, 50, (4, 30)))
    start, seeds = rng.normal(size=(4, 4)), np.array([5, 6, 7, 2**64 - 1], np.uint64)
    options = {"optimizer": optimizer, "epochs": 4, "batch_size": 8, "record": "step"}
    rates = [0.1, 0.2, 0.3, 0.4]
    rate = {} if optimizer == "lbfgs" else {"learning_rate": rates}
    together, history = run(logistic_task(), data, start, members=4, seeds=seeds, **rate, **options)
    assert len(history) == 4
    for i in range(4):
        rate = {} if optimizer == "lbfgs" else {"learning_rate": rates[i]}
        part = dataclasses.replace(data, rows=data.rows[i : i + 1])
        alone, its_history = run(logistic_task(), part, start[i], seeds=seeds[i : i + 1], **rate, **options)
        assert_same_bits(together[i], alone)
        assert_same_bits(history[i].loss, its_history.loss)
        assert_same_bits(history[i].step_loss, its_history.step_loss)
        assert history[i].status == its_history.status


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_long_trainings_are_made_of_parts(optimizer, monkeypatch):
    data = held_out(examples(), 0.4, np.random.default_rng(0))
    options = {"optimizer": optimizer, "epochs": 10**9, "batch_size": 8, "record": "step", "patience": 5}
    options |= {"learning_rate": 0.3} if optimizer == "adam" else {}
    x, history = run(logistic_task(), data, **options)
    monkeypatch.setattr(training, "MOST_EPOCHS", 3)
    y, its_history = run(logistic_task(), data, **options)
    assert_same_bits(x, y)
    for name in ("loss", "validation_loss", "score", "step_loss"):
        assert_same_bits(getattr(history, name), getattr(its_history, name))
    assert history.n_epochs == len(history.loss) == len(history.time)
    assert len(history.step_loss) == history.n_epochs * (4 if optimizer == "adam" else 1)


def test_calls_with_one_state_are_one_training():
    task, data = logistic_task(), examples()
    settings = TrainSettings(epochs=6, batch_size=8, optimizer=fg.Adam(fg.schedules.cosine(0.1, 30)), rng=1)
    whole, parts = np.zeros((2, 4))
    history = train(task, whole, data, settings)
    state, programs = new_state(task, 1, settings), compile_task(task, data.shapes)
    losses = []
    for n in (1, 2, 3):
        part = train(task, parts, data, dataclasses.replace(settings, epochs=n), programs, state)
        assert part.n_epochs == n
        assert part.epoch == n - 1
        losses += list(part.loss)
    assert_same_bits(parts, whole)
    assert_same_bits(losses, history.loss)


def test_a_seed_fixes_everything_random():
    task = DROPOUT
    a, b, c = (run(task, examples(), rng=rng, epochs=2, batch_size=8)[0] for rng in (1, 1, 2))
    assert_same_bits(a, b)
    assert not np.array_equal(a, c)


def test_noise_is_new_in_every_step_and_for_every_row():
    def loss(leaves, rows, noise):
        return leaves[0] * noise[0] if noise else leaves[0] * 0.5

    task = Task(loss, None, [()], [False], [()], np.dtype(np.float64))
    data = make_data({"rows": np.zeros(8)})
    _, history = run(task, data, 1.0, optimizer=fg.GD(1e-12), batch_size=1, epochs=100, record="step")
    drawn = history.step_loss
    assert len(set(drawn)) == 800
    assert 0 <= drawn.min() < 0.02
    assert 0.98 < drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
    assert drawn.var() == pytest.approx(1 / 12, abs=0.02)
    assert run(task, dataclasses.replace(data, validation=data), 1.0)[1].validation_loss[0] == pytest.approx(0.5, 0.02)


# ---- how it ends


@pytest.mark.parametrize("optimizer", [fg.GD(3.0), "lbfgs"])
def test_patience_gives_back_the_best(optimizer):
    """Far too large steps, or fitting noise: the validation loss goes up again."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    noisy = make_data({"X": X, "y": rng.random(20) < 0.5})
    data = dataclasses.replace(noisy, validation=examples(40))
    path = []
    options = {"optimizer": optimizer, "epochs": 200, "batch_size": 4, "rng": 1}
    x, history = run(
        logistic_task(), data, patience=5, callback=lambda epoch: path.append(epoch.parameters.copy()), **options
    )
    assert history.status == 6
    assert history.success
    assert history.n_epochs == len(path) == len(history.loss) < 200
    assert history.epoch == np.argmin(history.validation_loss) == history.n_epochs - 6
    assert_same_bits(x, path[history.epoch])
    same, its_history = run(logistic_task(), data, patience=5, **options)
    assert_same_bits(same, x)
    assert_same_bits(its_history.loss, history.loss)
    last, _ = run(logistic_task(), data, **{**options, "epochs": len(path)})
    assert_same_bits(last, path[-1])


def test_patience_counts_epochs_that_are_better_by_more_than_min_delta():
    options = {"optimizer": "gd", "batch_size": None, "epochs": 50, "learning_rate": 0.1}
    _, every = run(logistic_task(), examples(), patience=1, **options)
    assert every.status == 1
    gains = -np.diff(every.loss)
    _, history = run(logistic_task(), examples(), patience=3, min_delta=gains[9] * 1.01, **options)
    assert history.status == 6
    assert history.n_epochs < 20
    assert history.epoch == history.n_epochs - 1  # still a little better than all before
    assert run(logistic_task(), examples(), patience=0, **options)[1].n_epochs == 50


def test_what_is_monitored():
    data = dataclasses.replace(examples(), validation=examples(7))
    options = {"optimizer": fg.GD(2.0), "epochs": 20, "patience": 100}
    for monitor, best in [("loss", np.argmin), ("validation_loss", np.argmin), ("score", np.argmax)]:
        _, history = run(logistic_task(), data, monitor=monitor, **options)
        assert history.epoch == best(getattr(history, monitor))
    with pytest.raises(ValueError, match="monitor='score' needs validation data"):
        run(logistic_task(), examples(), monitor="score", **options)
    with pytest.raises(ValueError, match="monitor='score' needs a loss that has a score"):
        run(logistic_task()._replace(score=None), data, monitor="score", **options)


def test_a_loss_that_becomes_infinite_stops_and_keeps_the_best():
    def loss(leaves, rows, noise):
        return np.exp(leaves[0]) * rows[0]

    task = Task(loss, None, [()], [False], [], np.dtype(np.float64))
    data = make_data({"rows": np.full(8, -1.0)})
    path = []
    options = {"optimizer": fg.GD(2.0), "batch_size": 4, "epochs": 50, "record": "step"}
    x, history = run(task, data, 1.0, callback=lambda epoch: path.append(float(epoch.parameters[0])), **options)
    assert history.status == 2
    assert not history.success
    assert not np.isfinite(history.loss[-1])
    assert np.all(np.isfinite(history.loss[:-1]))
    assert history.epoch == history.n_epochs - 2
    assert x[0] == path[history.epoch]
    assert "not finite" in history.message
    same, _ = run(task, data, 1.0, **options)
    assert_same_bits(same, x)


def test_a_gradient_that_is_infinite_stops_too():
    def loss(leaves, rows, noise):
        return np.sqrt(leaves[0]) + 0.0 * rows[0]

    task = Task(loss, None, [()], [False], [], np.dtype(np.float64))
    for epochs in (1, 3):
        x, history = run(task, make_data({"rows": np.zeros(2)}), 0.0, optimizer="gd", batch_size=2, epochs=epochs)
        assert history.status == 2
        assert x[0] == 0.0


def test_validation_that_is_not_finite_stops_where_it_is_watched():
    data = examples(50)
    other = examples(10)
    other.sources[0].array[3] = np.inf
    data = dataclasses.replace(data, validation=other)
    x, history = run(logistic_task(), data, optimizer="gd", epochs=4)
    assert history.status == 2
    assert history.n_epochs == 1
    assert_same_bits(x, 0.1 * np.arange(4))
    x, history = run(logistic_task(), data, optimizer="gd", epochs=4, monitor="loss")
    assert history.status == 1
    assert np.all(np.isfinite(x))


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_bad_data_are_named(optimizer):
    data = examples()
    data.sources[0].array[17, 1] = np.nan
    x, history = run(logistic_task(), data, optimizer=optimizer)
    assert history.status == 2
    assert history.message.endswith("(X holds NaN or infinity)")
    assert_same_bits(x, 0.1 * np.arange(4))


def test_one_member_fails_and_the_others_go_on():
    x, history = run(logistic_task(), examples(), [[0.0] * 4, [np.inf] * 4, [1.0] * 4], members=3, epochs=3)
    np.testing.assert_array_equal(history.status, [1, 2, 1])
    np.testing.assert_array_equal(history.success, [True, False, True])
    np.testing.assert_array_equal(history.n_epochs, [3, 1, 3])
    assert np.all(np.isfinite(x[[0, 2]]))
    assert np.all(np.isnan(history.loss[1:, 1]))
    assert "2 ran all epochs; 1 stopped where" in history.message


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_callback_ends_it_with_stop_iteration(optimizer):
    def stop(epoch):
        assert not epoch.parameters.flags.writeable
        if epoch.epoch == 2:
            raise StopIteration

    x, history = run(logistic_task(), examples(), optimizer=optimizer, epochs=10, callback=stop)
    assert history.status == 7
    assert history.n_epochs == 3
    assert_same_bits(x, run(logistic_task(), examples(), optimizer=optimizer, epochs=3)[0])


def test_an_exception_of_a_callback_leaves_the_parameters_of_that_epoch():
    parameters = np.zeros(4)

    def interrupt(epoch):
        if epoch.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(logistic_task(), parameters, examples(), TrainSettings(epochs=9, rng=3, callback=interrupt))
    assert_same_bits(parameters, run(logistic_task(), examples(), 0.0, epochs=2)[0])


@pytest.mark.parametrize("optimizer", ["gd", "lbfgs"])
def test_ctrl_c_leaves_parameters_that_can_be_trained_on(optimizer):
    task, data, parameters = DROPOUT._replace(noise=[]), examples(2000), np.random.default_rng(0).normal(size=25)
    before = parameters.copy()
    settings = TrainSettings(optimizer=optimizer, epochs=10**6, gtol=-1.0, ftol=-np.inf, batch_size=16)
    timer = threading.Timer(0.4, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):  # a search may find its minimum before
        [train(task, parameters, data, settings) for _ in range(1000)]
    timer.join()
    assert not np.array_equal(parameters, before)
    assert np.all(np.isfinite(parameters))
    assert train(task, parameters, data, TrainSettings(epochs=1)).success


def test_no_epochs():
    x, history = run(logistic_task(), examples(), epochs=0)
    assert_same_bits(x, 0.1 * np.arange(4))
    assert history.loss.shape == (0,)
    assert (history.status, history.epoch, history.n_epochs) == (1, -1, 0)
    assert "ran all epochs" in repr(history)


# ---- who may train, and with what


def test_one_trainer_at_a_time():
    lock = Exclusive("the network")
    with lock, pytest.raises(RuntimeError, match="the network is being trained by another call"), lock:
        pass
    with lock:
        pass
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    with lock, pickle.loads(pickle.dumps(lock)):  # a copy is free
        pass


def test_parameters_are_trained_in_place_or_refused():
    for parameters in (np.zeros(5), np.zeros(4, np.float32), np.zeros(8)[::2], np.zeros((2, 3)), np.zeros((1, 1, 4))):
        with pytest.raises(ValueError, match="parameters must be a contiguous array of 4 numbers of float64"):
            train(logistic_task(), parameters, examples(), TrainSettings())
    frozen = np.zeros(4)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="parameters is read-only"):
        train(logistic_task(), frozen, examples(), TrainSettings())


def test_rows_of_members_are_checked():
    for rows in (np.zeros((3, 5), np.int64), np.zeros((2, 0), np.int64), np.zeros((2, 5)), np.zeros(5, np.int64)):
        with pytest.raises(fg.ShapeError, match="rows must be an integer array of shape"):
            run(logistic_task(), dataclasses.replace(examples(), rows=rows), members=2)
    for bad in (-1, 50):
        with pytest.raises(ValueError, match="rows must be from 0 to 49"):
            run(logistic_task(), dataclasses.replace(examples(), rows=np.full((2, 3), bad)), members=2)


def test_a_leaf_that_the_loss_does_not_use_stays():
    task = Task(lambda leaves, rows, noise: leaves[0] * rows[0], None, [(), (3,)], [True] * 2, [], np.dtype("f8"))
    x, history = run(task, make_data({"rows": np.ones(5)}), epochs=2)
    assert_same_bits(x[1:], 0.1 * np.arange(1, 4))
    assert history.success


def test_a_loss_that_is_no_number():
    for loss, error in [
        (lambda leaves, rows, noise: rows[0] * leaves[0], "returns an array of shape"),
        (lambda leaves, rows, noise: (leaves[1], leaves[1]), "returns several values"),
    ]:
        with pytest.raises(fg.ShapeError, match=error):
            run(logistic_task()._replace(loss=loss), examples())


def test_validation_rows_must_look_like_the_others():
    other = make_data({"Xv": np.zeros((4, 2)), "yv": np.zeros(4)})
    with pytest.raises(fg.ShapeError, match=r"Xv has rows of shape \(2,\), but X has rows of shape \(3,\)"):
        run(logistic_task(), dataclasses.replace(examples(), validation=other))
