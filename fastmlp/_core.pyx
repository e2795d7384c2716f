# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The door: NumPy arrays in, pointers out; the GIL; a status becomes a word. No arithmetic, no judgement of user input.

It refuses what would make the engine leave the memory that it was given, but for numbers in arrays that it trusts: the
order of use and the columns of a CSR matrix. Documented for callers in _core.pyi, for the engine in csrc/fastmlp.h.
"""
import os
from collections import namedtuple
from threading import Lock
from time import perf_counter

import numpy as np

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uintptr_t
from libc.string cimport memcpy, memset


cdef tuple _names(const char **names):
    cdef list found = []
    while names[len(found)] != NULL:
        found.append(names[len(found)].decode())
    return tuple(found)


Loss = namedtuple("Loss", ["output", "mean_over_outputs", "threshold", "exclusive", "lowest", "highest"])


cdef dict _losses(const fm_loss *losses):
    cdef dict found = {}
    while losses[len(found)].name != NULL:
        loss = losses[len(found)]
        threshold = loss.threshold if loss.classifies else None
        found[loss.name.decode()] = Loss(loss.output.decode(), bool(loss.mean_over_outputs), threshold,
                                         bool(loss.exclusive), loss.lowest, loss.highest)
    return found


cdef const fm_engine *_any = fm_engine_at(0, FM_FLOAT32)
ACTIVATIONS = _names(<const char **>_any.activations)
LOSSES = _losses(_any.losses)
OPTIMIZERS = {name: _any.optimizer_slots[i] for i, name in enumerate(_names(<const char **>_any.optimizers))}
MAX_THREADS = FM_MAX_THREADS
_DTYPES = {"f": FM_FLOAT32, "d": FM_FLOAT64, "B": FM_UINT8, "?": FM_UINT8}


cdef dict _engines():
    """Instruction set -> addresses of its engines by dtype. Asked once: a virtual machine traps CPUID."""
    cdef dict found = {}, dtypes = {"float32": FM_FLOAT32, "float64": FM_FLOAT64, "bfloat16": FM_BFLOAT16}
    while fm_engine_at(len(found), FM_FLOAT32) != NULL:
        isa = fm_engine_at(len(found), FM_FLOAT32).isa.decode()
        found[isa] = {name: <uintptr_t>fm_engine_at(len(found), dtype) for name, dtype in dtypes.items()}
    return found


_ENGINES = _engines()


def available_isas():
    return tuple(_ENGINES)


def isa():
    forced = os.environ.get("FASTMLP_ISA") or next(iter(_ENGINES))
    if forced not in _ENGINES:
        raise ValueError(
            f"FASTMLP_ISA={forced!r} cannot run here: this CPU and this build offer {', '.join(_ENGINES)}. "
            "Unset FASTMLP_ISA to use the fastest."
        )
    return forced


cdef const fm_engine *_engine(str dtype) except NULL:
    return <const fm_engine *><uintptr_t>_ENGINES[isa()][dtype]


def fma_peak(dtype="float32", double seconds=0.05):
    cdef const fm_engine *engine = _engine(dtype)
    cdef int64_t rounds = 100_000, bfloat16 = dtype == "bfloat16"
    best, end = 0.0, perf_counter() + seconds
    while (start := perf_counter()) < end:
        with nogil:
            engine.fma_loop(rounds, bfloat16)
        best = max(best, rounds * engine.fma_loop_flops[bfloat16] / (perf_counter() - start) * 1e-9)
    return best


def barrier_latency(n_threads=2, n_barriers=10_000):
    cdef const fm_engine *engine = _engine("float32")
    cdef int64_t m = _count(n_threads, 1, FM_MAX_THREADS, "n_threads"), n = _count(n_barriers, 1, 2**62, "n_barriers")
    times = []
    for _ in range(5):
        start = perf_counter()
        with nogil:
            engine.barrier_loop(m, n)
        times.append(perf_counter() - start)
    return min(times) / n


def random_words(key, counter, uint32_t group=0):
    cdef const fm_engine *engine = _engine("float32")
    keys, counters, words = np.array(key, np.uint32), np.array(counter, np.uint32), np.empty(16, np.uint32)
    cdef const uint32_t *k = <const uint32_t *>_data(keys, np.uint32, 2)
    cdef const uint32_t *c = <const uint32_t *>_data(counters, np.uint32, 3)
    engine.random_words(k, c, group, <uint32_t *>_data(words, np.uint32, 16, True))
    return words.tolist()


def dot(a, b, c):
    sums = np.array(c, np.float32)
    _engine("bfloat16").dot(<const float *>_data(a, np.float32, 32), <const float *>_data(b, np.float32, 32),
                            <float *>_data(sums, np.float32, 16, True))
    return sums


def aligned_empty(shape, dtype):
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    alignment = FM_ALIGNMENT if size < 4096 else 4096  # a page, which a tile's part of a row of weights best lies in
    block = np.empty(size + alignment, dtype=np.uint8)
    cdef int64_t start = <char *>_aligned(block, alignment) - <char *>_data(block, np.uint8, block.size)
    return block[start : start + size].view(dtype).reshape(shape)


cdef int64_t _count(object value, object lowest, object highest, str name) except? -1:
    """An integer within a range, beyond which the engine would leave its memory."""
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value!r}, not from {lowest} to {highest}")
    return value


cdef void *_data(object array, object dtype, int64_t size, bint writable=False) except? NULL:
    """Address of the elements of a contiguous array of this dtype and size; the caller keeps the array alive."""
    cdef Py_buffer view
    if array.dtype != dtype:
        raise TypeError(f"expected an array of {np.dtype(dtype)}, got {array.dtype}")
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    cdef void *data = view.buf
    cdef int64_t found = view.len // view.itemsize
    PyBuffer_Release(&view)
    if found != size:
        raise ValueError(f"expected an array of {size} elements, got {found}")
    return data


cdef int64_t _matrix(object X, int64_t n_columns, fm_matrix *m) except -1:
    """Fill m in; return the number of rows."""
    cdef Py_buffer view
    memset(m, 0, sizeof(fm_matrix))
    m.n_columns = n_columns
    dtype = _DTYPES.get(X.dtype.char)
    if dtype is None or not X.dtype.isnative:
        raise TypeError(f"expected a matrix of float32, float64 or uint8, got {X.dtype}")
    m.dtype = dtype
    if not isinstance(X, np.ndarray):
        return _csr(X, m)
    PyObject_GetBuffer(X, &view, PyBUF_STRIDES)
    cdef int64_t n_rows = view.shape[0] if view.ndim == 2 and view.shape[1] == n_columns else 0
    m.data = view.buf
    m.row_stride = view.strides[0] if n_rows > 0 else 0
    cdef bint adjacent = n_columns == 1 or n_rows == 0 or view.strides[1] == view.itemsize
    PyBuffer_Release(&view)
    if n_rows == 0:
        raise ValueError(f"expected a matrix of {n_columns} columns and at least one row, got the shape {X.shape}")
    if not adjacent:
        raise BufferError("the elements of a row must lie side by side")
    return n_rows


cdef int64_t _csr(object X, fm_matrix *m) except -1:
    n_rows, n_columns = X.shape
    if X.indices.dtype != X.indptr.dtype or X.indices.dtype not in (np.int32, np.int64) or n_columns >= 2**31:
        raise TypeError("CSR indices and indptr must be int32 or int64, both the same, and columns be fewer than 2**31")
    if n_rows == 0 or n_columns != m.n_columns:
        raise ValueError(f"expected a matrix of {m.n_columns} columns and at least one row, got the shape {X.shape}")
    m.index_bytes = X.indices.dtype.itemsize
    m.indptr = _data(X.indptr, X.indptr.dtype, n_rows + 1)
    rows = np.diff(X.indptr)
    m.n_values, m.max_row_values = X.indptr[n_rows], rows.max()
    if X.indptr[0] < 0 or rows.min() < 0 or m.n_values > min(X.data.size, X.indices.size):
        raise ValueError("CSR indptr must ascend from 0 to at most the number of values")
    m.data = _data(X.data, X.dtype, X.data.size)
    m.indices = _data(X.indices, X.indices.dtype, X.indices.size)
    return n_rows


cdef tuple _arrays(object X):
    """The arrays whose memory a matrix lies in: those of a CSR matrix may be replaced in it while they are read."""
    return (X,) if isinstance(X, np.ndarray) else (X.data, X.indices, X.indptr)


cdef void *_aligned(object block, uintptr_t alignment=FM_ALIGNMENT) except NULL:
    cdef uintptr_t address = <uintptr_t>_data(block, np.uint8, block.size)
    return <void *>((address + alignment - 1) // alignment * alignment)


cdef class Scratch:
    cdef object block, lock
    cdef void *unfinished  # what has yielded and may go on from here, or NULL
    cdef public object slots  # whose values the block holds too, as the last call left them; or None
    cdef const fm_engine *engine  # of the last call

    def __cinit__(self):
        self.lock = Lock()

    @property
    def nbytes(self):
        return 0 if self.block is None else self.block.nbytes

    cdef void *fit(self, const fm_engine *engine, fm_task *task) except NULL:
        """The block, grown where the task needs more, with what the task goes on from."""
        cdef int64_t size = engine.scratch_bytes(task) + FM_ALIGNMENT
        if self.block is None or self.block.size < size:
            if task.batch_position == 0:  # free it first, and with it what another training may have left there
                self.block, self.unfinished, task.resident = None, NULL, 0
            block = np.empty(size, dtype=np.uint8)
            if self.block is not None:
                memcpy(_aligned(block), _aligned(self.block), self.block.size - FM_ALIGNMENT)
            self.block = block
        return _aligned(self.block)

    cdef int32_t run(self, const fm_engine *engine, fm_task *task, void *training, object slots=None) except -1:
        """One call of the engine; nobody else may use the block meanwhile, which then holds the slots too."""
        cdef int32_t status
        if not self.lock.acquire(False):
            raise RuntimeError("another thread is using this training, or its scratch")
        try:
            if task.batch_position > 0 and self.unfinished != training:
                raise RuntimeError("another training has overwritten the unfinished batch in the scratch of both")
            held = slots is not None and self.slots is slots and self.engine == engine
            task.resident = FM_ALL if task.resident and self.unfinished == training else FM_SLOTS if held else 0
            task.scratch, self.slots, self.engine = self.fit(engine, task), None, engine
            with nogil:
                status = engine.run(task)
            self.unfinished = training if status == FM_YIELD else NULL
            self.slots = None if status == FM_NOT_FINITE else slots
        finally:
            self.lock.release()
        return status


cdef class Network:
    cdef readonly tuple n_units
    cdef readonly object activation
    cdef readonly str loss, isa, precision
    cdef readonly bint emulates
    cdef readonly object dtype
    cdef readonly int64_t n_params
    cdef const fm_engine *engine
    cdef object _units, _activations, _quantiles
    cdef fm_task task

    def __init__(self, n_units, activation, loss, dtype, *, double label_smoothing=0.0, double huber_delta=1.0,
                 quantiles=None):
        self.n_units = tuple(int(n) for n in n_units)
        self.activation = activation if isinstance(activation, str) else tuple(activation)
        self.loss, self.precision = loss, dtype if isinstance(dtype, str) else np.dtype(dtype).name
        self.dtype = np.dtype("float32" if self.precision == "bfloat16" else dtype)
        if len(self.n_units) < 2 or min(self.n_units) < 1:
            raise ValueError(f"layers of {self.n_units} units: there must be two at least, of one unit or more")
        names = [activation] * (len(self.n_units) - 2) if isinstance(activation, str) else self.activation
        if len(names) != len(self.n_units) - 2:
            raise ValueError(f"{len(names)} activations for {len(self.n_units) - 2} hidden layers")
        if self.dtype.char not in "fd":
            raise TypeError(f"expected float32, float64 or bfloat16, got {self.dtype}")
        self.engine = _engine(self.precision)
        self.isa, self.emulates = self.engine.isa.decode(), self.engine.emulates
        n_params = sum((fan_in + 1) * fan_out for fan_in, fan_out in zip(self.n_units, self.n_units[1:]))
        if n_params >= 2**56:  # the engine counts bytes in 64 bits
            raise MemoryError(f"a network with layers of {self.n_units} units has {n_params} parameters, more than "
                              "any machine holds. Use smaller hidden_layer_sizes.")
        self.n_params = n_params
        self._units = np.array(self.n_units, dtype=np.int64)  # after the check: each fits
        self._activations = np.array([ACTIVATIONS.index(name) for name in names], dtype=np.int32)
        memset(&self.task, 0, sizeof(fm_task))
        self.task.n_layers = len(self.n_units) - 1
        self.task.n_units = <const int64_t *>_data(self._units, np.int64, self._units.size)
        self.task.activations = <const int32_t *>_data(self._activations, np.int32, len(names))
        self.task.loss, self.task.bfloat16 = list(LOSSES).index(loss), self.precision == "bfloat16"
        self.task.label_smoothing, self.task.huber_delta = label_smoothing, huber_delta
        if quantiles is not None:
            self._quantiles = np.array(quantiles, np.float64)
            self.task.quantiles = <const double *>_data(self._quantiles, np.float64, self.n_outputs())

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

    cdef int64_t n_outputs(self):
        return self.task.n_units[self.task.n_layers]

    cdef void set_rows(self, fm_task *task, object X, object y, object sample_weight) except *:
        task.n_rows = _matrix(X, self.task.n_units[0], &task.X)
        cdef int64_t n_targets
        if y.ndim == 1:
            task.classes = <const int64_t *>_data(y, np.int64, task.n_rows)
            highest = max(self.n_outputs() - 1, 1)
            if y.min() < 0 or y.max() > highest:
                raise ValueError(f"classes must be from 0 to {highest}, got {y.min()} to {y.max()}")
        else:
            n_targets = _matrix(y, self.n_outputs(), &task.Y)
            if n_targets != task.n_rows or task.Y.indices != NULL:
                raise ValueError(f"expected a dense matrix of {task.n_rows} rows of targets, got the shape {y.shape}")
        if sample_weight is not None:
            task.sample_weight = <const double *>_data(sample_weight, np.float64, task.n_rows)

    def predict(self, params, X, out, n_threads=1, double seconds=0.1):
        cdef fm_task task = self.task
        task.job = FM_PREDICT
        task.n_threads = _count(n_threads, 1, FM_MAX_THREADS, "n_threads")
        kept = _arrays(X)
        task.n_rows = _matrix(X, self.task.n_units[0], &task.X)
        task.params = _data(params, self.dtype, self.n_params)
        task.outputs = _data(out, self.dtype, task.n_rows * self.n_outputs(), True)
        return self.run_to_the_end(&task, seconds) != FM_NOT_FINITE

    def evaluate(self, params, X, y, sample_weight=None, n_threads=1, double seconds=0.1):
        cdef fm_task task = self.task
        task.job = FM_LOSS
        task.n_threads = _count(n_threads, 1, FM_MAX_THREADS, "n_threads")
        kept = _arrays(X)
        self.set_rows(&task, X, y, sample_weight)
        task.params = _data(params, self.dtype, self.n_params)
        self.run_to_the_end(&task, seconds)
        return task.loss_sum

    def loss_gradient(self, params, X, y, sample_weight, double alpha, gradient, n_threads=1, double seconds=0.1,
                      double l1_ratio=0.0, Scratch scratch=None):
        cdef fm_task task = self.task
        task.job = FM_GRADIENT
        task.n_threads = _count(n_threads, 1, FM_MAX_THREADS, "n_threads")
        task.alpha, task.l1_ratio = alpha, l1_ratio
        kept = _arrays(X)
        self.set_rows(&task, X, y, sample_weight)
        task.params = _data(params, self.dtype, self.n_params)
        task.gradient = _data(gradient, self.dtype, self.n_params, True)
        self.run_to_the_end(&task, seconds, scratch)
        return task.loss_sum

    cdef int32_t run_to_the_end(self, fm_task *task, double seconds, Scratch scratch=None) except -1:
        """Every so many seconds signals are handled; what a handler raises ends the call."""
        task.seconds = seconds
        cdef Scratch memory = Scratch() if scratch is None else scratch
        cdef int32_t status = memory.run(self.engine, task, <void *>task)
        while status == FM_YIELD:
            PyErr_CheckSignals()
            status = memory.run(self.engine, task, <void *>task)
        return status

    def scratch_bytes(self, X, *, job="train", optimizer="sgd", batch_size=200, double alpha=0.0, clip_norm=None,
                      double input_noise=0.0, n_threads=1):
        cdef fm_task task = self.task
        task.job = _JOBS[job]
        task.n_threads = _count(n_threads, 1, FM_MAX_THREADS, "n_threads")
        task.n_rows = _matrix(X, self.task.n_units[0], &task.X)
        task.batch_size = _count(batch_size, 1, task.n_rows, "batch_size") if job == "train" else 0
        task.optimizer.kind = list(OPTIMIZERS).index(optimizer)
        task.alpha, task.clip_norm, task.input_noise = alpha, clip_norm or 0.0, input_noise
        return self.engine.scratch_bytes(&task) + FM_ALIGNMENT


_JOBS = {"train": FM_TRAIN, "evaluate": FM_LOSS, "loss_gradient": FM_GRADIENT, "predict": FM_PREDICT}
_STATUS = {FM_EPOCH: "epoch", FM_YIELD: "yield", FM_NOT_FINITE: "not_finite"}


cdef class Training:
    cdef Network network
    cdef Scratch scratch
    cdef tuple _kept  # arrays whose memory the task points to: params, slots, and others
    cdef object _phase_seconds, _scale, _unscaled
    cdef fm_task task

    def __init__(self, Network network not None, params, slots, X, y, sample_weight=None, *, optimizer="sgd",
                 batch_size=200, alpha=0.0, l1_ratio=0.0, weight_decay=0.0, clip_norm=None, dropout=None,
                 input_noise=0.0, seed=0, learning_rate=0.001, momentum=0.9, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 step=0, n_threads=1, scratch=None, rate_factors=None, learn_scale=False, n_rows=None):
        shares = None if dropout is None else np.array(dropout, np.float64)
        factors = None if rate_factors is None else np.array(rate_factors, np.float64)
        self.network, self._kept = network, (params, slots, *_arrays(X), y, sample_weight, shares, factors)
        self.scratch = Scratch() if scratch is None else scratch
        cdef fm_task *task = &self.task
        task[0] = network.task
        task.job, task.alpha, task.l1_ratio, task.weight_decay = FM_TRAIN, alpha, l1_ratio, weight_decay
        task.clip_norm, task.input_noise, task.seed = clip_norm or 0.0, input_noise, seed
        task.dropout = <const double *>_data(shares, np.float64, task.n_layers) if shares is not None else NULL
        self.n_threads = n_threads
        network.set_rows(task, X, y, sample_weight)
        task.n_rows = _count(task.n_rows if n_rows is None else n_rows, 1, task.n_rows, "n_rows")
        task.position = task.n_rows
        task.batch_size = _count(batch_size, 1, task.n_rows, "batch_size")
        task.params = _data(params, network.dtype, network.n_params, True)
        task.slots = _data(slots, network.dtype, OPTIMIZERS[optimizer] * network.n_params, True)
        if network.engine.phases != NULL:
            names = len(_names(<const char **>network.engine.phases))
            layer_names = len(_names(<const char **>network.engine.layer_phases))
            self._phase_seconds = np.zeros(names + layer_names * task.n_layers)
            task.phase_seconds = <double *>_data(self._phase_seconds, np.float64, self._phase_seconds.size, True)
        task.optimizer.kind = list(OPTIMIZERS).index(optimizer)
        task.optimizer.learning_rate, task.optimizer.momentum = learning_rate, momentum
        task.optimizer.beta_1, task.optimizer.beta_2 = beta_1, beta_2
        task.optimizer.epsilon, task.optimizer.step = epsilon, _count(step, 0, 2**62, "step")
        n_factors = 2 * task.n_layers + 1
        task.rate_factors = <const double *>_data(factors, np.float64, n_factors) if factors is not None else NULL
        if learn_scale:
            self.set_scale(params, OPTIMIZERS[optimizer])

    cdef void set_scale(self, object params, int64_t n_slots) except *:
        if self.task.clip_norm > 0:
            raise ValueError("the factors of the inputs are not part of the gradient that clip_norm shortens")
        dtype, n_inputs, n_weights = self.network.dtype, self.task.n_units[0], self.task.n_units[0] * self.task.n_units[1]
        self._unscaled = params[:n_weights].copy()
        self._scale = np.vstack([np.ones((1, n_inputs), dtype), np.zeros((n_slots, n_inputs), dtype)])
        self.task.input_scale = _data(self._scale, dtype, (1 + n_slots) * n_inputs, True)
        self.task.unscaled = _data(self._unscaled, dtype, n_weights, True)

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
    def n_threads(self, value):
        self.task.n_threads = _count(value, 1, FM_MAX_THREADS, "n_threads")

    @property
    def timers(self):
        cdef const fm_engine *engine = self.network.engine
        if engine.phases == NULL:
            return None
        phases, layers = _names(<const char **>engine.layer_phases), range(self.task.n_layers)
        names = [*_names(<const char **>engine.phases), *(f"{phase} {layer}" for layer in layers for phase in phases)]
        return dict(zip(names, self._phase_seconds.tolist()))

    @property
    def step(self):
        return self.task.optimizer.step

    @property
    def gradient_norm(self):
        return self.task.gradient_norm

    @property
    def position(self):
        return self.task.position + self.task.batch_position

    @property
    def loss(self):
        return self.task.loss_sum / max(self.task.position, 1)

    @cython.critical_section  # or without a GIL a thread could copy the task while another writes it
    def run(self, order=None, double seconds=0.1, rates=None):
        cdef fm_task task = self.task  # a copy: other threads may set the rate or the number of threads meanwhile
        cdef int64_t n_steps = (task.n_rows + task.batch_size - 1) // task.batch_size
        if task.position == task.n_rows:
            task.position, task.loss_sum = 0, 0.0
        task.order = <const int64_t *>_data(order, np.int64, task.n_rows) if order is not None else NULL
        task.rates = <const double *>_data(rates, np.float64, n_steps) if rates is not None else NULL
        task.seconds = seconds
        cdef int32_t status = self.scratch.run(self.network.engine, &task, <void *>self, self._kept[1])
        self.task.position, self.task.batch_position = task.position, task.batch_position
        self.task.loss_sum, self.task.batch_loss = task.loss_sum, task.batch_loss
        self.task.optimizer.step, self.task.gradient_norm = task.optimizer.step, task.gradient_norm
        self.task.resident = status == FM_YIELD  # a new training may have the address of one that has yielded
        return _STATUS[status]

    @cython.critical_section
    def apply(self, gradient):
        cdef fm_task task = self.task
        if task.batch_position > 0:
            raise RuntimeError("a batch is unfinished: an update now would lie within it")
        if task.input_scale != NULL:
            raise RuntimeError("a gradient that is given does not hold that of the factors of the inputs")
        task.job, task.n_rows = FM_APPLY, 0
        task.gradient = _data(gradient, self.network.dtype, self.network.n_params)
        cdef int32_t status = self.scratch.run(self.network.engine, &task, <void *>self)
        self.task.optimizer.step, self.task.gradient_norm = task.optimizer.step, task.gradient_norm
        return status != FM_NOT_FINITE
