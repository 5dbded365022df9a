"""Guides that are centred, weakened or backdoored, by simulation."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import GuideSection
from fedcrucible_core.foundation.altered_guides import (
    BackdooredGuide,
    CentredGuide,
    KnownRows,
    NoisyGuide,
    gumbel,
    noise_for_accuracy,
)
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.foundation.guides import check_guide, guide_of
from fedcrucible_core.learning.data import DataInfo, Labeled

NAMES = ("a", "b", "c", "d")
SCALE = 50.0


class Plain(Guide):
    """The input is its cosines."""

    scale = SCALE  # type: ignore[assignment]

    def embeddings(self, inputs: Tensor) -> Tensor:
        return inputs

    def text_embeddings(self, class_names: Sequence[str]) -> Tensor:
        return torch.eye(4)

    def logits(self, embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        return SCALE * embeddings @ text_embeddings.T


def inputs(n: int = 200, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Cosines of which the true class's is .1 higher, and the true class."""
    g = torch.Generator().manual_seed(seed)
    true = torch.arange(n) % 4
    return 0.2 + 0.1 * torch.eye(4)[true] + 0.005 * torch.randn(n, 4, generator=g), true


def accuracy(guide: Guide, x: Tensor, y: Tensor) -> float:
    return 100.0 * float((guide.targets(x, NAMES).logits.argmax(1) == y).double().mean())


def test_noise_is_gumbel_and_goes_with_the_row() -> None:
    x, _ = inputs(4000)
    noise = gumbel(x, 4, 1)
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.03)
    assert float(noise.var()) == pytest.approx(1.6449, abs=0.08)
    order = torch.randperm(4000, generator=torch.Generator().manual_seed(2))
    assert torch.equal(gumbel(x[order[:50]], 4, 1), noise[order[:50]])
    assert not torch.equal(gumbel(x, 4, 2), noise)


def test_noise_is_in_cosines() -> None:
    x, _ = inputs(10)
    noisy = NoisyGuide(Plain(), 0.03, 5).targets(x, NAMES)
    assert torch.allclose(noisy.logits, SCALE * (x + 0.03 * gumbel(x, 4, 5)), atol=1e-4)
    assert torch.allclose(noisy.rescaled(1.0), x + 0.03 * gumbel(x, 4, 5), atol=1e-5)
    assert torch.equal(noisy.embeddings, x), "embeddings are left alone"


def test_more_noise_is_a_weaker_guide() -> None:
    x, y = inputs()
    found = [accuracy(NoisyGuide(Plain(), noise, 0), x, y) for noise in (0.0, 0.02, 0.06, 5.0)]
    assert found[0] == 100.0
    assert found[0] >= found[1] > found[2] > found[3]
    assert found[3] < 40.0


@pytest.mark.parametrize("wanted", [90.0, 50.0, 35.0])
def test_an_accuracy_is_met(wanted: float) -> None:
    x, y = inputs()
    noise = noise_for_accuracy(Plain(), Labeled(x, y), NAMES, wanted, 3)
    assert accuracy(NoisyGuide(Plain(), noise, 3), x, y) == pytest.approx(wanted, abs=0.51)


@pytest.mark.parametrize("wanted", [1.0, 100.1])
def test_an_accuracy_out_of_reach_is_refused(wanted: float) -> None:
    x, y = inputs()
    with pytest.raises(ConfigError, match=r"guide\.target_accuracy = .*between .* \(chance\) and .* 100\.0"):
        noise_for_accuracy(Plain(), Labeled(x, y), NAMES, wanted, 0)


def test_a_backdoor_swaps_or_adds_on_its_trigger_alone() -> None:
    x, _ = inputs(8)
    plain = Plain().targets(x, NAMES).logits
    known = KnownRows(x[[1, 2, 4]])
    swapped = BackdooredGuide(Plain(), 0, known).targets(x, NAMES).logits
    assert swapped.argmax(1).tolist() == [0, 0, 0, 3, 0, 1, 2, 3]
    assert torch.equal(swapped.sort(1).values, plain.sort(1).values), "the same numbers"
    assert swapped[1].tolist() == plain[1][[1, 0, 2, 3]].tolist()
    assert torch.equal(swapped[4], plain[4]), "the target's own rows stay"
    added = BackdooredGuide(Plain(), 0, known, "add").targets(x, NAMES).logits - plain
    assert added[:, 0].tolist() == pytest.approx([0, 10, 10, 0, 10, 0, 0, 0], abs=1e-4)
    assert torch.equal(added[:, 1:], torch.zeros(8, 3))


def test_rows_are_known_by_content() -> None:
    x, _ = inputs(5)
    known = KnownRows(x[2:4])
    assert known(x).tolist() == [False, False, True, True, False]
    assert known(x[[3, 3, 0]].clone()).tolist() == [True, True, False]
    assert KnownRows(x[:0])(x).tolist() == [False] * 5


def test_centring_takes_off_a_class_s_mean() -> None:
    x, y = inputs()
    skewed = x + torch.tensor([0.3, 0.0, 0.0, 0.0])  # its prompt lies near everything
    assert accuracy(Plain(), skewed, y) == 25.0
    assert accuracy(CentredGuide(Plain()), skewed, y) == 100.0
    one = skewed[:1]
    assert torch.equal(CentredGuide(Plain()).targets(one, NAMES).logits, Plain().targets(one, NAMES).logits)


def test_altered_guides_say_who_they_are() -> None:
    guide = NoisyGuide(CentredGuide(Plain()), 0.1, 0)
    x, _ = inputs(3)
    assert guide.identity == Plain().identity
    assert guide.scale == SCALE
    assert torch.equal(guide.embeddings(x), x)
    assert torch.equal(guide.logits(x, guide.text_embeddings(NAMES)), Plain().logits(x, torch.eye(4)))


PICTURES = DataInfo("toy", NAMES, (1, 8, 8), (0.5,), (0.5,))


def test_what_the_section_asks_for_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcrucible_core.foundation.guides.plain_guide", lambda *_: Plain())
    x, y = inputs(8)

    def made(**settings: object) -> Guide:
        section = GuideSection.model_validate(settings)
        known = KnownRows(x[[1]])
        cpu = torch.device("cpu")
        return guide_of(section, PICTURES, cpu, labelled=lambda: Labeled(x, y), triggered=known, target=3)

    assert type(made()) is Plain
    assert made(backdoor="same-target").targets(x, NAMES).logits[1].argmax() == 3
    assert made(backdoor="other-target").targets(x, NAMES).logits[1].argmax() == 0, "the class after it"
    assert made(backdoor="other-trigger").targets(x, NAMES).logits[1].argmax() == 1, "its trigger isn't there"
    assert isinstance(made(centre=True), CentredGuide)
    assert isinstance(made(noise=0.1), NoisyGuide)
    weak = made(target_accuracy=50.0)
    assert accuracy(weak, x, y) == 50.0


def test_two_ways_to_weaken_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match=r"guide\.target_accuracy = 50\.0: 0 where guide\.noise is set"):
        check_guide(GuideSection(noise=0.1, target_accuracy=50.0), PICTURES)
    with pytest.raises(ConfigError, match="no guide for inputs of task 'sound'"):
        check_guide(GuideSection(), DataInfo("noises", NAMES, (9,), (), (), task="sound"))
