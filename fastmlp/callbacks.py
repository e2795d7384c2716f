"""Listeners that tell: what `verbose` prints, a progress bar, and scikit-learn's callbacks where it has them (1.9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from inspect import Parameter, signature
from time import perf_counter
from typing import Any

import numpy as np

from fastmlp.fitting import Fit
from fastmlp.listener import Listener
from fastmlp.optional import optional

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback._callback_support import callback_management_context
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""

    def callback_management_context(estimator: Any) -> Any:
        """Nothing to tear down: this scikit-learn has no callbacks."""
        return nullcontext()


__all__ = ["CallbackSupportMixin", "Functions", "Narration", "callback_management_context", "listeners_of"]


class Narration(Listener):
    """Prints loss and validation score of each epoch, in scikit-learn's words."""

    def __init__(self, tell: Callable[[str], None], validates: bool) -> None:
        self._tell, self._validates = tell, validates

    def epoch_ended(self, fit: Fit) -> bool:
        """Print them."""
        self._tell(f"Iteration {fit.n_iter}, loss = {fit.last_loss:.8f}")
        if self._validates and fit.validation_scores:
            self._tell(f"Validation score: {fit.validation_scores[-1]:f}")
        return False


class Functions(Listener):
    """Functions that the user gave to `fit`.

    Parameters
    ----------
    estimator : estimator
    functions : iterable of callable
        Each is called with those of the arguments that it names.
    """

    def __init__(self, estimator: Any, functions: Iterable[Callable[..., Any]]) -> None:
        self._estimator = estimator
        self._functions = [(function, _named_by(function)) for function in functions]

    def epoch_begins(self, fit: Fit) -> None:
        """Start the clock."""
        self._start, self._rows = perf_counter(), fit.t

    def measure(self, fit: Fit) -> dict[str, float]:
        """Stop the clock before the validation."""
        self._seconds = perf_counter() - self._start
        return {}

    def epoch_ended(self, fit: Fit) -> bool:
        """Call every function; return whether one wants the end."""
        arguments = {
            "estimator": self._estimator,
            "epoch": fit.n_iter,
            "losses": fit.loss_curve,
            "scores": fit.validation_scores,
            "learning_rate": fit.learning_rate,
            "gradient_norm": fit.gradient_norm,
            "samples_per_second": (fit.t - self._rows or fit.n_rows) / self._seconds,
        }
        answers = [function(**{name: arguments[name] for name in names}) for function, names in self._functions]
        return any(isinstance(answer, bool | np.bool_) and answer for answer in answers)


ARGUMENTS = ("estimator", "epoch", "losses", "scores", "learning_rate", "gradient_norm", "samples_per_second")


def _named_by(function: Callable[..., Any]) -> tuple[str, ...]:
    """The arguments that a function is called with.

    Raises
    ------
    TypeError
        If it is no function, or asks for others.
    """
    if not callable(function):
        raise TypeError(f"callbacks must be functions, got {function!r}. scikit-learn's are set by set_callbacks.")
    parameters = signature(function).parameters.values()
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return ARGUMENTS
    unknown = [each.name for each in parameters if each.name not in ARGUMENTS and each.default is Parameter.empty]
    if unknown:
        raise TypeError(
            f"callbacks are called with the keyword arguments {', '.join(ARGUMENTS)}; {function!r} asks for "
            f"{unknown[0]!r}."
        )
    return tuple(parameter.name for parameter in parameters if parameter.name in ARGUMENTS)


class ProgressBar(Listener):
    """A bar of tqdm's, which suits terminals and notebooks."""

    def __init__(self, name: str, n_epochs: int) -> None:
        tqdm = optional("tqdm.auto", "progress", 'verbose="progress"').tqdm
        self._bar = tqdm(total=n_epochs, desc=name, unit="epoch")

    def epoch_ended(self, fit: Fit) -> bool:
        """Advance the bar."""
        self._bar.set_postfix(loss=f"{fit.last_loss:.4g}", refresh=False)
        self._bar.update()
        return False

    def close(self, fit: Fit | None) -> None:
        """Leave the bar as it is."""
        self._bar.close()


class ScikitLearnCallbacks(Listener):
    """The callbacks that were set on an estimator: fit is a task of theirs, and each epoch a task in it."""

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._estimator = estimator
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        # One more than epochs: L-BFGS learns that it has ended after the next iteration has begun.
        self._fit = estimator._init_callback_context(max_subtasks=estimator.max_iter + 1)
        self._fit.call_on_fit_task_begin(**self._arguments)
        self._epoch: Any = None

    def epoch_begins(self, fit: Fit) -> None:
        """Begin a task."""
        self._epoch = self._fit.subcontext(task_name="epoch").call_on_fit_task_begin(**self._arguments)

    def epoch_ended(self, fit: Fit) -> bool:
        """End the task; return whether a callback asks for the end of training."""
        epoch, self._epoch = self._epoch, None
        # Nothing is needed for the copy that a callback may ask for: copies of an estimator are fitted.
        return bool(epoch.call_on_fit_task_end(**self._arguments, reconstruction_attributes=dict))

    def close(self, fit: Fit | None) -> None:
        """End the tasks that are left."""
        if self._epoch is not None:
            self._epoch.call_on_fit_task_end(estimator=self._estimator)
        if fit is not None:
            self._fit.call_on_fit_task_end(**self._arguments, reconstruction_attributes=dict)


def listeners_of(estimator: Any, X: Any, y: Any, sample_weight: Any) -> list[Listener]:
    """Whoever listens to this call of fit from outside: usually nobody."""
    listeners: list[Listener] = []
    if getattr(estimator, "_skl_callbacks", None):
        listeners.append(ScikitLearnCallbacks(estimator, X, y, sample_weight))
    if estimator.verbose == "progress":
        listeners.append(ProgressBar(type(estimator).__name__, estimator.max_iter))
    return listeners
