"""The package as installed, and the documents that describe it."""

import dataclasses
import pkgutil
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

import fastmlp
from fastmlp import _core

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def installed() -> Distribution:
    """The metadata of the package, which a build in place without an installation does not have."""
    try:
        return distribution("fastmlp")
    except PackageNotFoundError:
        pytest.skip('needs an installation: pip install -e ".[test]"')


def run_python(code: str, folder: Path = ROOT) -> str:
    """Output of the code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder).stdout


def test_one_version(installed: Distribution) -> None:
    assert installed.version == fastmlp.__version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == fastmlp.__version__
    assert f"\nversion: {fastmlp.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_script_is_the_module(installed: Distribution) -> None:
    (script,) = installed.entry_points.select(group="console_scripts", name="fastmlp")
    from fastmlp.cli.main import main

    assert script.load() is main


def test_import_brings_numpy_and_one_extension() -> None:
    loaded = run_python("import sys, fastmlp; print(*sys.modules)").split()
    ours = {name for name in loaded if name.split(".")[0] in {"fastmlp", "sklearn", "scipy", "joblib"}}
    assert "fastmlp" in ours
    assert ours <= {"fastmlp", "fastmlp._core"}


def test_help_does_not_wait_for_scikit_learn() -> None:
    code = "import sys, fastmlp.cli.main; print('sklearn' in sys.modules)"
    assert run_python(code).strip() == "False"


def test_public_names_exist() -> None:
    for name in fastmlp.__all__:
        assert getattr(fastmlp, name) is not None
    assert set(fastmlp.__all__) <= set(dir(fastmlp))


THAT_CHANGE = {"cli.tables.Data", "dask.coordinator.Outcome", "dask.steps.Place", "dask.tree.Sum"}
THAT_CHANGE |= {"dask.worker.Attempt", "dask.worker.Post"}


def test_records_do_not_change() -> None:
    """Who is given one may keep it, or read it in another thread; those that change are named."""
    changing = set()
    for module in pkgutil.walk_packages(fastmlp.__path__, "fastmlp."):
        try:
            values = [] if module.name.endswith("__main__") else vars(import_module(module.name)).values()
        except ImportError:  # of what is not installed
            values = []
        records = [value for value in values if dataclasses.is_dataclass(value) and value.__module__ == module.name]
        changing |= {f"{each.__module__}.{each.__name__}" for each in records if not each.__dataclass_params__.frozen}
    assert {name.removeprefix("fastmlp.") for name in changing} <= THAT_CHANGE


def test_the_extension_needs_no_runtime_of_others() -> None:
    content = Path(_core.__file__).read_bytes()
    assert b"PyInit__core" in content  # such names are found
    for library in (b"libgomp", b"libomp", b"libiomp", b"openblas", b"mkl_"):
        assert library not in content


def test_a_source_tree_without_the_engine_says_what_to_do(tmp_path: Path) -> None:
    """Its folder shadows an installed package for whoever stands beside it."""
    ignored = shutil.ignore_patterns("_core.*", "__pycache__")
    shutil.copytree(Path(fastmlp.__file__).parent, tmp_path / "fastmlp", ignore=ignored)
    for command in (["-c", "from fastmlp import Trainer"], ["-m", "fastmlp", "train"]):
        # Without site-packages: an editable installation would find the engine of its own tree.
        done = subprocess.run([sys.executable, "-S", *command], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 1
        error = done.stderr.splitlines()[-1]
        assert re.search(r"source tree without its compiled engine .*`pip install -e \.`.* or leave that folder", error)


def test_readme_examples_run(tmp_path: Path) -> None:
    first, *recipes = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shown = re.search(r"# ([\d.]+)$", first, re.MULTILINE)
    assert shown is not None
    assert run_python(first).strip() == shown[1]
    assert len(recipes) > 10
    pytest.importorskip("dask.distributed")
    run_python("\n".join(recipes), tmp_path)  # they write files


def test_first_screen_of_the_readme_is_short() -> None:
    """Up to the table of every row, which is folded."""
    first_screen = README.partition("<details>")[0].splitlines()
    assert len(first_screen) <= 60
    assert "```sh\npip install fastmlp\n```" in README


def test_readme_run_command_leaves_a_checkout_that_imports() -> None:
    """Installed as a wheel, the package would be shadowed by its sources for whoever stands in the checkout."""
    assert 'pip install -e ".[cli]" &&' in README


def test_documents_name_everything_public() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name in {*fastmlp.__all__} - {"__version__", "ModelFileError"}:
        assert name in README, name
        assert name in changes, name


@pytest.mark.parametrize("name", ["run", "test"])
def test_readme_command_stands_below_its_marker(name: str) -> None:
    """Where the continuous integration finds it: one line, ready to be copied."""
    block = re.search(rf"^<!-- {name} -->\n```sh\n(.+)\n```$", README, re.MULTILINE)
    assert block is not None
    assert block[1].startswith("python3 -m venv .venv && ")


def test_readme_links_and_benchmark_markers() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
    assert README.count("<!-- benchmark -->") == README.count("<!-- /benchmark -->") == 1


def test_command_line_options_of_the_documents_exist() -> None:
    commands = [[sys.executable, "-m", "fastmlp", command, "--help"] for command in ("train", "predict")]
    helped = "".join(subprocess.run(command, capture_output=True, text=True).stdout for command in commands)
    texts = README + (ROOT / "docs" / "guide" / "command_line.md").read_text(encoding="utf-8")
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", re.sub(r".*(-m bench|pytest) .*", "", texts))) - {"--readme"}
    assert len(options) > 8
    assert options <= set(re.findall(r"--[a-z-]+", helped))
