"""
Is the gradient right?
======================

"Derive the analytic gradient, then check it against the numerical one", as lectures on backpropagation say.
`check_gradients` does so for any estimator and data, layer by layer. Below, the check by hand for one weight:
differences with too large a step are wrong, and so are those with too small a step, whose digits cancel.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier
from fastmlp.inspection import check_gradients

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
model = MLPClassifier((8, 8), activation="tanh", alpha=0, max_iter=20, random_state=0).fit(X, y)
check = check_gradients(model, X, y)
print(check)

# %%
# By hand: the weight at the worst place of the first layer, and steps of all sizes.
worst = check.arrays[0].entries[0]
W = model.coefs_[0]
before = W[worst.index]
steps, errors = np.logspace(-12, -1, 45), []
for step in steps:
    losses = []
    for sign in (1, -1):
        W[worst.index] = before + sign * step
        losses.append(log_loss(y, model.predict_proba(X)))
    numerical = (losses[0] - losses[1]) / (2 * step)
    errors.append(abs(numerical - worst.analytic) / abs(worst.analytic))
W[worst.index] = before

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.loglog(steps, errors)
ax.set(title="Error of a central difference", xlabel="Step", ylabel="Relative error")
plt.show()
