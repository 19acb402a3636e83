import math

import numpy as np
import pytest
from drawing import Case, texts

from fastgrad import plot

EPS = np.finfo(float).eps


def smooth(x):
    return np.exp(np.sin(x))


def slope_of_smooth(x):
    return np.cos(x) * np.exp(np.sin(x))


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def curves(ax):
    return {line.get_label(): line.get_xydata() for line in ax.lines if not line.get_label().startswith("_")}


def slopes(ax):
    """Of the dashed lines, in the order of the methods; that of rounding is the last."""
    lines = [np.log(line.get_xydata()) for line in ax.lines if line.get_label() == "_slope"]
    return [(y[-1] - y[0]) / (x[-1] - x[0]) for x, y in (line.T for line in lines)]


def test_errors_of_a_derivative_by_step():
    h = np.geomspace(1e-12, 1e-1, 12)
    ax = plot.step_sweep(smooth, 0.7, steps=h, exact=slope_of_smooth(0.7), methods=["2-point", "3-point"])
    drawn = curves(ax)
    up, down = 0.7 + h, 0.7 - h
    forward = np.abs((smooth(up) - smooth(0.7)) / (up - 0.7) - slope_of_smooth(0.7))
    central = np.abs((smooth(up) - smooth(down)) / (up - down) - slope_of_smooth(0.7))
    for name, error in [("2-point (forward)", forward), ("3-point (central)", central)]:
        x, y = drawn[name].T
        np.testing.assert_array_equal(x, h)
        np.testing.assert_allclose(y, error, atol=20 * EPS * smooth(0.7) / h.min(), rtol=0)
        np.testing.assert_allclose(y[6:], error[6:], rtol=1e-3)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step h", "error of the derivative")


@pytest.mark.parametrize("x0", [0.7, -3.0], ids=str)
def test_diamonds_are_the_steps_and_errors_of_scipy(x0):
    derivative = pytest.importorskip("scipy.optimize._numdiff").approx_derivative
    ax = plot.step_sweep(smooth, x0, exact=slope_of_smooth)
    diamonds = [line.get_xydata()[0] for line in ax.lines if line.get_label() == "_customary"]
    steps = [EPS ** (1 / 2), EPS ** (1 / 3), EPS ** (1 / 2)]
    for (h, error), method, step in zip(diamonds, ("2-point", "3-point", "cs"), steps, strict=True):
        assert h == pytest.approx(step)
        theirs = derivative(lambda x: smooth(x[0]), np.array([x0]), method=method)[0]
        floor = 0.5 * EPS * abs(slope_of_smooth(x0))
        assert error == pytest.approx(max(abs(theirs - slope_of_smooth(x0)), floor), rel=1e-3, abs=4 * EPS)
    assert ax.get_xlabel() == ("step h" if abs(x0) < 1 else "step h / max(1, |x|)")


def test_dashed_lines_have_the_powers_of_the_methods():
    ax = plot.step_sweep(smooth, 1.0, methods=["2-point", "3-point", 4, 6, "cs"])
    np.testing.assert_allclose(slopes(ax), [1, 2, 4, 6, 2, -1], rtol=1e-9)
    assert [text.get_text() for text in ax.texts] == ["$1/h$", "$h$", "$h^{2}$", "$h^{4}$", "$h^{6}$"]  # h² once
    forward = curves(ax)["2-point (forward)"]
    ends = next(line for line in ax.lines if line.get_label() == "_slope").get_xydata()
    middle = np.log(ends).mean(axis=0)
    assert np.interp(middle[0], *np.log(forward).T) == pytest.approx(middle[1], abs=0.05)
    np.testing.assert_allclose(slopes(plot.step_sweep(smooth, 1.0, derivative=2)), [1, 2, -2], rtol=1e-9)
    assert slopes(plot.step_sweep(smooth, 1.0, slopes=False)) == []


@pytest.mark.parametrize("derivative", [1, 2, 3])
@pytest.mark.parametrize("methods", [["3-point"], ["2-point", "3-point"], ["2-point", "3-point", 4], [2, 4, 6], [8, 2]])
def test_names_of_powers_touch_nothing(methods, derivative):
    ax = plot.step_sweep(smooth, 1.0, methods=methods, derivative=derivative)
    assert overlaps(ax) == []
    powers = sorted(int(text.get_text().strip("$h^{}") or 1) for text in ax.texts if "/" not in text.get_text())
    assert powers == sorted({"2-point": 1, "3-point": 2}.get(method, method) for method in methods)
    ends = {text.get_color(): text.xy for text in ax.texts}
    for line in ax.lines:
        if line.get_label() == "_slope" and line.get_color() in ends and line.get_color() != "#444444":
            np.testing.assert_allclose(ends[line.get_color()], line.get_xydata()[-1])


def test_names_of_powers_of_two_functions_touch_nothing():
    ax = plot.step_sweep(np.cos, 0.4, methods=["2-point", "3-point"])
    plot.step_sweep(lambda x: np.cos(3 * x), 0.4, ax=ax, methods=["2-point", "3-point"])
    assert [text.get_text() for text in ax.texts] == ["$1/h$", *["$h$", "$h^{2}$"] * 2]
    assert [found for found in overlaps(ax) if found[0] != "$1/h$"] == []


def overlaps(ax):
    """Names of powers, and what of the picture they touch."""
    ax.figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in ax.texts]
    found = [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)]
    found += [(name, "legend") for name, box in boxes if box.overlaps(ax.get_legend().get_window_extent())]
    for name, box in boxes:
        for line in ax.lines:
            path = line.get_transform().transform_path(line.get_path())
            is_drawn_through = line.get_linestyle() != "None" and path.intersects_bbox(box, filled=False)
            if is_drawn_through or box.padded(2).count_contains(path.vertices):
                found.append((name, line.get_label()))
        right = ax.get_window_extent().x1
        found += [(name, "frame")] if box.x0 < right < box.x1 else []
    return found


def test_where_an_error_follows_no_power_no_line_says_so():
    parabola = plot.step_sweep(lambda x: x * x, 0.7, methods=["2-point", "3-point"])
    np.testing.assert_allclose(slopes(parabola), [1, -1], rtol=1e-9)  # central differences of it are exact


def test_the_best_step_is_where_the_orders_say():
    ax = plot.step_sweep(smooth, 1.0, methods=["2-point", "3-point", 4])
    for (name, points), order in zip(list(curves(ax).items())[:3], (1, 2, 4), strict=True):
        h, error = points.T
        assert error[np.abs(np.log10(h) - np.log10(EPS) / (order + 1)) < 0.7].min() < 50 * EPS ** (
            order / (order + 1)
        ), name


def test_the_error_of_an_array_is_its_worst():
    x = np.linspace(-2, 3, 6)
    ax = plot.step_sweep(rosenbrock, x, steps=[1e-3], methods=["2-point"], args=())
    exact = np.zeros(6)
    exact[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    exact[1:] += 200 * (x[1:] - x[:-1] ** 2)
    h = 1e-3 * np.maximum(1, np.abs(x)) * np.where(x < 0, -1, 1)
    forward = np.array([(rosenbrock(x + h * unit) - rosenbrock(x)) / (h @ unit) for unit in np.eye(6)])
    assert curves(ax)["2-point (forward)"][0, 1] == pytest.approx(np.abs(forward - exact).max(), rel=1e-6)
    assert ax.get_ylabel() == "largest error of the gradient"
    maps = plot.step_sweep(lambda x, a: np.array([a * x[0] * x[1], x[1] ** 3]), [0.5, 2.0], steps=[1e-2], args=(3.0,))
    assert curves(maps)["3-point (central)"][0, 1] == pytest.approx((2e-2) ** 2)
    assert maps.get_ylabel() == "largest error of the Jacobian"


def test_a_complex_step_is_drawn_where_the_function_is_analytic():
    assert "complex step" in texts(plot.step_sweep(smooth, 1.0))
    for fun, said in [(lambda x: np.abs(x) * x, "not analytic"), (lambda x: math.exp(x), "takes no complex numbers")]:
        assert "complex step" not in texts(plot.step_sweep(fun, -0.7))
        with pytest.raises(ValueError, match=f"methods has 'cs', but .*{said}"):
            plot.step_sweep(fun, -0.7, methods=["cs"])
    with pytest.raises(ValueError, match="'cs', but derivative is 2"):
        plot.step_sweep(smooth, 1.0, derivative=2, methods=["cs"])


@pytest.mark.parametrize("fun", [smooth, lambda x: np.float32(smooth(float(np.real(x))))], ids=["argument", "value"])
def test_float32_has_steps_of_its_own(fun):
    x = np.float32(0.7) if fun is smooth else 0.7
    ax = plot.step_sweep(fun, x, exact=slope_of_smooth, methods=["2-point", "3-point"])
    eps = np.finfo(np.float32).eps
    diamonds = [line.get_xydata()[0, 0] for line in ax.lines if line.get_label() == "_customary"]
    np.testing.assert_allclose(diamonds, [eps ** (1 / 2), eps ** (1 / 3)], rtol=1e-6)
    assert curves(ax)["3-point (central)"][0, 0] == pytest.approx(eps)


@pytest.mark.parametrize("order", [1, 2])
def test_where_no_exact_derivative_is_to_be_had_extrapolation_is_the_reference(order):
    def opaque(x):
        return math.exp(math.sin(np.frombuffer(x.tobytes())[0]))

    ax = plot.step_sweep(opaque, 0.7, derivative=order, methods=["3-point"])
    traced = plot.step_sweep(smooth, 0.7, derivative=order, methods=["3-point"])
    (ours, *_), (theirs, *_) = (list(curves(one).values()) for one in (ax, traced))
    long = ours[:, 0] > 1e-3
    np.testing.assert_allclose(ours[long], theirs[long], rtol=1e-4)
    doubt = next(line for line in ax.lines if line.get_label() == "expected error of the reference")
    assert 0 < doubt.get_ydata()[0] < 1e-7
    assert "expected error of the reference" not in texts(traced)


@pytest.mark.parametrize("log", [np.log, math.log], ids=["nan", "raises"])
def test_steps_out_of_the_domain_have_no_point(log):
    x, y = curves(plot.step_sweep(lambda x: log(x), 0.3, exact=1 / 0.3, methods=["3-point"]))["3-point (central)"].T
    np.testing.assert_array_equal(np.isnan(y), x > 0.3)


def test_several_functions_share_axes():
    ax = plot.step_sweep(np.cos, 0.4, label="slow", methods=["3-point"])
    assert plot.step_sweep(lambda x: np.cos(30 * x), 0.4, ax=ax, label="fast", methods=["3-point"]) is ax
    assert texts(ax) == ["slow, 3-point (central)", "fast, 3-point (central)", "customary step"]
    slow, fast = (line for line in ax.lines if line.get_label().endswith("(central)"))
    assert slow.get_color() != fast.get_color()
    assert slow.get_marker() != fast.get_marker()
    blue = plot.step_sweep(np.cos, 0.4, c="#123456", lw=2, methods=["3-point"])
    assert blue.lines[0].get_color() == "#123456"


@pytest.mark.parametrize(
    "case",
    [
        Case("method", {"methods": ["5-point"]}, "methods must be of '2-point', .* got '5-point'"),
        Case("no method", {"methods": []}, "methods is empty"),
        Case("odd", {"methods": [3]}, "even"),
        Case("derivative", {"derivative": 0}, "derivative must be a positive integer; got 0"),
        Case("steps", {"steps": [0.1, -1]}, r"steps must be positive numbers; got \[0.1, -1\]"),
        Case("exact", {"exact": [1.0, 2.0]}, r"exact must have the shape \(\) of the derivative; got \(2,\)"),
    ],
    ids=lambda case: case.what,
)
def test_errors(case):
    with pytest.raises(ValueError, match=case.expected):
        plot.step_sweep(smooth, 1.0, **case.values)


def test_errors_of_the_function():
    with pytest.raises(ValueError, match="fun must be real and finite at x0"):
        plot.step_sweep(np.log, 0.0)
    with pytest.raises(ValueError, match=r"order 2 needs a number x0; got an array of shape \(3,\)"):
        plot.step_sweep(rosenbrock, np.ones(3), derivative=2)
    with pytest.raises(ValueError, match="no step gave a finite difference"):
        plot.step_sweep(
            lambda x: math.sqrt(1 - x * x) if x != 1 else 0.0, 1.0, exact=0.0, steps=[1e3], methods=["2-point"]
        )
