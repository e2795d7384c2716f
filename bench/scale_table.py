"""``python -m bench scale --rows N``: a table of N rows and 30 columns of float32, trained for an epoch from parquet.

The rows are those of the HIGGS sample, drawn again and again with noise, and two columns of noise. Two worker processes
of one thread share them; printed are the seconds and the most memory that each process ever held.
"""

import resource
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from bench import datasets

N_COLUMNS, ROWS_OF_FILE = 30, 500_000


def write_table(folder: Path, n_rows: int) -> int:
    """Write the files; return their bytes."""
    import pandas

    sample, labels = datasets.load("higgs", 7000, 28, 2)
    sample = sample.astype(np.float32)
    for number, first in enumerate(range(0, n_rows, ROWS_OF_FILE)):
        random = np.random.default_rng(number)
        size = min(ROWS_OF_FILE, n_rows - first)
        chosen = random.integers(len(sample), size=size)
        X = random.standard_normal((size, N_COLUMNS), dtype=np.float32)
        X[:, : sample.shape[1]] *= np.float32(0.1)
        X[:, : sample.shape[1]] += sample[chosen]
        frame = pandas.DataFrame(X, columns=[f"x{i:02}" for i in range(N_COLUMNS)])
        frame.assign(y=labels[chosen].astype(np.int8)).to_parquet(folder / f"{number:03}.parquet", compression=None)
    return sum(file.stat().st_size for file in folder.iterdir())


def most_memory() -> int:
    """Bytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def train(folder: Path, n_workers: int, tell: Callable[[str], Any] = print) -> None:
    """Train for an epoch, and tell what it took."""
    import dask.dataframe
    from distributed import Client, LocalCluster

    from fastmlp.dask import DaskMLPClassifier

    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, memory_limit=0, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        table = dask.dataframe.read_parquet(folder)
        columns = [name for name in table.columns if name != "y"]
        start = perf_counter()
        model = DaskMLPClassifier(hidden_layer_sizes=(128, 128), batch_size=2048, max_iter=1, random_state=0)
        model.fit(table[columns], table["y"])
        tell(f"one epoch with {n_workers} workers: {perf_counter() - start:.0f} s, loss {model.loss_:.4f}")
        tell(f"communication {model.communication_:.0%} of the time of training")
        for name, held in client.run(most_memory).items():
            tell(f"most memory of worker {name}: {held / 1e9:.2f} GB")


def main(n_rows: int) -> None:
    """Write the table, train, and delete it."""
    with TemporaryDirectory() as folder:
        size = write_table(Path(folder), n_rows)
        print(f"{n_rows} rows of {N_COLUMNS} columns: {size / 1e9:.2f} GB of parquet")
        train(Path(folder), 2)
