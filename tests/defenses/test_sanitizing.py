"""What sanitizers do with flagged samples, and what they say of survivors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from defenses.base import Split
from defenses.sanitizing import FATES, Action, sanitized, unsanitized
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import Provenance, Samples
from fedcrucible_core.foundation.server_data import require_classes
from fedcrucible_core.learning.data import DataInfo, Labeled

LABELS = torch.tensor([0, 1, 2, 0, 0, 0, 0, 1])
POISONED = torch.tensor([False, False, False, False, True, True, True, False])
FLAGGED = torch.tensor([False, False, False, True, True, True, False, True])
LOGITS = torch.tensor(
    [[9, 0, 0], [0, 9, 0], [0, 0, 9], [1, 2, 0], [0, 5, 1], [0, 1, 8], [0, 9, 0], [2, 1, 0]], dtype=torch.float32
)
"""Margins of the flagged rows 3, 4, 5, 7: 1, 4, 7, 1; their median (of four, the lower middle one) is 1."""
INFO = DataInfo("three", ("a", "b", "c"), (1, 2, 2), (0.5,), (0.5,))


def samples(poisoned: Tensor | None = POISONED) -> Samples:
    inputs = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 2, 2) / 8
    return Samples(Labeled(inputs, LABELS), tuple(Provenance("x", "", i) for i in range(8)), poisoned)


def split() -> Split:
    mixed = torch.tensor([False] * 7 + [True])
    return Split.by(~FLAGGED, FLAGGED & ~mixed)


def fates(action: Action) -> list[str]:
    found = sanitized(samples(), split(), action, LOGITS)
    assert found.fates is not None
    return [FATES[fate] for fate in found.fates.tolist()]


def test_dropping_leaves_out_what_is_not_clean() -> None:
    found = sanitized(samples(), split(), "drop")
    assert found.data.labels.tolist() == [0, 1, 2, 0]
    assert found.data.inputs[:, 0, 0, 0].tolist() == [0.0, 1 / 8, 2 / 8, 6 / 8]
    assert not bool(found.unlearned.any())
    facts = {name: found.facts[name] for name in ("flagged", "dropped", "poisoned", "survivors")}
    assert facts == {"flagged": 4.0, "dropped": 4.0, "poisoned": 3.0, "survivors": 1.0}
    assert found.facts["caught_percent"] == pytest.approx(200 / 3)
    assert found.facts["clean_dropped_percent"] == pytest.approx(200 / 5)


def test_relabelling_goes_by_the_guide() -> None:
    found = sanitized(samples(), split(), "relabel", LOGITS)
    assert found.data.labels.tolist() == [0, 1, 2, 1, 1, 2, 0, 0]
    assert found.facts["survivors"] == 1.0
    assert found.facts["clean_dropped_percent"] == 0.0


def test_only_the_surest_half_is_relabelled() -> None:
    assert fates("relabel-confident") == ["kept"] * 3 + ["dropped", "relabelled", "relabelled", "kept", "dropped"]
    assert sanitized(samples(), split(), "relabel-confident", LOGITS).data.labels.tolist() == [0, 1, 2, 1, 2, 0]


def test_a_poisoned_sample_relabelled_as_before_survives() -> None:
    logits = LOGITS.clone()
    logits[4] = torch.tensor([50.0, 0.0, 0.0])
    assert sanitized(samples(), split(), "relabel", logits).facts["survivors"] == 2.0


def test_what_is_unlearned_stays_and_is_marked() -> None:
    found = sanitized(samples(), split(), "unlearn")
    assert len(found) == 8
    assert torch.equal(found.unlearned, FLAGGED)
    assert found.facts["survivors"] == 1.0


def test_the_splits_own_classes_go_before_the_guides() -> None:
    own = Split.by(~FLAGGED, FLAGGED)
    own = Split(own.clean, own.triggered, own.mixed, logits=torch.tensor([[0.0, 0.0, 1.0]]).repeat(8, 1))
    assert sanitized(samples(), own, "relabel", LOGITS).data.labels.tolist() == [0, 1, 2, 2, 2, 2, 0, 2]


def test_without_anybody_who_knows_classes_nothing_is_relabelled() -> None:
    with pytest.raises(ValueError, match="relabel"):
        sanitized(samples(), split(), "relabel")


@pytest.mark.parametrize("action", ["drop", "relabel", "relabel-confident", "unlearn", "none"])
def test_a_set_of_clean_rows_stays_whole(action: Action) -> None:
    nothing = Split.by(torch.ones(8, dtype=torch.bool), torch.zeros(8, dtype=torch.bool))
    found = sanitized(samples(), nothing, action, LOGITS)
    assert found.data.equals(samples().data)
    assert not bool(found.unlearned.any())


def test_untouched_data_says_how_many_are_poisoned() -> None:
    assert unsanitized(samples()).facts == {"poisoned": 3.0, "survivors": 3.0}
    assert unsanitized(samples(None)).facts == {}


def test_a_class_that_loses_all_is_named() -> None:
    with pytest.raises(ConfigError, match="no sample of b, c"):
        require_classes(torch.tensor([0, -1]), INFO, "loss-only", "sample")


@pytest.mark.parametrize("action", ["relabel", "relabel-confident"])
def test_a_guide_that_says_nothing_relabels_nothing(action: Action) -> None:
    """Class 0, what argmax makes of NaN, is the attacker's: row 4 would survive."""
    logits = LOGITS.clone()
    logits[4] = torch.nan
    found = sanitized(samples(), split(), action, logits)
    assert found.fates is not None
    assert FATES[int(found.fates[4])] == "dropped"
    assert FATES[int(found.fates[5])] == "relabelled", "others are relabelled as before"
    assert found.facts["survivors"] == 1.0


def test_a_share_of_nothing_is_no_share() -> None:
    none, every = torch.zeros(8, dtype=torch.bool), torch.ones(8, dtype=torch.bool)
    facts = sanitized(samples(none), split(), "drop").facts
    assert "caught_percent" not in facts
    assert (facts["poisoned"], facts["clean_dropped_percent"]) == (0.0, 50.0)
    facts = sanitized(samples(every), split(), "drop").facts
    assert "clean_dropped_percent" not in facts
    assert facts["caught_percent"] == 50.0
