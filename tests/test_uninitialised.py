"""The engine reads nothing of its scratch that it has not written: memory full of NaN changes no bit."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

from preload import preloaded

FILLED = """
#include <stddef.h>
#include <string.h>
extern void *__libc_malloc(size_t);
static long count;
long malloc_count(void) { return count; }
void *malloc(size_t n) {
    void *p = __libc_malloc(n);
    count++;
    return p ? memset(p, 0xff, n) : p;
}
"""
"""A malloc whose memory is NaN, whichever float it is read as."""

PROGRAM = """
import itertools, sys
import numpy as np
import scipy.sparse
from fastmlp import _core

rng = np.random.default_rng(0)
shapes = [(7, 35, 67, 3), (33, 5, 17), (1, 1, 1), (65, 129, 9), (3, 515, 35, 2)]
for n_units, activation in itertools.product(shapes, ["logistic", "gelu"]):
    network = _core.Network(n_units, activation, "squared_error", sys.argv[1])
    params = rng.normal(size=network.n_params).astype(network.dtype)
    X, Y = rng.normal(size=(333, n_units[0])), rng.normal(size=(333, n_units[-1]))
    X[rng.random(X.shape) < 0.9] = 0
    for rows, n_rows in itertools.product((X, scipy.sparse.csr_array(X)), (1, 2, 5, 33, 333)):
        outputs = np.empty((n_rows, n_units[-1]), network.dtype)
        gradient = np.empty(network.n_params, network.dtype)
        network.predict(params, rows[:n_rows], outputs, 2)
        loss = network.loss_gradient(params, rows[:n_rows], Y[:n_rows], None, 0.1, gradient, 2)
        value = network.evaluate(params, rows[:n_rows], Y[:n_rows])
        trained, slots = params.copy(), np.zeros((2, network.n_params), network.dtype)
        settings = {"optimizer": "adam", "batch_size": min(n_rows, 27), "input_noise": 0.1, "seed": 1}
        settings["dropout"] = [0.1] * (len(n_units) - 1)
        for alpha, clip_norm in ((0.1, None), (1e-50, 0.5)):  # which is 0 as a float32, and a penalty nevertheless
            training = _core.Training(
                network, trained, slots, rows[:n_rows], Y[:n_rows], alpha=alpha, clip_norm=clip_norm, **settings
            )
            assert training.run(None, 1e9) == "epoch"
            sys.stdout.buffer.write(np.array(training.loss).tobytes())
        assert np.isfinite(outputs).all() and np.isfinite(gradient).all()
        sys.stdout.buffer.write(outputs.tobytes() + gradient.tobytes() + trained.tobytes() + slots.tobytes())
        sys.stdout.buffer.write(np.array([loss, value]).tobytes())
"""


def digest(environment: Any, precision: str) -> str:
    run = subprocess.run([sys.executable, "-c", PROGRAM, precision], env=environment, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return hashlib.sha256(run.stdout).hexdigest()


def test_memory_that_is_not_a_number_changes_nothing(isa: str, precision: str, tmp_path: Path) -> None:
    assert digest(preloaded(FILLED, tmp_path), precision) == digest(None, precision)


def test_the_memory_is_not_a_number(tmp_path: Path) -> None:
    """Or the other test would be none."""
    program = "import numpy as np; print(np.isnan(np.empty(100_000)).all())"
    run = subprocess.run(
        [sys.executable, "-c", program], env=preloaded(FILLED, tmp_path), capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "True"
