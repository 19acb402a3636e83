import numpy as np

from fastgrad._finite import results


def test_the_message_is_about_the_worst_component():
    found = results.Difference(np.zeros(3), None, 7, np.ones(3), np.array([0, results.NOT_FINITE, results.NOT_FINITE]))
    assert found.message == results.MESSAGES[results.NOT_FINITE] + " (2 of 3 components)"
    assert not found.success
    assert results.Difference(np.zeros(0), None, 1, np.zeros(0), np.zeros(0, int)).success
