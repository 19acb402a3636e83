"""The border of training data: what is read where it is, what is converted, and what is refused."""

import dataclasses

import numpy as np
import pytest
from helpers import disguises
from test_training import examples, logistic_task, run

import fastgrad as fg
from fastgrad._dense.sources import KINDS, class_weights, held_out, make_data


def array_of(value, **options):
    (source,) = make_data({"X": value}, **options).sources
    return source.array


# ---- no copies


@pytest.mark.parametrize("dtype", KINDS)
def test_arrays_of_every_kind_are_read_where_they_are(dtype):
    x = np.arange(24).reshape(6, 4).astype(dtype)
    views = [x, x[::2], x[::-1, 1:], x.T, np.broadcast_to(x[0], (5, 4)), np.asfortranarray(x), x[:, 0]]
    raw = np.zeros(x.nbytes + 1, np.uint8)
    views += [raw[1:].view(dtype).reshape(x.shape)]
    for view in views:
        frozen = view.view()
        frozen.flags.writeable = False
        for value in (view, frozen):
            found = array_of(value)
            assert np.shares_memory(found, value)
            assert found.strides == value.strides
            assert found.dtype == dtype


def test_a_file_is_read_where_it_is(tmp_path):
    X = np.random.default_rng(0).integers(0, 255, (40, 3), dtype=np.uint8)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(array_of(mapped), mapped)
    y = X[:, 0] > X[:, 1]
    found, _ = run(logistic_task(), make_data({"X": mapped, "y": y}, scale=1 / 255))
    expected, _ = run(logistic_task(), make_data({"X": X / 255, "y": y}))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.int16, np.uint16, np.uint32, np.uint64, ">f8", ">i4"])
def test_other_kinds_are_converted(dtype):
    x = np.arange(12).reshape(6, 2).astype(dtype)
    found = array_of(x)
    assert found.dtype in (np.float64, np.float32)
    np.testing.assert_array_equal(found, x)


def test_every_disguise_gives_the_numbers_of_its_clean_copy():
    X, y = (source.array for source in examples().sources)
    expected, _ = run(logistic_task(), make_data({"X": X, "y": y}))
    for name, disguise in disguises(X).items():
        found, _ = run(logistic_task(), make_data({"X": disguise, "y": y.tolist()}))
        np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize("dtype", KINDS)
def test_scale_and_shift(dtype):
    X = np.random.default_rng(0).integers(0, 2 if dtype.kind == "b" else 200, (30, 3)).astype(dtype)
    y = np.arange(30) % 2
    found, _ = run(logistic_task(), make_data({"X": X, "y": y}, scale=(0.5, -1.0)))
    expected, _ = run(logistic_task(), make_data({"X": X * 0.5 - 1.0, "y": y}))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# ---- refusals


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({}, ValueError, "data holds no array"),
        ({"X": np.zeros((3, 2)), "y": np.zeros(4)}, fg.ShapeError, "the numbers of rows differ: X has 3, y has 4"),
        ({"X": np.zeros((0, 2)), "y": np.zeros(0)}, ValueError, "X and y have no rows"),
        ({"X": np.zeros((0, 2))}, ValueError, "X has no rows"),
        ({"X": 3.0}, fg.ShapeError, "X is a single number"),
        ({"X": np.zeros(3, complex)}, TypeError, "X has dtype complex128"),
        ({"X": ["a", "b"]}, TypeError, "X has dtype"),
        ({"X": np.array([None, 1.0])}, TypeError, "X has dtype object"),
        ({"X": np.ma.masked_array([1.0, 2.0], [True, False])}, TypeError, "X is a masked array"),
        ({"X": [[1.0], [1.0, 2.0]]}, TypeError, "X does not make an array"),
    ],
)
def test_arrays_that_are_refused(arrays, error, message):
    with pytest.raises(error, match=message):
        make_data(arrays)


@pytest.mark.parametrize("scale", ["1", (1.0,), (1.0, 2.0, 3.0), np.nan, (1.0, np.inf), True])
def test_scales_that_are_refused(scale):
    with pytest.raises(ValueError, match="scale must be"):
        make_data({"X": np.zeros(3)}, scale=scale)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(4), r"sample_weight has shape \(4,\): give one weight for each of the 3 rows"),
        (np.ones((3, 1)), "sample_weight has shape"),
        ([1.0, -0.5, 1.0], "sample_weight must be finite and not negative, got -0.5 for row 1"),
        ([1.0, 1.0, np.nan], "sample_weight must be finite and not negative, got nan for row 2"),
        ([0.0, 0.0, 0.0], "sample_weight is zero for every row"),
    ],
)
def test_weights_that_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        make_data({"X": np.zeros(3)}, weights=weights)


# ---- classes


@pytest.mark.parametrize("factor", [1e-306, 1e306])
def test_extreme_weights_count_in_proportion(factor):
    plain = np.array([1.0, 2.0, 0.0, 5.0])
    weights = make_data({"X": np.zeros((4, 2))}, weights=factor * plain).weights
    assert 0.1 < weights.max() < 10
    np.testing.assert_allclose(weights / weights[0], plain, rtol=1e-15)
    np.testing.assert_array_equal(make_data({"X": np.zeros((4, 2))}, weights=plain).weights, plain)


def test_class_weights():
    labels = np.array(["a", "b", "b", "b"])
    np.testing.assert_allclose(class_weights("balanced", labels, 4), [2, 2 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(class_weights({"a": 5.0}, labels, 4), [5, 1, 1, 1])
    weights = make_data({"X": np.zeros(4)}, weights=[1, 2, 3, 4], class_weight={"b": 0.5}, labels=labels).weights
    np.testing.assert_allclose(weights, [1, 1, 1.5, 2])
    with pytest.raises(ValueError, match="class_weight names 'c', which is no class of the data"):
        class_weights({"c": 1.0}, labels, 4)
    with pytest.raises(ValueError, match="class_weight must be a dict of weights by class, or 'balanced'"):
        class_weights("equal", labels, 4)
    with pytest.raises(TypeError, match="class_weight has dtype"):
        class_weights({"a": "much"}, labels, 4)
    with pytest.raises(ValueError, match="class_weight is for classes, but the loss has none"):
        class_weights("balanced", None, 4)
    with pytest.raises(fg.ShapeError, match="class_weight needs one class for each of the 4 rows"):
        class_weights("balanced", np.zeros((4, 2)), 4)
    with pytest.raises(ValueError, match="class_weight must be finite and not negative, got -1"):
        make_data({"X": np.zeros(4)}, class_weight={"a": -1.0}, labels=labels)


# ---- held out


def test_rows_are_held_out_by_a_seed():
    data = examples(100, weights=np.arange(100.0))
    found = held_out(data, 0.2, np.random.default_rng(1))
    kept, validation = found.rows[0], found.validation
    assert (len(kept), validation.n_rows) == (80, 20)
    held = np.setdiff1d(np.arange(100), kept)
    for source, part in zip(data.sources, validation.sources, strict=True):
        np.testing.assert_array_equal(source.array[held], part.array)
    np.testing.assert_array_equal(validation.weights, data.weights[held])
    np.testing.assert_array_equal(held_out(data, 0.2, np.random.default_rng(1)).rows, found.rows)
    assert not np.array_equal(held_out(data, 0.2, np.random.default_rng(2)).rows, found.rows)
    assert all(np.shares_memory(a.array, b.array) for a, b in zip(data.sources, found.sources, strict=True))


def test_only_the_rows_that_are_kept_are_trained_with():
    """The others are NaN, so that one of them would show."""
    data = held_out(examples(), 0.3, np.random.default_rng(0))
    held = np.setdiff1d(np.arange(50), data.rows[0])
    data.sources[0].array[held] = np.nan
    assert run(logistic_task(), data)[1].success


def test_held_out_classes_keep_their_shares():
    labels = np.repeat([0, 1, 2, 3], [600, 300, 90, 10])
    data = make_data({"X": np.arange(1000.0), "y": labels})
    for seed in range(5):
        found = held_out(data, 0.1, np.random.default_rng(seed), labels).validation
        np.testing.assert_array_equal(np.bincount(found.sources[1].array), [60, 30, 9, 1])
    assert held_out(data, 1e-9, np.random.default_rng(0)).validation.n_rows == 1
    assert held_out(data, 1 - 1e-9, np.random.default_rng(0)).validation.n_rows == 999


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2, np.nan, "half", (1, 2, 3)])
def test_shares_that_are_refused(share):
    with pytest.raises(ValueError, match="validation must be data like that to train with, or a share"):
        held_out(examples(), share, np.random.default_rng(0))


def test_nothing_is_left_to_hold_out():
    with pytest.raises(ValueError, match=r"validation=0.5 needs at least 2 rows, got 1"):
        held_out(make_data({"X": [1.0]}), 0.5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="leaves only rows of weight zero on one side"):
        held_out(make_data({"X": np.zeros(4)}, weights=[0, 0, 0, 1]), 0.5, np.random.default_rng(0))


# ---- what is looked at only when a training failed


def test_what_is_not_finite():
    X = np.zeros((100_000, 3), np.float32)
    data = make_data({"X": X, "y": np.zeros(100_000, np.int64), "z": np.zeros(100_000)})
    assert data.non_finite() == []
    X[-1, -1] = np.nan
    data.sources[2].array[3] = np.inf
    assert data.non_finite() == ["X", "z"]
    assert dataclasses.replace(data, sources=data.sources[1:2], names=("y",)).non_finite() == []
