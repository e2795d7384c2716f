"""What stands around an estimator in scikit-learn works with ours."""

import copy
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, learning_curve
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


def small(**settings: Any) -> MLPClassifier:
    return MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 60, "learning_rate_init": 0.02, **settings})


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search(backend: str) -> None:
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__hidden_layer_sizes": [(4,), (8, 4)]}
    pipeline = make_pipeline(StandardScaler(), small(random_state=0))
    with joblib.parallel_backend(backend):
        searches = [GridSearchCV(pipeline, grid, cv=3, n_jobs=n_jobs).fit(X, NAMES) for n_jobs in (1, 2)]
    assert searches[0].best_score_ > 0.9
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    assert np.array_equal(*scores)


@pytest.mark.parametrize(
    "around",
    [
        lambda estimator: CalibratedClassifierCV(estimator, cv=3),
        lambda estimator: StackingClassifier([("mlp", estimator)], LogisticRegression(), cv=3),
        lambda estimator: BaggingClassifier(estimator, 3, random_state=0),
    ],
    ids=["CalibratedClassifierCV", "StackingClassifier", "BaggingClassifier"],
)
def test_meta_estimators(around: Any) -> None:
    fitted = around(make_pipeline(StandardScaler(), small(random_state=0))).fit(X, NAMES)
    assert fitted.score(X, NAMES) > 0.9
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1)


def test_inspection() -> None:
    scaled = StandardScaler().fit_transform(X)
    importance = permutation_importance(small(random_state=0).fit(scaled, NAMES), scaled, NAMES, random_state=0)
    assert importance.importances_mean[2:].min() > importance.importances_mean[:2].max()  # the petals tell
    sizes, _, test_scores = learning_curve(small(random_state=0), scaled, NAMES, cv=3, shuffle=True, random_state=0)
    assert len(sizes) == len(test_scores) == 5
    assert test_scores[-1].mean() > 0.9


def test_columns_of_a_data_frame() -> None:
    frames = pytest.importorskip("pandas")
    frame = frames.DataFrame(X, columns=list("abcd")).assign(e=np.where(Y == 0, "x", "y"))
    columns = make_column_transformer((OneHotEncoder(), ["e"]), remainder=StandardScaler())
    assert cross_val_score(make_pipeline(columns, small(random_state=0)), frame, NAMES).mean() > 0.9


def test_transformed_target() -> None:
    rows, values = load_diabetes(return_X_y=True)
    regressor = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=50, alpha=10, random_state=0)
    whole = TransformedTargetRegressor(regressor, transformer=StandardScaler()).fit(rows * 20, values)
    assert whole.score(rows * 20, values) > 0.4


@pytest.mark.parametrize("estimator", [small(), MLPRegressor(hidden_layer_sizes=(8,), max_iter=60)], ids=repr)
def test_clone_copy_pickle_joblib(estimator: Any, tmp_path: Path) -> None:
    estimator.set_params(random_state=0, early_stopping=True).fit(X, Y)
    assert clone(estimator).get_params() == estimator.get_params()
    assert not hasattr(clone(estimator), "coefs_")
    joblib.dump(estimator, tmp_path / "estimator")
    for other in (
        copy.copy(estimator),
        copy.deepcopy(estimator),
        pickle.loads(pickle.dumps(estimator)),
        joblib.load(tmp_path / "estimator"),
        joblib.load(tmp_path / "estimator", mmap_mode="r"),
    ):
        assert np.array_equal(other.predict(X), estimator.predict(X))
        assert other.validation_scores_ == estimator.validation_scores_
    other.set_params(early_stopping=False).partial_fit(X, Y)  # the one that was mapped read-only
    estimator.set_params(early_stopping=False).partial_fit(X, Y)
    assert np.array_equal(other.coefs_[0], estimator.coefs_[0])


def test_a_pipeline_transforms_the_rows_to_validate_on() -> None:
    if "transform_input" not in Pipeline([]).get_params():
        pytest.skip("Pipeline transforms inputs from scikit-learn 1.6 on")
    train, held_out = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0
    scaler = StandardScaler().fit(X[train])
    settings = {"random_state": 0, "early_stopping": True}
    by_hand = small(**settings).fit(
        scaler.transform(X[train]), Y[train], X_val=scaler.transform(X[held_out]), y_val=Y[held_out]
    )
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = small(**settings).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("mlp", classifier)], transform_input=["X_val"])
        pipeline.fit(X[train], Y[train], X_val=X[held_out], y_val=Y[held_out])
    assert pipeline["mlp"].validation_scores_ == by_hand.validation_scores_
    assert np.array_equal(pipeline["mlp"].coefs_[0], by_hand.coefs_[0])


def test_sample_weights_are_routed() -> None:
    weights = np.linspace(0.5, 1.5, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = small(random_state=0).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(classifier, {"alpha": [0.1]}, cv=3).fit(X, Y, sample_weight=weights)
    assert np.array_equal(
        search.best_estimator_.coefs_[0], small(random_state=0, alpha=0.1).fit(X, Y, weights).coefs_[0]
    )
