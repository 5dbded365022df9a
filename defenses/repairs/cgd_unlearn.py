"""CGD: a model is retrained on what a split calls clean, and made to forget the labels of what it calls triggered."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import REPAIRS, Needs, Repair, RepairContext
from defenses.support.class_balance import as_in_the_whole, stratified_share, up_to_largest
from defenses.support.guided_unlearning import Accuracy, Epoch, Forgetting, Unlearned, accuracy_percent, watched
from defenses.support.unlearning_terms import Members, UnlearningTerms
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks import task_of


@REPAIRS.register("cgd-unlearn")
class CgdUnlearn(UnlearningTerms, Repair):
    """CGD's guided unlearning on the split of what the model was trained on (xu2025cgd, stage 2).

    Each epoch every clean row, oversampled, and every other row once, in batches.  A batch's loss is cross-entropy on
    its clean rows, ``lambda_un`` times the mean of log(p(y) + epsilon) on its triggered rows, which makes their given
    labels unlikely, and ``lambda_d`` times their distance from the teacher's answers.  Mixed rows have no loss; with
    ``bn_on_mixed`` they pass through the model in training mode all the same, so batch norm's statistics see them.

    ``tolerance`` points: a share ``held_out`` of the clean rows isn't trained on; where accuracy on it falls that far
    below the best so far, the victim's own included, training stops and the best epoch's weights that were within the
    tolerance come back: the victim's where not even the first was.  Without a stop the last epoch is kept.

    ``fall`` (ours, docs/choices.md#cgd-forgetting): triggered samples keep their labels for epochs and then lose them
    all at once; training stops with the first epoch after that.  Too early a stop leaves the backdoor, too late a one
    costs accuracy which no clean row shows.

    The split is ``splitter.name``'s, or cgd-entropy's by the paper's ranks: thresholds are there, and nowhere else.
    """

    paper: ClassVar = (("xu2025cgd", "stage 2, guided unlearning"),)
    choices = ("cgd-unlearning", "cgd-early-stop", "cgd-forgetting", "cgd-oversampling", "cgd-scale")
    knowledge = ("the training set", "foundation model")
    cost = "the split, then 10 epochs over the training set at most"
    traps = (
        "the early stop starts from the victim's accuracy, not from -inf",
        "a batch without members takes no step",
        "one split serves losses and oversampling",
    )
    epochs: int = Field(10, ge=1, description="Epochs at most")
    batches: int = Field(200, ge=1, description="Batches of an epoch at most; rows beyond them wait for a later one")
    batch_size: int = Field(256, ge=2, description="Rows per batch")
    lr: float = Field(0.01, gt=0.0, description="Learning rate (SGD, constant)")
    momentum: float = Field(0.0, ge=0.0, lt=1.0, description="SGD momentum, fresh every epoch")
    weight_decay: float = Field(5e-4, ge=0.0, description="L2 weight decay")
    augment: Literal["auto", "run", "none", "crop-flip"] = Field(
        "auto", description="Augmentation: auto = crop-flip of images; run = as training.augment says"
    )
    oversample: Literal["match", "largest", "none"] = Field(
        "match",
        description="Clean rows: classes stand to each other as in the whole set (match), every class up to the "
        "largest, or each row once",
    )
    bn_on_mixed: bool = Field(True, description="Undecided rows pass through the model too, without a loss")
    held_out: float = Field(
        0.05, ge=0.0, lt=1.0, description="Share (fraction) of clean rows that early stopping watches; 0 = no stop"
    )
    tolerance: float = Field(1.0, gt=0.0, le=100.0, description="Loss of accuracy (points) at which training stops")
    fall: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="Points of triggered rows' labels, forgotten in one epoch, after which training stops; 0 = never",
    )

    @property
    def needs(self) -> Needs:
        """The suspects, their split, and the guide where it teaches."""
        return Needs(suspects=True, split=True, guide=self.asks_guide)

    def check(self, model: SplitModel, info: DataInfo) -> None:
        """Raise ConfigError where texts are to be cropped and flipped."""
        super().check(model, info)
        if self.augment == "crop-flip" and not task_of(info).pictured:
            allowed = f"augments images, {info.name} has inputs of task {info.task!r}; allowed: auto, run, none"
            raise ConfigError("repair.cgd-unlearn.augment", self.augment, allowed)

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Unlearn in place. Raises ValueError without a split, or one that calls nothing clean or triggered."""
        data, split = context.require_split()
        found = self.unlearn(model, data, split.clean, split.triggered, context)
        facts = {"epochs": float(found.ran), "kept_epoch": float(found.kept), "skipped_batches": float(found.skipped)}
        if self.fall:
            facts["forgot_epoch"] = float(found.forgot)
        if self.held_out:
            facts |= {
                "held_out_before_percent": found.before_percent,
                "held_out_after_percent": found.after_percent,
            }
        return facts

    def unlearn(
        self,
        model: SplitModel,
        data: Labeled,
        clean: Tensor,
        triggered: Tensor,
        context: RepairContext,
        watch: Accuracy | None = None,
    ) -> Unlearned:
        """Unlearn in place, given row numbers int64 of ``data`` (on the model's device).

        ``watch`` measures accuracy (percent) for the early stop in the place of held-out clean rows.  It is for
        replication alone: the published code looks at the test set there.  No run does, and no key asks for it.
        """
        labels, rng, device = data.labels.cpu(), context.rng, context.device
        held = clean[:0]
        if watch is None and self.held_out:
            held = _held_out(labels, clean, self.held_out, rng)
            watch = partial(accuracy_percent, data=data.subset(held.to(device))) if len(held) else None
        kept = clean[~torch.isin(clean, held)]
        guide = context.require_suspects().guide if self.asks_guide else None
        teacher = self.teacher_logits(guide, len(data), context.info.num_classes)
        members = Members.of(data.labels, kept, triggered, teacher)
        if not bool((members.clean | members.triggered).any()):
            raise ValueError("the split calls nothing clean and nothing triggered: there is nothing to learn")
        mixed = torch.ones(len(data), dtype=torch.bool).index_fill(0, torch.cat([clean, triggered]), False)
        once = torch.cat([triggered, mixed.nonzero().flatten()])

        def rows() -> Tensor:
            return torch.cat([self._oversampled(labels, kept, rng), once]).to(device)

        epoch = Epoch(
            model, data, members, self, self.settings, self.batches, self.bn_on_mixed, self._augments(context)
        )
        forgetting, labelled = None, triggered[labels[triggered.cpu()] >= 0]
        if self.fall and len(labelled):
            forgetting = Forgetting(partial(accuracy_percent, data=data.subset(labelled.to(device))), self.fall)
        return watched(model, self.epochs, lambda: epoch.run(rows(), rng), watch, self.tolerance, epoch, forgetting)

    @property
    def settings(self) -> TrainingSection:
        """The optimiser and its batches."""
        return TrainingSection(
            optimiser="sgd", lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay,
            batch_size=self.batch_size,
        )  # fmt: skip

    def _oversampled(self, labels: Tensor, rows: Tensor, rng: torch.Generator) -> Tensor:
        if self.oversample == "none":
            return rows
        way = up_to_largest if self.oversample == "largest" else as_in_the_whole
        return way(labels, rows, rng)

    def _augments(self, context: RepairContext) -> bool:
        if self.augment == "auto":
            return task_of(context.info).pictured
        return (context.training.augment if self.augment == "run" else self.augment) == "crop-flip"


def _held_out(labels: Tensor, clean: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """A stratified share (fraction) of the clean rows, at least one of each class that has another one."""
    held = stratified_share(labels, clean, share, 0, rng) if len(clean) else clean
    counts = torch.bincount(labels[clean].clamp(min=0)) if len(clean) else clean
    return held[counts[labels[held].clamp(min=0)] > 1]
