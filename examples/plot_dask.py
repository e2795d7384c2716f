"""
Training on a Dask cluster
==========================

`DaskMLPClassifier` trains on rows that lie on the workers of a cluster, which make every step together: the network is
the same for any number of workers and any chunks. Here the cluster is this machine, and its workers are threads.
"""

import dask.array
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster

from fastmlp import MLPClassifier
from fastmlp.dask import DaskMLPClassifier

random = np.random.RandomState(0)
rows = random.standard_normal((20_000, 20)).astype(np.float32)
labels = ((rows[:, 0] * rows[:, 1] > 0) ^ (rows[:, 2] > 1)).astype(int)
settings = {"hidden_layer_sizes": (64, 64), "max_iter": 15, "n_iter_no_change": 15, "random_state": 0}
settings["shuffle"] = False  # the rows are random as they are, and both then take the same batches

curves = {}
for n_workers in (1, 2):
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        X = dask.array.from_array(rows, chunks=(5000 // n_workers, 20))
        y = dask.array.from_array(labels, chunks=5000 // n_workers)
        model = DaskMLPClassifier(**settings, client=client).fit(X, y)
        curves[f"{n_workers} workers"] = model.loss_curve_

# %%
# Two workers and other chunks give the same numbers as one, to the last bit:
print("the same curve:", curves["1 workers"] == curves["2 workers"])

# %%
# `MLPClassifier` on one machine gives the same curve, to rounding. `to_local` makes a plain estimator of the fitted
# one:
curves["one machine"] = MLPClassifier(**settings).fit(rows, labels).loss_curve_
print("right:", model.to_local().score(rows, labels))

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, curve), style in zip(curves.items(), ("-", "--", ":"), strict=True):
    ax.plot(range(1, len(curve) + 1), curve, style, linewidth=2, label=name.replace("1 workers", "1 worker"))
ax.set(title="One training, on a cluster and on one machine", xlabel="Epoch", ylabel="Loss")
ax.legend()
plt.show()
