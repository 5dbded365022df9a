"""Layer poisoning (LP): a backdoor in the critical layers, an honest model everywhere else."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from attacks.support.critical_layers import coordinates, critical_layers
from attacks.uploader import UPLOADERS, CraftContext, Uploader
from attacks.view import AttackView, Upload
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.weights import Trained, Weights

LAYERS, FOUND_IN = "lp.layers", "lp.found_in"
"""In the attacker's memory: numbers of the critical layers, the most critical first, and the round they were found."""
OPTIMISER = {"optimiser": "sgd", "lr": 0.1, "momentum": 0.5, "batch_size": 64, "weight_decay": 0.0}
"""Training while layers are searched for, as in the public code."""


@UPLOADERS.register("lp")
class LP(Uploader):
    """Upload the poisoned model on the backdoor-critical layers L*, the clean model everywhere else.

    A layer is one named parameter, weights and biases apart.  L* is searched for every ``refresh`` rounds:

    1. The attacker's data are split 3/4 for training, 1/4 for validation.
    2. w_ben: trained from the global model on the clean part (SGD 0.1, momentum 0.5, batches of 64) until its accuracy
       there reaches ``floor``, looked at every ``look_every`` epochs, given up after more than ``patience`` epochs
       unless it is above ``least``.  w_mal: one more epoch on the clean part and a triggered copy of it.
    3. A layer's criticality is the backdoor success that w_mal loses on the triggered validation images when that layer
       alone comes from w_ben.
    4. w_mal's layers enter w_ben, the most critical first, until success is at least tau times w_mal's.  These are L*.

    Then, every round, with this round's own local models: w_mal' on L*, w_ben' elsewhere; the clean model's batch-norm
    buffers.  Colluders share one search, by the first of them that can make it; a lone attacker searches by itself.
    Where nobody can (accuracy not reached, no image of another class than the target's, a backdoor that doesn't take),
    the layers found before stay in use; without any the attacker uploads its clean model that round.

    An attacker keeps L* in its memory, which checkpoints hold too.  With a natural trigger
    (semantic, edge-case) success is validated on the same few images that the additions to the training are drawn from.
    """

    paper = ("zhuang2024lp", "layer poisoning (LPA), as in its public code")
    choices: ClassVar[tuple[str, ...]] = ("critical-layers", "layer-attack-name")
    knowledge: ClassVar[tuple[str, ...]] = ("critical layers found on a colluding attacker's data",)
    state_kept = "critical layers, searched every few rounds"
    cost = "clean and poisoned training; (layers + critical layers) evaluations per search"
    traps: ClassVar[tuple[str, ...]] = (
        "a failed search has a defined fall-back",
        "layers outside are the clean model exactly",
    )
    needs_benign_model: ClassVar[bool] = True
    tau: float = Field(
        0.8, gt=0.0, le=1.0, description="Share (fraction) of w_mal's success that the layers must reach"
    )
    refresh: int = Field(5, ge=1, description="Rounds for which found layers are kept")
    floor: float = Field(0.93, gt=0.0, le=1.0, description="Training accuracy (fraction) that ends the clean training")
    least: float = Field(0.8, ge=0.0, le=1.0, description="Accuracy (fraction) that is enough when patience is over")
    look_every: int = Field(4, ge=1, description="Epochs between looks at that accuracy")
    patience: int = Field(30, ge=1, description="Epochs after which the clean training is given up")

    needs_target: ClassVar[bool] = True
    appends_copies: ClassVar[bool] = True

    def acts_unpoisoned(self, material: bool) -> bool:
        """No: a model of clean data on L* is the clean model."""
        return False

    def upload(self, view: AttackView) -> Upload:
        """One round of one attacker."""
        layers, clean = self.layers(view), view.clean_model()
        if not layers:
            return Upload(clean.weights, len(view.clean), clean.loss, attacked=False)
        trained = self.malicious_model(view)
        chosen = coordinates(len(view.w_global), [view.slots[i] for i in layers])
        crafted = self.craft(view.w_global, clean.parameters, trained.parameters, self.context(view, chosen))
        return Upload(Weights(crafted, clean.buffers), len(view.clean), trained.loss)

    def craft(self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, ctx: CraftContext) -> Tensor:
        """The poisoned model on the chosen coordinates, the clean one elsewhere."""
        if w_benign is None or ctx.chosen is None:
            return w_malicious.clone()
        return torch.where(ctx.chosen, w_malicious, w_benign)

    def layers(self, view: AttackView) -> list[int]:
        """L* of this round, the most critical first: as remembered, or searched for again when that is too old."""
        known, found_in = view.memory.get(LAYERS), view.memory.get(FOUND_IN)
        if known is not None and found_in is not None and view.round - int(found_in) < self.refresh:
            return [int(i) for i in known]
        found = self._searched(view)
        if found:
            view.memory[LAYERS] = torch.tensor(found, dtype=torch.int64)
            view.memory[FOUND_IN] = torch.tensor(view.round, dtype=torch.int64)
            return found
        return [] if known is None else [int(i) for i in known]

    def _searched(self, view: AttackView) -> list[int]:
        for member in view.colluders:
            found = view.once(("lp.layers", member.partition), lambda member=member: self.search(member))  # type: ignore[misc]
            if found:
                return found
        return []

    def search(self, view: AttackView) -> list[int]:
        """Steps 1 to 4 on one attacker's data; empty where it can't be done."""
        order = torch.randperm(len(view.clean), generator=view.generator("lp-split"))
        cut = 3 * len(order) // 4
        triggered = self._triggered(view, order[cut:])
        if not cut or not len(triggered):
            return []
        benign = self._clean_start(view, view.clean.subset(order[:cut]))
        if benign is None:
            return []
        copies = view.with_poisoned_copies(order[:cut], "lp-poison")
        settings = view.training.model_copy(update={**OPTIMISER, "local_epochs": 1})
        malicious = view.train(copies, start=benign.weights, settings=settings, purpose="lp-poisoned")

        def success(model: Weights) -> float:
            return float((view.predict(model, triggered) == view.target).double().mean())

        return critical_layers(benign.weights, malicious.weights, view.slots, success, self.tau)

    def _triggered(self, view: AttackView, rows: Tensor) -> Tensor:
        """Triggered images of other classes than the target's, from own images kept for validation."""
        validation, target = view.clean.subset(rows), view.target
        if view.poisoner.poisons_own and not view.poisoner.natural:
            return view.triggered(validation.subset((validation.labels != target).nonzero().flatten()))
        added = view.with_poisoned_copies(rows, "lp-validation")  # natural attacks: what they add, or relabel
        return added.inputs[len(rows) :][added.labels[len(rows) :] == target]

    def _clean_start(self, view: AttackView, data: Labeled) -> Trained | None:
        settings = view.training.model_copy(update={**OPTIMISER, "local_epochs": self.look_every})
        model, epochs, accuracy = Trained(view.received), 0, 0.0
        while epochs <= self.patience:
            model = view.train(data, start=model.weights, settings=settings, purpose=f"lp-clean-{epochs}")
            epochs += self.look_every
            accuracy = view.accuracy(model.weights, data)
            if accuracy >= self.floor:
                return model
        return model if accuracy > self.least else None
