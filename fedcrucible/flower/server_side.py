"""What a foreign app's server has beside clients' updates: model, samples and guide."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import cast

import torch
from flwr.app import ArrayRecord
from torch import Tensor, nn

from defenses.updates import ServerView
from fedcrucible.flower.configured import Defence
from fedcrucible.flower.given import Given, looks_inside
from fedcrucible.flower.server_model import ServerModel
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import error_text
from fedcrucible_core.foundation.base import SOURCES, Guide, GuideTargets, Provenance, Samples, ServerData
from fedcrucible_core.foundation.chat_settings import ChatSettings
from fedcrucible_core.foundation.frequency import FrequencyAugmentation
from fedcrucible_core.foundation.guides import guide_of
from fedcrucible_core.foundation.server_data import build_server_data
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.device import resolve_device
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.weights import Weights
from server_app.root_set import drawn_synthetic
from strategies.root_training import root_update
from strategies.server_phase import ServerPhase


@dataclass
class ServerSide:
    """The server's model, samples and guide, each made when it is first asked for."""

    defence: Defence
    given: Given
    phase: ServerPhase | None = field(default=None, init=False)
    """The purifier with its data; None before :meth:`prepare`, and without a purifier."""

    @cached_property
    def device(self) -> torch.device:
        """Where the model works (``run.device``)."""
        return resolve_device(self.defence.config.run.device)

    @cached_property
    def info(self) -> DataInfo:
        """The facts of the task, as far as they are known."""
        given = self.given
        mean, std = given.normalise if given.normalise is not None else ((), ())
        names = given.class_names or tuple(f"class {number}" for number in range(self._outputs))
        return DataInfo("app", names, given.shape, tuple(mean), tuple(std))

    @cached_property
    def model(self) -> ServerModel | None:
        """The working copy of the app's model; None where none was given."""
        given = self.given
        if given.model is None:
            return None
        made = ServerModel.split if looks_inside(self.defence) else ServerModel.whole
        return made(given.model, self.info, self.device)

    def prepare(self) -> dict[str, float]:
        """Make the server's data and ask the guide, once, before any client trains; returns facts for the record.

        Raises:
            ConfigError: samples, guide and model don't fit each other.
        """
        purifier, repair = self.defence.system.purifier, self.defence.system.repair
        if self.given.model is None:
            return {}
        assert self.model is not None
        facts = {}
        if self.root is not None:
            self._check_root(self.model.module, self.root)
            facts = {"root.images": float(len(self.root))}
        model = cast(SplitModel, self.model.module)
        if repair is not None:
            repair.check(model, self.info)
        if purifier is None:
            return facts
        targets = self.targets if purifier.needs.guide else None
        purifier.check(model, targets)
        self.phase = ServerPhase(purifier, self.data, targets)
        return facts | {f"server_data.{name}": value for name, value in self.data.facts.items()}

    def _check_root(self, module: nn.Module, root: Labeled) -> None:
        """Raise ConfigError where the model can't be trained on the root set."""
        if not bool(torch.isfinite(root.inputs).all()):
            raise ConfigError("root", "values that are not finite", "finite inputs")
        try:
            with torch.no_grad():
                logits = module(root.inputs[:2])
        except Exception as error:  # models raise what they like
            shape = tuple(root.inputs.shape[1:])
            raise ConfigError("root", shape, f"inputs that the model takes: {error_text(error)}") from None
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(root.inputs[:2]):
            shown = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ConfigError("model", shown, "a model that returns logits, one tensor [n, classes]")
        labels = (int(root.labels.min()), int(root.labels.max()))
        if not 0 <= labels[0] <= labels[1] < logits.shape[1]:
            raise ConfigError("root", f"labels {labels[0]} to {labels[1]}", f"0 to {logits.shape[1] - 1}, as the model")

    @cached_property
    def root(self) -> Labeled | None:
        """The root set of the rule, on the device; None for rules that need none."""
        wanted = self.defence.rule.needs.root
        if wanted is None or self.given.root is None:
            return None
        return self.drawn(self.given.root, wanted.samples, "root")

    def drawn(self, samples: Labeled, count: int, purpose: str) -> Labeled:
        """So many of some samples, stratified by class, as the model takes them; all where there are fewer."""
        own = Labeled(samples.for_model(), samples.labels)
        return drawn_synthetic(own, count, self.defence.config.run.seed, purpose).to(self.device)

    @cached_property
    def targets(self) -> GuideTargets:
        """What the guide says of the server's samples."""
        return self._guide().targets(self.data.training_set().inputs, self.info.class_names)

    def view(self, view: ServerView, arrays: ArrayRecord, round: int) -> ServerView:
        """What the server knows beside the updates, its model, which then holds ``arrays``, and its root set added."""
        model, root = self.model, self.root
        if model is None:
            return view
        model.load(arrays)
        split = isinstance(model.module, SplitModel)
        return ServerView(
            slots=model.slots,
            clients=view.clients,
            sampled=view.sampled,
            rounds=view.rounds,
            assumed_malicious=view.assumed_malicious,
            scratch=cast(SplitModel, model.module) if split else None,
            task=task_of(self.info) if split else None,
            output="classifier" if split else view.output,
            train_root=None if root is None else partial(self._train_root, Weights.of(model.module), round),
        )

    def _train_root(self, sent: Weights, round: int, client_images: int) -> Tensor:
        config, model, root = self.defence.config, self.model, self.root
        assert model is not None
        assert root is not None
        rng = torch_generator(config.run.seed, "root", round)
        module = cast(SplitModel, model.module)
        return root_update(module, sent, root, config.training, rng, config.run.precision, client_images)

    @property
    def _outputs(self) -> int:
        """Classes, where nobody names them: outputs of the last linear layer."""
        model = self.given.model
        linear = [] if model is None else [m for m in model.modules() if isinstance(m, nn.Linear)]
        return linear[-1].out_features if linear else 0

    @cached_property
    def data(self) -> ServerData:
        """The server's samples, with copies as ``synthetic.augment`` says. Raises ConfigError."""
        config, images = self.defence.config, self.given.server_images
        samples = None
        if isinstance(images, Labeled):
            provenance = tuple(Provenance("app", "", number) for number in range(len(images)))
            samples = Samples(Labeled(images.for_model().cpu(), images.labels.cpu()), provenance)
        source = SOURCES.built(config, images) if isinstance(images, str) else SOURCES.of(config)
        if samples is None:
            source.check(self.info, config.synthetic.per_class)
        return build_server_data(
            source, self.info, config.synthetic.per_class, config.run.seed, self.device,
            moment_match=config.synthetic.moment_match, augment=config.synthetic.augment,
            frequency=FrequencyAugmentation.from_section(config.synthetic), samples=samples,
            cache_dir=config.guide.cache_dir,
        )  # fmt: skip

    def _guide(self) -> Guide:
        guide, config = self.given.guide, self.defence.config
        if isinstance(guide, Guide):
            return guide
        chat = cast(ChatSettings, config.component("synthetic", "llm"))
        section = config.guide.model_copy(update={"model": str(guide)})
        return guide_of(section, self.info, self.device, seed=config.run.seed, chat=chat)
