"""Agglomerative clustering as a tree of merges, read from its root down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class MergeTree:
    """Merges of ``leaves`` points: node ``leaves + k`` is the k-th merge, the last one is the root."""

    leaves: int
    merges: tuple[tuple[int, int], ...]
    heights: tuple[float, ...]

    @property
    def root(self) -> int:
        """The node above all others; the only leaf when there is one."""
        return self.leaves + len(self.merges) - 1

    def is_leaf(self, node: int) -> bool:
        """Whether the node is a single point."""
        return node < self.leaves

    def height(self, node: int) -> float:
        """Distance at which the node's two children were merged; 0 for a leaf."""
        return 0.0 if self.is_leaf(node) else self.heights[node - self.leaves]

    def children(self, node: int) -> tuple[int, int]:
        """The two nodes that were merged into this one."""
        return self.merges[node - self.leaves]

    def members(self, node: int) -> Tensor:
        """Points below a node, bool ``[leaves]``."""
        found = torch.zeros(self.leaves, dtype=torch.bool)
        below = [node]
        while below:
            here = below.pop()
            if self.is_leaf(here):
                found[here] = True
            else:
                below += self.children(here)
        return found


def merge_tree(distances: Tensor, linkage: Literal["average", "ward"]) -> MergeTree:
    """Agglomerate points by their distances float64 ``[n, n]`` (symmetric, zero diagonal; Euclidean for Ward).

    Equal distances are merged in the order of the points.
    """
    n = len(distances)
    if n < 2:
        return MergeTree(n, (), ())
    from scipy.cluster.hierarchy import linkage as agglomerate

    upper = torch.triu_indices(n, n, offset=1)
    merged = agglomerate(distances.cpu()[upper[0], upper[1]].numpy(), linkage)
    pairs = tuple((int(left), int(right)) for left, right in merged[:, :2])
    return MergeTree(n, pairs, tuple(merged[:, 2].tolist()))
