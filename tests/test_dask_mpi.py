"""MPI as the transport: processes that mpiexec starts find the same bits as sockets; skipped without mpi4py."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask.array as da
from distributed import Client, LocalCluster

from fastmlp.dask import DaskMLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:Sending large graph")
ROOT = Path(__file__).resolve().parents[1]
HERE = Path(sys.executable).parent / "mpiexec"
MPIEXEC = str(HERE) if HERE.exists() else shutil.which("mpiexec")


def mpiexec(n_processes: int, code: str, *arguments: str) -> str:
    """What a script writes that runs in so many processes."""
    pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    if MPIEXEC is None:
        pytest.skip("no mpiexec")
    command = [MPIEXEC, "-n", str(n_processes), sys.executable, "-c", code, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


CHANNEL = """
from time import perf_counter
import numpy as np
from fastmlp.dask.channel import Channel
from fastmlp.dask.mpi import Messages, world
from fastmlp.dask.plan import Plan
from fastmlp.dask.tree import Sum, Tree
from fastmlp.dask.wires import WorkerLostError

rank, size = world().Get_rank(), world().Get_size()
names = [f"w{i}" for i in range(size)]
for n_params in (5, 20_011, 600_000):
    tree, shares = Tree(8), Plan(8, 8, 8, True, ()).shares(size)
    leaves = np.random.RandomState(0).standard_normal((8, n_params)).astype("f")
    alone = []
    for block in range(8):
        tree.push(alone, Sum((block, block + 1), leaves[block].copy(), np.full(3, 1.0)))
    messages = Messages(rank, range(size), names, b"a token of the fit")
    channel = Channel(rank, messages, tree, shares, n_params, np.dtype("f"), 20, lambda: None)
    for _ in range(3):
        sums = []
        for block in range(*shares[rank]):
            tree.push(sums, Sum((block, block + 1), leaves[block].copy(), np.full(3, 1.0)))
        total = channel.all_reduce(sums)
        assert (total.vector == alone[0].vector).all()
        assert (total.numbers == 8).all()
    number = np.array([rank])
    channel.broadcast(number, size - 1)
    assert number[0] == size - 1
    channel.barrier()
if rank == 0:
    channel._limit = 0.5
    start = perf_counter()
    try:
        channel.barrier()
    except WorkerLostError as error:
        assert perf_counter() - start < 5
        print(error)
world().Barrier()
"""


@pytest.mark.parametrize("n_processes", [2, 3])
def test_sums_of_the_tree_and_a_limit_to_each_wait(n_processes: int) -> None:
    others = "worker w1" if n_processes == 2 else "workers w1, w2"
    assert mpiexec(n_processes, CHANNEL).strip() == f"{others} did not answer within 0.5 seconds"


FIT = """
import asyncio, os, sys
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, Worker
from fastmlp.dask import DaskMLPRegressor
from fastmlp.dask.mpi import world


async def work(address):
    async with Worker(address, nthreads=1, name=str(world().Get_rank())) as worker:
        await worker.finished()


if world().Get_rank():
    asyncio.run(work(world().bcast(None)))
else:
    with LocalCluster(n_workers=0, dashboard_address=":0") as cluster, Client(cluster) as client:
        world().bcast(cluster.scheduler_address)
        client.wait_for_workers(world().Get_size() - 1)
        X = np.random.RandomState(0).standard_normal((300, 5))
        arrays = da.from_array(X, (70, 5)), da.from_array(X[:, 0] * X[:, 1], 90)
        model = DaskMLPRegressor(hidden_layer_sizes=(9,), max_iter=5, random_state=1, batch_size=50, transport="mpi")
        model.fit(*arrays)
        np.save(sys.argv[1], np.concatenate([each.ravel() for each in model.coefs_]))
"""


@pytest.mark.parametrize("n_workers", [2, 3])
def test_a_fit_has_the_bits_of_sockets(tmp_path: Path, n_workers: int) -> None:
    mpiexec(1 + n_workers, FIT, str(tmp_path / "found.npy"))
    with LocalCluster(n_workers=2, processes=False, dashboard_address=":0") as workers, Client(workers):
        model = fitted()
    expected = np.concatenate([each.ravel() for each in model.coefs_])
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), expected)


def fitted(**options: Any) -> Any:
    X = np.random.RandomState(0).standard_normal((300, 5))
    arrays = da.from_array(X, (70, 5)), da.from_array(X[:, 0] * X[:, 1], 90)
    return DaskMLPRegressor(hidden_layer_sizes=(9,), max_iter=5, random_state=1, batch_size=50, **options).fit(*arrays)


def test_workers_without_processes_of_mpi_are_refused_in_a_sentence() -> None:
    with (
        LocalCluster(n_workers=2, processes=False, dashboard_address=":0") as workers,
        Client(workers),
        pytest.raises(RuntimeError, match="a process of MPI for each: start them with mpiexec"),
    ):
        fitted(transport="mpi")
