"""Who is measured: every way to train the same network. Sessions live in a worker process of their own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.workloads import Workload

SEED = 0
"""Of the order of the rows, which every engine draws from scikit-learn's generator."""
MOMENTUM = 0.9


class Session(Protocol):
    """A workload on one engine."""

    def reset(self) -> None:
        """Go back to the initial weights and the first order of the rows: every turn is the same training."""

    def turn(self) -> float:
        """Do the epochs of one turn, or so many predictions; return the mean loss of the last epoch."""

    def parameters(self) -> list[NDArray[Any]]:
        """Weights, then biases, as they are now; of a session that predicts, what it predicted."""


def estimator_settings(workload: Workload, order: np.random.RandomState) -> dict[str, Any]:
    """Parameters of an estimator, in scikit-learn's names: one epoch for each call of `fit`, from the last one on."""
    return {
        "hidden_layer_sizes": workload.n_units[1:-1],
        "activation": workload.activation,
        "solver": "adam" if workload.optimizer == "adam" else "sgd",
        "alpha": 0.0,
        "batch_size": workload.batch_size,
        "learning_rate_init": workload.learning_rate,
        "max_iter": 1,
        "random_state": order,
        "warm_start": True,
        "momentum": MOMENTUM if workload.optimizer == "sgd_momentum" else 0.0,
        "nesterovs_momentum": False,
        "n_iter_no_change": np.inf,
    }


class Orders:
    """The rows in the order in which each epoch of `fit` uses them, for engines that do not draw it themselves."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._generator = np.random.RandomState(SEED)

    def reset(self) -> None:
        """The next epoch is the first."""
        self._generator.seed(SEED)

    def epochs(self, n_epochs: int) -> Iterator[NDArray[np.int64]]:
        """Draw so many of them: int64, of shape (n_rows,)."""
        order = np.arange(self._n_rows)
        for _ in range(n_epochs):
            self._generator.shuffle(order)
            yield order


TORCH_ADAM = "PyTorch's Adam adds epsilon after the bias correction"
"""Which is no reason not to compare the losses."""


def _same(workload: Workload) -> str:
    return ""


def _scikit_learn_differs(workload: Workload) -> str:
    if workload.loss == "log_loss" and workload.n_units[-1] == 2:
        return "scikit-learn gives two classes one logistic output, which is less work"
    return ""


def _torch_differs(workload: Workload) -> str:
    if "dropout" in dict(workload.settings):
        return "PyTorch drops other units, and its Adam adds epsilon after the bias correction"
    if workload.optimizer == "adam" and workload.task == "train":
        return TORCH_ADAM
    return ""


@dataclass(frozen=True)
class Engine:
    """A way to train.

    `session` names a class of `bench`, imported only in the worker; `packages` are those that it needs. `environment`
    holds the variables that must be set before its worker process loads NumPy, `one_thread` those that keep it on one.
    """

    title: str
    session: str
    packages: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    one_thread: dict[str, str] = field(default_factory=dict)
    needs_isa: str = ""
    """Instruction set without which it is left out."""
    tasks: tuple[str, ...] = ("train", "predict")
    optimizers: tuple[str, ...] = ("sgd", "sgd_momentum", "adam")
    dtypes: tuple[str, ...] = ("float32", "float64")
    """Of the workloads that it knows."""
    precision: str = ""
    """What it multiplies in; "" for the dtype of the workload."""
    compiles: bool = False
    """Whether its first turn compiles."""
    differs: Callable[[Workload], str] = _same
    """Why its training of a workload is not that of the others; "" where it is, and then the weights must agree."""

    def is_installed(self) -> bool:
        """Whether its packages can be imported."""
        return all(find_spec(package) is not None for package in self.packages)

    def can(self, workload: Workload) -> bool:
        """Whether it knows how to do this."""
        return (
            workload.task in self.tasks
            and workload.dtype in self.dtypes
            and (workload.task == "predict" or workload.optimizer in self.optimizers)
        )

    def open(self, workload: Workload, n_threads: int) -> Session:
        """Make the session; n_threads 0 means all."""
        module, name = self.session.split(":")
        session: Session = getattr(import_module(f"bench.{module}"), name)(workload, n_threads)
        return session


BLAS_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}
TORCH_COMPILES = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}  # or the second run would report no time to compile
JAX = {"JAX_PLATFORMS": "cpu"}
# The documented flags alone leave it a pool of two threads, which on small networks costs it half its speed.
JAX_ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "NPROC": "1"}
BFLOAT16: dict[str, Any] = {"dtypes": ("float32",), "precision": "bfloat16"}

ENGINES = {
    "fastmlp": Engine("fastmlp", "session_fastmlp:FastmlpSession"),
    "numpy": Engine(
        "NumPy",
        "session_numpy:NumpySession",
        one_thread=BLAS_ONE_THREAD,
        tasks=("train",),
        optimizers=("sgd", "sgd_momentum"),
    ),
    # NumPy's OpenBLAS does not know every CPU with AVX-512, and then multiplies at half speed: measured as NumPy comes,
    # and with the kernels it could have had.
    "numpy-avx512": Engine(
        "NumPy, AVX-512",
        "session_numpy:NumpySession",
        environment={"OPENBLAS_CORETYPE": "SkylakeX"},
        one_thread=BLAS_ONE_THREAD,
        needs_isa="x86-64-v4",
        tasks=("train",),
        optimizers=("sgd", "sgd_momentum"),
    ),
    "scikit-learn": Engine(
        "scikit-learn",
        "session_sklearn:SklearnSession",
        one_thread=BLAS_ONE_THREAD,
        differs=_scikit_learn_differs,
    ),
    "torch": Engine("PyTorch", "session_torch:TorchSession", ("torch",), differs=_torch_differs),
    "torch-compile": Engine(
        "PyTorch, compiled",
        "session_torch:CompiledSession",
        ("torch",),
        environment=TORCH_COMPILES,
        tasks=("train",),
        optimizers=("sgd", "sgd_momentum"),
        compiles=True,
    ),
    "jax": Engine(
        "JAX",
        "session_jax:JaxSession",
        ("jax",),
        environment=JAX,
        one_thread=JAX_ONE_THREAD,
        compiles=True,
    ),
    "onnxruntime": Engine(
        "ONNX Runtime",
        "session_onnxruntime:OnnxruntimeSession",
        ("onnx", "onnxruntime"),
        tasks=("predict",),
        dtypes=("float32",),
    ),
    # Of workloads in float32 too: what they round is theirs, so that they race with the others to an accuracy.
    "fastmlp-bfloat16": Engine("fastmlp, bfloat16", "session_fastmlp:Bfloat16Session", **BFLOAT16),
    "torch-bfloat16": Engine(
        "PyTorch, bfloat16", "session_torch:Bfloat16Session", ("torch",), differs=_torch_differs, **BFLOAT16
    ),
    "torch-autocast": Engine(
        "PyTorch, autocast", "session_torch:AutocastSession", ("torch",), differs=_torch_differs, **BFLOAT16
    ),
    "torch-bfloat16-compile": Engine(
        "PyTorch, bfloat16, compiled",
        "session_torch:CompiledBfloat16Session",
        ("torch",),
        environment=TORCH_COMPILES,
        tasks=("train",),
        optimizers=("sgd", "sgd_momentum"),
        compiles=True,
        **BFLOAT16,
    ),
    "jax-bfloat16": Engine(
        "JAX, bfloat16",
        "session_jax:Bfloat16Session",
        ("jax",),
        environment=JAX,
        one_thread=JAX_ONE_THREAD,
        compiles=True,
        **BFLOAT16,
    ),
}


def runnable(wanted: Sequence[str], isas: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of the wanted engines and fastmlp those that this machine can run, and all that are not installed."""
    if unknown := set(wanted) - set(ENGINES):
        raise ValueError(f"no engine is named {', '.join(sorted(unknown))}: there are {', '.join(ENGINES)}")
    fitting = [name for name, engine in ENGINES.items() if engine.needs_isa in ("", *isas)]
    absent = [name for name in fitting if not ENGINES[name].is_installed()]
    return [name for name in fitting if name not in absent and (name in wanted or name.startswith("fastmlp"))], absent
