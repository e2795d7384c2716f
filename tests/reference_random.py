"""The specification, continued: random numbers that depend on a seed and on their place alone; dropout and noise."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def philox(key: Sequence[int], counter: Sequence[ArrayLike]) -> list[Array]:
    """Philox 4x32-10 of Salmon et al. 2011: four random words of 32 bits for the four words of each counter."""
    low = np.uint64(0xFFFFFFFF)
    x = [np.asarray(word, dtype=np.uint64) & low for word in np.broadcast_arrays(*counter)]
    k = [np.uint64(word) for word in key]
    for _ in range(10):
        p0, p1 = x[0] * np.uint64(0xD2511F53), x[2] * np.uint64(0xCD9E8D57)
        high0, high1 = p0 >> np.uint64(32), p1 >> np.uint64(32)
        x = [high1 ^ x[1] ^ k[0], p1 & low, high0 ^ x[3] ^ k[1], p0 & low]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return x


INPUT_NOISE = 1 << 30
"""Stream of the noise; dropout of the inputs of layer l has the stream l."""


def random_words(seed: int, step: int, stream: int, n_rows: int, n_units: int) -> Array:
    """Numbers from -1/2 to 1/2, one for each row of a batch and unit: words of 32 bits read as signed numbers.

    Sixteen units take the words of four counters: eight units the first two words of each, eight the other two.
    """
    unit = np.arange(n_units)
    block, word = unit // 16 * 4 + unit % 8 // 2, unit % 16 // 8 * 2 + unit % 2
    counter = [block[None, :], np.arange(n_rows)[:, None], stream, step % 2**32]
    words = np.choose(word[None, :], philox([seed % 2**32, seed >> 32], counter))
    return words.astype(np.uint32).view(np.int32) / 2**32


def dropout_scales(shares: ArrayLike, seed: int, step: int, n_rows: int, n_units: Sequence[int]) -> list[Array]:
    """Factors (n_rows, n_units[l]) of the inputs of each layer: 0 for what is dropped, 1 / (1 - share) for the rest."""
    return [
        (random_words(seed, step, layer, n_rows, n) >= share - 0.5) / (1 - share) if share > 0 else np.ones((1, 1))
        for layer, (share, n) in enumerate(zip(np.asarray(shares), n_units, strict=True))
    ]


def input_noise(seed: int, step: int, n_rows: int, n_columns: int) -> Array:
    """Normal numbers (n_rows, n_columns) by Box and Muller: columns c and c + 16 of each 32 have a radius in common."""
    words = random_words(seed, step, INPUT_NOISE, n_rows, -(-n_columns // 32) * 32).reshape(n_rows, -1, 2, 16)
    radius = np.sqrt(-2 * np.log(np.maximum(words[:, :, 0] + 0.5, 2.0**-33)))
    angle = 2 * np.pi * words[:, :, 1]
    numbers = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2)
    return numbers.reshape(n_rows, -1)[:, :n_columns]
