"""Activations against formulas worked in high precision, and their derivatives against differences and the compiler."""

import math

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgrad as fg
from fastgrad._dense.activations import ACTIVATIONS, OUTPUTS, activation, softmax

# as papers and manuals have them, of one number
FORMULAS = {
    "identity": lambda z: z,
    "relu": lambda z: max(z, mpmath.mpf(0)),
    "leaky_relu": lambda z: z if z > 0 else z / 100,
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "selu": lambda z: (
        mpmath.mpf("1.0507009873554804934193349852946")
        * (z if z > 0 else mpmath.mpf("1.6732632423543772848170429916717") * (mpmath.expm1(z)))
    ),
    "gelu": lambda z: z * mpmath.ncdf(z),
    "gelu_tanh": lambda z: z / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (z + mpmath.mpf("0.044715") * z**3))),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "tanh": mpmath.tanh,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
}
POINTS = np.array([-30.0, -6.5, -2.0, -0.7, -1e-3, 0.0, 1e-3, 0.4, 1.0, 3.3, 8.0, 30.0])


def test_the_table_holds_what_is_promised():
    assert set(ACTIVATIONS) == set(FORMULAS)
    assert set(OUTPUTS) - set(ACTIVATIONS) == {"softmax"}
    assert all(name == x.name for name, x in OUTPUTS.items())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values(name):
    exact = [float(FORMULAS[name](mpmath.mpf(z))) for z in POINTS.tolist()]
    function = ACTIVATIONS[name].function
    # tails of gelu are differences of nearly equal numbers, in the field's formula too
    atol = 1e-14 if "gelu" in name else 1e-300
    assert_allclose(function(POINTS), exact, rtol=1e-14, atol=atol)
    assert_allclose(fg.vmap(function)(POINTS), exact, rtol=1e-14, atol=atol)


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_and_compiled_code_agree_in_both_dtypes(name, dtype):
    z = np.random.default_rng(3).normal(scale=4, size=(50, 7)).astype(dtype)
    function = OUTPUTS[name].function
    plain, compiled = function(z), fg.vmap(function)(z)
    assert plain.dtype == compiled.dtype == dtype
    eps = np.finfo(dtype).eps
    assert_allclose(plain, compiled, rtol=40 * eps, atol=4 * eps)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_against_high_precision_and_the_compiler(name):
    away = POINTS[POINTS != 0]
    exact = [float(mpmath.diff(FORMULAS[name], mpmath.mpf(z), h=mpmath.mpf(10) ** -7)) for z in away.tolist()]
    pullback = ACTIVATIONS[name].pullback
    assert_allclose(pullback(away, np.ones_like(away)), exact, rtol=1e-7, atol=1e-9)
    derivative = fg.vmap(fg.grad(ACTIVATIONS[name].function))
    assert_allclose(derivative(POINTS), pullback(POINTS, np.ones_like(POINTS)), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "slope"),
    [("relu", 0.0), ("leaky_relu", 0.01), ("elu", 1.0), ("selu", 1.0507009873554805 * 1.6732632423543772)],
)
def test_the_kink_at_zero_belongs_to_the_left(name, slope):
    zero = np.zeros(1)
    assert_allclose(ACTIVATIONS[name].pullback(zero, np.ones(1)), slope, rtol=1e-15)
    assert_allclose(fg.grad(lambda z: np.sum(ACTIVATIONS[name].function(z)))(zero), slope, rtol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_nothing_overflows(name, dtype):  # warnings are errors here
    z = np.array([-1e4, -100, 100, 1e4], dtype)
    function = ACTIVATIONS[name].function
    limits = {"identity": -1e4, "leaky_relu": -100, "elu": -1, "selu": -1.7580993, "tanh": -1}
    right = 1 if name in ("tanh", "sigmoid") else 1e4 * (1.0507009873554805 if name == "selu" else 1)
    for values in (function(z), fg.vmap(function)(z)):
        assert_allclose(values[[0, 3]], [limits.get(name, 0), right], rtol=1e-6, atol=1e-30)
    for slopes in (ACTIVATIONS[name].pullback(z, np.ones_like(z)), fg.vmap(fg.grad(function))(z)):
        assert np.all(np.isfinite(slopes))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax(dtype):
    z = np.array([[1.0, 2.0, 3.0], [1000.0, 1000.0, -1000.0]], dtype)
    p = softmax(z)
    assert p.dtype == dtype
    e = [math.e, math.e**2, math.e**3]
    assert_allclose(p, [[x / sum(e) for x in e], [0.5, 0.5, 0.0]], rtol=1e-6)
    assert_allclose(np.sum(p, axis=-1), 1, rtol=1e-6)
    assert_array_equal(fg.vmap(softmax)(z)[1], p[1])


def test_the_jacobian_of_softmax():
    z, g = np.array([0.3, -1.0, 2.0, 0.0]), np.array([1.0, 2.0, -3.0, 0.5])
    p = np.exp(z) / np.sum(np.exp(z))
    matrix = np.diag(p) - np.outer(p, p)
    assert_allclose(fg.jacobian(softmax)(z), matrix, rtol=1e-13, atol=1e-16)
    assert_allclose(OUTPUTS["softmax"].pullback(z, g), matrix @ g, rtol=1e-13)


def test_a_function_of_ones_own_may_mix_units_and_is_per_row():
    def normalised(z):
        out = np.zeros(len(z))  # which only a substituted NumPy lets traced values fill
        for i in range(len(z)):
            out[i] = z[i] / np.sqrt(1 + np.sum(z**2))
        return out

    own = activation(normalised)
    z, g = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    expected = z / np.sqrt(1 + np.sum(z**2, axis=-1, keepdims=True))
    assert_allclose(own.function(z), expected, rtol=1e-14)
    s = 1 + np.sum(z**2, axis=-1, keepdims=True)
    assert_allclose(own.pullback(z, g), g / np.sqrt(s) - z * np.sum(g * z, -1, keepdims=True) / s**1.5, rtol=1e-12)
    assert own.name == "normalised"
    assert own.function == activation(normalised).function
    assert own.function != activation(lambda z: z).function


def test_numpys_own_functions_are_known_by_identity():
    assert activation(np.tanh) is ACTIVATIONS["tanh"]
    assert activation(np.sin).name == "sin"


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        ("rleu", ValueError, "activation='rleu' is not an activation\n  cure: give one of identity, relu"),
        ("softmax", ValueError, "it belongs to the output"),
        (3, TypeError, "activation must be a name or a NumPy function of z, got 3"),
        (None, TypeError, "got None"),
    ],
)
def test_what_is_no_activation(value, error, says):
    with pytest.raises(error) as caught:
        activation(value)
    assert says in str(caught.value)
