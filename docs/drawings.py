"""The drawings of "How it works", made of the constants that the engine's sources have."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

ENGINE = Path(__file__).resolve().parents[1] / "csrc" / "engine"
BLUE, ORANGE, GREY = "#1f6fb4", "#d1590b", "#6b7280"


def enum(file: str, name: str) -> str:
    """The value of a constant in a file of the engine, as its text."""
    found = re.search(rf"\b{name} = ([^,\n}}]+)", (ENGINE / file).read_text(encoding="utf-8"))
    assert found, f"{file} has no {name}"
    return found[1].strip()


def constants() -> dict[str, Any]:
    """Of the AVX-512 engine in float32, as its sources have them.

    Raises
    ------
    AssertionError
        If the sources no longer say what the page explains.
    """
    vec = (ENGINE / "vec.h").read_text(encoding="utf-8")
    avx512 = vec.split("#if FM_VECTOR_BYTES == 64")[1].split("#elif")[0]
    avx2 = vec.split("#elif FM_VECTOR_BYTES == 32")[1].split("#elif")[0]
    register = 64 // 4
    assert enum("panel.h", "PANEL") == "TILE_VECS * VL"
    tiles = {}
    for name, text, lanes in (("AVX-512", avx512, register), ("AVX2", avx2, register // 2)):
        vectors = re.search(r"TILE_VECS = (\d+)", text)
        rows = re.search(r"tile_rows\[TILE_VECS \+ 1\] = \{([^}]*)\}", text)
        assert vectors is not None
        assert rows is not None
        n_vectors, most = int(vectors[1]), list(map(int, rows[1].split(",")))
        tiles[name] = (most[n_vectors], n_vectors, lanes)
    return {
        "register": register,
        "tiles": tiles,
        "panel": tiles["AVX-512"][1] * register,
        "chunk_rows": int(enum("scratch.h", "CHUNK_ROWS")),
        "lanes": register,
    }


def _grid(ax: Axes, x: float, y: float, n_rows: int, n_columns: int, cell: float, **style: Any) -> None:
    for i in range(n_rows):
        for j in range(n_columns):
            ax.add_patch(Rectangle((x + j * cell, y - (i + 1) * cell), cell, cell, **style))


def draw_panels(ax: Axes) -> None:
    """A matrix of weights, cut into column panels."""
    panel = constants()["panel"]
    n_columns = 2 * panel + panel // 2
    colours = (BLUE, ORANGE, GREY)
    names = [f"columns {j * panel} to {min((j + 1) * panel, n_columns) - 1}" for j in range(3)]
    x = 0.0
    for j, colour in enumerate(colours):
        width = min(panel, n_columns - j * panel) / panel
        ax.add_patch(Rectangle((x, 0), width, 1.2, facecolor=colour, alpha=0.3, edgecolor=colour))
        ax.text(x + width / 2, 0.6, names[j], ha="center", va="center", fontsize=8, rotation=0 if width == 1 else 90)
        x += width
    ax.text(x / 2, 1.3, f"weights: fan_in rows, {n_columns} columns, row after row", ha="center")
    ax.annotate("", (3.45, 0.6), (2.7, 0.6), arrowprops={"arrowstyle": "->"})
    ax.text(3.07, 0.68, "packed", ha="center", fontsize=9)
    x = 3.6
    for j, colour in enumerate(colours):
        width = 0.3 if j < 2 else 0.15
        ax.add_patch(Rectangle((x, -0.3 + 0.15), width, 1.5, facecolor=colour, alpha=0.3, edgecolor=colour))
        ax.text(x + width / 2, 0.6, names[j], ha="center", va="center", fontsize=8, rotation=90)
        x += width + 0.12
    ax.text(4.0, 1.45, f"panels, each\n{panel} or fewer columns wide,\none after the other", ha="center", fontsize=9)
    ax.set(xlim=(-0.1, 4.7), ylim=(-0.3, 1.95))


def draw_tile(ax: Axes) -> None:
    """The micro-kernel: a row of a panel in registers, times single elements of A."""
    rows, vectors, lanes = constants()["tiles"]["AVX-512"]
    cell = 0.36
    _grid(ax, 0, rows * cell, rows, 1, cell, facecolor=ORANGE, alpha=0.35, edgecolor=ORANGE)
    ax.text(cell / 2, rows * cell + 0.12, f"{rows} elements\nof A, broadcast", ha="center", va="bottom", fontsize=9)
    width = 4.6 / vectors
    for v in range(vectors):
        x = 1.2 + v * width
        ax.add_patch(Rectangle((x, rows * cell + 0.25), width, cell, facecolor=GREY, alpha=0.35, edgecolor=GREY))
        for i in range(rows):
            y = (rows - i - 1) * cell
            ax.add_patch(Rectangle((x, y), width, cell, facecolor=BLUE, alpha=0.3, edgecolor=BLUE))
        ax.text(x + width / 2, rows * cell + 0.25 + cell / 2, f"{lanes} columns", ha="center", va="center", fontsize=9)
    ax.text(1.2 + 2.3, rows * cell + 0.78, f"row k of a panel: {vectors} registers", ha="center", fontsize=9)
    text = f"{rows * vectors} registers of sums:\nsum += a × row, a multiply-add each"
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "boxstyle": "round"}
    ax.text(1.2 + 2.3, rows * cell / 2, text, ha="center", va="center", fontsize=10, bbox=box)
    ax.set(xlim=(-0.7, 6), ylim=(-0.1, rows * cell + 1.1))


def draw_sums(ax: Axes) -> None:
    """The order of a sum: the same chain for every output, whatever the width of a register."""
    for row, (name, lanes) in enumerate((("AVX-512", 16), ("AVX2", 8), ("NEON", 4))):
        y = -row * 0.9
        ax.text(-0.2, y + 0.2, f"{name}\n{lanes} outputs at a time", ha="right", va="center", fontsize=9)
        for j in range(16):
            colour = BLUE if (j // lanes) % 2 == 0 else ORANGE
            ax.add_patch(Rectangle((j * 0.3, y), 0.3, 0.4, facecolor=colour, alpha=0.35, edgecolor="white"))
    ax.annotate("", (2.4, -2.5), (2.4, -1.95), arrowprops={"arrowstyle": "->"})
    chain = "each output: (((b + a₀ w₀) + a₁ w₁) + a₂ w₂) + …  rounded once a step"
    ax.text(2.4, -2.75, chain, ha="center", fontsize=10)
    ax.set(xlim=(-2.2, 5), ylim=(-2.95, 0.6))


def draw_update(ax: Axes) -> None:
    """The fused update: the gradient never leaves the registers."""
    boxes = [
        ("activations,\ntransposed", 0, GREY),
        ("delta of\nthe layer above", 1.5, GREY),
        ("sums in registers:\nthe gradient", 3.1, BLUE),
        ("W −= rate × gradient,\nin the same registers", 5.0, ORANGE),
    ]
    for text, x, colour in boxes:
        ax.add_patch(Rectangle((x, 0), 1.35, 0.7, facecolor=colour, alpha=0.3, edgecolor=colour))
        ax.text(x + 0.675, 0.35, text, ha="center", va="center", fontsize=8.5)
    ax.text(1.42, 0.35, "×", ha="center", va="center", fontsize=14)
    for left, right in ((2.87, 3.08), (4.47, 4.98)):
        ax.annotate("", (right, 0.35), (left, 0.35), arrowprops={"arrowstyle": "->"})
    ax.text(3.2, -0.3, "The gradient of the weights is never written to memory.", ha="center", fontsize=10)
    ax.set(xlim=(-0.1, 6.5), ylim=(-0.6, 1.1))


DRAWINGS: dict[str, Callable[[Axes], None]] = {
    "panels": draw_panels,
    "tile": draw_tile,
    "sums": draw_sums,
    "update": draw_update,
}
