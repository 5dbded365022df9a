"""The server's data set, from source to tensors: generate (or read from the cache), filter, match, augment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.foundation.base import Provenance, Samples, ServerData, SourceError, SyntheticSource
from fedcrucible_core.foundation.cache import (
    arithmetic,
    digest,
    plain,
    read_tensors,
    usable,
    warn_unusable,
    write_tensors,
)
from fedcrucible_core.foundation.frequency import FrequencyAugmentation
from fedcrucible_core.foundation.patches import random_patches
from fedcrucible_core.foundation.pixels import moment_match as match_moments
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.tasks import task_of


@dataclass(frozen=True)
class Kept:
    """Which of the generated samples are used."""

    by: str
    """The splitter that says so, for messages."""
    rows: Tensor
    """Row numbers int64, ascending."""
    facts: dict[str, float]


Keep = Callable[[Labeled], Kept]
"""Generated samples, on the CPU, to what is kept of them."""
Augment = Literal["auto", "frequency", "patch", "none"]

VERSION = "2"
"""Part of every key: raise it when the same parameters would make other samples."""


def build_server_data(
    source: SyntheticSource,
    info: DataInfo,
    per_class: int,
    seed: int,
    device: torch.device | str = "cpu",
    *,
    moment_match: bool = False,
    augment: Augment = "frequency",
    frequency: FrequencyAugmentation | None = None,
    keep: Keep | None = None,
    cache_dir: str | Path = "",
    trigger: Callable[[Tensor], Tensor] | None = None,
    samples: Samples | None = None,
) -> ServerData:
    """The server's labelled data, the same for the same arguments.

    Args:
        source: where samples come from; its answer is kept on disk by parameters, seed, data set and content.
        info: class names, shape and published constants of the data set.
        per_class: samples per class before ``keep``.
        seed: the run's seed.
        device: where the source samples, and where the tensors are returned.
        moment_match: give the set the data set's published channel mean and std; images only.
        augment: "frequency" noise in the sensitive band, visible "patch" (labels kept), or "none"; "auto" is the first
            for images and "none" for texts, which nothing else is made for.
        frequency: parameters of the augmentation; ``patch_max_side`` also sizes the patches of "patch".
        keep: says which samples are used; None = all.
        cache_dir: folder of kept samples; empty = as ``config/places.py`` says.
        trigger: in place of the imagined trigger, for ablation only.
        samples: what the source has made already, or what became of it.

    Returns:
        Server data on ``device``, of samples that have a label; facts ``images`` (``texts``), ``class_count_<label>``,
        ``dropped_by_guide`` (0 without a guide), ``without_label`` where some have none, those of the source, of
        ``keep`` and of the augmentation. No clock is among them.

    Raises:
        ConfigError: per_class below 1, what the source refuses, what only images can be given, or a class of which
            ``keep`` leaves nothing.
        SourceError: the source failed.
    """
    if per_class < 1:
        raise ConfigError("synthetic.per_class", per_class, "at least 1")
    augment = augmentation_for(augment, moment_match, info)
    device = torch.device(device)
    noun = task_of(info).noun
    if samples is None:
        samples = cached_samples(source, info, per_class, seed, device, cache_dir)
    facts = {f"{noun}s": 0.0, "dropped_by_guide": 0.0, **samples.facts}
    if keep is not None:
        samples, of_keep = _kept(samples, keep, info)
        facts |= of_keep
    samples, without = _labelled(samples)
    if without:
        facts["without_label"] = float(without)
    counts = torch.bincount(samples.data.labels, minlength=info.num_classes)
    facts[f"{noun}s"] = float(len(samples.data))
    facts.update({f"class_count_{label}": float(count) for label, count in enumerate(counts.tolist())})

    inputs = match_moments(samples.data.inputs, info.mean, info.std) if moment_match else samples.data.inputs
    frequency = frequency or FrequencyAugmentation()
    rng = torch_generator(seed, "synthetic/augment")
    augmented: Tensor | None = None
    if augment == "frequency":
        augmented, more = frequency(inputs, rng, trigger)
        facts.update(more)
    elif augment == "patch":
        augmented = random_patches(inputs, rng, frequency.patch_max_side)
    on_device = None if augmented is None else augmented.to(device)
    originals = Labeled(inputs, samples.data.labels).to(device)
    if samples.poisoned is not None:
        facts["poisoned"] = float(samples.poisoned.sum())
    return ServerData(originals, on_device, samples.provenance, facts, samples.poisoned)


def _labelled(samples: Samples) -> tuple[Samples, int]:
    """The samples that have a label, and how many have none: whoever learns classes can't learn from those."""
    rows = (samples.data.labels >= 0).nonzero().flatten()
    without = len(samples.data) - len(rows)
    return (_chosen(samples, rows), without) if without else (samples, 0)


def _chosen(samples: Samples, rows: Tensor) -> Samples:
    provenance = tuple(samples.provenance[i] for i in rows.tolist())
    truth = None if samples.poisoned is None else samples.poisoned[rows]
    return Samples(samples.data.subset(rows), provenance, truth, samples.facts)


def augmentation_for(augment: Augment, moment_match: bool, info: DataInfo) -> Augment:
    """The augmentation that is meant, for ``auto`` stands for another by task.

    Raises:
        ConfigError: it, or moment matching, is nothing that inputs of this kind can be given.
    """
    pictured = task_of(info).pictured
    if augment not in get_args(Augment):
        raise ConfigError("synthetic.augment", augment, "allowed: auto, frequency, patch, none")
    if augment == "auto":
        augment = "frequency" if pictured else "none"
    if augment != "none" and not pictured:
        allowed = f"augments images, {info.name} has inputs of task {info.task!r}; allowed: auto, none"
        raise ConfigError("synthetic.augment", augment, allowed)
    if moment_match and not pictured:
        allowed = f"matches channels of images, {info.name} has inputs of task {info.task!r}; allowed: false"
        raise ConfigError("synthetic.moment_match", moment_match, allowed)
    return augment


def _kept(samples: Samples, keep: Keep, info: DataInfo) -> tuple[Samples, dict[str, float]]:
    """What ``keep`` leaves of the samples, and its facts. Raises ConfigError where a class loses all it has."""
    kept = keep(samples.data)
    require_classes(samples.data.labels[kept.rows], info, kept.by, task_of(info).noun)
    return _chosen(samples, kept.rows), kept.facts


def require_classes(labels: Tensor, info: DataInfo, by: str, noun: str) -> None:
    """Raise ConfigError where a class has none left; a label of -1 is no class. ``by`` is the splitter's name."""
    counts = torch.bincount(labels[labels >= 0], minlength=info.num_classes)
    empty = [name for name, count in zip(info.class_names, counts.tolist(), strict=True) if not count]
    if empty:
        wanted = f"it leaves no {noun} of {', '.join(empty)}: turn it off, or use another splitter, guide or source"
        raise ConfigError("splitter.name", by, wanted)


def cached_samples(
    source: SyntheticSource, info: DataInfo, per_class: int, seed: int, device: torch.device, cache_dir: str | Path = ""
) -> Samples:
    """What the source generates, from the cache when it was made before; tensors on the CPU."""
    parameters = json.dumps([source.model_dump(mode="json"), per_class, seed, arithmetic(device)], sort_keys=True)
    facts: list[object] = [info.name, info.class_names, info.shape]
    if info.tokenizer:
        facts += [info.tokenizer, info.reserved]
    key = digest(VERSION, source.name, parameters, json.dumps(facts), source.fingerprint())
    path = cache_folder(cache_dir) / "synthetic" / f"{source.name}-{key}.safetensors"
    kept = _read(path, info)
    if kept is not None:
        return kept
    samples = source.generate(info, per_class, seed, device)
    data = Labeled(plain(samples.data.inputs), plain(samples.data.labels))
    samples = Samples(data, samples.provenance, facts=samples.facts)
    check_samples(samples, source.name, info)
    text = {"provenance": json.dumps([[origin.source, origin.prompt, origin.index] for origin in samples.provenance])}
    if samples.facts:
        text["facts"] = json.dumps(samples.facts, sort_keys=True)
    write_tensors(path, {_stored(info): samples.data.inputs, "labels": samples.data.labels}, text)
    return samples


def check_samples(samples: Samples, name: str, info: DataInfo) -> None:
    """Hold a source to its contract. Raises SourceError that names what is wrong, with the values."""
    inputs, labels = samples.data.inputs, samples.data.labels
    n, noun = len(labels), task_of(info).noun
    kind = torch.float32 if task_of(info).pictured else torch.int64
    wrong = ""
    if inputs.shape != (n, *info.shape) or inputs.dtype != kind:
        found, wanted = (
            f"{inputs.dtype} {tuple(inputs.shape)}",
            f"{str(kind).removeprefix('torch.')} {(n, *info.shape)}",
        )
        wrong = f"{noun}s are {found}, not {wanted}"
    elif len(samples.provenance) != n:
        wrong = f"{n} {noun}s have {len(samples.provenance)} provenances"
    elif not n or labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= info.num_classes:
        wrong = f"labels must be int64 in 0..{info.num_classes - 1}, at least one"
    elif kind == torch.int64 and inputs.min() < 0:
        wrong = f"token ids run from {int(inputs.min())}, not from 0"
    elif kind == torch.float32 and not (torch.isfinite(inputs).all() and inputs.min() >= 0 and inputs.max() <= 1):
        wrong = f"pixels run from {float(inputs.min()):.4g} to {float(inputs.max()):.4g}, not within [0, 1]"
    if wrong:
        raise SourceError(f"synthetic source {name!r}: {wrong}")


def _stored(info: DataInfo) -> str:
    """What a cache file calls the inputs."""
    return f"{task_of(info).noun}s"


def _read(path: Path, info: DataInfo) -> Samples | None:
    content = read_tensors(path)
    if content is None:
        return None
    tensors, text = content
    inputs, labels = tensors.get(_stored(info)), tensors.get("labels")
    try:
        provenance = tuple(Provenance(*entry) for entry in json.loads(text.get("provenance", "")))
        facts = {str(name): float(value) for name, value in json.loads(text.get("facts", "{}")).items()}
    except (ValueError, TypeError, AttributeError):
        provenance, facts = (), {}
    if (
        inputs is None
        or labels is None
        or not usable(inputs, (len(provenance), *info.shape))
        or labels.shape != (len(provenance),)
    ):
        warn_unusable(path, "unexpected content")
        return None
    return Samples(Labeled(inputs, labels), provenance, facts=facts)
