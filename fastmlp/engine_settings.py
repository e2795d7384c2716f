"""What the hyper-parameters ask of the engine."""

from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp._core import Network, aligned_empty
from fastmlp.layers import activations, dropout_shares, quantiles
from fastmlp.threads import default_threads, step_flops


def copy_of(random_state: np.random.RandomState) -> np.random.RandomState:
    """A generator that will give the same numbers."""
    return deepcopy(random_state)


def network_options(n_units: tuple[int, ...], settings: Any, loss: str) -> dict[str, Any]:
    """What the hyper-parameters ask of a network beside its shape."""
    options: dict[str, Any] = {"activation": activations(settings.activation, len(n_units) - 2)}
    if loss in ("log_loss", "binary_log_loss") and settings.label_smoothing:
        options["label_smoothing"] = settings.label_smoothing
    elif loss == "huber":
        options["huber_delta"] = settings.huber_delta
    elif loss == "quantile":
        of_outputs = quantiles(settings.quantile)
        if len(of_outputs) not in (1, n_units[-1]):
            raise ValueError(f"quantile has {len(of_outputs)} numbers, but the network has {n_units[-1]} outputs.")
        options["quantiles"] = of_outputs * (n_units[-1] // len(of_outputs))
    return options


def network_of(n_units: tuple[int, ...], settings: Any, loss: str, dtype: Any) -> Network:
    """The network that these hyper-parameters ask for."""
    return Network(n_units, loss=loss, dtype=dtype, **network_options(n_units, settings, loss))


def regularisation(settings: Any, n_units: tuple[int, ...]) -> dict[str, Any]:
    """The engine's regularisation: what is not used is not there."""
    shares = dropout_shares(settings.dropout, len(n_units) - 2)
    asked = {"dropout": shares, "clip_norm": settings.clip_norm, "l1_ratio": settings.l1_ratio}
    asked |= {"weight_decay": settings.weight_decay, "input_noise": settings.input_noise}
    return {"alpha": settings.alpha} | {name: value for name, value in asked.items() if value}


def parametrisation(settings: Any, n_units: tuple[int, ...]) -> dict[str, Any]:
    """Learning rates of each array, and factors of the inputs: those of the neural tangent kernel, where asked for."""
    if not hasattr(settings, "scale_rate"):
        return {}
    rates = [*(n**-0.5 for n in n_units[:-1]), *[settings.bias_rate] * (len(n_units) - 1), settings.scale_rate]
    return {"rate_factors": rates, "learn_scale": True}


def batch_size(settings: Any, n_rows: int) -> int:
    """Rows of a step, of so many to train on."""
    return int(min(200 if settings.batch_size == "auto" else settings.batch_size, n_rows))


def optimizer_name(settings: Any) -> str:
    """The engine's name of the optimizer, or "lbfgs"."""
    if settings.solver == "sgd" and settings.momentum > 0:
        return "sgd_nesterov" if settings.nesterovs_momentum else "sgd_momentum"
    return str(settings.solver)


def threads(settings: Any, network: Network, rows: Any, batch_size: int) -> int:
    """Number of threads for steps of that many rows."""
    return int(settings.n_threads or default_threads(step_flops(network, rows, batch_size)))


def zeros(shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that are aligned as the engine likes them."""
    array = aligned_empty(shape, dtype)
    array[...] = 0
    return array
