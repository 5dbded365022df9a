"""FM-FL: pre-training, groups, distillation; homogeneous, heterogeneous and by logits alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from client_app.app import app as client_app
from defenses.sanitizing import SyntheticSet
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.learning.fit import minimise, training_mode
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.weights import Weights
from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from server_app.strategy_of import strategy_of
from strategies.distillation import distilled, ensemble_logits, mean_logits
from strategies.fm_fl import FmFlStrategy
from strategies.outcome import RoundOutcome
from strategies.synthetic_fit import Settings
from tests.support.tiny_runs import Scalar, play, settings

FM: dict[str, Scalar] = {
    "strategy": "fm-fl",
    "attack__name": "bd-fmfl",
    "training__optimiser": "adam",
    "training__lr": 0.001,
    "fm_fl__pretrain_epochs": 1,
    "fm_fl__kd_epochs": 1,
}
BLOCKS: dict[str, Scalar] = {
    "fm_fl__prototypes": "blocks", "fm_fl__blocks": "1, 2", "fm_fl__widths": "8, 12", "model__resnet8__width": 4,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs_folder: Path) -> None:
    monkeypatch.setenv("FEDCRUCIBLE_CACHE", str(tmp_path / "cache"))


def made(**changes: Scalar) -> tuple[FmFlStrategy, LocalGrid]:
    plan = Plan.make(load(settings(**(FM | changes))))
    strategy = strategy_of(plan, in_order=True)
    assert isinstance(strategy, FmFlStrategy)
    return strategy, LocalGrid(client_app, plan.config.federation.clients, flatten(plan.config))


def some(n: int = 30) -> SyntheticSet:
    strategy, _ = made(synthetic__per_class=n // 10)
    return strategy.parts.synthetic("distillation")


# --- distillation -----------------------------------------------------------------------------------------------------


def test_with_labels_alone_it_is_supervised_fine_tuning() -> None:
    strategy, _ = made(fm_fl__alpha=1.0)
    parts, data = strategy.parts, some()
    student = Weights.of(parts.model)
    teacher = torch.randn(len(data), 10)
    found = distilled(parts, "model", student, teacher, data, RoundOutcome(3))
    student.load_into(parts.model)
    chosen = Settings.of(parts.config.fm_fl, parts.config.fm_fl.kd_lr, 1, "fp32")
    inputs = data.data.inputs.contiguous(memory_format=torch.channels_last)

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(parts.model(inputs[rows]), data.data.labels[rows])

    rng = torch_generator(parts.config.run.seed, "distil", 3)
    minimise(parts.model.parameters(), loss, len(data), chosen, rng, epochs=1, mode=partial(training_mode, parts.model))
    assert float((found.parameters - Weights.of(parts.model).parameters).abs().max()) < 2e-4


def test_a_student_that_is_the_teacher_stays_where_it_is() -> None:
    more: dict[str, Scalar] = {"fm_fl__alpha": 0.0, "fm_fl__optimiser": "sgd", "fm_fl__weight_decay": 0.0}
    strategy, _ = made(model__name="cnn", **more)  # without batch normalisation, which is another model in training
    parts, data = strategy.parts, some()
    student = Weights.of(parts.model)
    sums = ensemble_logits(parts, [("model", student)], data, RoundOutcome(1))
    teacher = mean_logits(sums)
    assert teacher is not None
    found = distilled(parts, "model", student, teacher, data, RoundOutcome(1))
    assert float((found.parameters - student.parameters).abs().max()) < 1e-6


def test_logits_are_averaged_over_all_architectures_before_the_softmax() -> None:
    strategy, _ = made(**BLOCKS)
    parts, data, outcome = strategy.parts, some(), RoundOutcome(1)
    names = list(parts.models)
    teachers = [(names[0], Weights.of(parts.models[names[0]])), (names[1], Weights.of(parts.models[names[1]]))]
    before = [weights.parameters.clone() for _, weights in teachers]
    sums = ensemble_logits(parts, teachers, data, outcome)
    said = []
    for name, weights in teachers:
        weights.load_into(parts.models[name].eval())
        with torch.no_grad():
            said.append(parts.models[name](data.data.inputs))
    mean, own = mean_logits(sums), mean_logits(sums, names[1])
    assert mean is not None
    assert own is not None
    assert torch.allclose(mean, (said[0] + said[1]) / 2, atol=1e-5)
    assert torch.allclose(own, said[1], atol=1e-5)
    assert all(torch.equal(old, weights.parameters) for old, (_, weights) in zip(before, teachers, strict=True))
    assert outcome.facts["distillation.teachers"] == 2.0


def test_a_teacher_that_is_not_finite_is_left_out_and_counted() -> None:
    strategy, _ = made()
    parts, data, outcome = strategy.parts, some(), RoundOutcome(1)
    good = Weights.of(parts.model)
    huge = Weights(torch.full_like(good.parameters, 3e38), good.buffers)
    sums = ensemble_logits(parts, [("model", huge), ("model", good)], data, outcome)
    alone = ensemble_logits(parts, [("model", good)], data, RoundOutcome(1))
    mean, expected = mean_logits(sums), mean_logits(alone)
    assert mean is not None
    assert expected is not None
    assert torch.equal(mean, expected)
    assert outcome.facts["distillation.teachers_not_finite"] == 1.0
    assert mean_logits({}) is None


def test_distillation_that_diverges_keeps_the_aggregate() -> None:
    strategy, _ = made(fm_fl__kd_lr=1e30, fm_fl__optimiser="sgd")
    parts, data, outcome = strategy.parts, some(), RoundOutcome(1)
    student = Weights.of(parts.model)
    found = distilled(parts, "model", student, torch.randn(len(data), 10), data, outcome)
    assert found is student
    assert "diverged" in outcome.notes[0]


# --- pre-training -----------------------------------------------------------------------------------------------------


def counts(folder: str) -> tuple[float, float]:
    facts = read(Path(folder)).rounds[0].facts
    return facts["pretrained.computed"], facts["pretrained.cached"]


def test_a_sweep_pre_trains_each_distinct_model_and_set_once() -> None:
    sweep = [{"strategy": "fm-fl", "defense__name": rule} for rule in ("fedavg", "krum", "median")] + [
        {"attack__name": name} for name in ("bd-fmfl", "bd-fmfl-no-kd", "bd-fmfl-no-init", "af-fl")
    ]
    found = [counts(play(**(FM | {"run__rounds": 0} | more))[0].folder) for more in sweep]
    assert found == [(1.0, 0.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 1.0)]


@pytest.mark.parametrize(
    "change", [{"run__seed": 2}, {"fm_fl__pretrain_lr": 0.01}, {"synthetic__per_class": 4}, {"model__name": "cnn"}]
)
def test_another_seed_rate_set_or_model_is_trained_anew(change: dict[str, Scalar]) -> None:
    play(**(FM | {"run__rounds": 0}))
    assert counts(play(**(FM | {"run__rounds": 0} | change))[0].folder) == (1.0, 0.0)


def test_what_the_cache_holds_is_what_would_be_trained(tmp_path: Path) -> None:
    first, _ = play(**(FM | BLOCKS))
    again, _ = play(**(FM | BLOCKS))
    assert counts(again.folder) == (0.0, 4.0)
    assert first.parameters_sha256 == again.parameters_sha256
    for damaged in (tmp_path / "cache" / "pretrained").glob("*.safetensors"):
        damaged.write_bytes(b"nothing")
    with pytest.warns(RuntimeWarning, match="can't be used"):
        once_more, _ = play(**(FM | BLOCKS))
    assert once_more.parameters_sha256 == first.parameters_sha256


def test_without_initialisation_prototypes_begin_as_drawn() -> None:
    strategy, grid = made(fm_fl__initialise=False)
    before = strategy.parts.initial()
    strategy.configure_train(1, strategy.initial_arrays, None, grid)  # type: ignore[arg-type]
    assert all(weights.equals(before[p]) for p, weights in strategy.standing.population.items())


# --- groups -----------------------------------------------------------------------------------------------------------


def test_blocks_lie_before_the_output_layer() -> None:
    strategy, _ = made(**BLOCKS)
    assert sorted(strategy.parts.models) == ["l1-d12", "l1-d8", "l2-d12", "l2-d8"]
    model = strategy.parts.models["l2-d12"]
    shapes = [tuple(w.shape) for name, w in model.state_dict().items() if w.ndim == 2]
    assert shapes == [(12, 16), (12, 12), (10, 12)]
    assert model.feature_dim == 12


def test_clients_take_architectures_by_turns_in_an_order_drawn_by_seed() -> None:
    def order(seed: int) -> list[str]:
        strategy, _ = made(**BLOCKS, run__seed=seed)
        kind, config = strategy.parts.system.kind, strategy.config
        return [kind.prototype_of(config, p) for p in range(8)]

    first = order(1)
    assert first[:4] == first[4:]
    assert sorted(first[:4]) == ["l1-d12", "l1-d8", "l2-d12", "l2-d8"]
    assert len({tuple(order(seed)) for seed in range(1, 8)}) > 1


def test_architectures_that_no_client_has_are_not_trained() -> None:
    strategy, _ = made(**BLOCKS, federation__clients=3)
    assert len(strategy.parts.models) == 3


def test_every_prototype_is_aggregated_and_taught_a_sampled_client_or_not() -> None:
    _, rounds = play(**(FM | BLOCKS), federation__clients=8, federation__fraction_train=0.25)
    kept = [note for r in rounds for note in r.notes if "no client of" in note]
    assert kept, "two clients have at most two architectures"
    losses = [name for name in rounds[1].facts if name.startswith("distillation.") and name.endswith(".loss")]
    assert len(losses) == 4


def test_groups_too_small_for_the_rule_are_averaged_and_counted() -> None:
    _, rounds = play(**(FM | BLOCKS), defense__name="krum")
    assert rounds[1].facts["groups.averaged"] == 4.0, "five clients, four architectures"


def test_backbones_may_be_truly_different() -> None:
    summary, rounds = play(**FM, fm_fl__prototypes="backbones", fm_fl__backbones="resnet8, cnn")
    assert "prototype.cnn.ma_percent" in rounds[-1].facts
    assert (Path(summary.folder) / "model-cnn.safetensors").is_file()


def test_lists_that_cannot_be_read_are_named_before_any_client_starts() -> None:
    for changes, key in (
        ({"fm_fl__blocks": "1, x"}, "fm_fl.blocks"),
        ({"fm_fl__blocks": "17"}, "fm_fl.blocks"),
        ({"fm_fl__widths": ""}, "fm_fl.widths"),
        ({"fm_fl__widths": "8, 8"}, "fm_fl.widths"),
        ({"fm_fl__prototypes": "backbones", "fm_fl__backbones": "resnet9"}, "model.name"),
    ):
        with pytest.raises(ConfigError) as caught:
            Plan.make(load(settings(**(FM | {"fm_fl__prototypes": "blocks"} | changes))))
        assert caught.value.key == key


# --- fusion by logits alone -------------------------------------------------------------------------------------------


def test_by_logits_alone_every_client_keeps_a_model_of_its_own() -> None:
    more: dict[str, Scalar] = {"fm_fl__fusion": "logits-only", "federation__fraction_train": 0.4, "fm_fl__alpha": 0.0}
    strategy, grid = made(**more, run__rounds=1)
    strategy.start(grid, strategy.initial_arrays, 1)
    population, initial = strategy.standing.population, strategy.standing.initial
    trained = {f"client-{p}" for p in strategy.outcome.participants}
    assert len(population) == 5
    moved = {p for p, weights in population.items() if not weights.equals(initial[p])}
    assert moved == trained
    assert len(trained) == 2
    losses = [n for n in strategy.outcome.facts if n.startswith("distillation.client")]
    assert len(losses) == 2


# --- what a run says --------------------------------------------------------------------------------------------------


def test_a_sanitizer_works_before_the_stages_that_are_asked_for() -> None:
    found = {}
    for when in ("initialisation", "distillation", "both"):
        _, rounds = play(
            **FM, run__rounds=0, splitter__name="guide-agreement", synthetic__sanitize_before=when,
            synthetic__per_class=20,
        )  # fmt: skip
        facts = rounds[0].facts
        found[when] = ("initialisation.flagged" in facts, "distillation.flagged" in facts)
        assert facts["synthetic.survivors"] >= facts.get("distillation.survivors", 0.0)
    assert found == {"initialisation": (True, False), "distillation": (False, True), "both": (True, True)}


def test_clients_measure_their_own_models_on_common_triggered_data() -> None:
    asked: dict[str, Scalar] = {
        "federation__fraction_evaluate": 1.0, "partition__test_fraction": 0.3,
        "federation__evaluate_model": "fine-tuned", "federation__evaluate_triggered": "common",
    }  # fmt: skip
    _, rounds = play(**FM, **asked, **BLOCKS)
    assert len(rounds[-1].client_metrics) == 5
    received, _ = play(**FM, federation__fraction_evaluate=1.0, partition__test_fraction=0.3, **BLOCKS)
    asr = {said["asr_percent"] for said in rounds[-1].client_metrics.values()}
    assert all(round(rate * 54 / 100) == pytest.approx(rate * 54 / 100) for rate in asr), "54 of 60 test images"
    assert received.parameters_sha256 == play(**FM, **asked, **BLOCKS)[0].parameters_sha256


def test_an_attack_on_the_servers_data_is_one() -> None:
    summary, rounds = play(**FM)
    assert not any("no client attacked" in finding for finding in read(Path(summary.folder)).notes)
    assert rounds[0].facts["synthetic.poisoned"] == 9.0, "one of each class but the target's: floor(0.6 + 0.5)"
    free, _ = play(**(FM | {"attack__name": "af-fl"}))
    assert free.asr_percent is not None
    plain, _ = play(attack__name="bd-fmfl")
    assert any("uses none" in note for note in read(Path(plain.folder)).run.notes)


# --- what comes after distillation ------------------------------------------------------------------------------------


def test_every_prototype_is_pruned_by_its_own_clients(tmp_path: Path) -> None:
    """16 channels in each of four architectures; which are silent differs with who was asked."""
    _, rounds = play(**(FM | BLOCKS), run__rounds=1, repair__name="pruning")
    facts = rounds[-1].facts
    silenced = {name: value for name, value in facts.items() if name.endswith(".silenced")}
    assert len(silenced) == 4
    assert set(silenced.values()) == {3.0}
    assert (rounds[-1].stage, rounds[-1].participants, rounds[-1].dropped) == ("repair", (0, 1, 2, 3, 4), {})


def test_clients_with_models_of_their_own_are_asked_about_these(tmp_path: Path) -> None:
    _, rounds = play(**FM, run__rounds=1, fm_fl__fusion="logits-only", repair__name="pruning")
    assert sum(name.endswith(".silenced") for name in rounds[-1].facts) == 5


@pytest.mark.parametrize("more", [{}, BLOCKS])
def test_bounds_are_put_on_what_was_distilled(more: dict[str, Scalar], tmp_path: Path) -> None:
    bounds: dict[str, Scalar] = {
        "purifier__name": "activation-bounds", "purifier__activation-bounds__trusted": "all",
        "synthetic__augment": "none", "run__rounds": 1,
    }  # fmt: skip
    strategy, grid = made(**(more | bounds))
    plain, other = made(**more, run__rounds=1, synthetic__augment="none")
    for one, on in ((strategy, grid), (plain, other)):
        one.start(on, one.initial_arrays, 1)
    for prototype, weights in strategy.standing.population.items():
        assert len(weights.bounds) >= 7
        assert weights.unbounded().equals(plain.standing.population[prototype])
