"""Models that score are kept: an interrupted run goes on where it was, bit for bit, and never on others' weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from defenses.fresh_models import OwnRows, train_folds, train_fresh
from defenses.model_store import ModelStore
from defenses.needs import FreshModels
from fedcrucible_core.learning.data import Labeled

WANTED = FreshModels(3, 2, batch_size=4)


def small(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))


def data(change: float = 0.0) -> Labeled:
    torch.manual_seed(0)
    return Labeled(torch.rand(18, 3, 2, 2) + change, torch.arange(18) % 3)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def test_what_is_kept_is_what_is_trained_and_chance_goes_on_from_there(tmp_path: Path) -> None:
    plain, kept, again = rng(), rng(), rng()
    expected = train_fresh(WANTED, data(), small, plain)
    store = ModelStore(tmp_path)
    found = [train_fresh(WANTED, data(), small, one, store) for one in (kept, again)]
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    for model in found:
        assert torch.equal(model(data().inputs), expected(data().inputs))
    assert torch.equal(kept.get_state(), plain.get_state())
    assert torch.equal(again.get_state(), plain.get_state())


def test_an_interrupted_training_begins_with_the_model_that_is_missing(tmp_path: Path) -> None:
    expected = train_fresh(WANTED, data(), small, rng())
    store, made = ModelStore(tmp_path), list[int]()

    def stops(seed: int) -> nn.Module:
        made.append(seed)
        if len(made) == 3:
            raise KeyboardInterrupt
        return small(seed)

    with pytest.raises(KeyboardInterrupt):
        train_fresh(WANTED, data(), stops, rng(), store)
    told: list[int] = []
    resumed = train_fresh(WANTED, data(), small, rng(), store, lambda _, done, total: told.append(done))
    assert told == [4, 5]
    assert torch.equal(resumed(data().inputs), expected(data().inputs))


def test_other_data_settings_or_architectures_are_other_models(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)

    def wider(seed: int) -> nn.Module:
        return nn.Sequential(small(seed), nn.Linear(3, 3))

    def softer(seed: int) -> nn.Module:
        made = small(seed)
        made[3] = nn.GELU()
        return made

    one = FreshModels(1, 2, batch_size=4)
    calls = ((one, data(), small), (one, data(0.1), small), (replace(one, lr=0.01), data(), small),
             (one, data(), wider), (one, data(), softer))  # fmt: skip
    for wanted, of, untrained in calls:
        train_fresh(wanted, of, untrained, rng(), store)
    assert len(list(tmp_path.glob("*.safetensors"))) == len(calls)
    assert torch.equal(train_folds(one.__class__(2), data(), small, rng(), store).logits,
                       train_folds(one.__class__(2), data(), small, rng()).logits)  # fmt: skip


def test_a_damaged_file_is_trained_again(tmp_path: Path) -> None:
    store, one = ModelStore(tmp_path), FreshModels(1, 1)
    expected = train_fresh(one, data(), small, rng(), store)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:40])
    with pytest.warns(RuntimeWarning, match="can't be used"):
        again = train_fresh(one, data(), small, rng(), store)
    assert torch.equal(again(data().inputs), expected(data().inputs))


def test_logits_of_a_set_are_none_of_other_inputs() -> None:
    own = OwnRows(torch.zeros(18, 3), data().inputs)
    assert own(data().inputs).shape == (18, 3)
    with pytest.raises(ValueError, match="other inputs"):
        own(data().inputs * 0.5)
