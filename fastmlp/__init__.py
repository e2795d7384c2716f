"""Fast training of multi-layer perceptrons on a CPU, with scikit-learn's interface."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmlp.classifier import MLPClassifier
    from fastmlp.estimator_file import load
    from fastmlp.export.from_sklearn import from_sklearn
    from fastmlp.export.onnx_pipeline import register_onnx_converters
    from fastmlp.model_file import ModelFileError
    from fastmlp.plotting import LossCurveDisplay
    from fastmlp.regressor import MLPRegressor
    from fastmlp.tabular import TabularClassifier, TabularRegressor
    from fastmlp.trainer import Trainer

if find_spec("fastmlp._core") is None:
    raise ImportError(
        f"{__path__[0]} is fastmlp's source tree without its compiled engine for this Python: run `pip install -e .` "
        "in the folder above it, or leave that folder to import the fastmlp that is installed",
        name="fastmlp._core",
    )

__version__ = "0.2.0"
__all__ = [
    "LossCurveDisplay",
    "MLPClassifier",
    "MLPRegressor",
    "ModelFileError",
    "TabularClassifier",
    "TabularRegressor",
    "Trainer",
    "__version__",
    "from_sklearn",
    "load",
    "register_onnx_converters",
    "show_config",
]

_HOMES = {
    "LossCurveDisplay": "fastmlp.plotting",
    "MLPClassifier": "fastmlp.classifier",
    "MLPRegressor": "fastmlp.regressor",
    "ModelFileError": "fastmlp.model_file",
    "TabularClassifier": "fastmlp.tabular",
    "TabularRegressor": "fastmlp.tabular",
    "Trainer": "fastmlp.trainer",
    "from_sklearn": "fastmlp.export.from_sklearn",
    "load": "fastmlp.estimator_file",
    "register_onnx_converters": "fastmlp.export.onnx_pipeline",
}
"""Module of each public name, imported when the name is first used: scikit-learn takes longer to import than NumPy."""


if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def show_config() -> None:
    """Print the version, the instruction set in use, the threads and why that many, and the dtypes and their speed.

    Raises
    ------
    ValueError
        If the environment variable ``FASTMLP_ISA`` names an instruction set that is unknown or that this CPU lacks.

    Examples
    --------
    >>> from fastmlp import show_config
    >>> show_config()  # doctest: +ELLIPSIS
    fastmlp ...
    """
    from fastmlp import _core
    from fastmlp.threads import usable_cpus

    isa, available = _core.isa(), _core.available_isas()
    n_cpus, reason = usable_cpus()
    print(f"fastmlp     {__version__}")
    print(f"ISA         {isa}{_why_slow(isa, available)}")
    print(f"available   {', '.join(available)}")
    print(f"threads     up to {n_cpus} ({reason}); fewer for small steps; n_threads sets the number")
    emulates = _core.Network((1, 1), "identity", "squared_error", "bfloat16").emulates
    speed = (
        "slow, by instructions of float32: this CPU or this ISA lacks AVX-512 BF16"
        if emulates
        else "fast, AVX-512 BF16"
    )
    print(f"dtypes      float32 (4 bytes), float64 (8 bytes), bfloat16 ({speed})")


def _why_slow(isa: str, available: tuple[str, ...]) -> str:
    if isa != available[0]:
        return f" (FASTMLP_ISA; the fastest available is {available[0]})"
    if isa == "x86-64":
        return " (the baseline, several times slower: this CPU or this build lacks x86-64-v3, that is AVX2 and FMA)"
    return ""
