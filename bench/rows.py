"""The comparisons: networks against every engine, variants against the plain network, and what they should reach."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bench.engines import ENGINES
from bench.workloads import UNMOVED, Row, Run, Workload

NETWORKS: tuple[tuple[Workload, dict[str, float]], ...] = (
    (
        Workload((64, 64, 64, 10), 32, n_epochs=8, activation="logistic"),
        {"microseconds": 8.5, "numpy": 5, "scikit-learn": 14, "torch": 15, "jax": 3.5},
    ),
    (
        Workload((784, 128, 10), 1, n_rows=2048, n_epochs=4),
        {"microseconds": 6, "numpy": 20},
    ),
    (
        Workload((20, 32, 2), 32, n_epochs=16),
        {"microseconds": 2.5, "numpy": 8, "scikit-learn": 30, "torch": 40, "jax": 7},
    ),
    (
        Workload((64, 100, 10), 200, n_rows=20000, n_epochs=5),
        {"microseconds": 45, "numpy": 2.4, "scikit-learn": 6, "torch": 5, "jax": 2.5, "percent": 52},
    ),
    (
        Workload((784, 128, 10), 32, n_epochs=4),
        {"microseconds": 58, "numpy": 2.4, "scikit-learn": 4.5, "torch": 4, "jax": 1.6},
    ),
    (
        Workload((784, 256, 256, 10), 256, n_epochs=5),
        {"microseconds": 1300, "numpy": 1.9, "scikit-learn": 2.5, "torch": 2.4, "jax": 1.15, "percent": 85},
    ),
    (
        Workload((784, 1024, 1024, 10), 256, n_epochs=1),
        {"microseconds": 10500, "numpy": 2.0, "scikit-learn": 2.4, "torch": 2.3, "jax": 1.15, "percent": 82},
    ),
)
"""The networks of the main table, with what one thread should reach on an AVX-512 machine."""

RIVALS = tuple(
    name for name, engine in ENGINES.items() if name != "fastmlp" and "train" in engine.tasks and not engine.precision
)
"""Engines that each network of the main table is compared with."""
SWEEP_RIVALS = ("numpy", "scikit-learn", "torch", "jax")
"""Those of the other tables: NumPy as shipped, and not the minutes that torch.compile takes."""
PREDICT_RIVALS = ("scikit-learn", "torch", "jax", "onnxruntime")
BFLOAT16_RIVALS = ("torch-bfloat16", "torch-autocast", "torch-bfloat16-compile", "jax-bfloat16")
BFLOAT16: tuple[tuple[Workload, float], ...] = (
    (Workload((784, 256, 256, 10), 256, n_epochs=5), 1.5),
    (Workload((784, 256, 256, 10), 1024, n_epochs=5), 1.7),
    (Workload((784, 1024, 1024, 10), 256), 1.65),
    (Workload((784, 2048, 2048, 10), 256, n_rows=2048), 1.6),
)
"""Networks that are trained in bfloat16 too, and how many times as fast that should be as float32."""

FEATURES: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("dropout 0.5", {"settings": (("dropout", 0.5),)}, 1.08),
    ("clip_norm", {"settings": (("clip_norm", 1.0),)}, 1.10),
    ("weight_decay", {"settings": (("weight_decay", 0.01),)}, 1.02),
    ("l1", {"settings": (("alpha", 1e-4), ("l1_ratio", 0.5))}, 1.03),
    ("cosine", {"settings": (("learning_rate", "cosine"),)}, 1.0),
    ("gelu", {"activation": "gelu"}, 1.15),
    ("silu", {"activation": "silu"}, 1.15),
    ("mish", {"activation": "mish"}, 1.15),
)
"""What is added to the plain step of relu and sgd, and how many times its time it may take on the larger network."""
SMALL_STEP = 1.25
"""And on the smaller one, whichever is added."""
NOISE = 0.98
"""Two measurements of the same step differ by so much."""

RECIPE = (("dropout", 0.1), ("weight_decay", 0.01), ("clip_norm", 1.0), ("learning_rate", "cosine"))
"""How networks are trained today, beside GELU and Adam."""

REAL = (
    Workload((784, 100, 10), 200, n_rows=60000, optimizer="adam", source="mnist"),
    Workload((784, 256, 128, 10), 256, n_rows=60000, source="fashion"),
    Workload((104, 64, 2), 32, n_rows=30162, optimizer="sgd_momentum", source="adult"),
    Workload((13, 64, 64, 1), 32, n_rows=20433, optimizer="adam", loss="squared_error", source="california"),
    Workload((54, 100, 7), 200, n_rows=20000, optimizer="sgd_momentum", source="covtype", dtype="float64"),
    Workload((28, 300, 2), 1, n_rows=7000, source="higgs"),
)
"""Data sets that the benchmark reads where they are, and makes noise of the same shapes where they are not."""


def rows(n_cpus: int, isa: str) -> Iterator[Row]:
    """Every comparison that a machine with so many CPUs can make when fastmlp uses this instruction set."""
    for workload, goals in NETWORKS:
        yield _against_all(workload.name, "one thread", workload, goals if isa == "x86-64-v4" else {})
    if n_cpus > 1:
        yield from _all_threads()
    largest = [workload for workload, _ in NETWORKS[-2:]]
    if isa == "x86-64-v4":
        for workload in largest:
            forced = {"fastmlp": Run("fastmlp", workload, isa="x86-64-v3")}
            yield Row(f"AVX2, {workload.name}", "variants", forced, {"percent": 85})
    if isa.startswith("x86-64-"):
        baseline = {"fastmlp": Run("fastmlp", largest[0], isa="x86-64")}
        yield Row(f"SSE2, {largest[0].name}", "variants", baseline, {})
    yield from _variants(largest[0])
    yield from _features(largest[0], 1.0)
    yield from _features(NETWORKS[2][0], SMALL_STEP)
    yield from _recipes()
    yield from _bfloat16(n_cpus)
    yield from _sparse()
    for workload in REAL:
        name = f"{workload.source}, {workload.name}, {workload.optimizer}, {workload.dtype}"
        yield _against_all(name, "real data", workload, {}, SWEEP_RIVALS)
    for width in (16, 32, 64, 128, 256, 512, 1024, 2048):
        workload = Workload((64, width, width, 10), 128, n_rows=128 * max(4, 8192 // width))
        yield _against_all(f"width {width}, {workload.name}", "width", workload, {}, SWEEP_RIVALS)
    for n_rows in (1000, 10_000, 100_000, 1_000_000):
        workload = Workload((20, 64, 10), 200, n_rows=n_rows, n_epochs=max(1, 100_000 // n_rows))
        yield _against_all(f"n_samples {n_rows:,}, {workload.name}", "n_samples", workload, {}, SWEEP_RIVALS)


def _against_all(
    name: str, group: str, workload: Workload, goals: dict[str, float], rivals: tuple[str, ...] = RIVALS
) -> Row:
    able = [rival for rival in rivals if ENGINES[rival].can(workload)]
    return Row(name, group, {engine: Run(engine, workload) for engine in ("fastmlp", *able)}, goals)


def _all_threads() -> Iterator[Row]:
    for workload, _ in NETWORKS:
        rivals = {rival: Run(rival, workload, n_threads=0) for rival in RIVALS}
        runs = {"fastmlp": Run("fastmlp", workload, n_threads=0), "1 thread": Run("fastmlp", workload), **rivals}
        # Where one thread is the default both runs do the same, and 5 % is their noise.
        large = workload in [network for network, _ in NETWORKS[-2:]]
        goals = {"1 thread": 1.7 if large else 0.95}
        yield Row(f"all threads, {workload.name}", "all threads", runs, goals)


def _variants(plain: Workload) -> Iterator[Row]:
    """The same network with another optimizer, in another dtype, on the whole batch, and without training."""
    for optimizer, most in (("sgd_momentum", 1.1), ("adam", 1.25)):
        row = _against_all("", "variants", replace(plain, optimizer=optimizer), {"plain sgd": 1 / most})
        runs = row.runs | {"plain sgd": Run("fastmlp", plain)}
        yield replace(row, name=f"{optimizer}, {plain.name}", runs=runs)
    row = _against_all("", "variants", replace(plain, dtype="float64"), {"float32": 0.5})
    yield replace(row, name=f"float64, {plain.name}", runs=row.runs | {"float32": Run("fastmlp", plain)})
    whole = Workload((64, 100, 10), 8192)
    yield _against_all(f"whole batch, {whole.name}", "variants", whole, {}, SWEEP_RIVALS)
    for n_rows in (1, 100, 10000):
        predict = replace(plain, task="predict", n_rows=n_rows, n_epochs=max(1, 100 // n_rows))
        name = f"predict {n_rows}, {'-'.join(map(str, plain.n_units))}"
        yield _against_all(name, "predict", predict, {"percent": 85} if n_rows == 10000 else {}, PREDICT_RIVALS)


def _features(plain: Workload, at_most: float) -> Iterator[Row]:
    """What training of today adds to a step, against the plain one."""
    for name, changes, most in FEATURES:
        runs = {"fastmlp": Run("fastmlp", replace(plain, **changes)), "plain": Run("fastmlp", plain)}
        goals = {"plain": NOISE / max(most, at_most)}
        yield Row(f"with {name}, {plain.name}", "features", runs, goals)


def _recipes() -> Iterator[Row]:
    """Training of today against PyTorch's."""
    large = Workload((784, 256, 256, 10), 256, n_epochs=5)
    small = Workload((20, 64, 64, 2), 32, n_epochs=2)
    for plain, least in ((large, 2.4), (small, 30.0)):
        workload = replace(plain, activation="gelu", optimizer="adam", settings=RECIPE)
        runs = {engine: Run(engine, workload) for engine in ("fastmlp", "torch")}
        yield Row(f"recipe, {plain.name}", "recipe", runs, {"torch": least})


def _bfloat16(n_cpus: int) -> Iterator[Row]:
    """Products in bfloat16 against the peers', and against the better of the other dtype of ours and of JAX."""
    networks = [(replace(workload, learning_rate=UNMOVED), least, True) for workload, least in BFLOAT16]
    predict = replace(BFLOAT16[0][0], task="predict", n_rows=10_000, n_epochs=1)
    for workload, least, trains in (*networks, (predict, 1.6, False)):
        able = [rival for rival in BFLOAT16_RIVALS if ENGINES[rival].can(workload)]
        runs = {engine: Run(engine, workload) for engine in ("fastmlp-bfloat16", *able, "jax")}
        runs["float32"] = Run("fastmlp", workload)
        goals = {"float32": least} | {rival: 1.6 if "torch" in rival else 1.5 for rival in (*able, "jax") if trains}
        name = workload.name if trains else f"predict 10000, {'-'.join(map(str, workload.n_units))}"
        goals |= {"percent": 70.0} if workload.n_units[1] >= 1024 else {}
        yield Row(f"bfloat16, {name}", "bfloat16", runs, goals)
        if trains and n_cpus > 1:
            both = {n: Run("fastmlp-bfloat16", workload, n_threads=n) for n in (0, 1)}
            runs = {"fastmlp-bfloat16": both[0], "1 thread": both[1]}
            yield Row(f"bfloat16, all threads, {name}", "bfloat16", runs, {"1 thread": 1.7})


def _sparse() -> Iterator[Row]:
    """CSR against the dense array of the same values, as sparse as a9a: the first layer dominates only in the first."""
    for n_units, least in (((123, 256, 2), 2.0), ((123, 64, 64, 2), 1.0)):
        dense = Workload(n_units, 256, n_rows=32768, n_epochs=2, density=0.11)
        runs = {"fastmlp": Run("fastmlp", replace(dense, sparse=True)), "dense": Run("fastmlp", dense)}
        yield Row(f"CSR, {dense.name}", "variants", runs, {"dense": least})
