"""When a cluster pays: the speed-up that the model of a step predicts, drawn."""

import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bench.scale import NETS, Model

N_UNITS, BATCHES = (784, 256, 256, 10), (2048, 8192, 32768)
FLOPS, SECONDS_OF_UPDATE, SECONDS_OF_BYTE = 250e9, 3e-9, 5e-10
"""Of a worker of one fast core: additions and multiplications a second; of each parameter; of each byte sent."""
COLOURS = ("#1f6fb4", "#d1590b", "#6b7280")


def model_of(n_units: tuple[int, ...], batch: int) -> Model:
    """The model of a step, from its operations in place of a measurement."""
    sizes = [fan_in * fan_out for fan_in, fan_out in itertools.pairwise(n_units)]
    operations = 2 * batch * (3 * sum(sizes) - sizes[0])  # forward, dW, and dA but of the first layer
    n_params = sum(sizes) + sum(n_units[1:])
    return Model(operations / FLOPS, SECONDS_OF_UPDATE * n_params, 4 * n_params, SECONDS_OF_BYTE)


def draw(path: Path) -> None:
    """Speed-up by the number of workers that share a batch, on two networks between them.

    Operations and bytes both grow with the parameters, so the batch decides, and other networks look alike.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.2), layout="constrained", sharey=True)
    sizes = np.unique(np.geomspace(1, 1000, 200).round()).astype(int)
    for ax, net in zip(axes, NETS[1:], strict=True):
        ax.plot(sizes, sizes, color="#c0c4cc", linestyle=":", label="ideal")
        for batch, colour in zip(BATCHES, COLOURS, strict=True):
            model = model_of(N_UNITS, batch)
            speed_up = [model.seconds(1, net) / model.seconds(int(size), net) for size in sizes]
            ax.plot(sizes, speed_up, color=colour, label=f"batch of {batch} rows")
        ax.set(title=net.name, xlabel="workers", xscale="log", yscale="log", xlim=(1, 1000), ylim=(0.5, 200))
        ax.set_yticks([0.5, 1, 2, 5, 10, 20, 50, 100, 200], ["½", "1", "2", "5", "10", "20", "50", "100", "200"])
        ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
        ax.minorticks_off()
        ax.axhline(1, color="#c0c4cc", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("speed-up")
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(path)
    plt.close(figure)
