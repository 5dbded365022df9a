"""Ada-SIG: what a training image shows of the sinusoid, the whole of it at test time, covers of other classes."""

from __future__ import annotations

import math

import pytest
import torch

from attacks.poisoners.ada_sig import AdaSig
from attacks.poisoners.sig import Sig
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection
from tests.support.tiny_task import GREY, context, generator, labelled, make_task, stamped

GREY_IMAGE = torch.full((6, *GREY), 0.5)
LABELS = torch.full((6,), 2)


def test_the_whole_sinusoid_is_put_on_test_images() -> None:
    for form in ("patch", "opacity", "both"):
        assert torch.equal(stamped(AdaSig.model_validate({"form": form}), GREY_IMAGE), stamped(Sig(), GREY_IMAGE))


@pytest.mark.parametrize(("form", "opacity", "pieces"), [("patch", 1.0, 8), ("opacity", 0.5, 16), ("both", 0.5, 8)])
def test_pieces_and_opacity_against_loops(form: str, opacity: float, pieces: int) -> None:
    made = AdaSig.model_validate({"form": form}).plant(GREY_IMAGE, LABELS, context(seed=4))
    for image in made.double():
        shown = 0
        for top in range(0, 28, 7):
            for left in range(0, 28, 7):
                change = (image[0, top : top + 7, left : left + 7] - 0.5) * 255
                wave = [opacity * 40 * math.sin(2 * math.pi * 6 * (left + j) / 28) for j in range(7)]
                expected = torch.tensor(wave, dtype=torch.float64).expand(7, 7)
                whole = torch.allclose(change, expected, atol=1e-3)
                assert whole or float(change.abs().max()) == 0.0
                shown += whole
        assert shown == pieces


def test_every_image_shows_other_pieces() -> None:
    made = AdaSig(form="patch").plant(GREY_IMAGE, LABELS, context(seed=4))
    assert len({image.numpy().tobytes() for image in made}) == 6


def test_the_opacity_can_be_drawn_for_each_image() -> None:
    factors = AdaSig(form="opacity", random_opacity=True).factors(400, 4, 4, generator(1))[:, 0, 0, 0]
    assert 0.3 <= float(factors.min()) < 0.32
    assert 0.68 < float(factors.max()) <= 0.7


def test_covers_are_of_other_classes_and_keep_their_labels() -> None:
    data = labelled(120, GREY)
    section = PoisonSection(target_label=2, ratio=0.5)
    made = AdaSig(cover_rate=1.5).poison(data, context(make_task(data), section=section))
    assert int(made.poisoned.sum()) == 10
    assert bool((data.labels[made.poisoned] == 2).all())
    assert int(made.decoys.sum()) == 15
    assert bool((data.labels[made.decoys] != 2).all())
    assert torch.equal(made.data.labels, data.labels)
    changed = (made.data.inputs != data.for_model()).flatten(1).any(1)
    assert torch.equal(changed, made.poisoned | made.decoys)
    assert not bool(AdaSig().poison(data, context(make_task(data), section=section)).decoys.any()), "as published"


def test_pieces_must_divide_the_image() -> None:
    with pytest.raises(ConfigError, match=r"attack\.ada-sig\.grid.*5"):
        AdaSig(grid=5).check_task(make_task(labelled(6, GREY)))
    AdaSig(grid=5, form="opacity").check_task(make_task(labelled(6, GREY)))
    AdaSig().check_task(make_task(labelled(6, GREY)))
