"""What `fastgrad.sklearn`'s estimators share: scikit-learn's rules around fastgrad's loop over minibatches.

The rules are those that its users know: what parameters may be, where weights start, the losses with their penalty, and
after which epochs the rate falls or training ends.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import warnings
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from .._arrays import FLOAT32, FLOAT64, is_integer
from ..functions import stop_gradient, vmap
from ..methods import GD, METHODS, Adam, Method, Momentum, Nesterov
from .activations import identity, sigmoid, softmax, softplus
from .layers import layers_of, one_each
from .losses import LOSSES, Loss
from .minibatches import Minibatches
from .objective import dropout_rates, make_task
from .sources import Data, make_data
from .training import Programs, Task, TrainSettings, compile_task, total

FLOATS = (FLOAT64, FLOAT32)
READ = (*FLOATS, np.dtype(np.uint8))  # as they are; other numbers become float64
LEAST_RATE = 1e-6  # of learning_rate="adaptive"

# the parameters that are numbers: the least, the most, which ends belong to the interval, whether they are whole
LIMITS: dict[str, tuple[float, float, str, bool]] = {
    "alpha": (0, math.inf, "[)", False),
    "learning_rate_init": (0, math.inf, "()", False),
    "power_t": (0, math.inf, "[)", False),
    "max_iter": (1, math.inf, "[)", True),
    "tol": (0, math.inf, "[)", False),
    "momentum": (0, 1, "[)", False),
    "validation_fraction": (0, 1, "()", False),
    "beta_1": (0, 1, "[)", False),
    "beta_2": (0, 1, "[)", False),
    "epsilon": (0, math.inf, "()", False),
    "max_fun": (1, math.inf, "[)", True),
}
SWITCHES = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")
RATES = ("constant", "invscaling", "adaptive")


# ---- what is trained


def _squares(o: Any, t: Any) -> Any:
    return 0.5 * np.sum((o - t) ** 2, axis=-1)


def _mean_squares(o: Any, t: Any) -> Any:
    """Reports the mean over outputs and descends on their sum, as scikit-learn does."""
    squares = _squares(o, t)
    return squares - stop_gradient(squares - squares / o.shape[-1])


def _deviance(o: Any, t: Any) -> Any:
    return np.sum(np.exp(o) - t * o + t * np.log(np.where(t > 0, t, 1)) - t, axis=-1)


def _log_loss(o: Any, t: Any) -> Any:
    return np.sum(softplus(o) - t * o, axis=-1)


def _loss(function: Callable[[Any, Any], Any], link: Callable[[Any], Any]) -> Loss:
    return Loss(function.__name__.strip("_"), function, lambda o, t: link(o) - t, lambda y, n_outputs, name: y)


# by the activation of the outputs: what it does, and the loss of one example before it
OUTPUTS: dict[str, tuple[Callable[[Any], Any], Loss]] = {
    "identity": (identity, _loss(_mean_squares, identity)),
    "exp": (np.exp, _loss(_deviance, np.exp)),
    "logistic": (sigmoid, _loss(_log_loss, sigmoid)),
    "softmax": (softmax, LOSSES["cross_entropy"]),
}
SQUARES = _loss(_squares, identity)  # for searches, which need a value and a gradient that agree


class Network:
    """What estimators with the same layers have in common, compiled once; none of them is pickled with it."""

    def __init__(self, sizes: tuple[int, ...], hidden: tuple[Any, ...], out_activation: str) -> None:
        self.layers = layers_of(sizes, hidden, "identity")
        self.link, self.loss = OUTPUTS[out_activation]
        self.predict = vmap(self._of_row, in_axes=(0, None))
        self.compiled = functools.lru_cache(8)(self._compiled)

    def _of_row(self, x: Any, parameters: Any) -> Any:
        return self.link(self.layers.predict(x, parameters))

    def _compiled(
        self, shapes: tuple[tuple[int, ...], ...], dtype: np.dtype, dropout: tuple[float, ...], is_search: bool
    ) -> tuple[Task, Programs]:
        """What is trained, and the programs for rows of these shapes."""
        loss = SQUARES if is_search and self.link is identity else self.loss
        task = make_task(self.layers, loss, dropout, dtype)
        return task, compile_task(task, shapes, evaluates=False)


network = functools.lru_cache(64)(Network)


class Estimator(BaseEstimator):  # type: ignore[misc]
    """All but targets, links and scores, which the classifier and the regressor add."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train the network.

        Parameters
        ----------
        X : {array_like, sparse matrix} of shape (n_samples, n_features)
            Rows of data; a sparse matrix is made dense.
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or numbers in regression.
        sample_weight : array_like of shape (n_samples,), optional
            What each row counts.

        Returns
        -------
        self : object
            The trained estimator.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _takes_steps(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit needs a solver that takes a step for each minibatch, got solver='lbfgs'\n"
                "  cure: solver='adam' or 'sgd'"
            )
        return True

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Any:
        self._check_parameters()
        method = None if self.solver == "lbfgs" else self._method()
        if incremental and self.early_stopping:
            raise ValueError("partial_fit holds out no rows: set early_stopping=False")
        is_first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, target = self._read(X, y, incremental, is_first)
        data = make_data({"X": X, "y": target}, weights=sample_weight)
        random = check_random_state(self.random_state)
        sizes = (X.shape[1], *self._hidden_sizes(), self.n_outputs_)
        if is_first:
            self._start(sizes, random)
        if self._sizes() != sizes:
            raise ValueError(
                f"training would go on with layers of {self._sizes()} units, but hidden_layer_sizes and the data ask"
                f" for {sizes}\n  cure: warm_start=False, or the sizes of the first fit"
            )
        dtype = FLOAT32 if np.dtype(self.dtype or X.dtype) == FLOAT32 else FLOAT64
        parameters = self._packed().astype(dtype)
        layers = self._network().layers.split(parameters)
        self.coefs_, self.intercepts_ = map(list, zip(*layers, strict=True))  # views of what is trained
        if method is None:
            self._search(parameters, data)
        else:
            self._train(parameters, data, method, random, incremental)
        if not math.isfinite(self.loss_) or not np.isfinite(parameters).all():
            raise ValueError(
                "training gave a loss or weights that are not finite\n  cure: scale the data, for example with"
                f" StandardScaler, or lower learning_rate_init={self.learning_rate_init}"
            )
        return self

    # ---- parameters

    def _check_parameters(self) -> None:
        for name, (least, most, ends, is_whole) in LIMITS.items():
            value = getattr(self, name)
            is_kind = is_integer(value) if is_whole else isinstance(value, Real) and not isinstance(value, bool)
            if not is_kind or not least <= value < most or (ends[0] == "(" and value == least):
                kind = "an integer" if is_whole else "a number"
                raise ValueError(f"{name} must be {kind} in {ends[0]}{least}, {most}{ends[1]}, got {value!r}")
        for name in SWITCHES:
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name, other in (("batch_size", "auto"), ("n_iter_no_change", math.inf)):
            value = getattr(self, name)
            if not (is_integer(value) and value > 0) and not (np.ndim(value) == 0 and value == other):
                raise ValueError(f"{name} must be a positive integer or {other!r}, got {value!r}")
        if self.learning_rate not in RATES:
            raise ValueError(f"learning_rate must be one of {', '.join(map(repr, RATES))}, got {self.learning_rate!r}")
        if self.dtype is not None and np.dtype(self.dtype) not in FLOATS:
            raise ValueError(f"dtype must be float64, float32 or None, which is that of X, got {self.dtype!r}")

    def _method(self) -> Method:
        """The update rule with its settings."""
        if isinstance(self.solver, Method):
            return self.solver
        rate = self.learning_rate_init
        if self.solver == "adam":
            return Adam(rate, beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon)
        if self.solver == "sgd":
            if self.momentum == 0:
                return GD(rate)
            return (Nesterov if self.nesterovs_momentum else Momentum)(rate, momentum=self.momentum)
        if isinstance(self.solver, str) and self.solver in METHODS:
            return METHODS[self.solver](rate)
        known = ", ".join(map(repr, ("lbfgs", "sgd", *METHODS)))
        raise ValueError(f"solver must be one of {known}, or an update rule such as fg.AdamW(), got {self.solver!r}")

    def _hidden_sizes(self) -> tuple[int, ...]:
        sizes = np.ravel(self.hidden_layer_sizes).tolist()
        if not all(is_integer(size) and size > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes must be positive integers, one a hidden layer, got {self.hidden_layer_sizes!r}"
            )
        return tuple(sizes)

    def _hidden(self) -> tuple[Any, ...]:
        """Activations of the hidden layers, by fastgrad's names."""
        values = one_each(self.activation, len(self._hidden_sizes()), "activation", "hidden layers")
        return tuple(["sigmoid" if isinstance(value, str) and value == "logistic" else value for value in values])

    def _dropout(self) -> tuple[float, ...]:
        return dropout_rates(self.dropout, len(self._hidden_sizes()))

    # ---- weights

    def _start(self, sizes: tuple[int, ...], random: np.random.RandomState) -> None:
        """First weights and biases, drawn as scikit-learn draws them (Glorot & Bengio 2010), and no records yet."""
        for name in ("_training_state", "loss_curve_"):
            if hasattr(self, name):
                delattr(self, name)
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        self.coefs_, self.intercepts_ = [], []
        hidden = self._hidden()
        for (n_in, n_out), a in zip(itertools.pairwise(sizes), (*hidden, *(hidden[-1:] or ("",))), strict=True):
            bound = math.sqrt((2 if isinstance(a, str) and a == "sigmoid" else 6) / (n_in + n_out))
            self.coefs_.append(random.uniform(-bound, bound, (n_in, n_out)))
            self.intercepts_.append(random.uniform(-bound, bound, n_out))

    def _sizes(self) -> tuple[int, ...]:
        return (*[len(weights) for weights in self.coefs_], len(self.intercepts_[-1]))

    def _network(self) -> Network:
        return network(self._sizes(), self._hidden(), self.out_activation_)

    def _packed(self) -> np.ndarray:
        """Weights and biases as one vector: a user may have set others."""
        return np.concatenate([np.ravel(x) for pair in zip(self.coefs_, self.intercepts_, strict=True) for x in pair])

    def _outputs(self, X: np.ndarray) -> np.ndarray:
        """What the network gives for rows."""
        parameters = self._packed()
        return self._network().predict(X.astype(parameters.dtype, copy=False), parameters)

    # ---- training

    def _search(self, parameters: np.ndarray, data: Data) -> None:
        """L-BFGS over all rows at once, by SciPy."""
        if any(self._dropout()):
            raise ValueError(f"dropout={self.dropout!r} needs minibatches, got solver='lbfgs'\n  cure: solver='adam'")
        task, programs = self._network().compiled(tuple(data.shapes), parameters.dtype, self._dropout(), True)
        l2 = self.alpha / (data.n_rows if data.weights is None else data.weights.sum())

        def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
            x = x.astype(parameters.dtype, copy=False)
            value, gradients = total(task, x, data, programs)
            for leaf, gradient, is_penalised in zip(task.split(x), gradients, task.penalised, strict=True):
                if is_penalised:
                    value += 0.5 * l2 * float(np.vdot(leaf, leaf))
                    gradient += l2 * leaf
            return value, np.concatenate([np.ravel(g) for g in gradients], dtype=np.float64)

        options = {"maxiter": self.max_iter, "maxfun": self.max_fun, "gtol": self.tol}
        found = minimize(objective, parameters, jac=True, method="L-BFGS-B", options=options)
        parameters[:] = found.x
        self.loss_, self.n_iter_ = float(found.fun), min(found.nit, self.max_iter)
        if self.verbose:
            print(f"lbfgs: loss = {self.loss_:.8f} after {self.n_iter_} iterations: {found.message}")
        if not found.success:
            warnings.warn(
                f"lbfgs did not converge in {found.nit} iterations and {found.nfev} evaluations: {found.message}"
                f"\n  cure: scale the data, or raise max_iter={self.max_iter} or max_fun={self.max_fun}",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _train(
        self, parameters: np.ndarray, data: Data, method: Method, random: np.random.RandomState, incremental: bool
    ) -> None:
        """Epochs of minibatches, after each of which the rules of rates and stopping are asked."""
        held_out = None
        if self.early_stopping:
            data, held_out = self._split(data, random)
        n_rows = data.n_rows if data.rows is None else data.rows.shape[1]
        batch_size = min(200, n_rows) if self.batch_size == "auto" else self.batch_size
        if batch_size > n_rows:
            warnings.warn(f"batch_size={batch_size} is more than there are rows: taking all {n_rows}", stacklevel=4)
            batch_size = n_rows
        if not hasattr(self, "loss_curve_") or (self.validation_scores_ is None) != (held_out is None):
            self.loss_curve_: list[float] = []
            self.best_loss_: Any = None if held_out else math.inf
            self.validation_scores_: Any = [] if held_out else None
            self.best_validation_score_: Any = -math.inf if held_out else None
            self._best: Any = None
            self._n_stale = 0
        state = vars(self).get("_training_state") if incremental else None
        if state is None:
            self._rate = self.learning_rate_init
        self.n_iter_, n_epochs = 0, 1 if incremental else self.max_iter
        settings = TrainSettings(
            optimizer=method,
            batch_size=batch_size,
            epochs=n_epochs,
            shuffle=bool(self.shuffle),
            l2=self.alpha,
            share_penalties=True,
            seeds=[random.randint(2**31)],
        )
        task, programs = self._network().compiled(tuple(data.shapes), parameters.dtype, self._dropout(), False)
        training = Minibatches(task, programs, parameters[None], data, settings, state)
        self._training_state = training.state
        try:
            while self.n_iter_ < n_epochs:
                if self.solver == "sgd":
                    training.options["learning_rate"] = np.array([self._rate])
                training.run(1)
                self.loss_ = float(training.parts[-1].loss[0, 0])
                if not math.isfinite(self.loss_):
                    return
                self.n_iter_ += 1
                self.t_ += n_rows
                self.loss_curve_.append(self.loss_)
                if self.verbose:
                    print(f"epoch {self.n_iter_}: loss = {self.loss_:.8f}")
                if self._is_enough(held_out):
                    break
            else:
                if not incremental:
                    warnings.warn(
                        f"training did not converge in max_iter={self.max_iter} epochs\n  cure: raise max_iter, or tol",
                        ConvergenceWarning,
                        stacklevel=4,
                    )
        except KeyboardInterrupt:
            warnings.warn("training was interrupted: the weights so far are kept", stacklevel=4)
        if self._best is not None:
            parameters[:] = self._best

    def _split(self, data: Data, random: np.random.RandomState) -> tuple[Data, Data]:
        """The rows to train with, and those held out."""
        X, target = [np.asarray(source.array) for source in data.sources]
        share, strata = self.validation_fraction, self._strata(target)
        rows = np.arange(data.n_rows)
        kept, held = train_test_split(rows, test_size=share, stratify=strata, random_state=random)
        if len(held) < 2:
            raise ValueError(
                f"validation_fraction={share} holds out {len(held)} of {data.n_rows} rows, which say nothing"
                "\n  cure: a larger share, or early_stopping=False"
            )
        weights = None if data.weights is None else data.weights[held]
        held_out = make_data({"X": X[held], "y": target[held]}, weights=weights, prefix="the held-out ")
        return dataclasses.replace(data, rows=kept[None]), held_out

    def _is_enough(self, held_out: Data | None) -> bool:
        """Look at an epoch: whether training ends, or goes on, perhaps at another rate."""
        if held_out is None:
            value, best = -self.loss_, -self.best_loss_
            self.best_loss_ = min(self.best_loss_, self.loss_)
        else:
            X, target = [np.asarray(source.array) for source in held_out.sources]
            value, best = self._held_out_score(X, target, held_out.weights), self.best_validation_score_
            self.validation_scores_.append(value)
            if value > best:
                self.best_validation_score_, self._best = value, self._packed()
            if self.verbose:
                print(f"  validation score = {value:.6f}")
        self._n_stale = self._n_stale + 1 if value < best + self.tol else 0
        rule = self.learning_rate if self.solver == "sgd" else "constant"
        if rule == "invscaling":
            self._change_rate(self.learning_rate_init / (self.t_ + 1) ** self.power_t)
        if self._n_stale <= self.n_iter_no_change:
            return False
        if self.verbose:
            print(f"no improvement by more than tol={self.tol} in {self.n_iter_no_change} epochs")
        if rule != "adaptive" or self._rate <= LEAST_RATE:
            return True
        self._change_rate(self._rate / 5)
        self._n_stale = 0
        return False

    def _change_rate(self, rate: float) -> None:
        """Steps that are under way keep their length: in scikit-learn momentum is of steps, here it is of gradients."""
        for moment in self._training_state.moments:
            moment *= self._rate / rate
        self._rate = rate

    # ---- rows

    def _validated(self, X: Any, y: Any, is_first: bool, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows and targets, checked by scikit-learn."""
        X, y = validate_data(
            self, X, y, accept_sparse=("csr", "csc"), multi_output=True, dtype=READ, reset=is_first, **settings
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return _dense(X), y

    def _predicted(self, X: Any) -> np.ndarray:
        """The outputs for rows that a caller gives."""
        check_is_fitted(self)
        return self._outputs(_dense(validate_data(self, X, accept_sparse=("csr", "csc"), reset=False, dtype=READ)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _dense(X: Any) -> np.ndarray:
    return X.toarray() if hasattr(X, "toarray") else X


def keep(estimator: Any, parameters: dict[str, Any]) -> None:
    """Set what `__init__` was given as attributes, unchanged, as scikit-learn's `clone` wants it."""
    vars(estimator).update({name: value for name, value in parameters.items() if name not in ("self", "__class__")})
