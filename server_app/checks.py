"""Impossible combinations, found before any client starts."""

from __future__ import annotations

import torch

from attacks.adversary import Adversary
from attacks.evaluation import has_inputs
from attacks.poisoner import POISONERS, Poisoner
from attacks.preparation import artefact_file, measured_context
from attacks.schedule import malicious_partitions
from attacks.source_classes import KEY as CLASSES
from attacks.task import AttackTask
from attacks.uploader import RunFacts
from defenses.base import RULES
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.base import SOURCES
from fedcrucible_core.foundation.public_slice import public_samples
from fedcrucible_core.foundation.server_data import augmentation_for
from fedcrucible_core.learning.data import DataSplits
from fedcrucible_core.learning.datasets import dataset_source
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.models.scorers import check_scorer
from fedcrucible_core.learning.models.weights_file import KEY, load_weights
from fedcrucible_core.learning.partition.base import PARTITIONERS
from fedcrucible_core.learning.partition.shares import partition_indices
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import Slot, parameter_slots
from server_app.blind_checks import check_blind
from server_app.client_checks import check_client_splitter, check_upstream
from server_app.guide_checks import check_backdoored_guide, check_guide_is_here
from server_app.poison_checks import check_poisoned_classes, check_smoke
from server_app.root_set import check_clean_set, check_root_set
from strategies.bindings import Bindings
from strategies.exclusions import KEY as EXCLUDED
from strategies.exclusions import Exclusions
from strategies.quorum import Quorum
from strategies.sampling import participants_per_round
from strategies.systems import Assembled


def attackers(config: RunConfigBase) -> tuple[int, ...]:
    """Partitions that are malicious by this configuration."""
    return malicious_partitions(config)


def check_combination(
    config: RunConfigBase, system: Assembled, adversary: Adversary, data: DataSplits, device: torch.device
) -> None:
    """Raise ConfigError for settings that are each fine but can't be had together."""
    if config.run.precision == "fp16" and device.type == "cpu":
        raise ConfigError("run.precision", "fp16", "fp16 needs a GPU; on a CPU use fp32 or bf16")
    if data.info.num_classes < 2:
        allowed = f"has one class only ({', '.join(data.info.class_names)}), a run needs two"
        if config.task.dataset.partition(":")[0] == "folder":
            allowed += "; are its class folders one folder further down?"
        raise ConfigError("task.dataset", config.task.dataset, allowed)
    task_of(data.info).check(config.training)
    if config.task.eval_split == "none":
        _check_unmeasured(config, system)
    _check_repair(config, system, data)
    _check_central(config, system)
    _check_splitter(config, system, data)
    check_upstream(config, system)
    check_client_splitter(config, system, data)
    _check_model(config, system, data)
    check_poisoned_classes(config, adversary, data)
    check_smoke(config)
    _check_attack(config, adversary.poisoner, data)
    adversary.uploader.check_run(RunFacts(_layout(config, data), tuple(RULES)))
    if system.needs_server_data:
        source = SOURCES.of(config)
        source.check(data.info, config.synthetic.per_class)
        if adversary.compromise is not None:
            adversary.compromise.check_source(source, adversary.poisoner)
        augmentation_for(config.synthetic.augment, config.synthetic.moment_match, data.info)
    if system.needs_guide:
        check_guide_is_here(config, data)
        check_backdoored_guide(config, adversary)
    if system.rule is not None:
        _check_clients(config, system, data)


def _check_unmeasured(config: RunConfigBase, system: Assembled) -> None:
    """Somebody measures, and nothing of the server's asks for what it hasn't got."""
    key, other = "task.eval_split", "allowed: test, validation"
    if system.rule is None or not config.federation.fraction_evaluate:
        raise ConfigError(key, "none", f"nobody would measure the model; {other}, or federation.fraction_evaluate > 0")
    if system.repair is not None:
        raise ConfigError(key, "none", f"repair {system.repair.name!r} needs the server to measure; {other}")
    if system.rule_needs.smoothing is not None:
        raise ConfigError(key, "none", f"rule {system.rule_name!r} needs the server to measure; {other}")


def _check_central(config: RunConfigBase, system: Assembled) -> None:
    """What poison.central poisons is there, and the attack is one on data."""
    if not config.poison.central:
        return
    if system.kind.trainer != "central":
        allowed = f"strategy {config.strategy!r} has no central training set; allowed: false, or strategy = central"
        raise ConfigError("poison.central", True, allowed)
    if config.attack.name not in POISONERS:
        fitting = f"allowed: {', '.join(POISONERS)}"
        allowed = f"is no attack on data alone, and with poison.central nobody uploads anything; {fitting}"
        raise ConfigError("attack.name", config.attack.name, allowed)


def _check_repair(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    """There is a model to repair, there are clients to ask where it asks some, and data where it needs any."""
    repair = system.repair
    if repair is None:
        return
    if not system.trains:
        allowed = (
            f"nothing is trained by strategy {config.strategy!r}, there is no model to repair; allowed: auto, none"
        )
        raise ConfigError("repair.name", repair.name, allowed)
    if repair.needs.survey is not None and system.rule is None:
        allowed = f"asks clients about the final model, strategy {config.strategy!r} has none; allowed: auto, none"
        raise ConfigError("repair.name", repair.name, allowed)
    if repair.needs.clean is not None:
        check_clean_set(config, repair.name, repair.needs.clean, data)


def _check_splitter(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    """The splitter has what it needs where it is used, and the system can do what becomes of flagged samples."""
    for splitter in (system.splitter, system.suspects_splitter):
        fresh = None if splitter is None else splitter.needs.fresh
        if fresh is not None and fresh.on == "public":
            public_samples(data.info, "splitter.name", config.splitter.name)
        if fresh is not None and fresh.scorer is not None:
            check_scorer(fresh.scorer, data.info)
        if fresh is not None and fresh.score == "victim-ckpt5":
            _check_victim(config, system, fresh.epochs)
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


def _check_model(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    """Each prototype's model has what the purifier, the rule or the repair works on."""
    prototypes = system.kind.prototypes(config)
    for own in prototypes.values():
        _check_prototype(own, system, data)
    if config.model.weights:
        if len(prototypes) > 1:
            allowed = f"strategy {config.strategy!r} trains {len(prototypes)} models, a file holds one; allowed: empty"
            raise ConfigError(KEY, config.model.weights, allowed)
        load_weights(MODELS.of(config).build(data.info, config.run.seed), config.model.weights)


def _check_prototype(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    name = config.model.name
    spec = MODELS.built(config, name)
    extractor_trained = system.purifier is not None or system.rule_needs.training is not None
    if extractor_trained and not (spec.has_extractor or spec.blocks):
        raise ConfigError("model.name", name, f"has no feature extractor, which strategy {system.name!r} trains")
    if system.repair is not None:
        try:
            system.repair.check(spec.build(data.info, config.run.seed), data.info)
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError("model.name", name, f"{error}; repair {system.repair.name!r} needs that") from error


def _check_attack(config: RunConfigBase, poisoner: Poisoner, data: DataSplits) -> None:
    target, classes = config.poison.target_label, data.info.num_classes
    if target >= classes:
        raise ConfigError("poison.target_label", target, f"{data.info.name} has classes 0 to {classes - 1}")
    start, stop = config.adversary.start_round, config.adversary.stop_round
    if stop and stop < start:
        raise ConfigError("adversary.stop_round", stop, f"0, or at least adversary.start_round = {start}")
    poisoner.require_inputs(data.info, "attack.name" if poisoner.name == config.attack.name else "attack.trigger")
    task, measured = AttackTask.of(config, data), data.measured(config.task.eval_split)
    poisoner.check_task(task)
    _check_artefact(config, poisoner)
    if not poisoner.targeted or config.task.eval_split == "none":
        return
    if not has_inputs(poisoner, measured, task):
        wanted = poisoner.measured_on(data.info, task.classes)
        if task.classes:
            raise ConfigError(CLASSES, config.poison.classes, f"leaves no {wanted} to measure ASR on; list others")
        allowed = f"leaves no {wanted} of another class than the target's to measure ASR on; use more"
        raise ConfigError("task.test_samples", config.task.test_samples, allowed)
    if not poisoner.prepares:  # what has to be trained first is not made for a check
        one = measured.subset(torch.arange(1))
        ctx = measured_context(config, poisoner, task)
        poisoner.stamp(one.for_model(), one.labels, ctx)  # refuses a trigger that doesn't fit the images


def _check_artefact(config: RunConfigBase, poisoner: Poisoner) -> None:
    """A prepared trigger is the same everywhere."""
    path = config.attack.artefact
    if path and not poisoner.prepares:
        raise ConfigError("attack.artefact", path, f"poisoner {poisoner.name!r} prepares nothing; leave it empty")
    if path:
        artefact_file(path)
    elif poisoner.prepares and config.federation.own_data:
        allowed = "nodes with data of their own can't prepare what the server does; give every machine the same file"
        raise ConfigError("attack.artefact", path, allowed)


def _layout(config: RunConfigBase, data: DataSplits) -> tuple[Slot, ...]:
    spec = MODELS.of(config)
    return parameter_slots(spec.build(data.info, config.run.seed))


def _check_clients(config: RunConfigBase, system: Assembled, data: DataSplits) -> None:
    clients = config.federation.clients
    if config.federation.own_data:
        _check_own_data(config)
    elif clients > len(data.train):
        noun = task_of(data.info).noun
        raise ConfigError("federation.clients", clients, f"at most the number of training {noun}s, {len(data.train)}")
    sampled = participants_per_round(config.federation)
    if config.federation.min_replies > sampled:
        raise ConfigError(
            "federation.min_replies", config.federation.min_replies, f"at most the {sampled} clients sampled each round"
        )
    if config.federation.fraction_evaluate and not config.partition.test_fraction:
        allowed = "clients measure on data of their own: say which share they keep, partition.test_fraction > 0"
        raise ConfigError("federation.fraction_evaluate", config.federation.fraction_evaluate, allowed)
    if config.federation.own_data and config.federation.evaluate_triggered == "common":
        allowed = "nodes with data of their own have no common test data; allowed: own"
        raise ConfigError("federation.evaluate_triggered", "common", allowed)
    if config.federation.blind:
        check_blind(config, system, data)
    Bindings.of(config.federation)
    Quorum.of(config.federation)
    share = len(attackers(config)) / clients
    rule = system.rule
    assert rule is not None
    rule.check(sampled, int(share * sampled))
    _check_excluded(config, system)
    if system.rule_needs.root is not None:
        check_root_set(config, rule.name, system.rule_needs.root, data)
    if not config.federation.own_data:
        partitioner = PARTITIONERS.of(config)
        partition_indices(config.task, partitioner, clients, config.run.seed)  # clients would refuse it: known here


def _check_excluded(config: RunConfigBase, system: Assembled) -> None:
    """In the round that lacks the most, somebody is left, and enough for the rule."""
    federation, rule = config.federation, system.rule
    excluded = Exclusions.of(federation).most(config.run.rounds)
    if not excluded or rule is None:
        return
    left = participants_per_round(federation, len(excluded))
    problem = ""
    if left < 1:
        problem = "leaves nobody"
    elif left < federation.min_replies:
        problem = f"leaves {left} clients a round, federation.min_replies = {federation.min_replies}"
    else:
        bad = len(set(attackers(config)) - excluded)
        try:
            rule.check(left, int(bad / (federation.clients - len(excluded)) * left))
        except ConfigError as error:
            problem = f"leaves {left} clients a round, too few for rule {rule.name!r}: {error}"
    if problem:
        raise ConfigError(EXCLUDED, federation.excluded, f"{problem}; exclude fewer")


def _check_own_data(config: RunConfigBase) -> None:
    if not config.federation.max_examples:
        allowed = "with federation.own_data say how many images a node may hold at most; the server can't know"
        raise ConfigError("federation.max_examples", 0, allowed)
    if dataset_source(config.task.dataset).ships:
        allowed = f"task.dataset = {config.task.dataset!r} ships with the package, no node owns it"
        raise ConfigError("federation.own_data", True, allowed)
