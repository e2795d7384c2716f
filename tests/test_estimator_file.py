"""Estimators in files: the same bits after loading, and one clear error from whatever is not such a file."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, ModelFileError, Trainer, load
from fastmlp.estimator_file import from_json
from fastmlp.model_file import ModelFile, read, write

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0}
TEXT = np.array(["setosa", "versicolor", "virginica"])[Y]

ESTIMATORS: dict[str, tuple[Callable[[], Any], NDArray[Any]]] = {
    "numbers": (lambda: MLPClassifier(**SMALL), Y),
    "text": (lambda: MLPClassifier(**SMALL, early_stopping=True, scoring="f1_macro"), TEXT),
    "objects": (
        lambda: MLPClassifier(**SMALL, class_weight={"setosa": 2, "versicolor": 1, "virginica": np.float64(3)}),
        TEXT.astype(object),
    ),
    "binary": (lambda: MLPClassifier(**SMALL, n_iter_no_change=np.inf, dtype=np.float32), Y == 1),
    "labels": (lambda: MLPClassifier(**SMALL, solver="sgd", verbose=0), np.c_[Y == 0, Y > 0, Y > 1].astype(int)),
    "values": (lambda: MLPRegressor(**SMALL, solver="lbfgs", alpha=np.float64(0.1)), X[:, 0] / 3),
    "outputs": (lambda: MLPRegressor("poisson", np.array([4, 4]), max_iter=4), X[:, :2]),
    "trainer": (lambda: Trainer(**SMALL, loss="hinge"), Y),
    "random state": (lambda: MLPClassifier((8, 3), max_iter=4, random_state=np.random.RandomState(5)), Y),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_same_bits_after_loading(name: str, tmp_path: Path) -> None:
    make, y = ESTIMATORS[name]
    estimator = make().fit(X, y)
    estimator.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert type(loaded) is type(estimator)
    for method in ("predict", "predict_proba"):
        if hasattr(estimator, method):
            mine, other = getattr(estimator, method)(X), getattr(loaded, method)(X)
            assert (other.dtype, other.tobytes()) == (mine.dtype, mine.tobytes())
    for parameter in estimator.get_params().keys() - {"random_state", "dtype"}:
        assert np.array_equal(getattr(loaded, parameter), getattr(estimator, parameter))
    if estimator.dtype is not None:
        assert np.dtype(loaded.dtype) == np.dtype(estimator.dtype)
    kept = set(vars(loaded)) - set(loaded.get_params())
    assert set(vars(estimator)) - set(estimator.get_params()) - kept <= {"_random_state", "_warned", "_valid"}
    for attribute in ("loss_curve_", "validation_scores_", "validation_loss_curve_", "best_loss_", "n_iter_", "t_"):
        assert getattr(loaded, attribute, None) == getattr(estimator, attribute, None)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in ("values", "text", "outputs")])
def test_training_goes_on_after_loading(name: str, tmp_path: Path) -> None:
    """The state of the optimizer and of the random numbers is kept, too."""
    make, y = ESTIMATORS[name]
    estimator = make().fit(X, y)
    estimator.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    for other in (loaded, estimator):
        other.partial_fit(X, y)
    assert np.array_equal(loaded.coefs_[0], estimator.coefs_[0])


def test_names_of_features(tmp_path: Path) -> None:
    frames = pytest.importorskip("pandas")
    frame = frames.DataFrame(X, columns=["a", "b", "c", "é"])
    MLPClassifier(**SMALL).fit(frame, Y).save(tmp_path / "model")
    with pytest.raises(ValueError, match="feature names should match"):
        load(tmp_path / "model").predict(frame[frame.columns[::-1]])


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    class Mine(MLPClassifier):
        pass

    for estimator, error, message in (
        (MLPClassifier(), NotFittedError, "not fitted"),
        (
            MLPClassifier(**SMALL, scoring=len).fit(X, Y),
            TypeError,
            "scoring=.* cannot be saved: first set it to None or to the name",
        ),
        (Mine(**SMALL).fit(X, Y), TypeError, "Mine is not a class of fastmlp's"),
    ):
        with pytest.raises(error, match=message):
            estimator.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write(path, ModelFile("command-line model", {}, {}))
    with pytest.raises(ModelFileError, match=r"holds 'command-line model', .* 0\.1\.0 wrote, fastmlp predict reads"):
        load(path)
    np.savez(tmp_path / "arrays.npz", X=X)
    (tmp_path / "pickle").write_bytes(pickle.dumps(LogisticRegression().fit(X, Y)))
    (tmp_path / "text").write_text("a,b\n1,2\n")
    (tmp_path / "empty").touch()
    for other in tmp_path.iterdir():
        with pytest.raises(ModelFileError, match=other.name):
            load(other)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


def test_truncated_and_newer_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    estimator = MLPClassifier(**SMALL).fit(X, Y)
    estimator.save(path)
    content = path.read_bytes()
    for length in range(0, len(content), len(content) // 20):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            load(path)
    monkeypatch.setattr(fastmlp.model_file, "FORMAT", fastmlp.model_file.FORMAT + 1)
    estimator.save(path)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="newer version"):
        load(path)


def damaged(part: str, name: str, value: Any) -> Callable[[ModelFile], None]:
    def damage(file: ModelFile) -> None:
        target = file.arrays if part == "arrays" else file.parameters[part]
        target[name] = value

    return damage


def random_state(**changes: Any) -> dict[str, Any]:
    parts = {"bit_generator": "MT19937", "has_gauss": 0, "gauss": 0.0, "key": [1] * 624, "pos": 624} | changes
    state = {"dict": [["key", parts.pop("key")], ["pos", parts.pop("pos")]]}
    return {"RandomState": {"dict": [*map(list, parts.items()), ["state", state]]}}


def without(part: str, name: str) -> Callable[[ModelFile], None]:
    return lambda file: (file.arrays if part == "arrays" else file.parameters[part]).pop(name)


WRONG: dict[str, tuple[str, Callable[[ModelFile], Any]]] = {
    "fewer parameters": (
        r"\(3,\) params do not fit layers of \(4, 8, 3\) units",
        damaged("arrays", "params", np.zeros(3)),
    ),
    "no parameters of the network": ("it has too much or lacks: params", without("arrays", "params")),
    "no slots": (
        r"\(0, 67\) slots do not fit the optimizer 'adam'",
        damaged("arrays", "slots", np.zeros((0, 67))),
    ),
    "layers that are a list": ("n_units is not a number", damaged("state", "n_units", [4, 8, 3])),
    "other layers": (
        r"\(67,\) params do not fit layers of \(4, 9, 3\) units",
        damaged("state", "n_units", {"tuple": [4, 9, 3]}),
    ),
    "a part without its array": ("it has too much or lacks: step", without("state", "step")),
    "an unknown part": ("it has too much or lacks: predict", damaged("state", "predict", 1)),
    "a part as value and as array": ("it holds an array twice", damaged("state", "params", None)),
    "a curve as an array": (
        "loss_curve is not a list of numbers",
        lambda file: file.arrays.update(loss_curve=file.parameters["state"].pop("loss_curve")),
    ),
    "an unknown word of JSON": ("'pickle' is no kind of value", damaged("state", "last_loss", {"pickle": "x"})),
    "two words of JSON": ("too many values", damaged("state", "last_loss", {"float": "nan", "tuple": []})),
    "a number that is an array": ("'float' of a list", damaged("state", "last_loss", {"float": [1]})),
    "a tuple of a text": ("'tuple' of a str", damaged("state", "n_units", {"tuple": "483"})),
    "an unknown activation": ("The 'activation' parameter", damaged("parameters", "activation", "magic")),
    "an unknown parameter": (".* unexpected keyword argument 'magic'", damaged("parameters", "magic", 1)),
    "a parameter of another kind": ("The 'n_threads' parameter", damaged("parameters", "n_threads", 0)),
    "hidden layers without units": (
        r"hidden_layer_sizes must be > 0, got \[8, 0\]",
        damaged("parameters", "hidden_layer_sizes", {"tuple": [8, 0]}),
    ),
    "a parameter that could not be saved": (
        "class_weight=.* cannot be saved",
        damaged("parameters", "class_weight", {"dict": [[0, {"LabelBinarizer": ["binary", False]}]]}),
    ),
    "no hyper-parameters": ("it holds state$", lambda file: file.parameters.pop("parameters")),
    "no state": ("it holds parameters$", lambda file: file.parameters.pop("state")),
    "two states": ("it holds attributes, parameters, state$", lambda file: file.parameters.update(attributes={})),
    "another part": ("it holds more, parameters, state$", lambda file: file.parameters.update(more={})),
    "nothing": ("it holds nothing$", lambda file: file.parameters.clear()),
    "no arrays": ("it has too much or lacks: classes, params, slots", lambda file: file.arrays.clear()),
} | {
    f"random numbers: {case}": (
        f"a RandomState{message}$",
        damaged("parameters", "random_state", random_state(**parts)),
    )
    for case, message, parts in (
        ("from before the key", "'s position", {"pos": -1}),
        ("from beyond the key", "'s position", {"pos": 625}),
        ("from a truth", "'s position", {"pos": True}),
        ("a part more", " without its parts", {"more": 1}),
        ("a key that is a text", " without its key", {"key": "1"}),
        ("a short key", "'s key", {"key": [1] * 623}),
        ("a key of text", "'s key", {"key": ["1"] * 624}),
        ("a key of zeros", " that gives nothing but 0", {"key": [0] * 624}),
        ("a key of numbers below 0", "'s key", {"key": [-1] * 624}),
        ("a key of more than 32 bits", "'s key", {"key": [2**32] * 624}),
        ("another generator", " of another generator", {"bit_generator": "PCG64"}),
        ("an infinite normal number", "'s gauss", {"gauss": {"float": "inf"}}),
        ("two normal numbers", "'s has_gauss", {"has_gauss": 2}),
        ("half a normal number", "'s has_gauss", {"has_gauss": 0.5}),
    )
}


@pytest.mark.parametrize("pos", [0, 624])
def test_a_whole_random_state_is_read(pos: int, tmp_path: Path) -> None:
    """So what is refused below is what was changed in it."""
    MLPClassifier(**SMALL).fit(X, Y).save(tmp_path / "model")
    file = read(tmp_path / "model")
    key = [0, 2**32 - 1, *[1] * 622]
    damaged("parameters", "random_state", random_state(key=key, pos=pos))(file)
    write(tmp_path / "model", file)
    found = load(tmp_path / "model").random_state.get_state()
    assert (found[1].tolist(), found[2]) == (key, pos)


def test_other_generators_cannot_be_saved(tmp_path: Path) -> None:
    generator = np.random.RandomState(np.random.PCG64(0))
    with pytest.raises(TypeError, match=r"random_state=.* cannot be saved"):
        MLPClassifier(**SMALL | {"random_state": generator}).fit(X, Y).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    estimator = MLPClassifier(**SMALL).fit(X, Y)
    estimator.coefs_[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="params are not finite"):
        estimator.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", WRONG)
def test_contents_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    """The checksum is right: someone has made the file, and the engine would trust it."""
    path = tmp_path / "model"
    MLPClassifier(**SMALL).fit(X, Y).save(path)
    assert load(path).n_outputs_ == 3
    file = read(path)
    message, damage = WRONG[case]
    damage(file)
    write(path, file)
    with pytest.raises(ModelFileError, match=f"not a MLPClassifier of this version: {message}"):
        load(path)


def nested(depth: int, kind: str | None) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is None else {kind: [[0, value]] if kind == "dict" else [value]}
    return value


@pytest.mark.parametrize(("kind", "deepest"), [(None, 19), ("tuple", 9), ("dict", 6)])
def test_values_within_too_many_others_are_refused(kind: str | None, deepest: int) -> None:
    """Nineteen lists; a tuple is written as two, a dict as three."""
    from_json(nested(deepest, kind))
    for depth in (deepest + 1, 5000):
        with pytest.raises(ValueError, match=r"^lists in too many lists$"):
            from_json(nested(depth, kind))


def test_integers_of_64_bits_are_read() -> None:
    for value in (-(2**63), 2**64 - 1):
        assert from_json(value) == value
    for value in (-(2**63) - 1, 2**64):
        with pytest.raises(ValueError, match=r"^an integer of more than 64 bits$"):
            from_json(value)
