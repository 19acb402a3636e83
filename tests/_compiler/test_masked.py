"""What a traced mask picks: functions as they are found in other people's programs, against differences."""

import numpy as np
import pytest

import fastgrad as fg
from fastgrad.errors import TraceError

X = np.array([0.7, -1.2, 0.0, 2.5, -0.3])


def masked_assignment(x):
    d = x * 2
    d[x < 0] = 3.0
    return np.sum(d * x)


def masked_assignment_by_places(x):
    d = np.zeros_like(x)
    d[:] = x**2
    d[np.where(np.abs(x) < 0.1)] = 1e-3
    d[np.where(x > 2)[0]] = 7.0
    d[np.nonzero(x > 1)] += 1.5
    d[np.flatnonzero(x < -1)] *= x[0]
    return np.sum(np.sqrt(d + 1))


def augmented(x):
    d = np.exp(x)
    d[x > 0] += 2.0
    d[x > 0] *= x[x > 0]
    d[~(x > 0)] /= 3.0
    return np.sum(d)


def picked_and_put(x):
    d = np.ones(5)
    mask = x != 0
    d[mask] = np.sin(1.0 / x[mask]) * x[mask] ** 6
    return np.sum(d**2)


def no_division_by_zero(x):
    if_any = x[x != 0]
    return np.sum(np.power(if_any, 6.0) * (2.0 + np.sin(1.0 / if_any)))


def rows(x):
    d = np.outer(x, np.arange(1.0, 4.0))
    d[x > 0] = [1.0, 2.0, 3.0]
    d[x < -1] *= np.array([2.0, 0.5, 1.0])
    return np.sum(d * d)


def statistics(x):
    above = x[x > -0.5]
    return above.sum() + 3 * np.mean(above) + above.max() * np.min(above) + above.size + np.prod(2 - above)


def written_by_functions(x):
    out = np.zeros(x.shape)
    np.place(out, x > 0, np.log(np.extract(x > 0, x)))
    np.place(out, x < -1, 4.0)
    np.putmask(out, x == 0, x + 0.25)
    np.copyto(out, x**3, where=(x < 0) & (x > -1))
    return np.sum(out * np.arange(5))


def places_as_numbers(x):
    (at,) = np.where(x > 0)
    return np.sum(at * x[at]) + 0.0 * at.size


FUNCTIONS = [
    masked_assignment, masked_assignment_by_places, augmented, picked_and_put, no_division_by_zero, rows, statistics,
    written_by_functions, places_as_numbers,
]  # fmt: skip


@pytest.mark.parametrize("fun", FUNCTIONS, ids=lambda fun: fun.__name__)
def test_masks_as_others_write_them(fun):
    for x in (X, X[::-1].copy(), X * 0.5):
        value, _ = fg.value_and_grad(fun)(x)
        assert value == pytest.approx(fun(x), rel=1e-14)
    smooth = X + 0.01  # off the kinks
    check = fg.check_grad(fun, smooth)
    assert check, str(check)


def test_what_is_left_out_contributes_nothing():
    np.testing.assert_array_equal(
        fg.grad(lambda x: np.sum(np.sqrt(x[x > 0])))(np.array([4.0, 0.0, -1.0])), [0.25, 0, 0]
    )


@pytest.mark.parametrize(
    ("fun", "met"),
    [
        (lambda x: x[x > 0], "picks"),
        (lambda x: np.sum(x[x > 0] * x[x > 1]), "another mask"),
        (lambda x: np.sum(x[x > 0] + np.arange(5)), r"shape \(5,\)"),
        (lambda x: x[x > 0][0], "an element"),
        (lambda x: sum(x[x > 0]), "one element after another"),
        (lambda x: len(x[x > 0]) * x[0], "length"),
        (lambda x: np.sort(x[x > 0])[0], "np.sort"),
        (lambda x: np.sum(np.outer(x, x)[x > 0], axis=0)[0], "axis 0"),
        (lambda x: np.cumsum(x[x > 0]), "cumsum"),
        (lambda x: x[x > 0].reshape(2, 1), "reshape"),
    ],
)
def test_what_depends_on_how_many_there_are_is_refused(fun, met):
    with pytest.raises(TraceError, match=met) as caught:
        fg.grad(fun)(X)
    assert "np.where(mask, x, 0.0)" in str(caught.value)


def test_values_for_an_unknown_number_of_elements_are_refused():
    def fun(x):
        d = x.copy()
        d[x > 0] = [1.0, 2.0]
        return np.sum(d)

    with pytest.raises(TraceError, match="which elements it has"):
        fg.grad(fun)(X)


# ---- elements and whole numbers


def test_elements_stay_traced():
    def fun(x):
        first, *rest = (x * x).tolist()
        return first * x[1:2].item() + sum(rest) * x.item(3) + np.outer(x, x).item((0, 1)) + np.sum(x).tolist()

    check = fg.check_grad(fun, X)
    assert check, str(check)
    assert fg.value_and_grad(fun)(X)[0] == pytest.approx(fun(X))


def test_whole_numbers_are_truncated_and_have_derivative_zero():
    def fun(x):
        n = x.astype(int)
        return np.sum(x * n) + int(x[3]) * x[0] + np.int64(x[1]) * x[1] + np.array(x * 3, dtype=int)[0] * x[2]

    value, gradient = fg.value_and_grad(fun)(X)
    assert value == fun(X)
    np.testing.assert_allclose(gradient, X.astype(int) + np.array([2, -1, 2, 0, 0]))


def test_questions_about_memory_and_device():
    def fun(x):
        y = x * 2
        z = y.copy() if np.may_share_memory(x, y) or not np.shares_memory(y, y[1:]) else y
        z.fill(x[1].item())
        return np.sum(z) * (x.device == "cpu")

    np.testing.assert_array_equal(fg.grad(fun)(X), [0, 5, 0, 0, 0])
