"""What a worker does for a fit: it opens a door for the others, trains with them, and keeps what has come of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
from distributed import get_worker, secede
from distributed import print as print_at_client
from distributed.comm import get_address_host
from distributed.worker import Worker, thread_state
from numpy.typing import NDArray
from sklearn.metrics import check_scoring
from sklearn.utils.class_weight import compute_class_weight

from fastmlp._core import OPTIMIZERS
from fastmlp.callbacks import Narration
from fastmlp.dask import mpi
from fastmlp.dask.channel import Channel, Transport
from fastmlp.dask.partitions import joined
from fastmlp.dask.plan import Plan
from fastmlp.dask.shards import Shard
from fastmlp.dask.sharedfit import SharedFit, Snapshots
from fastmlp.dask.steps import BEGINNING
from fastmlp.dask.tree import Tree
from fastmlp.dask.wires import Contexts, Meeting, WorkerLostError, listen
from fastmlp.engine_settings import optimizer_name
from fastmlp.fitted import Fitted
from fastmlp.listener import Listener
from fastmlp.rows import Samples
from fastmlp.stopping import EarlyStopping, Plateau, TargetLoss
from fastmlp.validation import Validation


@dataclass(frozen=True)
class Job:
    """What all workers of a fit are told.

    Attributes
    ----------
    name : str
        Of the fit, which no other has.
    estimator : BaseMLP
        Of this machine, unfitted.
    settings : namespace
        The hyper-parameters.
    n_units, loss, dtype
        The network.
    matrix_dtype : dtype
        Of the rows.
    labels : object
        What the classes are.
    names : ndarray of str or None
        Of the columns.
    plan : Plan
    heaviest : float
        The largest weight of a row.
    random_state : RandomState
        That the first parameters are drawn from.
    remedy : str
    checkpoint_seconds : float or None
        How often the training is copied for a checkpoint; None for never.
    """

    name: str
    estimator: Any
    settings: Any
    n_units: tuple[int, ...]
    loss: str
    dtype: str
    matrix_dtype: np.dtype[Any]
    labels: Any
    names: NDArray[Any] | None
    plan: Plan
    heaviest: float
    random_state: np.random.RandomState
    remedy: str
    checkpoint_seconds: float | None = None

    @property
    def real(self) -> np.dtype[Any]:
        """Of parameters and gradients."""
        return np.dtype("float32" if self.dtype == "bfloat16" else self.dtype)


@dataclass
class Attempt:
    """Where a worker stands among the others of an attempt.

    Attributes
    ----------
    rank : int
    root : int or None
        Rank of the worker that knows where to go on from; None for the beginning.
    names : list of str
        Of all workers.
    doors : list of tuple of str and int
        Where they listen; the ranks of their processes where MPI is the transport.
    token : bytes
    """

    rank: int
    root: int | None
    names: list[str]
    doors: list[tuple[str, int]]
    token: bytes


@dataclass
class Post:
    """A worker's part in a fit, which outlasts an attempt."""

    fit: SharedFit | None = None
    start: dict[str, Any] | None = None
    snapshot: dict[str, Any] | None = None
    listener: Any = None
    door: tuple[str, int] | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    training: threading.Lock = field(default_factory=threading.Lock)


class StoppedError(Exception):
    """The fit is no longer wanted."""


_posts: dict[tuple[str, str], Post] = {}
"""Of the fits that go on, by their names and the addresses of the workers, which may share a process."""


def open_door(name: str, dask_worker: Worker) -> tuple[str, int]:
    """Listen on a free port of the worker's own interface; return where."""
    post = _posts.setdefault((name, dask_worker.address), Post())
    stop(name, dask_worker)
    if post.listener is not None:
        post.listener.close()
    address = dask_worker.address
    host = "127.0.0.1" if address.startswith("inproc://") else get_address_host(address)
    post.stop, post.listener = threading.Event(), listen(host)
    host, port, *_ = post.listener.getsockname()
    post.door = host, port
    return post.door


def mpi_door(name: str, dask_worker: Worker) -> tuple[str, int]:
    """What `open_door` is for MPI, which needs no doors: the rank of this process; -1 where there is no MPI."""
    post = _posts.setdefault((name, dask_worker.address), Post())
    stop(name, dask_worker)
    try:
        rank = mpi.world().Get_rank()
    except (ImportError, RuntimeError):  # of mpi4py without a library of MPI
        rank = -1
    post.stop, post.door = threading.Event(), ("MPI", rank)
    return post.door


def stop(name: str, dask_worker: Worker) -> None:
    """End the training, without waiting for it."""
    if post := _posts.get((name, dask_worker.address)):
        post.stop.set()


def state_of(name: str, dask_worker: Worker) -> dict[str, Any] | None:
    """What has come of the training, at the end of a step; of early stopping the best parameters."""
    post = _posts.get((name, dask_worker.address))
    if post is None or post.fit is None:
        return None
    state = post.fit.state()
    if post.fit.best_params is not None:  # which nobody has restored where the training was interrupted
        state["params"] = post.fit.best_params.copy()
    return state


def place_of(name: str, dask_worker: Worker) -> tuple[int, int]:
    """How far the training has come here."""
    post = _posts.get((name, dask_worker.address))
    return BEGINNING if post is None or post.fit is None else post.fit.place


def snapshot_of(name: str, dask_worker: Worker) -> dict[str, Any] | None:
    """The last copy of the training, once."""
    if post := _posts.get((name, dask_worker.address)):
        found, post.snapshot = post.snapshot, None
        return found
    return None


def begin_from(name: str, dask_worker: Worker, snapshot: dict[str, Any]) -> None:
    """Let the next attempt go on from a copy."""
    _posts[name, dask_worker.address].start = snapshot


def forget(name: str, dask_worker: Worker) -> None:
    """Stop, and let go of everything."""
    stop(name, dask_worker)
    post = _posts.pop((name, dask_worker.address), None)
    if post is not None and post.listener is not None:
        post.listener.close()


def train(job: Job, attempt: Attempt, pieces: Mapping[int, tuple[Any, Any, Any]], held_out: Any) -> dict[str, Any]:
    """Train with the others, and say how it has ended.

    Parameters
    ----------
    job : Job
    attempt : Attempt
    pieces : mapping of int to (pieces of X, of y, of the weights or None)
        Of each block of this worker.
    held_out : (groups of X, of y, of the weights or None) or None
        The rows to validate on, all of them.

    Returns
    -------
    dict
        ``status``: "done", "lost" or "stopped"; what it says of it; how far it came; how long that took.
    """
    worker, key = get_worker(), thread_state.key
    n_threads = worker.state.nthreads
    secede()  # or two fits at once could wait for each other's threads
    post = _posts.get((job.name, worker.address))
    if post is None or post.stop.is_set() or post.door != attempt.doors[attempt.rank]:
        return {"status": "stopped", "message": "it was told to stop", "place": BEGINNING}
    stopped = post.stop

    def check() -> None:
        task = worker.state.tasks.get(key)
        if stopped.is_set() or task is None or task.state in ("cancelled", "released", "forgotten"):
            raise StoppedError

    start = perf_counter()
    with post.training:  # an attempt before this one may take a moment to end
        status, message, channel = "done", "", None
        fit = post.fit
        try:
            channel = _channel(job, attempt, _transport(job, attempt, post, _contexts(worker), check), check)
            fit, listeners = _prepared(job, attempt, channel, post, held_out)
            fit.begin_shared(job, _shards(job, fit, pieces), channel, job.settings.n_threads or n_threads, check)
            post.fit = fit
            fit.go(listeners)
        except WorkerLostError as error:
            status, message = "lost", str(error)
        except StoppedError:
            status = "stopped"
        finally:
            if channel is not None:
                channel.close()
    said: dict[str, Any] = {"status": status, "message": message, "place": BEGINNING, "stopped": False, "warning": ""}
    if fit is not None:
        said |= {"place": fit.place, "stopped": fit.stopped, "warning": fit.warning}
    waited = channel.seconds if channel is not None else 0.0
    return said | {"seconds": perf_counter() - start, "communication": waited}


def _contexts(worker: Worker) -> Contexts | None:
    """The cluster's TLS, where it has any."""
    if not worker.address.startswith("tls://"):
        return None
    security = worker.security
    return security.get_listen_args("worker")["ssl_context"], security.get_connection_args("worker")["ssl_context"]


def _transport(
    job: Job, attempt: Attempt, post: Post, contexts: Contexts | None, check: Callable[[], None]
) -> Transport:
    if job.settings.transport == "mpi":
        return mpi.Messages(attempt.rank, [process for _, process in attempt.doors], attempt.names, attempt.token)
    meeting = Meeting(post.listener, attempt.rank, attempt.names, attempt.token, contexts)
    return meeting.meet(attempt.doors, job.settings.wait_limit, check)


def _channel(job: Job, attempt: Attempt, transport: Transport, check: Callable[[], None]) -> Channel:
    tree = Tree(job.plan.n_blocks, job.settings.compression == "bfloat16")
    n_params = sum((a + 1) * b for a, b in pairwise(job.n_units))
    if job.settings.local_steps > 1:
        n_params *= 1 + OPTIMIZERS[optimizer_name(job.settings)]
    shares = job.plan.shares(len(attempt.names))
    limit = job.settings.wait_limit
    return Channel(attempt.rank, transport, tree, shares, n_params, job.real, limit, check)


def _prepared(
    job: Job, attempt: Attempt, channel: Channel, post: Post, held_out: Any
) -> tuple[SharedFit, list[Listener]]:
    """The training, at the place where the others begin, too, and who listens to it."""
    fit = SharedFit.new(job)
    if post.fit is not None:
        fit.until = post.fit.until
    listeners = _listeners(job, fit, held_out, attempt.rank)
    if attempt.root == attempt.rank and post.fit is not None:
        fit.copy(post.fit)
    elif attempt.root is None and post.start is not None:
        fit.resume(post.start)
    if job.checkpoint_seconds is not None and attempt.rank == 0:
        listeners = [Snapshots(partial(setattr, post, "snapshot"), job.checkpoint_seconds), *listeners]
    fit.synchronize(channel, attempt.root or 0)
    return fit, listeners


def _shards(job: Job, fit: SharedFit, pieces: Mapping[int, tuple[Any, Any, Any]]) -> dict[int, Shard]:
    fitted = _fitted(job, fit)
    return {block: _shard(job, fitted, *each) for block, each in pieces.items()}


def _fitted(job: Job, fit: SharedFit) -> Fitted:
    """What the estimator knows of a training that goes on; columns have been looked at before."""
    return Fitted(fit, job.n_units[0], None, job.labels)


def _shard(job: Job, fitted: Fitted, X: Sequence[Any], y: Sequence[Any], weights: Sequence[Any] | None) -> Shard:
    rows = [piece for each in X for piece in each]
    if not rows:
        nothing = np.zeros((0, 1))  # of which nobody takes a row
        return Shard([nothing], nothing, None, job.matrix_dtype)
    targets = job.estimator._encode(joined(y), fitted)
    given = None if weights is None else joined(weights)
    return Shard(rows, targets, _weighed(job, given, targets), job.matrix_dtype)


def _weighed(job: Job, weights: Any, targets: NDArray[Any]) -> NDArray[np.float64] | None:
    """The weights of rows, those of their classes included."""
    class_weight = getattr(job.settings, "class_weight", None)
    if class_weight is None:
        return None if weights is None else np.ascontiguousarray(weights)
    classes = job.labels.classes
    by_class = compute_class_weight(class_weight, classes=classes, y=classes)[targets]
    return np.ascontiguousarray(by_class if weights is None else weights * by_class, np.float64)


def _listeners(job: Job, fit: SharedFit, held_out: Any, rank: int) -> list[Listener]:
    """Those that a training of this machine has, too; all workers listen alike, and the first of them tells."""
    settings, estimator = job.settings, job.estimator
    tell: Callable[[str], None] = print_at_client if rank == 0 and settings.verbose else lambda message: None
    listeners: list[Listener] = [Narration(tell, held_out is not None)]
    listeners += [EarlyStopping(settings, tell, fit) if settings.early_stopping else Plateau(settings, tell)]
    if settings.target_loss is not None:
        listeners += [TargetLoss(settings.target_loss)]
    if held_out is not None:
        X, y, weights = (None if groups is None else joined([each.parts for each in groups]) for groups in held_out)
        fitted = _fitted(job, fit)
        targets = estimator._encode(y, fitted)
        samples = Samples(X, targets, _weighed(job, weights, targets))
        scorer = settings.scoring if settings.scoring in (None, "loss") else check_scoring(estimator, settings.scoring)
        listeners += [Validation(estimator._view(fitted), fit, samples, estimator._decode(targets, fitted), scorer)]
    return listeners
