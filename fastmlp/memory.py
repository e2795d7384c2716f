"""How much memory this process may use, and whether a training fits in it."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import engine_settings
from fastmlp._core import OPTIMIZERS, Network
from fastmlp.control_groups import CGROUPS, OWN_CGROUPS, own_folders
from fastmlp.lbfgs import VECTORS
from fastmlp.rows import Samples

UNLIMITED = 2**60
"""Version 1 writes the largest number of whole pages where there is no limit."""


def memory_limit(mount: Path = CGROUPS, own_groups: Path = OWN_CGROUPS) -> int | None:
    """Bytes of the machine, or of the control group around this process that has fewest; None where nothing tells.

    Of a group version 2 writes ``memory.max``, version 1 ``memory.limit_in_bytes``.
    """
    limits = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for folder in own_folders("memory", mount, own_groups):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal() and int(text) < UNLIMITED:
                limits.append(int(text))
    return min(limits, default=None)


def require_memory(network: Network, settings: Any, samples: Samples) -> None:
    """Raise MemoryError if a training of this network does not fit: many systems promise the memory even so."""
    n_bytes = _training_bytes(network, settings, samples)
    if not _has_memory(n_bytes):
        raise MemoryError(
            f"Unable to allocate {n_bytes / 2**30:.3g} GiB for the {network.n_params} parameters of layers of "
            f"{network.n_units} units in {network.precision}, the state of the optimizer and the batches: this "
            "machine, or the control group of this process, has less. Use smaller hidden_layer_sizes."
        )


def _has_memory(n_bytes: int) -> bool:
    """Whether this process may use so much memory."""
    limit = memory_limit()
    if limit is not None:
        return n_bytes <= limit
    try:  # Windows, unlike the others, refuses memory that it does not have
        np.empty(n_bytes, np.uint8)
    except (MemoryError, ValueError):  # ValueError: more than any array may have
        return False
    return True


def _training_bytes(network: Network, settings: Any, samples: Samples) -> int:
    """Bytes of parameters, optimizer and scratch."""
    rows, optimizer = samples.rows, engine_settings.optimizer_name(settings)
    size, itemsize = engine_settings.batch_size(settings, rows.shape[0]), network.dtype.itemsize
    n_threads = engine_settings.threads(settings, network, rows, size)
    if optimizer == "lbfgs":
        in_float64 = engine_settings.network_of(network.n_units, settings, network.loss, "float64")
        scratch = in_float64.scratch_bytes(rows, job="loss_gradient", alpha=settings.alpha, n_threads=n_threads)
        return network.n_params * (itemsize + 8 * VECTORS) + scratch
    regularisation = engine_settings.regularisation(settings, network.n_units)
    asked = {name: regularisation[name] for name in ("alpha", "clip_norm", "input_noise") if name in regularisation}
    scratch = network.scratch_bytes(rows, optimizer=optimizer, batch_size=size, n_threads=n_threads, **asked)
    n_vectors = 1 + OPTIMIZERS[optimizer] + bool(settings.early_stopping)  # which keeps the best parameters
    return network.n_params * itemsize * n_vectors + scratch
