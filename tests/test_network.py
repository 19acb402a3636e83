"""Networks: predictions, derivatives against worked examples, complex steps and backpropagation by hand; training."""

import copy
import pickle
import signal
import threading
import time

import numpy as np
import pytest
from helpers import assert_same_bits
from numpy.testing import assert_allclose, assert_array_equal

import fastgrad as fg
from fastgrad._dense.activations import ACTIVATIONS

RNG = np.random.default_rng(17)
X = RNG.normal(size=(9, 4))
LABELS = RNG.integers(0, 3, size=9)


def fifth(output, target):
    return np.sum(np.abs(output - target) ** 5)


# loss, output, targets: each loss with outputs that it goes with
CASES = {
    "mse": ("mse", "identity", RNG.normal(size=(9, 3))),
    "mse of probabilities": ("mse", "softmax", RNG.random((9, 3))),
    "mae": ("mae", "identity", RNG.normal(size=(9, 3))),
    "huber": (fg.Huber(0.3), "tanh", RNG.normal(size=(9, 3))),
    "logits": ("binary_cross_entropy", "identity", RNG.integers(0, 2, size=(9, 3))),
    "sigmoid": ("binary_cross_entropy", "sigmoid", RNG.random((9, 3))),
    "labels": ("cross_entropy", "softmax", LABELS),
    "one-hot": ("cross_entropy", "softmax", np.eye(3)[LABELS]),
    "logits of classes": ("cross_entropy", "identity", LABELS),
    "poisson": ("poisson", "identity", RNG.integers(0, 5, size=(9, 3))),
    "hinge": ("hinge", "tanh", RNG.choice([-1, 1], size=(9, 3))),
    "own": (fifth, np.sin, RNG.normal(size=(9, 3))),
}


def mlp(sizes=(4, 6, 5, 3), dtype="float64", rng=1, **options):
    return fg.MLP(list(sizes), dtype=dtype, rng=rng, **options)


def textbook_network():
    """A worked example that many have reproduced: two inputs, two hidden and two output units, all logistic."""
    net = fg.MLP([2, 2, 2], activation="sigmoid", output="sigmoid", dtype="float64")
    net.weights = [[[0.15, 0.25], [0.20, 0.30]], [[0.40, 0.50], [0.45, 0.55]]]
    net.biases = [[0.35, 0.35], [0.60, 0.60]]
    return net, [[0.05, 0.10]], [[0.01, 0.99]]


# ---- parameters


def test_parameters_are_one_vector_of_which_weights_and_biases_are_views():
    net = mlp()
    assert net.sizes == (4, 6, 5, 3)
    assert [W.shape for W in net.weights] == [(4, 6), (6, 5), (5, 3)]
    assert [b.shape for b in net.biases] == [(6,), (5,), (3,)]
    flat = np.concatenate([x.ravel() for layer in zip(net.weights, net.biases, strict=True) for x in layer])
    assert_array_equal(net.parameters, flat)
    before = net(X)
    net.weights[1][2, 3] += 1
    assert net.parameters[4 * 6 + 6 + 2 * 5 + 3] == flat[4 * 6 + 6 + 2 * 5 + 3] + 1
    assert np.any(net(X) != before)
    net.parameters[:] = flat
    assert_same_bits(net(X), before)


def test_parameters_weights_and_biases_can_be_given():
    net, other = mlp(), mlp(rng=2)
    held = net.parameters
    net.weights, net.biases = other.weights, [b + 0.5 for b in other.biases]
    assert net.parameters is held
    assert_array_equal(net.biases[1], np.full(5, 0.5))
    net.parameters = other.parameters.tolist()
    assert_same_bits(net(X), other(X))
    with pytest.raises(TypeError):
        net.weights[0] = np.zeros((4, 6))  # a silent no-op if weights were a list


@pytest.mark.parametrize(
    ("name", "value", "error", "says"),
    [
        ("parameters", np.zeros(3), ValueError, "parameters has shape (3,), but the network's has shape (83,)"),
        ("parameters", ["a"] * 83, TypeError, "parameters has dtype"),
        ("weights", [np.zeros((4, 6))], ValueError, "weights has 1 arrays, but the network has 3 layers"),
        ("weights", [np.zeros((4, 6)), np.zeros((6, 5)), np.zeros((3, 5))], ValueError, "weights[2] has shape (3, 5)"),
        ("biases", [np.zeros(6), np.zeros((5, 1)), np.zeros(3)], ValueError, "biases[1] has shape (5, 1)"),
    ],
)
def test_parameters_that_do_not_fit_leave_the_network_as_it_was(name, value, error, says):
    net = mlp()
    before = net.parameters.copy()
    with pytest.raises(error) as caught:
        setattr(net, name, value)
    assert says in str(caught.value)
    assert_array_equal(net.parameters, before)


def test_the_same_rng_gives_the_same_weights_in_both_dtypes():
    net = mlp(rng=5)
    assert_array_equal(net.parameters, mlp(rng=np.random.default_rng(5)).parameters)
    assert_array_equal(net.parameters.astype(np.float32), mlp(rng=5, dtype="float32").parameters)
    assert np.any(net.parameters != mlp(rng=6).parameters)
    assert np.any(mlp(rng=None).parameters != mlp(rng=None).parameters)
    assert not np.any(np.concatenate(net.biases))


def test_initial_weights_by_layer():
    net = mlp([4, 400, 300, 3], activation=["relu", "tanh"])
    assert_allclose([W.var() for W in net.weights], [2 / 4, 2 / 700, 2 / 303], rtol=0.1)
    net = mlp([4, 5, 3], init=["lecun_normal", lambda n_in, n_out, rng: np.full((n_in, n_out), 7)])
    assert np.all(net.weights[1] == 7)


# ---- predictions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", ["identity", "softmax", "sigmoid"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_predictions_are_those_of_a_forward_pass_in_numpy(activation, output, dtype):
    net = mlp(activation=activation, output=output, dtype=dtype)
    net.biases = [RNG.normal(size=b.shape) for b in net.biases]
    result = net(X)
    assert result.dtype == dtype
    assert_allclose(
        result, net.forward(X).activations[-1], rtol=400 * np.finfo(dtype).eps, atol=1e-6 * (dtype != "float64")
    )


def test_a_network_by_hand():
    net = fg.MLP([2, 2, 1], dtype="float64")
    net.weights = [[[1.0, -1.0], [2.0, 0.5]], [[3.0], [-2.0]]]
    net.biases = [[0.5, -0.25], [1.0]]
    # hidden: relu(1*1 + 2*2 + 0.5) = 5.5, relu(-1 + 1 - 0.25) = 0; output 3 * 5.5 + 1
    assert net([1.0, 2.0]).tolist() == [17.5]
    assert net([[1.0, 2.0], [-1.0, 0.0]]).tolist() == [[17.5], [3 * 0 - 2 * 0.75 + 1]]


def test_one_row_alone_has_the_bits_that_it_has_among_others(threads):
    net = mlp([4, 33, 17, 3], activation="gelu", dtype="float32")
    rows = RNG.normal(size=(1000, 4)).astype(np.float32)
    result = net(rows)
    for i in (0, 1, 500, 999):
        assert_same_bits(net(rows[i]), result[i])
    for n in (1, 2, 3):
        threads(n)
        assert_same_bits(net(rows), result)


def test_layers_may_have_activations_of_their_own():
    net = mlp(activation=["tanh", lambda z: z / (1 + np.max(np.abs(z)))], output=np.arctan)
    h = np.tanh(X @ net.weights[0])
    z = h @ net.weights[1]
    h = z / (1 + np.max(np.abs(z), axis=1, keepdims=True))
    assert_allclose(net(X), np.arctan(h @ net.weights[2]), rtol=1e-12)
    assert_allclose(net.forward(X).activations[-1], net(X), rtol=1e-12)


def test_a_network_without_hidden_layers_is_linear():
    net = mlp([4, 3])
    assert_allclose(net(X), X @ net.weights[0], rtol=1e-13)


READ_ONLY = X.copy()
READ_ONLY.flags.writeable = False
PADDED = np.zeros(X.nbytes + 1, np.uint8)
MISALIGNED = PADDED[1:].view(np.float64).reshape(X.shape)
MISALIGNED[...] = X


@pytest.mark.parametrize(
    "rows",
    [
        X, X.tolist(), X[::-1], X[::2], np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X.astype(">f8"),
        READ_ONLY,
        MISALIGNED, X.astype(np.float32), X.astype(np.float16), (X * 10).astype(int), X > 0, X.astype(np.longdouble),
        np.broadcast_to(X[0], (5, 4)), X[:0], (X * 10).astype(np.uint8),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_may_come_in_any_real_array(rows, dtype):
    net = mlp(dtype=dtype)
    clean = np.array(rows, dtype=np.float64).astype(dtype)
    assert_same_bits(net(rows), net(clean))
    assert net(rows).shape == (len(rows), 3)
    for row in rows[:2]:
        assert_same_bits(net(row), net(np.array(row, np.float64).astype(dtype)))


@pytest.mark.parametrize(
    ("rows", "error", "says"),
    [
        (X[:, :3], ValueError, "X has shape (9, 3), but the network takes rows of 4 numbers: (n, 4)"),
        (X[None], ValueError, "X has shape (1, 9, 4)"),
        (1.0, ValueError, "X has shape ()"),
        (X + 1j, TypeError, "X has dtype complex128"),
        (X.astype(object), TypeError, "X has dtype object"),
        (X.astype(str), TypeError, "X has dtype"),
        (np.ma.masked_array(X), TypeError, "X is a masked array"),
        ([[1.0, 2.0], [3.0]], TypeError, "X does not make an array"),
        (None, TypeError, "X has dtype object"),
        (np.broadcast_to(0.0, (2**28, 2**28)), ValueError, "X has shape"),
    ],
)  # fmt: skip
def test_rows_that_are_none(rows, error, says):
    net = mlp()
    for call in (net, net.forward, lambda rows: net.per_example_gradients(rows, np.zeros((9, 3)))):
        with pytest.raises(error) as caught:
            call(rows)
        assert says in str(caught.value)
    with pytest.raises(error, match=r"^X "):
        net.value_and_grad(rows, np.zeros((9, 3)))


def test_numbers_that_are_not_finite_come_through():
    net = mlp(activation="tanh")
    rows = X.copy()
    rows[3, 1] = np.nan
    assert_array_equal(np.isnan(net(rows)).any(axis=1), np.arange(9) == 3)


# ---- inside other functions


def test_a_network_can_be_part_of_a_traced_function():
    net = mlp(activation="tanh", output="softmax")
    matrix = fg.jacobian(net)(X[0])
    h = 1e-6
    difference = [(net(X[0] + h * e) - net(X[0] - h * e)) / (2 * h) for e in np.eye(4)]
    assert_allclose(matrix, np.transpose(difference), rtol=1e-7, atol=1e-9)
    assert_allclose(fg.vmap(fg.jacobian(net))(X)[0], matrix, rtol=1e-12)
    whole = fg.grad(lambda rows: np.sum(net(rows)[:, 1]))(X)
    assert_allclose(whole[0], matrix[1], rtol=1e-12)
    curvature = fg.hessian(lambda x: net(x)[0])(X[0])
    assert_allclose(curvature, curvature.T, rtol=1e-10, atol=1e-14)
    with pytest.raises(ValueError, match="X has shape"):
        fg.grad(lambda x: np.sum(net(x)))(X[0, :3])


# ---- derivatives


def test_the_textbook_example():
    net, x, t = textbook_network()
    assert_allclose(net(x), [[0.75136507, 0.772928465]], rtol=1e-8)
    value, gradients = net.value_and_grad(x, t)  # the mean over two outputs is half of their sum
    assert_allclose(value, 0.298371109, rtol=1e-8)
    assert_allclose(gradients[1][0][0, 0], 0.082167041, rtol=1e-7)
    new = [W - 0.5 * dW for W, (dW, _) in zip(net.weights, gradients, strict=True)]
    assert_allclose(new[1], [[0.35891648, 0.511301270], [0.408666186, 0.561370121]], rtol=1e-8)
    assert_allclose(new[0], [[0.149780716, 0.24975114], [0.19956143, 0.29950229]], rtol=1e-7)


def complex_loss(net, flat, function, loss):
    """The mean loss at complex parameters, by formulas of its own."""
    a, start = X, 0
    for i, (n_in, n_out) in enumerate(zip(net.sizes, net.sizes[1:], strict=False)):
        W = flat[start : start + n_in * n_out].reshape(n_in, n_out)
        b = flat[start + n_in * n_out : start + n_in * n_out + n_out]
        start += n_in * n_out + n_out
        z = a @ W + b
        a = function(z) if i < len(net.sizes) - 2 else z
    return np.mean(loss(a))


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("tanh", np.tanh),
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        ("silu", lambda z: z / (1 + np.exp(-z))),
        ("softplus", lambda z: np.log(1 + np.exp(z))),
        ("gelu_tanh", lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))),
        ("relu", lambda z: np.where(z.real > 0, z, 0)),
        ("leaky_relu", lambda z: np.where(z.real > 0, z, 0.01 * z)),
        ("elu", lambda z: np.where(z.real > 0, z, np.exp(z) - 1)),
    ],
)
@pytest.mark.parametrize(
    ("loss", "targets", "formula"),
    [
        ("mse", np.ones((9, 3)), lambda o: np.mean((o - 1) ** 2, axis=1)),
        ("cross_entropy", LABELS, lambda o: np.log(np.sum(np.exp(o), axis=1)) - o[np.arange(9), LABELS]),
        ("poisson", np.full((9, 3), 2), lambda o: np.mean(np.exp(o) - 2 * o, axis=1)),
    ],
)
def test_gradients_are_those_of_complex_steps(activation, function, loss, targets, formula):
    net = mlp(activation=activation)
    net.biases = [RNG.normal(size=b.shape) for b in net.biases]
    value, gradients = net.value_and_grad(X, targets, loss)
    flat = np.concatenate([x.ravel() for layer in gradients for x in layer])
    exact = [complex_loss(net, net.parameters + 1e-30j * e, function, formula).imag / 1e-30 for e in np.eye(len(flat))]
    assert_allclose(flat, exact, rtol=1e-11, atol=1e-14)
    assert_allclose(value, complex_loss(net, net.parameters, function, formula), rtol=1e-13)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_compiled_gradients_are_those_of_backpropagation_by_hand(activation, case):
    loss, output, y = CASES[case]
    net = mlp(activation=activation, output=output)
    value, gradients, dX = net.value_and_grad(X, y, loss, wrt_input=True)
    by_hand = net.backward(net.forward(X), y, loss)
    assert_allclose(value, by_hand.value, rtol=1e-12)
    for (dW, db), (its_dW, its_db) in zip(gradients, by_hand.gradients, strict=True):
        assert_allclose(dW, its_dW, rtol=1e-9, atol=1e-13)
        assert_allclose(db, its_db, rtol=1e-9, atol=1e-13)
    assert_allclose(dX, by_hand.dX, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_derivatives_against_differences(case):
    loss, output, y = CASES[case]
    net = mlp(activation="tanh", output=output)
    _, gradients, dX = net.value_and_grad(X, y, loss, wrt_input=True)
    flat = np.concatenate([x.ravel() for layer in gradients for x in layer])
    start, h, difference = net.parameters.copy(), 1e-6, []
    for e in np.eye(len(start)):
        net.parameters = start + h * e
        above = net.value_and_grad(X, y, loss)[0]
        net.parameters = start - h * e
        difference.append((above - net.value_and_grad(X, y, loss)[0]) / (2 * h))
    assert_allclose(flat, difference, rtol=1e-6, atol=1e-8)
    net.parameters = start
    moved = [net.value_and_grad(X + s * h * np.eye(9)[:, :1] * np.eye(4)[1], y, loss)[0] for s in (1, -1)]
    assert_allclose(dX[0, 1], (moved[0] - moved[1]) / (2 * h), rtol=1e-6, atol=1e-8)
    assert dX.shape == X.shape


@pytest.mark.parametrize("case", CASES)
def test_float32_gives_the_same_to_its_precision(case):
    loss, output, y = CASES[case]
    single, double = (mlp(activation="silu", output=output, dtype=dtype) for dtype in ("float32", "float64"))
    value, gradients, dX = single.value_and_grad(X, y, loss, wrt_input=True)
    exact, its_gradients, its_dX = double.value_and_grad(X, y, loss, wrt_input=True)
    assert_allclose(value, exact, rtol=1e-5)
    assert dX.dtype == gradients[0][0].dtype == np.float32
    assert_allclose(dX, its_dX, rtol=1e-3, atol=1e-5 * np.abs(its_dX).max())
    for (dW, db), (its_dW, its_db) in zip(gradients, its_gradients, strict=True):
        assert_allclose(dW, its_dW, rtol=1e-3, atol=1e-5 * np.abs(its_dW).max())
        assert_allclose(db, its_db, rtol=1e-3, atol=1e-5 * np.abs(its_db).max())


def test_gradients_of_examples_sum_to_that_of_their_mean():
    net = mlp(activation="gelu", output="softmax")
    each = net.per_example_gradients(X, LABELS, "cross_entropy")
    _, gradients = net.value_and_grad(X, LABELS, "cross_entropy")
    for (dW, db), (mean_dW, mean_db) in zip(each, gradients, strict=True):
        assert dW.shape == (9, *mean_dW.shape)
        assert db.shape == (9, *mean_db.shape)
        assert_allclose(dW.mean(axis=0), mean_dW, rtol=1e-10, atol=1e-15)
        assert_allclose(db.mean(axis=0), mean_db, rtol=1e-10, atol=1e-15)
    _, alone = net.value_and_grad(X[4:5], LABELS[4:5], "cross_entropy")
    assert_allclose(each[1][0][4], alone[1][0], rtol=1e-12)
    empty = net.per_example_gradients(X[:0], LABELS[:0], "cross_entropy")
    assert [x.shape for x in empty[0]] == [(0, 4, 6), (0, 6)]


def test_weights_of_samples_count_like_repetitions():
    net, y = mlp(activation="tanh"), RNG.normal(size=(9, 3))
    counts = np.array([2, 0, 1, 3, 1, 1, 0, 1, 4])
    value, gradients, dX = net.value_and_grad(X, y, sample_weight=counts * 0.5, wrt_input=True)
    exact, its_gradients = net.value_and_grad(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0))
    assert_allclose(value, exact, rtol=1e-12)
    for pair, its_pair in zip(gradients, its_gradients, strict=True):
        for a, b in zip(pair, its_pair, strict=True):
            assert_allclose(a, b, rtol=1e-10, atol=1e-14)
    assert not np.any(dX[counts == 0])
    _, _, one = net.value_and_grad(X[3], y[3], wrt_input=True)
    assert_allclose(dX[3], one * 3 / counts.sum(), rtol=1e-11)


@pytest.mark.parametrize("weights", [np.ones(3), -np.ones(9), np.zeros(9), np.full(9, np.nan), ["a"] * 9])
def test_weights_of_samples_that_are_none(weights):
    with pytest.raises((ValueError, TypeError), match="sample_weight"):
        mlp().value_and_grad(X, np.zeros((9, 3)), sample_weight=weights)


def test_one_row_is_a_batch_of_one():
    net, y = mlp(), RNG.normal(size=3)
    value, gradients, dX = net.value_and_grad(X[0], y, wrt_input=True)
    assert dX.shape == (4,)
    exact, its_gradients, its_dX = net.value_and_grad(X[:1], y[None], wrt_input=True)
    assert value == exact
    assert_same_bits(dX, its_dX[0])
    assert_same_bits(gradients[0][0], its_gradients[0][0])
    net = mlp([4, 5, 1])
    assert net.value_and_grad(X[0], 2.0)[0] == net.value_and_grad(X[0], [2.0])[0] == float((net(X[0]) - 2)[0] ** 2)


def test_a_column_of_targets_is_never_spread_over_rows():
    net, y = mlp([4, 5, 1]), RNG.normal(size=9)
    exact = np.mean((net(X)[:, 0] - y) ** 2)
    assert_allclose([net.value_and_grad(X, t)[0] for t in (y, y[:, None])], exact, rtol=1e-12)
    assert_allclose(net.backward(net.forward(X), y).value, exact, rtol=1e-12)
    for t in (y[None], y[:8], np.zeros((9, 9))):
        with pytest.raises(ValueError, match="y has shape"):
            net.value_and_grad(X, t)


def test_losses_of_probabilities_do_not_take_probabilities():
    for output, loss in (("sigmoid", "cross_entropy"), ("softmax", "binary_cross_entropy")):
        y = LABELS if loss == "cross_entropy" else np.eye(3)[LABELS]
        net = mlp(output=output)
        for call in (net.value_and_grad, net.per_example_gradients, net.fit):
            with pytest.raises(ValueError, match=f"does not go with output='{output}'"):
                call(X, y, loss=loss)
        with pytest.raises(ValueError, match="cure"):
            net.backward(net.forward(X), y, loss)


def test_training_a_saturated_softmax_still_has_gradients():
    net = fg.MLP([1, 2], output="softmax", dtype="float64", rng=0)
    net.weights = [[[1000.0, -1000.0]]]
    value, [(dW, db)] = net.value_and_grad([[1.0]], [1], "cross_entropy")
    assert (value, dW.tolist(), db.tolist()) == (2000.0, [[1.0, -1.0]], [1.0, -1.0])
    assert net([1.0]).tolist() == [1.0, 0.0]


# ---- step by step


def test_deltas_can_be_read_layer_by_layer():
    net, y = mlp(activation="tanh"), RNG.normal(size=(9, 3))
    trace = net.forward(X)
    back = net.backward(trace, y)
    assert [a.shape for a in trace.activations] == [(9, 4), (9, 6), (9, 5), (9, 3)]
    assert [z.shape for z in trace.preactivations] == [d.shape for d in back.deltas] == [(9, 6), (9, 5), (9, 3)]
    assert_allclose(back.deltas[2], 2 * (trace.activations[3] - y) / 27, rtol=1e-14)
    assert_allclose(back.deltas[1], (back.deltas[2] @ net.weights[2].T) * (1 - trace.activations[2] ** 2), rtol=1e-13)
    assert_allclose(back.gradients[1][0], trace.activations[1].T @ back.deltas[1], rtol=1e-14)
    assert_allclose(back.gradients[1][1], back.deltas[1].sum(axis=0), rtol=1e-14)
    assert_allclose(net.forward(X[0]).preactivations[1], trace.preactivations[1][:1], rtol=1e-13)


# ---- ensembles


@pytest.mark.parametrize("case", CASES)
def test_members_are_networks_side_by_side(case):
    loss, output, y = CASES[case]
    net = mlp(activation="silu", output=output, members=3)
    assert net.parameters.shape == (3, 83)
    assert net.weights[1].shape == (3, 6, 5)
    assert net.biases[1].shape == (3, 5)
    assert len({row.tobytes() for row in net.parameters}) == 3
    results, one = net(X), net(X[2])
    value, gradients, dX = net.value_and_grad(X, y, loss, wrt_input=True)
    each = net.per_example_gradients(X, y, loss)
    back = net.backward(net.forward(X), y, loss)
    assert one.shape == (3, 3)
    alone = mlp(activation="silu", output=output)
    for m in range(3):
        alone.parameters = net.parameters[m]
        assert_same_bits(results[m], alone(X))
        assert_same_bits(one[m], alone(X)[2])
        its_value, its_gradients, its_dX = alone.value_and_grad(X, y, loss, wrt_input=True)
        assert value[m] == its_value
        assert_same_bits(dX[m], its_dX)
        assert_allclose(back.value[m], its_value, rtol=1e-12)
        for i, (dW, db) in enumerate(its_gradients):
            assert_same_bits(gradients[i][0][m], dW)
            assert_same_bits(gradients[i][1][m], db)
            assert_same_bits(each[i][0][m], alone.per_example_gradients(X, y, loss)[i][0])
            assert_allclose(back.gradients[i][0][m], dW, rtol=1e-9, atol=1e-13)
        assert_allclose(back.dX[m], its_dX, rtol=1e-9, atol=1e-13)
    assert_allclose(fg.jacobian(net)(X[0])[1], fg.jacobian(lambda x: net(x)[1])(X[0]), rtol=1e-13)
    assert net(X[:0]).shape == (3, 0, 3)


def test_one_member_still_has_an_axis():
    net = mlp(members=1)
    assert net.parameters.shape == (1, 83)
    assert net(X).shape == (1, 9, 3)
    assert net(X[0]).shape == (1, 3)
    net.weights[0][0, 1, 2] = 5
    assert net.parameters[0, 1 * 6 + 2] == 5


# ---- as an object


def test_what_a_network_is_does_not_change():
    net = fg.MLP([2, 3, 1])
    for name in ("activation", "output", "init", "dtype", "members"):
        with pytest.raises(AttributeError, match=f"{name} of a network does not change: make a new MLP"):
            setattr(net, name, "tanh")
    net.parameters.flags.writeable = False
    with pytest.raises(ValueError, match="parameters is read-only"):
        net.fit(np.zeros((4, 2)), np.zeros((4, 1)))
    with pytest.raises(fg.ShapeError, match="weights has 1 arrays, but the network has 2 layers"):
        net.weights = 3


def test_members_from_a_random_state():
    first, second = (fg.MLP([2, 3, 1], rng=np.random.RandomState(4), members=2) for _ in range(2))
    assert_same_bits(first.parameters, second.parameters)
    assert not np.array_equal(*first.parameters)


def test_repr():
    assert repr(mlp()) == "MLP([4, 6, 5, 3], activation='relu', output='identity', dtype='float64')"
    net = mlp(activation=["relu", fifth], output="softmax", dtype="float32", members=2)
    assert repr(net) == (
        "MLP([4, 6, 5, 3], activation=['relu', 'fifth'], output='softmax', dtype='float32', members=2)"
    )


def halved(z):
    return z / 2


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("how", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_behave_alike(how, members):
    net = mlp(activation=["tanh", halved], members=members)
    y = RNG.normal(size=(9, 3))
    net.fit(X, y, epochs=1)
    other = how(net)
    assert repr(other) == repr(net)
    assert_same_bits(other(X), net(X))
    assert_same_bits(other.value_and_grad(X, y)[1][0][0], net.value_and_grad(X, y)[1][0][0])
    if how is copy.copy:
        return
    assert not np.shares_memory(other.parameters, net.parameters)
    net.fit(X, y, epochs=2, dropout=0.2, batch_size=4)
    other.fit(X, y, epochs=2, dropout=0.2, batch_size=4)
    assert_same_bits(other.parameters, net.parameters)  # the generators were alike too


@pytest.mark.parametrize(
    ("args", "options", "error", "says"),
    [
        ([5], {}, TypeError, "sizes=5 must be a sequence"),
        ([[5]], {}, ValueError, "sizes=[5] must name the units of two layers or more"),
        ([[5, 0, 1]], {}, ValueError, "sizes=[5, 0, 1]"),
        ([[5, -3]], {}, ValueError, "sizes="),
        ([[5, 2.5]], {}, ValueError, "sizes="),
        ([[5, True]], {}, ValueError, "sizes="),
        ([["a", "b"]], {}, ValueError, "sizes="),
        ([[2**31, 2**31]], {}, MemoryError, "parameters, more than"),
        ([[5, 2]], {"dtype": "float16"}, ValueError, "dtype='float16' must be 'float32' or 'float64'"),
        ([[5, 2]], {"dtype": None}, ValueError, "dtype=None"),
        ([[5, 2]], {"dtype": "what"}, ValueError, "dtype='what'"),
        ([[5, 2]], {"activation": ["relu"]}, ValueError, "activation names 1, but the network has 0 hidden layers"),
        ([[5, 4, 2]], {"activation": "rel"}, ValueError, "activation='rel' is not an activation"),
        ([[5, 4, 2]], {"activation": "softmax"}, ValueError, "output='softmax'"),
        ([[5, 4, 2]], {"output": "soft"}, ValueError, "output='soft' is not an activation"),
        ([[5, 4, 2]], {"output": 3}, TypeError, "output must be a name or a NumPy function of z"),
        ([[5, 4, 2]], {"init": "xavier"}, ValueError, "init='xavier'"),
        ([[5, 4, 2]], {"init": ["he_normal"] * 3}, ValueError, "init names 3, but the network has 2 layers"),
        ([[5, 4, 2]], {"rng": "seed"}, TypeError, "rng must be a seed, a Generator or None, got 'seed'"),
        ([[5, 4, 2]], {"members": 0}, ValueError, "members=0"),
        ([[5, 4, 2]], {"members": 2.0}, ValueError, "members=2.0"),
    ],
)
def test_networks_that_are_none(args, options, error, says):
    with pytest.raises(error) as caught:
        fg.MLP(*args, **options)
    assert says in str(caught.value)


# ---- training


def test_a_step_of_gradient_descent_is_the_textbooks():
    net, x, t = textbook_network()
    net.biases = [[0.35, 0.35], [0.60, 0.60]]
    history = net.fit(x, t, optimizer="gd", learning_rate=0.5, epochs=1)
    assert_allclose(history.loss, [0.298371109], rtol=1e-8)
    assert_allclose(net.weights[1], [[0.35891648, 0.511301270], [0.408666186, 0.561370121]], rtol=1e-8)
    assert_allclose(net.weights[0], [[0.149780716, 0.24975114], [0.19956143, 0.29950229]], rtol=1e-7)


def test_exclusive_or_is_learned():
    rows, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    net = mlp([2, 8, 1], activation="tanh", output="sigmoid", rng=3)
    history = net.fit(rows, y, loss="binary_cross_entropy", learning_rate=0.05, epochs=200)
    assert history.loss[-1] < 0.05 < history.loss[0]
    assert_array_equal(net(rows)[:, 0] > 0.5, y)


def test_training_is_fixed_by_the_networks_rng_or_the_calls():
    y = RNG.normal(size=(9, 3))
    nets = [mlp(rng=4) for _ in range(3)]
    for net, options in zip(nets, [{}, {}, {"rng": 8}], strict=True):
        net.fit(X, y, batch_size=2, epochs=2, **options)
    assert_same_bits(nets[0].parameters, nets[1].parameters)
    assert np.any(nets[0].parameters != nets[2].parameters)


def test_validation_gives_loss_and_accuracy():
    net = mlp(output="softmax")
    rows, labels = RNG.normal(size=(5, 4)), RNG.integers(0, 3, size=5)
    history = net.fit(X, LABELS, loss="cross_entropy", validation=(rows, labels), epochs=3)
    assert_allclose(history.validation_loss[-1], net.value_and_grad(rows, labels, "cross_entropy")[0], rtol=1e-12)
    assert_allclose(history.score[-1], np.mean(net(rows).argmax(axis=1) == labels))
    weights = np.arange(5)
    history = net.fit(X, LABELS, loss="cross_entropy", validation=(rows, labels, weights), epochs=1)
    exact, _ = net.value_and_grad(rows, labels, "cross_entropy", sample_weight=weights)
    assert_allclose(history.validation_loss[-1], exact, rtol=1e-12)
    assert net.fit(X, LABELS, loss="cross_entropy", validation=0.4, epochs=1).score.shape == (1,)
    assert mlp().fit(X, X[:, :3], validation=(X, X[:, :3]), epochs=1).score is None


def test_class_weights_are_sample_weights():
    weights = np.array([1.0, 5.0, 0.5])[LABELS]
    for y in (LABELS, np.eye(3)[LABELS]):
        a, b = (mlp(output="softmax") for _ in range(2))
        a.fit(X, y, loss="cross_entropy", class_weight={0: 1.0, 1: 5.0, 2: 0.5}, epochs=2)
        b.fit(X, y, loss="cross_entropy", sample_weight=weights, epochs=2)
        assert_same_bits(a.parameters, b.parameters)
    with pytest.raises(ValueError, match="class_weight is for classes, but the loss has none"):
        mlp().fit(X, X[:, :3], class_weight="balanced")


def test_penalties_spare_biases():
    net = mlp([4, 3])
    net.biases = [np.full(3, 2.0)]
    W, y = net.weights[0].copy(), net(X)
    net.fit(X, y, optimizer="gd", learning_rate=0.1, epochs=1, l1=0.5, l2=0.25)
    assert_allclose(net.weights[0], W - 0.1 * (0.5 * np.sign(W) + 0.25 * W), rtol=1e-12)
    assert_allclose(net.biases[0], 2.0, rtol=1e-12)


def test_dropout_drops_a_share_of_hidden_units_and_scales_the_rest():
    net = fg.MLP([1, 1000, 1], activation="identity", dtype="float64", rng=0)
    net.weights = [np.ones((1, 1000)), np.ones((1000, 1))]
    history = net.fit([[1.0]], [[0.0]], loss="mae", optimizer="gd", learning_rate=1e-12, epochs=200, dropout=0.25)
    kept = history.loss * 0.75  # units that were kept, each scaled by 4 / 3
    assert_allclose(kept, np.rint(kept), atol=1e-4)
    assert abs(kept.mean() - 750) < 5 * np.sqrt(1000 * 0.25 * 0.75 / 200)
    assert 8 < kept.std() < 20  # that of 1000 coins is 13.7
    history = net.fit(
        [[1.0]], [[0.0]], loss="mae", learning_rate=1e-12, epochs=1, dropout=0.25, validation=([[1.0]], [0])
    )
    assert_allclose(history.validation_loss, 1000, rtol=1e-6)  # nothing is dropped when it is looked at


def test_dropout_by_layer():
    a, b = mlp(), mlp()
    y = RNG.normal(size=(9, 3))
    a.fit(X, y, dropout=[0.0, 0.0], epochs=2)
    b.fit(X, y, epochs=2)
    assert_same_bits(a.parameters, b.parameters)
    b.fit(X, y, dropout=[0.0, 0.5], epochs=1)
    for dropout, says in (
        (1.0, "got 1.0"),
        (-0.1, "dropout"),
        ("a", "dropout"),
        ([0.1], "2 hidden layers"),
        (np.nan, "nan"),
    ):
        with pytest.raises(ValueError, match=says):
            b.fit(X, y, dropout=dropout)


def test_images_are_read_with_a_scale():
    pixels = RNG.integers(0, 256, size=(20, 4)).astype(np.uint8)
    y = RNG.normal(size=(20, 3))
    a, b = mlp(), mlp()
    a.fit(pixels, y, scale=1 / 255, epochs=2)
    b.fit(pixels * (1 / 255), y, epochs=2)
    assert_allclose(a.parameters, b.parameters, rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_members_are_trained_at_once(optimizer):
    y = RNG.normal(size=(9, 3))
    net = mlp(activation="tanh", members=3)
    starts = net.parameters.copy()
    rate = None if optimizer == "lbfgs" else np.array([1e-3, 1e-2, 1e-4])
    history = net.fit(X, y, optimizer=optimizer, learning_rate=rate, batch_size=9, shuffle=False, epochs=5)
    assert history.loss.shape == (5, 3)
    for m in range(3):
        alone = mlp(activation="tanh")
        alone.parameters = starts[m]
        alone.fit(X, y, optimizer=optimizer, learning_rate=None if rate is None else rate[m], batch_size=9,
                  shuffle=False, epochs=5)  # fmt: skip
        assert_same_bits(net.parameters[m], alone.parameters)


def test_bootstrap_gives_each_member_rows_of_its_own():
    net = mlp([4, 3], members=2)
    net.parameters[1] = net.parameters[0]
    y = RNG.normal(size=(9, 3))
    net.fit(X, y, optimizer="gd", batch_size=None, epochs=1)
    assert_allclose(net.parameters[0], net.parameters[1], rtol=1e-9)
    net.fit(X, y, optimizer="gd", batch_size=None, epochs=1, bootstrap=True)
    assert np.abs(net.parameters[0] - net.parameters[1]).max() > 1e-6
    net.fit(X, y, epochs=1, bootstrap=True, validation=0.3)


def test_the_callback_sees_each_epoch_and_can_stop():
    seen = []

    def look(epoch):
        seen.append((epoch.epoch, epoch.loss))
        assert epoch.parameters.shape == net.parameters.shape
        if epoch.epoch == 2:
            raise StopIteration

    net = mlp()
    history = net.fit(X, X[:, :3], epochs=10, callback=look)
    assert [number for number, _ in seen] == [0, 1, 2]
    assert [loss for _, loss in seen] == history.loss.tolist()


def test_a_network_that_is_being_trained_refuses_a_second_trainer():
    net, errors = mlp(), []

    def second(epoch):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()

    def attempt():
        try:
            net.fit(X, X[:, :3])
        except RuntimeError as error:
            errors.append(str(error))

    net.fit(X, X[:, :3], epochs=1, callback=second)
    assert len(errors) == 1
    assert "being trained by another call" in errors[0]
    net.fit(X, X[:, :3], epochs=1)


def test_a_loss_that_blows_up_ends_with_a_status():
    net = mlp()
    before = net.parameters.copy()
    history = net.fit(X[:1] * 1e200, X[:1, :3] * 1e200, epochs=5)
    assert history.status == 2
    assert not history.success
    assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"y": np.zeros((8, 3))}, ValueError, "y has shape (8, 3), but X has 9 rows"),
        ({"X": X[:, :2]}, ValueError, "X has shape (9, 2), but the network takes rows of 4 numbers: (n, 4)"),
        ({"X": X[0]}, ValueError, "X has shape (4,)"),
        ({"y": np.full((9, 3), np.nan)}, ValueError, "y holds NaN"),
        ({"loss": "what"}, ValueError, "loss='what'"),
        ({"optimizer": "what"}, ValueError, "optimizer"),
        ({"learning_rate": -1}, ValueError, "learning_rate"),
        ({"learning_rate": [1e-3, 1e-2]}, ValueError, "learning_rate"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"epochs": -1}, ValueError, "epochs"),
        ({"patience": -1}, ValueError, "patience"),
        ({"l2": -1}, ValueError, "l2"),
        ({"scale": "a"}, ValueError, "scale"),
        ({"rng": "a"}, TypeError, "rng must be a seed"),
        ({"sample_weight": np.ones(3)}, ValueError, "sample_weight has shape (3,)"),
        ({"validation": 1.5}, ValueError, "validation"),
        ({"validation": (X,)}, ValueError, "validation has 1 entries"),
        ({"validation": (X[:, :2], X)}, ValueError, "validation's X has shape (9, 2)"),
        ({"validation": (X, X)}, ValueError, "validation's y has shape (9, 4)"),
        ({"monitor": "score"}, ValueError, "monitor"),
    ],
)
def test_bad_arguments_of_fit_leave_the_network_as_it_was(options, error, says):
    net = mlp()
    before = net.parameters.copy()
    with pytest.raises(error) as caught:
        net.fit(**({"X": X, "y": np.zeros((9, 3))} | options))
    assert says in str(caught.value)
    assert_array_equal(net.parameters, before)
    net.fit(X, np.zeros((9, 3)), epochs=1)  # and usable


def test_ctrl_c_is_seen_within_one_large_step():
    net = fg.MLP([300, 300], rng=0)
    X = np.broadcast_to(np.float32(1.0), (400_000, 300))
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    began = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, X, batch_size=None, epochs=50)
    timer.join()
    assert time.perf_counter() - began < 5  # all of it takes a minute
