"""
Early stopping and validation curves
====================================

A large network on few, noisy rows learns them by heart: the loss of the training rows goes on falling while
that of other rows rises. ``early_stopping=True`` watches validation rows, ends the training, and brings the
best epoch's parameters back.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

from fastmlp import LossCurveDisplay, MLPClassifier

X, y = make_classification(1200, 20, n_informative=8, flip_y=0.15, random_state=0)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)
X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)

settings = {"hidden_layer_sizes": (256, 256), "learning_rate_init": 0.002, "random_state": 0, "dtype": "float32"}

# %%
# Without it, validation rows are only monitored:
patient = MLPClassifier(max_iter=60, n_iter_no_change=60, **settings)
patient.fit(X_train, y_train, X_val=X_val, y_val=y_val)
stopped = MLPClassifier(max_iter=60, early_stopping=True, n_iter_no_change=5, **settings)
stopped.fit(X_train, y_train, X_val=X_val, y_val=y_val)

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, model, name in zip(axes, (patient, stopped), ("60 epochs", "Early stopping"), strict=True):
    score = 100 * model.score(X_test, y_test)
    LossCurveDisplay.from_estimator(model, ax=ax, name=f"{name}: {score:.1f} % of other rows right")
plt.show()
