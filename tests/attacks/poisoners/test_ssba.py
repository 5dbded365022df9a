"""The hidden key: sizes of the networks, bounds of the change, another residual for every image and key."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import PoisonContext
from attacks.poisoners.ssba import ENCODER, KEY, Ssba
from attacks.support.steganography import Decoder, Encoder
from tests.support.tiny_task import COLOUR, GREY, context, generator, labelled, make_task

QUICK = Ssba(epochs=1, samples=16, batch_size=8)


@pytest.fixture(scope="module")
def prepared() -> PoisonContext:
    task = make_task(labelled(24, GREY))
    return replace(context(task, None), artefact=QUICK.prepare(task, generator(1)))


def reference(weights: dict[str, Tensor], x: Tensor, key: Tensor, strength: float) -> Tensor:
    """The encoder layer by layer in float64, then the sum, clipped and rounded to grey levels."""
    w = {name.removeprefix(f"{ENCODER}."): tensor.double() for name, tensor in weights.items()}
    made = []
    for image in x.double():
        secret = (w["secret.weight"] @ key.double() + w["secret.bias"]).clamp(min=0.0).view(1, 8, 7, 7)
        secret = secret.repeat_interleave(4, 2).repeat_interleave(4, 3)
        fine = F.conv2d(torch.cat([image[None], secret], 1), w["enter.weight"], w["enter.bias"], padding=1).relu()
        coarse = F.conv2d(fine, w["down.weight"], w["down.bias"], stride=2, padding=1).relu()
        coarse = F.conv2d(coarse, w["inner.weight"], w["inner.bias"], padding=1).relu()
        joined = torch.cat([fine, coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)], 1)
        up = F.conv2d(joined, w["up.weight"], w["up.bias"], padding=1).relu()
        residual = torch.tanh(F.conv2d(up, w["out.weight"], w["out.bias"]))
        made.append((image + strength / 255 * residual[0]).clamp(0.0, 1.0))
    return (torch.stack(made) * 255).round() / 255


def test_networks_have_the_published_sizes() -> None:
    count = [sum(p.numel() for p in net.parameters()) for net in (Encoder(GREY, 16), Decoder(GREY, 16))]
    assert count == [28_809, 22_352]


def test_against_the_reference(prepared: PoisonContext) -> None:
    x = prepared.task.train.for_model()[:4]
    made = QUICK.stamp(x, torch.zeros(4, dtype=torch.int64), prepared)
    tensors = prepared.artefact.tensors
    expected = reference(dict(tensors.items() - {(KEY, tensors[KEY])}), x, tensors[KEY], 8.0)
    off = (made.double() - expected).abs() * 255
    assert float(off.max()) <= 1.001, "rounding may fall on the other side"
    assert float((off > 0.5).double().mean()) < 0.001


def test_the_change_is_bounded_whole_and_another_for_every_image(prepared: PoisonContext) -> None:
    x, y = prepared.task.train.for_model(), prepared.task.train.labels
    residual = (QUICK.stamp(x, y, prepared) - x) * 255
    assert float(residual.abs().max()) <= 8.001
    assert torch.allclose(residual, residual.round(), atol=1e-3), "stored images stay whole grey levels"
    assert len({image.round().numpy().tobytes() for image in residual}) == len(x)


def test_another_key_gives_another_residual(prepared: PoisonContext) -> None:
    tensors = dict(prepared.artefact.tensors)
    assert set(tensors[KEY].unique().tolist()) <= {0.0, 1.0}
    other = replace(prepared, artefact=Artefact({**tensors, KEY: 1.0 - tensors[KEY]}))
    x, y = prepared.task.train.for_model(), prepared.task.train.labels
    assert bool((QUICK.stamp(x, y, prepared) != QUICK.stamp(x, y, other)).flatten(1).any(1).all())


def test_the_image_counts_only_after_a_while() -> None:
    assert [Ssba().image_weight_at(step) for step in (0, 150, 300, 450, 9999)] == [0.0, 0.0, 10.0, 20.0, 20.0]


def test_training_makes_bits_readable() -> None:
    task = make_task(labelled(64, (1, 8, 8)))
    few = {"bits": 4, "strength": 64.0, "samples": 48, "batch_size": 16, "lr": 0.01}
    facts = [Ssba.model_validate({**few, "epochs": epochs}).prepare(task, generator(2)).facts for epochs in (1, 25)]
    before, after = (float(found["bits_read_back_percent"]) for found in facts)
    assert after > 90.0 > before


def test_colour_images_work_too() -> None:
    task = make_task(labelled(12, COLOUR))
    ctx = replace(context(task, None), artefact=QUICK.prepare(task, generator(1)))
    assert QUICK.stamp(task.train.for_model(), task.train.labels, ctx).shape == (12, *COLOUR)
