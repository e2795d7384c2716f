"""
Ensembles and calibration
=========================

Ten networks that differ in their first weights and in the rows drawn for them make fewer mistakes together than
each of them, and their mean knows better how sure it is. The engine releases the GIL: scikit-learn's
`BaggingClassifier` trains them in threads.
"""

import matplotlib.pyplot as plt
from joblib import parallel_backend
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

X, y = make_classification(4000, 20, n_informative=8, n_redundant=0, flip_y=0.1, random_state=1)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

network = MLPClassifier((64, 64), max_iter=60, n_iter_no_change=60, random_state=0, n_threads=1, dtype="float32")
single = network.fit(X_train, y_train)
with parallel_backend("threading"):
    ensemble = BaggingClassifier(network, n_estimators=10, n_jobs=2, random_state=0).fit(X_train, y_train)

figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
for name, model in {"one network": single, "ten networks": ensemble}.items():
    loss = log_loss(y_test, model.predict_proba(X_test))
    score = 100 * model.score(X_test, y_test)
    label = f"{name}: {score:.1f} % right, log loss {loss:.2f}"
    CalibrationDisplay.from_estimator(model, X_test, y_test, n_bins=10, name=label, ax=ax)
ax.set_title("How often it is right, by how sure it is")
plt.show()
