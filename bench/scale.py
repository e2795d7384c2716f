"""``python -m bench scale``: steps that workers share, measured with one and two, modelled for many.

Each worker is a process of one thread. A slower network is a delay in the channel: each message waits until it would
have come at the network's latency and bandwidth. Where root asks and the kernel can, `tc` shapes a loopback of its own
as well, which checks the delay. `--torch PYTHON` measures PyTorch's DistributedDataParallel (gloo), and `--lightgbm
PYTHON` the coordination of LightGBM's Dask, with an interpreter that has them.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from time import perf_counter, sleep
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench import scale_table
from bench.scale_network import inside
from fastmlp import _core
from fastmlp.dask.channel import Channel
from fastmlp.dask.plan import Plan
from fastmlp.dask.shards import Shard
from fastmlp.dask.steps import Place, SharedTraining
from fastmlp.dask.tree import Sum, Tree
from fastmlp.dask.wires import Meeting, listen
from fastmlp.hyperparameters import HYPERPARAMETERS

NETWORKS = [(784, 1024, 1024, 10), (784, 256, 256, 10), (30, 128, 128, 2)]
BATCH, STEPS_OF_EPOCH, TOKEN = 2048, 4, b"bench"


@dataclass(frozen=True)
class Net:
    """A network between machines: seconds until a message begins to come, and bytes a second."""

    name: str
    latency: float
    bandwidth: float


LOOPBACK = Net("loopback", 0.0, inf)
NETS = [LOOPBACK, Net("10 Gbit/s", 50e-6, 1.25e9), Net("1 Gbit/s", 100e-6, 0.125e9)]


class Alone:
    """The channel of a worker that has all blocks."""

    seconds = 0.0

    def all_reduce(self, sums: list[Sum]) -> Sum:
        """Return what is the sum of the root already."""
        return sums[0]


class DelayedChannel(Channel):
    """The channel over a slower network."""

    net = LOOPBACK

    def _exchange(self, out: Any, into: Any) -> None:
        start, sent = perf_counter(), self.bytes_sent
        super()._exchange(out, into)
        if self.net.latency:
            due, come = start + self.net.latency + (self.bytes_sent - sent) / self.net.bandwidth, perf_counter()
            sleep(max(due - come, 0))
            self.seconds += perf_counter() - come


def training(n_units: tuple[int, ...], rank: int, size: int, connections: Any, net: Net, n_blocks: int) -> Any:
    """The training of a worker, and its channel."""
    random = np.random.RandomState(0)
    n_rows = BATCH * STEPS_OF_EPOCH
    X, y = random.standard_normal((n_rows, n_units[0])).astype("f"), random.randint(0, n_units[-1], n_rows)
    defaults = {name: entry.default for name, entry in HYPERPARAMETERS["Trainer"].items()}
    network = _core.Network(n_units, "relu", "log_loss", "float32")
    plan = Plan(n_rows, BATCH, n_blocks, True, tuple(range(n_blocks)))
    shards = {}
    for block in range(*plan.shares(size)[rank]):
        rows = plan.shard_in(block, 0, n_rows)
        shards[block] = Shard([X[rows]], y[rows], None, X.dtype)
    channel: Any = Alone()
    if size > 1:
        shares = plan.shares(size)
        channel = DelayedChannel(rank, connections, Tree(n_blocks), shares, network.n_params, X.dtype, 60, lambda: None)
        channel.net = net
    params = (random.standard_normal(network.n_params) * 0.03).astype("f")
    return SharedTraining(
        network, params, np.zeros((2, network.n_params), "f"), shards, plan, channel,
        SimpleNamespace(**defaults | {"compression": None}), optimizer="adam", step=0, heaviest=1.0, place=Place(),
        n_threads=1, deadline=inf, check=lambda: None,
    ), channel  # fmt: skip


def work(rank: int, listeners: Any, n_units: tuple[int, ...], net: Net, n_blocks: int, n_epochs: int, out: Any) -> None:
    """One worker: the seconds of its best step, and of what is waited for in it."""
    addresses = [listener.getsockname() for listener in listeners]
    connections = Meeting(listeners[rank], rank, [f"w{i}" for i in range(len(listeners))], TOKEN).meet(
        addresses, 60, lambda: None
    )
    shared, channel = training(n_units, rank, len(listeners), connections, net, n_blocks)
    shared.run(seconds=inf)
    found = []
    for _ in range(n_epochs):
        start, waited = perf_counter(), channel.seconds
        shared.run(seconds=inf)
        found.append(((perf_counter() - start) / STEPS_OF_EPOCH, (channel.seconds - waited) / STEPS_OF_EPOCH))
    out.put(min(found))


def step_seconds(n_units: tuple[int, ...], size: int, net: Net, n_blocks: int = 8, n_epochs: int = 6) -> Any:
    """Seconds of a step with so many workers, and those spent in the channel."""
    context = multiprocessing.get_context("fork")
    listeners, out = [listen("127.0.0.1") for _ in range(size)], context.Queue()
    processes = [
        context.Process(target=work, args=(rank, listeners, n_units, net, n_blocks, n_epochs, out))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    found = [out.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    return max(found)


def reduce_seconds(n_params: int, n_times: int = 200) -> float:
    """Seconds of an all-reduce between two processes, the best of many."""

    def reduce(rank: int, listeners: Any, out: Any) -> None:
        addresses = [listener.getsockname() for listener in listeners]
        connections = Meeting(listeners[rank], rank, ["w0", "w1"], TOKEN).meet(addresses, 60, lambda: None)
        channel = Channel(rank, connections, Tree(2), [(0, 1), (1, 2)], n_params, np.dtype("f"), 60, lambda: None)
        vector, found = np.ones(n_params, "f"), []
        for _ in range(n_times):
            channel.barrier()
            start = perf_counter()
            channel.all_reduce([Sum((rank, rank + 1), vector, np.zeros(3))])
            found.append(perf_counter() - start)
        out.put(float(np.median(found)))

    context = multiprocessing.get_context("fork")
    listeners, out = [listen("127.0.0.1") for _ in range(2)], context.Queue()
    processes = [context.Process(target=reduce, args=(rank, listeners, out)) for rank in range(2)]
    for process in processes:
        process.start()
    found = [out.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return max(found)


@dataclass(frozen=True)
class Model:
    """What a step takes: work that is shared, work that all do, and the channel.

    Attributes
    ----------
    gradients, update : float
        Seconds of the gradients of a batch on one worker; of the rest of a step.
    n_bytes : int
        Of a gradient.
    own : float
        Seconds that the channel itself takes on loopback, for each byte sent.
    """

    gradients: float
    update: float
    n_bytes: int
    own: float

    def seconds(self, size: int, net: Net, batches: float = 1.0) -> float:
        """Of a step of so many workers, on so many times the batch."""
        if size == 1:
            return self.gradients * batches + self.update
        waits, sent = (1, 1.0) if size == 2 else (2, 2 * (size - 1) / size)
        channel = waits * net.latency + sent * self.n_bytes * (1 / net.bandwidth + self.own)
        return self.gradients * batches / size + self.update + channel


def modelled(n_units: tuple[int, ...]) -> Model:
    """The model of a network, from parts that are measured alone."""
    shared, _ = training(n_units, 0, 1, {}, LOOPBACK, 8)
    shared.run(seconds=inf)
    vector, parts = np.zeros_like(shared._params), []
    for _ in range(5):
        times = [perf_counter()]
        for block in range(8):
            shared._tree.push([], shared._gradient(0, block))
        times.append(perf_counter())
        shared._finish(vector, 1.0, 8.0)
        shared._update.apply(vector)
        times.append(perf_counter())
        parts.append(np.diff(times))
    gradients, update = np.min(parts, axis=0)
    return Model(gradients, update, vector.nbytes, reduce_seconds(len(vector)) / vector.nbytes)


def torch_seconds(python: str, n_units: tuple[int, ...]) -> float:
    """Seconds of a step of PyTorch's DDP with two processes of one thread."""
    script = Path(__file__).with_name("scale_ddp.py")
    command = [python, str(script), json.dumps({"n_units": n_units, "batch": BATCH})]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def start_seconds(python: str, library: str) -> float:
    """Seconds of a fit on a cluster of two workers in which there is nothing to train."""
    command = [python, str(Path(__file__).with_name("scale_start.py")), library]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(found.stdout.split()[-1])


def measured(torch: str, lightgbm: str, n_epochs: int) -> None:
    """Print what was measured on this machine, beside the model."""
    alone = reduce_seconds(250_000)
    print(f"all-reduce of 1 MB between two processes: {alone * 1e3:.2f} ms")
    for net in NETS[1:]:
        kind, seconds = inside(net.latency, net.bandwidth, reduce_seconds, 250_000)
        if kind:
            guess = Model(0, 0, 1_000_000, alone / 1e6).seconds(
                2, net if kind == "netem" else replace(net, latency=0.0)
            )
            print(f"the same on {net.name} ({kind}): {seconds * 1e3:.2f} ms, by the model {guess * 1e3:.2f} ms")
    for library, python in (("fastmlp", sys.executable), ("lightgbm", lightgbm)):
        if python:
            print(f"start of a fit on an existing cluster, {library}: {start_seconds(python, library):.2f} s")
    print(f"\n| network, batch {BATCH} | workers | network | ms a step | in the channel | model | speed-up |")
    print("|---|---|---|---|---|---|---|")
    for n_units in NETWORKS:
        model, name = modelled(n_units), "-".join(map(str, n_units))
        alone, _ = step_seconds(n_units, 1, LOOPBACK, n_epochs=n_epochs)
        print(f"| {name} | 1 | | {alone * 1e3:.2f} | | {model.seconds(1, LOOPBACK) * 1e3:.2f} | 1 |")
        for net in NETS:
            seconds, waited = step_seconds(n_units, 2, net, n_epochs=n_epochs)
            guess = model.seconds(2, net)
            columns = [f"{seconds * 1e3:.2f}", f"{waited * 1e3:.2f}", f"{guess * 1e3:.2f}", f"{alone / seconds:.2f}"]
            print(f"| {name} | 2 | {net.name} | {' | '.join(columns)} |", flush=True)
        if torch:
            theirs = torch_seconds(torch, n_units)
            print(f"| {name} | 2 | PyTorch DDP, gloo | {theirs * 1e3:.2f} | | | |", flush=True)
            seconds, waited = step_seconds(n_units, 2, LOOPBACK, n_blocks=2, n_epochs=n_epochs)  # as DDP does
            columns = [f"{seconds * 1e3:.2f}", f"{waited * 1e3:.2f}", "", f"{theirs / seconds:.2f} of DDP"]
            print(f"| {name} | 2 | loopback, n_blocks=2 | {' | '.join(columns)} |", flush=True)


def projected() -> None:
    """Print the model for many workers, each with 256 rows of a step, as a share of the ideal."""
    print("\nThe model: what is left of the ideal speed where each worker has 256 rows of a step.\n")
    print("| network | network between | 2 | 10 | 100 | 1000 workers |\n|---|---|---|---|---|---|")
    for n_units in NETWORKS:
        model = modelled(n_units)
        for net in NETS[1:]:
            ideal = model.seconds(1, net, 256 / BATCH)
            shares = [ideal / model.seconds(size, net, 256 * size / BATCH) for size in (2, 10, 100, 1000)]
            print(f"| {'-'.join(map(str, n_units))} | {net.name} | {' | '.join(f'{each:.0%}' for each in shares)} |")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m bench scale", description=__doc__)
    parser.add_argument("--torch", default="", metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument("--epochs", type=int, default=6, help="so often each is measured")
    parser.add_argument("--lightgbm", default="", metavar="PYTHON", help="an interpreter that has LightGBM and Dask")
    parser.add_argument("--rows", type=int, default=0, help="train on a table of so many rows from parquet instead")
    arguments = parser.parse_args(argv)
    if arguments.rows:
        scale_table.main(arguments.rows)
        return 0
    measured(arguments.torch, arguments.lightgbm, arguments.epochs)
    projected()
    return 0


if __name__ == "__main__":
    sys.exit(main())
