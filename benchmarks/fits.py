"""Curve fitting, many curves at once and one at a time, against a loop over scipy.optimize.curve_fit.

The curves are peaks on 5 x 5 pixels, as of stars on a camera: height, centre, width and background, with noise.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import fastgrad as fg

from .timing import Case, Side

FEW = 1_000  # curves that the loop over SciPy fits
FEW_SLOW = 50  # by L-BFGS
NOISE = 0.3
Build = Callable[[], Side]


def cases(quick: bool) -> list[Case]:
    n = 2_000 if quick else 100_000
    return [
        _peaks(n, np.float64, 0.2),
        _peaks(n, np.float64, 0.5),
        _peaks(n, np.float32, 0.2, limit=1 / 300_000),
        _peaks(n, np.float32, 0.5, limit=1 / 300_000),
        _one_again(),
        _by_lbfgs(n),
    ]


def peak(xy: Any, height: Any, x: Any, y: Any, width: Any, background: Any) -> Any:
    """A round Gaussian peak; xy holds two coordinates."""
    return height * np.exp(-((xy[0] - x) ** 2 + (xy[1] - y) ** 2) / (2 * width**2)) + background


def peaks(n: int, off: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, n noisy images in rows, and starts that are off by up to that share (centres: of the width)."""
    rng = np.random.default_rng(0)
    xy = np.stack(np.meshgrid(np.arange(-2.0, 3.0), np.arange(-2.0, 3.0))).reshape(2, 25)
    lows, highs = (5.0, -0.5, -0.5, 0.8, 0.5), (15.0, 0.5, 0.5, 1.4, 2.0)
    true = rng.uniform(lows, highs, (n, 5))
    images = peak(xy[:, None], *true.T[:, :, None]) + rng.normal(0, NOISE, (n, 25))
    error = rng.uniform(-off, off, true.shape) * np.where([0, 1, 1, 0, 0], true[:, 3:4], true)
    return xy, images, true + error


def _peaks(n: int, dtype: Any, off: float, limit: float | None = None) -> Case:
    xy, images, starts = peaks(n, off)
    sides: dict[str, Build] = {
        "fastgrad": partial(_fastgrad, *(array.astype(dtype) for array in (xy, images, starts))),
        "scipy": partial(_scipy, xy, images, starts),
    }
    name = f"{n:,} peaks of 25 pixels, {np.dtype(dtype).name}, starts up to {off:.0%} off"
    # stopped where the cost changes by 1e-8 (1e-4 in float32) of it: some way from the minimum, compared with 1 sigma
    tolerance = 1e-3 if dtype == np.float64 else 5e-2
    return Case(name, "us a fit", sides, {"scipy": 100.0}, limit, rtol=tolerance, atol=tolerance)


def _fastgrad(xy: np.ndarray, images: np.ndarray, starts: np.ndarray) -> Side:
    model = fg.jacobian(peak)

    def run() -> Any:
        return (fg.curve_fit(model, xy, images, starts, in_axes=(None, 0, 0)).popt,)

    return Side(run, len(images))


def _scipy(xy: np.ndarray, images: np.ndarray, starts: np.ndarray) -> Side:
    from scipy.optimize import curve_fit

    n = min(FEW, len(images))

    def run() -> Any:
        return (np.array([curve_fit(peak, xy, images[i], starts[i])[0] for i in range(n)]),)

    return Side(run, n, note=f"{n:,} fits")


def _one_again() -> Case:
    """A single fit, called again and again."""
    xy, images, starts = peaks(1, 0.2)
    model = fg.jacobian(peak)

    def theirs() -> Any:
        from scipy.optimize import curve_fit

        return (curve_fit(peak, xy, images[0], starts[0])[0],)

    sides: dict[str, Build] = {
        "fastgrad": lambda: Side(lambda: (fg.curve_fit(model, xy, images[0], starts[0]).popt,)),
        "scipy": lambda: Side(theirs),
    }
    return Case("one peak, again and again", "us a fit", sides, {"scipy": 1.0}, rtol=1e-3, atol=1e-3)


# ---- the same as a minimum of a scalar function


def misfit(p: Any, xy: Any, image: Any) -> Any:
    return np.sum((peak(xy, p[0], p[1], p[2], p[3], p[4]) - image) ** 2)


def misfit_and_gradient(p: np.ndarray, xy: np.ndarray, image: np.ndarray) -> tuple[float, np.ndarray]:
    """By hand."""
    height, x, y, width, background = p
    dx, dy = xy[0] - x, xy[1] - y
    squares = dx * dx + dy * dy
    bell = np.exp(-squares / (2 * width * width))
    off = height * bell + background - image
    weights, moved = off * bell, 2 * height / width**2
    by_place = [moved * (weights @ dx), moved * (weights @ dy), moved / width * (weights @ squares)]
    return off @ off, np.array([2 * np.sum(weights), *by_place, 2 * np.sum(off)])


def _by_lbfgs(n: int) -> Case:
    """With SciPy's criteria on both sides; the loop over SciPy gets the gradient by hand."""
    xy, images, starts = peaks(n, 0.2)

    def ours() -> Any:
        found = fg.minimize(
            fg.value_and_grad(misfit), starts, (xy, images), "lbfgs", in_axes=(0, None, 0), gtol=1e-5, ftol=2.2e-9
        )
        return found.x, found.fun

    def theirs() -> Any:
        from scipy.optimize import minimize

        fits = [
            minimize(misfit_and_gradient, starts[i], (xy, images[i]), "L-BFGS-B", jac=True) for i in range(FEW_SLOW)
        ]
        return [fit.x for fit in fits], [fit.fun for fit in fits]

    sides: dict[str, Build] = {"fastgrad": lambda: Side(ours, n), "scipy": lambda: Side(theirs, FEW_SLOW)}
    return Case(f"{n:,} peaks by lbfgs", "us a fit", sides, {"scipy": 300.0}, rtol=5e-3, atol=5e-3)
