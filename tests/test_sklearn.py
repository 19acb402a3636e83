"""scikit-learn's estimators: its own checks, its classes of the same names as oracles, and what is added to them."""

import doctest
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastgrad as fg
from fastgrad._dense.minibatches import Minibatches
from fastgrad.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, Y_IRIS = datasets.load_iris(return_X_y=True)
X_DIABETES, Y_DIABETES = datasets.load_diabetes(return_X_y=True)
X_DIABETES, Y_DIABETES = 20 * X_DIABETES, (Y_DIABETES - 150) / 80
CLASSES = {
    "three": (X_IRIS, Y_IRIS),
    "two": (X_IRIS, np.array(["other", "versicolor"])[(Y_IRIS == 1).astype(int)]),
    "labels": datasets.make_multilabel_classification(180, 10, n_classes=4, random_state=0),
}
NUMBERS = {
    "squares": (X_DIABETES, Y_DIABETES),
    "several": (X_DIABETES, np.stack([Y_DIABETES, Y_DIABETES**2], axis=1)),
    "poisson": (X_DIABETES, np.rint(np.exp(Y_DIABETES))),
}
DATA = [*CLASSES, *NUMBERS]


def pair(name, **settings):
    """fastgrad's estimator and scikit-learn's, and data."""
    settings = {"max_iter": 25, "shuffle": False, "random_state": 0, "hidden_layer_sizes": (20, 8), **settings}
    if name in CLASSES:
        return MLPClassifier(**settings), neural_network.MLPClassifier(**settings), *CLASSES[name]
    settings["loss"] = "poisson" if name == "poisson" else "squared_error"
    return MLPRegressor(**settings), neural_network.MLPRegressor(**settings), *NUMBERS[name]


def assert_same(mine, theirs, rtol):
    assert mine.n_iter_ == theirs.n_iter_
    assert mine.t_ == theirs.t_
    assert mine.loss_ == pytest.approx(theirs.loss_, rel=rtol)
    if hasattr(theirs, "loss_curve_"):
        np.testing.assert_allclose(mine.loss_curve_, theirs.loss_curve_, rtol)
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(mine, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(a, b, rtol, rtol)


# ---- scikit-learn's protocol


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [
        MLPClassifier(max_iter=20),
        MLPRegressor(max_iter=20),
        MLPClassifier(max_iter=20, activation=["gelu"]),
    ]
)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_are_those_of_scikit_learn_and_a_few_more(name):
    mine = getattr(fg.sklearn, name)().get_params()
    theirs = getattr(neural_network, name)().get_params()
    assert {key: mine[key] for key in theirs} == theirs
    assert set(mine) - set(theirs) == {"dropout", "dtype"}


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_the_examples_of_docstrings_hold(kind):
    runner = doctest.DocTestRunner()
    for case in doctest.DocTestFinder(recurse=False).find(kind, kind.__name__):
        assert runner.run(case).attempted
    assert runner.failures == 0


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_same_is_known_after_a_fit(name, solver):
    mine, theirs, X, y = pair(name, solver=solver, max_iter=2)
    mine.fit(X, y)
    theirs.fit(X, y)
    for key in dir(theirs):
        if key.endswith("_") and not key.startswith("_"):
            a, b = getattr(mine, key), getattr(theirs, key)
            assert np.shape(a) == np.shape(b) if not isinstance(b, list) else len(a) == len(b), key
    np.testing.assert_array_equal(getattr(mine, "classes_", 0), getattr(theirs, "classes_", 0))
    assert (mine.n_layers_, mine.n_outputs_, mine.out_activation_) == (
        theirs.n_layers_, theirs.n_outputs_, theirs.out_activation_,
    )  # fmt: skip
    assert hasattr(mine, "loss_curve_") == hasattr(theirs, "loss_curve_")


# ---- scikit-learn's classes as oracles


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate_init": 0.01, "alpha": 0.1, "batch_size": 64},
        {"learning_rate_init": 0.01, "nesterovs_momentum": False, "activation": "tanh"},
        {"learning_rate_init": 0.01, "momentum": 0, "activation": "identity"},
        {"learning_rate_init": 0.05, "learning_rate": "invscaling", "power_t": 0.3, "activation": "logistic"},
        {"learning_rate_init": 0.02, "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
        {"learning_rate_init": 0.01, "tol": 0.05, "n_iter_no_change": 3},
    ],
    ids=["nesterov", "momentum", "plain", "invscaling", "adaptive", "stopping"],
)
def test_sgd_goes_the_same_way(name, settings):
    mine, theirs, X, y = pair(name, solver="sgd", **settings)
    assert_same(mine.fit(X, y), theirs.fit(X, y), 1e-9)


@pytest.mark.parametrize("name", DATA)
def test_adam_goes_almost_the_same_way(name):
    mine, theirs, X, y = pair(name, batch_size=50, alpha=0, epsilon=1e-12)  # which stands elsewhere in the two
    np.testing.assert_allclose(mine.fit(X, y).loss_curve_, theirs.fit(X, y).loss_curve_, 1e-6)
    mine, theirs, X, y = pair(name, batch_size=50)
    np.testing.assert_allclose(mine.fit(X, y).loss_curve_, theirs.fit(X, y).loss_curve_, 0.02)
    assert mine.score(X, y) == pytest.approx(theirs.score(X, y), abs=0.05)


@pytest.mark.parametrize("name", ["two", "labels", "squares", "several"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_early_stopping_holds_out_the_same_rows_and_keeps_the_best_weights(name, is_weighted):
    settings = {"learning_rate_init": 0.05, "early_stopping": True, "n_iter_no_change": 3, "tol": 0.01}
    mine, theirs, X, y = pair(name, solver="sgd", validation_fraction=0.2, batch_size=400, **settings)
    weights = np.random.default_rng(0).integers(1, 4, len(X)).astype(float) if is_weighted else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the minibatch is larger than what is left
        assert_same(mine.fit(X, y, weights), theirs.fit(X, y, weights), 1e-9)
    np.testing.assert_allclose(mine.validation_scores_, theirs.validation_scores_, 1e-9)
    assert mine.best_validation_score_ == max(mine.validation_scores_)
    if name == "labels":  # where the last epoch is not the best one
        assert mine.best_validation_score_ > mine.validation_scores_[-1]
    assert mine.best_loss_ is None


def test_held_out_rows_have_all_classes():
    seen = []

    class Looking(MLPClassifier):
        def _held_out_score(self, X, target, weights):
            seen.append(np.bincount(target))
            return super()._held_out_score(X, target, weights)

    Looking(max_iter=1, early_stopping=True, random_state=0).fit(X_IRIS, Y_IRIS)
    assert seen[0].tolist() == [5, 5, 5]
    few = np.r_[Y_IRIS[:-1], 3]  # a class of one row cannot be on both sides
    assert Looking(max_iter=1, early_stopping=True, random_state=0).fit(X_IRIS, few).n_iter_ == 1


@pytest.mark.parametrize("name", ["three", "two", "labels", "squares", "poisson"])
def test_lbfgs_goes_the_same_way(name):
    mine, theirs, X, y = pair(name, solver="lbfgs", alpha=1.0, activation="tanh")
    mine.fit(X, y)
    assert mine.loss_ == pytest.approx(theirs.fit(X, y).loss_, rel=1e-4)
    assert mine.n_iter_ == theirs.n_iter_
    assert mine.score(X, y) == pytest.approx(theirs.score(X, y), abs=0.01)


def test_lbfgs_of_several_outputs_minimises_their_sum():
    mine, _, X, y = pair("several", solver="lbfgs", alpha=0)
    assert mine.fit(X, y).loss_ == pytest.approx(0.5 * np.mean(np.sum((mine.predict(X) - y) ** 2, axis=1)))


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_weights_of_rows_count_as_in_scikit_learn(name, solver):
    mine, theirs, X, y = pair(name, solver=solver, batch_size=len(CLASSES.get(name, NUMBERS["squares"])[0]), max_iter=8)
    if name == "several" and solver == "lbfgs":
        y = y[:, 0]  # scikit-learn's value and gradient disagree for several
    weights = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    assert_same(mine.fit(X, y, weights), theirs.fit(X, y, weights), 1e-6)


@pytest.mark.parametrize("name", DATA)
def test_partial_fit_is_an_epoch_each(name):
    mine, theirs, X, y = pair(name, solver="sgd", batch_size=30, learning_rate="invscaling", learning_rate_init=0.05)
    classes = {"classes": np.unique(y)} if name in ("two", "three") else {}
    classes = {"classes": range(4)} if name == "labels" else classes
    for i in range(5):
        rows = slice(30 * i, 30 * i + 30)
        mine.partial_fit(X[rows], y[rows], **classes)
        theirs.partial_fit(X[rows], y[rows], **classes)
    assert_same(mine, theirs, 1e-9)
    assert len(mine.loss_curve_) == 5


def test_a_fit_goes_on_from_the_weights_it_is_given():
    mine, theirs, X, y = pair("three", solver="sgd", warm_start=True, random_state=1)
    mine.set_params(max_iter=1).fit(X, y)
    theirs.set_params(max_iter=3).fit(X, y)
    mine.coefs_ = [w.copy() for w in theirs.coefs_]
    mine.intercepts_ = [b.copy() for b in theirs.intercepts_]
    np.testing.assert_allclose(mine.predict_proba(X), theirs.predict_proba(X), 1e-12)
    first = len(mine.loss_curve_)
    mine.set_params(max_iter=10).fit(X, y)
    theirs.set_params(max_iter=10).fit(X, y)
    np.testing.assert_allclose(mine.loss_curve_[first:], theirs.loss_curve_[3:], 1e-9)
    assert mine.set_params(early_stopping=True, max_iter=2).fit(X, y).best_loss_ is None  # records of another kind
    with pytest.raises(ValueError, match=r"layers of \(4, 20, 8, 3\) units.*\n.*warm_start=False"):
        mine.set_params(hidden_layer_sizes=(5,)).fit(X, y)
    with pytest.raises(ValueError, match="warm_start=True needs all classes"):
        mine.fit(X[:90], y[:90])


def test_digits_are_learnt_as_well_as_by_scikit_learn():
    X, X_test, y, y_test = train_test_split(*datasets.load_digits(return_X_y=True), random_state=0)
    settings = {"hidden_layer_sizes": (64,), "max_iter": 25, "random_state": 0}
    theirs = neural_network.MLPClassifier(**settings).fit(X, y).score(X_test, y_test)
    mine = MLPClassifier(**settings).fit(X, y)
    assert mine.score(X_test, y_test) > theirs - 0.015
    as_bytes = clone(mine).fit(X.astype(np.uint8), y)
    assert as_bytes.loss_curve_ == mine.loss_curve_
    np.testing.assert_array_equal(as_bytes.predict(X_test.astype(np.uint8)), mine.predict(X_test))


# ---- random numbers


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("activation", ["relu", "logistic"])
def test_first_weights_are_those_of_scikit_learn(name, activation):
    mine, theirs, X, y = pair(name, solver="sgd", learning_rate_init=1e-300, max_iter=1, activation=activation)
    mine.fit(X, y)
    for a, b in zip(mine.coefs_, theirs.fit(X, y).coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_random_state_fixes_all_that_is_random():
    settings = {"max_iter": 5, "dropout": 0.3, "early_stopping": True, "batch_size": 32}
    curves = [MLPClassifier(random_state=i, **settings).fit(X_IRIS, Y_IRIS).loss_curve_ for i in (0, 0, 1)]
    assert curves[0] == curves[1] != curves[2]


def test_each_epoch_has_an_order_of_its_own():
    ordered = MLPClassifier(random_state=0, batch_size=32, max_iter=3, shuffle=False).fit(X_IRIS, Y_IRIS)
    shuffled = MLPClassifier(random_state=0, batch_size=32, max_iter=3).fit(X_IRIS, Y_IRIS)
    assert ordered.loss_curve_ != shuffled.loss_curve_


# ---- what scikit-learn's classes do not have


def test_activations_may_differ_by_layer():
    def swish(z):
        return z / (1 + np.exp(-z))

    settings = {"hidden_layer_sizes": (16, 8), "max_iter": 4, "random_state": 0}
    curves = {}
    for name in ("relu", "silu", ["silu", "gelu"], [swish, "gelu"], ("relu", "logistic"), ["relu", "sigmoid"]):
        net = MLPClassifier(activation=name, **settings).fit(X_IRIS, Y_IRIS)
        curves[str(name).replace("(", "[").replace(")", "]")] = net.loss_curve_
    assert curves.pop("['relu', 'logistic']") == curves.pop("['relu', 'sigmoid']")
    own = next(curves.pop(name) for name in list(curves) if "swish" in name)
    np.testing.assert_allclose(own, curves["['silu', 'gelu']"], 1e-9)
    assert len({tuple(curve) for curve in curves.values()}) == 3


@pytest.mark.parametrize("solver", ["adamw", "rmsprop", fg.Lion(1e-3), fg.Adam(fg.schedules.cosine(1e-2, 20))])
def test_every_update_rule_trains(solver):
    net = MLPClassifier(solver=solver, learning_rate_init=0.005, max_iter=20, random_state=0).fit(X_IRIS, Y_IRIS)
    assert net.loss_curve_[-1] < net.loss_curve_[0]
    clone(net).fit(X_IRIS, Y_IRIS)


def test_dropout_drops_in_training_only():
    settings = {"hidden_layer_sizes": (32, 32), "max_iter": 60, "random_state": 0, "learning_rate_init": 0.01}
    net = MLPClassifier(dropout=[0.5, 0.0], **settings).fit(X_IRIS, Y_IRIS)
    assert net.score(X_IRIS, Y_IRIS) > 0.9
    np.testing.assert_array_equal(net.predict_proba(X_IRIS), net.predict_proba(X_IRIS))
    assert net.loss_curve_ != MLPClassifier(**settings).fit(X_IRIS, Y_IRIS).loss_curve_
    with pytest.raises(ValueError, match=r"dropout=0\.5 needs minibatches"):
        MLPClassifier(solver="lbfgs", dropout=0.5).fit(X_IRIS, Y_IRIS)


def test_dtype_is_that_of_the_rows_or_the_one_asked_for():
    for X, dtype, expected in [(X_IRIS, None, "f8"), (X_IRIS.astype("f4"), None, "f4"), (X_IRIS, "float32", "f4")]:
        net = MLPClassifier(max_iter=2, dtype=dtype).fit(X, Y_IRIS)
        assert {w.dtype for w in net.coefs_ + net.intercepts_} == {np.dtype(expected)}
        assert net.predict_proba(X).dtype == expected


def test_sparse_rows_are_those_of_the_dense_matrix():
    X = np.where(X_IRIS > 2, X_IRIS, 0)
    settings = {"max_iter": 3, "random_state": 0}
    for kind in (sparse.csr_matrix, sparse.csc_array):
        net = MLPClassifier(**settings).fit(kind(X), Y_IRIS)
        assert net.loss_curve_ == MLPClassifier(**settings).fit(X, Y_IRIS).loss_curve_
        np.testing.assert_array_equal(net.predict(kind(X)), net.predict(X))


# ---- in company


def test_pipelines_and_grids():
    model = make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=40, learning_rate_init=0.02, random_state=0))
    grid = {"mlpclassifier__alpha": [1e-4, 1e4], "mlpclassifier__activation": ["relu", ["tanh"]]}
    search = GridSearchCV(model, grid, cv=3).fit(X_IRIS, Y_IRIS)
    assert search.best_score_ > 0.93
    assert search.best_params_["mlpclassifier__alpha"] == 1e-4


def test_a_copy_predicts_and_learns_the_same():
    net = MLPClassifier((8,), batch_size=32, random_state=0, solver="adam")
    net.partial_fit(X_IRIS, Y_IRIS, classes=[0, 1, 2]).partial_fit(X_IRIS, Y_IRIS)
    copy = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(copy.predict_proba(X_IRIS), net.predict_proba(X_IRIS))
    for _ in range(3):
        net.partial_fit(X_IRIS, Y_IRIS)
        copy.partial_fit(X_IRIS, Y_IRIS)
    assert copy.loss_curve_ == net.loss_curve_
    assert clone(net).get_params() == net.get_params()
    with pytest.raises(NotFittedError):
        clone(net).predict(X_IRIS)


def test_one_class_is_predicted():
    net = MLPClassifier(max_iter=2).fit(X_IRIS, np.full(len(X_IRIS), "only"))
    assert set(net.predict(X_IRIS)) == {"only"}


def test_log_probabilities():
    net = MLPClassifier(max_iter=5, random_state=0).fit(X_IRIS, Y_IRIS)
    np.testing.assert_allclose(np.exp(net.predict_log_proba(X_IRIS)), net.predict_proba(X_IRIS), 1e-12)
    net.coefs_[-1][:] = 1e5 * np.eye(*net.coefs_[-1].shape)
    assert np.isneginf(net.predict_log_proba(X_IRIS)).any()


# ---- how training ends


def test_a_warning_says_when_training_did_not_converge():
    with pytest.warns(ConvergenceWarning, match="max_iter=2 epochs"):
        MLPClassifier(max_iter=2).fit(X_IRIS, Y_IRIS)
    with pytest.warns(ConvergenceWarning, match="lbfgs did not converge in 2 iterations"):
        MLPClassifier(max_iter=2, solver="lbfgs").fit(X_IRIS, Y_IRIS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(tol=10.0).fit(X_IRIS, Y_IRIS)
        MLPClassifier(tol=10.0).partial_fit(X_IRIS, Y_IRIS, classes=[0, 1, 2])
    with pytest.warns(UserWarning, match="batch_size=1000 is more than there are rows: taking all 150"):
        MLPClassifier(tol=10.0, batch_size=1000).fit(X_IRIS, Y_IRIS)


def test_ctrl_c_keeps_the_weights_so_far(monkeypatch):
    run, calls = Minibatches.run, []

    def interrupted(self, n_epochs):
        calls.append(n_epochs)
        if len(calls) == 4:
            raise KeyboardInterrupt
        run(self, n_epochs)

    monkeypatch.setattr(Minibatches, "run", interrupted)
    net = MLPClassifier(max_iter=10, random_state=0)
    with pytest.warns(UserWarning, match="interrupted"):
        net.fit(X_IRIS, Y_IRIS)
    assert net.n_iter_ == len(net.loss_curve_) == 3
    net.predict(X_IRIS)


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"not finite\n  cure: scale the data.*learning_rate_init=1e\+200"):
        MLPRegressor(solver="sgd", learning_rate_init=1e200).fit(X_DIABETES, Y_DIABETES)


def test_progress_is_printed(capsys):
    MLPClassifier(max_iter=2, verbose=True, early_stopping=True).fit(X_IRIS, Y_IRIS)
    assert [line.split("=")[0] for line in capsys.readouterr().out.splitlines()] == [
        "epoch 1: loss ", "  validation score ", "epoch 2: loss ", "  validation score ",
    ]  # fmt: skip
    settings = {"verbose": True, "tol": 10.0, "n_iter_no_change": 1}
    MLPClassifier(solver="sgd", learning_rate="adaptive", max_iter=3, **settings).fit(X_IRIS, Y_IRIS)
    assert "no improvement by more than tol=10.0 in 1 epochs" in capsys.readouterr().out
    MLPClassifier(solver="lbfgs", max_iter=2, verbose=True).fit(X_IRIS, Y_IRIS)
    assert "lbfgs: loss = " in capsys.readouterr().out


# ---- what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -1}, r"alpha must be a number in \[0, inf\), got -1"),
        ({"alpha": True}, "alpha must be a number"),
        ({"momentum": 1.0}, r"momentum must be a number in \[0, 1\), got 1.0"),
        ({"epsilon": 0}, r"epsilon must be a number in \(0, inf\), got 0"),
        ({"max_iter": 1.5}, r"max_iter must be an integer in \[1, inf\), got 1.5"),
        ({"shuffle": "no"}, "shuffle must be True or False, got 'no'"),
        ({"batch_size": 0}, "batch_size must be a positive integer or 'auto', got 0"),
        ({"n_iter_no_change": 0.5}, "n_iter_no_change must be a positive integer or inf, got 0.5"),
        ({"learning_rate": "falling"}, "learning_rate must be one of 'constant'.*got 'falling'"),
        ({"dtype": "int32"}, "dtype must be float64, float32 or None.*got 'int32'"),
        ({"solver": "newton"}, "solver must be one of 'lbfgs', 'sgd'.*got 'newton'"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be positive integers"),
        ({"activation": "step"}, "activation='step'"),
        ({"activation": ["relu", "tanh"]}, "activation"),
        ({"dropout": 1.0}, "dropout must be a share"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "holds out 1 of 150 rows"),
        ({"random_state": "x"}, "seed"),
    ],
)
def test_parameters_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**settings).fit(X_IRIS, Y_IRIS)


def test_calls_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="loss must be 'squared_error' or 'poisson', got 'mae'"):
        MLPRegressor(loss="mae").fit(X_DIABETES, Y_DIABETES)
    with pytest.raises(ValueError, match="y must not be negative with loss='poisson'"):
        MLPRegressor(loss="poisson").fit(X_DIABETES, Y_DIABETES)
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    with pytest.raises(ValueError, match="partial_fit holds out no rows"):
        MLPRegressor(early_stopping=True).partial_fit(X_DIABETES, Y_DIABETES)
    with pytest.raises(ValueError, match="classes must be given at the first call"):
        MLPClassifier().partial_fit(X_IRIS, Y_IRIS)
    net = MLPClassifier().partial_fit(X_IRIS, Y_IRIS, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="others than those of the first call"):
        net.partial_fit(X_IRIS, Y_IRIS, classes=[0, 1])
    with pytest.raises(ValueError, match=r"y holds \[3\], which are none of the classes before"):
        net.partial_fit(X_IRIS, Y_IRIS + 1)
    with pytest.raises(ValueError, match="sample_weight must be finite and not negative"):
        net.fit(X_IRIS, Y_IRIS, np.full(150, -1.0))


# ---- the import


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_scikit_learn_is_imported_by_this_module_alone():
    code = "import sys, fastgrad as fg; fg.MLP, fg.fit; assert 'sklearn' not in sys.modules; fg.sklearn.MLPClassifier()"
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_an_error_says_that_scikit_learn_is_missing():
    done = run("import sys; sys.modules['sklearn'] = None; import fastgrad as fg; fg.sklearn")
    assert "ImportError: fastgrad.sklearn needs scikit-learn 1.6 or newer" in done.stderr
    assert "cure: pip install --upgrade 'scikit-learn>=1.6'" in done.stderr
