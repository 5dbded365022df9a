"""A trained trigger: prepared once, kept by content, used in training and at test time alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import Field
from torch import Tensor

from attacks.artefact import EMPTY, Artefact
from attacks.contracts import check_poisoner
from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.poisoners.badnets import BadNets
from attacks.preparation import _MADE, prepared
from attacks.task import AttackTask
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from tests.support.tiny_runs import settings
from tests.support.tiny_task import labelled, make_task

PREPARED: list[int] = []
STAMPED: list[tuple[int | None, bytes]] = []
STEPS = 20


class Trained(Poisoner):
    """A faint pattern, trained until a linear model of the training images calls stamped ones the target."""

    paper = "a test"
    bound: float = Field(0.3, gt=0.0, le=1.0, description="Largest change of a pixel")

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """Gradient steps on the pattern against a linear model fitted to the task's images."""
        PREPARED.append(task.target)
        x, y = task.train.for_model(), task.train.labels
        weights = torch.zeros(x[0].numel(), task.info.num_classes, requires_grad=True)
        pattern = ((torch.rand(x.shape[1:], generator=rng) - 0.5) * 0.02).requires_grad_()
        for _ in range(STEPS):
            loss = torch.nn.functional.cross_entropy((x - 0.5).flatten(1) @ weights, y)
            (gradient,) = torch.autograd.grad(loss, weights)
            weights = (weights - 0.5 * gradient).detach().requires_grad_()
        losses = []
        for _ in range(STEPS):
            wanted = torch.full_like(y, task.target)
            loss = torch.nn.functional.cross_entropy((x + pattern - 0.5).clamp(-0.5, 0.5).flatten(1) @ weights, wanted)
            (gradient,) = torch.autograd.grad(loss, pattern)
            pattern = (pattern - 0.05 * gradient.sign()).clamp(-self.bound, self.bound).detach().requires_grad_()
            losses.append(loss.item())
        return Artefact({"pattern": pattern.detach()}, {"first_loss": losses[0], "last_loss": losses[-1]})

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Add the pattern and clip."""
        pattern = ctx.artefact.tensors["pattern"]
        STAMPED.append((ctx.part, pattern.numpy().tobytes()))
        return (x + pattern.to(x)).clamp(0.0, 1.0)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("FEDCRUCIBLE_CACHE", str(tmp_path / "cache"))
    list(POISONERS)  # the built-in ones first
    monkeypatch.setattr(Trained, "name", "trained")
    monkeypatch.setitem(POISONERS._classes, "trained", Trained)
    for kept in (PREPARED, STAMPED, _MADE):
        kept.clear()
    yield
    _MADE.clear()


def task(target: int = 2, seed: int = 9) -> AttackTask:
    return make_task(labelled(36, (1, 8, 8), seed), target)


def test_it_keeps_the_contract() -> None:
    check_poisoner(Trained())


def test_training_helps() -> None:
    facts = prepared(Trained(), task(), seed=1).facts
    assert float(facts["last_loss"]) < float(facts["first_loss"])


def test_nothing_is_prepared_where_nothing_is_to_prepare(tmp_path: Path) -> None:
    assert prepared(BadNets(), task(), seed=1, cache_dir=tmp_path) is EMPTY
    assert list(tmp_path.iterdir()) == []


def test_what_is_prepared_is_found_again_by_a_fresh_process(tmp_path: Path) -> None:
    first = prepared(Trained(), task(), seed=1, cache_dir=tmp_path)
    assert prepared(Trained(), task(), seed=1, cache_dir=tmp_path) is first
    _MADE.clear()
    again = prepared(Trained(), task(), seed=1, cache_dir=tmp_path)
    assert len(PREPARED) == 1
    assert again is not first
    assert torch.equal(again.tensors["pattern"], first.tensors["pattern"])
    assert dict(again.facts) == dict(first.facts)


def test_without_a_folder_it_lies_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCRUCIBLE_CACHE", str(tmp_path / "volume"))
    prepared(Trained(), task(), seed=1)
    assert [file.suffix for file in (tmp_path / "volume").iterdir()] == [".safetensors"]


@pytest.mark.parametrize("other", ["parameters", "data", "target", "seed", "threads"])
def test_another_task_is_prepared_anew(other: str, tmp_path: Path) -> None:
    prepared(Trained(), task(), seed=1, cache_dir=tmp_path)
    prepared(
        Trained(bound=0.2) if other == "parameters" else Trained(),
        task(3 if other == "target" else 2, 10 if other == "data" else 9),
        seed=2 if other == "seed" else 1,
        threads=2 if other == "threads" else 1,
        cache_dir=tmp_path,
    )
    assert len(PREPARED) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_is_prepared_again(tmp_path: Path) -> None:
    first = prepared(Trained(), task(), seed=1, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"nonsense")
    _MADE.clear()
    with pytest.warns(RuntimeWarning, match="can't be used"):
        again = prepared(Trained(), task(), seed=1, cache_dir=tmp_path)
    assert torch.equal(again.tensors["pattern"], first.tensors["pattern"])


def test_a_whole_run_prepares_once_and_trains_and_measures_with_the_same_trigger(runs_folder: Path) -> None:
    summary = run_in_process(Plan.make(load(settings(attack__name="trained"))))
    assert len(PREPARED) == 1
    parts = {part for part, _ in STAMPED}
    assert parts == {None, 0, 1}, "the whole trigger at test time, each attacker's in training"
    assert len({pattern for _, pattern in STAMPED}) == 1
    assert summary.asr_percent is not None
    assert all(not row.dropped for row in read(Path(summary.folder)).rounds)
    run_in_process(Plan.make(load(settings(attack__name="lp", attack__trigger="trained", run__rounds=1))))
    assert len(PREPARED) == 1, "an upload attack that plants it finds the same artefact"


def test_a_file_takes_the_place_of_the_preparation(runs_folder: Path, tmp_path: Path) -> None:
    pattern = torch.full((1, 28, 28), 0.25)
    Artefact({"pattern": pattern}, {"made": "elsewhere"}).save(tmp_path / "mine.safetensors")
    chosen = settings(attack__name="trained", attack__artefact=str(tmp_path / "mine.safetensors"), run__rounds=1)
    run_in_process(Plan.make(load(chosen)))
    assert PREPARED == []
    assert {given for _, given in STAMPED} == {pattern.numpy().tobytes()}


def test_a_file_that_nobody_uses_or_that_is_none_is_refused(tmp_path: Path) -> None:
    for name, message in (("badnets", "prepares nothing"), ("trained", "no file of a prepared artefact")):
        chosen = settings(attack__name=name, attack__artefact=str(tmp_path / "none.safetensors"))
        with pytest.raises(ConfigError, match=message) as caught:
            Plan.make(load(chosen))
        assert caught.value.key == "attack.artefact"
