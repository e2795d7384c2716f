"""
Decision boundaries by activation
=================================

The same network with each activation, on two half moons: relu and its relatives draw straight pieces, the
others curves.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier

X, y = make_moons(200, noise=0.25, random_state=0)
X = StandardScaler().fit_transform(X)
activations = ["logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu", "mish"]

figure, axes = plt.subplots(2, 5, figsize=(11, 5), layout="constrained", sharex=True, sharey=True)
figure.suptitle("Probability of the second class, by activation of the hidden layers")
for ax, activation in zip(axes.flat, activations, strict=True):
    model = MLPClassifier((16, 16), activation=activation, solver="lbfgs", alpha=0.1, max_iter=1000, random_state=0)
    model.fit(X, y)
    DecisionBoundaryDisplay.from_estimator(
        model, X, response_method="predict_proba", class_of_interest=1, cmap="RdBu_r", alpha=0.7, ax=ax
    )
    ax.scatter(*X.T, c=y, cmap="RdBu_r", edgecolors="black", linewidths=0.4, s=14)
    ax.set_title(activation)
plt.show()
