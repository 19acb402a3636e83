import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.collections import FillBetweenPolyCollection, LineCollection  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402

import fastgrad as fg  # noqa: E402
from fastgrad import plot  # noqa: E402


class Case(NamedTuple):
    what: str
    values: object
    expected: object


@pytest.fixture(autouse=True)
def _leaves_matplotlib_alone(monkeypatch):
    settings = dict(matplotlib.rcParams)
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("show was called"))
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


def descents(instances=40, steps=30, rate=0.1, seed=0):
    """Descend on |x - 1|^2 in two parameters; the i-th instance stops after steps - i % 5 steps."""
    x = np.empty((steps + 1, instances, 2))
    x[0] = np.random.default_rng(seed).normal(size=(instances, 2))
    for k in range(steps):
        x[k + 1] = x[k] - 2 * rate * (x[k] - 1)
    nit = steps - np.arange(instances) % 5
    x[np.arange(steps + 1)[:, None] > nit] = np.nan
    fun = bowl(x.T).T
    last = x[nit, np.arange(instances)]
    history = SimpleNamespace(nit=np.arange(steps + 1), fun=fun, x=x)
    return SimpleNamespace(x=last, fun=bowl(last.T), nit=nit, history=history)


def one(res, i=0):
    history = SimpleNamespace(nit=res.history.nit, fun=res.history.fun[:, i], x=res.history.x[:, i])
    return SimpleNamespace(x=res.x[i], fun=res.fun[i], nit=res.nit[i], history=history)


def with_values(fun):
    fun = np.asarray(fun, dtype=float)
    nit = np.sum(~np.isnan(fun), axis=0) - 1
    history = SimpleNamespace(nit=np.arange(len(fun)), fun=fun, x=None)
    return SimpleNamespace(fun=fun[-1], nit=nit, history=history)


def bowl(x):
    return np.sum((x - 1) ** 2, axis=0)


def held(values):
    values = values.copy()
    for k in range(1, len(values)):
        values[k] = np.where(np.isnan(values[k]), values[k - 1], values[k])
    return values


def ribbon(ax):
    """Lower and upper edge by iteration of the only ribbon on ax."""
    (area,) = (c for c in ax.collections if isinstance(c, FillBetweenPolyCollection))
    x, y = area.get_paths()[0].vertices.T
    steps = np.unique(x)
    return (
        np.array([y[x == step].min() for step in steps]),
        np.array([y[x == step].max() for step in steps]),
    )


def marks(ax):
    return {line.get_label(): line.get_xydata() for line in ax.lines}


def line_collections(ax):
    return [c for c in ax.collections if isinstance(c, LineCollection)]


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_import_leaves_matplotlib_out():
    code = "import sys, fastgrad.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- convergence ----


def test_convergence_of_one_problem_is_a_line():
    res = one(descents(), 3)
    ax = plot.convergence(res)
    (line,) = ax.lines
    reached = res.nit + 1
    np.testing.assert_array_equal(line.get_xdata(), np.arange(reached))
    np.testing.assert_array_equal(line.get_ydata(), res.history.fun[:reached])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("iteration", "fun(x)", "log")
    assert not ax.collections
    assert ax.get_legend() is None


@pytest.mark.parametrize("percentiles", [(5, 95), (25, 75), (0, 100)])
@pytest.mark.parametrize("block", [2**20, 100, 1])
def test_convergence_of_a_batch(monkeypatch, percentiles, block):
    monkeypatch.setattr(plot, "_BLOCK", block)
    res = descents()
    fun = held(res.history.fun)
    ax = plot.convergence(res, percentiles=percentiles)
    median, best = ax.lines
    np.testing.assert_allclose(median.get_ydata(), np.median(fun, axis=1), rtol=1e-14)
    np.testing.assert_array_equal(best.get_ydata(), fun[:, np.argmin(res.fun)])
    low, high = ribbon(ax)
    np.testing.assert_allclose([low, high], np.percentile(fun, percentiles, axis=1), rtol=1e-14)
    assert texts(ax)[0] == "median of 40"


def test_convergence_names_its_percentiles():
    assert "1st to 92nd percentile" in texts(plot.convergence(descents(), percentiles=(1, 92)))
    assert "2.5th to 13th percentile" in texts(plot.convergence(descents(), percentiles=(2.5, 13)))


@pytest.mark.parametrize("each", [False, True])
def test_convergence_subtracts_the_optimum(each):
    res = descents()
    res.history.fun += 7.0
    optimum = np.full(40, 7.0) if each else 7.0
    ax = plot.convergence(res, optimum=optimum)
    expected = np.median(held(res.history.fun - 7.0), axis=1)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected, rtol=1e-14)
    assert (ax.get_ylabel(), ax.get_yscale()) == ("fun(x) − optimum", "log")


def test_convergence_at_the_optimum_stays_on_the_log_axis():
    fun = np.array([[4.0, 4.0], [1.0, 0.25], [1e-4, 0.0], [1e-4, -1e-16]])
    ax = plot.convergence(with_values(1.0 + fun), optimum=1.0)
    assert ax.get_yscale() == "log"
    assert all(line.get_ydata().min() > 0 for line in ax.lines)


def test_convergence_best_is_the_first_of_those_that_end_lowest():
    fun = [[3.0, 5.0, 9.0], [2.0, 1.0, 9.0], [1.0, np.nan, 9.0]]
    best = plot.convergence(with_values(fun)).lines[1]
    np.testing.assert_array_equal(best.get_ydata(), [5.0, 1.0, 1.0])


def test_convergence_of_the_distance():
    res = descents()
    ax = plot.convergence(res, quantity="distance", optimum=[1.0, 1.0])
    distance = held(np.linalg.norm(res.history.x - 1.0, axis=-1))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(distance, axis=1), rtol=1e-14)
    assert ax.get_ylabel() == "distance of x from the optimum"
    (line,) = plot.convergence(one(res, 2), quantity="distance").lines
    assert line.get_ydata()[-1] == 0 or line.get_ydata()[-1] == line.get_ydata().min()


@pytest.mark.parametrize(
    "case",
    [
        Case("positive over decades", [1e3, 1.0, 1e-3], "log"),
        Case("positive and close together", [0.7, 0.5, 0.4], "linear"),
        Case("down to zero", [1e3, 1.0, 0.0], "log"),
        Case("negative at the end", [3.0, 1.0, -2.0], "linear"),
        Case("a far swing around small values", [1e6, -2.0, -3.0, -3.1, -3.2], "symlog"),
        Case("constant", [2.0, 2.0], "linear"),
        Case("zero throughout", [0.0, 0.0], "linear"),
        Case("diverging", [1.0, 1e100, np.inf], "log"),
    ],
    ids=lambda case: case.what,
)
def test_convergence_scale(case):
    ax = plot.convergence(with_values(case.values))
    assert ax.get_yscale() == case.expected
    ax.figure.canvas.draw()


def test_convergence_leaves_out_instances_without_a_value():
    res = descents()
    fun = res.history.fun
    fun[:, [0, 7, 39]] = np.nan
    ax = plot.convergence(res)
    expected = np.median(held(np.delete(fun, [0, 7, 39], axis=1)), axis=1)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected, rtol=1e-14)
    assert texts(ax)[0] == "median of 37"


def test_convergence_with_diverging_instances():
    fun = np.geomspace(1, 1e-3, 20)[:, None] * np.ones(10)
    fun[5:, :3] = np.inf
    ax = plot.convergence(with_values(fun))
    ax.figure.canvas.draw()
    assert ax.get_yscale() == "log"
    assert np.isnan(ax.lines[0].get_ydata()).sum() == 0


def test_convergence_draws_no_further_than_the_last_step():
    res = descents(steps=30)
    pad = np.full((100, 40), np.nan)
    res.history.fun = np.vstack([res.history.fun, pad])
    res.history.nit = np.arange(131)
    assert plot.convergence(res).lines[0].get_xdata()[-1] == 30


def test_convergence_of_several_on_one_axes():
    ax = plt.subplots(2, 2)[1][0, 1]
    ax.set_xlabel("mine")
    for name in ("Adam", "momentum"):
        assert plot.convergence(descents(), ax=ax, label=name) is ax
    assert texts(ax) == ["Adam", "momentum"]
    assert to_hex(ax.lines[0].get_color()) != to_hex(ax.lines[2].get_color())
    assert ax.get_xlabel() == "mine"


@pytest.mark.parametrize("name", ["color", "c"])
def test_convergence_passes_settings_on(name):
    ax = plot.convergence(descents(), **{name: "#123456"}, linestyle=":", lw=3)
    assert to_hex(ax.lines[0].get_color()) == to_hex(ax.lines[1].get_color()) == "#123456"
    assert (ax.lines[0].get_linestyle(), ax.lines[0].get_linewidth()) == (":", 3)
    assert to_hex(ax.collections[0].get_facecolor()[0]) == "#123456"


@pytest.mark.parametrize(
    "case",
    [
        Case("history", {}, r"res has no history: pass record='fun' to minimize"),
        Case("path", {"quantity": "distance"}, r"no path.*pass record='path'"),
        Case("quantity", {"quantity": "speed"}, r"quantity must be one of 'fun', 'gradient_norm', .*; got 'speed'"),
        Case("percentiles", {"percentiles": (95, 5)}, r"percentiles must be two numbers"),
        Case("percentiles", {"percentiles": 5}, r"percentiles must be two numbers; got 5"),
        Case(
            "optimum",
            {"optimum": [1.0, 2.0]},
            r"optimum has shape \(2,\).*a number or one for each of 40 problems",
        ),
        Case("optimum", {"optimum": [1.0, 2.0, 3.0], "quantity": "distance"}, r"optimum has shape \(3,\)"),
        Case("optimum", {"optimum": 1.0, "quantity": "step"}, r"optimum is for quantity='fun' or 'distance'"),
    ],
    ids=lambda case: case.what,
)
def test_convergence_errors(case):
    res = descents()
    if case.what == "history":
        res.history = None
    if case.what == "path":
        res.history.x = None
    with pytest.raises(ValueError, match=case.expected):
        plot.convergence(res, **case.values)
    assert not plt.get_fignums()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [(5,), (5, 3)])
def test_convergence_without_a_finite_value(value, shape):
    with pytest.raises(ValueError, match="no finite value"):
        plot.convergence(with_values(np.full(shape, value)))


# ---- paths ----


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


# ---- results of minimize


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
@pytest.mark.parametrize("quantity", ["fun", "gradient_norm", "step"])
def test_convergence_draws_every_quantity_of_a_history(method, quantity):
    starts = np.random.default_rng(0).normal(size=(30, 2))
    res = fg.minimize(lambda x: np.sum((x - 1) ** 4), starts, in_axes=0, method=method, maxiter=40, record="fun")
    recorded = getattr(res.history, quantity)
    first = int(quantity == "step")  # none leads to the start
    ax = plot.convergence(res, quantity=quantity)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), res.history.nit[first:])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(held(recorded[first:]), axis=1))
    (line,) = plot.convergence(res[3], quantity=quantity).lines
    np.testing.assert_array_equal(line.get_ydata(), recorded[first : res.nit[3] + 1, 3])
    assert {"fun": "fun(x)", "gradient_norm": "largest component of the gradient", "step": "length of the step"}[
        quantity
    ] == ax.get_ylabel()


def test_a_descent_without_steps_has_none_to_draw():
    res = fg.minimize(lambda x: np.sum(x**2), np.ones(2), maxiter=0, record="fun")
    with pytest.raises(ValueError, match="no finite value of 'step'"):
        plot.convergence(res, quantity="step")


def test_large_batches_and_plain_matplotlib():
    starts = np.random.default_rng(0).uniform(-2, 2, (10_000, 2))
    res = fg.minimize(lambda x: np.sum((x**2 - 1) ** 2), starts, in_axes=0, method="lbfgs", record="path")
    for draw in (plot.convergence, plot.paths, plot.outcomes):
        draw(res).figure.canvas.draw()
    some = res.history[:20]
    axes = plt.subplots(1, 3)[1]
    axes[0].semilogy(some.nit, some.fun)
    axes[1].plot(*some.x.T)
    axes[2].plot(res.history.nit, res.history.gradient_norm[:, 0])
    axes[0].figure.canvas.draw()


def test_outcomes_are_points_by_status():
    x0 = np.concatenate([np.linspace(-2, 2, 20), [np.nan, 1e200]])[:, None]
    res = fg.minimize(lambda x: np.sum((x**2 - 1) ** 2), x0, in_axes=0, learning_rate=0.03, maxiter=90, gtol=1e-3)
    ax = plot.outcomes(res, markersize=4)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sum(int(label.split()[0]) for label in labels) == 22
    assert labels[-1] == "2 without a finite value"
    drawn = {line.get_label(): line for line in ax.lines}
    for code, name in [(0, "converged (gtol)"), (1, "out of iterations")]:
        mine = (res.status == code) & np.isfinite(res.fun)
        line = drawn[f"{np.count_nonzero(mine)} {name}"]
        np.testing.assert_array_equal(line.get_xdata(), res.nit[mine])
        np.testing.assert_array_equal(line.get_ydata(), res.fun[mine])
        assert line.get_markersize() == 4
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("iterations", "fun(x)")
    assert plot.outcomes(res, optimum=-1.0).get_ylabel() == "fun(x) − optimum"
    plot.outcomes(res[0])
    plot.outcomes(fg.minimize(lambda x: np.sum(x**2), np.ones(3), callback=lambda x: next(iter(())), maxiter=5))
    with pytest.raises(ValueError, match="no finite value"):
        plot.outcomes(res[-2:-1])
