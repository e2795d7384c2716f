"""The pages of the site: their code runs, their names exist, and every public name has examples that run."""

import doctest
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import fastmlp
from fastmlp import inspection

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts and "generated" not in path.parts]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [
    pytest.mark.skipif(not PAGES, reason="needs the sources of the site"),
    pytest.mark.filterwarnings("ignore"),
]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_code_of_a_page_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first block to the last, as a reader would type it."""
    blocks = FENCE.findall(path.read_text(encoding="utf-8"))
    for package in ("onnxruntime", "skl2onnx", "pandas", "distributed", "matplotlib"):
        if any(package in block or (package == "matplotlib" and "Display" in block) for block in blocks):
            pytest.importorskip(package)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{name_of(path)}, block {number}", "exec"), names)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_parameters_that_a_page_names_exist(path: Path) -> None:
    """What stands in code as name=value is a parameter of something public."""
    known = set(PARAMETERS)
    text = path.read_text(encoding="utf-8")
    named = {name for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text) for name in re.findall(r"(\w+)=", code)}
    # Of other libraries, in the column that stands for them.
    others = {"optimizer", "momentum", "shuffle"} if path.name == "frameworks.md" else set()
    if path.name == "dask.md":
        cluster = pytest.importorskip("fastmlp.dask")
        others = {*cluster.DaskMLPClassifier().get_params(), "client"}
    assert named - known - others == set()


def parameters() -> set[str]:
    names: set[str] = set()
    for name in fastmlp.__all__:
        value = getattr(fastmlp, name)
        if isinstance(value, type) and hasattr(value, "get_params"):
            names |= set(value().get_params(deep=False))
            for method in ("fit", "partial_fit", "initialize"):
                if hasattr(value, method) or method in vars(value):
                    function = vars(value).get(method) or getattr(value, method)
                    code = getattr(getattr(function, "fn", function), "__code__", None)
                    names |= set(code.co_varnames) if code else set()
    return names


PARAMETERS = parameters()


PUBLIC = [name for name in fastmlp.__all__ if not name.startswith("_")]


OF_DASK = ["dask.DaskMLPClassifier", "dask.DaskMLPRegressor", "dask.fit_blocks"]


@pytest.mark.parametrize("name", [*PUBLIC, *(f"inspection.{name}" for name in inspection.__all__), *OF_DASK])
def test_docstrings_run(name: str) -> None:
    if name == "register_onnx_converters":
        pytest.importorskip("skl2onnx")
    if name.startswith("dask."):
        pytest.importorskip("fastmlp.dask")
    value: Any = fastmlp
    for part in name.split("."):
        value = getattr(value, part)
    module = import_module(value.__module__)
    tests = doctest.DocTestFinder(recurse=False).find(value, name, module=module, globs=dict(vars(module)))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    found = [runner.run(test) for test in tests]
    assert sum(result.failed for result in found) == 0
    is_error = isinstance(value, type) and issubclass(value, Exception)
    assert is_error or any(result.attempted for result in found)


NUMBER = r"(?:\d[\d.,]*|two|three|four|five|six|seven|eight|nine|ten|twenty|fifty|(?:a )?hundred)"
SPEED = re.compile(
    rf"\b{NUMBER} times (?:as (?:fast|long|slow)|faster|slower|longer|the (?:time|speed))"
    r"|\b(?:twice|thrice|half) (?:as (?:fast|long|slow)|the (?:time|speed))"
    rf"|\b{NUMBER} (?:seconds?|minutes?) on (?:a|this|one|two)\b"
    r"|\d ?(?:ms|µs|GFLOP/s)(?!\w)"
)


def test_no_speed_is_typed_by_hand() -> None:
    """What was measured is printed from the results: by generated.py, or between the markers of the README."""
    assert SPEED.search("trained in two to fifty times as fast") is not None
    readme = re.sub("<!-- benchmark -->.*<!-- /benchmark -->", "", (ROOT / "README.md").read_text("utf-8"), flags=re.S)
    texts = {"README.md": readme, "pyproject.toml": (ROOT / "pyproject.toml").read_text(encoding="utf-8")}
    paths = [path for path in PAGES if path.name != "changelog.md"] + list((ROOT / "fastmlp").rglob("*.py"))
    texts |= {name_of(path): path.read_text(encoding="utf-8") for path in paths}
    assert {name: found[0] for name, text in texts.items() if (found := SPEED.search(text))} == {}


def test_api_pages_have_every_public_name() -> None:
    text = (DOCS / "api" / "index.rst").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   ((?:inspection\.|dask\.)?\w+)$", text, re.MULTILINE)) - {"toctree"}
    of_inspection = {f"inspection.{name}" for name in inspection.__all__ if name not in PUBLIC}
    assert listed == {*PUBLIC, *of_inspection, *OF_DASK}


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_examples_are_scripts_with_a_title_and_a_picture(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    title, rule = text.split("\n")[1:3]
    assert rule == "=" * len(title)
    assert "plt.show()" in text
    assert not re.search(r"fetch_|urllib|requests|http", text), "examples do not download"


def test_links_between_pages_and_examples() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+\.(?:md|rst))", path.read_text(encoding="utf-8")):
            where = (path.parent / target).resolve()
            if where.parent == DOCS / "gallery":
                where = (
                    ROOT / "examples" / f"{where.stem}.py" if where.stem != "index" else where.parents[2] / "examples"
                )
            assert where.exists(), f"{name_of(path)}: {target}"
