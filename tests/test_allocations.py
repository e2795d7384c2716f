"""Training allocates nothing: malloc calls are counted by a library loaded before the C library."""

import subprocess
import sys
from pathlib import Path

from preload import preloaded

COUNTER = """
#include <stddef.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static long count;
long malloc_count(void) { return __atomic_load_n(&count, __ATOMIC_RELAXED); }
#define COUNTED(call) (__atomic_add_fetch(&count, 1, __ATOMIC_RELAXED), call)
void *malloc(size_t n) { return COUNTED(__libc_malloc(n)); }
void *calloc(size_t n, size_t size) { return COUNTED(__libc_calloc(n, size)); }
void *realloc(void *p, size_t n) { return COUNTED(__libc_realloc(p, n)); }
void *aligned_alloc(size_t alignment, size_t n) { return COUNTED(__libc_memalign(alignment, n)); }
void *memalign(size_t alignment, size_t n) { return COUNTED(__libc_memalign(alignment, n)); }
int posix_memalign(void **p, size_t alignment, size_t n) { return !(*p = COUNTED(__libc_memalign(alignment, n))); }
"""

PROGRAM = """
import ctypes
import itertools
import numpy as np
import scipy.sparse
from fastmlp import _core

count = ctypes.CDLL(None).malloc_count
count.restype = ctypes.c_long

before = count()
ctypes.CDLL(None).malloc.restype = ctypes.c_void_p
ctypes.CDLL(None).malloc(ctypes.c_size_t(1))
assert count() > before, "the counter does not count"

n_units, n_rows = (50, 200, 30, 4), 4000
X = np.random.default_rng(0).random((n_rows, n_units[0]), np.float32)
classes = np.arange(n_rows) % 4
networks = [_core.Network(n_units, "tanh", "log_loss", dtype) for dtype in ("float32", "bfloat16")]
for network, X in itertools.product(networks, (X, scipy.sparse.csr_array(X * (X < 0.1)))):
    for n_threads in (1, 2):
        calls = []
        for batch_size in (n_rows, 8):
            params = np.full(network.n_params, 0.01, np.float32)
            slots = np.zeros((2, network.n_params), np.float32)
            training = _core.Training(
                network, params, slots, X, classes, optimizer="adam", batch_size=batch_size, n_threads=n_threads
            )
            assert training.run(None, 1e9) == "epoch"  # the first call may set things up, threads' stacks among them
            before = count()
            assert training.run(None, 1e9) == "epoch"
            calls.append(count() - before)
        print(n_threads, *calls)
"""


def test_no_allocation_in_the_loop(tmp_path: Path) -> None:
    """One epoch calls malloc as often with 500 batches as with a single one; with one thread, never."""
    environment = preloaded(COUNTER, tmp_path)
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = [tuple(map(int, line.split())) for line in run.stdout.splitlines()]
    assert [line[0] for line in lines] == [1, 2] * 4
    for n_threads, one_batch, many_batches in lines:
        assert many_batches == one_batch, f"{n_threads} threads: the loop allocates"
        assert n_threads > 1 or one_batch == 0, f"a call allocates {one_batch} times"
