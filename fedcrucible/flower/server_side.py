"""What a foreign app's server has beside clients' updates, and what a defence lacks there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import cast

import torch
from flwr.app import ArrayRecord
from torch import Tensor, nn

from defenses.base import Repair
from defenses.updates import ServerView
from fedcrucible.flower.configured import Defence
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

Samplelike = Labeled | tuple[Tensor, Tensor]
UNBOUNDED = "activation-bounds"
"""The purifier whose work is no part of a state dict."""


@dataclass(frozen=True)
class Given:
    """What the user gave the strategy beside the defence's own parameters."""

    model: nn.Module | None = None
    class_names: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    normalise: tuple[Sequence[float], Sequence[float]] | None = None
    root: Labeled | None = None
    server_images: Labeled | str | None = None
    guide: Guide | str | None = None

    @classmethod
    def of(
        cls,
        model: nn.Module | None,
        class_names: Sequence[str],
        input_shape: Sequence[int],
        normalise: tuple[Sequence[float], Sequence[float]] | None,
        root: Samplelike | None,
        server_images: Samplelike | str | None,
        guide: Guide | str | None,
    ) -> Given:
        """The same with samples as one value. Raises ConfigError for samples that are none."""
        images = server_images if isinstance(server_images, str) else _samples("server_images", server_images)
        return cls(model, tuple(class_names), tuple(input_shape), normalise, _samples("root", root), images, guide)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input: as given, or of the samples; empty where nobody says."""
        for samples in (self.root, self.server_images):
            if not self.input_shape and isinstance(samples, Labeled):
                return tuple(samples.inputs.shape[1:])
        return self.input_shape


def check(defence: Defence, given: Given) -> None:
    """Raise ConfigError for what a defence needs and wasn't given, and for what no foreign app can give it."""
    system, rule, needs = defence.system, defence.rule, defence.rule.needs
    if needs.training is not None:
        raise _refusal(rule.name, "changes how clients train, and this app's clients are its own")
    if needs.smoothing is not None:
        allowed = "0: this app measures its model itself, and no vote of noisy copies takes part in it"
        raise ConfigError(f"defense.{rule.name}.copies", needs.smoothing.copies, allowed)
    if system.client_splitter is not None:
        raise _refusal("client.sanitizer", "works on the clients, and this app's clients are its own")
    wants: dict[str, str] = {}
    if needs.root is not None:
        wants |= {"root": "labelled samples (inputs, labels) of the server's own", "model": "the app's nn.Module"}
    if needs.model:
        wants |= {"model": "the app's nn.Module", "input_shape": "the shape of one input, e.g. (3, 32, 32)"}
    purifier = system.purifier
    if purifier is not None:
        if purifier.name == UNBOUNDED:
            raise _refusal(purifier.name, "bounds activations, which travel in no state dict of the app's model")
        if purifier.needs.split:
            raise _refusal(purifier.name, "asks for a split of the server's samples, which only our own runs make")
        wants |= {"model": "the app's nn.Module", "server_images": "labelled samples, or the name of a source of ours"}
        if purifier.needs.guide:
            wants |= {"guide": "a name such as 'tiny', or a Guide", "class_names": "what the guide is asked"}
    repair = system.repair
    if repair is not None:
        wants |= _wants_of_repair(repair)
    if isinstance(given.server_images, str) and given.server_images not in SOURCES:
        raise ConfigError("server_images", given.server_images, f"samples, or a source: {', '.join(SOURCES)}")
    if isinstance(given.server_images, str):
        wants |= {"input_shape": "the shape of one input", "class_names": "what is to be on the images"}
    has = {
        "model": given.model is not None,
        "root": given.root is not None,
        "server_images": given.server_images is not None,
        "guide": given.guide is not None,
        "class_names": bool(given.class_names),
        "input_shape": bool(given.shape),
    }
    lacking = [f"{name}= ({what})" for name, what in wants.items() if not has[name]]
    if lacking:
        raise ConfigError("defence", system.name, f"needs {', '.join(lacking)}")
    _check_shapes(defence, given)


def _check_shapes(defence: Defence, given: Given) -> None:
    """Raise ConfigError where normalisation and looks into the model don't fit the inputs."""
    shape, normalise = given.shape, given.normalise
    if normalise is not None and (len(shape) != 3 or len(normalise[0]) not in (1, shape[0])):
        raise ConfigError("normalise", normalise, f"one number a channel of pictures; inputs are of shape {shape}")
    if _looks_inside(defence) and shape and len(shape) != 3:
        raise ConfigError("input_shape", shape, f"pictures (channels, height, width), for {defence.system.name}")


def _looks_inside(defence: Defence) -> bool:
    """Whether something works on the model's features."""
    system = defence.system
    return system.purifier is not None or system.repair is not None or system.rule_needs.model


def _wants_of_repair(repair: Repair) -> dict[str, str]:
    """What a repair of the final model is to be given. Raises ConfigError where no foreign app can give it."""
    needs = repair.needs
    if needs.survey is not None:
        raise _refusal(repair.name, "asks clients about the final model, and this app's clients are its own")
    if needs.splits:
        raise _refusal(repair.name, "works on a split of what the model was trained on, which only our own runs make")
    wants = {"model": "the app's nn.Module", "input_shape": "the shape of one input"}
    if needs.clean is not None and needs.clean.kind == "validation":
        wants |= {"root": "labelled samples (inputs, labels) with true labels"}
    elif needs.clean is not None or needs.suspects or needs.server_images or needs.guide:
        wants |= {"server_images": "labelled samples, or the name of a source of ours"}
    if needs.guide:
        wants |= {"guide": "a name such as 'tiny', or a Guide", "class_names": "what the guide is asked"}
    return wants


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
        made = ServerModel.split if _looks_inside(self.defence) else ServerModel.whole
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
        if logits.ndim != 2 or len(logits) != len(root.inputs[:2]):
            raise ConfigError("model", tuple(logits.shape), "outputs [n, classes], of which rows are samples")
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


def _samples(key: str, given: Samplelike | None) -> Labeled | None:
    if given is None or isinstance(given, Labeled):
        return given
    try:
        inputs, labels = given
        found = Labeled(torch.as_tensor(inputs), torch.as_tensor(labels, dtype=torch.int64))
    except (TypeError, ValueError) as error:
        raise ConfigError(key, type(given).__name__, f"a pair (inputs [n, ...], labels [n]): {error}") from None
    if not len(found):
        raise ConfigError(key, "no sample", "at least one")
    return found


def _refusal(name: str, why: str) -> ConfigError:
    return ConfigError("defence", name, f"{why}; run it by fedcrucible itself")
