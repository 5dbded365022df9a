"""CGD's guided unlearning: which rows carry which loss, when it stops, and the bugs of the published code."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from defenses.base import RepairContext, Split, Suspects
from defenses.contracts.repairs import make_suspects
from defenses.contracts.server_setting import INFO, make_model, same, snapshot
from defenses.repairs.cgd_unlearn import CgdUnlearn
from defenses.support import guided_unlearning
from defenses.support.unlearning_terms import Members, UnlearningTerms
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import minimise
from fedcrucible_core.learning.models.base import SplitModel

N = 60
QUICK = {"batch_size": 8, "epochs": 2, "augment": "none", "held_out": 0.0}


def context(suspects: Suspects | None = None, seed: int = 1) -> RepairContext:
    return RepairContext(
        INFO,
        torch.Generator().manual_seed(seed),
        torch.device("cpu"),
        suspects=suspects or make_suspects(N),
        training=TrainingSection(),
    )


def repaired(repair: CgdUnlearn, suspects: Suspects | None = None) -> tuple[SplitModel, dict[str, float]]:
    model = make_model()
    return model, repair.repair(model, context(suspects))


def parts(clean: Tensor, triggered: Tensor) -> Suspects:
    given = make_suspects(N)
    masks = [torch.zeros(N, dtype=torch.bool).index_fill(0, rows, True) for rows in (clean, triggered)]
    return replace(given, split=Split.by(*masks))


# --- the loss of a batch ---------------------------------------------------------------------------------------------


def test_each_part_carries_its_own_loss() -> None:
    g = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 4, generator=g), torch.arange(6) % 4
    teacher = torch.randn(9, 4, generator=g)
    members = Members.of(torch.arange(9) % 4, torch.tensor([3, 4]), torch.tensor([5, 6]), teacher)
    rows = torch.arange(3, 9)
    terms = UnlearningTerms(lambda_un=0.5, lambda_d=0.25)
    found = terms.loss(logits, labels, members, rows)
    p = logits[2:4].softmax(1).gather(1, labels[2:4, None])[:, 0]
    kl = F.kl_div((logits[2:4] / 3).log_softmax(1), (teacher[5:7] / 3).softmax(1), reduction="batchmean")
    expected = F.cross_entropy(logits[:2], labels[:2]) + 0.5 * (p + 1e-6).log().mean() + 0.25 * 9 * kl
    torch.testing.assert_close(found, expected)
    assert terms.loss(logits[4:], labels[4:], members, rows[4:]) is None, "mixed rows have no loss"
    only_clean = terms.loss(logits[:2], labels[:2], members, rows[:2])
    torch.testing.assert_close(only_clean, F.cross_entropy(logits[:2], labels[:2]))


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ({"retain": False, "lambda_d": 0.0}, "un"),
        ({"retain": False, "lambda_un": 0.0}, "distill"),
        ({"lambda_un": 0.0, "lambda_d": 0.0}, "re"),
        ({"retain": False, "lambda_un": 0.0, "teacher": "none"}, ""),
    ],
)
def test_every_term_can_be_left_out(off: dict[str, object], left: str) -> None:
    terms = UnlearningTerms.model_validate(off)
    labels = torch.tensor([0, 1])
    teacher = terms.teacher_logits(make_suspects(2).guide, 2, 4)
    members = Members.of(labels, torch.tensor([0]), torch.tensor([1]), teacher)
    found = terms.loss(torch.ones(2, 4), labels, members, torch.arange(2))
    assert (found is None) == (left == "")
    if left == "re":
        torch.testing.assert_close(found, torch.tensor(4.0).log())


def test_rows_without_a_label_belong_nowhere() -> None:
    members = Members.of(torch.tensor([-1, 0, -1]), torch.tensor([0, 1]), torch.tensor([2]), None)
    assert members.clean.tolist() == [False, True, False]
    assert members.triggered.tolist() == [False] * 3


def test_teachers() -> None:
    guide = make_suspects(5).guide
    assert guide is not None
    cosines = guide.embeddings @ guide.text_embeddings.T
    scaled = UnlearningTerms(teacher_scale=100.0).teacher_logits(replace(guide, scale=10.0), 5, 4)
    torch.testing.assert_close(scaled, 100.0 * cosines)
    assert UnlearningTerms(teacher="uniform").teacher_logits(None, 5, 4) is not None
    assert UnlearningTerms(teacher="none").teacher_logits(None, 5, 4) is None
    assert not CgdUnlearn(teacher="uniform").needs.guide
    assert not CgdUnlearn(lambda_d=0.0).needs.guide
    with pytest.raises(ValueError, match="there is none"):
        UnlearningTerms().teacher_logits(None, 5, 4)


# --- what is trained on ----------------------------------------------------------------------------------------------


def test_without_other_terms_it_is_fine_tuning_on_the_clean_rows() -> None:
    """Batch norm apart, nothing of the others may enter: labels of rows that aren't clean can be anything."""
    repair = CgdUnlearn.model_validate(QUICK | {"lambda_un": 0.0, "lambda_d": 0.0})
    given = make_suspects(N)
    assert given.split is not None
    labels = given.data.labels.clone()
    others = torch.cat([given.split.triggered, given.split.mixed])
    labels[others] = 3 - labels[others]
    first, _ = repaired(repair, given)
    second, _ = repaired(
        repair.model_copy(update={"oversample": "none"}), replace(given, data=Labeled(given.data.inputs, labels))
    )
    third, _ = repaired(repair.model_copy(update={"oversample": "none"}), given)
    assert same(snapshot(second), snapshot(third))
    assert not same(snapshot(first), snapshot(third))


def test_unlearning_makes_triggered_labels_unlikely() -> None:
    """All of them bear one label, as an attack's do."""
    given = make_suspects(N)
    assert given.split is not None
    rows = given.split.triggered
    labels = given.data.labels.index_fill(0, rows, 0)
    given = replace(given, data=Labeled(given.data.inputs, labels))
    model = make_model()

    def likelihood() -> float:
        with torch.no_grad():
            shares = model.eval()(given.data.inputs[rows]).softmax(1)
        return float(shares.gather(1, given.data.labels[rows][:, None]).mean())

    before = likelihood()
    CgdUnlearn.model_validate(QUICK | {"retain": False, "lambda_un": 1.0, "lr": 0.1}).repair(model, context(given))
    assert likelihood() < before - 0.02


@pytest.mark.parametrize(("way", "counts"), [("none", [20, 5, 10]), ("largest", [20, 20, 20]), ("match", [20, 20, 20])])
def test_oversampling_follows_the_very_split_of_the_losses(
    way: str, counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published splitter fixes .8/.2 for the rows that are drawn, and the losses another sigma."""
    labels = torch.arange(N) % 3
    of_class = [(labels == c).nonzero().flatten() for c in range(3)]
    clean = torch.cat([of_class[0], of_class[1][:5], of_class[2][:10]]).sort().values
    triggered = of_class[1][5:10]
    suspects = replace(parts(clean, triggered), data=Labeled(make_suspects(N).data.inputs, labels))
    seen: list[tuple[Tensor, Members]] = []

    def noted(self: guided_unlearning.Epoch, rows: Tensor, rng: torch.Generator) -> None:
        seen.append((rows, self.members))

    monkeypatch.setattr(guided_unlearning.Epoch, "run", noted)
    repaired(CgdUnlearn.model_validate(QUICK | {"oversample": way, "epochs": 1}), suspects)
    rows, members = seen[0]
    drawn = rows[members.clean[rows]]
    assert torch.bincount(labels[drawn]).tolist() == counts
    assert torch.equal(drawn.unique(), clean)
    others = rows[~members.clean[rows]]
    assert torch.equal(others.sort().values, torch.tensor(sorted(set(range(N)) - set(clean.tolist())))), "each once"
    assert torch.equal(members.triggered.nonzero().flatten(), triggered)


def test_mixed_rows_move_batch_norm_only_where_they_may() -> None:
    """The published code forwards them in training mode, so they do contribute."""
    mixed_given = make_suspects(N)
    assert mixed_given.split is not None
    inputs = mixed_given.data.inputs.clone()
    inputs[mixed_given.split.mixed] = 1.0 - inputs[mixed_given.split.mixed]
    other = replace(mixed_given, data=Labeled(inputs, mixed_given.data.labels))
    for seen in (True, False):
        repair = CgdUnlearn.model_validate(QUICK | {"bn_on_mixed": seen})
        first, second = (repaired(repair, given)[0] for given in (mixed_given, other))
        assert same(snapshot(first), snapshot(second)) is not seen


@pytest.mark.parametrize("bn_on_mixed", [True, False])
def test_a_batch_without_members_takes_no_step(bn_on_mixed: bool) -> None:
    """The published loss is then a Python float, whose backward crashes; nor may weight decay move anything."""
    nothing = torch.zeros(0, dtype=torch.int64)
    repair = CgdUnlearn.model_validate(QUICK | {"epochs": 1, "batch_size": 4, "bn_on_mixed": bn_on_mixed})
    _, facts = repaired(repair, parts(torch.arange(2), nothing))
    assert facts["skipped_batches"] >= 12
    still = CgdUnlearn.model_validate(QUICK | {"retain": False, "lambda_un": 0.0, "teacher": "none"})
    quiet = make_model()
    start = [p.detach().clone() for p in quiet.parameters()]
    still.repair(quiet, context())
    assert all(torch.equal(a, b) for a, b in zip(start, quiet.parameters(), strict=True))


@pytest.mark.parametrize(("clean", "triggered"), [(0, 5), (5, 0), (1, 1), (2, 0), (3, 0)])
def test_parts_may_be_empty_or_tiny(clean: int, triggered: int) -> None:
    repair = CgdUnlearn.model_validate(QUICK | {"epochs": 1, "held_out": 0.05})
    model, _ = repaired(repair, parts(torch.arange(clean), torch.arange(clean, clean + triggered)))
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_a_split_that_says_nothing_is_refused() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="nothing clean and nothing triggered"):
        repaired(CgdUnlearn(), parts(nothing, nothing))
    with pytest.raises(ValueError, match="isn't given"):
        CgdUnlearn().repair(make_model(), replace(context(), suspects=None))


def test_epochs_are_cut_to_so_many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = minimise

    def counted(parameters, loss, n, *rest, **more):  # type: ignore[no-untyped-def]
        sizes.append(n)
        return real(parameters, loss, n, *rest, **more)

    monkeypatch.setattr(guided_unlearning, "minimise", counted)
    repaired(CgdUnlearn.model_validate(QUICK | {"batches": 3}))
    assert sizes == [24, 24]


# --- the early stop --------------------------------------------------------------------------------------------------


def run_watched(rates: list[float], epochs: int = 4) -> tuple[guided_unlearning.Unlearned, int]:
    """Unlearning watched by these accuracies, the first one the victim's; the weights it ends with, by epoch."""
    model, given = make_model(), make_suspects(N)
    assert given.split is not None
    marks = [snapshot(model)]
    left = iter(rates)

    def watch(model: SplitModel) -> float:
        marks.append(snapshot(model))
        return next(left)

    repair = CgdUnlearn.model_validate(QUICK | {"epochs": epochs, "lr": 0.05})
    found = repair.unlearn(model, given.data, given.split.clean, given.split.triggered, context(given), watch)
    now = snapshot(model)
    return found, next(number for number, mark in enumerate(marks[1:]) if same(mark, now))


def test_the_first_epoch_is_not_accepted_whatever_it_costs() -> None:
    """Published: the best starts at -inf, so a model far below the victim is kept."""
    found, held = run_watched([90.0, 40.0])
    assert (found.kept, found.ran, held) == (0, 1, 0)
    assert (found.before_percent, found.after_percent) == (90.0, 90.0)


def test_the_best_epoch_comes_back_not_the_one_before() -> None:
    """Published: the previous epoch's weights."""
    found, held = run_watched([90.0, 90.4, 89.7, 89.3])
    assert (found.kept, found.ran, held) == (1, 3, 1)
    assert found.after_percent == 90.4


def test_of_equally_good_epochs_the_later_one_comes_back() -> None:
    found, held = run_watched([90.0, 90.4, 90.4, 80.0])
    assert (found.kept, found.ran, held) == (2, 3, 2)


def test_without_a_stop_the_last_epoch_is_kept() -> None:
    """Small losses within the tolerance don't bring the victim back, or nothing would be unlearned."""
    found, held = run_watched([90.0, 89.5, 89.6, 89.4, 89.3, 89.3])
    assert (found.kept, found.ran, held) == (4, 4, 4)


def test_what_is_watched_is_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Tensor] = []
    watched: list[Labeled] = []

    def noted(self: guided_unlearning.Epoch, rows: Tensor, rng: torch.Generator) -> None:
        used.append(rows)

    def measured(model: SplitModel, data: Labeled) -> float:
        watched.append(data)
        return 50.0

    monkeypatch.setattr(guided_unlearning.Epoch, "run", noted)
    monkeypatch.setattr("defenses.repairs.cgd_unlearn.accuracy_percent", measured)
    given = make_suspects(N)
    _, facts = repaired(CgdUnlearn.model_validate(QUICK | {"held_out": 0.3, "epochs": 1}), given)
    kept = given.data.inputs[used[0].unique()].flatten(1)
    held = watched[0].inputs.flatten(1)
    assert len(held) >= 8
    assert not bool((held[:, None] == kept[None]).all(2).any())
    assert facts["held_out_before_percent"] == 50.0


# --- the end of forgetting -------------------------------------------------------------------------------------------


def run_forgetting(
    remembered: list[float], fall: float, watch: list[float] | None = None
) -> tuple[guided_unlearning.Unlearned, list[bool]]:
    """Epochs that do nothing, after which so many percent of the given labels are left."""
    model, left, seen = make_model(), iter(remembered), list[bool]()
    forgetting = guided_unlearning.Forgetting(lambda _: next(left), fall)
    rates = None if watch is None else iter(watch)
    given = make_suspects(N)
    members = Members.of(given.data.labels, torch.arange(5), torch.arange(5, 9), None)
    terms = CgdUnlearn.model_validate(QUICK)
    epoch = guided_unlearning.Epoch(model, given.data, members, terms, terms.settings, 1, False, False)
    found = guided_unlearning.watched(
        model, len(remembered) - 1, lambda: seen.append(True), None if rates is None else lambda _: next(rates), 5.0,
        epoch, forgetting,
    )  # fmt: skip
    return found, seen


def test_it_ends_with_the_first_epoch_after_the_fall() -> None:
    found, epochs = run_forgetting([86.0, 84.0, 80.0, 62.0, 60.5, 60.0, 40.0], 5.0)
    assert (found.ran, found.kept, found.forgot, len(epochs)) == (4, 4, 4, 4)


def test_a_fall_over_several_epochs_is_one() -> None:
    found, _ = run_forgetting([86.0, 80.0, 70.0, 60.0, 58.0, 30.0], 5.0)
    assert (found.ran, found.forgot) == (4, 4)


def test_labels_that_go_one_by_one_end_nothing() -> None:
    found, _ = run_forgetting([86.0, 82.0, 78.0, 74.0, 70.0, 66.0], 5.0)
    assert (found.ran, found.kept, found.forgot) == (5, 5, 0)


def test_a_loss_of_accuracy_ends_it_before_the_fall() -> None:
    found, _ = run_forgetting([86.0, 84.0, 60.0, 60.0], 5.0, watch=[90.0, 90.0, 80.0])
    assert (found.ran, found.kept, found.forgot) == (2, 1, 0)


def test_what_is_kept_after_the_fall_is_the_last_epoch_not_the_most_accurate() -> None:
    """The most accurate one is from before the fall: the backdoor would come back."""
    found, _ = run_forgetting([86.0, 85.0, 60.0, 60.0, 60.0], 5.0, watch=[90.0, 92.0, 91.0, 90.0, 89.0])
    assert (found.ran, found.kept, found.after_percent, found.forgot) == (3, 3, 90.0, 3)


def test_the_fall_is_looked_at_on_triggered_rows_that_have_a_label() -> None:
    given = make_suspects(N)
    assert given.split is not None
    labels = given.data.labels.index_fill(0, given.split.triggered, -1)
    settings = CgdUnlearn.model_validate(QUICK | {"fall": 1.0})
    _, facts = repaired(settings, replace(given, data=Labeled(given.data.inputs, labels)))
    assert facts["forgot_epoch"] == 0.0, "nothing to look at"
    _, facts = repaired(settings.model_copy(update={"lambda_un": 5.0, "lr": 0.5, "epochs": 6}), given)
    assert facts["forgot_epoch"] in range(7)
    assert "forgot_epoch" not in repaired(CgdUnlearn.model_validate(QUICK))[1]


# --- settings --------------------------------------------------------------------------------------------------------


def test_augmentation_is_on_for_pictures_and_refused_for_texts() -> None:
    plain, auto, as_run = (
        repaired(CgdUnlearn.model_validate(QUICK | {"augment": way}))[0] for way in ("none", "auto", "run")
    )
    assert not same(snapshot(plain), snapshot(auto))
    assert same(snapshot(plain), snapshot(as_run)), "the run's training has none"
    texts = replace(INFO, task="text")
    with pytest.raises(ConfigError, match=r"repair\.cgd-unlearn\.augment"):
        CgdUnlearn(augment="crop-flip").check(make_model(), texts)
    with pytest.raises(ValidationError):
        CgdUnlearn(temperature=0.0)
