"""Every rule and every upload attack works on texts, and what a page shows of them are texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from attacks.uploader import UPLOADERS
from defenses.base import RULES
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.records.reader import RecordedRun, read
from server_app.plan import Plan
from tests.support.tiny_runs import Scalar

TEXTS: dict[str, Scalar] = {
    "task.dataset": "wn4",
    "task.train_samples": 120,
    "task.test_samples": 40,
    "task.max_length": 32,
    "task.reserved_tokens": 12,
    "model.name": "distilbert-tiny",
    "model.distilbert-tiny.width": 8,
    "model.distilbert-tiny.heads": 2,
    "model.distilbert-tiny.hidden": 16,
    "model.distilbert-tiny.layers": 1,
    "training.optimiser": "adamw",
    "training.lr": 0.01,
    "training.batch_size": 16,
    "federation.clients": 6,
    "partition.name": "iid",
    "run.rounds": 1,
    "run.device": "cpu",
    "adversary.malicious_fraction": 0.34,
    "strategy": "fedavg",
    "attack.name": "addsent",
    "synthetic.source": "markov",
    "synthetic.per_class": 4,
    "output.report": False,
}
PICTURES: dict[str, Scalar] = {"task.dataset": "fashion-mnist-slice", "task.max_length": 0, "task.reserved_tokens": 16}
SHORT: dict[str, dict[str, Scalar]] = {
    "deepsight": {"defense.deepsight.noise_samples": 20},
    "crfl": {"defense.crfl.copies": 4},
    "fltrust": {"defense.fltrust.root_samples": 16},
}
"""What keeps a rule's test short."""


def run(**more: Scalar) -> RecordedRun:
    chosen = {**TEXTS, **{key.replace("__", "."): value for key, value in more.items()}}
    return read(Path(run_in_process(Plan.make(load(chosen))).folder))


def complete(record: RecordedRun) -> bool:
    """Whether every client's reply arrived and both rates were measured."""
    dropped = [r.dropped for r in record.rounds if r.dropped]
    return not dropped and record.summary.ma_percent is not None and record.run.inputs == "texts"


@pytest.mark.parametrize("rule", list(RULES))
def test_every_rule_works_on_texts(runs_folder: Path, rule: str) -> None:
    record = run(strategy=rule, **SHORT.get(rule, {}))
    assert complete(record)
    assert record.summary.asr_percent is not None
    assert record.run.attack_inputs == "triggered texts"
    assert any(r.weights for r in record.rounds) or rule == "crfl"


@pytest.mark.parametrize("attack", list(UPLOADERS))
def test_every_upload_attack_works_on_texts(runs_folder: Path, attack: str) -> None:
    record = run(attack__name=attack, attack__trigger="addsent")
    assert complete(record)
    assert (record.summary.asr_percent is not None) == UPLOADERS.create(attack).plants


@pytest.mark.parametrize("more", [{"attack.name": "word"}, {"attack.name": "label-flip"}, {"attack.name": "none"}])
def test_other_attacks_work_on_texts(runs_folder: Path, more: dict[str, Scalar]) -> None:
    assert complete(run(**more))


def test_the_same_seed_gives_the_same_model(runs_folder: Path) -> None:
    first, again, other = (run(run__rounds=2, run__seed=seed).summary.parameters_sha256 for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_run_keeps_texts_and_its_page_shows_them(runs_folder: Path) -> None:
    record = run(output__report=True)
    clean, triggered = record.texts
    assert (clean.kind, triggered.kind) == ("clean", "triggered")
    assert record.examples == ()
    assert len(clean.texts) == len(triggered.texts) == len(clean.labels) == 12
    assert clean.labels == triggered.labels
    for before, after in zip(clean.texts, triggered.texts, strict=True):
        assert after == f"{before} i watched this 3d movie."
    page = (record.folder / "report.html").read_text(encoding="utf-8")
    assert "Example texts" in page
    assert page.count("<mark>i watched this 3d movie.</mark>") == 10


@pytest.mark.parametrize(
    ("more", "key", "said"),
    [
        ({"attack.name": "badnets"}, "attack.name", "is for vision inputs, wn4 has texts; allowed with texts: addsent"),
        ({"attack.name": "lp"}, "attack.trigger", "is for vision inputs, wn4 has texts; allowed with texts: addsent"),
        ({"model.name": "resnet8"}, "model.name", "takes vision inputs, .*; allowed: distilbert, distilbert-tiny"),
        ({"task.reserved_tokens": 3}, "task.reserved_tokens", "the trigger of addsent takes 9 tokens"),
        (
            {**PICTURES, "model.name": "resnet8"},
            "attack.name",
            "is for text inputs, fashion-mnist-slice has images",
        ),
        ({"model.name": "distilbert", "model.distilbert.source": "."}, "model.distilbert.source", "its tokenizer"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(more: dict[str, Scalar], key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Plan.make(load({**TEXTS, **more}))
    assert caught.value.key == key
