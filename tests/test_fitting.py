"""Least squares and curve fitting against SciPy, analytic formulas and certified answers; many curves as one."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from helpers import assert_same_bits, disguises
from numpy.testing import assert_allclose
from test_levenberg import REGRESSIONS

import fastgrad as fg
from fastgrad import _core

RNG = np.random.default_rng(0)
T = np.linspace(0, 4, 50)
MANY = (None, 0, None)  # in_axes of curves at the same points from one start


def decay(t, height, rate, offset):
    return height * np.exp(-rate * t) + offset


def line(t, slope, offset):
    return slope * t + offset


def sample(n=None, spread=0.05, rng=RNG):
    """One noisy decay, or n of them with rates of their own."""
    rates = rng.uniform(0.7, 2, (n, 1)) if n else 1.3
    clean = decay(T, 2.5, rates, 0.5)
    return clean + rng.normal(0, spread, clean.shape)


Y = sample()
CURVES = sample(7)
ODD = np.random.default_rng(5).uniform(0.5, 2, T.shape)  # sigma
CORRELATED = 0.01 * np.exp(-np.abs(T[:, None] - T) / 0.3) + 0.02 * np.eye(T.size)


def scipys(y, *args, f=decay, **kwargs):
    """SciPy's fit, run tight."""
    return scipy.optimize.curve_fit(f, T, y, *args, ftol=1e-14, xtol=1e-14, gtol=1e-14, **kwargs)


def tight(*args, **kwargs):
    return fg.curve_fit(*args, ftol=0, xtol=1e-13, **kwargs)


# ---- one curve, as SciPy


@pytest.mark.parametrize("sigma", [None, 0.3, ODD, CORRELATED], ids=["none", "number", "vector", "matrix"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_fit_is_scipys(sigma, absolute):
    expected = sigma if np.ndim(sigma) or sigma is None else np.full(T.size, sigma)
    popt, pcov = tight(decay, T, Y, sigma=sigma, absolute_sigma=absolute)
    theirs, their_cov = scipys(Y, sigma=expected, absolute_sigma=absolute)
    assert_allclose(popt, theirs, rtol=1e-7)
    assert_allclose(pcov, their_cov, rtol=1e-5)  # their Jacobian is made of differences


@pytest.mark.parametrize("absolute", [False, True])
def test_the_covariance_of_a_line_is_that_of_the_formula(absolute):
    y = line(T, 2.0, 1.0) + RNG.normal(0, ODD)
    fit = tight(line, T, y, sigma=ODD, absolute_sigma=absolute)
    design = np.stack([T, np.ones_like(T)], axis=1) / ODD[:, None]
    inverse = np.linalg.inv(design.T @ design)
    solution = inverse @ design.T @ (y / ODD)
    chi_square = np.sum((design @ solution - y / ODD) ** 2)
    assert_allclose(fit.popt, solution, rtol=1e-11)
    assert_allclose(fit.chi_square, chi_square, rtol=1e-12)
    assert_allclose(fit.pcov, inverse * (1 if absolute else chi_square / (T.size - 2)), rtol=1e-11)
    assert_allclose(fit.perr, np.sqrt(np.diagonal(fit.pcov)))


@pytest.mark.parametrize(
    "bounds",
    [(0, 2), ([0, 0, 0], [2, 5, 1]), ([2, -np.inf, 0.6], np.inf), (-np.inf, [2.2, 9, np.inf])],
    ids=["numbers", "arrays", "lower", "upper"],
)
@pytest.mark.parametrize("p0", [None, [2.0, 1.0, 0.7]], ids=["default", "given"])
def test_bounded_fits_are_scipys(bounds, p0):
    theirs, _ = scipys(Y, p0, bounds=bounds)
    for form in (bounds, fg.Bounds(*bounds), scipy.optimize.Bounds(*bounds)):
        fit = tight(decay, T, Y, p0, bounds=form)
        assert_allclose(fit.popt, theirs, rtol=1e-6, atol=1e-8)
        assert np.all((fit.popt >= bounds[0]) & (fit.popt <= bounds[1]))


@pytest.mark.parametrize("loss", ["linear", "soft_l1", "huber", "cauchy", "arctan"])
@pytest.mark.parametrize("f_scale", [0.05, 0.2])
def test_robust_losses_are_scipys(loss, f_scale):
    y = Y.copy()
    y[::9] += 3

    def residuals(p):
        return decay(T, *p) - y

    start = [2.3, 1.2, 0.6]
    options = {"loss": loss, "f_scale": f_scale}
    theirs = scipy.optimize.least_squares(
        residuals, start, fg.jacobian(residuals), ftol=1e-14, xtol=1e-14, gtol=1e-14, **options
    )
    ours = fg.least_squares(residuals, start, ftol=0, xtol=1e-13, **options)
    assert_allclose(ours.x, theirs.x, rtol=1e-6)
    assert_allclose(ours.fun, theirs.cost, rtol=1e-11)
    popt, pcov = tight(decay, T, y, start, **options)
    their_popt, their_cov = scipys(y, start, method="trf", **options)
    assert_allclose(popt, their_popt, rtol=1e-6)
    assert_allclose(pcov, their_cov, rtol=1e-4)


def test_fixed_parameters_stay_and_have_no_variance():
    fit = tight(decay, T, Y, [2.5, 1.0, 0.4], fixed=[False, True, False])
    theirs, their_cov = scipys(Y, [2.5, 0.4], f=lambda t, height, offset: decay(t, height, 1.0, offset))
    assert fit.popt[1] == 1.0
    assert_allclose(fit.popt[[0, 2]], theirs, rtol=1e-7)
    assert_allclose(fit.pcov[np.ix_([0, 2], [0, 2])], their_cov, rtol=1e-6)
    assert not np.any(fit.pcov[1])
    assert not np.any(fit.pcov[:, 1])


def test_points_of_infinite_sigma_do_not_count():
    y, sigma = Y.copy(), np.ones_like(T)
    y[::7], sigma[::7] = 1e3, np.inf
    kept = np.isfinite(sigma)
    assert_allclose(tight(decay, T, y, sigma=sigma).pcov, tight(decay, T[kept], y[kept]).pcov, rtol=1e-9)
    own = tight(decay, T, np.stack([y, Y]), sigma=np.stack([sigma, np.ones_like(T)]), in_axes=MANY)
    assert_allclose(own.pcov, [tight(decay, T[kept], y[kept]).pcov, tight(decay, T, Y).pcov], rtol=1e-9)


# ---- certified answers


@pytest.mark.parametrize("name", ["Misra1a", "Lanczos3", "Gauss2", "Kirby2", "Thurber", "MGH09", "ENSO", "BoxBOD"])
@pytest.mark.parametrize("start", [0, 1])
def test_certified_values_and_standard_errors(name, start):
    known = REGRESSIONS[name]
    fit = fg.curve_fit(lambda x, *b: known.model(x, b), known.x, known.y, known.starts[start], ftol=0, maxfev=2000)
    assert fit.success
    assert_allclose(fit.popt, known.certified, rtol=1e-6)
    assert_allclose(fit.perr, known.deviations, rtol=1e-5)
    assert_allclose(fit.chi_square, known.sum_of_squares, rtol=1e-8)
    result = fg.least_squares(known.residuals, known.starts[start], ftol=0, max_nfev=2000)
    assert_allclose(result.x, known.certified, rtol=1e-6)


# ---- models and data of many kinds


def filled(t, height, rate, offset):
    out = np.zeros(t.shape)
    out[:20] = decay(t[:20], height, rate, offset)
    out[20:] = decay(t[20:], height, rate, offset)
    return out


def branching(t, height, rate, offset):
    if rate < 0:
        return decay(t, height, -rate, offset)
    return decay(t, height, rate, offset)


def listed(t, height, rate, offset):
    return [height * np.exp(-rate * t[i]) + offset for i in range(50)]


@pytest.mark.parametrize("model", [filled, branching, listed])
def test_models_as_people_write_them(model):
    assert_allclose(fg.curve_fit(model, T, Y).popt, fg.curve_fit(decay, T, Y).popt, rtol=1e-7)


def test_special_functions_and_constants():
    def edge(x, height, centre, width):
        return height * scipy.special.erfc((x - centre) / width)

    y = edge(T, 2.0, 1.5, 0.7) + RNG.normal(0, 0.01, T.shape)
    assert_allclose(fg.curve_fit(edge, T, y).popt, scipys(y, f=edge)[0], rtol=1e-6)
    assert_allclose(fg.curve_fit(lambda x, c: c, T, y).popt, [y.mean()])
    assert_allclose(fg.curve_fit(lambda x, c: c, T, CURVES, in_axes=MANY).popt[:, 0], CURVES.mean(axis=1))


def plane(xy, a, b, c):
    return a * xy[0] + b * xy[1] ** 2 + c


def test_data_of_any_shape():
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 6), np.linspace(0, 2, 5)))
    image = plane(grid, 2.0, -1.0, 0.5)
    flat, want = grid.reshape(2, -1), [2.0, -1.0, 0.5]
    for xdata, ydata in ((grid, image), (flat, image.ravel()), (tuple(grid), image), (grid.tolist(), image.tolist())):
        assert_allclose(fg.curve_fit(plane, xdata, ydata).popt, want, atol=1e-10)
    many = fg.curve_fit(plane, grid, np.stack([image, 2 * image]), in_axes=MANY)
    assert_allclose(many.popt, [want, np.multiply(want, 2)], atol=1e-10)
    named = fg.curve_fit(lambda d, a, b: a * d["u"] + b * d["v"], {"u": T, "v": T**2}, 3 * T - T**2)
    assert_allclose(named.popt, [3, -1], atol=1e-10)
    assert_allclose(fg.curve_fit(lambda x, a: a * x, 2.0, 3.0, absolute_sigma=True).popt, [1.5])
    assert_allclose(fg.curve_fit(lambda nothing, a, b: line(T, a, b), None, 3 * T - 2).popt, [3, -2], atol=1e-10)


@pytest.mark.parametrize("layout", disguises(Y))
def test_arrays_in_odd_layouts(layout):
    plain = fg.curve_fit(decay, T, Y)
    assert_same_bits(
        fg.curve_fit(decay, disguises(T)[layout], disguises(Y)[layout], disguises(np.ones(3))[layout]).x, plain.x
    )
    many = fg.curve_fit(decay, T, disguises(CURVES)[layout], in_axes=MANY)
    assert_same_bits(many.pcov, fg.curve_fit(decay, T, CURVES, in_axes=MANY).pcov)


def test_integers_become_floats():
    counts = np.rint(100 * Y).astype(np.int16)
    fit = fg.curve_fit(decay, np.arange(50), counts, [250, 0.1, 50])
    assert_same_bits(fit.popt, fg.curve_fit(decay, np.arange(50.0), counts.astype(float), [250.0, 0.1, 50.0]).popt)


def test_p0_chooses_the_dtype_of_parameters_and_numpy_that_of_the_model():
    start = np.array([2.0, 1.0, 0.6])
    exact = fg.curve_fit(decay, T, Y, start)
    for data, p0, dtype in (
        (np.float32, np.float32, np.float32),
        (np.float64, np.float32, np.float32),
        (np.float32, np.float64, np.float64),
    ):
        fit = fg.curve_fit(decay, T.astype(data), Y.astype(data), start.astype(p0))
        assert fit.popt.dtype == fit.pcov.dtype == dtype
        assert_allclose(fit.popt, exact.popt, rtol=2e-4)
        assert_allclose(fit.pcov, exact.pcov, rtol=2e-3)
    assert fg.curve_fit(decay, T.astype(np.float32), Y.astype(np.float32)).popt.dtype == np.float64
    assert fg.curve_fit(decay, T.astype(np.float32), Y.astype(np.float32), start.tolist()).popt.dtype == np.float64


def test_scales_of_data_do_not_matter():
    """Currents of picoamperes are fitted as well as amperes."""
    plain = fg.curve_fit(line, T, line(T, 2.0, 1.0) + Y)
    small = fg.curve_fit(line, T, 2.0**-40 * (line(T, 2.0, 1.0) + Y))
    assert_allclose(small.popt * 2.0**40, plain.popt, rtol=1e-9)


# ---- many curves


@pytest.mark.parametrize("x_axis", [None, 0, 1])
@pytest.mark.parametrize("y_axis", [None, 0, 1, -1])
@pytest.mark.parametrize("p_axis", [None, 0, 1])
def test_every_choice_of_axes(x_axis, y_axis, p_axis):
    axes = x_axis, y_axis, p_axis
    xs, ys = np.stack([T + 0.1 * i for i in range(3)]), CURVES[:3]
    starts = np.array([[1.0, 1.0, 1.0], [2.0, 1.5, 0.5], [3.0, 1.0, 0.3]])

    def given(rows, axis):
        return rows[0] if axis is None else np.moveaxis(rows, 0, axis)

    arguments = [given(rows, axis) for rows, axis in zip((xs, ys, starts), axes, strict=True)]
    if axes == (None, None, None):
        with pytest.raises(ValueError, match="must be three, for xdata, ydata and p0"):
            fg.curve_fit(decay, *arguments, in_axes=axes)
        return
    fit = fg.curve_fit(decay, *arguments, in_axes=axes)
    for i in range(3):
        alone = [rows[0 if axis is None else i] for rows, axis in zip((xs, ys, starts), axes, strict=True)]
        one = fg.curve_fit(decay, *alone)
        assert_same_bits(fit.popt[i], one.popt)
        assert_same_bits(fit.pcov[i], one.pcov)


def test_one_integer_counts_along_data_and_starts_that_have_rows():
    xs = np.tile(T, (7, 1))
    want = fg.curve_fit(decay, T, CURVES, in_axes=MANY).popt
    assert_same_bits(fg.curve_fit(decay, xs, CURVES, in_axes=0).popt, want)
    assert_same_bits(fg.curve_fit(decay, xs, CURVES, np.ones(3), in_axes=0).popt, want)
    assert_same_bits(fg.curve_fit(decay, xs, CURVES, np.ones((7, 3)), in_axes=0).popt, want)


def test_a_single_parameter_of_many_curves():
    y = np.array([[2.0], [3.0]]) * T
    assert_allclose(fg.curve_fit(lambda t, a: a * t, T, y, [1.0, 5.0], in_axes=(None, 0, 0)).popt, [[2.0], [3.0]])
    assert_allclose(fg.curve_fit(lambda t, a: a * t, T, y[0], 1.0).popt, [2.0])


@pytest.mark.parametrize("axis", [0, 1])
def test_own_sigma(axis):
    sigma = RNG.uniform(0.5, 2, CURVES.shape)
    matrices = CORRELATED * RNG.uniform(1, 2, (7, 1, 1))

    def turned(a):
        return np.moveaxis(a, 0, axis)

    for given, alone in (
        (turned(sigma), sigma),
        (turned(sigma[:, :1]), np.broadcast_to(sigma[:, :1], CURVES.shape)),
        (matrices, matrices),
        (ODD, np.broadcast_to(ODD, CURVES.shape)),
        (CORRELATED, np.broadcast_to(CORRELATED, matrices.shape)),
        (0.3, np.full(CURVES.shape, 0.3)),
    ):
        fit = fg.curve_fit(decay, T, turned(CURVES), sigma=given, absolute_sigma=True, in_axes=(None, axis, None))
        for i in range(7):
            one = fg.curve_fit(decay, T, CURVES[i], sigma=alone[i], absolute_sigma=True)
            assert_allclose(fit.popt[i], one.popt, rtol=1e-9)
            assert_allclose(fit.pcov[i], one.pcov, rtol=1e-9)


def test_own_bounds_and_own_fixed_parameters():
    upper = np.stack([np.array([2.0 + 0.1 * i, 9, 9]) for i in range(7)])
    fixed = np.arange(21).reshape(7, 3) % 4 == 0
    bounded = fg.curve_fit(decay, T, CURVES, bounds=(0, upper), in_axes=MANY)
    held = fg.curve_fit(decay, T, CURVES, [2.0, 1.0, 0.6], fixed=fixed, in_axes=MANY)
    for i in range(7):
        assert_same_bits(bounded.popt[i], fg.curve_fit(decay, T, CURVES[i], bounds=(0, upper[i])).popt)
        one = fg.curve_fit(decay, T, CURVES[i], [2.0, 1.0, 0.6], fixed=fixed[i])
        assert_same_bits(held.popt[i], one.popt)
        assert_same_bits(held.pcov[i], one.pcov)
    assert np.all((held.perr == 0) == fixed)


def test_a_curve_has_the_same_bits_in_any_company(threads):
    curves = sample(1000)
    want = fg.curve_fit(decay, T, curves, in_axes=MANY)
    assert want.success.all()
    for n in (1, 2, 3):
        threads(n)
        again = fg.curve_fit(decay, T, curves, in_axes=MANY)
        assert_same_bits(again.popt, want.popt)
        assert_same_bits(again.pcov, want.pcov)
    order = RNG.permutation(1000)
    assert_same_bits(fg.curve_fit(decay, T, curves[order], in_axes=MANY).pcov, want.pcov[order])
    for i in range(0, 1000, 111):
        one = fg.curve_fit(decay, T, curves[i])
        assert_same_bits(one.popt, want.popt[i])
        assert_same_bits(one.pcov, want.pcov[i])
        assert (one.nfev, one.status, one.fun) == (want.nfev[i], want.status[i], want.fun[i])


def test_memory_does_not_grow_with_the_batch():
    fitted = fg.jacobian(line)

    def beyond(n):
        ys = np.ones((n, 50)) * T + RNG.normal(0, 1, (n, 1))
        fg.curve_fit(fitted, T, ys[:10], in_axes=MANY)
        tracemalloc.start()
        before = _core.live_memory()
        fit = fg.curve_fit(fitted, T, ys, in_axes=MANY)
        peak, after = tracemalloc.get_traced_memory()[1], _core.live_memory()
        tracemalloc.stop()
        results = sum(a.nbytes for a in (fit.x, fit.jac, fit.fun, fit.nit, fit.nfev, fit.status, fit.pcov))
        return peak / results, after[0] - before[0]

    peak, held = beyond(50_000)
    assert peak < 2  # the results and a few numbers a curve
    assert held < 2**20


# ---- what can go wrong


def test_a_bad_curve_leaves_the_others_alone():
    bad = CURVES.copy()
    bad[2, 5], bad[4, 0] = np.nan, np.inf
    with pytest.warns(RuntimeWarning, match="2 of 7 fits did not converge: 2 stopped where") as caught:
        fit = fg.curve_fit(decay, T, bad, in_axes=MANY)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    good = ~np.isin(np.arange(7), [2, 4])
    assert_same_bits(fit.pcov[good], fg.curve_fit(decay, T, CURVES, in_axes=MANY).pcov[good])
    assert fit.status[~good].tolist() == [2, 2]
    assert fit.success[good].all()
    assert_same_bits(fit.popt[~good], np.ones((2, 3)))
    assert np.all(np.isinf(fit.pcov[~good]))
    assert fit.best.success
    assert "nan" not in repr(fit)
    assert repr(fit[[2, 4]]).endswith("nan")


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
def test_a_bad_sigma_of_a_curve_too(sigma):
    own = np.ones((7, 1))
    own[3] = sigma
    with pytest.warns(RuntimeWarning, match="1 of 7 fits"):
        fit = fg.curve_fit(decay, T, CURVES, sigma=own, in_axes=MANY)
    assert fit.status[3] == 2
    assert np.delete(fit.success, 3).all()
    matrices = np.broadcast_to(CORRELATED, (7, 50, 50)).copy()
    matrices[3, 0, 0] = -1
    with pytest.warns(RuntimeWarning, match="1 of 7 fits"):
        fit = fg.curve_fit(decay, T, CURVES, sigma=matrices, in_axes=MANY)
    assert fit.status[3] == 2
    assert np.delete(fit.success, 3).all()


def test_bad_points_and_bad_starts_of_a_curve_too():
    xs, starts = np.tile(T, (7, 1)), np.ones((7, 3))
    xs[1, 3], starts[5, 0] = np.nan, np.nan
    with pytest.warns(RuntimeWarning, match="2 of 7 fits"):
        fit = fg.curve_fit(decay, xs, CURVES, starts, in_axes=0)
    assert np.flatnonzero(fit.status == 2).tolist() == [1, 5]
    assert np.delete(fit.success, [1, 5]).all()


def test_nothing_to_fit():
    fit = fg.curve_fit(decay, T, Y, [2.0, 1.0, 0.5], fixed=True)
    assert fit.popt.tolist() == [2.0, 1.0, 0.5]
    assert not np.any(fit.pcov)
    assert fit.success


@pytest.mark.parametrize("points", [1, 2, 3])
def test_too_few_points_have_infinite_covariance(points):
    with pytest.warns(RuntimeWarning, match="covariance could not be estimated") as caught:
        popt, pcov = fg.curve_fit(decay, T[:points], Y[:points])
    assert len(caught) == 1
    assert np.all(np.isinf(pcov))
    assert np.all(np.isfinite(popt))
    assert_allclose(decay(T[:points], *popt), Y[:points], atol=1e-6)


def test_parameters_that_data_do_not_tell_apart_have_infinite_covariance():
    curves = np.stack([T, 2 * T])
    with pytest.warns(RuntimeWarning, match="covariances of 2 of 2 fits could not be estimated") as caught:
        fit = fg.curve_fit(lambda t, a, b: a * b * t, T, curves, in_axes=MANY)
    assert len(caught) == 1
    assert np.all(np.isinf(fit.pcov))
    assert_allclose(fit.popt.prod(axis=1), [1, 2])


def test_evaluations_run_out():
    with pytest.warns(RuntimeWarning, match="the fit did not converge: stopped after maxfev evaluations"):
        fit = fg.curve_fit(decay, T, Y, maxfev=2)
    assert (fit.status, fit.nfev, fit.success) == (5, 2, False)
    assert fg.least_squares(lambda p: decay(T, *p) - Y, np.ones(3), max_nfev=2).status == 5


def nothing(t, a):
    return None


ERRORS = {
    "f must be a function, got int": lambda: fg.curve_fit(3, T, Y),
    "residuals must be a function, got int": lambda: fg.least_squares(3, [0.0]),
    "f gives an array of shape .49,., but the ydata of a curve has .50,": lambda: fg.curve_fit(
        lambda t, a: a * t[1:], T, Y
    ),
    "in_axes tells which axis": lambda: fg.curve_fit(decay, T, CURVES),
    r"shape \(\), but the ydata of a curve has \(7,\)": lambda: fg.curve_fit(
        line, np.arange(7.0), CURVES[:, :7], in_axes=0
    ),
    "f returns nothing\n  cure: return": lambda: fg.curve_fit(nothing, T, Y),
    "p0 starts 2 parameters, but f takes 3": lambda: fg.curve_fit(decay, T, Y, [1.0, 1.0]),
    "p0 starts 4 parameters, but f takes 3": lambda: fg.curve_fit(decay, T, Y, [1.0] * 4),
    r"p0 has shape \(1, 3\), but": lambda: fg.curve_fit(decay, T, Y, [[1.0] * 3]),
    "cannot be told from f\n  cure: give p0": lambda: fg.curve_fit(lambda t, *p: p[0] * t, T, Y),
    "ydata holds NaN or infinity\n  cure": lambda: fg.curve_fit(decay, T, np.where(T > 1, np.nan, Y)),
    "xdata holds NaN or infinity\n  cure": lambda: fg.curve_fit(decay, np.where(T > 1, np.inf, T), Y),
    "ydata is empty": lambda: fg.curve_fit(decay, T[:0], Y[:0]),
    "ydata has dtype complex128": lambda: fg.curve_fit(decay, T, Y + 0j),
    "xdata has 6, ydata has 7": lambda: fg.curve_fit(decay, np.ones((6, 50)), CURVES, in_axes=(0, 0, None)),
    "ydata has 7, p0 has 2": lambda: fg.curve_fit(decay, T, CURVES, np.ones((2, 3)), in_axes=(None, 0, 0)),
    "no axis 2": lambda: fg.curve_fit(decay, T, CURVES, in_axes=(None, 2, None)),
    "must be three": lambda: fg.curve_fit(decay, T, CURVES, in_axes=(None, 0)),
    "sigma must be positive\n  cure": lambda: fg.curve_fit(decay, T, Y, sigma=0),
    "sigma, as the covariance matrix": lambda: fg.curve_fit(decay, T, Y, sigma=-np.eye(50)),
    r"sigma has shape \(49,\)\n  cure: one number, \(50,\)": lambda: fg.curve_fit(decay, T, Y, sigma=np.ones(49)),
    r"\(7, 1\) for one a curve": lambda: fg.curve_fit(decay, T, CURVES, sigma=np.ones(7), in_axes=MANY),
    "bounds have shapes": lambda: fg.curve_fit(decay, T, Y, bounds=([0, 0], [1, 1])),
    r"cure: fg.Bounds\(\*zip": lambda: fg.curve_fit(decay, T, Y, bounds=[(0, 1)] * 3),
    "p0 lies outside the bounds": lambda: fg.curve_fit(decay, T, Y, [5.0] * 3, bounds=(0, 1)),
    "lower bound above the upper": lambda: fg.curve_fit(decay, T, Y, bounds=(1, 0)),
    "method must be 'lm' or fg.LM": lambda: fg.curve_fit(decay, T, Y, method="trf"),
    "loss 'l1' is not known: choose one of 'linear'": lambda: fg.curve_fit(decay, T, Y, loss="l1"),
    "f_scale must be positive and finite": lambda: fg.curve_fit(decay, T, Y, loss="huber", f_scale=0),
    "maxfev must be an integer from 1": lambda: fg.curve_fit(decay, T, Y, maxfev=0),
    "max_nfev must be an integer from 1": lambda: fg.least_squares(lambda x: x, [1.0], max_nfev=0),
    "x is argument 0": lambda: fg.least_squares(fg.jacobian(lambda x, y: x - y, 1), [1.0], (T,)),
    "leave out SciPy's jac": lambda: fg.least_squares(lambda x: x, [1.0], "2-point"),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_the_argument_and_the_cure(message):
    with pytest.raises((TypeError, ValueError), match=message):
        ERRORS[message]()


# ---- what comes back


def test_a_fit_is_unpacked_indexed_and_shown():
    fit = fg.curve_fit(decay, T, CURVES, in_axes=MANY)
    popt, pcov = fit
    assert popt is fit.x
    assert pcov is fit.pcov
    assert popt.shape == (7, 3)
    assert pcov.shape == (7, 3, 3)
    assert fit.perr.shape == (7, 3)
    assert fit.chi_square.shape == (7,)
    assert_allclose(fit.chi_square, np.sum((decay(T, *popt.T[:, :, None]) - CURVES) ** 2, axis=1))
    assert isinstance(fit[2], fg.CurveFit)
    assert len(fit[2:5]) == 3
    assert_same_bits(fit[2:5].pcov, pcov[2:5])
    assert fit.best.fun == fit.fun.min()
    assert repr(fit).startswith("CurveFit of 7 curves: 7 converged")
    assert repr(fit[0]).startswith("CurveFit: converged")
    assert "perr=array" in repr(fit[0])
    assert fit[0].message.startswith("converged")


def test_recording_callback_and_progress(capsys):
    fit = fg.curve_fit(decay, T, CURVES, in_axes=MANY, record="path")
    plain = fg.curve_fit(decay, T, CURVES, in_axes=MANY)
    assert_same_bits(fit.popt, plain.popt)
    assert fit.history.x.shape == (fit.nit.max() + 1, 7, 3)
    assert_same_bits(fit[3].history.x[fit.nit[3]], fit.popt[3])
    assert np.all(np.diff(fit[3].history.fun[: fit.nit[3] + 1]) <= 0)
    seen = []

    def look(intermediate_result):
        seen.append(intermediate_result.fun.copy())

    watched = fg.curve_fit(decay, T, CURVES, in_axes=MANY, callback=look, progress=True)
    assert_same_bits(watched.pcov, plain.pcov)
    assert len(seen) >= plain.nit.max()
    assert "7" in capsys.readouterr().err

    def stop(intermediate_result):
        raise StopIteration

    stopped = fg.curve_fit(decay, T, CURVES, in_axes=MANY, callback=stop)  # which nobody is warned of
    assert set(stopped.status.tolist()) == {7}


# ---- least squares alone


def test_residuals_of_any_kind():
    assert_allclose(fg.least_squares(lambda x: [x[0] - 3, x[1] * 2], [1.0, 1.0]).x, [3, 0], atol=1e-12)
    assert_allclose(fg.least_squares(lambda x: (x - 1, x[:1] * 2), [1.0, 1.0]).x, [0.2, 1])
    nested = fg.least_squares(lambda p: p["a"] - np.ones((2, 3)) * p["b"], {"a": np.zeros((2, 3)), "b": 2.0})
    assert_allclose(nested.x["a"], np.full((2, 3), nested.x["b"]), atol=1e-10)
    assert fg.least_squares(lambda x: x - 1, np.zeros((2, 2))).jac.shape == (2, 2)


def test_a_batch_of_problems_is_each_alone():
    def residuals(x, y):
        return decay(T, *x) - y

    together = fg.least_squares(residuals, np.ones(3), (CURVES,), in_axes=(None, 0))
    for i, y in enumerate(CURVES):
        assert_same_bits(together.x[i], fg.least_squares(residuals, np.ones(3), (y,)).x)


# ---- memory of what was compiled


def counted(calls):
    def model(t, height, rate, offset):
        calls.append(1)
        return decay(t, height, rate, offset)

    return model


def test_a_jacobian_remembers_the_programs_of_fits():
    calls = []
    model = fg.jacobian(counted(calls))
    want = fg.curve_fit(decay, T, Y)
    assert_same_bits(fg.curve_fit(model, T, Y).pcov, want.pcov)
    traced = len(calls)
    for y in CURVES:
        assert_same_bits(fg.curve_fit(model, T, y).popt, fg.curve_fit(decay, T, y).popt)
    fg.curve_fit(model, T, Y, np.full(3, 0.5), ftol=1e-4, maxfev=50, absolute_sigma=True)
    assert len(calls) == traced
    for settings in ({"loss": "huber"}, {"loss": "huber", "f_scale": 0.1}, {"sigma": ODD}, {"bounds": (0, 9)}):
        before = len(calls)
        ours = fg.curve_fit(model, T, Y, **settings)
        assert len(calls) > before
        assert_same_bits(ours.pcov, fg.curve_fit(decay, T, Y, **settings).pcov)
        before = len(calls)
        assert_same_bits(fg.curve_fit(model, T, Y, **settings).pcov, ours.pcov)
        assert len(calls) == before
    assert fg.curve_fit(fg.jacobian(decay, argnums=(1, 2)), T, Y).fun == want.fun


def test_a_jacobian_keeps_residuals_and_models_apart():
    """The same function of arguments of the same shapes, first as a model and then as residuals."""

    def either(a, b, c):
        return a * b - c

    memory, a, b, c = fg.jacobian(either), np.array([1.0, 2.0]), np.array([3.0, 5.0]), np.array([6.0, 1.0])
    assert_allclose(fg.curve_fit(memory, b, c, a, absolute_sigma=True).popt, [-2.5, -13.5])
    assert_allclose(fg.least_squares(memory, a, (b, c)).x, c / b)


def test_the_memory_travels():
    model = fg.jacobian(lambda t, a, b: line(t, a, b))
    want = fg.curve_fit(model, T, Y, [1.0, 1.0])
    assert_same_bits(fg.curve_fit(pickle.loads(pickle.dumps(model)), T, Y, [1.0, 1.0]).pcov, want.pcov)


# ---- fits of the sciences, from starts as people choose them


def enzyme(s, v, k):
    return v * s / (k + s)


def two_peaks(x, a, m, s, b, n, u):
    return a * np.exp(-0.5 * ((x - m) / s) ** 2) + b * np.exp(-0.5 * ((x - n) / u) ** 2)


def logistic(x, top, rate, middle):
    return top * scipy.special.expit(rate * (x - middle))


def wave(x, height, frequency, phase):
    return height * np.sin(2 * np.pi * frequency * x + phase)


@pytest.mark.parametrize(
    ("model", "true", "start", "points"),
    [
        (enzyme, (3.0, 0.4), (1.0, 1.0), np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])),
        (two_peaks, (3.0, 1.0, 0.4, 2.0, 3.0, 0.6), (1, 0.7, 1, 1, 3.4, 1), np.linspace(0, 5, 80)),
        (logistic, (10.0, 1.5, 4.0), (8.0, 1.0, 5.0), np.linspace(0, 10, 40)),
        (wave, (2.0, 0.5, 0.3), (1.0, 0.45, 0.0), np.linspace(0, 4, 60)),
    ],
)
def test_fits_of_the_sciences(model, true, start, points):
    rng = np.random.default_rng(1)
    ys = model(points, *true) + rng.normal(0, 0.02, (30, points.size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fg.curve_fit(model, points, ys, start, in_axes=MANY)
    assert fit.success.all()
    for i in range(0, 30, 7):
        theirs, their_cov = scipy.optimize.curve_fit(model, points, ys[i], start)
        assert_allclose(fit.popt[i], theirs, rtol=1e-4)
        assert_allclose(fit.pcov[i], their_cov, rtol=1e-2)
    assert np.mean(np.abs(fit.popt - true) < 2 * fit.perr) > 0.85  # as 2 sigma should
