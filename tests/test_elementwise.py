"""The functions of activations and losses lane by lane, in units in the last place, on every instruction set.

elementwise.c is compiled as the engine is, through csrc/isa_*.c. The exact values are computed in long double, where
that has eleven more bits than float64.
"""

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from conftest import ROOT
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from fastmlp import _core

Array = NDArray[Any]
CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=off", "-shared", "-fPIC"]
DTYPES = ["float32", "float64"]
ISAS_WITH_FMA = [isa for isa in _core.available_isas() if isa != "x86-64"]
long = np.longdouble

pytestmark = [
    pytest.mark.skipif(CC is None or not (ROOT / "csrc").exists(), reason="needs the sources and a C compiler"),
    pytest.mark.skipif(np.finfo(long).nmant < 63, reason="long double has no more digits than float64"),
]


class Lanes:
    """The functions compiled for one instruction set and dtype; arrays of any length go in, and come out."""

    def __init__(self, isa: str, dtype: str, folder: Path) -> None:
        engine = ROOT / "csrc" / f"isa_{isa.replace('-', '_')}_{dtype}.c"
        source = folder / engine.name
        source.write_text(engine.read_text().replace("engine/engine.c", "elementwise.c"))
        library = source.with_suffix(".so")
        include = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests'}"]
        subprocess.run([str(CC), *FLAGS, *include, str(source), "-o", str(library)], check=True)
        self.library, self.dtype = ctypes.CDLL(str(library)), np.dtype(dtype)

    def __call__(self, name: str, *arrays: Any, n_results: int = 1, last: tuple[int, ...] = ()) -> Array:
        n = max(np.size(a) for a in arrays)
        padded = [np.full(-(-n // 16) * 16, 1, self.dtype) for _ in arrays]
        for a, values in zip(padded, arrays, strict=True):
            a[:n] = values
        out = np.empty((n_results, len(padded[0])), self.dtype)
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*padded, out)]
        self.library[name](*pointers, *map(ctypes.c_int64, (len(padded[0]), *last)))
        return out[0, :n] if n_results == 1 else out[:, :n]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Lanes]:
    """The functions of an instruction set and a dtype, compiled once."""
    found: dict[tuple[str, str], Lanes] = {}

    def lanes(isa: str, dtype: str) -> Lanes:
        if (isa, dtype) not in found:
            found[isa, dtype] = Lanes(isa, dtype, tmp_path_factory.mktemp("elementwise"))
        return found[isa, dtype]

    return lanes


@pytest.fixture
def lanes(isa: str, dtype: str, compiled: Callable[[str, str], Lanes]) -> Lanes:
    return compiled(isa, dtype)


def density(x: Array) -> Array:
    return np.exp(-x * x / 2) / np.sqrt(8 * np.arctan(long(1)))


def mills(x: Array) -> Array:
    """The integral of e^(-x t - t^2 / 2) over t > 0, by the trapezoid rule in log(t), which converges exponentially."""
    step = long(0.1)
    t = np.exp(np.arange(-500, 30) * step)
    return (np.exp(-x[:, None] * t - t * t / 2) * t).sum(axis=1) * step


def logistic(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def softplus(z: Array) -> Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def normal_cdf(z: Array) -> Array:
    tail = density(z) * mills(np.abs(z))
    return np.where(z < 0, tail, 1 - tail)


def elu(z: Array) -> Array:
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


def mish_gradient(z: Array) -> Array:
    s = softplus(z)
    return np.tanh(s) + z * logistic(z) / np.cosh(s) ** 2


SCALE, ALPHA = long("1.0507009873554804934193349852946"), long("1.6732632423543772848170429916717")
# name: (exact value, units in the last place that it may be off: those of vec_math.h, half for each operation more)
VALUES: dict[str, tuple[Callable[[Array], Array], float]] = {
    "expm1_negative": (np.expm1, 1.5),
    "normal_density": (density, 2),
    "mills": (mills, 5),
    "leaky_relu": (lambda z: np.where(z > 0, z, z / 100), 1.5),
    "elu": (elu, 1.5),
    "selu": (lambda z: SCALE * np.where(z > 0, z, ALPHA * elu(z)), 3),
    "softplus": (softplus, 3),
    "gelu": (lambda z: z * normal_cdf(z), 7),
    "silu": (lambda z: z * logistic(z), 3),
    "mish": (lambda z: z * np.tanh(softplus(z)), 3.5),
}
# name: (exact derivative, eps that it may be off where it is of size 1)
GRADIENTS: dict[str, tuple[Callable[[Array], Array], float]] = {
    "leaky_relu": (lambda z: np.where(z > 0, long(1), long(1) / 100), 1),
    "elu": (lambda z: np.exp(np.minimum(z, 0)), 1.5),
    "selu": (lambda z: SCALE * np.where(z > 0, 1, ALPHA * np.exp(np.minimum(z, 0))), 3),
    "softplus": (logistic, 1),
    "gelu": (lambda z: normal_cdf(z) + z * density(z), 2),
    "silu": (lambda z: logistic(z) * (1 + z * logistic(-z)), 2.5),
    "mish": (mish_gradient, 2.5),
}
WITH_SLOPE = ["gelu", "silu", "mish"]
"""Their gradients are computed from Z on the way forward, accurate in the lower tail as well."""


def magnitudes(name: str, dtype: str) -> Array:
    """Positive arguments up to where results are about to be denormal, and those of size 1."""
    largest = {"float32": 86.0, "float64": 700.0}[dtype]
    if name in ("normal_density", "mills", "gelu"):
        largest = np.sqrt(2 * largest)
    rng = np.random.default_rng(0)
    parts = [np.exp(rng.uniform(np.log(1e-12), np.log(largest), 1000)), rng.uniform(0, 1, 500), rng.uniform(0, 9, 500)]
    return np.concatenate(parts).astype(dtype)


def arguments(name: str, dtype: str) -> Array:
    x = magnitudes(name, dtype)
    if name in ("normal_density", "mills"):
        return x
    return -x if name == "expm1_negative" else np.concatenate([-x, x])


def ulps(values: Array, exact: Array) -> Array:
    return np.abs(values - exact) / np.spacing(np.abs(exact).astype(values.dtype))


@pytest.mark.parametrize("name", VALUES)
def test_value(lanes: Lanes, dtype: str, name: str) -> None:
    z = arguments(name, dtype)
    exact, limit = VALUES[name]
    assert ulps(lanes(f"value_{name}", z), exact(z.astype(long))).max() <= limit


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(lanes: Lanes, dtype: str, name: str) -> None:
    z = arguments(name, dtype)
    exact, limit = GRADIENTS[name]
    gradient, expected = lanes(f"gradient_{name}", z), exact(z.astype(long))
    assert np.abs(gradient - expected).max() <= limit * np.finfo(dtype).eps
    # Left of the root, which is at -0.75, -1.28 and -1.19; the factor z + 1 or so loses some digits.
    if name in WITH_SLOPE:
        assert ulps(gradient, expected)[z < -3].max() <= 8


@pytest.mark.parametrize("name", GRADIENTS)
def test_extremes(lanes: Lanes, dtype: str, name: str) -> None:
    limits = np.finfo(dtype)
    largest = float(limits.max)
    z = np.array([-np.inf, -largest, -1e4, -limits.tiny, -0.0, 0.0, limits.tiny, 1e4, np.nan], dtype)
    a = lanes(f"value_{name}", z)
    gradient = lanes(f"gradient_{name}", z)
    tail = 0.01 if name == "leaky_relu" else 0.0
    below = tail * z[:3] if tail else {"elu": -1.0, "selu": -SCALE * ALPHA}.get(name, 0.0)
    scale = SCALE if name == "selu" else 1.0
    assert_allclose(a[:3], below, rtol=3 * limits.eps)
    assert_allclose(gradient[:3], tail, atol=2 * limits.eps)  # selu: A + scale alpha
    assert_array_equal(a[4:6], a[3:4].repeat(2) if name == "softplus" else [0, 0])
    assert_allclose([a[7], gradient[7]], [scale * 1e4, scale], rtol=2 * limits.eps)
    assert np.isnan(a[8])


@pytest.mark.skipif(len(ISAS_WITH_FMA) < 2, reason="this machine runs one instruction set with FMA only")
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits(compiled: Callable[[str, str], Lanes], dtype: str) -> None:
    answers = []
    for isa in ISAS_WITH_FMA:
        lanes = compiled(isa, dtype)
        values = [lanes(f"value_{name}", arguments(name, dtype)) for name in VALUES]
        values += [lanes(f"gradient_{name}", arguments(name, dtype)) for name in GRADIENTS]
        values += [lanes(f"loss_{name}", *problem(name), n_results=3) for name in LOSSES]
        answers.append([v.tobytes() for v in values])
    assert answers[1:] == answers[:1] * (len(ISAS_WITH_FMA) - 1)


# -- losses: with a parameter of 0.3 where they have one --

PARAMETER = 0.3125  # exact in float32
LOSSES = {
    "absolute_error": reference.LOSSES["absolute_error"],
    "huber": reference.huber(PARAMETER),
    "quantile": reference.quantile(PARAMETER),
    "gamma": reference.LOSSES["gamma"],
    "squared_hinge": reference.LOSSES["squared_hinge"],
    "perceptron": reference.LOSSES["perceptron"],
}


def problem(name: str) -> tuple[Array, Array, Array]:
    """Z, Y and the parameter of each of a thousand outputs, exact in float32; among them the kinks."""
    rng = np.random.default_rng(0)
    Z = np.round(256 * rng.standard_normal(1000)) / 256
    Y = np.ceil(256 * LOSSES[name].draw(rng, (1, 1000))[0]) / 256
    Z[:5], Y[:3] = [0, 1, -1, 2, 0.3125], [1, 1, 1]
    return Z, Y, np.full(1000, PARAMETER)


@pytest.mark.parametrize("name", LOSSES)
def test_loss(lanes: Lanes, dtype: str, name: str) -> None:
    Z, Y, parameter = problem(name)
    value, delta, output = lanes(f"loss_{name}", Z, Y, parameter, n_results=3)
    spec = LOSSES[name]
    # exp is good to 5 units in the last place; values cancel from terms of size 1 + |z| + |y|.
    eps = np.finfo(dtype).eps
    assert_allclose(output, spec.outputs(Z), rtol=6 * eps)
    size = 1 + np.abs(Z) + np.abs(Y) + np.abs(np.log(np.where(Y > 0, Y, 1))) + spec.value(Z, Y)
    assert (np.abs(value - spec.value(Z, Y)) <= 6 * eps * size).all()
    assert (np.abs(delta - spec.delta(Z, Y)) <= 6 * eps * (1 + np.abs(spec.delta(Z, Y)))).all()


@pytest.mark.parametrize("name", LOSSES)
def test_delta_is_the_central_difference(isa: str, compiled: Callable[[str, str], Lanes], name: str) -> None:
    lanes = compiled(isa, "float64")
    Z, Y, parameter = problem(name)
    step = 2.0**-10  # Z and its neighbours are exact
    margin = (1 if name == "squared_hinge" else 0) - (2 * (Y > 0) - 1) * Z
    kinks = margin if name in ("squared_hinge", "perceptron") else np.abs(Z - Y) - (PARAMETER if name == "huber" else 0)
    smooth = np.abs(kinks) > step
    above, below = (lanes(f"loss_{name}", Z + h, Y, parameter, n_results=3)[0] for h in (step, -step))
    delta = lanes(f"loss_{name}", Z, Y, parameter, n_results=3)[1]
    # The error of a difference is step^2 / 6 of the third derivative: of gamma's, its own y e^-z; the others have none.
    tolerance = step**2 / 6 * 1.01 * (np.abs(1 - delta) if name == "gamma" else 0) + 1e-11
    assert smooth.sum() > 900
    assert (np.abs((above - below) / (2 * step) - delta) <= tolerance)[smooth].all()


@pytest.mark.parametrize("name", LOSSES)
def test_loss_of_nan_is_nan(lanes: Lanes, name: str) -> None:
    assert np.isnan(lanes(f"loss_{name}", np.full(3, np.nan), np.ones(3), np.full(3, PARAMETER), n_results=3)[0]).all()


def test_quantile_of_a_constant_is_the_quantile(lanes: Lanes) -> None:
    """The sum of delta over a sample changes sign at its quantile."""
    Y = np.random.default_rng(0).permutation(1000) / 1024
    for q in (0.125, 0.5, 0.875):
        for z, sign in ((np.quantile(Y, q) - 0.01, -1), (np.quantile(Y, q) + 0.01, 1)):
            delta = lanes("loss_quantile", np.full(1000, z), Y, np.full(1000, q), n_results=3)[1]
            assert np.sign(delta.sum(dtype=np.float64)) == sign


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_label_smoothing(lanes: Lanes, dtype: str, n_classes: int) -> None:
    Y = np.random.default_rng(0).random(100).astype(dtype)
    assert_array_equal(lanes("smoothed_targets", Y, np.zeros(100), last=(n_classes,)), Y)
    smooth = lanes("smoothed_targets", Y, np.full(100, PARAMETER), last=(n_classes,))
    # A division and a multiply-add of numbers below 1.
    assert_allclose(smooth, reference.smoothed(Y.astype(np.float64), PARAMETER, n_classes), atol=np.finfo(dtype).eps)
    one_hot = lanes("smoothed_targets", np.eye(n_classes)[0], np.full(n_classes, PARAMETER), last=(n_classes,))
    assert_allclose(one_hot.sum(dtype=np.float64), 1, atol=n_classes * np.finfo(dtype).eps)


def test_every_function_is_in_the_sources() -> None:
    """What this file tests is what elementwise.c compiles."""
    text = (ROOT / "tests" / "elementwise.c").read_text()
    assert re.findall(r"^LOSS\((\w+)", text, flags=re.MULTILINE) == list(LOSSES)
    assert re.findall(r"^ACTIVATION\w*\((\w+)", text, flags=re.MULTILINE) == list(GRADIENTS)
