"""
A grid search in threads
========================

The engine works without Python's lock, so the trainings of a grid search run side by side in threads: no
processes, no copies of the data. Each training computes with one thread then.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from joblib import parallel_backend
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier

X, y = load_digits(return_X_y=True)
model = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=30, n_threads=1, random_state=0, dtype="float32"))
grid = {
    "mlpclassifier__alpha": [1e-4, 1e-2, 1, 10],
    "mlpclassifier__learning_rate_init": [1e-4, 1e-3, 1e-2, 1e-1],
}
start = perf_counter()
with parallel_backend("threading", n_jobs=2):
    search = GridSearchCV(model, grid, cv=4).fit(X, y)
n_fits = len(search.cv_results_["params"]) * 4
print(f"{n_fits} trainings in {perf_counter() - start:.1f} s; the best: {search.best_params_}")

# %%
scores = 100 * search.cv_results_["mean_test_score"].reshape(4, 4)
figure, ax = plt.subplots(figsize=(6, 4.5), layout="constrained")
image = ax.imshow(scores, cmap="viridis", vmin=85)
ax.set_xticks(range(4), [f"{rate:g}" for rate in grid["mlpclassifier__learning_rate_init"]])
ax.set_yticks(range(4), [f"{alpha:g}" for alpha in grid["mlpclassifier__alpha"]])
for (row, column), score in np.ndenumerate(scores):
    ax.text(
        column, row, f"{score:.1f}", ha="center", va="center", color="black" if image.norm(score) > 0.435 else "white"
    )
ax.set(title="% right, in cross-validation", xlabel="learning_rate_init", ylabel="alpha")
plt.show()
