"""Repairs that cut channels off: on a model of which one channel fires on the trigger alone, they find that channel."""

from __future__ import annotations

import copy
from typing import cast

import pytest
import torch
from torch import nn

from defenses.base import REPAIRS, Repair
from defenses.repairs.anp import AdversarialNeuronPruning, Perturbed, below
from defenses.repairs.entropy_pruning import EntropyPruning, channel_peaks
from defenses.repairs.fine_pruning import FinePruning, pruning_counts
from defenses.support.batch_norms import batch_norms
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.models import MODELS, SmallCNN
from tests.support.planted import (
    INFO,
    NORM,
    TRIGGER_CHANNEL,
    accuracy,
    asr,
    context,
    pictures,
    planted_model,
    poisoned,
    same_parameters,
)


def norm_of(model: nn.Module) -> nn.BatchNorm2d:
    return cast(nn.BatchNorm2d, model.get_submodule(NORM))


def test_the_plant_works() -> None:
    model = planted_model()
    assert accuracy(model, pictures(100, seed=9)) == 100.0
    assert asr(model) == 100.0


# --- fine-pruning -----------------------------------------------------------------------------------------------------


def test_fine_pruning_cuts_the_trigger_off_first() -> None:
    model = planted_model()
    facts = FinePruning(epochs=0).repair(model, context(clean=pictures(80)))
    assert facts["pruned"] >= 1
    assert not bool(model.classifier.weight[:, TRIGGER_CHANNEL].any())
    assert asr(model) == 0.0
    assert accuracy(model, pictures(100, seed=9)) > 85.0


def test_what_is_cut_off_stays_off_while_the_rest_is_tuned() -> None:
    model = planted_model()
    FinePruning(epochs=2).repair(model, context(clean=pictures(80)))
    assert not bool(model.classifier.weight[:, TRIGGER_CHANNEL].any())
    assert asr(model) == 0.0


def test_it_never_goes_a_step_too_far() -> None:
    """The published loop prunes the model that it looks at, and keeps it where the accuracy has already fallen."""
    data = pictures(80)
    for drop in (1.0, 10.0, 40.0):
        facts = FinePruning(epochs=0, max_drop=drop).repair(planted_model(), context(clean=data))
        assert facts["held_accuracy_pruned_percent"] > facts["held_accuracy_before_percent"] * (1 - drop / 100)


def test_pruning_counts_lose_none() -> None:
    """The published loop cuts off the first k - 1 channels in step k: nothing at first, and one too few ever after."""
    assert pruning_counts(10, 0.25) == [2, 5, 8, 9]
    assert pruning_counts(100, 0.01) == list(range(1, 100))
    assert pruning_counts(64, 0.01)[:3] == [1, 2, 3]
    assert pruning_counts(2, 0.01) == [1]
    assert pruning_counts(1, 0.5) == []


def test_one_unit_in_ten_is_one_unit() -> None:
    model, data = planted_model(), pictures(80)
    FinePruning(epochs=0, step=1 / 13, max_drop=1e-6).repair(model, context(clean=data))
    silent = (model.classifier.weight == 0).all(0).nonzero().flatten().tolist()
    assert TRIGGER_CHANNEL in silent


def test_no_drop_allowed_means_no_pruning() -> None:
    model = planted_model()
    assert FinePruning(epochs=0, max_drop=0.0).repair(model, context(clean=pictures(40)))["pruned"] == 0.0
    assert same_parameters(model, planted_model())


# --- adversarial neuron pruning ---------------------------------------------------------------------------------------


def test_anp_masks_the_trigger_and_keeps_the_shift() -> None:
    model, before = planted_model(), planted_model()
    facts = AdversarialNeuronPruning(steps=60, batch_size=32, max_drop=5.0).repair(model, context(clean=pictures(80)))
    assert facts["pruned"] >= 1
    assert float(norm_of(model).weight[TRIGGER_CHANNEL].detach()) == 0.0
    assert asr(model) == 0.0
    assert torch.equal(norm_of(model).bias, norm_of(before).bias), "the shift is kept"
    assert same_parameters(model, before, but=(f"{NORM}.weight",)), "statistics and all else stay"


def test_masks_stay_in_their_bounds_and_start_from_one() -> None:
    masks = AdversarialNeuronPruning(steps=8, lr=5.0).masks(planted_model(), pictures(40), torch.Generator())
    assert float(masks[NORM].min()) >= 0.0
    assert float(masks[NORM].max()) <= 1.0
    assert below({NORM: torch.tensor([0.1, 0.2, 0.05])}, 0.1)[NORM].tolist() == [2]


def test_momentum_is_point_nine() -> None:
    assert AdversarialNeuronPruning().momentum == 0.9
    data, model = pictures(40), planted_model()
    quick = AdversarialNeuronPruning(steps=6, lr=0.01, eps=0.0).masks(model, data, torch.Generator().manual_seed(0))
    slow = AdversarialNeuronPruning(steps=6, lr=0.01, eps=0.0, momentum=0.0).masks(
        model, data, torch.Generator().manual_seed(0)
    )
    assert float((1 - quick[NORM]).abs().sum()) > 2 * float((1 - slow[NORM]).abs().sum())


def test_noise_reaches_scale_and_shift() -> None:
    """Against a plain reference: a batch norm with its scale times (m + noise) and shift times (1 + noise)."""
    model, x = planted_model(), pictures(16).inputs
    rng = torch.Generator().manual_seed(0)
    mask, noise = torch.rand(13, generator=rng), (torch.rand(13, generator=rng), torch.rand(13, generator=rng))
    expected = copy.deepcopy(model).train()
    with torch.no_grad():
        norm_of(expected).weight.mul_(mask + noise[0])
        norm_of(expected).bias.mul_(1 + noise[1])
        wanted = expected(x)
        found = Perturbed(model, batch_norms(model))(x, {NORM: mask}, {NORM: noise})
        masked = Perturbed(model, batch_norms(model))(x, {NORM: mask}, None)
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(masked, wanted)
    assert same_parameters(model, planted_model())


def test_the_noise_raises_the_loss() -> None:
    model, data = planted_model(), pictures(32)
    anp, noisy = AdversarialNeuronPruning(), Perturbed(model, batch_norms(model))
    masks = {NORM: torch.ones(13)}
    losses = []
    for eps in (0.0, 0.4):
        noise = anp.model_copy(update={"eps": eps})._noise(noisy, masks, data.inputs, data.labels, torch.Generator())
        losses.append(float(nn.functional.cross_entropy(noisy(data.inputs, masks, noise), data.labels)))
        assert all(float(n.abs().max()) <= 2 * eps + 1e-6 for pair in noise.values() for n in pair)
    assert losses[1] > losses[0]


# --- entropy-based pruning --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [True, False])
def test_ep_finds_the_trigger_among_poisoned_samples(shift: bool) -> None:
    model, before = planted_model(), planted_model()
    facts = EntropyPruning(samples=400, shift=shift).repair(model, context(suspects=poisoned(400)[0]))
    assert facts == {"pruned": 1.0, "channels": 13.0}
    assert float(norm_of(model).weight[TRIGGER_CHANNEL].detach()) == 0.0
    assert (float(norm_of(model).bias[TRIGGER_CHANNEL].detach()) == 0.0) is shift
    assert asr(model) == 0.0
    assert same_parameters(model, before, but=(f"{NORM}.weight", f"{NORM}.bias"))


def test_ep_sees_nothing_where_there_is_no_poison() -> None:
    model = planted_model()
    clean = pictures(400)
    images = clean.inputs.clone()
    images[:, 0, 0, 0] = torch.rand(400, generator=torch.Generator().manual_seed(1))
    assert EntropyPruning().repair(model, context(suspects=Labeled(images, clean.labels)))["pruned"] == 0.0
    assert same_parameters(model, planted_model())


def test_peaks_are_the_largest_over_positions() -> None:
    model = MODELS.create("resnet8", {"width": 4}).build(INFO, 1).eval()
    x = pictures(6).inputs
    seen = dict[str, torch.Tensor]()
    layer = model.get_submodule("features.1")
    hook = layer.register_forward_pre_hook(lambda _m, args: seen.update(x=args[0]))
    peaks = channel_peaks(model, x)
    with torch.no_grad():
        model(x)
    hook.remove()
    assert torch.equal(peaks["features.1"], seen["x"].amax((2, 3)))
    assert set(peaks) == set(batch_norms(model))


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["anp", "ep"])
def test_a_model_without_batch_norm_is_refused_by_name(name: str) -> None:
    repair: Repair = REPAIRS.create(name)
    with pytest.raises(ConfigError, match=rf"repair.name = '{name}': .*batch norm"):
        repair.check(SmallCNN().build(INFO, 1), INFO)
    group = MODELS.create("resnet8", {"norm": "group"}).build(INFO, 1)
    with pytest.raises(ConfigError, match="allowed: a model with batch norm"):
        repair.check(group, INFO)
    repair.check(planted_model(), INFO)


@pytest.mark.parametrize("name", ["fine-pruning", "mcr", "i-bau"])
def test_a_model_without_batch_norm_is_repaired_too(name: str) -> None:
    quick = {"fine-pruning": {"epochs": 1}, "mcr": {"end_epochs": 1, "epochs": 1}, "i-bau": {"rounds": 1, "steps": 1}}
    model = SmallCNN(width=2, hidden=8).build(INFO, 1).eval()
    repair = REPAIRS.create(name, quick[name])
    repair.check(model, INFO)
    repair.repair(model, context(clean=pictures(40)))
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
