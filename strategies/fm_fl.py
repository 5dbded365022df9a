"""FM-FL: prototypes begin on a foundation model's synthetic data, and learn from their clients' ensemble on it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache

from defenses.sanitizing import SyntheticSet
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.rng import numpy_generator
from fedcrucible_core.learning.weights import Weights
from strategies.distillation import distilled, ensemble_logits, mean_logits
from strategies.federation import Federation
from strategies.loop import Loop
from strategies.outcome import RoundOutcome
from strategies.population import SOLE, Population, Prototype
from strategies.pretraining import pretrained
from strategies.roster import Answers
from strategies.systems import SYSTEMS, System, model_config
from strategies.timing import timed


class FmFlStrategy(Loop):
    """Pre-train each G_p on D_syn; then every round aggregate, distil, send."""

    data: SyntheticSet | None = None
    """What is distilled on."""
    first: SyntheticSet | None = None
    """What prototypes are pre-trained on; None = on nothing."""

    @property
    def synthetic(self) -> SyntheticSet | None:
        """What was distilled on, or pre-trained on where an attacker has been at that alone."""
        altered = [one for one in (self.data, self.first) if one is not None and "poisoned" in one.facts]
        return altered[0] if altered else self.data

    def begin(self, population: Population, outcome: RoundOutcome) -> Population:
        """G_p, pre-trained on D_syn; both synthetic sets are made here, so that what is wrong with them comes first."""
        section, config = self.config.fm_fl, self.config
        self.first = first = self.parts.synthetic("initialisation") if section.initialise else None
        self.data = second = self.parts.synthetic("distillation")
        sets = {"initialisation": first, "distillation": second}
        for stage, found in sets.items():
            if found is not None:
                outcome.facts |= {f"{stage}.{key}": value for key, value in found.facts.items()}
        outcome.facts |= in_either([found for found in sets.values() if found is not None])
        if section.kd_epochs:
            outcome.facts["fm_fl.ldi_ratio"] = config.training.local_epochs / section.kd_epochs
        return population if first is None else pretrained(self.parts, population, first, outcome)

    def advance(self, server_round: int, population: Population, answers: Answers) -> Population:
        """One round of Algorithm 1."""
        fused = self.train(server_round, population, answers)  # G_p <- A({g_i : i in S_t^p})
        if self.outcome.restarted:
            return fused
        with timed(self.outcome, "distil"):
            taught = self.distil(fused)
        return self.purify(server_round, taught)

    def distil(self, population: Population) -> Population:
        """Every prototype, one without a sampled client too, learns from the ensemble (Eq. 1)."""
        section, outcome = self.config.fm_fl, self.outcome
        teachers, data = self.teachers(), self.data
        if not section.kd_epochs or not teachers or data is None:
            return population
        sums = ensemble_logits(self.parts, teachers, data, outcome)
        own = section.teachers == "own-group"
        taught = set(dict(teachers)) if section.fusion == "logits-only" else set(population)

        def one(prototype: Prototype, weights: Weights) -> Weights:
            teacher = mean_logits(sums, prototype if own else None)
            if teacher is None or prototype not in taught:
                return weights
            return distilled(self.parts, prototype, weights, teacher, data, outcome)

        return {prototype: one(prototype, weights) for prototype, weights in population.items()}

    def teachers(self) -> list[tuple[Prototype, Weights]]:
        """Uploads that teach this round, with their architectures, in partition order."""
        assert isinstance(self.trainer, Federation), "clients train"
        accepted = self.config.fm_fl.teachers == "accepted"
        return [
            (self.trainer.prototype(reply.partition), reply.weights)
            for reply in self.trainer.aggregated
            if not accepted or self.outcome.weights.get(reply.partition, 0.0) > 0.0
        ]

    def measured(self, population: Population) -> list[Prototype]:
        """All prototypes; where every client has a model of its own, the first: clients measure theirs themselves."""
        names = list(population)
        return names[:1] if self.config.fm_fl.fusion == "logits-only" else names


@SYSTEMS.register("fm-fl")
class FmFl(System):
    """Foundation-model-assisted federation: prototypes pre-trained on synthetic data, aggregated, then distilled on it.

    Every round the rule aggregates the updates of each architecture's clients; then every architecture learns from the
    labels of the synthetic data and from the mean logits of all clients' uploads.  Groups too small for the rule are
    averaged, and counted.  A prototype is what all its clients get, sampled or not.
    """

    paper = ("li2024bdfmfl", "section II, Algorithm 1, Eq. 1")
    choices = ("fm-fl-distillation", "fm-fl-prototypes", "fm-fl-small-groups")
    knowledge = ("foundation model's synthetic data",)
    rule = "fedavg"
    small_groups = "mean"
    synthetic = True
    strategy = FmFlStrategy

    @classmethod
    def prototypes(cls, config: RunConfigBase) -> Mapping[Prototype, RunConfigBase]:
        """Architectures that some client has, by name; with ``fm_fl.fusion = logits-only`` a model for every client."""
        kinds = architectures(config)
        if config.fm_fl.fusion == "logits-only":
            clients = range(config.federation.clients)
            return {f"client-{partition}": kinds[name_of(config, partition)] for partition in clients}
        if list(kinds) == [SOLE]:
            return kinds
        used = {name_of(config, partition) for partition in range(min(len(kinds), config.federation.clients))}
        return {name: kinds[name] for name in kinds if name in used}

    @classmethod
    def prototype_of(cls, config: RunConfigBase, partition: int) -> Prototype:
        """H[i]: by turns over the architectures in an order drawn by seed."""
        return f"client-{partition}" if config.fm_fl.fusion == "logits-only" else name_of(config, partition)


def architectures(config: RunConfigBase) -> dict[Prototype, RunConfigBase]:
    """Every architecture that the settings name. Raises ConfigError for a list that can't be read."""
    section = config.fm_fl
    if section.prototypes == "one":
        return {SOLE: config}
    if section.prototypes == "backbones":
        names = listed("fm_fl.backbones", section.backbones)
        for name in names:
            MODELS[name]  # raises, with suggestions
        return {name: model_config(config, name, {}) for name in names}
    pairs = itertools.product(numbers("fm_fl.blocks", section.blocks, 16), numbers("fm_fl.widths", section.widths))
    model = config.model.name
    return {
        f"l{blocks}-d{width}": model_config(config, model, {"blocks": blocks, "block_width": width})
        for blocks, width in pairs
    }


def name_of(config: RunConfigBase, partition: int) -> Prototype:
    """The architecture of a client."""
    names = _drawn(config)
    return names[partition % len(names)]


@lru_cache(maxsize=8)  # asked for every client, several times a round
def _drawn(config: RunConfigBase) -> tuple[Prototype, ...]:
    """The architectures in the order in which clients take them."""
    names = list(architectures(config))
    order = numpy_generator(config.run.seed, "prototypes").permutation(len(names))
    return tuple(names[int(place)] for place in order)


def listed(key: str, text: str) -> list[str]:
    """The entries of a list by commas. Raises ConfigError for none, or for one that stands there twice."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names or len(set(names)) < len(names):
        raise ConfigError(key, text, "one or more different entries, by commas")
    return names


def numbers(key: str, text: str, most: int = 65_536) -> list[int]:
    """The whole numbers of a list by commas, from 1 to ``most``. Raises ConfigError."""
    entries = listed(key, text)
    if not all(entry.isascii() and entry.isdigit() and len(entry) < 6 and 0 < int(entry) <= most for entry in entries):
        raise ConfigError(key, text, f"whole numbers from 1 to {most}, by commas")
    return [int(entry) for entry in entries]


def in_either(sets: list[SyntheticSet]) -> dict[str, float]:
    """What an attacker has left in the data, in the stage where it is most; nothing where there was none."""
    names = ("poisoned", "survivors", "caught_percent", "clean_dropped_percent", "flagged")
    found = {name: [one.facts[name] for one in sets if name in one.facts] for name in names}
    worst = {name: min if name == "caught_percent" else max for name in names}
    return {f"synthetic.{name}": worst[name](values) for name, values in found.items() if values}
