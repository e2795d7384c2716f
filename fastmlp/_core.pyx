# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The door: NumPy arrays in, pointers out; the GIL; a status becomes a word. No arithmetic, no judgement of user input.

Documented for callers in _core.pyi, for the engine in csrc/fastmlp.h.
"""
import os

import numpy as np

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.string cimport memcpy, memset

cdef extern from "fastmlp.h" nogil:
    enum:
        FM_FLOAT32
        FM_FLOAT64
        FM_UINT8
        FM_TRAIN
        FM_LOSS_GRADIENT
        FM_PREDICT
        FM_EPOCH
        FM_YIELD
        FM_NOT_FINITE
        FM_MAX_THREADS
        FM_ALIGNMENT
    ctypedef struct fm_matrix:
        const void *data
        const void *indices
        const void *indptr
        int64_t row_stride
        int64_t n_columns
        int64_t n_values
        int64_t max_row_values
        int32_t dtype
        int32_t index_bytes
    ctypedef struct fm_optimizer:
        int32_t kind
        double learning_rate
        double momentum
        double beta_1
        double beta_2
        double epsilon
        int64_t step
    ctypedef struct fm_task:
        int32_t job
        int32_t n_threads
        int64_t n_layers
        const int64_t *n_units
        int32_t activation
        int32_t loss
        double alpha
        fm_matrix X
        fm_matrix Y
        const int64_t *classes
        const double *sample_weight
        const int64_t *order
        int64_t n_rows
        int64_t batch_size
        void *params
        void *slots
        void *gradient
        void *outputs
        void *scratch
        fm_optimizer optimizer
        double seconds
        int64_t position
        int64_t batch_position
        double batch_loss
        double loss_sum
        double *phase_seconds
    ctypedef struct fm_engine:
        const char *isa
        const char **activations
        const char **losses
        const char **optimizers
        const int32_t *optimizer_slots
        const char **phases
        const char **layer_phases
        int64_t (*scratch_bytes)(const fm_task *task) noexcept nogil
        int32_t (*run)(fm_task *task) noexcept nogil
        double (*fma_loop)(int64_t n) noexcept nogil
        int64_t fma_loop_flops
        void (*barrier_loop)(int32_t n_threads, int64_t n) noexcept nogil
    const fm_engine *fm_engine_at(int32_t index, int32_t real_bytes)


cdef tuple _names(const char **names):
    cdef list found = []
    while names[len(found)] != NULL:
        found.append(names[len(found)].decode())
    return tuple(found)


cdef const fm_engine *_any = fm_engine_at(0, 4)
ACTIVATIONS = _names(<const char **>_any.activations)
_LOSSES = _names(<const char **>_any.losses)
from collections import namedtuple
Loss = namedtuple("Loss", "output mean_over_outputs threshold exclusive lowest highest")
_I = float("inf")
LOSSES = {"log_loss": Loss("softmax", False, 0.5, True, 0.0, 1.0), "binary_log_loss": Loss("logistic", False, 0.5, False, 0.0, 1.0),
 "squared_error": Loss("identity", True, None, False, -_I, _I), "poisson": Loss("exp", False, None, False, 0.0, _I), "hinge": Loss("identity", False, 0.0, False, -_I, _I)}
class Scratch:
    nbytes = 0
def aligned_empty(shape, dtype):
    return np.empty(shape, dtype)
OPTIMIZERS = {name: _any.optimizer_slots[i] for i, name in enumerate(_names(<const char **>_any.optimizers))}
MAX_THREADS = FM_MAX_THREADS
_DTYPES = {"f": FM_FLOAT32, "d": FM_FLOAT64, "B": FM_UINT8, "?": FM_UINT8}


cdef dict _engines():
    """Instruction set -> address of its engines for (float, double). Asked once: a virtual machine traps CPUID."""
    cdef dict found = {}
    cdef const fm_engine *engine = fm_engine_at(0, 4)
    while engine != NULL:
        found[engine.isa.decode()] = (<uintptr_t>engine, <uintptr_t>fm_engine_at(len(found), 8))
        engine = fm_engine_at(len(found), 4)
    return found


_ENGINES = _engines()


def available_isas():
    return tuple(_ENGINES)


def isa():
    forced = os.environ.get("FASTMLP_ISA")
    if not forced:
        return next(iter(_ENGINES))
    if forced not in _ENGINES:
        raise ValueError(
            f"FASTMLP_ISA={forced!r} cannot run here: this CPU and this build offer {', '.join(_ENGINES)}. "
            "Unset FASTMLP_ISA to use the fastest."
        )
    return forced


cdef const fm_engine *_engine(int32_t real_bytes) except NULL:
    return <const fm_engine *><uintptr_t>_ENGINES[isa()][real_bytes == 8]


def fma_peak(dtype="float32", double seconds=0.05):
    from time import perf_counter

    cdef const fm_engine *engine = _engine(np.dtype(dtype).itemsize)
    cdef int64_t rounds = 100_000
    best, end = 0.0, perf_counter() + seconds
    while True:
        start = perf_counter()
        with nogil:
            engine.fma_loop(rounds)
        now = perf_counter()
        best = max(best, rounds * engine.fma_loop_flops / (now - start) * 1e-9)
        if now > end:
            return best


def barrier_latency(int32_t n_threads=2, int64_t n_barriers=10_000):
    from time import perf_counter

    cdef const fm_engine *engine = _engine(4)
    best = float("inf")
    for _ in range(5):
        start = perf_counter()
        with nogil:
            engine.barrier_loop(n_threads, n_barriers)
        best = min(best, perf_counter() - start)
    return best / n_barriers


cdef void *_data(object array, object dtype, bint writable=False) except? NULL:
    """Address of the elements of a contiguous array of this dtype; the caller keeps the array alive."""
    cdef Py_buffer view
    if array.dtype != dtype:
        raise TypeError(f"expected an array of {np.dtype(dtype)}, got {array.dtype}")
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    cdef void *data = view.buf
    PyBuffer_Release(&view)
    return data


cdef fm_matrix _matrix(object X) except *:
    cdef fm_matrix m
    cdef Py_buffer view
    memset(&m, 0, sizeof(m))
    m.n_columns = X.shape[1]
    m.dtype = _DTYPES[X.dtype.char]
    if isinstance(X, np.ndarray):
        PyObject_GetBuffer(X, &view, PyBUF_STRIDES)
        m.data, m.row_stride = view.buf, view.strides[0]
        adjacent = view.shape[1] == 1 or view.strides[1] == view.itemsize
        PyBuffer_Release(&view)
        if not adjacent:
            raise BufferError("the elements of a row must lie side by side")
        return m
    if X.indices.dtype != X.indptr.dtype or X.indices.dtype.kind != "i" or X.shape[1] >= 2**31:
        raise TypeError("CSR indices and indptr must have one signed dtype, and columns be fewer than 2**31")
    m.index_bytes = X.indices.dtype.itemsize
    m.n_values = X.indptr[len(X.indptr) - 1]
    m.max_row_values = np.diff(X.indptr).max(initial=0)
    m.data = _data(X.data, X.dtype)
    m.indices, m.indptr = _data(X.indices, X.indices.dtype), _data(X.indptr, X.indptr.dtype)
    return m


cdef tuple _arrays(object X):
    """The arrays whose memory a matrix lies in: those of a CSR matrix may be replaced in it while they are read."""
    return (X,) if isinstance(X, np.ndarray) else (X.data, X.indices, X.indptr)


cdef void *_aligned(object block) except NULL:
    cdef uintptr_t address = <uintptr_t>_data(block, np.uint8)
    return <void *>((address + FM_ALIGNMENT - 1) // FM_ALIGNMENT * FM_ALIGNMENT)


cdef class _Scratch:
    """A block of memory aligned for the engine, grown when a task needs more; an unfinished batch may lie in it."""

    cdef object block

    cdef void *fit(self, const fm_engine *engine, const fm_task *task) except NULL:
        cdef int64_t size = engine.scratch_bytes(task) + FM_ALIGNMENT
        if self.block is None or self.block.size < size:
            grown = np.empty(size, dtype=np.uint8)
            if self.block is not None:
                memcpy(_aligned(grown), _aligned(self.block), self.block.size - FM_ALIGNMENT)
            self.block = grown
        return _aligned(self.block)


cdef class Network:
    cdef readonly tuple n_units
    cdef readonly str activation, loss, isa
    cdef readonly object dtype
    cdef readonly int64_t n_params
    cdef const fm_engine *engine
    cdef object _units
    cdef fm_task task

    def __init__(self, n_units, activation, loss, dtype):
        self.n_units = tuple(int(n) for n in n_units)
        self.activation, self.loss, self.dtype = activation, loss, np.dtype(dtype)
        self.engine = _engine(self.dtype.itemsize)
        self.isa = self.engine.isa.decode()
        n_params = sum((fan_in + 1) * fan_out for fan_in, fan_out in zip(self.n_units, self.n_units[1:]))
        if n_params >= 2**56:  # the engine counts bytes in 64 bits
            raise MemoryError(f"a network with layers of {self.n_units} units has {n_params} parameters")
        self.n_params = n_params
        self._units = np.array(self.n_units, dtype=np.int64)  # after the check: each fits
        memset(&self.task, 0, sizeof(fm_task))
        self.task.n_layers = len(self.n_units) - 1
        self.task.n_units = <const int64_t *>_data(self._units, np.int64)
        self.task.activation = ACTIVATIONS.index(activation)
        self.task.loss = _LOSSES.index(loss)

    def step_flops(self, batch_size):
        products = [fan_in * fan_out for fan_in, fan_out in zip(self.n_units, self.n_units[1:])]
        return 2 * batch_size * (3 * sum(products) - products[0])

    def coefs(self, params):
        views, at = [], 0
        for fan_in, fan_out in zip(self.n_units, self.n_units[1:]):
            views.append(params[at : at + fan_in * fan_out].reshape(fan_in, fan_out))
            at += fan_in * fan_out
        return views

    def intercepts(self, params):
        views, at = [], len(params)
        for fan_out in reversed(self.n_units[1:]):
            views.append(params[at - fan_out : at])
            at -= fan_out
        return views[::-1]

    cdef void set_targets(self, fm_task *task, object y, object sample_weight) except *:
        if y.ndim == 1:
            task.classes = <const int64_t *>_data(y, np.int64)
        else:
            task.Y = _matrix(y)
        task.sample_weight = <const double *>_data(sample_weight, np.float64) if sample_weight is not None else NULL

    def predict(self, params, X, out, int32_t n_threads=1):
        cdef fm_task task = self.task
        task.job = FM_PREDICT
        task.n_threads = n_threads
        kept = _arrays(X)
        task.X = _matrix(X)
        task.n_rows = X.shape[0]
        task.params = _data(params, self.dtype)
        task.outputs = _data(out, self.dtype, True)
        scratch = _Scratch()
        task.scratch = (<_Scratch>scratch).fit(self.engine, &task)
        cdef int32_t status
        with nogil:
            status = self.engine.run(&task)
        return status != FM_NOT_FINITE

    def evaluate(self, params, X, y, sample_weight, n_threads=1, seconds=0.1):
        return self.loss_gradient(params, X, y, sample_weight, 0.0, np.empty_like(params), n_threads, seconds)

    def loss_gradient(
        self, params, X, y, sample_weight, double alpha, gradient, int32_t n_threads=1, double seconds=0.1,
    ):
        cdef fm_task task = self.task
        task.job = FM_LOSS_GRADIENT
        task.n_threads = n_threads
        task.alpha = alpha
        kept = _arrays(X)
        task.X = _matrix(X)
        self.set_targets(&task, y, sample_weight)
        task.n_rows = X.shape[0]
        task.params = _data(params, self.dtype)
        task.gradient = _data(gradient, self.dtype, True)
        task.seconds = seconds
        scratch = _Scratch()
        task.scratch = (<_Scratch>scratch).fit(self.engine, &task)
        cdef int32_t status = FM_YIELD
        while status == FM_YIELD:
            with nogil:
                status = self.engine.run(&task)
            PyErr_CheckSignals()
        return task.loss_sum


_STATUS = {FM_EPOCH: "epoch", FM_YIELD: "yield", FM_NOT_FINITE: "not_finite"}


cdef class Training:
    cdef Network network
    cdef _Scratch scratch
    cdef tuple _kept  # arrays whose memory the task points to
    cdef object _phase_seconds
    cdef fm_task task

    def __init__(
        self, Network network, params, slots, X, y, sample_weight=None, *, optimizer="sgd", batch_size=200, alpha=0.0,
        learning_rate=0.001, momentum=0.9, beta_1=0.9, beta_2=0.999, epsilon=1e-8, step=0, n_threads=1, scratch=None,
    ):
        self.network, self.scratch, self._kept = network, _Scratch(), (params, slots, *_arrays(X), y, sample_weight)
        cdef fm_task *task = &self.task
        task[0] = network.task
        task.job = FM_TRAIN
        task.n_threads, task.alpha, task.batch_size = n_threads, alpha, batch_size
        task.X = _matrix(X)
        network.set_targets(task, y, sample_weight)
        task.n_rows = task.position = X.shape[0]
        task.params = _data(params, network.dtype, True)
        task.slots = _data(slots, network.dtype, True)
        if network.engine.phases != NULL:
            names = len(_names(<const char **>network.engine.phases))
            layer_names = len(_names(<const char **>network.engine.layer_phases))
            self._phase_seconds = np.zeros(names + layer_names * task.n_layers)
            task.phase_seconds = <double *>_data(self._phase_seconds, np.float64, True)
        task.optimizer.kind = list(OPTIMIZERS).index(optimizer)
        task.optimizer.learning_rate = learning_rate
        task.optimizer.momentum = momentum
        task.optimizer.beta_1, task.optimizer.beta_2 = beta_1, beta_2
        task.optimizer.epsilon, task.optimizer.step = epsilon, step

    @property
    def learning_rate(self):
        return self.task.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, double value):
        self.task.optimizer.learning_rate = value

    @property
    def n_threads(self):
        return self.task.n_threads

    @n_threads.setter
    def n_threads(self, int32_t value):
        self.task.n_threads = value

    @property
    def timers(self):
        cdef const fm_engine *engine = self.network.engine
        if engine.phases == NULL:
            return None
        names = list(_names(<const char **>engine.phases))
        for layer in range(self.task.n_layers):
            names += [f"{phase} {layer}" for phase in _names(<const char **>engine.layer_phases)]
        return dict(zip(names, self._phase_seconds.tolist()))

    @property
    def step(self):
        return self.task.optimizer.step

    @property
    def position(self):
        return self.task.position + self.task.batch_position

    @property
    def loss(self):
        return self.task.loss_sum / max(self.task.position, 1)

    def run(self, order=None, double seconds=0.1):
        cdef fm_task *task = &self.task
        cdef const fm_engine *engine = self.network.engine
        cdef int32_t status
        if task.position == task.n_rows:
            task.position, task.loss_sum = 0, 0.0
        task.order = <const int64_t *>_data(order, np.int64) if order is not None else NULL
        task.seconds = seconds
        task.scratch = self.scratch.fit(engine, task)
        with nogil:
            status = engine.run(task)
        return _STATUS[status]
