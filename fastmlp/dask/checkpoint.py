"""A training of a cluster in a file of the client's, which goes on from it though the whole cluster has died."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastmlp.checkpoints import FREE, comparable, require_the_same
from fastmlp.dask.preparation import Data
from fastmlp.dask.worker import Job
from fastmlp.estimator_file import from_json, to_json
from fastmlp.model_file import ModelFile, ModelFileError, read, write

FREE_ON_A_CLUSTER = (*FREE, "client", "transport", "wait_limit")


class Checkpoint:
    """The file, and what it holds.

    Parameters
    ----------
    path : str or path-like
    estimator : str
        Name of the class.
    settings : namespace
        The hyper-parameters.
    job : Job
    data : Data

    Attributes
    ----------
    snapshot : dict or None
        What the training goes on from where no worker knows.

    Raises
    ------
    ModelFileError
        If the file is there and is not a checkpoint, or damaged.
    ValueError
        If it belongs to another fit.
    """

    def __init__(self, path: str | os.PathLike[str], estimator: str, settings: Any, job: Job, data: Data) -> None:
        self._path, self._kind = Path(path), f"checkpoint of {estimator}"
        self.snapshot: dict[str, Any] | None = None
        self._about = {
            "hyper-parameters": comparable(settings, FREE_ON_A_CLUSTER),
            "data": {name: to_json(name, value) for name, value in _shape(job, data).items()},
        }
        self._seeds = job.plan.seeds
        if self._path.exists():
            file = read(self._path)
            if file.kind != self._kind:
                raise ModelFileError(f"{self._path}: holds {file.kind!r}, not a {self._kind}")
            for what, expected in self._about.items():
                require_the_same(self._path, what, file.parameters[what], expected)
            self._seeds = from_json(file.parameters["seeds"])
            arrays = [file.arrays[name] for name in sorted(file.arrays)]
            self.snapshot = {"values": file.parameters["values"], "arrays": arrays}

    def resumed(self, job: Job, seconds: float) -> Job:
        """The job, with the random numbers with which the first fit began."""
        return replace(job, plan=replace(job.plan, seeds=self._seeds), checkpoint_seconds=seconds)

    def write(self, snapshot: dict[str, Any]) -> None:
        """Write what a worker has copied between two epochs."""
        self.snapshot = snapshot
        arrays = {f"array {number:03}": array for number, array in enumerate(snapshot["arrays"])}
        values = {"values": snapshot["values"], "seeds": to_json("seeds", self._seeds), **self._about}
        write(self._path, ModelFile(self._kind, values, arrays))


def _shape(job: Job, data: Data) -> dict[str, Any]:
    """What two fits on the same rows have in common, however these are partitioned."""
    X, y, _ = data.columns
    counts: dict[Any, int] = {}
    for each in y.abouts:
        if each.counts is not None and each.classes is not None:
            for label, count in zip(each.classes.tolist(), each.counts.tolist(), strict=True):
                counts[label] = counts.get(label, 0) + count
    return {
        "layers": list(job.n_units),
        "loss": job.loss,
        "dtype": job.dtype,
        "rows": X.n_rows,
        "rows to validate on": data.held_out and data.held_out[0].n_rows,
        "rows of each class": sorted(counts.items()),
        "mean square of y": f"{float(data.size_of_targets()[0]):.6g}",  # its last digits depend on the partitions
        "values (their checksum)": data.checksum(),
    }
