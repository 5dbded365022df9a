"""A pattern trained on a model whose answers can be worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.support.universal_pattern import added, patched, universal_pattern
from tests.support.tiny_task import generator

MASK = torch.zeros(1, 4, 4, dtype=torch.bool)
MASK[:, :2, :2] = True
SLOPE = torch.tensor([[1.0, -1.0], [-2.0, 3.0]])
"""How much each pixel of the square speaks for class 1."""


def answers(x: Tensor) -> Tensor:
    """Class 1 by the square's pixels, class 0 by nothing."""
    speaks = (x[:, 0, :2, :2] * SLOPE).sum((1, 2))
    return torch.stack([torch.zeros_like(speaks), speaks], 1)


def trained(put, bounds: tuple[float, float], steps: int = 60) -> Tensor:  # type: ignore[no-untyped-def]
    images = torch.full((6, 1, 4, 4), 0.5)
    middle = torch.full((1, 4, 4), sum(bounds) / 2)
    return universal_pattern(
        answers, images, middle, put, 1, bounds=bounds, steps=steps, lr=0.1, batch_size=4, rng=generator()
    )


def test_a_patch_goes_to_the_ends_that_its_pixels_speak_for() -> None:
    made = trained(patched(MASK), (0.0, 1.0))
    assert made[0, :2, :2].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert bool((made[~MASK] == 0.5).all()), "no gradient reaches other pixels"
    assert not made.requires_grad
    shown = patched(MASK)(torch.zeros(2, 1, 4, 4), made)
    assert shown.sum().item() == 4.0, "two white pixels on each of two images, none elsewhere"


def test_what_is_added_stays_within_its_bounds_and_images_within_theirs() -> None:
    made = trained(added(MASK), (-0.25, 0.25))
    assert made[0, :2, :2].tolist() == [[0.25, -0.25], [-0.25, 0.25]]
    shown = added(MASK)(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4), made)
    assert shown[:, 0, :2, :2].tolist() == [[[0.25, 0.0], [0.0, 0.25]], [[1.0, 0.75], [0.75, 1.0]]]
    assert shown[0, 0, 2:].sum().item() == 0.0


def test_no_step_and_no_image_leave_the_start_as_it_is() -> None:
    assert torch.equal(trained(patched(MASK), (0.0, 1.0), steps=0), torch.full((1, 4, 4), 0.5))
    start = torch.rand(1, 4, 4, generator=generator())
    nothing = torch.zeros(0, 1, 4, 4)
    made = universal_pattern(
        answers, nothing, start, patched(MASK), 1, bounds=(0.0, 1.0), steps=5, lr=0.1, batch_size=4, rng=generator()
    )
    assert torch.equal(made, start)
