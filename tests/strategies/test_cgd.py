"""CGD as a system and as a purifier, and the scores by which it splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from defenses.base import FreshModels
from defenses.contracts.server_setting import make_data, make_guide, make_model, same, snapshot
from defenses.fresh_models import OwnRows, folds_of, train_folds
from defenses.kernels.ranks import percentile_ranks
from defenses.purifiers.cgd import Cgd
from defenses.splitters.cgd_entropy import CgdEntropy
from defenses.splitting import split
from defenses.support.suspicion import model_logits
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.weights import Weights
from fedcrucible_core.records.model_digest import model_sha256
from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from tests.support.tiny_runs import play, settings

CGD = {
    "strategy": "cgd", "poison__central": True, "poison__ratio": 0.1, "poison__share_of": "all",
    "splitter__cgd-entropy__epochs": 1, "splitter__cgd-entropy__models": 1, "repair__cgd-unlearn__batch_size": 32,
    "repair__cgd-unlearn__epochs": 1,
}  # fmt: skip


def test_the_system_is_central_training_then_its_repair(runs_folder: Path) -> None:
    summary, rounds = play(**CGD, run__rounds=1)
    victim, plain = play(**CGD | {"strategy": "central"}, run__rounds=1)
    assert [r.stage for r in rounds] == ["training", "training", "repair"]
    assert rounds[1].ma_percent == plain[1].ma_percent
    assert summary.parameters_sha256 != victim.parameters_sha256
    facts = rounds[-1].facts
    sizes = [facts[f"repair.split_{part}"] for part in ("clean", "triggered", "mixed")]
    assert sum(sizes) == 200
    assert 0.0 <= facts["repair.split_recall_percent"] <= 100.0
    assert facts["repair.epochs"] == 1
    run = read(Path(summary.folder)).run
    assert run.repair == "cgd-unlearn"
    assert run.knowledge["cgd-unlearn"] == ("the training set", "foundation model")


def test_the_victims_checkpoint_is_the_runs_own_model(runs_folder: Path) -> None:
    trained, _ = play(strategy="central", poison__central=True)
    plan = Plan.make(load(settings(strategy="central", poison__central=True)))
    assert model_sha256(Weights.of(plan.victim(2))) == trained.parameters_sha256


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"splitter__cgd-entropy__epochs": 5}, "splitter.cgd-entropy.epochs"),
        ({"strategy": "fedavg", "poison__central": False, "repair__name": "cgd-unlearn"}, "splitter.cgd-entropy.score"),
        (
            {"strategy": "fine-tune", "poison__central": False, "splitter__name": "cgd-entropy"},
            "splitter.cgd-entropy.score",
        ),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused(changes: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Plan.make(load(settings(**CGD | {"splitter__cgd-entropy__score": "victim-ckpt5"} | changes)))
    assert caught.value.key == key


def test_held_out_scores_are_of_models_that_did_not_see_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published as k-fold trains on all samples and scores all of them."""
    data = make_data(20, augmented=False).originals
    seen: list[torch.Tensor] = []

    class Remembers(torch.nn.Module):
        """Says 1 of what it was trained on, else 0."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(x)
                return self.weight * x.flatten(1)[:, :4]
            mine = torch.cat(seen).flatten(1)
            known = (x.flatten(1)[:, None] == mine[None]).all(2).any(1)
            return known.float()[:, None].expand(-1, 4)

    def untrained(seed: int) -> torch.nn.Module:
        seen.clear()
        return Remembers()

    wanted = FreshModels(4, 1, score="true-kfold", batch_size=4)
    found = train_folds(wanted, data, untrained, torch.Generator().manual_seed(0))
    assert model_logits(found, data).sum() == 0.0
    with pytest.raises(ValueError, match="two folds"):
        train_folds(FreshModels(1, score="true-kfold"), data, untrained, torch.Generator())
    with pytest.raises(ValueError, match="20 rows"):
        OwnRows(torch.zeros(20, 4))(data.inputs[:3])


def test_folds_part_the_rows() -> None:
    for n, folds in ((10, 3), (2, 5), (1, 2)):
        found = folds_of(n, folds, torch.Generator().manual_seed(1))
        assert torch.equal(torch.cat(found).sort().values, torch.arange(n))
        assert len(found) == min(n, folds)


def test_every_score_splits_a_set() -> None:
    data, info = make_data(24, augmented=False).originals, Plan.make(load(settings())).data.info
    guide = make_guide(make_data(24, augmented=False))

    class Fixed:
        def targets(self, inputs: torch.Tensor, names: object) -> object:
            return guide

    for score in ("fresh3x5", "true-kfold", "victim-ckpt5"):
        splitter = CgdEntropy(rule="sigmas", score=score, models=2, epochs=1)
        found = split(
            splitter, data, info, lambda: Fixed(), torch_generator(1, "split"), untrained=make_model,  # type: ignore[arg-type,return-value]
            victim=lambda epoch: make_model(epoch),
        )  # fmt: skip
        assert len(found.scores["s_model"]) == 24
        assert len(found.triggered) > 0
    with pytest.raises(ValueError, match="there is none"):
        split(splitter, data, info, lambda: Fixed(), torch_generator(1, "split"))  # type: ignore[arg-type,return-value]


def test_either_entropy_alone() -> None:
    data, guide = make_data(24, augmented=False).originals, make_guide(make_data(24, augmented=False))
    model, rng = make_model(), torch.Generator()
    both = CgdEntropy(rule="sigmas").split(data, guide, model, rng)
    alone = CgdEntropy(rule="sigmas", entropies="guide").split(data, guide, None, rng)
    assert set(alone.scores) == {"s_guide"}
    ranks = percentile_ranks(both.scores["s_guide"])
    assert torch.equal(alone.triggered, (ranks > 0.9).nonzero().flatten())
    models = CgdEntropy(rule="sigmas", entropies="model")
    assert not models.needs.guide
    found = models.split(data, None, model, rng)
    fast = percentile_ranks(both.scores["s_model"])
    assert torch.equal(found.clean, (fast >= 0.2).nonzero().flatten())
    assert torch.equal(found.triggered, (fast < 0.1).nonzero().flatten())
    with pytest.raises(ValueError, match="rule = sigmas"):
        CgdEntropy(entropies="model")


# --- the purifier ----------------------------------------------------------------------------------------------------


def test_purifying_by_the_split_of_the_servers_data(runs_folder: Path) -> None:
    chosen = {"attack__name": "bd-fmfl", "run__rounds": 1, "splitter__name": "guide-agreement"}
    purified, rounds = play(purifier__name="cgd", **chosen)
    tuned, _ = play(purifier__name="fine-tune", **chosen)
    assert purified.parameters_sha256 != tuned.parameters_sha256
    facts = rounds[0].facts
    assert facts["server_data.split_clean"] + facts["server_data.split_triggered"] == facts["server_data.images"], (
        "no sanitizer came before it"
    )
    assert (
        facts["server_data.split_recall_percent"]
        == 100.0
        * round(facts["server_data.split_recall_percent"] * facts["server_data.poisoned"] / 100.0)
        / facts["server_data.poisoned"]
    )
    assert "purifier.loss" in rounds[1].facts


def test_triggered_samples_and_their_copies_are_unlearned() -> None:
    data = make_data()
    guide = make_guide(data)
    first, second = make_model(), make_model()
    nothing = torch.zeros(0, dtype=torch.int64)
    for model, given in ((first, data), (second, replace(data, triggered=nothing))):
        Cgd(lambda_un=1.0).purify(model, given, guide, torch.Generator().manual_seed(0), {})
    assert not same(snapshot(first), snapshot(second))
    assert data.triggered is not None
    rows = data.triggered
    inputs, labels = data.originals.inputs[rows], data.originals.labels[rows]
    with torch.no_grad():
        own = [m(inputs).softmax(1).gather(1, labels[:, None]).mean() for m in (first, second)]
    assert own[0] < own[1]
    with pytest.raises(ConfigError, match="nobody split them"):
        Cgd().purify(make_model(), replace(data, clean=None), guide, torch.Generator(), {})
    empty = replace(data, clean=nothing, triggered=nothing)
    kept = make_model()
    Cgd().purify(kept, empty, guide, torch.Generator(), {})
    assert same(snapshot(kept), snapshot(make_model()))
    assert isinstance(data.originals, Labeled)
