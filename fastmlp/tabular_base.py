"""What the estimators of tables share: preparation of a table, an ensemble, the mean of what its members predict."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from numbers import Integral, Real
from time import perf_counter
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, column_or_1d

from fastmlp._core import MAX_THREADS, Network
from fastmlp.documentation import PAGE_OF_CLASS
from fastmlp.fitting import Fit
from fastmlp.listener import warn
from fastmlp.rows import Samples
from fastmlp.tabular_columns import Table, doubt, read_table
from fastmlp.tabular_preparation import Categories, Preparation, which_are_categories
from fastmlp.tabular_training import N_FOLDS, PRESETS, Member, Task, folds_of, outputs_of, settings_of, train_members
from fastmlp.targets import check_weights, require_present
from fastmlp.threads import prediction_threads
from fastmlp.validation import naming


@dataclass(frozen=True)
class FittedTable:
    """All that a fit has made, in plain values.

    Attributes
    ----------
    preparation : Preparation or None
        None where rows come prepared.
    names : tuple of str or None
        Of the columns.
    n_units : tuple of int
        Of a network that reads all inputs.
    activation, loss : str
        Of the networks.
    members : tuple of Member
    classes : ndarray or None
        Labels of the outputs of a classifier.
    center, scale : ndarray of shape (n_outputs,)
        Of the outputs of a regressor.
    is_single : bool
        Whether y had one dimension.
    target : str or None
        Name of y, where it had one.
    """

    preparation: Preparation | None
    names: tuple[str, ...] | None
    n_units: tuple[int, ...]
    activation: str
    loss: str
    members: tuple[Member, ...]
    classes: NDArray[Any] | None
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    is_single: bool
    target: str | None = None

    @property
    def n_columns(self) -> int:
        """Of the table; of rows that come prepared, the inputs of their network."""
        return self.members[0].n_inputs if self.preparation is None else len(self.preparation.encodings)

    def network_of(self, member: Member) -> Network:
        """The network whose parameters a member has."""
        return Network((member.n_inputs, *self.n_units[1:]), self.activation, self.loss, "float32")

    def table(self, X: Any, name: str) -> Table:
        """The columns of X in the order of the fit; `name` is the estimator's, for messages."""
        return read_table(X).like(self.names, self.n_columns, name)


@dataclass(frozen=True)
class Targets:
    """y as the engine reads it, and what it means."""

    values: NDArray[Any]
    loss: str
    n_outputs: int
    classes: NDArray[Any] | None
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    is_single: bool


class BaseTabular(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Preparation of a table, members of an ensemble, and the mean of what they predict."""

    _doc_link_module = "fastmlp"
    _doc_link_template = PAGE_OF_CLASS
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "preset": [StrOptions(set(PRESETS))],
        "n_members": [None, Interval(Integral, 1, None, closed="left")],
        "max_time": [None, Interval(Real, 0, inf, closed="neither")],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "scoring": [str, callable, None],
        "verbose": ["verbose", StrOptions({"progress"})],
        "random_state": ["random_state"],
        "n_threads": [None, Interval(Integral, 1, MAX_THREADS, closed="both")],
    }
    _fitted: FittedTable | None = None

    preset: str
    n_members: int | None
    max_time: float | None
    categorical_features: str | ArrayLike | None
    scoring: str | Callable[..., float] | None
    verbose: bool | int | str
    random_state: int | np.random.RandomState | None
    n_threads: int | None

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Prepare the columns and train the members.

        Parameters
        ----------
        X : data frame or array-like of shape (n_rows, n_columns)
            Numbers, text, categories and booleans, with NaN or None for what is missing.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        sample_weight : array-like of shape (n_rows,), default=None
            Not negative; None for ones.
        X_val, y_val, sample_weight_val : like X, y and sample_weight, default=None
            Rows that decide which epoch is kept. Without them each member keeps a fifth of X back, another one each.

        Returns
        -------
        self : estimator
            The same, fitted.

        Raises
        ------
        TypeError, ValueError
            If a parameter or an input is invalid. The estimator is left as it was.

        Warns
        -----
        UserWarning
            Of columns of text that are hardly categories.
        ConvergenceWarning
            If `max_time` has ended the training.
        """
        self._validate_params()
        deadline = inf if self.max_time is None else perf_counter() + self.max_time
        table = read_table(X)
        targets = self._understand(y)
        rows = np.empty(table.n_rows)
        check_consistent_length(targets.values, rows)
        if table.n_rows < 2:
            raise ValueError(f"Found array with n_samples={table.n_rows}: at least 2 rows are needed to train on.")
        weights = self._weigh(check_weights(sample_weight, rows), targets)
        for said in filter(None, map(doubt, table.columns)):
            warn(said)
        random_state = check_random_state(self.random_state)
        preset = PRESETS[self.preset]
        preparation = Preparation.of(table, which_are_categories(table, self.categorical_features))
        names = tuple(column.name for column in table.columns) if table.has_names else None
        quantile = 0.5 if getattr(self, "quantile", None) is None else self.quantile
        asked = {"n_threads": self.n_threads, "verbose": self.verbose, "deadline": deadline, "quantile": quantile}
        n_kept = 0 if X_val is not None else -(-table.n_rows // N_FOLDS)
        settings = settings_of(preset, table.n_rows - n_kept, targets.loss, asked)
        n_units = (preparation.n_inputs, *settings.hidden_layer_sizes, targets.n_outputs)
        about = (targets.classes, targets.center, targets.scale, targets.is_single, _name_of(y))
        fitted = FittedTable(preparation, names, n_units, settings.activation, targets.loss, (), *about)
        held_out = self._held_out(fitted, X_val, y_val, sample_weight_val)
        seeds = random_state.randint(2**31, size=self.n_members or preset.n_members).tolist()
        inputs, folds = preparation.inputs(table), folds_of(targets.values, random_state)
        of_engine = (targets.values, weights, targets.loss, targets.n_outputs)
        task = Task(inputs, preparation.n_plain, *of_engine, folds, held_out, settings)
        scorer = self._scorer(fitted, targets)
        members = train_members(task, seeds, scorer, self.n_threads, type(self).__name__)
        self._fitted = replace(fitted, members=tuple(members))
        return self

    # -- what has been fitted --

    @property
    def n_features_in_(self) -> int:
        """Number of columns."""
        return self._require_fitted().n_columns

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the columns, where X had names."""
        names = self._require_fitted().names
        if names is None:
            raise AttributeError(f"This {type(self).__name__} was fitted without feature names.")
        return np.array(names, dtype=object)

    @property
    def target_name_(self) -> str | None:
        """Name of y, where it had one."""
        return self._require_fitted().target

    @property
    def categories_(self) -> dict[str, tuple[Any, ...]]:
        """The categories of each column that holds categories, by its name."""
        preparation = self._require_fitted().preparation
        assert preparation is not None
        return {each.name: each.values for each in preparation.encodings if isinstance(each, Categories)}

    @property
    def n_outputs_(self) -> int:
        """Number of outputs."""
        return self._require_fitted().n_units[-1]

    @property
    def n_members_(self) -> int:
        """Networks that have been trained."""
        return len(self._require_fitted().members)

    @property
    def n_iter_(self) -> int:
        """Epochs of the first member."""
        return len(self._require_fitted().members[0].loss_curve)

    @property
    def loss_curve_(self) -> list[float]:
        """Loss of each epoch of the first member."""
        return self._require_fitted().members[0].loss_curve

    @property
    def validation_scores_(self) -> list[float]:
        """Validation score of each epoch of the first member."""
        return self._require_fitted().members[0].validation_scores

    @property
    def best_epoch_(self) -> int:
        """Number of the epoch, from 1, that the first member keeps."""
        return self._require_fitted().members[0].best_epoch

    @property
    def best_validation_score_(self) -> float:
        """The highest validation score of the first member, on rows that the preparation may have seen."""
        return max(self.validation_scores_)

    def summary(self) -> str:
        """In one line what was encoded how, and what was trained."""
        fitted = self._require_fitted()
        assert fitted.preparation is not None
        networks = "network" if len(fitted.members) == 1 else "networks"
        units = ", ".join(map(str, fitted.n_units[1:-1]))
        return f"{fitted.preparation.summary()}; {len(fitted.members)} {networks} with hidden layers of {units} units"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a file without pickle, which `fastmlp.load` reads.

        Parameters
        ----------
        path : str or path-like
            Used as it is: no suffix is added.

        Raises
        ------
        NotFittedError
            If the estimator has not been fitted.
        TypeError
            If a parameter cannot be written, such as a function given as `scoring`.
        OSError
            If the file cannot be written.
        """
        from fastmlp import tabular_file

        check_is_fitted(self)
        tabular_file.save(self, path)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write preparation and networks as an ONNX file, which runtimes on many systems and languages read.

        Each column is an input of shape (n_rows, 1) with its name (x0, x1, … where it has none): float64 for numbers
        and booleans, with NaN for what is missing; text for categories, where any text that was not seen in `fit`
        stands for what is missing. Where the fit had an array of numbers, all columns are one input, ``X``. The outputs
        are ``label`` and ``probabilities`` of a classifier, ``variable`` of a regressor.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        ImportError
            If onnx is not installed: ``pip install "fastmlp[onnx]"``.
        NotFittedError
            If the estimator has not been fitted.
        ValueError
            If a column or the classes are of kinds that ONNX does not know.
        """
        from fastmlp.export import onnx_table

        onnx_table.write(self, path)

    def to_c(self, path: str | os.PathLike[str]) -> None:
        """Write preparation and networks as a C99 header: constants and one function, ``NAME_predict``.

        The function takes a double for each column, a number or the number of a category, as the header lists them.

        Parameters
        ----------
        path : str or path-like
            Its last part without the suffix becomes the beginning of all names.

        Raises
        ------
        NotFittedError
            If the estimator has not been fitted.
        ValueError
            If classes are of kinds that C does not know.
        """
        from fastmlp.export import c_table

        c_table.write(self, path)

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted is not None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags

    def _require_fitted(self) -> FittedTable:
        if self._fitted is None:
            raise AttributeError(f"This {type(self).__name__} instance is not fitted yet.")
        return self._fitted

    # -- what the subclasses say --

    def _understand(self, y: Any, fitted: FittedTable | None = None) -> Targets:
        """y as the engine reads it; like that of the fit, where there is one."""
        raise NotImplementedError

    def _weigh(self, weights: NDArray[np.float64] | None, targets: Targets) -> NDArray[np.float64] | None:
        return weights

    def _labels(self, targets: NDArray[Any], fitted: FittedTable) -> NDArray[Any]:
        """Targets as the user knows them, for scorers."""
        raise NotImplementedError

    # -- validation and predictions --

    def _held_out(self, fitted: FittedTable, X_val: Any, y_val: Any, sample_weight_val: Any) -> Samples | None:
        """The rows to validate on that the user has given."""
        if X_val is None and y_val is None and sample_weight_val is None:
            return None
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val go together: one of them was not provided.")
        with naming("X"):
            assert fitted.preparation is not None
            inputs = fitted.preparation.inputs(fitted.table(X_val, type(self).__name__))
        with naming("y"):
            targets = self._understand(y_val, fitted)
            if targets.is_single != fitted.is_single:
                raise ValueError(f"y must have {'one dimension' if fitted.is_single else 'two dimensions'}, as in fit.")
            check_consistent_length(targets.values, inputs)
        with naming("sample_weight"):
            return Samples(inputs, targets.values, self._weigh(check_weights(sample_weight_val, inputs), targets))

    def _scorer(self, fitted: FittedTable, targets: Targets) -> Any:
        """What scores a training on validation rows; None for the accuracy, or the negative loss."""
        if self.scoring is None:
            return None
        scorer = check_scoring(self, self.scoring)

        def score(fit: Fit, samples: Samples, rows: NDArray[np.intp]) -> float:
            view = object.__new__(type(self))
            member = Member(samples.rows.shape[1], fit.params, [], [], 0)
            view.__dict__.update(self.__dict__, _fitted=replace(fitted, preparation=None, members=(member,)))
            weights = {} if samples.weights is None else {"sample_weight": samples.weights}
            return float(scorer(view, samples.rows, self._labels(samples.targets, fitted), **weights))

        return score

    def _outputs(self, X: Any) -> tuple[NDArray[np.float64], FittedTable]:
        """Mean of the members' outputs (n_rows, n_outputs), and what has been fitted."""
        check_is_fitted(self)
        fitted = self._require_fitted()
        if fitted.preparation is None:
            return self._mean(np.asarray(X, np.float32), fitted), fitted
        blocks = fitted.preparation.blocks(fitted.table(X, type(self).__name__))
        return np.concatenate([self._mean(inputs, fitted) for inputs in blocks]), fitted

    def _mean(self, inputs: NDArray[np.float32], fitted: FittedTable) -> NDArray[np.float64]:
        outputs = np.zeros((len(inputs), fitted.n_units[-1]))
        for member in fitted.members:
            network, rows = fitted.network_of(member), inputs[:, : member.n_inputs]
            outputs += outputs_of(network, member.params, rows, self.n_threads or prediction_threads(network, rows))
        return outputs / len(fitted.members)


def _name_of(y: Any) -> str | None:
    """That of a pandas or polars series."""
    name = getattr(y, "name", None)
    return name if isinstance(name, str) and name else None


def checked_targets(y: Any, estimator: Any, dtype: str | None) -> NDArray[Any]:
    """y as an array; a single column as a vector."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )
    require_present(y)
    array: NDArray[Any] = check_array(y, ensure_2d=False, dtype=dtype, estimator=estimator, input_name="y")
    return column_or_1d(array, warn=True) if array.ndim == 2 and array.shape[1] == 1 else array
