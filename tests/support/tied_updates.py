"""Rounds of updates in which several choices are equally good: duplicates, mirrors, equal distances, equal groups."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def normal(rows: int, d: int, seed: int) -> Tensor:
    return 0.1 * torch.randn(rows, d, generator=torch.Generator().manual_seed(seed))


def copies(*numbers: int) -> Callable[[int, int], Tensor]:
    """A few distinct vectors, each sent by several clients."""
    return lambda d, seed: normal(4, d, seed)[list(numbers)]


def mirrored(pairs: int, times: int = 1) -> Callable[[int, int], Tensor]:
    """Vectors and their negatives."""
    return lambda d, seed: torch.cat([normal(pairs, d, seed), -normal(pairs, d, seed)]).repeat(times, 1)


def simplex(n: int) -> Callable[[int, int], Tensor]:
    """Orthogonal, equally long, equally far from each other: no component of more variance than another."""

    def build(d: int, seed: int) -> Tensor:
        width = d // n
        rows = torch.zeros(n, d)
        for i in range(n):
            rows[i, i * width : (i + 1) * width] = normal(1, width, seed)[0]
        return rows

    return build


def rolled(n: int) -> Callable[[int, int], Tensor]:
    """Rotations of one vector: everybody's neighbours look alike."""

    def build(d: int, seed: int) -> Tensor:
        step = d // n
        one = normal(1, n * step, seed)[0]
        rows = torch.stack([one.roll(i * step) for i in range(n)])
        return torch.nn.functional.pad(rows, (0, d - n * step))

    return build


def polygon(n: int) -> Callable[[int, int], Tensor]:
    """Corners of a regular polygon."""

    def build(d: int, seed: int) -> Tensor:
        x, y = normal(2, d, seed)
        angles = torch.arange(n) * (2 * math.pi / n)
        turned: Tensor = angles.cos()[:, None] * x + angles.sin()[:, None] * y
        return turned

    return build


def line(first: int, last: int) -> Callable[[int, int], Tensor]:
    """Equal steps along one direction."""
    return lambda d, seed: torch.arange(first, last + 1)[:, None] * normal(1, d, seed)


def two_squares(d: int, seed: int) -> Tensor:
    """Two groups of four around opposite centres, both of the same form."""
    x, y, centre = normal(3, d, seed)
    square = 0.1 * torch.stack([x, y, -x, -y])
    return torch.cat([centre + square, -centre + square])


def corners(d: int, seed: int) -> Tensor:
    """Corners of a box."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    return signs @ normal(3, d, seed)


def half_zero(d: int, seed: int) -> Tensor:
    """Three clients who did nothing, three who agree."""
    return torch.cat([torch.zeros(3, d), normal(1, d, seed).repeat(3, 1)])


TIED: dict[str, Callable[[int, int], Tensor]] = {
    "two of three copies": copies(0, 0, 0, 1, 1, 1),
    "three of two copies": copies(0, 1, 2, 0, 1, 2),
    "copies in turn": copies(0, 1, 0, 1, 0, 1, 0),
    "two pairs, two alone": copies(0, 0, 1, 1, 2, 3),
    "all equal": copies(0, 0, 0, 0, 0, 0, 0),
    "two mirrored pairs": mirrored(2),
    "five mirrored pairs": mirrored(5),
    "one mirrored pair three times": mirrored(1, 3),
    "simplex of four": simplex(4),
    "simplex of five": simplex(5),
    "simplex of ten": simplex(10),
    "six rotations": rolled(6),
    "nine rotations": rolled(9),
    "pentagon": polygon(5),
    "octagon": polygon(8),
    "line through zero": line(-3, 3),
    "line of eight": line(1, 8),
    "two squares": two_squares,
    "box": corners,
    "half zero": half_zero,
}
"""Builders ``(d, seed) -> [n, d]`` by name."""
