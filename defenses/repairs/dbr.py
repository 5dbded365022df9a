"""D-BR: samples are told apart by how their features bear a turn; the model unlearns one part and relearns another."""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import REPAIRS, Needs, Repair, RepairContext
from defenses.kernels.feature_consistency import centre_likeness, feature_shift, tails
from defenses.kernels.noisy_labels import raised_cross_entropy
from defenses.support.fitting import FORWARD_BATCH, FitOptions, accuracy_percent, fit, held_out
from defenses.support.training_anew import require_pictures, untrained
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.evaluation import embed
from fedcrucible_core.learning.fit import minimise, training_mode
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.views import turned


@REPAIRS.register("d-br")
class UnlearnRelearn(Repair):
    """A detector parts the training set by feature consistency; the model unlearns the one end and relearns the other.

    1. Detector: a fresh model learns all samples for ``detector_epochs`` without augmentation, then, for
       ``spread_epochs``, to push the centres of its classes apart (L_intra) and nothing else.
    2. Each sample's score is the mean squared difference of its features and those of the picture turned by ``degrees``
       and moved by up to ``shift``.  The ``clean_share`` (fraction) of lowest scores is taken for clean, the
       ``poison_share`` of highest for poisoned; the rest is left out.
    3. The model itself: ``epochs`` times one pass that raises the cross-entropy of the poisoned part, then one that
       lowers that of the clean part.  The epoch with the best accuracy on held-out samples of the clean part is kept,
       the last of equals.

    A turn by 180 degrees leaves symmetric things, such as most of Fashion-MNIST's, nearly as they were.
    """

    paper = (("chen2022dbr", "algorithms 1 and 3: sample distinguishment and unlearning"),)
    choices = ("d-br-transformation", "d-br-kept-epoch")
    knowledge = ("the poisoned training set",)
    cost = "(detector_epochs + spread_epochs) passes over the training set, epochs over a quarter of it"
    traps = (
        "the kept epoch is chosen on held-out samples, not by test accuracy and test ASR",
        "no poison flag is read",
    )
    detector_epochs: int = Field(2, ge=0, description="Epochs of the detector by cross-entropy")
    spread_epochs: int = Field(10, ge=0, description="Epochs in which its class centres are pushed apart")
    detector_lr: float = Field(0.01, gt=0.0, description="Learning rate of both (SGD, momentum .9)")
    detector_decay: float = Field(5e-4, ge=0.0, description="L2 weight decay of both")
    degrees: int = Field(
        180, ge=90, le=180, multiple_of=90, description="Turn of the transformation; 90 needs square pictures"
    )
    shift: float = Field(0.2, ge=0.0, le=1.0, description="Largest move, in sides of the picture (fraction)")
    clean_share: float = Field(0.2, gt=0.0, lt=1.0, description="Share (fraction) that is taken for clean")
    poison_share: float = Field(0.05, gt=0.0, lt=1.0, description="Share (fraction) that is taken for poisoned")
    held_share: float = Field(0.2, ge=0.0, lt=1.0, description="Share (fraction) of the clean part that is held out")
    epochs: int = Field(20, ge=0, description="Epochs of unlearning and relearning")
    lr: float = Field(1e-4, gt=0.0, description="Their learning rate (SGD, momentum .9)")
    batch_size: int = Field(128, ge=2, description="Samples per batch")

    @property
    def needs(self) -> Needs:
        """What the model was trained on."""
        return Needs(suspects=True)

    def check(self, model: SplitModel, info: DataInfo) -> None:
        """Raise ConfigError where inputs are no pictures, or are to be turned by 90 degrees and aren't square."""
        require_pictures(self.name, info)
        _, height, width = info.image_shape
        if self.degrees == 90 and height != width:
            raise ConfigError("repair.d-br.degrees", self.degrees, f"pictures are {height} x {width}; allowed: 180")

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Unlearn and relearn in place. Facts: samples of either part, accuracies in percent, the epoch kept."""
        data, rng = context.require_suspects().data, context.rng
        clean, poisoned = tails(self.scores(data, context), self.clean_share, self.poison_share)
        trained, held = held_out(data.subset(clean), self.held_share, rng)
        before = accuracy_percent(model, held)
        kept, best, epoch_kept = None, -1.0, 0
        for epoch in range(1, self.epochs + 1):
            self._turn(model, data.subset(poisoned), trained, rng)
            accuracy = accuracy_percent(model, held)
            if accuracy >= best:
                kept, best, epoch_kept = _copied(model), accuracy, epoch
        if kept is not None:
            model.load_state_dict(kept)
        model.eval()
        return {
            "clean": float(len(clean)),
            "poisoned": float(len(poisoned)),
            "epoch_kept": float(epoch_kept),
            "held_accuracy_before_percent": before,
            "held_accuracy_after_percent": accuracy_percent(model, held),
        }

    def scores(self, data: Labeled, context: RepairContext) -> Tensor:
        """Feature shift float64 ``[n]`` of each sample, on the CPU."""
        rng, detector = context.rng, untrained(context)
        options = FitOptions(self.detector_lr, weight_decay=self.detector_decay, batch_size=self.batch_size)
        fit(detector, data, options, rng, epochs=self.detector_epochs)

        def spread(rows: Tensor) -> Tensor:
            return centre_likeness(detector.embed(data.inputs[rows]), data.labels[rows])

        minimise(
            [p for n, p in detector.named_parameters() if not n.startswith(f"{detector.output}.")], spread, len(data),
            options, rng, epochs=self.spread_epochs, mode=partial(training_mode, detector),
        )  # fmt: skip
        moved = turned(data.inputs, self.degrees, self.shift, rng)
        device = data.inputs.device
        return feature_shift(
            embed(detector, data.inputs, FORWARD_BATCH, device).cpu(),
            embed(detector, moved, FORWARD_BATCH, device).cpu(),
        )

    def _turn(self, model: SplitModel, poisoned: Labeled, clean: Labeled, rng: torch.Generator) -> None:
        options = FitOptions(self.lr, batch_size=self.batch_size)
        fit(model, poisoned, options, rng, epochs=1, loss=raised_cross_entropy)
        fit(model, clean, options, rng, epochs=1)


def _copied(model: SplitModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
