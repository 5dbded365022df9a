"""Splitters that can't be had as they are set, found before anything is trained."""

from __future__ import annotations

from attacks.schedule import poisons_centrally
from defenses.base import Splitter
from defenses.needs import FreshModels
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.public_slice import public_samples
from fedcrucible_core.learning.data import DataInfo, DataSplits
from fedcrucible_core.learning.models.scorers import check_rows, check_scorer
from strategies.systems import Assembled


def check_splitter(splitter: Splitter, key: str, info: DataInfo) -> None:
    """Its settings fit each other and the data, whoever's samples it splits; ``key`` named it. Raises ConfigError."""
    splitter.check(info)
    fresh = splitter.needs.fresh
    if fresh is not None and fresh.on == "public":
        public_samples(info, key, splitter.name)
    if fresh is not None and fresh.scorer is not None:
        check_scorer(fresh.scorer, info)


def check_splitters(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    """The server's splitters have what they need, and the system can do what becomes of flagged samples."""
    for splitter in (system.splitter, system.suspects_splitter):
        if splitter is None:
            continue
        check_splitter(splitter, "splitter.name", data.info)
        fresh = splitter.needs.fresh
        if fresh is not None and fresh.score == "victim-ckpt5":
            _check_victim(config, system, fresh.epochs)
        if fresh is not None and fresh.scorer is not None:
            _check_scored(config, system, fresh, data)
    if system.splitter is None:
        return
    action = config.synthetic.sanitizer
    if action not in ("none", "drop") and not system.kind.synthetic:
        allowed = f"strategy {config.strategy!r} can only leave samples out; allowed: none, drop"
        raise ConfigError("synthetic.sanitizer", action, allowed)


def _check_victim(config: RunConfigBase, system: Assembled, epochs: int) -> None:
    """There is a central training of so many epochs, on what is split."""
    name = system.suspects_splitter.name if system.suspects_splitter is not None else config.splitter.name
    key = f"splitter.{name}"
    if system.suspects_splitter is None or not system.suspects_are_central:
        allowed = "scores by the model of central training, and nothing that it was trained on is split; use fresh3x5"
        raise ConfigError(f"{key}.score", "victim-ckpt5", allowed)
    if epochs > config.run.rounds:
        raise ConfigError(
            f"{key}.epochs", epochs, f"at most the epochs of central training, run.rounds = {config.run.rounds}"
        )


def _check_scored(config: RunConfigBase, system: Assembled, fresh: FreshModels, data: DataSplits) -> None:
    """A file of logits has those of the samples that are split."""
    scorer = fresh.scorer
    if scorer is None or not scorer.holds_logits:
        return
    if system.suspects_splitter is None or not system.suspects_are_central:
        allowed = "holds logits of a data set's rows, and what is split are the server's own samples; allowed: a model"
        raise ConfigError(scorer.key, scorer.file, allowed)
    if not poisons_centrally(config):  # what is added by poison.central is known once it was made
        check_rows(scorer, data.train)
