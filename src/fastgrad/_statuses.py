"""How a descent or a training ended: the numbers of `Result.status`, those of fg_outcome in C, and what they mean."""

from __future__ import annotations

RUNNING = -1  # only while a callback looks on
(
    CONVERGED,
    OUT_OF_ITERATIONS,
    NON_FINITE,
    SMALL_CHANGE,
    SMALL_STEP,
    OUT_OF_EVALUATIONS,
    NO_PROGRESS,
    STOPPED,
) = range(8)

SUCCESSES = (CONVERGED, SMALL_CHANGE, SMALL_STEP)

MESSAGES = {
    RUNNING: "still running",
    CONVERGED: "converged: no component of the gradient exceeds gtol",
    OUT_OF_ITERATIONS: "stopped after maxiter iterations",
    NON_FINITE: "stopped where the value or the gradient is not finite; x is the best finite point seen",
    SMALL_CHANGE: "converged: the last step changed the value by no more than ftol",
    SMALL_STEP: "converged: the last step was no longer than xtol",
    OUT_OF_EVALUATIONS: "stopped after maxfev evaluations",
    NO_PROGRESS: "stopped where no step along the search direction lowers the value",
    STOPPED: "stopped by the callback",
}

TRAINING_MESSAGES = MESSAGES | {
    OUT_OF_ITERATIONS: "ran all epochs",
    NON_FINITE: "stopped where the loss or its gradient is not finite; the parameters are those of the best epoch",
    SMALL_CHANGE: "converged: the last step changed the loss by no more than ftol",
    NO_PROGRESS: "stopped where the loss improved no more",
}
