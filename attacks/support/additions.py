"""How many samples, and which, an attacker adds to its set."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def draw_for_share(pool: int, own: int, share: float, rng: torch.Generator, *, repeat: bool) -> Tensor:
    """Numbers (int64) out of 0..pool-1, so many that they are ``share`` of a set that ``own`` samples are in already.

    That is floor(share * own / (1 - share) + 1/2), drawn without replacement.  When the pool runs out, it is drawn
    through again with ``repeat`` (each number as often as any other, give or take one), or there are fewer.
    """
    wanted = math.floor(share * own / (1.0 - share) + 0.5)
    if not pool or not wanted:
        return torch.zeros(0, dtype=torch.int64)
    passes = -(-wanted // pool) if repeat else 1
    return torch.cat([torch.randperm(pool, generator=rng) for _ in range(passes)])[:wanted]
