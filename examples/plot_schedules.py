"""
Schedules of the learning rate
==============================

``learning_rate`` names how the rate changes while training goes on; a callback records it here. ``warmup`` lets
the rate rise over the first part of the steps, and a function of the progress makes any other schedule.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from fastmlp import MLPClassifier

X, y = load_digits(return_X_y=True)
schedules = {
    "constant": {},
    "invscaling": {"learning_rate": "invscaling", "solver": "sgd"},
    "linear": {"learning_rate": "linear"},
    "cosine": {"learning_rate": "cosine"},
    "one_cycle": {"learning_rate": "one_cycle"},
    "coslog": {"learning_rate": "coslog"},
    "cosine, warmup=0.2": {"learning_rate": "cosine", "warmup": 0.2},
    "lambda t: 0.1**t": {"learning_rate": lambda t: 0.1**t},
}

figure, axes = plt.subplots(2, 4, figsize=(11, 5), layout="constrained", sharex=True)
figure.suptitle("Learning rate of each epoch, and the loss it leads to (dashed)")
for ax, (name, schedule) in zip(axes.flat, schedules.items(), strict=True):
    rates = []

    def record(learning_rate, rates=rates):
        rates.append(learning_rate)

    settings = {"learning_rate_init": 0.01, "max_iter": 40, "n_iter_no_change": 40, "random_state": 0}
    model = MLPClassifier((32,), **settings | schedule).fit(X / 16, y, callbacks=[record])
    ax.plot(range(1, 41), rates)
    ax.set(title=name, ylim=(0, None))
    right = ax.twinx()
    right.plot(range(1, 41), model.loss_curve_, color="gray", linestyle="--", linewidth=1)
    right.set(yscale="log")
    right.tick_params(labelsize=7, which="both")
for ax in axes[-1]:
    ax.set_xlabel("Epoch")
plt.show()
