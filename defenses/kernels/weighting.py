"""Shares of a mean weighted by the examples that clients claim, with a cap on each."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_shares(num_examples: Tensor, accepted: Tensor | None = None, max_weight: float = 1.0) -> Tensor:
    """Share of every client in a sample-weighted mean: ``D_i / sum of accepted D_j``, at most ``max_weight``.

    Sample counts are what clients claim, so an attacker can inflate its own.  Shares above the cap are cut to it and
    what they lose is spread over the others in proportion to their examples, again and again until none is above it
    (water-filling): the shares still sum to 1.  With k accepted clients no cap below 1/k can hold; such a cap means
    equal shares 1/k.

    Args:
        num_examples: ``[n]``, positive.
        accepted: bool ``[n]``; None accepts everyone.
        max_weight: cap in (0, 1]; 1 = none.

    Returns:
        float64 ``[n]``, 0 for rejected clients, sums to 1 (or all 0 when nobody is accepted).

    Raises:
        ValueError: an accepted client's count isn't a positive finite number, or the cap isn't in (0, 1].
    """
    if not 0.0 < max_weight <= 1.0:
        raise ValueError(f"max_weight = {max_weight}: must be in (0, 1]")
    examples = num_examples.to(torch.float64)
    chosen = torch.ones_like(examples, dtype=torch.bool) if accepted is None else accepted.to(torch.bool)
    if not bool((torch.isfinite(examples) & (examples > 0))[chosen].all()):
        raise ValueError(f"num_examples must be positive and finite, got {examples.tolist()}")
    count = int(chosen.sum())
    if count == 0:
        return torch.zeros_like(examples)
    if max_weight * count <= 1.0:
        return chosen.to(torch.float64) / count
    scaled = torch.where(chosen, examples, 0.0) / examples[chosen].max()  # counts up to 1e308 can't overflow the sum
    capped = torch.zeros_like(chosen)
    while True:
        free = chosen & ~capped
        left = 1.0 - max_weight * int(capped.sum())
        shares = torch.where(free, scaled * (left / scaled[free].sum()), 0.0)
        shares[capped] = max_weight
        above = free & (shares > max_weight)
        if not bool(above.any()):
            return shares
        capped |= above
