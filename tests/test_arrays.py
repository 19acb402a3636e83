"""The border: whatever NumPy reads as real numbers comes in as clean floats, everything else is refused by name."""

import array
import decimal
import fractions

import numpy as np
import pytest
from helpers import Subclass, disguises

import fastgrad as fg
from fastgrad._arrays import as_floats, is_number_array

X = np.random.default_rng(0).normal(size=(3, 4))


def assert_clean(x, dtype, shape):
    assert type(x) is np.ndarray
    assert x.dtype == dtype
    assert x.dtype.isnative
    assert x.flags.c_contiguous
    assert x.flags.aligned
    assert x.shape == shape


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_odd_layouts_become_clean_copies(dtype):
    x = X.astype(dtype)
    for name, odd in disguises(x).items():
        result = as_floats(odd, "x")
        assert_clean(result, dtype, (3, 4))
        np.testing.assert_array_equal(result, x, err_msg=name)
    row = np.broadcast_to(x[0], (5, 4))
    np.testing.assert_array_equal(as_floats(row, "x"), row.copy())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0, 3)])
def test_a_clean_array_is_taken_as_it_is(dtype, shape):
    x = np.ones(shape, dtype)
    assert as_floats(x, "x") is x


def test_what_is_read_only_may_be_shared_but_is_never_made_writable():
    x = X.copy()
    x.flags.writeable = False
    result = as_floats(x, "x")
    assert not np.shares_memory(result, x) or not result.flags.writeable
    assert not x.flags.writeable


@pytest.mark.parametrize("code", ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "d", "g", ">d", "<i2", ">i8"])
def test_integers_truth_values_and_wide_floats_become_float64(code):
    x = np.array([[0, 1], [1, 2]]).astype(code)
    for value in (x, x[:, ::-1], x[0, 0], x[()]):
        result = as_floats(value, "x")
        assert_clean(result, np.float64, np.shape(value))
        np.testing.assert_array_equal(result, np.asarray(value, np.float64))


@pytest.mark.parametrize("code", ["e", "f", ">f", ">e"])
def test_narrow_floats_become_float32(code):
    x = np.array([0.1, -2.5, np.nan, np.inf]).astype(code)
    result = as_floats(x, "x")
    assert_clean(result, np.float32, (4,))
    np.testing.assert_array_equal(result, x.astype(np.float32))


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (3, ()),
        (2.5, ()),
        (True, ()),
        (np.float64(1), ()),
        (np.array(1.0), ()),
        ([1, 2.5], (2,)),
        (((1, 2), (3, 4)), (2, 2)),
        ([], (0,)),
        ([np.ones(2), np.zeros(2)], (2, 2)),
        (range(4), (4,)),
        (array.array("d", [1, 2]), (2,)),
        (memoryview(np.ones((2, 3))), (2, 3)),
        (X.view(Subclass), (3, 4)),
    ],
)
def test_shapes_are_kept(value, shape):
    assert_clean(as_floats(value, "x"), np.float64, shape)


def test_a_broadcast_scalar_of_absurd_shape_is_refused_not_allocated():
    with pytest.raises((MemoryError, ValueError)):
        as_floats(np.broadcast_to(0.0, (2**31, 2**31)), "x")


@pytest.mark.parametrize(
    "value",
    [
        1j,
        np.ones(2, complex),
        np.ones(2, np.complex64),
        None,
        "1.0",
        b"1",
        np.array(["1.0"]),
        object(),
        {"a": 1},
        {1.0},
        [1.0, None],
        [1.0, "a"],
        [[1.0], [1.0, 2.0]],
        decimal.Decimal(1),
        fractions.Fraction(1, 2),
        10**400,
        np.array([1.0, 2], object),
        np.datetime64("2020-01-01"),
        np.zeros(2, [("a", float)]),
        np.ma.masked_array([1.0, 2.0], [False, True]),
        np.ma.masked_array([1.0, 2.0]),
        lambda x: x,
    ],
    ids=repr,
)
def test_what_is_not_real_numbers_is_refused_by_name(value):
    with pytest.raises(TypeError, match="the_argument"):
        as_floats(value, "the_argument")


def test_data_and_settings_are_told_apart():
    for data in (1.0, np.float32(1), X, np.array(1), np.array(["a"])):
        assert is_number_array(data)
    for setting in (1, True, "a", None, len, b"x"):
        assert not is_number_array(setting)


def test_what_broadcast_arrays_gives_is_taken_without_a_warning():
    x, _ = np.broadcast_arrays(np.ones(3), np.ones((2, 3)))
    assert fg.value_and_grad(lambda x: np.sum(x**2))(x)[0] == 6
    same, _ = np.broadcast_arrays(np.ones(3), 0.0)
    assert fg.minimize(lambda x: np.sum(x**2), same, bounds=fg.Bounds(-same, same), maxiter=2).nit == 2
