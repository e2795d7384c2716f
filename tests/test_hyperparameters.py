"""Each hyper-parameter is described once, and signatures, docstrings and checks follow from it."""

import inspect
from math import inf, isinf
from typing import Any

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

import fastmlp
from fastmlp.hyperparameters import HYPERPARAMETERS, SHARED, Hyperparameter, constraints

signatures = pytest.importorskip("tools.signatures", reason="needs the sources")

ESTIMATORS = tuple(HYPERPARAMETERS)
EACH = [(estimator, name) for estimator in ESTIMATORS for name in HYPERPARAMETERS[estimator]]
WRONG = object()
"""A value that no hyper-parameter takes."""


def class_of(estimator: str) -> Any:
    return getattr(fastmlp, estimator)


def test_sources_are_what_the_tool_writes() -> None:
    assert signatures.differences() == [], "run python -m tools.signatures"


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_tool_notices_what_differs(estimator: str) -> None:
    source = (signatures.PACKAGE / signatures.FILES[estimator]).read_text(encoding="utf-8")
    for old, new in (
        ("momentum: float = 0.9", "momentum: float = 0.8"),
        ("    tol : float, default=0.0001", "    tol : float, default=0.001"),
        ("Whether the momentum is Nesterov's.", "Nesterov's momentum."),
        ("Bias vectors, likewise.", "Bias vectors."),
    ):
        assert source.count(old) == 1
        assert signatures.written(estimator, source.replace(old, new)) == source


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_new_entry_reaches_signature_and_docstring(estimator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Hyperparameter(0.5, "float", [], "What it does.")
    monkeypatch.setitem(HYPERPARAMETERS, estimator, HYPERPARAMETERS[estimator] | {"sharpness": entry})
    source = (signatures.PACKAGE / signatures.FILES[estimator]).read_text(encoding="utf-8")
    written = signatures.written(estimator, source)
    assert "        sharpness: float = 0.5,\n    ) -> None:" in written
    assert "    sharpness : float, default=0.5\n        What it does.\n\n    Attributes" in written


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_order_is_that_of_the_list(estimator: str) -> None:
    cls, names = class_of(estimator), list(HYPERPARAMETERS[estimator])
    assert list(inspect.signature(cls).parameters) == names
    assert list(vars(cls())) == names
    assert list(cls().get_params()) == sorted(names), "scikit-learn sorts them"
    assert [name for name in names if name in SHARED] == list(SHARED)


def test_loss_of_the_trainer_is_named() -> None:
    kinds = {name: parameter.kind.name for name, parameter in inspect.signature(fastmlp.Trainer).parameters.items()}
    assert [name for name, kind in kinds.items() if kind != "KEYWORD_ONLY"] == ["hidden_layer_sizes", "activation"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_checks_are_those_of_the_list(estimator: str) -> None:
    cls = class_of(estimator)
    assert cls._parameter_constraints == constraints(estimator)
    assert list(cls._parameter_constraints) == list(HYPERPARAMETERS[estimator])


@pytest.mark.parametrize(("estimator", "name"), EACH)
def test_default_is_valid_and_nonsense_is_not(estimator: str, name: str) -> None:
    entry, cls = HYPERPARAMETERS[estimator][name], class_of(estimator)
    assert inspect.signature(cls).parameters[name].default == entry.default
    validate_parameter_constraints({name: entry.constraint}, {name: entry.default}, estimator)
    with pytest.raises(InvalidParameterError, match=rf"^The '{name}' parameter of {estimator} must be"):
        cls(**{name: WRONG}).fit(np.eye(3), [0, 1, 2])


@pytest.mark.parametrize(("estimator", "name"), EACH)
def test_description_reads_well(estimator: str, name: str) -> None:
    entry = HYPERPARAMETERS[estimator][name]
    assert entry.constraint, "anything would pass"
    assert entry.annotation
    assert entry.description[0].isupper() or entry.description[0] in '"`', entry.description
    assert entry.description.endswith(".")
    assert "  " not in entry.description


def theirs(estimator: str) -> Any:
    """The class of scikit-learn's whose parameters the estimator has."""
    return getattr(neural_network, estimator.replace("Trainer", "MLPClassifier"))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_defaults_are_those_of_scikit_learn(estimator: str) -> None:
    ours, expected = (inspect.signature(cls).parameters for cls in (class_of(estimator), theirs(estimator)))
    assert {name: ours[name].default for name in expected} == {name: p.default for name, p in expected.items()}
    has_loss = "loss" in expected  # MLPRegressor from scikit-learn 1.7 on
    if estimator == "MLPClassifier" or has_loss:
        assert list(ours)[: len(expected)] == list(expected)
        assert [ours[name].kind for name in expected] == [p.kind for p in expected.values()]


NUMBERS = [-1, 0, 1, 2, -0.5, 0.0, 0.5, 1.0, 1.5, inf, 1e-300, np.float32(0.5)]
VALUES = [*NUMBERS, True, np.True_, None, "auto", "loss", (3,)]


WIDER = {"activation", "learning_rate"}
"""Hyper-parameters that take a list or a function too."""
THEIRS = set(neural_network.MLPClassifier._parameter_constraints)


@pytest.mark.parametrize("name", sorted((set(SHARED) & THEIRS) - WIDER))
def test_what_scikit_learn_takes_is_taken(name: str) -> None:
    constraint = neural_network.MLPClassifier._parameter_constraints[name]
    assert [taken(SHARED[name].constraint, value) for value in VALUES] == [taken(constraint, value) for value in VALUES]


def taken(constraint: list[Any], value: Any) -> bool:
    try:
        validate_parameter_constraints({"x": constraint}, {"x": value}, "")
    except InvalidParameterError:
        return False
    return True


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_documented_attributes_are_there(estimator: str) -> None:
    fitted = class_of(estimator)(hidden_layer_sizes=(2,), max_iter=1, n_iter_no_change=inf)
    with pytest.warns(Warning, match="Maximum iterations"):
        fitted.fit(np.eye(3), [0, 1, 2])
    assert not hasattr(class_of(estimator)(), "coefs_")
    for names in signatures.ATTRIBUTES:
        for name in names.split(", "):
            assert hasattr(fitted, name) or name == "feature_names_in_", name
    assert not isinf(fitted.loss_)
