"""What the user gave the strategy beside the defence's own parameters, and what a defence lacks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from defenses.base import Repair
from fedcrucible.flower.configured import Defence
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import SOURCES, Guide
from fedcrucible_core.learning.data import Labeled

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
        guide: Guide | str | Path | None,
    ) -> Given:
        """The same with samples as one value. Raises ConfigError for samples that are none."""
        images = server_images if isinstance(server_images, str) else _samples("server_images", server_images)
        names, shape = tuple(map(str, class_names)), tuple(map(int, input_shape))
        own = None if normalise is None else (tuple(map(float, normalise[0])), tuple(map(float, normalise[1])))
        said = str(guide) if isinstance(guide, Path) else guide
        return cls(model, names, shape, own, _samples("root", root), images, said)

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
    if (
        normalise is not None
        and given.model is not None
        and (len(shape) != 3 or len(normalise[0]) not in (1, shape[0]))
    ):
        raise ConfigError("normalise", normalise, f"one number a channel of pictures; inputs are of shape {shape}")
    if looks_inside(defence) and shape and len(shape) != 3:
        raise ConfigError("input_shape", shape, f"pictures (channels, height, width), for {defence.system.name}")


def looks_inside(defence: Defence) -> bool:
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
