"""What may listen to training: a progress bar, and scikit-learn's callbacks where it has them (from 1.9 on)."""

from typing import Any, Protocol

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""

    def with_callbacks(method: Any) -> Any:
        """The method itself: this scikit-learn has no callbacks."""
        return method


__all__ = ["CallbackSupportMixin", "Listener", "listeners_of", "with_callbacks"]


class Listener(Protocol):
    """What is told of each epoch, or iteration, of one call of fit."""

    def epoch_begins(self) -> None:
        """Listen to the beginning of an epoch."""

    def epoch_ended(self) -> bool:
        """Listen to the end of an epoch; return whether training is to stop."""

    def close(self) -> None:
        """Take note that training has ended, whether well or not."""


class ProgressBar:
    """A bar of tqdm's, which suits terminals and notebooks."""

    def __init__(self, estimator: Any) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError('verbose="progress" needs tqdm: pip install tqdm') from error
        self._estimator = estimator
        self._bar = tqdm(total=estimator.max_iter, desc=type(estimator).__name__, unit="epoch")

    def epoch_begins(self) -> None:
        """Do nothing."""

    def epoch_ended(self) -> bool:
        """Advance the bar."""
        self._bar.set_postfix(loss=f"{self._estimator.loss_:.4g}", refresh=False)
        self._bar.update()
        return False

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


class ScikitLearnCallbacks:
    """The callbacks that were set on an estimator: fit is a task of theirs, and each epoch a task in it."""

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._estimator = estimator
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        # One more than epochs: L-BFGS learns that it has ended after the next iteration has begun.
        self._fit = estimator._init_callback_context(max_subtasks=estimator.max_iter + 1)
        self._fit.call_on_fit_task_begin(**self._arguments)
        self._epoch: Any = None

    def epoch_begins(self) -> None:
        """Begin a task."""
        self._epoch = self._fit.subcontext(task_name="epoch").call_on_fit_task_begin(**self._arguments)

    def epoch_ended(self) -> bool:
        """End the task; return whether a callback asks for the end of training."""
        epoch, self._epoch = self._epoch, None
        return bool(epoch.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._fitted))

    def close(self) -> None:
        """End the tasks that are left."""
        if self._epoch is not None:
            self._epoch.call_on_fit_task_end(estimator=self._estimator)
        if hasattr(self._estimator, "_params"):
            self._fit.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._fitted)

    def _fitted(self) -> dict[str, Any]:
        """What makes a copy of the estimator one that was fitted up to now, and holds no data."""
        return {"_params": self._estimator._params.copy(), "_listeners": (), "_validation": None}


def listeners_of(estimator: Any, X: Any, y: Any, sample_weight: Any) -> tuple[Listener, ...]:
    """Whoever listens to this call of fit: usually nobody."""
    listeners: list[Listener] = []
    if getattr(estimator, "_skl_callbacks", None):
        listeners.append(ScikitLearnCallbacks(estimator, X, y, sample_weight))
    if estimator.verbose == "progress":
        listeners.append(ProgressBar(estimator))
    return tuple(listeners)
