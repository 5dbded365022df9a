"""What a run's numbers depend on: two configurations with the same identity are one run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch

from attacks.adversary import Adversary
from attacks.poisoner import Poisoner
from attacks.schedule import has_attack, poisons_centrally
from attacks.upstream import upstream_partitions
from fedcrucible_core.config.component import Names
from fedcrucible_core.config.compose import REGISTRIES, RunConfigBase, registry_of
from fedcrucible_core.config.load import as_before, default_keys, flatten, has_effect
from fedcrucible_core.config.old_keys import former
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.foundation.guides import CHAT
from fedcrucible_core.learning.data import DataSplits
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.models.weights_file import KEY as WEIGHTS
from fedcrucible_core.learning.models.weights_file import weights_file
from server_app.checks import attackers
from server_app.evaluation import Evaluator
from server_app.plan import Plan
from strategies.systems import assemble

DIGITS = 16
ATTACK = ("attack.", "poison.", "adversary.")
"""Sections that say nothing of a run without attackers, but for what is measured."""
WINDOW = ("adversary.start_round", "adversary.stop_round")
"""The rounds over which ASR is summed up, attackers or none."""

LATER = (
    (
        "fm_fl.", "federation.evaluate_", "synthetic.sanitize", "task.text_column", "task.max_length",
        "task.reserved_tokens", "task.tokenizer", "guide.scale", "guide.prompts", "guide.centre", "guide.noise",
        "guide.target_accuracy", "guide.backdoor", "poison.share_of", "poison.central", "poison.upstream",
        "poison.classes", "poison.smoke", "client.",
        "federation.quorum", "federation.required", "federation.excluded", "model.weights",
    ),
    (".blocks", ".block_width", ".fedavg.weighted", ".cgd-unlearn.fall"),
)  # fmt: skip
"""Beginnings and ends of keys that count only where they have another value than the default.

They came after results that stay valid.
"""

MAY_CHANGE = (
    "run.rounds", "federation.timeout_s", "federation.wait_for_clients_s", "federation.poll_s", "federation.discovery",
    "federation.node_partitions", "federation.quorum", "federation.required",
    "federation.excluded",
)  # fmt: skip
"""Settings that a resumed run may have other values of: how far it goes, which node is which client, who is left out
from now on, and how long it waits for whom."""
MOST_HASHED = 256 * 2**20
"""Bytes of a split's pixels that prove that the data are the same; of larger ones every k-th image. All labels do."""
FORMER_CONTENT = {
    "cf1deca19f9645662ba5796846968d72b05bd62d9fdf173056530d6ff8e4c72a":
    "c4e3728775cefe6cf2c0529e2b14939dbf895673eb4967aa39d28d1f1782a95c",
    "a9d47972fbc18391286ac30e0c01afb911786d12c9f823b1a224a61e59ff2a2b":
    "d913292d0129f925581c4f56faebd35f532d8e7f1786aa12ea8e59931e05a94a",
}  # fmt: skip
"""Content hash of the guide and of the generator that ship -> the hash of then, which covered their model cards too."""


def digest(config: RunConfigBase) -> str:
    """SHA-256 of the identity, shortened. Raises ConfigError where a cell without attackers can't load its data."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:DIGITS]


def identity(config: RunConfigBase) -> Mapping[str, Scalar]:
    """The settings that matter.

    Parameters of components that the run can't reach don't count, so that results stay valid when a component is added
    to the project or a preset says something about another one.  Without any attacker the attack's settings count only
    by what they do to the images on which ASR is measured, and by its first and last round: attacks that share a
    trigger share that run.  A share that is nobody, though not chosen as such, is told in the record: it counts too.
    """
    values = reached_settings(config)
    if config.model.weights:  # what lies there counts, wherever it lies
        values[WEIGHTS] = _content(str(weights_file(config.model.weights)))
    anywhere = attackers(config) or poisons_centrally(config) or upstream_partitions(config)
    if not (anywhere or Adversary.of(config).compromise is not None):
        values = {key: value for key, value in values.items() if not key.startswith(ATTACK) or key in WINDOW}
        values |= _measured_on(config) | _expected(config)
    return values


def reached_settings(config: RunConfigBase) -> dict[str, Scalar]:
    """The settings that a run comes across: those without effect and those of components it can't reach left out."""
    settings, defaults = as_before(flatten(config)), as_before(default_keys())
    values = {
        key: value
        for key, value in settings.items()
        if has_effect(key, settings) and not (_later(key) and value == defaults[key])
    }
    adversary = Adversary.of(config)
    if not adversary.planted:
        del values["attack.trigger"]
    chosen = [*_chosen(config).items(), *(("attack", part.name) for part in adversary.parts)]
    if config.client.sanitizer != "none":
        chosen.append(("splitter", config.client.splitter))
    else:
        values.pop("client.splitter", None)
    if config.guide.model == CHAT:
        chosen.append(("synthetic", "llm"))  # the service that it is
    reached = _reached(chosen, values)
    for key in list(values):
        section, *rest = key.split(".")
        if section in REGISTRIES and len(rest) == 2 and (section, rest[0]) not in reached:
            del values[key]
    return values


def _later(key: str) -> bool:
    starts, ends = LATER
    return key.startswith(starts) or key.endswith(ends)


def run_identity(plan: Plan, *, former_keys: bool = False) -> str:
    """Of which run a checkpoint is: SHA-256 of the settings that a resumed run must share, and of what they name.

    That is the data, files of the attack, and what the server's images and its guide are made of.  Settings at their
    defaults don't count, so that checkpoints stay valid when the project learns another one.  ``former_keys``: as the
    version before hashed the same settings, under the keys that it had.
    """
    defaults = as_before(default_keys())
    settings = {key: value for key, value in continued_settings(plan.config).items() if value != defaults.get(key)}
    if former_keys:
        settings = former(settings)
    files = {key: _content(value) for key, value in settings.items() if isinstance(value, str) and os.sep in value}
    if plan.config.model.weights:
        files[WEIGHTS] = _content(str(weights_file(plan.config.model.weights)))
    named = {"data": data_digest(plan.data), "files": {key: found for key, found in files.items() if found}}
    contents: dict[str, str] = {}
    if plan.system.needs_server_data:
        contents["synthetic"] = plan.foundation.synthetic_source().fingerprint()
    if plan.system.needs_guide:
        contents["guide"] = plan.foundation.guide().identity
    named |= {key: FORMER_CONTENT.get(found, found) if former_keys else found for key, found in contents.items()}
    return hashlib.sha256(json.dumps([settings, named], sort_keys=True).encode()).hexdigest()


def _content(name: str) -> str:
    """SHA-256 of a file, or of the names and sizes in a folder; empty for what is neither."""
    path = Path(name).expanduser()
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if not path.is_dir():
        return ""
    sizes = sorted((p.relative_to(path).as_posix(), p.stat().st_size) for p in path.rglob("*") if p.is_file())
    return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()


def continued_settings(config: RunConfigBase) -> dict[str, Scalar]:
    """The settings that a resumed run must share with the run that it continues."""
    return {key: value for key, value in reached_settings(config).items() if key not in MAY_CHANGE}


@lru_cache(maxsize=1)  # a resumed run asks three times
def data_digest(data: DataSplits) -> str:
    """SHA-256 of the classes, all labels and the images of every split; of very many images every k-th."""
    total = hashlib.sha256(json.dumps([data.info.class_names, data.info.shape]).encode())
    for split in (data.train, data.validation, data.test):
        total.update(split.labels.numpy().tobytes())
        step = -(-split.inputs.nbytes // MOST_HASHED) or 1
        total.update(split.inputs[::step].contiguous().numpy().tobytes())
    return total.hexdigest()


def _reached(chosen: Sequence[tuple[str, str]], values: Mapping[str, Scalar]) -> set[tuple[str, str]]:
    """(section, name) of the chosen components and of those that their parameters name, however indirectly."""
    reached: set[tuple[str, str]] = set()
    waiting = list(chosen)
    while waiting:
        section, name = waiting.pop()
        if (section, name) in reached:
            continue
        reached.add((section, name))
        waiting += _named_by(section, name, values)
    return reached


def _named_by(section: str, name: str, values: Mapping[str, Scalar]) -> Iterator[tuple[str, str]]:
    """(section, name) of the components that the fields of one say by name (:class:`Names`)."""
    if name not in registry_of(section):
        return
    for key, field in registry_of(section)[name].model_fields.items():
        for mark in field.metadata:
            value = values.get(f"{section}.{name}.{field.alias or key}")
            if isinstance(mark, Names) and isinstance(value, str) and value in registry_of(mark.section):
                yield mark.section, value


def _chosen(config: RunConfigBase) -> dict[str, str]:
    system = assemble(config)
    return {
        "partition": config.partition.name,
        "model": config.model.name,
        "defense": system.rule_name,
        "purifier": system.purifier.name if system.purifier is not None else "",
        "repair": system.repair.name if system.repair is not None else "",
        "splitter": config.splitter.name if system.suspects_splitter is None else system.suspects_splitter.name,
        "synthetic": config.synthetic.source,
    }


def _expected(config: RunConfigBase) -> dict[str, Scalar]:
    """The share that was to attack, where that is nobody; nothing where nobody was to."""
    section = config.adversary
    chosen = has_attack(config) and section.malicious_fraction > 0.0 and assemble(config).rule is not None
    return {"adversary.malicious_fraction": section.malicious_fraction} if chosen else {}


def _measured_on(config: RunConfigBase) -> dict[str, Scalar]:
    """What attack success is measured on, by content: the same images and target, the same rate."""
    poisoner = Adversary.of(config).poisoner
    section = config.poison
    key = (poisoner, config.attack.artefact, section.target_label, section.classes, config.task, config.run.seed)
    if key not in _MEASURED:
        evaluator = Evaluator.build(config, load_task(config.task), poisoner, torch.device("cpu"))
        _MEASURED[key] = evaluator.fingerprint()
    return {"attack": _MEASURED[key]}


_MEASURED: dict[tuple[Poisoner, str, int, str, TaskSection, int], str] = {}
