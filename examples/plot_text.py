"""
Sparse text
===========

Which package does a docstring come from? `TfidfVectorizer` makes a sparse matrix of words and pairs of words, which
the network reads as it is: it is never turned into a dense one as a whole. The data are on every machine that can run
this script.
"""

import inspect
from time import perf_counter

import matplotlib.pyplot as plt
import numpy
import scipy.linalg
import scipy.optimize
import scipy.signal
import scipy.stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

modules = [numpy, scipy.stats, scipy.signal, scipy.linalg, scipy.optimize]
texts, names = [], []
for module in modules:
    found = {inspect.getdoc(value) or "" for name, value in vars(module).items() if not name.startswith("_")}
    paragraphs = [part for text in sorted(found) for part in text.split("\n\n") if 80 < len(part) < 600]
    texts += paragraphs[:1500]
    names += [module.__name__] * len(paragraphs[:1500])

words = TfidfVectorizer(token_pattern=r"[a-z]{3,}", ngram_range=(1, 2), min_df=2, dtype=numpy.float32)
train, test, y_train, y_test = train_test_split(texts, names, stratify=names, random_state=0)
X_train, X_test = words.fit_transform(train), words.transform(test)
share = X_train.nnz / numpy.prod(X_train.shape)
print(f"{X_train.shape[0]} paragraphs, {X_train.shape[1]} words and pairs, {100 * share:.2f} % not 0")

start = perf_counter()
model = MLPClassifier((32,), max_iter=12, n_iter_no_change=12, alpha=0, random_state=0).fit(X_train, y_train)
print(f"trained in {perf_counter() - start:.1f} s")

# %%
figure, ax = plt.subplots(figsize=(6.5, 5.5), layout="constrained")
# In the paler half of the colours, where black text can be read.
style = {"cmap": "Blues", "im_kw": {"vmin": 0, "vmax": len(y_test)}, "text_kw": {"color": "black"}}
ConfusionMatrixDisplay.from_predictions(
    y_test, model.predict(X_test), xticks_rotation=30, ax=ax, colorbar=False, **style
)
ax.set_title(f"{100 * model.score(X_test, y_test):.0f} % of the paragraphs are placed right")
plt.show()
