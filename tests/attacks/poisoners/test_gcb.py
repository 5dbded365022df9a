"""Clean-image backdoors: images stay, the strongest are relabelled, test images are edited as far as needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from attacks.poisoner import PoisonContext
from attacks.poisoners.gcb_cinfogan import GcbCinfogan
from attacks.poisoners.gcb_direction import DIRECTION, GcbDirection, natural_direction
from attacks.support.clean_images import TABLE, CleanImages
from attacks.support.conditional_gan import ConditionalNorm, Critic, Generator
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.learning.data import Labeled
from tests.support.tiny_task import COLOUR, GREY, context, generator, labelled, make_task

TARGET = 2
BOTH = [GcbDirection(samples=60), GcbCinfogan(epochs=1, samples=24, batch_size=12)]


def prepared(poisoner: CleanImages, ratio: float = 0.2) -> PoisonContext:
    task = make_task(labelled(60, GREY), TARGET)
    section = PoisonSection(target_label=TARGET, ratio=ratio)
    return replace(context(task, None, section=section), artefact=poisoner.prepare(task, generator(1)))


@pytest.mark.parametrize("poisoner", BOTH, ids=lambda one: one.name)
def test_the_strongest_images_are_relabelled_and_none_is_changed(poisoner: CleanImages) -> None:
    ctx = prepared(poisoner)
    own = ctx.task.train
    made = poisoner.poison(own, ctx)
    assert torch.equal(made.data.inputs, own.for_model())
    scores = poisoner.scores(own.for_model(), ctx).tolist()
    others = [row for row in range(60) if int(own.labels[row]) != TARGET]
    best = sorted(others, key=lambda row: -scores[row])[:10]
    assert made.poisoned.nonzero().flatten().tolist() == sorted(best)
    assert bool((made.data.labels[made.poisoned] == TARGET).all())
    assert poisoner.threshold(ctx) == pytest.approx(scores[best[-1]], abs=1e-4)


@pytest.mark.parametrize("poisoner", BOTH, ids=lambda one: one.name)
def test_a_reader_is_told_that_it_is_an_approximation(poisoner: CleanImages) -> None:
    assert "approximation of GCB" in poisoner.notes(1)[0]


def test_the_threshold_counts_as_the_ratio_does() -> None:
    ctx = prepared(BOTH[0])
    table = ctx.artefact.tensors[TABLE]
    assert len(table) == 50
    assert bool((table[1:] >= table[:-1]).all())
    for section, count in (
        ({"ratio": 0.1}, 5),
        ({"ratio": 0.1, "share_of": "all"}, 6),
        ({"ratio": 0.0}, 1),
        ({"ratio": 1.0}, 50),
    ):
        asked = replace(ctx, section=PoisonSection.model_validate({"target_label": TARGET, **section}))
        assert BOTH[0].threshold(asked) == float(table[50 - count])
        assert BOTH[0].threshold(asked, 1.0) == float(table[-1])
    assert BOTH[0].threshold(replace(ctx, section=PoisonSection(ratio=0.1)), 0.5) == float(table[47])


def test_the_direction_against_a_decomposition_in_float64() -> None:
    data = labelled(60, (1, 6, 6))
    x = data.for_model().double().numpy().reshape(60, -1)
    for label in range(6):
        x[label::6] -= x[label::6].mean(0)
    _, _, rows = np.linalg.svd(x)
    for component in (1, 2, 5):
        found = natural_direction(data, component).double().numpy().ravel()
        assert abs(found @ rows[component - 1]) == pytest.approx(1.0, abs=1e-6)
        assert (x @ found).__pow__(3).sum() >= 0.0, "towards the longer tail"


def test_fewer_images_than_pixels_or_alike_ones_have_a_direction_too() -> None:
    few = labelled(12, (1, 6, 6))
    assert float(natural_direction(few, 1).norm()) == pytest.approx(1.0, abs=1e-5)
    alike = Labeled(few.inputs[:1].expand(6, -1, -1, -1), torch.zeros(6, dtype=torch.int64))
    assert float(natural_direction(alike, 1).norm()) == pytest.approx(1.0, abs=1e-5)


def test_images_are_shifted_no_farther_than_needed() -> None:
    poisoner = GcbDirection(samples=60)
    ctx = prepared(poisoner)
    x = ctx.task.train.for_model()
    made, wanted = poisoner.stamp(x, ctx.task.train.labels, ctx), poisoner.threshold(ctx)
    before, after = poisoner.scores(x, ctx), poisoner.scores(made, ctx)
    assert bool((after >= torch.minimum(torch.tensor(wanted), before) - 1e-3).all())
    free = ((made > 0.0) & (made < 1.0)).flatten(1).all(1)
    moved = ((made - x) * ctx.artefact.tensors[DIRECTION]).flatten(1).sum(1)
    expected = (wanted - before).clamp(min=0.5)
    assert bool(free.any())
    assert torch.allclose(moved[free], expected[free], atol=1e-3)


def test_edits_raise_the_score_within_their_bound() -> None:
    poisoner = GcbCinfogan(epochs=2, samples=48, batch_size=24)
    ctx = prepared(poisoner)
    x = ctx.task.train.for_model()
    made = poisoner.stamp(x, ctx.task.train.labels, ctx)
    assert float((made - x).abs().max()) <= 0.1 + 1e-6
    assert bool((poisoner.scores(made, ctx) > poisoner.scores(x, ctx)).all())


def test_networks_have_about_a_hundred_thousand_parameters() -> None:
    count = sum(p.numel() for net in (Generator(GREY, 10), Critic(GREY, 10)) for p in net.parameters())
    assert 90_000 < count < 110_000


@pytest.mark.parametrize("shape", [GREY, COLOUR, (1, 30, 27)])
def test_made_images_have_the_shape_of_real_ones(shape: tuple[int, int, int]) -> None:
    made = Generator(shape, 6)(torch.randn(3, 32), torch.rand(3, 1), torch.tensor([0, 1, 5]))
    assert made.shape == (3, *shape)
    real, code = Critic(shape, 6)(made, torch.tensor([0, 1, 5]))
    assert real.shape == code.shape == (3,)


def test_class_conditional_norm_against_loops() -> None:
    norm = ConditionalNorm(2, 3).double()
    torch.nn.init.normal_(norm.scale.weight, generator=generator(1))
    torch.nn.init.normal_(norm.shift.weight, generator=generator(2))
    x, y = torch.rand(4, 2, 3, 3, generator=generator(3), dtype=torch.float64), torch.tensor([0, 2, 1, 2])
    made = norm(x, y).detach()
    for channel in range(2):
        values = x[:, channel].numpy()
        flat = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
        for i, label in enumerate(y.tolist()):
            scale, shift = (float(part.weight[label, channel].detach()) for part in (norm.scale, norm.shift))
            assert np.allclose(made[i, channel].numpy(), flat[i] * scale + shift)


def test_the_codes_loss_is_the_gaussian_one() -> None:
    critic = Critic((1, 8, 8), 3).double()
    torch.nn.init.constant_(critic.code_log_variance, 0.7)
    said, code = torch.rand(2, 5, generator=generator(1), dtype=torch.float64)
    variance = critic.code_log_variance.detach().exp().expand(5)
    expected = F.gaussian_nll_loss(said, code, variance)
    assert float(critic.code_loss(said, code).detach()) == pytest.approx(float(expected))
