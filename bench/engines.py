"""Who is measured: every way to train the same network. Sessions live in a worker process of their own."""

from collections.abc import Callable, Iterator
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
        """Do the epochs of one turn, or predict once; return the mean loss of the last epoch."""

    def parameters(self) -> list[NDArray[Any]]:
        """Weights, then biases, as they are now."""


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


def _same(workload: Workload) -> str:
    return ""


def _scikit_learn_differs(workload: Workload) -> str:
    if workload.loss == "log_loss" and workload.n_units[-1] == 2:
        return "scikit-learn gives two classes one logistic output, which is less work"
    return ""


def _torch_differs(workload: Workload) -> str:
    if "dropout" in dict(workload.settings):
        return "PyTorch drops other units, and its Adam adds epsilon after the bias correction"
    if workload.optimizer == "adam":
        return "PyTorch's Adam adds epsilon after the bias correction"
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
    optimizers: tuple[str, ...] = ("sgd", "sgd_momentum", "adam")
    dtypes: tuple[str, ...] = ("float32", "float64")
    compiles: bool = False
    """Whether its first turn compiles."""
    differs: Callable[[Workload], str] = _same
    """Why its training of a workload is not that of the others; "" where it is, and then the weights must agree."""

    def is_able(self, workload: Workload) -> bool:
        """Whether it can train this."""
        return workload.optimizer in self.optimizers and workload.dtype in self.dtypes

    def is_installed(self) -> bool:
        """Whether its packages can be imported."""
        return all(find_spec(package) is not None for package in self.packages)

    def open(self, workload: Workload, n_threads: int) -> Session:
        """Make the session; n_threads 0 means all."""
        module, name = self.session.split(":")
        session: Session = getattr(import_module(f"bench.{module}"), name)(workload, n_threads)
        return session


BLAS_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}

ALL_DTYPES = ("float32", "float64", "bfloat16")
# Or the second run would report no time to compile.
INDUCTOR = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}

ENGINES = {
    "fastmlp": Engine("fastmlp", "session_fastmlp:FastmlpSession", dtypes=ALL_DTYPES),
    "numpy": Engine(
        "NumPy",
        "session_numpy:NumpySession",
        one_thread=BLAS_ONE_THREAD,
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
        optimizers=("sgd", "sgd_momentum"),
    ),
    "scikit-learn": Engine(
        "scikit-learn",
        "session_sklearn:SklearnSession",
        one_thread=BLAS_ONE_THREAD,
        differs=_scikit_learn_differs,
    ),
    "torch": Engine("PyTorch", "session_torch:TorchSession", ("torch",), dtypes=ALL_DTYPES, differs=_torch_differs),
    "torch-bfloat16": Engine(
        "PyTorch, all in bfloat16",
        "session_torch:PureSession",
        ("torch",),
        dtypes=("bfloat16",),
        differs=_torch_differs,
    ),
    "torch-compile": Engine(
        "PyTorch, compiled",
        "session_torch:CompiledSession",
        ("torch",),
        environment=INDUCTOR,
        optimizers=("sgd", "sgd_momentum"),
        dtypes=ALL_DTYPES,
        compiles=True,
    ),
    "torch-bfloat16-compile": Engine(
        "PyTorch, all in bfloat16, compiled",
        "session_torch:CompiledPureSession",
        ("torch",),
        environment=INDUCTOR,
        optimizers=("sgd", "sgd_momentum"),
        dtypes=("bfloat16",),
        compiles=True,
    ),
    "jax": Engine(
        "JAX",
        "session_jax:JaxSession",
        ("jax",),
        environment={"JAX_PLATFORMS": "cpu"},
        # The documented flags alone leave it a pool of two threads, which on small networks costs it half its speed.
        one_thread={"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "NPROC": "1"},
        dtypes=ALL_DTYPES,
        compiles=True,
    ),
}
