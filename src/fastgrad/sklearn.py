"""Networks behind scikit-learn's protocol: `MLPClassifier` and `MLPRegressor` stand in for its classes of those names.

scikit-learn is an optional extra, which nothing else in fastgrad imports.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.metrics import r2_score
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import type_of_target, unique_labels
    from sklearn.utils.validation import validate_data  # noqa: F401 - the youngest of what is used
except ImportError as error:
    raise ImportError(
        f"fastgrad.sklearn needs scikit-learn 1.6 or newer: {error}\n  cure: pip install --upgrade 'scikit-learn>=1.6'"
    ) from error

from ._dense.estimator import Estimator, keep

__all__ = ["MLPClassifier", "MLPRegressor"]


class MLPClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A network of dense layers that classifies: scikit-learn's `MLPClassifier`, trained by fastgrad.

    Labels may be of two classes, of more, or several at once (multilabel).

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, optional
        Units of the hidden layers; ``()`` for none.
    activation : str, callable, or sequence of these, optional
        Of the hidden layers, one for all or one each: "identity", "logistic" (also called "sigmoid"), "tanh", "relu",
        "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "silu", "softplus", or a NumPy function of a row's
        pre-activations.
    solver : str or update rule, optional
        "adam"; "sgd", with the momentum and the `learning_rate` below; "lbfgs", which uses all rows at once; another of
        fastgrad's update rules by name, such as "adamw", which takes `learning_rate_init`; or an object with its
        settings, such as ``fg.AdamW(fg.schedules.cosine(1e-2, 1000))``, which has a rate of its own.
    alpha : float, optional
        Penalty ``alpha / 2`` times the sum of the squares of all weights, divided by the rows of the minibatch (by the
        sum of their weights).
    batch_size : int or "auto", optional
        Rows of a minibatch; "auto" takes 200, or all where there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}, optional
        How "sgd" changes its rate: not at all; to ``learning_rate_init / (t + 1) ** power_t`` after t rows; or to a
        fifth, whenever training would have stopped, until it is 1e-6.
    learning_rate_init : float, optional
        The first rate.
    power_t : float, optional
        See `learning_rate`.
    max_iter : int, optional
        The most epochs, or iterations of "lbfgs".
    shuffle : bool, optional
        Whether each epoch takes the rows in a new random order.
    random_state : int, RandomState or None, optional
        Fixes first weights (they are those of scikit-learn's class), orders of rows, held-out rows and dropout.
    tol : float, optional
        Training stops when the loss was not lower by it, or the held-out score not higher, in more than
        `n_iter_no_change` epochs in a row; and "lbfgs" when no component of the gradient is larger.
    verbose : bool, optional
        Whether each epoch prints a line.
    warm_start : bool, optional
        Whether `fit` goes on from the weights of the last fit, or from those set as `coefs_` and `intercepts_`.
    momentum : float, optional
        Of "sgd", at least 0 and less than 1.
    nesterovs_momentum : bool, optional
        Whether that is Nesterov's.
    early_stopping : bool, optional
        Whether rows are held out, whose score (accuracy, or R² in regression) decides when training stops. The weights
        of the best epoch are kept; without held-out rows, those of the last.
    validation_fraction : float, optional
        The share of rows that are held out; classes keep theirs where they can.
    beta_1, beta_2, epsilon : float, optional
        Of "adam", see `fastgrad.Adam`.
    n_iter_no_change : int, optional
        See `tol`.
    max_fun : int, optional
        The most evaluations of "lbfgs".
    dropout : float or sequence of float, optional
        Share of the units of each hidden layer that a step drops, one for all or one each.
    dtype : dtype, optional
        What is computed with: float64, or float32, which is faster. That of X by default.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns of `predict_proba`.
    coefs_, intercepts_ : list of ndarray
        Weights ``(n_in, n_out)`` and biases ``(n_out,)`` of every layer.
    loss_ : float
        The last loss, with the penalty.
    loss_curve_ : list of float
        That of each epoch: the mean over its minibatches, each before its step. Not with "lbfgs", as the next three.
    best_loss_ : float or None
        The lowest; None with early stopping.
    validation_scores_ : list of float or None
        The held-out score after each epoch, with early stopping.
    best_validation_score_ : float or None
        The highest of these.
    n_iter_, t_ : int
        Epochs or iterations of the last fit; rows that all training has seen.
    n_layers_, n_outputs_ : int
        Layers, those of inputs and outputs too; outputs.
    out_activation_ : str
        "softmax", or "logistic" for two classes and for multilabel; in regression "identity" or "exp".
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    A sparse matrix is made dense as a whole. Orders of rows are others than scikit-learn's for the same `random_state`;
    without `shuffle` the loss curves are the same, but that `epsilon` is added to Adam's corrected root mean square.

    Examples
    --------
    >>> import fastgrad as fg
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    >>> net = fg.sklearn.MLPClassifier((64,), activation="silu", dropout=0.2, learning_rate_init=0.003, random_state=0)
    >>> bool(net.set_params(dtype="float32", tol=1e-3).fit(X, y).score(X_test, y_test) > 0.95)
    True
    >>> net.predict_proba(X_test[:5]).shape
    (5, 10)
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        dtype: Any = None,
    ) -> None:
        keep(self, locals())

    @available_if(lambda self: self._takes_steps())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Train for one epoch more, with other rows perhaps.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array_like, optional
            All classes; needed at the first call, as `y` need not hold each of them.

        Returns
        -------
        self : MLPClassifier
            The trained estimator.
        """
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("classes must be given at the first call of partial_fit: all that y may ever hold")
            self._learn_classes(y if type_of_target(y).startswith("multilabel") else classes)
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(f"classes={classes!r} are others than those of the first call, {self.classes_}")
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable classes.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            Rows of data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            A class for each row, or for each label 1 where it holds.
        """
        p = self._predicted(X)
        return self._binarizer.inverse_transform(p)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of classes.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            Rows of data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        p = self._predicted(X)
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities of classes.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            Rows of data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    # ---- what the shared part asks for

    def _read(self, X: Any, y: Any, incremental: bool, is_first: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rows; and the number of each one's class, or 0 and 1 for each label."""
        X, y = self._validated(X, y, is_first)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._learn_classes(y)
        else:
            self._check_classes(unique_labels(y))
        hot = self._binarizer.transform(y)
        self.n_outputs_ = hot.shape[1]
        self.out_activation_ = "softmax" if self._binarizer.y_type_ == "multiclass" else "logistic"
        return X, np.argmax(hot, axis=1) if self.out_activation_ == "softmax" else hot.astype(np.uint8)

    def _learn_classes(self, y: Any) -> None:
        self._binarizer = LabelBinarizer().fit(y)
        self.classes_ = self._binarizer.classes_

    def _check_classes(self, found: np.ndarray) -> None:
        if len(unknown := np.setdiff1d(found, self.classes_)):
            raise ValueError(f"y holds {unknown}, which are none of the classes before, {self.classes_}")
        if self.warm_start and len(found) < len(self.classes_):
            raise ValueError(
                f"y holds {found} only, but warm_start=True needs all classes of the fit before, {self.classes_}"
                "\n  cure: partial_fit"
            )

    def _strata(self, target: np.ndarray) -> np.ndarray | None:
        """What held-out rows are to have the same shares of: classes, where each has rows for both parts."""
        if target.ndim == 2 and target.shape[1] > 1:
            return None
        counts = np.unique(target, return_counts=True)[1]
        n_held = math.ceil(self.validation_fraction * len(target))
        return target if counts.min() > 1 and len(counts) <= min(n_held, len(target) - n_held) else None

    def _held_out_score(self, X: np.ndarray, target: np.ndarray, weights: np.ndarray | None) -> float:
        """Accuracy; of several labels all must be right."""
        p = self._outputs(X)
        if not np.isfinite(p).all():
            return math.nan
        if self.out_activation_ == "softmax":
            is_right = np.argmax(p, axis=1) == target
        else:
            is_right = ((p > 0.5) == target).all(axis=1)
        return float(np.average(is_right, weights=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """A network of dense layers for regression: scikit-learn's `MLPRegressor`, trained by fastgrad.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, optional
        Half the squared error, or half the Poisson deviance of the outputs' exponentials, for y that is not negative.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, \
beta_1, beta_2, epsilon, n_iter_no_change, max_fun, dropout, dtype
        As of `MLPClassifier`.

    Attributes
    ----------
    coefs_, intercepts_, loss_, loss_curve_, best_loss_, validation_scores_, best_validation_score_, n_iter_, t_, \
n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As of `MLPClassifier`.

    Notes
    -----
    As in scikit-learn, with several outputs the gradient is that of the sum of their losses, and the squared error that
    is reported their mean; "lbfgs" reports the sum here.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> X = np.linspace(-3, 3, 200)[:, None]
    >>> net = fg.sklearn.MLPRegressor(hidden_layer_sizes=32, activation="tanh", solver="lbfgs", random_state=0)
    >>> bool(net.fit(X, np.sin(X[:, 0])).score(X, np.sin(X[:, 0])) > 0.99)
    True
    """

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        dtype: Any = None,
    ) -> None:
        keep(self, locals())

    @available_if(lambda self: self._takes_steps())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train for one epoch more, with other rows perhaps.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self : MLPRegressor
            The trained estimator.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Outputs for rows.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            Rows of data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            One number for each row where there is one output.
        """
        found = self._predicted(X)
        return found[:, 0] if found.shape[1] == 1 else found

    # ---- what the shared part asks for

    def _read(self, X: Any, y: Any, incremental: bool, is_first: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rows, and a row of targets for each."""
        if self.loss not in ("squared_error", "poisson"):
            raise ValueError(f"loss must be 'squared_error' or 'poisson', got {self.loss!r}")
        X, y = self._validated(X, y, is_first, y_numeric=True)
        target = y.reshape(len(y), -1)
        if self.loss == "poisson" and target.min() < 0:
            raise ValueError(f"y must not be negative with loss='poisson', got {target.min()}")
        self.n_outputs_ = target.shape[1]
        self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        return X, target

    def _strata(self, target: np.ndarray) -> np.ndarray | None:
        return None

    def _held_out_score(self, X: np.ndarray, target: np.ndarray, weights: np.ndarray | None) -> float:
        found = self._outputs(X)
        return float(r2_score(target, found, sample_weight=weights)) if np.isfinite(found).all() else math.nan
