"""
What the first layer looks at
=============================

Each unit of the first hidden layer has a weight for each pixel: an image, red where bright pixels excite the
unit, blue where they quieten it. A penalty on the weights makes them smoother, since what does not help costs.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from fastmlp import MLPClassifier
from fastmlp.inspection import ActivationsDisplay, WeightsDisplay

X, y = load_digits(return_X_y=True)
for alpha in (1e-4, 1.0):
    model = MLPClassifier((16,), alpha=alpha, max_iter=400, random_state=0).fit(X / 16, y)
    WeightsDisplay.from_estimator(
        model,
        image_shape=(8, 8),
        name=f"Weights of the first layer, alpha={alpha:g}: {100 * model.score(X / 16, y):.0f} % right",
    )
plt.show()

# %%
# The outputs of these units, over all rows:
ActivationsDisplay.from_estimator(model, X / 16, name="Outputs of the hidden layer")
plt.show()
