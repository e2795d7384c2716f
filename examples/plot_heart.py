"""
Heart disease, from the table to a decision
===========================================

The Heart data (303 patients; text, numbers and gaps) are read from the file ``heart.csv.gz`` in the
folder that the environment variable ``FASTMLP_DATA`` names. Where it is not at hand, scikit-learn's breast
cancer data stand in, with a column turned into text and some gaps.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import RocCurveDisplay
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import TabularClassifier

path = Path(os.environ.get("FASTMLP_DATA", "."), "heart.csv.gz")
if path.exists():
    table = pandas.read_csv(path)
    y, single = table.pop("AHD"), ["MaxHR"]
else:
    data = load_breast_cancer(as_frame=True)
    table, single = data.data, ["mean smoothness"]
    y = data.target.map({0: "Yes", 1: "No"})
    table["size"] = pandas.cut(table.pop("mean area"), 3, labels=["small", "medium", "large"]).astype(str)
    table.loc[::15, "mean texture"] = np.nan
print(table.iloc[:3, -4:])
X_train, X_test, y_train, y_test = train_test_split(table, y, test_size=0.4, stratify=y, random_state=0)

# %%
# First a logistic regression on a single column, then a network on all of them:
logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train[single], y_train)
network = TabularClassifier(random_state=0).fit(X_train, y_train)
print(network.summary())

# %%
figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
for model, rows, name in (
    (logistic, X_test[single], f"{single[0]} alone"),
    (network, X_test, "network on all columns"),
):
    RocCurveDisplay.from_estimator(model, rows, y_test, pos_label="Yes", name=name, ax=ax)
ax.set_title("Patients found, by the false alarms that are accepted")
plt.show()
