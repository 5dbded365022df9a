"""Measures the global model on the evaluation split, with and without the trigger."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.poisoner import Poisoner
from attacks.preparation import measured_context
from attacks.task import AttackTask
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.learning.data import DataSplits, Labeled, model_inputs
from fedcrucible_core.learning.evaluation import (
    attack_metrics,
    classes_of,
    clean_metrics,
    embed,
    not_finite_percent,
    predict,
)
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.records.sampling import embedding_sample
from fedcrucible_core.records.schema import NOT_FINITE, TRIGGERED_NOT_FINITE
from strategies.outcome import Measured


@dataclass(frozen=True)
class Evaluator:
    """The evaluation images, and what attack success is measured on, made once by the attack that poisons clients."""

    labels: Tensor
    images: Tensor
    attacked: Labeled | None
    """As :func:`attacks.evaluation.triggered_test_set` makes it; None for untargeted attacks."""
    natural: bool
    """The attack's inputs exist in one form only, so that there is no rate without trigger."""
    num_classes: int
    target: int
    batch_size: int
    device: torch.device

    @classmethod
    def build(cls, config: RunConfigBase, data: DataSplits, poisoner: Poisoner, device: torch.device) -> Evaluator:
        """Prepare both sets; for an untargeted attack only the clean one."""
        chosen = data.measured(config.task.eval_split)
        attacked = None
        if poisoner.targeted and config.task.eval_split != "none":
            context = measured_context(config, poisoner, AttackTask.of(config, data))
            attacked = poisoner.attacked(chosen, context)
        return cls(
            labels=chosen.labels,
            images=chosen.inputs,
            attacked=attacked,
            natural=poisoner.natural,
            num_classes=data.info.num_classes,
            target=config.poison.target_label,
            batch_size=config.run.eval_batch_size,
            device=device,
        )

    def fingerprint(self) -> str:
        """SHA-256 of what attack success is measured on: the same inputs, true classes and target, the same rate.

        The clean images follow from settings that identify a run anyway.
        """
        total = hashlib.sha256(repr((self.natural, self.num_classes, self.target)).encode())
        for tensor in () if self.attacked is None else (self.attacked.inputs, self.attacked.labels, self.attacked.rows):
            if tensor is not None:
                total.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                total.update(tensor.detach().contiguous().numpy().tobytes())
        return total.hexdigest()

    def measure(self, model: SplitModel) -> Measured:
        """All metrics for one model (docs/choices.md#asr-target-class); every rate in percent."""
        clean = predict(model, self.images, self.batch_size, self.device)
        triggered = None
        if self.attacked is not None:
            triggered = predict(model, self.attacked.inputs, self.batch_size, self.device)
        return self.judge(clean, triggered)

    def measure_zero_shot(self, guide: Guide, class_names: tuple[str, ...]) -> Measured:
        """The same metrics for the guide's own zero-shot predictions."""

        def classify(inputs: Tensor) -> Tensor:
            return classes_of(guide.targets(model_inputs(inputs), class_names).logits)

        return self.judge(classify(self.images), None if self.attacked is None else classify(self.attacked.inputs))

    def shown(self) -> list[Tensor]:
        """The images that ``judge`` wants predictions on: the clean ones, then the triggered ones if there are any."""
        return [self.images] if self.attacked is None else [self.images, self.attacked.inputs]

    def judge(self, clean: Tensor, triggered: Tensor | None) -> Measured:
        """The metrics of predictions on ``images`` and on ``triggered``, however they came about.

        Where some are no class, because the model's outputs weren't finite, the facts say what share.
        """
        attack = None
        if triggered is not None and self.attacked is not None:
            rows = None if self.natural else self.attacked.rows
            untriggered = None if rows is None else clean[rows]
            attack = attack_metrics(triggered, untriggered, self.attacked.labels, self.target, self.num_classes)
        return Measured(clean_metrics(clean, self.labels, self.num_classes), attack, _not_finite(clean, triggered))

    def features(self, model: SplitModel, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features for the t-SNE (docs/choices.md#feature-plot): a class-balanced subset, some of it triggered.

        Returns features ``[n, D]``, true labels ``[n]`` and a boolean mask of the triggered ones. None is triggered
        where the attack's inputs are not made of test images.
        """
        kept = None if self.attacked is None else self.attacked.rows
        markable = None
        if kept is not None:
            markable = torch.zeros(len(self.labels), dtype=torch.bool).index_fill_(0, kept, True).numpy()
        chosen, marks = embedding_sample(self.labels.numpy(), markable, seed)
        rows, mask = torch.from_numpy(chosen), torch.from_numpy(marks)
        features = embed(model, self.images[rows], self.batch_size, self.device)
        if self.attacked is not None and kept is not None and bool(mask.any()):
            triggered = self.attacked.inputs[torch.searchsorted(kept, rows[mask])]
            features[mask] = embed(model, triggered, self.batch_size, self.device)
        return features, self.labels[rows], mask


def _not_finite(clean: Tensor, triggered: Tensor | None) -> dict[str, float]:
    """Shares of predictions that are no class, by what they were made on; nothing for a model that answers always."""
    shares = {NOT_FINITE: not_finite_percent(clean)}
    if triggered is not None:
        shares[TRIGGERED_NOT_FINITE] = not_finite_percent(triggered)
    return shares if any(shares.values()) else {}
