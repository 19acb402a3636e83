import numpy as np

from fastgrad._finite import results, richardson


def test_the_statuses_are_those_of_extrapolation():
    assert (results.FINE, results.INACCURATE, results.NOT_FINITE, results.NO_ROOM) == (
        richardson.CONVERGED,
        richardson.INACCURATE,
        richardson.NOT_FINITE,
        richardson.STEP_LIMIT,
    )
    assert set(results.MESSAGES) == set(richardson.MESSAGES)


def test_the_message_is_about_the_worst_component():
    found = results.Difference(np.zeros(3), None, 7, np.ones(3), np.array([0, results.NOT_FINITE, results.NOT_FINITE]))
    assert found.message == results.MESSAGES[results.NOT_FINITE] + " (2 of 3 components)"
    assert not found.success
    assert results.Difference(np.zeros(0), None, 1, np.zeros(0), np.zeros(0, int)).success
