"""
Quantile regression
===================

``loss="quantile"`` predicts quantiles in place of the mean; a list of them gives an interval around the median.
Where the noise grows, the interval does. Quantiles that would cross are sorted.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import MLPRegressor

random = np.random.RandomState(0)
X = np.sort(random.uniform(0, 4, (1000, 1)), axis=0)
y = np.sin(2 * X[:, 0]) + X[:, 0] * random.normal(0, 0.2, 1000)

quantiles = [0.05, 0.5, 0.95]
model = MLPRegressor("quantile", (64, 64), activation="tanh", quantile=quantiles, max_iter=500, random_state=0)
model.fit(X, y)
low, median, high = model.predict(X).T
inside = np.mean((low <= y) & (y <= high))
print(f"{100 * inside:.0f} % of the rows lie between the quantiles 0.05 and 0.95")

# %%
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.scatter(X, y, s=5, color="gray", alpha=0.6, label="rows")
ax.fill_between(X[:, 0], low, high, alpha=0.3, label="from 0.05 to 0.95")
ax.plot(X, median, label="median")
ax.set(title="Quantiles of a target whose noise grows", xlabel="x", ylabel="y")
ax.legend()
plt.show()
