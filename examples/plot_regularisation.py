"""
Regularisation, seen on a curve
===============================

Twenty points of a noisy sine, and a network that could pass through each of them. A penalty (``alpha``), weight
decay, dropout, noise on the inputs, and early stopping each hold it back in another way.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import MLPRegressor

random = np.random.RandomState(0)
X = np.sort(random.uniform(-1, 1, (20, 1)), axis=0)
y = np.sin(3 * X[:, 0]) + random.normal(0, 0.25, 20)
grid = np.linspace(-1.1, 1.1, 400)[:, None]
truth = np.sin(3 * grid[:, 0])

base = {"hidden_layer_sizes": (128, 128), "activation": "tanh", "alpha": 0.0, "random_state": 0}
base |= {"learning_rate_init": 0.005, "max_iter": 3000, "n_iter_no_change": 3000}
ways = {
    "nothing": {},
    "alpha=0.05": {"alpha": 0.05},
    "weight_decay=3": {"weight_decay": 3},
    "dropout=0.3": {"dropout": 0.3},
    "input_noise=0.1": {"input_noise": 0.1},
    "early_stopping": {"early_stopping": True, "validation_fraction": 0.25, "n_iter_no_change": 200},
}

figure, axes = plt.subplots(2, 3, figsize=(10, 6), layout="constrained", sharex=True, sharey=True)
figure.suptitle("The same network, free and held back in five ways")
for ax, (name, way) in zip(axes.flat, ways.items(), strict=True):
    model = MLPRegressor(**base | way).fit(X, y)
    curve = model.predict(grid)
    error = np.sqrt(np.mean((curve - truth) ** 2))
    ax.plot(grid, truth, color="gray", linestyle="--", linewidth=1, label="truth")
    ax.plot(grid, curve, label="network")
    ax.scatter(X, y, s=15, color="black", zorder=3)
    ax.set(title=f"{name}: error {error:.2f}", ylim=(-2, 2))
axes[0, 0].legend()
plt.show()
