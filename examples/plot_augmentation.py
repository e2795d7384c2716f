"""
More data from little: augmentation with partial_fit
====================================================

A digit that is slanted, stretched or shifted a little is the same digit. `partial_fit` trains on other variants of the
same 50 rows in each epoch, so that they last longer.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import affine_transform
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

X, y = load_digits(return_X_y=True)
X = X / 16
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=50, stratify=y, random_state=0)
random = np.random.RandomState(0)


def variants(X):
    """Two of three images slanted, stretched and shifted at random."""
    images = []
    for row in X:
        if random.uniform() < 1 / 3:
            images.append(row)
            continue
        matrix, middle = np.eye(2) + random.uniform(-0.2, 0.2, (2, 2)), np.array([3.5, 3.5])
        offset = middle - matrix @ middle + random.uniform(-0.5, 0.5, 2)
        images.append(affine_transform(row.reshape(8, 8), matrix, offset).ravel())
    return np.array(images)


n_epochs = 300
scores = {}
for name in ("the same rows", "variants"):
    model = MLPClassifier((128,), learning_rate_init=0.002, batch_size=32, random_state=0, dtype="float32")
    scores[name] = []
    for _ in range(n_epochs):
        rows = variants(X_train) if name == "variants" else X_train
        model.partial_fit(rows, y_train, classes=np.arange(10))
        scores[name].append(100 * model.score(X_test, y_test))

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, curve in scores.items():
    ax.plot(np.arange(1, n_epochs + 1), curve, label=f"{name}: {np.mean(curve[-20:]):.1f} % in the end")
ax.set(title="Digits learned from 50 examples", xlabel="Epoch", ylabel="% of other digits right", ylim=(70, 90))
ax.legend()
plt.show()
