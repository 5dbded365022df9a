"""Rules that need more of the round loop than a mean: starting over, votes of noisy copies, another local training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from client_app import benign, malicious
from client_app.session import Session, local_model
from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates, Needs
from defenses.smoothing import Smoothing
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters
from fedcrucible_core.records.schema import RoundRecord
from server_app.evaluation import Evaluator
from server_app.plan import Plan
from strategies.messages import GlobalModel
from tests.support.tiny_runs import TINY, play, settings

CPU = torch.device("cpu")
QUICK_DETECTOR = {
    "strategy": "fldetector", "defense__fldetector__window": 2, "task__train_samples": 400, "model__name": "logistic",
    "training__lr": 0.01, "poison__ratio": 1.0, "run__seed": 6,
}  # fmt: skip


class TestStartingOver:
    def removed(self, rounds: list[RoundRecord]) -> list[float]:
        return [r.facts["rule.removed"] for r in rounds[1:]]

    def detect(self, **changes: str | int | float | bool) -> tuple[str, list[RoundRecord]]:
        chosen = {**QUICK_DETECTOR, "federation__clients": 8, "adversary__malicious_fraction": 0.25} | changes
        summary, rounds = play(**chosen)
        return summary.parameters_sha256, rounds

    def test_after_a_removal_training_starts_from_the_initial_model(self, runs_folder: Path) -> None:
        _, rounds = self.detect(run__rounds=8)
        removal = next(r for r in rounds[1:] if r.facts["rule.removed_now"])
        assert "starts over" in removal.notes[0]
        assert removal.ma_percent == rounds[0].ma_percent
        assert removal.asr_percent == rounds[0].asr_percent
        out = set(removal.rejected)
        assert out == set(removal.malicious)
        assert all(out <= set(r.rejected) for r in rounds if r.round >= removal.round)

    def test_resume_with_histories_and_removed_clients_is_bit_identical(self, runs_folder: Path) -> None:
        for cut in (3, 6):  # in the middle of a history, and after a removal
            whole, rounds = self.detect(run__rounds=8)
            common = {"output__name": f"cut-{cut}", "run__checkpoint_every": cut}
            self.detect(**common, run__rounds=cut)
            resumed, again = self.detect(**common, run__rounds=8, run__resume=True)
            assert resumed == whole
            assert self.removed(again) == self.removed(rounds)
            assert [r.per_client["score"] for r in again[1:]] == [r.per_client["score"] for r in rounds[1:]]
        assert self.removed(rounds)[5] > 0, "the second cut must lie after a removal"

    def test_the_purifier_forgets_too_and_leaves_the_initial_model_alone(
        self, runs_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[int] = []
        plain = RULES["fldetector"].aggregate

        def restart_in_round_two(self: AggregationRule, updates: ClientUpdates) -> Aggregate:
            result = plain(self, updates)
            return Aggregate(result.delta, result.weights, state=result.state, restart=updates.round == 2)

        from defenses.purifiers.clip_guided import ClipGuided

        purify = ClipGuided.purify

        def spy(self: ClipGuided, model: object, data: object, guide: object, rng: object, state: dict) -> object:  # type: ignore[type-arg]
            seen.append(len(state))
            return purify(self, model, data, guide, rng, state)  # type: ignore[arg-type]

        monkeypatch.setattr(RULES["fldetector"], "aggregate", restart_in_round_two)
        monkeypatch.setattr(ClipGuided, "purify", spy)
        play(strategy="clip-fed", defense__name="fldetector", run__rounds=4)
        assert len(seen) == 3, "not in the round of the restart"
        assert seen[0] == seen[1] == 0 < seen[2]


def _given(needs: Needs, _rule: object) -> Needs:
    return needs


class TestVotes:
    common = {"strategy": "crfl", "defense__crfl__copies": 7, "model__name": "logistic", "training__lr": 0.01}  # noqa: RUF012

    def test_the_final_model_is_measured_by_vote_and_says_so(self, runs_folder: Path) -> None:
        _, rounds = play(**self.common)
        assert all("smoothing.copies" not in r.facts for r in rounds[:2])
        final = rounds[2]
        assert final.facts["smoothing.copies"] == 7
        assert final.facts["smoothing.sigma"] == 0.01
        assert 0 <= final.facts["smoothing.sure_percent"] <= 100
        assert final.notes[0] == "measured by the vote of 7 copies with noise 0.01"
        assert {"smoothing.plain_ma_percent", "smoothing.plain_asr_percent"} <= set(final.facts)

    def test_earlier_evaluations_can_be_votes_of_fewer(self, runs_folder: Path) -> None:
        _, rounds = play(**self.common, defense__crfl__copies_between=3)
        assert [r.facts["smoothing.copies"] for r in rounds] == [3, 3, 7]
        assert not any("certified" in fact for r in rounds[:2] for fact in r.facts)

    def test_the_vote_is_the_majority_of_the_copies(self, runs_folder: Path) -> None:
        """Recounted from the recorded final model by the evaluator's own metrics."""
        from safetensors.torch import load_file

        from fedcrucible_core.learning.rng import torch_generator
        from fedcrucible_core.learning.vector import load_parameters

        summary, rounds = play(**self.common)
        plan = Plan.make(load(settings(**self.common)))
        evaluator = Evaluator.build(plan.config, plan.data, plan.adversary.poisoner, CPU)
        model = plan.model()
        model.load_state_dict(load_file(Path(summary.folder) / "model.safetensors"))
        own, rng = flatten_parameters(model), torch_generator(1, "smooth", 2)
        votes = torch.zeros(len(evaluator.labels), 10)
        for _ in range(7):
            load_parameters(model, own + 0.01 * torch.randn(own.shape, generator=rng))
            with torch.no_grad():
                chosen = model(evaluator.images.float() / 255).argmax(1)
            votes[torch.arange(len(chosen)), chosen] += 1
        expected = 100 * float((votes.argmax(1) == evaluator.labels).double().mean())
        assert rounds[2].ma_percent == pytest.approx(expected)
        assert bool((votes.max(1).values < 7).any()), "unanimous votes would show nothing"

    def test_a_run_is_repeatable_and_resumes(self, runs_folder: Path) -> None:
        first, rounds = play(**self.common, run__rounds=3)
        common = {**self.common, "output__name": "cut", "run__checkpoint_every": 1}
        _, shorter = play(**common)
        resumed, again = play(**common, run__rounds=3, run__resume=True)
        assert first.parameters_sha256 == play(**self.common, run__rounds=3)[0].parameters_sha256
        # round 2 was the last of the shorter run, and so went without noise there: it is run again
        assert resumed.parameters_sha256 == first.parameters_sha256
        assert [r.facts["rule.noise"] for r in shorter[1:]] == [0.01, 0.0]
        assert [r.facts["rule.noise"] for r in again[1:]] == [0.01, 0.01, 0.0]
        assert [r.facts["rule.noise"] for r in rounds[1:]] == [0.01, 0.01, 0.0]

    def test_radii_are_certified_where_the_constant_is_derived(self, runs_folder: Path) -> None:
        sgd = {"training__momentum": 0.0, "training__lr": 0.001}
        _, rounds = play(**{**self.common, **sgd, "defense__crfl__copies": 60})
        facts = rounds[2].facts
        assert 0 < facts["certified.labels_kept_percent"] <= 100
        assert facts["certified.labels_kept_median_radius"] > 0
        assert facts["certified.labels_changed_percent"] <= facts["certified.labels_kept_percent"]
        assert len(rounds[2].notes) == 1

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"model__name": "resnet8"}, "derived for model 'logistic', not for 'resnet8'"),
            ({"training__momentum": 0.9}, "plain SGD"),
            ({"training__weight_decay": 1e-4, "training__momentum": 0.0}, "plain SGD"),
            ({"training__momentum": 0.0, "training__lr": 0.01}, "training.lr = 0.01 is above 0.00"),
        ],
    )
    def test_elsewhere_no_radius_is_reported(
        self, changes: dict[str, str | float], why: str, runs_folder: Path
    ) -> None:
        _, rounds = play(**{**self.common, **changes}, run__rounds=1)
        assert not any("certified" in fact for fact in rounds[1].facts)
        assert f"no certified radius: {why}" in rounds[1].notes[1] or why in rounds[1].notes[1]

    def test_before_a_purifier_the_vote_is_around_the_purified_model(self, runs_folder: Path) -> None:
        chosen = {"strategy": "fine-tune", "defense__name": "crfl", "defense__crfl__copies": 3, "run__rounds": 1}
        _, rounds = play(**chosen)
        assert rounds[1].facts["smoothing.copies"] == 3
        assert "no certified radius" in rounds[1].notes[1]

    def test_another_rule_may_ask_for_a_vote(self, monkeypatch: pytest.MonkeyPatch, runs_folder: Path) -> None:
        """Nothing is derived for it: no certificate, and no crash after the last round."""
        sgd = {"model__name": "logistic", "training__momentum": 0.0, "training__lr": 0.001, "run__rounds": 1}
        for attackers, why in ((0, "isn't derived for this rule"), (1, "doesn't say how long the model was")):
            vote = Needs(smoothing=Smoothing(0.01, 5, 0, 0.001, attackers))
            monkeypatch.setattr(RULES["median"], "needs", property(partial(_given, vote)))
            _, rounds = play(strategy="median", **sgd)
            assert rounds[1].facts["smoothing.copies"] == 5
            assert why in rounds[1].notes[1]
            assert not any("certified" in fact for fact in rounds[1].facts)

    def test_no_copies_no_vote(self, runs_folder: Path) -> None:
        _, rounds = play(**{**self.common, "defense__crfl__copies": 0})
        assert rounds[2].notes == ()
        assert rounds[2].facts["rule.noise"] == 0.01


def session(partition: int, **changes: str | int | float | bool) -> Session:
    config = load({**TINY, **settings(**changes)})
    model = local_model(config, CPU)
    received = GlobalModel(flatten_parameters(model), flatten_buffers(model))
    return Session(config, partition, 1, 5, model, received, CPU)


class TestLocalTraining:
    def fresh(self, partition: int, **changes: str | int | float | bool) -> Session:
        found = session(partition, **changes)
        initial = Plan.make(found.config).model()
        received = GlobalModel(flatten_parameters(initial), flatten_buffers(initial))
        return Session(found.config, partition, 1, 5, found.model, received, CPU)

    def test_honest_clients_follow_the_rule_and_attackers_their_attack(self) -> None:
        ids = "1"
        plain = {"adversary__malicious_ids": ids}
        asked = {**plain, "strategy": "flpurifier"}
        ordinary, contrasted = (benign.update(self.fresh(0, **c)).parameters for c in (plain, asked))
        assert not torch.equal(ordinary, contrasted)
        attackers = [malicious.update(self.fresh(1, **c)).parameters for c in (plain, asked)]
        assert torch.equal(*attackers)

    def test_a_resting_attacker_is_honest(self) -> None:
        chosen = {"adversary__malicious_ids": "1", "strategy": "flpurifier", "adversary__start_round": 5}
        resting = malicious.update(self.fresh(1, **chosen)).parameters
        assert torch.equal(resting, benign.update(self.fresh(1, **chosen)).parameters)

    def test_the_rule_applies_before_a_purifier_too(self) -> None:
        alone, before = {"strategy": "flpurifier"}, {"strategy": "clip-fed", "defense__name": "flpurifier"}
        updates = [benign.update(self.fresh(0, **chosen)).parameters for chosen in (alone, before)]
        assert torch.equal(*updates)

    def test_a_federated_run(self, runs_folder: Path) -> None:
        first, rounds = play(strategy="flpurifier")
        assert first.parameters_sha256 == play(strategy="flpurifier")[0].parameters_sha256
        assert sum(rounds[1].per_client["classifier_weight"]) == pytest.approx(1.0)
