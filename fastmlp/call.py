"""One call of fit or partial_fit: from the user's arrays to a training, and from its end back to the estimator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from fastmlp import advice
from fastmlp.callbacks import Functions, Narration, callback_management_context, listeners_of
from fastmlp.checkpoints import Checkpoint
from fastmlp.combinations import check_combination
from fastmlp.engine_settings import batch_size, copy_of
from fastmlp.fitted import Fitted
from fastmlp.fitting import Fit
from fastmlp.layers import hidden_units
from fastmlp.listener import Listener, NonFiniteError, warn
from fastmlp.restarts import Restarts
from fastmlp.rows import Samples, compute_dtype, feature_names, first_rows
from fastmlp.stopping import Divergence, EarlyStopping, Plateau, TargetLoss
from fastmlp.targets import some_weight
from fastmlp.validation import Validation, naming


@dataclass(frozen=True)
class Asked:
    """What a call of fit was asked for beside data.

    Attributes
    ----------
    callbacks : tuple of callable
    checkpoint : str or path-like or None
    checkpoint_seconds : float
    trains : bool
        Whether there is to be any training at all.
    """

    callbacks: tuple[Callable[..., Any], ...] = ()
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_seconds: float = 0.0
    trains: bool = True


class Call:
    """A call of fit or partial_fit, as a context: prepare, train in the body of the with statement, conclude.

    Parameters
    ----------
    estimator : BaseMLP
    data : tuple of X, y, sample_weight
    held_out : tuple of X_val, y_val, sample_weight_val
    classes : array-like or None
        Those that `partial_fit` has been told.
    resumes : bool
        Whether it is partial_fit.
    asked : Asked or None
    """

    def __init__(
        self,
        estimator: Any,
        data: tuple[Any, Any, Any],
        held_out: tuple[Any, Any, Any] = (None, None, None),
        classes: Any = None,
        resumes: bool = False,
        asked: Asked | None = None,
    ) -> None:
        self._asked = asked or Asked()
        self._estimator, self._data, self._held_out = estimator, data, held_out
        self._classes, self._resumes = classes, resumes
        self._settings, self._before = estimator._settings(), estimator._fitted
        self._fit: Any = self._before and self._before.fit
        self._spare: np.random.RandomState | None = None

    def __enter__(self) -> tuple[Fit | Restarts, int, list[Listener]]:
        """Check and prepare everything; return the training, the largest number of its epochs, and its listeners."""
        estimator, settings = self._estimator, self._settings
        X, y, sample_weight = self._data
        with ExitStack() as stack:
            stack.enter_context(callback_management_context(estimator))
            outside = [] if self._resumes else listeners_of(estimator, X, y, sample_weight)
            for listener in reversed(outside):
                stack.callback(self._close, listener)
            check_combination(settings, self._asked.checkpoint is not None)
            self._checkpoint = self._found_checkpoint()
            if self._checkpoint is not None:
                stack.push(self._checkpoint.take_back)
            fitted, samples = self._checked(X, y, sample_weight)
            fit = self._fit = fitted.fit
            stack.enter_context(fit.guard.claimed())
            stack.enter_context(self._unchanged_if_it_fails(fitted, samples))
            listeners = self._listening(fitted, samples)
            self._listeners = [*listeners, *outside]
            fit.adopt(settings, restarts=not self._resumes)
            progress = None
            if self._checkpoint is not None:
                progress = self._checkpoint.progress(fit, samples, self._validation_samples, self._rows)
                self._listeners.insert(0, self._checkpoint)
            fit.begin(samples, settings, self._random_state, estimator._remedy(fit), progress, self._rows)
            estimator._fitted, estimator._valid = fitted, list(vars(settings).values())
            self._stack = stack.pop_all()
        if not self._asked.trains:
            self._listeners, fit.stopped = [], True
        if settings.n_restarts and not self._resumes:
            return self._restarts(fitted, samples), settings.max_iter, self._listeners
        return fit, 1 if self._resumes else settings.max_iter, self._listeners

    def __exit__(self, *failure: Any) -> bool:
        """Keep what the training has made, or what was before it."""
        error = failure[1]
        survives = isinstance(error, NonFiniteError) and any(each.survives(self._fit) for each in self._listeners)
        if not (error is None or survives or isinstance(error, KeyboardInterrupt)):
            return bool(self._stack.__exit__(*failure))
        with self._stack:
            self._conclude(error)
        return True

    def _close(self, listener: Listener) -> None:
        listener.close(self._fit)

    def _conclude(self, error: BaseException | None) -> None:
        """Say how a training has ended that has not failed."""
        fit = self._fit
        diverges = any(isinstance(each, Divergence) and each.sees(fit) for each in self._listeners)
        if isinstance(error, KeyboardInterrupt):
            warn("Training interrupted by user.")
        elif error is not None:
            warn(f"Training stops at its best parameters so far. {error}", ConvergenceWarning)
        elif not (self._resumes or fit.stopped or diverges) and (
            words := advice.about_max_iter(self._settings, fit.loss_curve, fit.samples.rows)
        ):
            warn(words, ConvergenceWarning)
        if not self._resumes:
            fit.n_epochs_of_fit = len(fit.loss_curve)
        for listener in self._listeners:
            listener.finished(fit)

    def _checked(self, X: Any, y: Any, sample_weight: Any) -> tuple[Fitted, Samples]:
        """The training to go on with, or a new one, and its samples."""
        estimator, settings, before = self._estimator, self._settings, self._before
        if self._resumes:
            estimator._check_call(before, settings, self._classes)
        if before is not None and (self._resumes or settings.warm_start):
            rows, fitted = estimator._rows(X, before), before
            targets, n_outputs = estimator._encode(y, before, exact=not self._resumes), before.fit.network.n_units[-1]
        else:
            rows, fitted = first_rows(X, settings.dtype, estimator), None
            targets, n_outputs, loss, labels = estimator._understand(y, self._classes)
        if rows.shape[0] != len(targets):
            check_consistent_length(rows, targets)
        weights = estimator._weigh(sample_weight, rows, targets, fitted.labels if fitted else labels)
        samples = Samples(rows, targets, weights)
        n_units = (rows.shape[1], *hidden_units(settings.hidden_layer_sizes), n_outputs)
        self._random_state = self._generator(settings.random_state)
        if self._checkpoint is not None:
            self._checkpoint.begins_from(self._random_state)
        if settings.n_restarts:
            self._seeds = copy_of(self._random_state).randint(2**32, size=settings.n_restarts, dtype=np.uint32)
        if fitted is not None:
            if n_units != fitted.fit.network.n_units:
                raise ValueError(
                    f"The fitted network has layers of {fitted.fit.network.n_units} units, but now {n_units} are asked "
                    "for: a fit that goes on from the last one needs the same."
                )
            return fitted, samples
        dtype = compute_dtype(rows, settings.dtype)
        try:
            fit = Fit.start(n_units, loss, dtype, settings, samples, self._random_state)
        except MemoryError as error:
            raise estimator._memory_error(error, n_units) from error
        return Fitted(fit, rows.shape[1], feature_names(X), labels), samples

    def _generator(self, random_state: Any) -> np.random.RandomState:
        """The random numbers of the call. To make a generator takes longer than a small step, to seed one does not."""
        if not (self._resumes and self._before and isinstance(random_state, int)):
            generator: np.random.RandomState = check_random_state(random_state)
            return generator
        # Another thread may look for it at the same time.
        self._spare = vars(self._before.fit).pop("spare_generator", None) or np.random.RandomState()
        self._spare.seed(random_state)
        return self._spare

    @contextmanager
    def _unchanged_if_it_fails(self, fitted: Fitted, samples: Samples) -> Iterator[None]:
        """Take everything back that a training has done which ends in an error; let go of what only it needed."""
        fit, estimator, before = fitted.fit, self._estimator, self._before
        # What fails within one step has changed no parameter, and what fails after it keeps the step.
        n_rows = samples.rows.shape[0]
        one_step = self._resumes and n_rows <= batch_size(self._settings, n_rows)
        validates = any(given is not None for given in self._held_out)
        backup = fit.backup(with_arrays=validates or not one_step) if fitted is before else None
        try:
            yield
        except BaseException:
            if backup is not None:
                old = backup["attributes"]
                steps_before = old["step"] if fit.optimizer == old["optimizer"] else 0
                if backup["copies"] or fit.step == steps_before:
                    fit.restore(backup)
            elif estimator._fitted is fitted:  # another thread may have fitted it since then
                if before is None:
                    del estimator._fitted
                else:
                    estimator._fitted = before
            raise
        finally:
            fit.end(keeps_scratch=self._resumes or self._settings.warm_start)
            if self._spare is not None:
                fit.spare_generator = self._spare

    def _listening(self, fitted: Fitted, samples: Samples) -> list[Listener]:
        """The listeners that the call and its hyper-parameters ask for; keeps rows back where they need some."""
        self._rows: NDArray[np.intp] | None = None
        self._validation_samples, learned = None, samples
        if any(given is not None for given in self._held_out):
            self._validation_samples = self._given(fitted, *self._held_out)
            if not self._resumes and (words := advice.about_validation(samples.rows, self._validation_samples.rows)):
                warn(words)
        elif self._settings.early_stopping and self._settings.solver != "lbfgs":
            self._rows, self._validation_samples = self._split(fitted, samples)
            learned = samples._replace(targets=samples.targets[self._rows])
        tell = self._tell()
        listeners: list[Listener] = [Narration(tell, self._validation_samples is not None)]
        listeners += self._stopping(fitted, tell)
        if self._settings.solver != "lbfgs":
            listeners += [Divergence(learned, self._settings, self._resumes)]
        if self._asked.callbacks:
            listeners += [Functions(self._estimator, self._asked.callbacks)]
        return listeners

    def _tell(self) -> Callable[[str], None]:
        return print if self._settings.verbose not in (False, 0, "progress") else lambda message: None

    def _stopping(self, fitted: Fitted, tell: Callable[[str], None] = lambda message: None) -> list[Listener]:
        """The listeners that may end a training, and the validation that they listen to."""
        estimator, settings, fit = self._estimator, self._settings, fitted.fit
        listeners: list[Listener] = []
        if settings.solver != "lbfgs":
            listeners += [EarlyStopping(settings, tell, fit) if settings.early_stopping else Plateau(settings, tell)]
        if settings.target_loss is not None:
            listeners += [TargetLoss(settings.target_loss)]
        if self._validation_samples is not None:
            scorer = settings.scoring
            scorer = scorer if scorer in (None, "loss") else check_scoring(estimator, scorer)
            # Rows that were checked have lost their names.
            view = estimator._view(replace(fitted, feature_names=None))
            labels: NDArray[Any] = estimator._decode(self._validation_samples.targets, fitted)
            listeners += [Validation(view, fit, self._validation_samples, labels, scorer)]
        return listeners

    def _restarts(self, fitted: Fitted, samples: Samples) -> Restarts:
        """The training with its rivals, on these samples."""
        network, settings, estimator = fitted.fit.network, self._settings, self._estimator
        n_threads = 1 if fitted.fit.n_threads == 1 else settings.n_threads
        rows = self._rows
        size = batch_size(settings, fitted.fit.n_rows)  # or each rival would warn of a batch that is too large
        alone = SimpleNamespace(**vars(settings) | {"n_threads": n_threads, "batch_size": size})

        def start(seed: int) -> tuple[Fit, list[Listener]]:
            random_state = np.random.RandomState(seed)
            rival = Fit.start(network.n_units, network.loss, network.precision, alone, samples, random_state)
            listeners = self._stopping(replace(fitted, fit=rival))
            rival.adopt(alone, restarts=True)
            rival.begin(samples, alone, random_state, estimator._remedy(rival), rows=rows)
            return rival, listeners

        return Restarts(fitted.fit, self._seeds.tolist(), start)

    def _found_checkpoint(self) -> Checkpoint | None:
        asked, estimator = self._asked, self._estimator
        if asked.checkpoint is None:
            return None
        return Checkpoint(asked.checkpoint, asked.checkpoint_seconds, type(estimator).__name__, self._settings)

    def _given(self, fitted: Fitted, X_val: Any, y_val: Any, sample_weight_val: Any) -> Samples:
        """The rows to validate on that the user has given."""
        given = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
        for name in ("X_val", "y_val"):
            if given[name] is None:
                other = next(key for key, value in given.items() if value is not None)
                raise ValueError(f"{other} is provided, but {name} was not provided.")
        estimator = self._estimator
        with naming("X"):
            rows = estimator._rows(X_val, fitted)
        with naming("y"):
            targets = estimator._encode(y_val, fitted)
            check_consistent_length(rows, targets)
        with naming("sample_weight"):
            return Samples(rows, targets, estimator._weigh(sample_weight_val, rows, targets, fitted.labels))

    def _split(self, fitted: Fitted, samples: Samples) -> tuple[NDArray[np.intp], Samples]:
        """Numbers of the rows to train on, which nobody copies, and samples to validate on."""
        if self._settings.validation_fraction == 0:
            raise ValueError(
                "early_stopping needs rows to validate on, but validation_fraction is 0: make it larger, or pass X_val "
                "and y_val to fit."
            )
        rows, held_out = train_test_split(
            np.arange(samples.rows.shape[0]),
            random_state=self._random_state,
            test_size=self._settings.validation_fraction,
            stratify=self._estimator._stratify(samples.targets, fitted),
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        weights = None if samples.weights is None else some_weight(samples.weights[held_out])
        return rows, Samples(samples.rows[held_out], samples.targets[held_out], weights)
