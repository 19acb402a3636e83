"""Settings of a training: what is refused, with the argument's name."""

import numpy as np
import pytest
from test_training import examples, logistic_task, run

import fastgrad as fg
from fastgrad._dense.settings import TrainSettings


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"optimizer": "adm"}, ValueError, "optimizer 'adm' is not known: choose one of 'gd', "),
        ({"optimizer": fg.Adam}, TypeError, "optimizer must be a name or an object such as fg.Adam.., got the class"),
        ({"optimizer": "lm"}, ValueError, "'lm' needs residuals"),
        ({"optimizer": "lbfgs", "learning_rate": 0.1}, TypeError, "learning_rate is not for LBFGS"),
        ({"epochs": -1}, ValueError, "epochs must be an integer from 0"),
        ({"epochs": 1.5}, ValueError, "epochs must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer from 1"),
        ({"batch_size": "auto"}, ValueError, "batch_size must be an integer"),
        ({"patience": -1}, ValueError, "patience must be an integer from 0"),
        ({"min_delta": -0.1}, ValueError, "min_delta must be finite and not negative"),
        ({"min_delta": "x"}, ValueError, "min_delta must be a number"),
        ({"l1": -1.0}, ValueError, "l1 must be finite and not negative"),
        ({"l2": np.inf}, ValueError, "l2 must be finite and not negative"),
        ({"monitor": "accuracy"}, ValueError, "monitor must be one of 'loss', 'validation_loss', 'score'"),
        ({"record": "path"}, ValueError, "record must be None or 'step'"),
        ({"record": np.zeros(2)}, ValueError, "record must be None or 'step'"),
        ({"monitor": np.zeros(2)}, ValueError, "monitor must be one of"),
        ({"shuffle": np.zeros(2)}, TypeError, "shuffle must be True or False"),
        ({"progress": 1}, TypeError, "progress must be True or False, got 1"),
        ({"callback": 3}, TypeError, "callback must be a function"),
    ],
)
def test_settings_that_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        TrainSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": [0.1, 0.2]}, "learning_rate has shape .2,.: give one number, or 3 of them, one a member"),
        ({"learning_rate": -0.1}, "learning_rate must be positive and finite"),
        ({"learning_rate": lambda t: -1.0}, r"learning_rate\(0\) is -1.0"),
        ({"rng": "x"}, "rng must be a seed, a Generator or None, got 'x'"),
        ({"seeds": [1, 2]}, r"seeds has shape \(2,\): give 3, one for each member"),
    ],
)
def test_settings_that_do_not_fit_the_members(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        run(logistic_task(), examples(), members=3, **settings)


def test_a_function_of_the_step_is_a_schedule():
    schedule = fg.schedules.exponential(0.1, 0.9)
    for optimizer in ("adam", fg.Momentum(0.5, momentum=0.3)):
        a = run(logistic_task(), examples(), optimizer=optimizer, learning_rate=schedule, epochs=2)[0]
        b = run(logistic_task(), examples(), optimizer=optimizer, learning_rate=lambda t: 0.1 * 0.9**t, epochs=2)[0]
        np.testing.assert_allclose(a, b, rtol=1e-12)
