"""Cosines of all updates to one vector."""

from __future__ import annotations

import torch
from torch import Tensor

from defenses.kernels.geometry import FLOOR, column_blocks, row_norms
from defenses.updates import ClientUpdates


def cosines_to(updates: ClientUpdates, vector: Tensor) -> Tensor:
    """Cosine of every update to ``vector [d]``, float64 ``[n]`` on the CPU; 0 where either has no length."""
    vector = vector.to(updates.matrix)
    inner = torch.zeros(len(updates), dtype=torch.float64)
    for columns, block in column_blocks(updates.matrix):
        inner += (block @ vector[columns].to(block.device).to(torch.float64)).cpu()
    length = float(row_norms(vector[None]))
    return (inner / updates.norms.cpu().clamp(min=FLOOR) / max(length, FLOOR)).clamp(-1.0, 1.0)
