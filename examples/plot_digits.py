"""
Handwritten digits
==================

A network learns to read scikit-learn's digits, 8 by 8 pixels each, in less than a second. The picture shows
digits that it gets wrong, with the classes it takes them for.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

model = make_pipeline(StandardScaler(), MLPClassifier((64, 64), random_state=0))
model.fit(X_train, y_train)
print(f"{100 * model.score(X_test, y_test):.1f} % of {len(y_test)} digits that it has never seen are right")

# %%
# What it gets wrong, a person might as well:
predicted = model.predict(X_test)
wrong = np.flatnonzero(predicted != y_test)[:8]

figure, axes = plt.subplots(2, 4, figsize=(7, 4), layout="constrained")
figure.suptitle("Digits taken for others")
for ax in axes.flat:
    ax.set_axis_off()
for ax, row in zip(axes.flat, wrong, strict=False):
    ax.imshow(X_test[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"a {y_test[row]}, taken for a {predicted[row]}", fontsize=9)
plt.show()
