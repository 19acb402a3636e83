"""The 27 nonlinear regressions of NIST's Statistical Reference Datasets, with certified answers.

What they measure is published by NIST (https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml) and in the public
domain: models, observations (data/nist.csv: dataset, response, predictors), two starts each, and the solution to 11
digits. The models are plain NumPy, for one point or all of them. `python -m benchmarks.nist` fits them all.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastgrad as fg

DATA = Path(__file__).parent / "data" / "nist.csv"


class Regression(NamedTuple):
    """A dataset: minimise the sum of squares of `residuals` from either start."""

    name: str
    model: Callable[..., Any]  # model(x, b): x is a predictor, or a row for each predictor
    x: np.ndarray
    y: np.ndarray
    starts: tuple[np.ndarray, np.ndarray]
    certified: np.ndarray
    deviations: np.ndarray  # the parameters' standard deviations
    sum_of_squares: float

    def residuals(self, b: Any) -> Any:
        """What the model leaves of the observations."""
        return self.model(self.x, b) - self.y

    def digits(self, b: Any) -> float:
        """To how many digits all parameters agree with the certified ones, at most 11."""
        return _digits(b, self.certified)


def _digits(found: Any, certified: np.ndarray) -> float:
    error = np.max(np.abs(np.asarray(found, np.float64) / certified - 1))
    return 0.0 if not error < 1 else min(11.0, -float(np.log10(max(error, 1e-11))))


def load() -> list[Regression]:
    """All 27 of them."""
    rows: dict[str, list[list[float]]] = {}
    with DATA.open(newline="") as file:
        for name, *numbers in csv.reader(file):
            rows.setdefault(name, []).append([float(number) for number in numbers])
    regressions = []
    for name, model in MODELS.items():
        y, *x = np.array(rows[name]).T.copy()
        first, second, certified, deviations, total = SOLUTIONS[name]
        if name == "Nelson":  # models the logarithm of its response
            y = np.log(y)
        starts = np.array(first, np.float64), np.array(second, np.float64)
        predictors = x[0] if len(x) == 1 else np.array(x)
        regressions.append(
            Regression(name, model, predictors, y, starts, np.array(certified), np.array(deviations), total)
        )
    return regressions


# ---- models


def polynomial(x: Any, coefficients: Any) -> Any:
    """By Horner's rule, the constant first."""
    return functools.reduce(lambda total, c: total * x + c, reversed(coefficients))


def misra1a(x: Any, b: Any) -> Any:
    return b[0] * (1 - np.exp(-b[1] * x))


def misra1b(x: Any, b: Any) -> Any:
    return b[0] * (1 - (1 + b[1] * x / 2) ** -2)


def misra1c(x: Any, b: Any) -> Any:
    return b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5)


def misra1d(x: Any, b: Any) -> Any:
    return b[0] * b[1] * x / (1 + b[1] * x)


def chwirut(x: Any, b: Any) -> Any:
    return np.exp(-b[0] * x) / (b[1] + b[2] * x)


def lanczos(x: Any, b: Any) -> Any:
    return b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x)


def gauss(x: Any, b: Any) -> Any:
    peaks = b[2] * np.exp(-(((x - b[3]) / b[4]) ** 2)) + b[5] * np.exp(-(((x - b[6]) / b[7]) ** 2))
    return b[0] * np.exp(-b[1] * x) + peaks


def dan_wood(x: Any, b: Any) -> Any:
    return b[0] * x ** b[1]


def kirby2(x: Any, b: Any) -> Any:
    return polynomial(x, [b[0], b[1], b[2]]) / polynomial(x, [1, b[3], b[4]])


def cubics(x: Any, b: Any) -> Any:
    return polynomial(x, [b[0], b[1], b[2], b[3]]) / polynomial(x, [1, b[4], b[5], b[6]])


def nelson(x: Any, b: Any) -> Any:
    return b[0] - b[1] * x[0] * np.exp(-b[2] * x[1])


def mgh09(x: Any, b: Any) -> Any:
    return b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3])


def mgh10(x: Any, b: Any) -> Any:
    return b[0] * np.exp(b[1] / (x + b[2]))


def mgh17(x: Any, b: Any) -> Any:
    return b[0] + b[1] * np.exp(-x * b[3]) + b[2] * np.exp(-x * b[4])


def roszman1(x: Any, b: Any) -> Any:
    return b[0] - b[1] * x - np.arctan(b[2] / (x - b[3])) / np.pi


def enso(x: Any, b: Any) -> Any:
    turns = 2 * np.pi * x
    year = b[1] * np.cos(turns / 12) + b[2] * np.sin(turns / 12)
    first = b[4] * np.cos(turns / b[3]) + b[5] * np.sin(turns / b[3])
    second = b[7] * np.cos(turns / b[6]) + b[8] * np.sin(turns / b[6])
    return b[0] + year + first + second


def rat42(x: Any, b: Any) -> Any:
    return b[0] / (1 + np.exp(b[1] - b[2] * x))


def rat43(x: Any, b: Any) -> Any:
    return b[0] / (1 + np.exp(b[1] - b[2] * x)) ** (1 / b[3])


def eckerle4(x: Any, b: Any) -> Any:
    return b[0] / b[1] * np.exp(-0.5 * ((x - b[2]) / b[1]) ** 2)


def bennett5(x: Any, b: Any) -> Any:
    return b[0] * (b[1] + x) ** (-1 / b[2])


MODELS: dict[str, Callable[..., Any]] = {
    "Misra1a": misra1a,
    "Misra1b": misra1b,
    "Misra1c": misra1c,
    "Misra1d": misra1d,
    **dict.fromkeys(["Chwirut1", "Chwirut2"], chwirut),
    **dict.fromkeys(["Lanczos1", "Lanczos2", "Lanczos3"], lanczos),
    **dict.fromkeys(["Gauss1", "Gauss2", "Gauss3"], gauss),
    "DanWood": dan_wood,
    "Kirby2": kirby2,
    **dict.fromkeys(["Hahn1", "Thurber"], cubics),
    "Nelson": nelson,
    "MGH09": mgh09,
    "MGH10": mgh10,
    "MGH17": mgh17,
    "Roszman1": roszman1,
    "ENSO": enso,
    "Rat42": rat42,
    "Rat43": rat43,
    "Eckerle4": eckerle4,
    "Bennett5": bennett5,
    "BoxBOD": misra1a,
}

# ---- two starts, certified parameters, their standard deviations, and the residual sum of squares
SOLUTIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...], float]] = {
    "Misra1a": (
        (500, 0.0001),
        (250, 0.0005),
        (238.94212918, 0.00055015643181),
        (2.7070075241, 7.2668688436e-06),
        0.12455138894,
    ),
    "Misra1b": (
        (500, 0.0001),
        (300, 0.0002),
        (337.99746163, 0.00039039091287),
        (3.1643950207, 4.2547321834e-06),
        0.075464681533,
    ),
    "Misra1c": (
        (500, 0.0001),
        (600, 0.0002),
        (636.42725809, 0.00020813627256),
        (4.6638326572, 1.7728423155e-06),
        0.040966836971,
    ),
    "Misra1d": (
        (500, 0.0001),
        (450, 0.0003),
        (437.36970754, 0.00030227324449),
        (3.6489174345, 2.9334354479e-06),
        0.056419295283,
    ),
    "Chwirut1": (
        (0.1, 0.01, 0.02),
        (0.15, 0.008, 0.01),
        (0.1902781837, 0.0061314004477, 0.010530908399),
        (0.021938557035, 0.00034500025051, 0.00079281847748),
        2384.4771393,
    ),
    "Chwirut2": (
        (0.1, 0.01, 0.02),
        (0.15, 0.008, 0.01),
        (0.16657666537, 0.0051653291286, 0.012150007096),
        (0.03830328681, 0.00066621605126, 0.0015304234767),
        513.04802941,
    ),
    "Lanczos1": (
        (1.2, 0.3, 5.6, 5.5, 6.5, 7.6),
        (0.5, 0.7, 3.6, 4.2, 4, 6.3),
        (0.095100000027, 1.0000000001, 0.86070000013, 3.0000000002, 1.5575999998, 5.0000000001),
        (5.3347304234e-11, 2.7473038179e-10, 1.3576062225e-10, 3.3308253069e-10, 1.8815731448e-10, 1.1057500538e-10),
        1.4307867721e-25,
    ),
    "Lanczos2": (
        (1.2, 0.3, 5.6, 5.5, 6.5, 7.6),
        (0.5, 0.7, 3.6, 4.2, 4, 6.3),
        (0.096251029939, 1.0057332849, 0.86424689056, 3.0078283915, 1.5529016879, 5.00287981),
        (0.00066770575477, 0.0033989646176, 0.0017185846685, 0.0041707005856, 0.0023744381417, 0.0013958787284),
        2.2299428125e-11,
    ),
    "Lanczos3": (
        (1.2, 0.3, 5.6, 5.5, 6.5, 7.6),
        (0.5, 0.7, 3.6, 4.2, 4, 6.3),
        (0.086816414977, 0.95498101505, 0.84400777463, 2.9515951832, 1.5825685901, 4.9863565084),
        (0.017197908859, 0.097041624475, 0.041488663282, 0.10766312506, 0.058371576281, 0.034436403035),
        1.6117193594e-08,
    ),
    "Gauss1": (
        (97, 0.009, 100, 65, 20, 70, 178, 16.5),
        (94, 0.0105, 99, 63, 25, 71, 180, 20),
        (
            98.778210871,
            0.010497276517,
            100.48990633,
            67.481111276,
            23.12977336,
            71.994503004,
            178.99805021,
            18.389389025,
        ),
        (
            0.5752731273,
            0.00011406289017,
            0.58831775752,
            0.10460593412,
            0.17439951146,
            0.62622793913,
            0.12436988217,
            0.20134312832,
        ),
        1315.8222432,
    ),
    "Gauss2": (
        (96, 0.009, 103, 106, 18, 72, 151, 18),
        (98, 0.0105, 103, 105, 20, 73, 150, 20),
        (
            99.018328406,
            0.010994945399,
            101.88022528,
            107.03095519,
            23.578584029,
            72.045589471,
            153.27010194,
            19.525972636,
        ),
        (
            0.53748766879,
            0.00013335306766,
            0.59217315772,
            0.15006798316,
            0.22695595067,
            0.61721965884,
            0.19466674341,
            0.26416549393,
        ),
        1247.5282092,
    ),
    "Gauss3": (
        (94.9, 0.009, 90.1, 113, 20, 73.8, 140, 20),
        (96, 0.0096, 80, 110, 25, 74, 139, 25),
        (
            98.94036897,
            0.010945879335,
            100.69553078,
            111.63619459,
            23.300500029,
            73.705031418,
            147.76164251,
            19.66822123,
        ),
        (
            0.53005192833,
            0.00012554058911,
            0.81256587317,
            0.35317859757,
            0.36584783023,
            1.2091239082,
            0.40488183351,
            0.37806634336,
        ),
        1244.484636,
    ),
    "DanWood": (
        (1, 5),
        (0.7, 4),
        (0.76886226176, 3.8604055871),
        (0.01828197386, 0.051726610913),
        0.0043173084083,
    ),
    "Kirby2": (
        (2, -0.1, 0.003, -0.001, 1e-05),
        (1.5, -0.15, 0.0025, -0.0015, 2e-05),
        (1.6745063063, -0.13927397867, 0.0025961181191, -0.001724181187, 2.1664802578e-05),
        (0.087989634338, 0.0041182041386, 4.1856520458e-05, 5.8931897355e-05, 2.0129761919e-07),
        3.9050739624,
    ),
    "Hahn1": (
        (10, -1, 0.05, -1e-05, -0.05, 0.001, -1e-06),
        (1, -0.1, 0.005, -1e-06, -0.005, 0.0001, -1e-07),
        (
            1.0776351733,
            -0.12269296921,
            0.004086375061,
            -1.4262662514e-06,
            -0.0057609940901,
            0.00024053735503,
            -1.2314450199e-07,
        ),
        (
            0.17070154742,
            0.012000289189,
            0.00022508314937,
            2.7578037666e-07,
            0.00024712888219,
            1.0449373768e-05,
            1.3027335327e-08,
        ),
        1.5324382854,
    ),
    "Nelson": (
        (2, 0.0001, -0.01),
        (2.5, 5e-09, -0.05),
        (2.5906836021, 5.6177717026e-09, -0.057701013174),
        (0.019149996413, 6.112409654e-09, 0.0039572366543),
        3.7976833176,
    ),
    "MGH09": (
        (25, 39, 41.5, 39),
        (0.25, 0.39, 0.415, 0.39),
        (0.19280693458, 0.19128232873, 0.12305650693, 0.13606233068),
        (0.011435312227, 0.19633220911, 0.080842031232, 0.090025542308),
        0.00030750560385,
    ),
    "MGH10": (
        (2, 400000, 25000),
        (0.02, 4000, 250),
        (0.005609636471, 6181.3463463, 345.22363462),
        (0.00015687892471, 23.309021107, 0.78486103508),
        87.945855171,
    ),
    "MGH17": (
        (50, 150, -100, 1, 2),
        (0.5, 1.5, -1, 0.01, 0.02),
        (0.37541005211, 1.9358469127, -1.4646871366, 0.01286753464, 0.022122699662),
        (0.0020723153551, 0.22031669222, 0.22175707739, 0.00044861358114, 0.00089471996575),
        5.4648946975e-05,
    ),
    "Roszman1": (
        (0.1, -1e-05, 1000, -100),
        (0.2, -5e-06, 1200, -150),
        (0.20196866396, -6.1953516256e-06, 1204.4556708, -181.34269537),
        (0.019172666023, 3.2058931691e-06, 74.050983057, 49.573513849),
        0.00049484847331,
    ),
    "ENSO": (
        (11, 3, 0.5, 40, -0.7, -1.3, 25, -0.3, 1.4),
        (10, 3, 0.5, 44, -1.5, 0.5, 26, -0.1, 1.5),
        (
            10.510749193,
            3.0762128085,
            0.53280138227,
            44.3110887,
            -1.6231428586,
            0.52554493756,
            26.88761444,
            0.21232288488,
            1.4966870418,
        ),
        (
            0.17488832467,
            0.24310052139,
            0.24354686618,
            0.94408025976,
            0.28078369611,
            0.48073701119,
            0.4161293913,
            0.51460022911,
            0.25434468893,
        ),
        788.53978668,
    ),
    "Thurber": (
        (1000, 1000, 400, 40, 0.7, 0.3, 0.03),
        (1300, 1500, 500, 75, 1, 0.4, 0.05),
        (1288.13968, 1491.0792535, 583.23836877, 75.416644291, 0.96629502864, 0.39797285797, 0.049727297349),
        (4.6647963344, 39.571156086, 28.698696102, 5.567537027, 0.031333340687, 0.014984928198, 0.0065842344623),
        5642.7082397,
    ),
    "Rat42": (
        (100, 1, 0.1),
        (75, 2.5, 0.07),
        (72.462237576, 2.6180768402, 0.067359200066),
        (1.7340283401, 0.088295217536, 0.0034465663377),
        8.0565229338,
    ),
    "Rat43": (
        (100, 10, 1, 1),
        (700, 5, 0.75, 1.3),
        (699.6415127, 5.2771253025, 0.75962938329, 1.2792483859),
        (16.302297817, 2.0828735829, 0.19566123451, 0.68761936385),
        8786.404908,
    ),
    "Eckerle4": (
        (1, 10, 500),
        (1.5, 5, 450),
        (1.5543827178, 4.0888321754, 451.54121844),
        (0.015408051163, 0.046803020753, 0.046800518816),
        0.0014635887487,
    ),
    "Bennett5": (
        (-2000, 50, 0.8),
        (-1500, 45, 0.85),
        (-2523.5058043, 46.736564644, 0.93218483193),
        (297.15175411, 1.2448871856, 0.020272299378),
        0.00052404744073,
    ),
    "BoxBOD": (
        (1, 1),
        (100, 0.75),
        (213.80940889, 0.54723748542),
        (12.354515176, 0.10455993237),
        1168.0088766,
    ),
}


# ---- all of them, through the public functions


def table() -> str:
    """From both starts: digits of parameters and standard errors, and evaluations; then digits of `least_squares`."""
    rows = ["dataset    n   start 1: values, errors, nfev   start 2: values, errors, nfev   least_squares: 1, 2"]
    for known in load():
        fits, others = [], []
        for start in known.starts:
            fit = fg.curve_fit(lambda x, *b, f=known.model: f(x, b), known.x, known.y, start, ftol=0, maxfev=5000)
            fits.append(f"{known.digits(fit.popt):12.1f} {_digits(fit.perr, known.deviations):7.1f} {fit.nfev:6,}     ")
            result = fg.least_squares(known.residuals, start, ftol=0, max_nfev=5000)
            others.append(f"{known.digits(result.x):9.1f}")
        rows.append(f"{known.name:10} {len(known.certified)}{''.join(fits)}{''.join(others)}")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
