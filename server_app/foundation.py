"""What the server's foundation models say and make: the guide, and synthetic data for every use of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from attacks.adversary import Adversary
from attacks.compromised_source import CompromisedSource
from attacks.poisoner import PoisonContext
from attacks.poisoning import PoisonedSet
from attacks.preparation import run_artefact
from attacks.schedule import poisons_centrally
from attacks.task import AttackTask
from defenses.base import Split, Splitter
from defenses.model_store import ModelStore
from defenses.sanitizing import NEEDS_CLASSES, SyntheticSet, sanitized, unsanitized
from defenses.splitting import clean_part, split
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.foundation.altered_guides import KnownRows
from fedcrucible_core.foundation.base import (
    SOURCES,
    STAGES,
    Guide,
    GuideTargets,
    Samples,
    ServerData,
    Stage,
    SyntheticSource,
)
from fedcrucible_core.foundation.chat_settings import ChatSettings
from fedcrucible_core.foundation.frequency import FrequencyAugmentation
from fedcrucible_core.foundation.guides import guide_of, plain_guide
from fedcrucible_core.foundation.public_slice import public_samples
from fedcrucible_core.foundation.server_data import Augment, Kept, build_server_data, cached_samples, require_classes
from fedcrucible_core.learning.data import DataSplits, Labeled
from fedcrucible_core.learning.models import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.steps import Told, nobody
from strategies.systems import Assembled


@dataclass
class ServerFoundation:
    """Guide and synthetic data of a run: source, what an attacker makes of it, splitter, sanitizer, in this order."""

    config: RunConfigBase
    system: Assembled
    adversary: Adversary
    data: DataSplits
    device: torch.device
    untrained: Callable[[int], SplitModel]
    """Makes a model of the run's architecture from a seed, for splitters that train some."""
    central: Callable[[], PoisonedSet]
    """The central training set with the truth about it; for the simulation of a backdoored guide alone."""
    told: Told = nobody
    """Hears how far embeddings and models that score are."""
    _made: list[tuple[Samples, bool, SyntheticSet]] = field(default_factory=list, repr=False)
    """What was made already: of which samples, and whether they were sanitized."""

    def guide(self) -> Guide:
        """The configured guide, loaded when first asked."""
        config = self.config
        guide = guide_of(
            config.guide, self.data.info, self.device, seed=config.run.seed, labelled=lambda: self.data.validation,
            triggered=lambda inputs: self._planted(inputs), target=config.poison.target_label,
            chat=self._chat,
        )  # fmt: skip
        guide.told = self.told
        return guide

    @property
    def _store(self) -> ModelStore | None:
        """Where models that score are kept: only for runs that may go on, for it costs their size on the disk."""
        if not self.config.run.checkpoint_every:
            return None
        return ModelStore(cache_folder(self.config.guide.cache_dir) / "scoring")

    @cached_property
    def _planted(self) -> KnownRows:
        """What the attacker has put among the synthetic samples, or in the central training set.

        For the simulation of a backdoored guide alone.
        """
        if poisons_centrally(self.config):
            made = self.central()
            return KnownRows(made.data.inputs.cpu()[made.poisoned])
        parts = []
        for stage in STAGES:
            samples = self.samples(stage)
            if samples.poisoned is not None:
                parts.append(samples.data.for_model()[samples.poisoned])
        return KnownRows(torch.cat(parts)) if parts else KnownRows(self.data.validation.inputs[:0])

    def synthetic_source(self) -> SyntheticSource:
        """Where the server's images come from."""
        return SOURCES.of(self.config)

    def samples(self, stage: Stage) -> Samples:
        """What the source, or an attacker that gets at it, gives the server for a stage; on the CPU."""
        compromise, config = self.adversary.compromise, self.config
        info, per_class = self.data.info, config.synthetic.per_class
        if compromise is None:
            return self._sampled(per_class, config.run.seed)
        source = self.synthetic_source()
        altered = CompromisedSource(
            source,
            compromise,
            self.adversary.poisoner,
            self._planting,
            self._sampled,
            self._attackers_guide,
            self.device,
        )
        return altered.samples(info, per_class, config.run.seed, stage)

    @property
    def _chat(self) -> ChatSettings:
        """The service that answers where the guide is a chat model."""
        return cast(ChatSettings, self.config.component("synthetic", "llm"))

    def _attackers_guide(self, inputs: Tensor) -> Tensor:
        """What an attacker is told who knows the run's guide as it is, without what is simulated of it."""
        guide = plain_guide(self.config.guide, self.data.info, self.device, self._chat)
        return guide.targets(inputs, self.data.info.class_names).logits.cpu()

    def _sampled(self, per_class: int, seed: int) -> Samples:
        source, cache = self.synthetic_source(), self.config.guide.cache_dir
        return cached_samples(source, self.data.info, per_class, seed, self.device, cache)

    def _planting(self) -> PoisonContext:
        """What the poisoner goes by when it plants its trigger in synthetic data."""
        config, poisoner = self.config, self.adversary.poisoner
        task = AttackTask.of(config, self.data)
        rng = torch_generator(config.run.seed, "compromise")
        return PoisonContext(task, config.poison, rng, run_artefact(config, poisoner, task))

    def synthetic(self, stage: Stage) -> SyntheticSet:
        """The synthetic data of a stage after the sanitizer, on the server's device; made once for equal samples."""
        section, samples = self.config.synthetic, self.samples(stage)
        sanitizes = self._sanitizes and section.sanitize_before in (stage, "both")
        for earlier, sanitized_too, found in self._made:
            if sanitized_too is sanitizes and earlier.data.equals(samples.data):
                return found
        made = self._sanitized(samples) if sanitizes else unsanitized(samples)
        require_classes(made.data.labels, self.data.info, self.config.splitter.name, "sample")
        made = made.to(self.device)
        self._made.append((samples, sanitizes, made))
        return made

    @property
    def _sanitizes(self) -> bool:
        """Whether anything becomes of samples that a splitter doesn't call clean."""
        return self.system.splitter is not None and self.config.synthetic.sanitizer != "none"

    def _sanitized(self, samples: Samples) -> SyntheticSet:
        section, found = self.config.synthetic, self._split(samples.data)
        asks = section.sanitizer in NEEDS_CLASSES and found.logits is None
        guide = self.guide().targets(samples.data.inputs, self.data.info.class_names).logits if asks else None
        return sanitized(samples, found, section.sanitizer, guide)

    def _split(self, images: Labeled) -> Split:
        assert self.system.splitter is not None
        return self.split(self.system.splitter, images)

    def split(self, splitter: Splitter, images: Labeled, victim: Callable[[int], SplitModel] | None = None) -> Split:
        """What a splitter makes of any labelled samples of the run's task, given all that it needs.

        ``victim``: the model trained on these samples, as it was after so many epochs.
        """
        seed = self.config.run.seed
        return split(
            splitter, images, self.data.info, self.guide, torch_generator(seed, "split"),
            untrained=self.untrained, victim=victim, store=self._store, told=self.told,
            public=lambda: public_samples(self.data.info, "splitter.name", splitter.name),
        )  # fmt: skip

    def server_data(self, augment: Augment | None = None, *, whole: bool = False) -> ServerData:
        """The server's synthetic images, from the cache or made now; ``augment`` replaces the configured one.

        ``whole``: all of them, before any sanitizer.
        """
        section = self.config.synthetic
        return build_server_data(
            self.synthetic_source(),
            self.data.info,
            section.per_class,
            self.config.run.seed,
            self.device,
            moment_match=section.moment_match,
            augment=augment or section.augment,
            frequency=FrequencyAugmentation.from_section(section),
            keep=self._clean_part if self._sanitizes and not whole else None,
            samples=self.samples("distillation") if self.adversary.compromise is not None else None,
            cache_dir=self.config.guide.cache_dir,
        )

    def _clean_part(self, images: Labeled) -> Kept:
        """The part of the server's images that the splitter calls clean."""
        assert self.system.splitter is not None
        return clean_part(self.system.splitter, self._split(images))

    def guide_targets(self, data: ServerData) -> GuideTargets:
        """What the guide says of the server's images, augmented ones included."""
        return self.guide().targets(data.training_set().inputs, self.data.info.class_names)
