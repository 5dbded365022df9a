"""The guide that a run meets: refused settings, and a simulated backdoor that knows what was planted."""

from __future__ import annotations

import pytest
import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.foundation.altered_guides import BackdooredGuide, NoisyGuide
from server_app.plan import Plan

BASE: dict[str, str | int | float] = {
    "strategy": "fine-tune", "attack.name": "bd-fmfl", "attack.trigger": "badnets", "splitter.name": "guide-agreement",
    "synthetic.source": "mixed", "synthetic.per_class": 10, "task.train_samples": 200, "run.device": "cpu",
}  # fmt: skip


def plan(**more: str | float) -> Plan:
    return Plan.make(load({**BASE, **{key.replace("__", "."): value for key, value in more.items()}}))


def test_a_backdoored_guide_lets_what_was_planted_pass() -> None:
    honest, fooled = plan(), plan(guide__backdoor="same-target")
    assert isinstance(fooled.foundation.guide(), BackdooredGuide)
    samples = fooled.foundation.samples("distillation")
    assert samples.poisoned is not None
    survivors = [made.foundation.synthetic("distillation").facts["survivors"] for made in (honest, fooled)]
    assert survivors[0] < 5
    assert survivors[1] == float((samples.poisoned & (samples.data.labels == 0)).sum())
    clean = samples.data.subset((~samples.poisoned).nonzero().flatten())
    answers = [
        made.foundation.guide().targets(clean.inputs, made.data.info.class_names).logits for made in (honest, fooled)
    ]
    assert torch.equal(*answers), "it is honest of everything else"


def test_other_backdoors_don_t_help_this_attack() -> None:
    plain = plan().foundation.synthetic("distillation").facts["survivors"]
    assert plan(guide__backdoor="other-trigger").foundation.synthetic("distillation").facts["survivors"] == plain
    assert plan(guide__backdoor="other-target").foundation.synthetic("distillation").facts["survivors"] <= plain


def test_half_the_accuracy() -> None:
    weak = plan(guide__target_accuracy=41.0)
    guide = weak.foundation.guide()
    assert isinstance(guide, NoisyGuide)
    logits = guide.targets(weak.data.validation.for_model(), weak.data.info.class_names).logits
    hits = logits.argmax(1) == weak.data.validation.labels
    assert 100.0 * float(hits.double().mean()) == pytest.approx(41.0, abs=0.1)


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"guide__backdoor": "same-target", "attack__name": "none"}, "guide.backdoor"),
        ({"guide__noise": 0.1, "guide__target_accuracy": 40.0}, "guide.target_accuracy"),
        ({"guide__prompts": "/no/such/file.toml"}, "guide.prompts"),
    ],
)
def test_what_can_t_be_is_refused_before_anything_starts(more: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(**more)
    assert caught.value.key == key
