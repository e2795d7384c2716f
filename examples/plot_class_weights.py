"""
Class weights
=============

One row in fifty is of the class that matters. A network that hardly ever predicts it has the best accuracy;
``class_weight`` says what its rows are worth. The picture shows for each weight what part of them is found, and
how many of the alarms are right.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_classification
from sklearn.metrics import precision_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier

X, y = make_classification(
    10_000, 10, n_informative=3, n_redundant=0, weights=[0.98], flip_y=0, class_sep=0.7, random_state=0
)
X = StandardScaler().fit_transform(X)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

weights = [2, 5, 10, 20, 50]
found, right = [], []
for weight in weights:
    model = MLPClassifier((16,), class_weight={0: 1, 1: weight}, max_iter=30, random_state=0, dtype="float32")
    predicted = model.fit(X_train, y_train).predict(X_test)
    found.append(100 * recall_score(y_test, predicted))
    right.append(100 * precision_score(y_test, predicted, zero_division=1))

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(weights, found, marker="o", label="rows of the rare class that are found (recall)")
ax.plot(weights, right, marker="o", label="alarms that are right (precision)")
ax.set(title="The price of finding more", xlabel="Weight of the rare class", ylabel="%", xscale="log", ylim=(0, 100))
ax.set_xticks(weights, map(str, weights))
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# ``class_weight="balanced"`` gives all classes the same weight together:
model = MLPClassifier((16,), class_weight="balanced", max_iter=30, random_state=0, dtype="float32")
print(f"balanced: {100 * recall_score(y_test, model.fit(X_train, y_train).predict(X_test)):.0f} % are found")
