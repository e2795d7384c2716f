"""
Which learning rate?
====================

`LearningRateDisplay` trains for an epoch with each of many rates, always from the same weights. Too small a
rate learns nothing, too large a one diverges; the suggestion is the smallest one that gives half of what the
best one gives.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from fastmlp import MLPClassifier
from fastmlp.inspection import LearningRateDisplay

X, y = load_digits(return_X_y=True)
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
for ax, solver in zip(axes, ("adam", "sgd"), strict=True):
    model = MLPClassifier((64,), solver=solver, random_state=0)
    display = LearningRateDisplay.from_estimator(model, X / 16, y, name=f"{solver}: loss after one epoch", ax=ax)
    print(f"{solver}: learning_rate_init={display.suggestion:.2g}")
plt.show()
