from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawing import Case, bowl, descents, held, line_collections, marks, one, texts
from matplotlib.colors import to_hex

import fastgrad as fg
from fastgrad import plot


def test_paths_of_one_problem():
    res = one(descents(), 1)
    ax = plot.paths(res)
    (lines,) = line_collections(ax)
    (way,) = lines.get_segments()
    np.testing.assert_array_equal(way[: res.nit + 1], res.history.x[: res.nit + 1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x[0]", "x[1]")
    np.testing.assert_array_equal(marks(ax)["_start"], res.history.x[:1])
    np.testing.assert_array_equal(marks(ax)["_end"], [res.x])


def test_paths_ends_where_the_result_is():
    res = one(descents(steps=20), 2)  # stops after 18 steps
    res.history = SimpleNamespace(nit=res.history.nit[::5], fun=res.history.fun[::5], x=res.history.x[::5])
    (way,) = line_collections(plot.paths(res))[0].get_segments()
    np.testing.assert_array_equal(way, [*res.history.x[:4], res.x])

    best = one(descents(), 0)  # the last iterate is recorded, and is not the best
    best.x = best.history.x[-4]
    ax = plot.paths(best)
    np.testing.assert_array_equal(line_collections(ax)[0].get_segments()[0], best.history.x)
    np.testing.assert_array_equal(marks(ax)["_end"], [best.x])


def nested_descent(record="path", **more):
    def fun(p):
        return (p["a"] - 1) ** 2 + 3 * np.sum((p["b"] + 1) ** 2)

    x0 = {"a": np.linspace(-3, 3, 5), "b": np.ones((5, 1))}
    return fg.minimize(fun, x0, in_axes=0, method="gd", learning_rate=0.1, record=record, **more)


def test_nested_parameters_are_drawn_where_they_are_two_numbers():
    res = nested_descent()
    (lines,) = plot.paths(res).collections
    assert len(lines.get_segments()) == 5
    np.testing.assert_allclose(next(iter(lines.get_segments()))[0, 1], 1)
    ax = plot.convergence(res, quantity="distance", optimum={"a": 1.0, "b": [-1.0]})
    distance = np.hypot(res.history.x["a"] - 1, res.history.x["b"][..., 0] + 1)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(held(distance), axis=1))
    plot.convergence(res[0], quantity="distance")
    with pytest.raises(ValueError, match="problems of two parameters, and those of res have 3"):
        plot.paths(fg.minimize(lambda p: np.sum(p[0] ** 2) + p[1] ** 2, (np.ones(2), 1.0), record="path", maxiter=3))


def test_paths_shows_every_point():
    ax = plot.paths(descents())
    low, high = np.transpose([ax.get_xlim(), ax.get_ylim()])
    points = np.vstack(line_collections(ax)[0].get_segments())
    assert (points > low).all()
    assert (points < high).all()


@pytest.mark.parametrize(("n_paths", "drawn"), [(1, 1), (7, 7), (50, 40)])
def test_paths_of_a_batch_are_spread_over_the_final_values(n_paths, drawn):
    res = descents()
    (lines,) = line_collections(plot.paths(res, bowl, n_paths=n_paths))
    ends = np.array([way[-1] for way in lines.get_segments()])
    values = bowl(ends.T)
    assert len(values) == drawn
    assert values[0] == res.fun.min()
    if n_paths > 1:
        np.testing.assert_array_equal(values, np.sort(res.fun)[np.linspace(0, 39, drawn).round().astype(int)])


def test_paths_by_name():
    res = {"Adam": descents(), "momentum": one(descents(seed=1))}
    ax = plot.paths(res, bowl)
    lines = line_collections(ax)
    assert texts(ax) == ["Adam", "momentum"]
    assert [line.get_label() for line in lines] == ["Adam", "momentum"]
    assert to_hex(lines[0].get_color()[0]) != to_hex(lines[1].get_color()[0])


def test_paths_keep_excursions_out_of_the_picture():
    res = descents()
    res.history.x[5, 3] = 1e9
    res.history.x[6, 4] = np.inf
    ax = plot.paths(res, bowl)
    assert np.abs([ax.get_xlim(), ax.get_ylim()]).max() < 10
    ax.figure.canvas.draw()


def test_paths_that_do_not_move():
    res = descents()
    res.history.x[:] = res.x[:] = 1.0
    ax = plot.paths(res, bowl)
    assert ax.get_xlim()[0] < 1 < ax.get_xlim()[1]


def test_paths_on_axes_with_a_picture():
    ax = plt.subplots(1, 2)[1][1]
    assert plot.paths(descents(), bowl, ax=ax, xlim=(-5, 5), ylim=(-4, 6)) is ax
    plot.paths(descents(seed=2), ax=ax)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-5, 5), (-4, 6))


def test_paths_passes_settings_on():
    ax = plot.paths(descents(), bowl, color="#123456", linewidths=3, alpha=0.3, contour_kw={"cmap": "Greys"})
    (lines,) = line_collections(ax)
    assert to_hex(lines.get_color()[0]) == "#123456"
    assert (lines.get_linewidth()[0], lines.get_alpha()) == (3, 0.3)
    assert ax.collections[0].get_cmap().name == "Greys"
    assert {to_hex(line.get_color()) for line in ax.lines} == {"#123456"}


def filled(ax):
    return next(c for c in ax.collections if type(c).__name__.endswith("ContourSet") and c.filled)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_paths_levels_have_even_ratios(scale):
    ax = plot.paths(descents(), lambda x, c: c * np.sum((x - 1) ** 2), args=(scale,), levels=12)
    levels = filled(ax).levels
    ratios = levels[1:] / levels[:-1]
    assert len(levels) == 12
    assert ratios.max() / ratios.min() < 1.05


def test_paths_takes_levels():
    np.testing.assert_array_equal(filled(plot.paths(descents(), bowl, levels=[3, 1, 2])).levels, [1, 2, 3])


@pytest.mark.parametrize(
    "case",
    [
        Case("a function that is not traced", lambda x: float(x[0]) ** 2 + abs(float(x[1])), True),
        Case("undefined in places", lambda x: np.log(x[0]) if x[0] > 0 else np.nan, True),
        Case("flat", lambda x: 3.0, False),
    ],
    ids=lambda case: case.what,
)
def test_paths_contours_of(case):
    ax = plot.paths(descents(), case.values)
    assert any(type(c).__name__.endswith("ContourSet") for c in ax.collections) == case.expected
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    "case",
    [
        Case("history", {}, r"res has no history: pass record='path' to minimize"),
        Case("path", {}, r"res.history has no path, which paths needs: pass record='path' to minimize"),
        Case("three", {}, r"problems of two parameters, and those of res have 3"),
        Case("nan", {}, r"no finite path"),
        Case("n_paths", {"n_paths": 0}, r"n_paths must be at least 1; got 0"),
        Case("xlim", {"xlim": 3}, r"xlim must be two numbers; got 3"),
        Case("fun", {"fun": lambda x: x}, r"fun must return one number for a point; got 2"),
        Case("undefined", {"fun": lambda x: np.nan}, r"fun has no finite value within xlim and ylim"),
    ],
    ids=lambda case: case.what,
)
def test_paths_errors(case):
    res = descents()
    if case.what == "history":
        res.history = None
    elif case.what == "path":
        res.history.x = None
    elif case.what == "three":
        res.history.x, res.x = np.zeros((31, 40, 3)), np.zeros((40, 3))
    elif case.what == "nan":
        res.history.x[:] = np.nan
    with pytest.raises(ValueError, match=case.expected):
        plot.paths(res, **case.values)


def test_paths_errors_name_the_result():
    with pytest.raises(ValueError, match=r"res\['Adam'\] has no history"):
        plot.paths({"Adam": SimpleNamespace(history=None, fun=0.0)})
    with pytest.raises(ValueError, match="empty dict"):
        plot.paths({})
