"""Main-task accuracy and attack success, with the target class left out; every rate is in percent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedcrucible_core.learning.data import model_inputs
from fedcrucible_core.learning.models.base import SplitModel

NO_CLASS = -1
"""The prediction of a model whose logits on an image aren't all finite: no class, so neither right nor a hit."""


@dataclass(frozen=True)
class CleanMetrics:
    """Accuracy on clean images: ``accuracy`` in percent, ``recall`` in percent by class (NaN for an empty class)."""

    accuracy: float
    recall: tuple[float, ...]


@dataclass(frozen=True)
class AttackMetrics:
    """On images whose true class is not the target (Eq. 1 of gai2025clipfed); all rates in percent."""

    asr: float
    """Triggered images predicted as the target."""
    base_rate: float | None
    """The same images without trigger predicted as the target (natural confusion); None = there is no such thing."""
    asr_correct: float | None
    """ASR among images that are classified correctly without the trigger (NaN when there are none; None as above)."""
    robust_accuracy: float
    """Triggered images predicted as their true class."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts by true class (row) and prediction on the triggered image (column); a last column counts ``NO_CLASS``
    where that occurs."""


def classes_of(logits: Tensor) -> Tensor:
    """Class int64 ``[n]`` of the largest of each row of logits ``[n, C]``; ``NO_CLASS`` for a row that isn't finite.

    argmax alone calls a row of NaN class 0, which would be a hit wherever that is the attacker's target.
    """
    return torch.where(torch.isfinite(logits).all(1), logits.argmax(1), NO_CLASS)


def not_finite_percent(predicted: Tensor) -> float:
    """Share of predictions ``[n]`` that are no class, in percent; 0 for none at all."""
    return 100.0 * float((predicted == NO_CLASS).double().mean()) if len(predicted) else 0.0


@torch.inference_mode()
def predict(model: SplitModel, inputs: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Predicted classes int64 ``[n]`` on the CPU for inputs ``[n, ...]`` as a model takes them, or stored pictures.

    ``NO_CLASS`` where the logits aren't finite.
    """
    return torch.cat([classes_of(part).cpu() for part in _forward(model, model, inputs, batch_size, device)])


@torch.no_grad()
def embed(model: SplitModel, inputs: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Penultimate features float32 ``[n, D]`` of a model on ``device``, in eval mode; they lie where the inputs do."""
    batches = _forward(model, model.embed, inputs, batch_size, device)
    return torch.cat([features.float().to(inputs.device) for features in batches])


@torch.no_grad()
def logits(model: nn.Module, inputs: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Logits float32 ``[n, C]`` of a model on ``device``, in eval mode; they lie where the inputs do."""
    batches = _forward(model, model, inputs, batch_size, device)
    return torch.cat([outputs.float().to(inputs.device) for outputs in batches])


def _forward(
    model: nn.Module, part: Callable[[Tensor], Tensor], inputs: Tensor, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    """What ``part`` of ``model`` makes of each batch."""
    model.eval()
    for batch in torch.split(inputs, batch_size):
        yield part(model_inputs(batch.to(device)))


def clean_metrics(predicted: Tensor, labels: Tensor, num_classes: int) -> CleanMetrics:
    """Accuracy and per-class recall of predictions ``[n]`` (``NO_CLASS`` is wrong) against labels ``[n]``."""
    hits = predicted == labels
    totals = torch.bincount(labels, minlength=num_classes).double()
    correct = torch.bincount(labels[hits], minlength=num_classes).double()
    recall = (100.0 * correct / totals).tolist()
    return CleanMetrics(100.0 * float(hits.double().mean()), tuple(recall))


def attack_metrics(
    triggered: Tensor, untriggered: Tensor | None, labels: Tensor, target: int, num_classes: int
) -> AttackMetrics:
    """Attack metrics from predictions on the triggered and untriggered copies of non-target images.

    All three are int64 ``[n]``; ``untriggered`` is None for attacks whose inputs exist in one form only.  ``NO_CLASS``
    is never a hit, never right.  Raises ValueError when a target-class image is among them, for it would count natural
    accuracy as attack success.
    """
    if bool((labels == target).any()):
        raise ValueError("target-class images must not count towards the attack success rate")
    hit = triggered == target
    base = among_correct = None
    if untriggered is not None:
        correct = untriggered == labels
        base = 100.0 * float((untriggered == target).double().mean())
        among_correct = float(hit[correct].double().mean()) * 100.0 if bool(correct.any()) else float("nan")
    return AttackMetrics(
        asr=100.0 * float(hit.double().mean()),
        base_rate=base,
        asr_correct=among_correct,
        robust_accuracy=100.0 * float((triggered == labels).double().mean()),
        confusion=_confusion(triggered, labels, num_classes),
    )


def _confusion(predicted: Tensor, labels: Tensor, num_classes: int) -> tuple[tuple[int, ...], ...]:
    """Rows add up to the images of their class, whatever the model made of them."""
    columns = num_classes + int(bool((predicted == NO_CLASS).any()))
    place = torch.where(predicted == NO_CLASS, num_classes, predicted)
    counts = torch.bincount(labels * columns + place, minlength=num_classes * columns).view(num_classes, columns)
    return tuple(tuple(row) for row in counts.tolist())
