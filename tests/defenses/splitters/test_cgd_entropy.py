"""CGD's two scores: worked numbers, planted flips, and the rules that aren't told how much is poisoned."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from defenses.base import SPLITTERS
from defenses.splitters.cgd_entropy import CgdEntropy
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import Labeled

RNG = torch.Generator()
SCORES = [0.1, 0.5, 0.2, 0.9, 0.4, 0.3, 0.8, 0.7, 0.6, 1.0]


class Says(nn.Module):
    """Gives each input the logits that were set for it: its first pixel is its number."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(logits, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.table[x.flatten(1)[:, 0].long()]


def surprised(scores: list[float], labels: Tensor) -> Tensor:
    """Logits of two classes whose -log p(label) are these."""
    p = torch.tensor(scores, dtype=torch.float64).neg().exp()
    both = torch.stack([p, 1 - p], dim=1).log()
    return torch.where(labels[:, None] == 0, both, both.flip(1))


def given(guide: list[float], labels: Tensor | None = None) -> tuple[Labeled, GuideTargets]:
    labels = torch.zeros(len(guide), dtype=torch.int64) if labels is None else labels
    inputs = torch.arange(float(len(guide)))[:, None]
    logits = surprised(guide, labels)
    return Labeled(inputs, labels), GuideTargets(logits, torch.eye(2).double(), logits)


def model(scores: list[float]) -> nn.Module:
    return Says(surprised(scores, torch.zeros(len(scores), dtype=torch.int64)))


def test_the_worked_sets() -> None:
    """Ranks .1 .5 .2 .9 .4 .3 .8 .7 .6 1.0 by the guide; the model ranks rows the other way round."""
    data, guide = given(SCORES)
    found = CgdEntropy(rule="sigmas").split(data, guide, model(SCORES[::-1]), RNG)
    assert found.scores["s_guide"].tolist() == pytest.approx(SCORES)
    assert found.scores["s_model"].tolist() == pytest.approx(SCORES[::-1], rel=1e-5)
    # r_model = 1.0 .6 .7 .8 .3 .4 .9 .2 .5 .1; clean: r_guide <= .8 and r_model >= .2; triggered: r_guide > .9
    assert found.clean.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert found.triggered.tolist() == [9]
    assert found.mixed.tolist() == [3]


def test_what_is_learned_first_is_triggered() -> None:
    data, guide = given([0.5] * 20)
    fast = model([0.001 * (i + 1) for i in range(20)])
    found = CgdEntropy(rule="sigmas").split(data, guide, fast, RNG)
    assert found.triggered.tolist() == [0], "rank .05 is below s_p = .1, rank .1 isn't"
    assert found.mixed.tolist() == [1, 2], "ranks .1 and .15 are below s_c = .2"


def test_the_thresholds_have_one_place_and_an_order() -> None:
    for s_p, s_c in ((0.2, 0.2), (0.3, 0.2)):
        with pytest.raises(ValidationError, match="must be below s_c"):
            CgdEntropy(s_p=s_p, s_c=s_c)
    data, guide = given([0.01 * (i + 1) for i in range(100)])
    for s_c in (0.15, 0.4):
        found = CgdEntropy(rule="sigmas", s_c=s_c, models=0).split(data, guide, None, RNG)
        assert len(found.clean) == round(100 * (1 - s_c))
        assert len(found.triggered) == 10


def test_sizes_where_both_ranks_are_independent() -> None:
    g = torch.Generator().manual_seed(0)
    data, guide = given((torch.rand(4000, generator=g) + 0.01).tolist())
    found = CgdEntropy(rule="sigmas").split(data, guide, model((torch.rand(4000, generator=g) + 0.01).tolist()), RNG)
    shares = [len(part) / 4000 for part in (found.clean, found.triggered, found.mixed)]
    assert shares == pytest.approx([0.64, 0.19, 0.17], abs=0.02)


def flipped(n: int = 400, share: float = 0.1, classes: int = 4) -> tuple[Labeled, GuideTargets, Tensor]:
    """A guide that sees the true class, and labels of which a share was changed to 0."""
    g = torch.Generator().manual_seed(1)
    true = torch.randint(0, classes, (n,), generator=g)
    flips = (torch.rand(n, generator=g) < share) & (true != 0)
    logits = 6.0 * torch.eye(classes)[true] + torch.randn(n, classes, generator=g)
    return (
        Labeled(torch.zeros(n, 1), torch.where(flips, 0, true)),
        GuideTargets(logits, torch.eye(classes), logits),
        flips,
    )


@pytest.mark.parametrize("rule", ["argmax", "otsu", "mixture", "gap", "share"])
def test_planted_flips_are_found_without_their_number(rule: str) -> None:
    data, guide, flips = flipped()
    found = CgdEntropy(rule=rule, models=0, share=0.12).split(data, guide, None, RNG)
    caught = torch.zeros(len(data), dtype=torch.bool)
    caught[found.triggered] = True
    assert float(caught[flips].double().mean()) > 0.9, "recall"
    assert float(caught[~flips].double().mean()) < 0.1
    assert found.facts["flagged"] == float(caught.sum())


@pytest.mark.parametrize("rule", ["sigmas", "otsu", "mixture", "gap", "share"])
def test_all_equal_scores_are_handled(rule: str) -> None:
    data, guide = given([0.7] * 12)
    found = CgdEntropy(rule=rule, models=0).split(data, guide, None, RNG)
    assert len(found.clean) == 12, "nobody stands out"


def test_the_scale_is_that_of_cosines_or_the_guide_s_own() -> None:
    cosines = torch.tensor([[0.3, 0.1], [0.2, 0.25]])
    guide = GuideTargets(torch.eye(2), torch.eye(2), 100.0 * cosines, 100.0)
    data = Labeled(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))
    for scale, factor in ((1.0, 1.0), (0.0, 100.0), (30.0, 30.0)):
        found = CgdEntropy(scale=scale, models=0).split(data, guide, None, RNG)
        expected = [math.log1p(math.exp(factor * (b - a))) for a, b in cosines.tolist()]
        assert found.scores["s_guide"].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rule", ["sigmas", "argmax", "otsu"])
def test_a_row_of_which_the_guide_says_nothing_is_never_clean(rule: str, bad: float) -> None:
    data, guide, _ = flipped(50, 0.0)
    logits = guide.logits.clone()
    logits[7, 1] = bad
    found = CgdEntropy(rule=rule, models=0).split(data, replace(guide, logits=logits), None, RNG)
    assert 7 in found.triggered.tolist()
    assert torch.isfinite(found.scores["s_guide"]).all()


def test_by_default_agreement_and_what_isn_t_learned_first_are_clean() -> None:
    data, guide, flips = flipped(100)
    losses = torch.linspace(0.01, 2.0, 100)  # rows 0 to 8 have ranks below s_p
    rows = torch.arange(100.0)[:, None]
    says = torch.stack([losses.neg().exp(), *[(1 - losses.neg().exp()) / 3] * 3], dim=1).log()
    swapped = torch.stack([says[i].roll(int(label)) for i, label in enumerate(data.labels)])
    found = CgdEntropy().split(Labeled(rows, data.labels), guide, Says(swapped), RNG)
    agrees = guide.logits.argmax(1) == data.labels
    assert found.clean.tolist() == (agrees & (torch.arange(100) >= 9)).nonzero().flatten().tolist()
    assert found.triggered.tolist() == (~agrees).nonzero().flatten().tolist()
    assert bool(flips.any())


def test_it_asks_for_what_it_needs() -> None:
    fresh = CgdEntropy().needs.fresh
    assert fresh is not None
    assert (fresh.count, fresh.epochs, fresh.optimiser, fresh.lr, fresh.weight_decay) == (3, 5, "adam", 3e-4, 5e-4)
    assert CgdEntropy(models=0).needs.fresh is None
    assert SPLITTERS["cgd-entropy"] is CgdEntropy
    data, guide = given(SCORES)
    with pytest.raises(ValueError, match="what the guide says"):
        CgdEntropy(models=0).split(data, None, None, RNG)
    with pytest.raises(ValueError, match="freshly trained"):
        CgdEntropy(rule="sigmas").split(data, guide, None, RNG)


@pytest.mark.parametrize("rule", ["sigmas", "argmax", "otsu", "gap", "share"])
def test_a_sample_without_label_is_suspected(rule: str) -> None:
    """What the classic attack leaves in the data of distillation: nothing can be said for it."""
    data, guide = given([0.1, 0.2, 0.15, 2.0, 0.12, 0.11, 0.18, 0.13])
    labels = data.labels.clone()
    labels[3] = -1
    found = CgdEntropy(rule=rule, models=0, share=0.2).split(Labeled(data.inputs, labels), guide, None, RNG)
    assert 3 in found.triggered.tolist()
