"""
More data from few: augmentation with partial_fit
=================================================

A digit that is shifted or turned a little is the same digit. `partial_fit` trains on other variants of the same
200 rows in each epoch, and so never sees a row twice.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import rotate, shift
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

X, y = load_digits(return_X_y=True)
X = X / 16
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=200, stratify=y, random_state=0)
random = np.random.RandomState(0)


def variants(X):
    """Each image turned by up to 15 degrees and shifted by up to half a pixel."""
    images = (rotate(row.reshape(8, 8), random.uniform(-15, 15), reshape=False, order=1) for row in X)
    return np.array([shift(image, random.uniform(-0.5, 0.5, 2), order=1).ravel() for image in images])


n_epochs = 150
scores = {}
for name in ("the same rows", "variants"):
    model = MLPClassifier((128,), learning_rate_init=0.005, batch_size=32, random_state=0, dtype="float32")
    scores[name] = []
    for _ in range(n_epochs):
        rows = variants(X_train) if name == "variants" else X_train
        model.partial_fit(rows, y_train, classes=np.arange(10))
        scores[name].append(100 * model.score(X_test, y_test))

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, curve in scores.items():
    ax.plot(np.arange(1, n_epochs + 1), curve, label=f"{name}: {curve[-1]:.1f} %")
ax.set(title="Digits learned from 200 examples", xlabel="Epoch", ylabel="% of other digits right", ylim=(80, 100))
ax.legend()
plt.show()
