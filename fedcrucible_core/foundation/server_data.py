"""The server's data set, from source to tensors: generate (or read from the cache), filter, match, augment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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


@dataclass(frozen=True)
class Kept:
    """Which of the generated images are used."""

    by: str
    """The splitter that says so, for messages."""
    rows: Tensor
    """Row numbers int64, ascending."""
    facts: dict[str, float]


Keep = Callable[[Labeled], Kept]
"""Generated images, float32 in [0, 1] and on the CPU, to what is kept of them."""

VERSION = "2"
"""Part of every key: raise it when the same parameters would make other images."""


def build_server_data(
    source: SyntheticSource,
    info: DataInfo,
    per_class: int,
    seed: int,
    device: torch.device | str = "cpu",
    *,
    moment_match: bool = False,
    augment: Literal["frequency", "patch", "none"] = "frequency",
    frequency: FrequencyAugmentation | None = None,
    keep: Keep | None = None,
    cache_dir: str | Path = "",
    trigger: Callable[[Tensor], Tensor] | None = None,
    samples: Samples | None = None,
) -> ServerData:
    """The server's labelled images, the same for the same arguments.

    Args:
        source: where images come from; its answer is kept on disk by parameters, seed, data set and content.
        info: class names, shape and published constants of the data set.
        per_class: images per class before ``keep``.
        seed: the run's seed.
        device: where the source samples, and where the tensors are returned.
        moment_match: give the set the data set's published channel mean and std.
        augment: "frequency" noise in the sensitive band, visible "patch" (labels kept), or "none".
        frequency: parameters of the augmentation; ``patch_max_side`` also sizes the patches of "patch".
        keep: says which images are used; None = all.
        cache_dir: folder of kept samples; empty = as ``config/places.py`` says.
        trigger: in place of the imagined trigger, for ablation only.
        samples: what the source has made already, or what became of it.

    Returns:
        Server data on ``device``; facts ``images``, ``class_count_<label>``, ``dropped_by_guide`` (0 without a guide),
        those of ``keep`` and of the augmentation. No clock is among them.

    Raises:
        ConfigError: per_class below 1, what the source refuses, or a class of which ``keep`` leaves nothing.
        SourceError: the source failed.
    """
    if per_class < 1:
        raise ConfigError("synthetic.per_class", per_class, "at least 1")
    device = torch.device(device)
    if samples is None:
        samples = cached_samples(source, info, per_class, seed, device, cache_dir)
    facts = {"images": 0.0, "dropped_by_guide": 0.0, **samples.facts}
    if keep is not None:
        samples, of_keep = _kept(samples, keep, info)
        facts |= of_keep
    counts = torch.bincount(samples.data.labels, minlength=info.num_classes)
    facts["images"] = float(len(samples.data))
    facts.update({f"class_count_{label}": float(count) for label, count in enumerate(counts.tolist())})

    images = match_moments(samples.data.inputs, info.mean, info.std) if moment_match else samples.data.inputs
    frequency = frequency or FrequencyAugmentation()
    rng = torch_generator(seed, "synthetic/augment")
    augmented: Tensor | None = None
    if augment == "frequency":
        augmented, more = frequency(images, rng, trigger)
        facts.update(more)
    elif augment == "patch":
        augmented = random_patches(images, rng, frequency.patch_max_side)
    elif augment != "none":
        raise ConfigError("synthetic.augment", augment, "allowed: frequency, patch, none")
    on_device = None if augmented is None else augmented.to(device)
    originals = Labeled(images, samples.data.labels).to(device)
    if samples.poisoned is not None:
        facts["poisoned"] = float(samples.poisoned.sum())
    return ServerData(originals, on_device, samples.provenance, facts, samples.poisoned)


def _kept(samples: Samples, keep: Keep, info: DataInfo) -> tuple[Samples, dict[str, float]]:
    """What ``keep`` leaves of the samples, and its facts. Raises ConfigError where a class loses all its images."""
    kept = keep(samples.data)
    counts = torch.bincount(samples.data.labels[kept.rows], minlength=info.num_classes)
    empty = [name for name, count in zip(info.class_names, counts.tolist(), strict=True) if not count]
    if empty:
        wanted = f"it leaves no image of {', '.join(empty)}: turn it off, or use another splitter, guide or source"
        raise ConfigError("splitter.name", kept.by, wanted)
    provenance = tuple(samples.provenance[i] for i in kept.rows.tolist())
    truth = None if samples.poisoned is None else samples.poisoned[kept.rows]
    return Samples(samples.data.subset(kept.rows), provenance, truth, samples.facts), kept.facts


def cached_samples(
    source: SyntheticSource, info: DataInfo, per_class: int, seed: int, device: torch.device, cache_dir: str | Path = ""
) -> Samples:
    """What the source generates, from the cache when it was made before; tensors on the CPU."""
    parameters = json.dumps([source.model_dump(mode="json"), per_class, seed, arithmetic(device)], sort_keys=True)
    data = json.dumps([info.name, info.class_names, info.shape])
    key = digest(VERSION, source.name, parameters, data, source.fingerprint())
    path = cache_folder(cache_dir) / "synthetic" / f"{source.name}-{key}.safetensors"
    kept = _read(path, info)
    if kept is not None:
        return kept
    samples = source.generate(info, per_class, seed, device)
    samples = Samples(Labeled(plain(samples.data.inputs), plain(samples.data.labels)), samples.provenance)
    check_samples(samples, source.name, info)
    origins = json.dumps([[origin.source, origin.prompt, origin.index] for origin in samples.provenance])
    write_tensors(path, {"images": samples.data.inputs, "labels": samples.data.labels}, {"provenance": origins})
    return samples


def check_samples(samples: Samples, name: str, info: DataInfo) -> None:
    """Hold a source to its contract. Raises SourceError that names what is wrong, with the values."""
    images, labels = samples.data.inputs, samples.data.labels
    n = len(labels)
    wrong = ""
    if images.shape != (n, *info.shape) or images.dtype != torch.float32:
        wrong = f"images are {images.dtype} {tuple(images.shape)}, not float32 {(n, *info.shape)}"
    elif len(samples.provenance) != n:
        wrong = f"{n} images have {len(samples.provenance)} provenances"
    elif not n or labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= info.num_classes:
        wrong = f"labels must be int64 in 0..{info.num_classes - 1}, at least one"
    elif not torch.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        wrong = f"pixels run from {float(images.min()):.4g} to {float(images.max()):.4g}, not within [0, 1]"
    if wrong:
        raise SourceError(f"synthetic source {name!r}: {wrong}")


def _read(path: Path, info: DataInfo) -> Samples | None:
    content = read_tensors(path)
    if content is None:
        return None
    tensors, text = content
    images, labels = tensors.get("images"), tensors.get("labels")
    try:
        provenance = tuple(Provenance(*entry) for entry in json.loads(text.get("provenance", "")))
    except (ValueError, TypeError):
        provenance = ()
    if (
        images is None
        or labels is None
        or not usable(images, (len(provenance), *info.shape))
        or labels.shape != (len(provenance),)
    ):
        warn_unusable(path, "unexpected content")
        return None
    return Samples(Labeled(images, labels), provenance)
