"""
Tables as they come
===================

`TabularClassifier` takes a data frame with numbers, text, categories and gaps. Here the table is generated, so
that the truth is known: customers leave where the price is high for their plan, more so without a contract.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from fastmlp import TabularClassifier

random = np.random.RandomState(0)
n_rows = 1500
table = pandas.DataFrame(
    {
        "plan": random.choice(["basic", "family", "office"], n_rows),
        "price": random.gamma(4, 8, n_rows),
        "months": random.poisson(20, n_rows).astype(float),
        "contract": random.choice(["yes", "no"], n_rows),
        "region": random.choice([f"R{number}" for number in range(12)], n_rows),
    }
)
fair = table["plan"].map({"basic": 20, "family": 35, "office": 50})
risk = 0.15 * (table["price"] - fair) - 0.05 * table["months"] + 1.5 * (table["contract"] == "no")
left = np.where(random.uniform(size=n_rows) < 1 / (1 + np.exp(-risk)), "left", "stayed")
table.loc[random.uniform(size=n_rows) < 0.1, "months"] = np.nan
print(table.head(3))

# %%
X_train, X_test, y_train, y_test = train_test_split(table, left, stratify=left, random_state=0)
model = TabularClassifier(random_state=0)
encode = make_column_transformer(
    (OrdinalEncoder(), make_column_selector(dtype_include=["object", "string"])), remainder="passthrough"
)
for name, each in {
    "TabularClassifier": model,
    "HistGradientBoostingClassifier": make_pipeline(encode, HistGradientBoostingClassifier(random_state=0)),
}.items():
    print(f"{name}: {100 * each.fit(X_train, y_train).score(X_test, y_test):.1f} % right")

# %%
# What it has learned of the price, for each plan:
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
prices = np.linspace(5, 80, 16)
for plan in ("basic", "family", "office"):
    rows = X_test[:100].assign(plan=plan)
    curve = [model.predict_proba(rows.assign(price=price))[:, 0].mean() for price in prices]
    ax.plot(prices, curve, label=plan)
ax.set(title="Customers who leave, by price and plan", xlabel="Price", ylabel="Probability")
ax.legend()
plt.show()
