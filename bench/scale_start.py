"""How long a fit takes in which there is next to nothing to train: the coordination. Prints the median's seconds.

``python bench/scale_start.py fastmlp|lightgbm``, on a cluster of two worker processes that is there already.
"""

import sys
from statistics import median
from time import perf_counter
from typing import Any

import dask.array
import numpy as np
from distributed import Client, LocalCluster


def model(library: str) -> Any:
    """A classifier that is trained at once."""
    if library == "lightgbm":
        import lightgbm

        return lightgbm.DaskLGBMClassifier(n_estimators=1, num_leaves=2, verbose=-1)
    from fastmlp.dask import DaskMLPClassifier

    return DaskMLPClassifier(hidden_layer_sizes=(8,), max_iter=1, n_blocks=2, batch_size=1000, random_state=0)


def main(library: str) -> None:
    """Fit once to import what is needed, then seven times."""
    X = np.random.RandomState(0).standard_normal((1000, 20)).astype("f")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        arrays = dask.array.from_array(X, (250, 20)).persist(), dask.array.from_array(X[:, 0] > 0, 250).persist()
        seconds = []
        for _ in range(8):
            start = perf_counter()
            model(library).fit(*arrays)
            seconds.append(perf_counter() - start)
        print(median(seconds[1:]))


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    main(sys.argv[1])
