"""The update rules' settings: one class each, whose numbers csrc/updates.def reads."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True)
class Method:
    """Settings of an update rule: the learning rate, the rule's own numbers in the order that C reads them, and what
    all rules share.

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size: one for all instances or one each; or a schedule of `fastgrad.schedules`, or a function of the
        instance's iteration t = 0, 1, 2, ...
    clip_value : float, optional
        Components of the gradient are cut to this magnitude.
    clip_norm : float, optional
        A gradient that is longer is shortened to this length; after `clip_value`.
    weight_decay : float, optional
        Every step begins with ``x -= learning_rate * weight_decay * x`` (Loshchilov & Hutter 2019).
    """

    learning_rate: Any = 1e-3
    _: KW_ONLY
    clip_value: float | None = None
    clip_norm: float | None = None
    weight_decay: float = 0.0
    rule: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name in ("clip_value", "clip_norm"):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), 0, above=True, cure="; None clips nothing")
        _check("weight_decay", self.weight_decay, 0)

    def settings(self) -> np.ndarray:
        """The rule's own numbers."""
        own = [f.name for f in dataclasses.fields(self)[1:] if not f.kw_only]
        return np.array([getattr(self, name) for name in own], np.float64)

    def options(self) -> dict[str, Any]:
        """The keyword arguments of `Program.descend` that the method decides on, but for the learning rate."""
        return {
            "settings": self.settings(),
            "clip_value": self.clip_value or 0.0,
            "clip_norm": self.clip_norm or 0.0,
            "weight_decay": self.weight_decay,
        }


def _check(
    name: str,
    value: Any,
    least: float,
    most: float = math.inf,
    above: bool = False,
    below: bool = False,
    cure: str = "",
) -> None:
    """That a setting is a number of an interval, whose ends belong to it unless it must stay `above` or `below`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    inside = (number > least if above else number >= least) and (number < most if below else number <= most)
    if inside and not math.isinf(number):
        return
    lower = (
        f"greater than {least:g}" if above else f"at least {least:g}" if least or most < math.inf else "not negative"
    )
    upper = "" if most == math.inf else f" and less than {most:g}" if below else f" and at most {most:g}"
    raise ValueError(f"{name} must be a finite number {lower}{upper}, got {value!r}{cure}")


def _check_shares(method: Method, *names: str) -> None:
    for name in names:
        _check(name, getattr(method, name), 0, 1, below=True)


@dataclass(frozen=True)
class GD(Method):
    """Gradient descent: ``x -= learning_rate * g``.

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.GD(learning_rate=0.25)).x.round(6)
    array([0.])
    """

    rule = "gd"


@dataclass(frozen=True)
class Momentum(Method):
    """Gradient descent with a heavy ball (Polyak 1964): ``u = momentum * u + g; x -= learning_rate * u``.

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.
    momentum : float
        Share of the last step that is kept, at least 0 and less than 1.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.Momentum(0.1, momentum=0.5)).success
    True
    """

    momentum: float = 0.9
    rule = "momentum"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self, "momentum")


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Nesterov's accelerated gradient (Nesterov 1983) in the form of Sutskever et al. (2013), as torch has it:
    ``u = momentum * u + g; x -= learning_rate * (g + momentum * u)``.

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.
    momentum : float
        Share of the last step that is kept, at least 0 and less than 1.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.Nesterov(0.1, momentum=0.5)).success
    True
    """

    rule = "nesterov"


@dataclass(frozen=True)
class Adagrad(Method):
    """Adagrad (Duchi, Hazan & Singer 2011): steps divided by the root of the sum of all squared gradients.

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.
    learning_rate_decay : float
        At iteration t the step size is divided by ``1 + t * learning_rate_decay``; not negative.
    initial_accumulator_value : float
        What the sum of squares starts from, not negative.
    epsilon : float
        Added to the root, not negative.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.Adagrad(1.0)).success
    True
    """

    learning_rate: Any = 1e-2
    learning_rate_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    epsilon: float = 1e-10
    rule = "adagrad"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("learning_rate_decay", "initial_accumulator_value", "epsilon"):
            _check(name, getattr(self, name), 0)


@dataclass(frozen=True)
class RMSprop(Method):
    """RMSprop (Tieleman & Hinton 2012): steps divided by the root of a running mean of squared gradients.

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.
    alpha : float
        Decay of the running mean, at least 0 and less than 1.
    epsilon : float
        Added to the root, not negative.
    momentum : float
        Share of the last step that is kept, at least 0 and less than 1.
    centered : bool
        Whether to divide by the standard deviation, the running mean of the gradient taken off (Graves 2013).

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> schedule = fg.schedules.exponential(0.1, 0.95)
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.RMSprop(schedule, momentum=0.5)).x.round(3)
    array([0.])
    """

    learning_rate: Any = 1e-2
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    rule = "rmsprop"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self, "alpha", "momentum")
        _check("epsilon", self.epsilon, 0)
        if self.centered not in (False, True):
            raise ValueError(f"centered must be True or False, got {self.centered!r}")


@dataclass(frozen=True)
class Adam(Method):
    """Adam (Kingma & Ba 2015, algorithm 1).

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square, at least 0 and less than 1.
    epsilon : float
        Added to the root of the mean square, not negative.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.Adam(0.1)).success
    True
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    rule = "adam"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self, "beta1", "beta2")
        _check("epsilon", self.epsilon, 0)


@dataclass(frozen=True)
class AMSGrad(Adam):
    """Adam with the largest mean square so far in place of the current one (Reddi, Kale & Kumar 2018).

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square, at least 0 and less than 1.
    epsilon : float
        Added to the root of the mean square, not negative.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.AMSGrad(0.1)).success
    True
    """

    rule = "amsgrad"


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam whose parameters decay by themselves, not through the gradient (Loshchilov & Hutter 2019).

    It is `Adam` with another default of `weight_decay`.

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square, at least 0 and less than 1.
    epsilon : float
        Added to the root of the mean square, not negative.
    weight_decay : float
        Every step begins with ``x -= learning_rate * weight_decay * x``.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum((x - 1) ** 2), [3.0], method=fg.AdamW(0.01, weight_decay=0.1)).x.round(2)
    array([0.96])
    """

    weight_decay: float = field(default=0.01, kw_only=True)


@dataclass(frozen=True)
class NAdam(Method):
    """Adam with Nesterov's momentum (Dozat 2016).

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square, at least 0 and less than 1.
    epsilon : float
        Added to the root of the mean square, not negative.
    momentum_decay : float
        At step t, counted from 1, the momentum is ``beta1 * (1 - 0.96 ** (t * momentum_decay) / 2)``; not negative.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.NAdam(0.1)).success
    True
    """

    learning_rate: Any = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 4e-3
    rule = "nadam"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self, "beta1", "beta2")
        _check("epsilon", self.epsilon, 0)
        _check("momentum_decay", self.momentum_decay, 0)


@dataclass(frozen=True)
class Lion(Method):
    """Lion (Chen et al. 2023): every component moves by the learning rate, in the direction of a running mean's sign.

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        Step size, see `Method`, which also lists the keyword arguments that all methods share.
    beta1, beta2 : float
        Decay of the mean whose sign is taken, and of the one that is kept, at least 0 and less than 1.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> res = fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.Lion(fg.schedules.cosine(0.1, 1000)))
    >>> bool(abs(res.x[0]) < 1e-3)
    True
    """

    learning_rate: Any = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    rule = "lion"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self, "beta1", "beta2")


@dataclass(frozen=True)
class Rprop(Method):
    """Resilient backpropagation (Riedmiller & Braun 1993): steps by the gradient's signs alone, as torch has it.

    Every component has a step size of its own, which grows while the sign of its derivative stays and shrinks when it
    changes.

    Parameters
    ----------
    learning_rate : float, (B,) array_like, schedule or function
        The first step size, see `Method`, which also lists the keyword arguments that all methods share.
    eta_minus, eta_plus : float
        Factors of a step size that shrinks, greater than 0 and less than 1, and that grows, at least 1.
    step_min, step_max : float
        The least and the largest step size, greater than 0.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method="rprop").success
    True
    """

    learning_rate: Any = 1e-2
    eta_minus: float = 0.5
    eta_plus: float = 1.2
    step_min: float = 1e-6
    step_max: float = 50.0
    rule = "rprop"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("eta_minus", self.eta_minus, 0, 1, above=True, below=True)
        _check("eta_plus", self.eta_plus, 1)
        _check("step_min", self.step_min, 0, above=True)
        _check("step_max", self.step_max, self.step_min)


METHODS: dict[str, type[Method]] = {
    kind.__name__.lower(): kind
    for kind in (GD, Momentum, Nesterov, Adagrad, RMSprop, Adam, AMSGrad, AdamW, NAdam, Lion, Rprop)
}
