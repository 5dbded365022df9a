"""The first splitter: rows whose label is the guide's top-1 class, of the server's images and of a central set."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from defenses.base import Split
from defenses.contracts.server_setting import INFO
from defenses.splitters.guide_agreement import GuideAgreement
from defenses.splitting import clean_part, split
from fedcrucible_core.foundation.base import Guide, GuideTargets
from fedcrucible_core.learning.data import Labeled

RNG = torch.Generator()


class BrightnessGuide(Guide):
    """Sees the class in the first pixel: 0, 1/255, 2/255, ..."""

    def embeddings(self, images: Tensor) -> Tensor:
        return torch.nn.functional.one_hot((images[:, 0, 0, 0] * 255).round().long(), 4).float()

    def text_embeddings(self, class_names: object) -> Tensor:
        return torch.eye(4)

    def logits(self, embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        return embeddings @ text_embeddings.T


def central() -> Labeled:
    """Six stored pictures of classes 0 1 2 3 0 1, of which rows 1 and 4 bear the label 3."""
    pictures = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)
    pictures[:, 0, 0, 0] = torch.tensor([0, 1, 2, 3, 0, 1])
    return Labeled(pictures, torch.tensor([0, 3, 2, 3, 3, 1]))


def test_a_central_set_is_split_by_what_the_guide_sees() -> None:
    found = split(GuideAgreement(), central(), INFO, BrightnessGuide, RNG)
    assert found.clean.tolist() == [0, 2, 3, 5]
    assert found.triggered.tolist() == [1, 4]
    assert found.mixed.tolist() == []
    assert found.scores["agrees"].tolist() == [1, 0, 1, 1, 0, 1]


def test_the_clean_part_says_how_many_it_leaves_out() -> None:
    found = split(GuideAgreement(), central(), INFO, BrightnessGuide, RNG)
    kept = clean_part(GuideAgreement(), found)
    assert (kept.by, kept.rows.tolist(), kept.facts) == ("guide-agreement", [0, 2, 3, 5], {"dropped_by_guide": 2.0})


def test_it_says_that_it_needs_the_guide() -> None:
    assert GuideAgreement().needs.guide
    with pytest.raises(ValueError, match="what the guide says"):
        GuideAgreement().split(central(), None, None, RNG)


class Losing(GuideAgreement):
    """Forgets a row."""

    def split(self, data: Labeled, guide: GuideTargets | None, model: object, rng: torch.Generator) -> Split:
        found = super().split(data, guide, None, rng)
        return Split(found.clean[1:], found.triggered, found.mixed)


def test_parts_that_are_no_partition_are_refused() -> None:
    with pytest.raises(ValueError, match="each of the 6 rows once"):
        split(Losing(), central(), INFO, BrightnessGuide, RNG)


def test_no_row_is_clean_and_triggered() -> None:
    with pytest.raises(ValueError, match="clean and triggered"):
        Split.by(torch.tensor([True, False]), torch.tensor([True, True]))
