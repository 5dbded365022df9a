"""What a repair is given beside the model: what that was trained on, its split, samples with true labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.poisoning import PoisonedSet
from attacks.schedule import poisons_centrally
from defenses.base import CleanNeeds, Split, Suspects
from defenses.support.class_balance import stratified_share, up_to_largest
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import DataSplits, Labeled
from fedcrucible_core.learning.models import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from server_app.foundation import ServerFoundation
from server_app.guide_knowledge import guide_notes
from server_app.root_set import drawn_clean, drawn_synthetic
from strategies.outcome import JudgedSet
from strategies.parts import RepairInputs
from strategies.systems import Assembled


def repair_inputs(
    config: RunConfigBase,
    system: Assembled,
    data: DataSplits,
    foundation: ServerFoundation,
    central: Callable[[], PoisonedSet],
    device: torch.device,
    victim: Callable[[int], SplitModel],
) -> RepairInputs:
    """What the system's repair asks for; the split is made here, once, and judged where the truth is known.

    ``victim`` is the model of an epoch of central training.
    """
    needs = system.repair_needs
    known = _known(system, foundation, central, device) if needs.looks_at_suspects else None
    found, judged, facts = None, None, dict[str, float]()
    if known is not None and system.suspects_splitter is not None:
        found = foundation.split(system.suspects_splitter, known.data, victim if system.suspects_are_central else None)
        facts = {f"splitter_{name}": value for name, value in found.facts.items()} | split_facts(found, known.poisoned)
        central_set = system.suspects_are_central
        truth = known.poisoned if not central_set or poisons_centrally(config) else None  # of published data who knows
        judged = JudgedSet(system.suspects_splitter, known.data, found, truth, central_set)
    suspects, clean = None, None
    notes: tuple[str, ...] = ()
    if known is not None and needs.suspects:
        guide = _on_cpu(foundation.guide().targets(known.data.inputs, data.info.class_names)) if needs.guide else None
        suspects = Suspects(known.data, found if needs.split else None, guide)
        if guide is not None:
            notes = guide_notes(guide.logits, known.data.labels, data.info.class_names)
    if needs.clean is not None:
        clean = _clean(config, needs.clean, data, foundation, known, found).to(device)
    return RepairInputs(suspects, clean, facts=facts, judged=judged, notes=notes)


@dataclass(frozen=True)
class _Known:
    data: Labeled
    poisoned: Tensor | None
    """The truth, bool ``[n]``; None = nobody can say, or nobody was there to poison."""


def _known(
    system: Assembled, foundation: ServerFoundation, central: Callable[[], PoisonedSet], device: torch.device
) -> _Known:
    if system.suspects_are_central:
        made = central()
        return _Known(made.data, made.poisoned)
    server = foundation.server_data("none", whole=True)
    return _Known(server.originals.to(device), server.poisoned)


def _clean(
    config: RunConfigBase,
    wanted: CleanNeeds,
    data: DataSplits,
    foundation: ServerFoundation,
    known: _Known | None,
    found: Split | None,
) -> Labeled:
    seed = config.run.seed
    if wanted.kind == "validation":
        return drawn_clean(config, data, wanted.samples, "clean-set")
    if wanted.kind == "synthetic":
        return drawn_synthetic(foundation.server_data("none").originals, wanted.samples, seed, "clean-set")
    assert known is not None
    assert found is not None
    labels, rng = known.data.labels.cpu(), torch_generator(seed, "clean-set")
    rows = stratified_share(labels, found.clean, wanted.share, wanted.samples, rng)
    if wanted.duplicates:
        rows = up_to_largest(labels, rows, rng)
    if not len(rows):
        raise ValueError("the split leaves no clean sample")
    return known.data.subset(rows.to(known.data.labels.device))


def split_facts(found: Split, poisoned: Tensor | None) -> dict[str, float]:
    """Sizes of a split's parts; where the truth is known and holds any poison, how well it found it, in percent.

    Recall is the share of poisoned samples that are in the triggered part; contamination is the poisoned share of the
    clean part; escaped is the share of poisoned samples that are in the clean part.
    """
    facts = {
        "split_clean": float(len(found.clean)),
        "split_triggered": float(len(found.triggered)),
        "split_mixed": float(len(found.mixed)),
    }
    if poisoned is None or not bool(poisoned.any()):
        return facts
    total, inside = int(poisoned.sum()), int(poisoned[found.clean].sum())
    return facts | {
        "split_recall_percent": 100.0 * int(poisoned[found.triggered].sum()) / total,
        "split_contamination_percent": 100.0 * inside / max(1, len(found.clean)),
        "split_escaped_percent": 100.0 * inside / total,
    }


def _on_cpu(targets: GuideTargets) -> GuideTargets:
    return replace(
        targets,
        embeddings=targets.embeddings.cpu(),
        text_embeddings=targets.text_embeddings.cpu(),
        logits=targets.logits.cpu(),
    )
