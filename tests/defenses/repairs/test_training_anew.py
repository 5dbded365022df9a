"""Repairs that train a fresh model: what is isolated, what keeps its label, and that no true flag is read."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from defenses.base import REPAIRS, Split, Suspects
from defenses.repairs.abl import AntiBackdoorLearning
from defenses.repairs.asd import AdaptiveSplitting, lowest_by_class
from defenses.repairs.dbd import DecouplingBasedDefense
from defenses.repairs.dbr import UnlearnRelearn
from defenses.repairs.retrain import Retrain
from defenses.support.fitting import FitOptions, fit, sample_losses
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.vector import flatten_parameters
from tests.support.planted import INFO, accuracy, asr, context, fresh, pictures, poisoned, same_parameters

QUICK = {
    "abl": {"tuning_epochs": 1, "epochs": 1, "unlearn_steps": 2, "lr": 0.01},
    "dbd": {"contrastive_epochs": 1, "warmup_epochs": 1, "epochs": 2, "iterations": 2, "batch_size": 8},
    "asd": {"epochs": 4, "iterations": 2, "batch_size": 8, "clean_samples": 8},
    "retrain": {"epochs": 1, "unlearn_epochs": 1},
    "d-br": {"detector_epochs": 1, "spread_epochs": 1, "epochs": 1},
}
ANEW = ("abl", "dbd", "asd", "retrain")


def given(n: int = 80, seed: int = 3):
    data, truth = poisoned(n)
    return context(suspects=data, clean=pictures(8, seed=4), split=Split.by(~truth, truth), seed=seed)


@pytest.mark.parametrize("name", ANEW)
def test_nothing_of_the_old_model_is_left(name: str) -> None:
    first, second = fresh(1), fresh(2)
    repair = REPAIRS.create(name, QUICK[name])
    assert repair.from_scratch
    assert repair.repair(first, given()) == repair.repair(second, given())
    assert same_parameters(first, second)
    assert not torch.equal(flatten_parameters(first), flatten_parameters(fresh(1)))


def test_d_br_starts_from_the_model_itself() -> None:
    assert not REPAIRS["d-br"].from_scratch
    first, second = fresh(1), fresh(2)
    repair = UnlearnRelearn.model_validate(QUICK["d-br"])
    repair.repair(first, given())
    repair.repair(second, given())
    assert not same_parameters(first, second)


def test_no_repair_can_read_which_samples_are_poisoned() -> None:
    """The authors' ASD draws its seeds, and D-BR keeps an epoch, by the true flags: here nothing holds them."""
    assert {field.name for field in fields(Suspects)} == {"data", "split", "guide"}
    assert {field.name for field in fields(Labeled)} == {"inputs", "labels", "rows"}


@pytest.mark.parametrize("name", ["dbd", "asd", "d-br"])
def test_texts_are_refused_by_name(name: str) -> None:
    texts = DataInfo("words", ("a", "b"), (8,), (), (), task="text", tokenizer="wordnet")
    with pytest.raises(ConfigError, match=rf"repair.name = '{name}': works on views of pictures"):
        REPAIRS.create(name).check(fresh(1), texts)
    REPAIRS.create(name).check(fresh(1), INFO)


# --- one by one -------------------------------------------------------------------------------------------------------


def test_abl_isolates_what_is_learned_first_and_unlearns_it() -> None:
    data, truth = poisoned(400, share=0.1)
    model = fresh(1)
    facts = AntiBackdoorLearning(tuning_epochs=2, epochs=1, lr=0.05, isolate=0.1, unlearn_steps=20).repair(
        model, context(suspects=data)
    )
    assert facts["isolated"] == 40.0
    assert facts["isolated_loss_unlearned"] > facts["isolated_loss_trained"]
    assert int(truth.sum()) == 40


@pytest.mark.parametrize(("n", "isolated"), [(400, 4), (120, 1), (20, 1)])
def test_abl_isolates_at_least_one_sample(n: int, isolated: int) -> None:
    quick = AntiBackdoorLearning(tuning_epochs=1, epochs=0, unlearn_steps=1)
    assert quick.repair(fresh(1), context(suspects=pictures(n)))["isolated"] == isolated


def test_abl_counts_unlearning_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch of a few isolated samples is one step: twenty of them would unlearn hardly anything."""
    seen = []

    def note(_model, data, _options, _rng, *, epochs, **_others):
        seen.append((len(data), epochs))
        return [0.0]

    monkeypatch.setattr("defenses.repairs.abl.fit", note)
    AntiBackdoorLearning().repair(fresh(1), context(suspects=pictures(200)))
    assert seen[-1] == (2, 32)
    AntiBackdoorLearning(isolate=0.5, batch_size=25).repair(fresh(1), context(suspects=pictures(200)))
    assert seen[-1] == (100, 8)


def test_dbd_says_that_it_is_reduced() -> None:
    for changes, reduced in (({}, 1.0), ({"contrastive_epochs": 100, "warmup_epochs": 10, "epochs": 190}, 0.0)):
        repair = DecouplingBasedDefense.model_validate(changes)
        quick = DecouplingBasedDefense.model_validate(QUICK["dbd"])
        short = any(
            getattr(repair, name) < full
            for name, full in (("contrastive_epochs", 100), ("warmup_epochs", 10), ("epochs", 190))
        )
        assert float(short) == reduced
        assert quick.repair(fresh(1), given(40))["reduced"] == 1.0
    assert "Reduced DBD" in (DecouplingBasedDefense.__doc__ or "")


def test_asd_pools_by_part_of_the_schedule() -> None:
    data, _ = poisoned(80)
    model, rng = fresh(1), torch.Generator().manual_seed(0)
    repair = AdaptiveSplitting(epochs=8, grow=2, grow_every=2)
    sizes = [len(repair.pool(model, data, epoch, rng)) for epoch in range(8)]
    assert sizes == [8, 8, 16, 16, 40, 40, 40, 40], "k = 2, 2, 4, 4 of four classes; then half of all"
    assert not torch.equal(repair.pool(model, data, 5, rng), repair.pool(model, data, 6, rng))


def test_asd_suspects_what_is_learned_at_once() -> None:
    data, _ = poisoned(200, share=0.1)
    model, rng = fresh(1), torch.Generator().manual_seed(0)
    fall = AdaptiveSplitting().learned(model, data, rng)
    assert fall.shape == (200,)
    assert torch.equal(flatten_parameters(model), flatten_parameters(fresh(1))), "a copy learns, not the model"
    assert float(fall.mean()) > 0.0


def test_lowest_by_class_stops_at_what_there_is() -> None:
    values, labels = torch.tensor([3.0, 1.0, 2.0, 0.5, 9.0]), torch.tensor([0, 0, 0, 1, 1])
    assert lowest_by_class(values, labels, 1).tolist() == [1, 3]
    assert lowest_by_class(values, labels, 10).tolist() == [0, 1, 2, 3, 4]
    assert lowest_by_class(values, labels, 0).tolist() == []


def test_asd_declares_its_clean_samples_and_needs_one_a_class() -> None:
    assert "10 clean samples a class" in AdaptiveSplitting.knowledge
    needs = AdaptiveSplitting().needs
    assert needs.clean is not None
    assert (needs.suspects, needs.clean.kind, needs.clean.samples) == (True, "validation", 100)
    with pytest.raises(ConfigError, match=r"repair.asd.clean_samples = 3: must be at least the 4 classes"):
        AdaptiveSplitting(clean_samples=3).check(fresh(1), INFO)


def test_d_br_keeps_the_best_epoch_by_held_out_samples() -> None:
    model, data = fresh(1), poisoned(200)[0]
    fit(model, data, FitOptions(0.05), torch.Generator().manual_seed(0), epochs=5)
    facts = UnlearnRelearn(detector_epochs=1, spread_epochs=1, epochs=4).repair(model, context(suspects=data))
    assert (facts["clean"], facts["poisoned"]) == (40.0, 10.0)
    assert 1.0 <= facts["epoch_kept"] <= 4.0
    assert facts["held_accuracy_after_percent"] >= 0.0
    assert not model.training


def test_d_br_turns_square_pictures_by_90_degrees_only() -> None:
    wide = DataInfo("wide", ("a", "b"), (1, 8, 12), (0.0,), (1.0,))
    UnlearnRelearn().check(fresh(1), wide)
    with pytest.raises(ConfigError, match=r"repair.d-br.degrees = 90: pictures are 8 x 12; allowed: 180"):
        UnlearnRelearn(degrees=90).check(fresh(1), wide)


def test_retraining_on_the_true_clean_part_leaves_no_backdoor() -> None:
    data, truth = poisoned(200, share=0.1)
    model = fresh(5)
    facts = Retrain(epochs=8, lr=0.05, unlearn_epochs=1).repair(
        model, context(suspects=data, split=Split.by(~truth, truth))
    )
    assert facts["dropped"] == 20.0
    assert accuracy(model, pictures(100, seed=9)) > 90.0
    assert asr(model) < 20.0
    assert float(sample_losses(model, data.subset(truth.nonzero().flatten())).mean()) > 1.0


def test_retraining_without_clean_rows_says_so() -> None:
    data, truth = poisoned(40)
    nothing = Split.by(torch.zeros_like(truth), truth)
    with pytest.raises(ValueError, match="calls no row clean"):
        Retrain().repair(fresh(1), context(suspects=data, split=nothing))
