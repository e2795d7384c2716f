"""The fixed binary tree over micro-blocks in which gradients are summed, whoever computes which of them.

A node (first, stop) stands for the sum of the blocks from first up to stop. Its halves are a perfect tree and the rest,
so the order of the additions depends on the number of blocks and on nothing else: a worker adds up the nodes that lie
wholly in its share of blocks, and what is left of the tree is added up where these meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Node = tuple[int, int]
N_NUMBERS = 3
PIECE = 1 << 15
"""Numbers that are added, or rounded, at a time: they stay in the cache between the passes over them."""


@dataclass
class Sum:
    """The sum of a node.

    Attributes
    ----------
    node : tuple of int
    vector : ndarray of shape (n_params,)
        Of the gradients, each times the weight of its block.
    numbers : ndarray of float64 of shape (N_NUMBERS,)
        Of the losses, likewise, of the weights, and of those who say that the time is up.
    """

    node: Node
    vector: NDArray[Any]
    numbers: NDArray[np.float64]


def middle(node: Node) -> int:
    """Where the second child of a node begins."""
    first, stop = node
    return first + (1 << (stop - first - 1).bit_length() - 1)


def cover(share: Node, node: Node) -> list[Node]:
    """The largest nodes of the tree below `node` that make up a share of its blocks, in their order."""
    first, stop = max(share[0], node[0]), min(share[1], node[1])
    if first >= stop:
        return []
    if (first, stop) == node:
        return [node]
    split = middle(node)
    return [*cover(share, (node[0], split)), *cover(share, (split, node[1]))]


class Tree:
    """Sums over a number of blocks.

    Parameters
    ----------
    n_blocks : int
    rounds : bool
        Whether each sum is rounded to bfloat16, so that it travels in half of the bytes, and to the same bits wherever
        it is rounded.
    """

    def __init__(self, n_blocks: int, rounds: bool = False) -> None:
        self.root, self.rounds = (0, n_blocks), rounds
        self._parents = dict(self._children(self.root))

    def _children(self, node: Node) -> Iterator[tuple[tuple[Node, Node], Node]]:
        if node[1] - node[0] > 1:
            left, right = (node[0], middle(node)), (middle(node), node[1])
            yield (left, right), node
            yield from self._children(left)
            yield from self._children(right)

    def push(self, sums: list[Sum], new: Sum) -> list[NDArray[Any]]:
        """Add the sum of the next node on the right, and return the vectors that are no longer in use.

        Parameters
        ----------
        sums : list of Sum
            Those so far, from left to right; none of them siblings, and none after this call.
        new : Sum
        """
        free = []
        sums.append(new)
        while len(sums) > 1 and (parent := self._parents.get((sums[-2].node, sums[-1].node))):
            right, left = sums.pop(), sums[-1]
            self._add(left.vector, right.vector)
            left.numbers += right.numbers
            left.node = parent
            free.append(right.vector)
        return free

    def _add(self, left: NDArray[Any], right: NDArray[Any]) -> None:
        for at in range(0, len(left), PIECE):
            part = left[at : at + PIECE]
            np.add(part, right[at : at + PIECE], out=part)
            if self.rounds:
                round_to_bfloat16(part)


def round_to_bfloat16(vector: NDArray[np.float32]) -> None:
    """Round to the nearest number of eight bits, to even where there are two; infinities stay, and NaN stays NaN."""
    bits = vector.view(np.uint32)
    for at in range(0, len(bits), PIECE):
        part = bits[at : at + PIECE]
        odd = part >> np.uint32(16) & np.uint32(1)
        odd += np.uint32(0x7FFF)
        not_a_number = np.isnan(vector[at : at + PIECE])
        part += odd
        part &= np.uint32(0xFFFF0000)
        if not_a_number.any():
            vector[at : at + PIECE][not_a_number] = np.nan


def to_bfloat16(vector: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of rounded numbers."""
    return (vector.view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def from_bfloat16(halves: NDArray[np.uint16], out: NDArray[np.float32]) -> None:
    """And back."""
    np.left_shift(halves, 16, out=out.view(np.uint32), dtype=np.uint32)
