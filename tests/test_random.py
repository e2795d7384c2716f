"""The counter-based generator against its published vectors."""

import numpy as np
import pytest

from fastmlp import _core

# Known-answer vectors of Philox 4x32-10 in Random123 (tests/kat_vectors): counter, key, answer.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def block(key: list[int], counter: list[int]) -> list[int]:
    """The four words of one counter."""
    answer = _core.random_words(key, counter[1:], counter[0] // 4)
    i = counter[0] % 4
    return [*answer[2 * i : 2 * i + 2], *answer[8 + 2 * i : 10 + 2 * i]]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_published_vectors(isa: str, counter: str, key: str, answer: str) -> None:
    assert block(words(key), words(counter)) == words(answer)


def test_words_are_uniform_and_differ(isa: str) -> None:
    drawn = np.array([_core.random_words([1, 2], [row, 3, 4], group) for row in range(50) for group in range(20)])
    assert len(np.unique(drawn)) > drawn.size - 10, "of 16000 words of 32 bits, 0.03 pairs are expected to be equal"
    # The mean of n uniform numbers is normal with standard deviation 1 / sqrt(12 n): five of them.
    assert abs(drawn.mean() / 2**32 - 0.5) < 5 / np.sqrt(12 * drawn.size)
