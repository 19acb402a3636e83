"""What a training gives back."""

import dataclasses

import numpy as np
import pytest
from test_training import examples, logistic_task, run

from fastgrad._dense.history import TrainingHistory


def test_arrays_and_words_of_one_training():
    _, history = run(logistic_task(), examples(), epochs=4, batch_size=20, record="step")
    assert history.loss.shape == history.time.shape == (4,)
    assert history.step_loss.shape == (12,)
    assert history.validation_loss is None
    assert history.score is None
    assert np.all(history.time > 0)
    assert history.success is True
    assert history.message == "ran all epochs"
    text = repr(history)
    assert text.startswith("TrainingHistory: ran all epochs\n  n_epochs=4, best epoch=3\n  loss: ")
    assert f"{history.loss[-1]}" in text
    assert "validation_loss" not in text
    for use in (len, lambda h: h[0]):
        with pytest.raises(TypeError, match="the history of a single training has no"):
            use(history)


def test_arrays_and_words_of_members():
    data = dataclasses.replace(examples(), validation=examples(9))
    _, history = run(logistic_task(), data, members=3, epochs=4, record="step", learning_rate=[0.1, 1e308, 0.3])
    assert len(history) == 3
    assert history.loss.shape == history.score.shape == history.time.shape == (4, 3)
    assert history.message.startswith("2 ran all epochs; 1 stopped where the loss or its gradient is not finite; the ")
    one = history[2]
    assert isinstance(one, TrainingHistory)
    np.testing.assert_array_equal(one.validation_loss, history.validation_loss[:, 2])
    np.testing.assert_array_equal(one.step_loss, history.step_loss[:, 2])
    assert (one.status, one.epoch, one.n_epochs) == (1, history.epoch[2], 4)
    assert one.success
    some = history[[0, 2]]
    assert len(some) == 2
    assert all(some.success)
    assert "TrainingHistory of 3 members: 2 ran all epochs" in repr(history)
    assert [h.status for h in history] == [1, 2, 1]
