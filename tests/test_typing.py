"""Types as a user's program sees them: what mypy --strict says of it."""

from importlib.resources import files
from pathlib import Path

import pytest

PROGRAM = """
import numpy as np
from fastmlp import Trainer, __version__, show_config

X, y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
trainer: Trainer = Trainer((8,), activation="tanh", random_state=0).fit(X, y)
weights: list[np.ndarray] = trainer.coefs_
version: str = __version__
show_config()
"""
MISTAKES = ["Trainer(n_thread=2)", "Trainer().fit()", "number: int = __version__", "from fastmlp.trainer import Trainr"]


def test_the_types_are_installed() -> None:
    package = files("fastmlp")
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()


def complaints(program: str, folder: Path) -> str:
    """What mypy finds wrong in a program outside the project; its cache is shared by the tests of one run."""
    api = pytest.importorskip("mypy.api", reason="needs mypy")
    (folder / "program.py").write_text(program)
    arguments = ["--strict", "--config-file=", f"--cache-dir={folder.parent / 'mypy'}", str(folder / "program.py")]
    output, errors, status = api.run([*arguments, "--disable-error-code=type-arg"])
    assert not errors
    return str(output) if status else ""


def test_a_program_passes(tmp_path: Path) -> None:
    assert complaints(PROGRAM, tmp_path) == ""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str, tmp_path: Path) -> None:
    found = complaints(f"{PROGRAM}\n{mistake}\n", tmp_path)
    assert found.count("error:") == 1
    assert f"program.py:{PROGRAM.count(chr(10)) + 2}:" in found
