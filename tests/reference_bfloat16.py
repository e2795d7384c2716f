"""The specification of the products in bfloat16, in NumPy with explicit rounding, bit for bit.

The factors of a product are rounded to bfloat16: the inputs, the activations, the weights and delta; once, to nearest
even, and denormals become 0. A sum over k begins with its initial value and takes the terms in pairs, of each pair the
odd one first; each is a fused multiply-add in float32 without denormals. All else is float32.
"""

from itertools import pairwise

import numpy as np
import reference
from numpy.typing import ArrayLike, NDArray

Array32 = NDArray[np.float32]
SMALLEST = 2.0**-126
"""The smallest float32 that is not denormal; none is where float32 is flushed."""


def flushed(x: ArrayLike) -> Array32:
    """float32 without denormals."""
    y = np.asarray(x, np.float32)
    return np.where(np.abs(y) < SMALLEST, np.copysign(np.float32(0), y), y)


def rounded(x: ArrayLike) -> Array32:
    """To bfloat16, as float32: to nearest even; NaN stays NaN."""
    y = flushed(x)
    bits = y.view(np.uint32).astype(np.uint64)
    nearest = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(y), y, nearest)


def multiply_add(a: Array32, b: Array32, c: Array32) -> Array32:
    """Fused, of values of bfloat16 and of a float32, without denormals.

    float64 holds a b exactly, of 16 bits; and where it does not hold the sum, that is so near to the larger of the two
    that it is rounded to it, in float64 and in float32.
    """
    with np.errstate(all="ignore"):
        wide = a.astype(np.float64) * b.astype(np.float64) + flushed(c).astype(np.float64)
        # A result is denormal or not after it was rounded to 24 bits.
        small = (wide * 2.0**60).astype(np.float32).astype(np.float64) * 2.0**-60
        return np.where(np.abs(small) < SMALLEST, np.copysign(np.float32(0), wide), wide).astype(np.float32)


def product(A: ArrayLike, B: ArrayLike, initial: ArrayLike) -> Array32:
    """initial + A B, as the engine sums."""
    A, B = rounded(A), rounded(B)
    depth = A.shape[1]
    if depth % 2:
        A, B = np.pad(A, ((0, 0), (0, 1))), np.pad(B, ((0, 1), (0, 0)))
    sums = np.broadcast_to(np.asarray(initial, np.float32), (A.shape[0], B.shape[1]))
    for k in range(0, depth, 2):
        for term in (k + 1, k):
            sums = multiply_add(A[:, term, None], B[None, term], sums)
    return sums


class Network(reference.Network):
    """Its products are the engine's bit for bit; activations and losses are rounded to float32 from float64."""

    def values(self, params: Array32, X: ArrayLike) -> tuple[list[Array32], list[Array32]]:
        """Inputs and Z of each layer."""
        coefs, intercepts = self.unpack(params)
        A, Z = [np.asarray(X, np.float32)], [product(X, coefs[0], intercepts[0])]
        for f, W, b in zip(self.activations, coefs[1:], intercepts[1:], strict=True):
            A.append(f.value(Z[-1].astype(np.float64)).astype(np.float32))
            Z.append(product(A[-1], W, b))
        return A, Z

    def sums(self, params: Array32, X: ArrayLike, Y: ArrayLike) -> Array32:
        """The gradient of the sum of the losses of the rows, (n_params,)."""
        coefs, _ = self.unpack(params)
        A, Z = self.values(params, X)
        gradient = np.empty_like(params)
        dW, db = self.unpack(gradient)
        delta = self.loss_function.delta(Z[-1].astype(np.float64), np.asarray(Y, np.float64)).astype(np.float32)
        for layer in reversed(range(len(coefs))):
            dW[layer][:] = product(A[layer].T, delta, 0)
            db[layer][:] = product(np.ones((1, len(delta))), delta, 0)[0]
            if layer > 0:
                below = Z[layer - 1].astype(np.float64), A[layer].astype(np.float64)
                slope = self.activations[layer - 1].gradient(*below).astype(np.float32)
                delta = product(delta, coefs[layer].T, 0) * slope
        return gradient


def problem(n_units: tuple[int, ...], n_rows: int) -> tuple[Array32, Array32, Array32]:
    """Random rows, targets and parameters."""
    rng = np.random.default_rng([*n_units, n_rows])
    n_params = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(n_units))
    X, Y = rng.normal(size=(n_rows, n_units[0])), rng.normal(size=(n_rows, n_units[-1]))
    params = rng.normal(size=n_params) / np.sqrt(np.mean(n_units))
    return X.astype(np.float32), Y.astype(np.float32), params.astype(np.float32)
