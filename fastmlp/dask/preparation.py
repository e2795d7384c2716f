"""From dask collections to the job that all workers are told."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
from distributed import Client
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from fastmlp.dask.partitions import About, checksum
from fastmlp.dask.placement import Column, checked
from fastmlp.dask.plan import Plan
from fastmlp.dask.silence import gather
from fastmlp.dask.worker import Job
from fastmlp.engine_settings import copy_of
from fastmlp.fitted import Fitted
from fastmlp.layers import hidden_units
from fastmlp.listener import warn
from fastmlp.rows import compute_dtype
from fastmlp.targets import weights_of_classes
from fastmlp.validation import naming

Triple = tuple[Any, Any, Any]


class Data:
    """X, y and weights on the cluster, checked; those of the rows to validate on, too.

    Parameters
    ----------
    client : Client
    estimator : BaseMLP
        Of one machine.
    targets : str
        Kind of y: "labels" or "values".
    given, held_out : (X, y, sample_weight) as the user gave them
    wait_limit : float

    Attributes
    ----------
    columns : (Column, Column, Column or None)
    held_out : the same, or None
    """

    def __init__(
        self, client: Client, estimator: Any, targets: str, given: Triple, held_out: Triple, wait_limit: float
    ) -> None:
        self._wait_limit = wait_limit
        self._client, self._estimator, self._targets = client, estimator, targets
        self._n_workers = max(len(client.nthreads()), 1)
        self._loaded: list[Column] = []
        self.held_out = None
        try:
            self.columns = self._columns(given, "")
            if any(each is not None for each in held_out):
                for name, each in zip(("X_val", "y_val"), held_out, strict=False):
                    if each is None:
                        raise ValueError(f"X_val and y_val go together, but {name} was not provided.")
                self.held_out = self._columns(held_out, "_val")
                self._require_columns_of_X(held_out[0])
        except BaseException:  # Ctrl-C, too
            self.release()
            raise

    def _columns(self, given: Triple, suffix: str) -> tuple[Column, Column, Column | None]:
        X, y, weights = given
        if y is None:
            name = type(self._estimator).__name__
            raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
        found = {
            name: self._checked(each, kind, name + suffix)
            for name, kind, each in (
                ("X", "X", X),
                ("y", self._targets, y),
                ("sample_weight", "sample_weight", weights),
            )
            if each is not None
        }
        n_rows = found["X"].n_rows
        if not n_rows:
            raise ValueError(f"Found array with 0 sample(s): no partition of X{suffix} has rows.")
        for name, column in found.items():
            if column.n_rows != n_rows:
                raise ValueError(f"X{suffix} has {n_rows} rows, but {name}{suffix} has {column.n_rows}.")
        if suffix and weights is not None and not any(each.highest for each in found["sample_weight"].abouts):
            raise ValueError(f"sample_weight{suffix} must contain at least one non-zero number.")
        return found["X"], found["y"], found.get("sample_weight")

    def _checked(self, collection: Any, kind: str, name: str) -> Column:
        column = checked(
            self._client, collection, kind, name, self._estimator, self._n_workers, self._wait_limit, bool(self._loaded)
        )
        self._loaded.append(column)
        return column

    def _require_columns_of_X(self, X_val: Any) -> None:
        """Raise where the columns of X_val are not those of X, in the words of one machine."""
        assert self.held_out is not None
        rows, known = _row(self.held_out[0], "X_val"), self.rows
        assert rows.shape is not None
        assert known.shape is not None
        fitted = Fitted(None, known.shape[0], known.names)  # type: ignore[arg-type]  # no training yet
        example = X_val._meta if rows.names is not None else np.zeros((1, *rows.shape))
        with naming("X"):
            validate_data(self._estimator._view(fitted), example, reset=False, skip_check_array=True)

    @property
    def rows(self) -> About:
        """What is known of a row of X."""
        return _row(self.columns[0], "X")

    def size_of_targets(self) -> NDArray[np.float64]:
        """A value that is as far from zero as all values are on average."""
        y = self.columns[1]
        return np.array([(sum(each.square for each in y.abouts) / y.n_rows) ** 0.5])

    def checksum(self) -> int:
        """The sum of the bits of X, computed where it lies."""
        sums = self._client.map(checksum, self.columns[0].groups, pure=False)
        total: int = sum(gather(self._client, sums, self._wait_limit, had_workers=True)) % 2**64
        return total

    def release(self) -> None:
        """Let the cluster forget the rows now: a traceback may keep this object alive long after the fit."""
        for column in self._loaded:
            for group in column.groups:
                group.release()


def _row(X: Column, name: str) -> About:
    """What is known of a row of all partitions."""
    abouts = [each for each in X.abouts if each.shape is not None]
    if len(shapes := {each.shape for each in abouts}) > 1:
        raise ValueError(f"partitions of {name} have rows of different lengths: {shapes}")
    return replace(abouts[0], dtype=np.result_type(*(each.dtype for each in abouts if each.dtype is not None)))


def job_of(estimator: Any, settings: Any, data: Data) -> Job:
    """What all workers are told."""
    rows, y = data.rows, data.columns[1]
    assert rows.shape is not None
    assert rows.dtype is not None
    _, n_outputs, loss, labels = estimator._understand(_example(y), None)
    settings = SimpleNamespace(**vars(settings))
    settings.client = None
    heaviest = 1.0 if data.columns[2] is None else max(each.highest for each in data.columns[2].abouts)
    if getattr(settings, "class_weight", None) is not None:
        settings.class_weight = _by_class(settings.class_weight, y, labels)
        heaviest *= max(settings.class_weight.values())
    if not heaviest > 0:
        raise ValueError("Sample weights must contain at least one non-zero number.")
    random_state = check_random_state(settings.random_state)
    begins = copy_of(random_state)
    settings.random_state = None
    dtype = compute_dtype(SimpleNamespace(dtype=rows.dtype), settings.dtype)
    if settings.compression and dtype == "float64":
        raise ValueError("compression='bfloat16' is for gradients of float32: pass dtype='float32'.")
    return Job(
        name=uuid4().hex,
        estimator=estimator,
        settings=settings,
        n_units=(rows.shape[0], *hidden_units(settings.hidden_layer_sizes), n_outputs),
        loss=loss,
        dtype=dtype,
        matrix_dtype=rows.dtype,
        labels=labels,
        names=rows.names,
        plan=_plan(settings, y.n_rows, random_state),
        heaviest=heaviest,
        random_state=begins,
        remedy=estimator._remedy(SimpleNamespace(network=SimpleNamespace(loss=loss))),
    )


def _plan(settings: Any, n_rows: int, random_state: np.random.RandomState) -> Plan:
    if settings.batch_size != "auto" and settings.batch_size > n_rows:
        warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
    batch_size = int(min(200 if settings.batch_size == "auto" else settings.batch_size, n_rows))
    words = random_state.randint(2**32, size=4, dtype=np.uint32)  # not those that the first parameters are made of
    seeds = np.random.RandomState(words).randint(2**32, size=settings.n_blocks, dtype=np.uint32)
    return Plan(n_rows, batch_size, settings.n_blocks, bool(settings.shuffle), tuple(seeds.tolist()))


def _example(y: Column) -> Any:
    """Targets that tell what all of them tell: each class once, or some rows."""
    known = [each for each in y.abouts if each.shape is not None]
    if known[0].classes is None:  # values, of which their number is all that counts
        shape = known[0].shape or ()
        return np.ones((2, *shape))
    if known[0].counts is None:
        return known[0].classes
    return np.unique(np.concatenate([each.classes for each in known if each.classes is not None]))


def _by_class(given: Any, y: Column, labels: Any) -> dict[Any, float]:
    """The weight of each class, for all rows of the cluster."""
    if labels.y_type == "multilabel-indicator":
        raise ValueError("class_weight does not go with several labels on a cluster: use sample_weight.")
    if given != "balanced":
        return dict(zip(labels.classes.tolist(), weights_of_classes(given, labels.classes).tolist(), strict=True))
    counts = dict.fromkeys(labels.classes.tolist(), 0)
    for each in y.abouts:
        if each.classes is not None and each.counts is not None:
            for label, count in zip(each.classes.tolist(), each.counts.tolist(), strict=True):
                counts[label] += count
    return {label: y.n_rows / (len(counts) * count) for label, count in counts.items()}
