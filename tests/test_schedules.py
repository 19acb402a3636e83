"""Schedules of the learning rate against the rates of other libraries."""

import dataclasses
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference_trajectories import SCHEDULES

import fastgrad as fg
from fastgrad import schedules
from fastgrad.schedules import MOST_FACTORS, split

RATES = {
    "exponential": schedules.exponential(0.3, 0.9),
    "step": schedules.step(0.3, 4, 0.25),
    "cosine": schedules.cosine(0.3, 11, end=0.1),
    "linear": schedules.warmup(0.3, 5, start=0.2),
    "warmup_cosine": schedules.warmup(schedules.cosine(0.3, 7), 4, start=0.2),
    "one_cycle": schedules.one_cycle(0.3, 13),
    "one_cycle_wide": schedules.one_cycle(0.3, 13, rise=0.45, start=0.1, end=0.02),
    "optax_cosine": schedules.cosine(0.3, 6, end=0.1),
}
ALL = [*RATES.values(), schedules.constant(0.3)]


@pytest.mark.parametrize("name", RATES)
def test_the_rates_are_those_of_other_libraries(name):
    right = np.array(SCHEDULES[name])
    schedule = RATES[name]
    assert_allclose(schedule(np.arange(len(right))), right, rtol=1e-13, atol=1e-17)
    assert_allclose([schedule(t) for t in range(len(right))], right, rtol=1e-13, atol=1e-17)
    assert isinstance(schedule(3), float)
    peak, factors = split(schedule, len(right) - 1)
    held = factors[np.minimum(np.arange(len(right)), len(factors) - 1)]
    assert_allclose(peak * held, right, rtol=1e-13, atol=1e-17)


def test_every_schedule_is_tested():
    assert {type(schedule).__name__ for schedule in ALL} == set(schedules.__all__) - {"Schedule"}


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_the_last_rate_stays(schedule):
    if schedule.length is not None:
        late = schedule(schedule.length + np.array([0, 1, 10, 10**9]))
        assert (late == late[0]).all()
        assert len(split(schedule, 10**15)[1]) == schedule.length + 1
    assert len(split(schedule, 2)[1]) == min(3, (3 if schedule.length is None else schedule.length + 1))
    assert len(split(schedule, 0)[1]) == 1


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_the_peak_may_differ_by_instance(schedule):
    first = dataclasses.fields(schedule)[0].name
    inner = getattr(schedule, first)
    peaks = np.array([0.3, 0.6])
    wide = dataclasses.replace(inner, peak=peaks) if isinstance(inner, schedules.Schedule) else peaks
    each = dataclasses.replace(schedule, **{first: wide})
    assert each(3).shape == (2,)
    assert each(np.arange(5)).shape == (5, 2)
    assert_allclose(each(np.arange(5)), np.outer(schedule(np.arange(5)), [1, 2]), rtol=1e-15)
    np.testing.assert_array_equal(split(each, 9)[0], peaks)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_schedules_pickle_compare_and_show_their_settings(schedule):
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert type(schedule).__name__ in repr(schedule)
    assert again(7) == schedule(7)


def test_rates_that_are_no_schedule_have_no_factors():
    assert split(0.1, 5) == (0.1, None)
    peak, factors = split(lambda t: 1 / (1 + t), 3)
    assert peak == 1
    assert factors.tolist() == [1, 1 / 2, 1 / 3, 1 / 4]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.exponential(0.1, 0.0), "decay must be greater than 0 and at most 1, got 0.0"),
        (lambda: schedules.exponential(0.1, 1.1), "decay"),
        (lambda: schedules.step(0.1, 0), "every must be a number of iterations"),
        (lambda: schedules.step(0.1, 2.5), "every must be a number of iterations .* got 2.5"),
        (lambda: schedules.step(0.1, 2, np.nan), "decay"),
        (lambda: schedules.cosine(0.1, 0), "n_steps"),
        (lambda: schedules.cosine(0.1, 5, end=-0.1), "end must be a share of the peak"),
        (lambda: schedules.warmup(0.1, 5, start=0.0), "start must be greater than 0"),
        (lambda: schedules.warmup(0.1, True), "n_steps"),
        (lambda: schedules.one_cycle(0.1, 10, rise=1.0), "rise must be a share of n_steps"),
        (lambda: schedules.one_cycle(0.1, 10, rise=0.1), "rise must be a share of n_steps"),
        (lambda: schedules.one_cycle(0.1, 10, start=2.0), "start must be a share"),
        (lambda: split(schedules.exponential(0.1, 0.9), MOST_FACTORS), "fewer than 10,000,000"),
        (lambda: split(lambda t: 0.1, 2**62), "fewer than"),
        (lambda: split(lambda t: -0.1, 5), r"learning_rate\(0\) is -0.1"),
        (lambda: split(lambda t: [0.1, 0.2], 5), "one finite number"),
        (lambda: split(lambda t: 1 / t if t else np.inf, 5), "one finite number"),
    ],
)
def test_what_makes_no_schedule_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_function_that_gives_no_number_is_refused():
    with pytest.raises(TypeError, match=r"learning_rate\(0\) has dtype"):
        split(lambda t: "fast", 5)


def test_minimize_takes_schedules_and_functions():
    def bowl(x):
        return np.sum(x**2)

    x0 = np.array([[1.0], [2.0]])
    for rate in (schedules.cosine(0.2, 5), lambda t: schedules.cosine(0.2, 5)(t)):
        res = fg.minimize(bowl, x0, method=fg.GD(rate), in_axes=0, maxiter=5, gtol=-1)
        assert_allclose(res.x, x0 * np.prod(1 - 2 * schedules.cosine(0.2, 5)(np.arange(5))), rtol=1e-12)
    res = fg.minimize(bowl, x0, method="gd", learning_rate=schedules.step([0.1, 0.2], 2), in_axes=0, maxiter=5, gtol=-1)
    assert_allclose(res.x, x0 * np.prod(1 - 2 * schedules.step([[0.1], [0.2]], 2)(np.arange(5)), 0), rtol=1e-12)
