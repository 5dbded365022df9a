"""CGD as its paper has it: training on a set that may be poisoned, then split and guided unlearning."""

from __future__ import annotations

from strategies.central_training import CentralTrainingStrategy
from strategies.systems import SYSTEMS, System


@SYSTEMS.register("cgd")
class Cgd(System):
    """CGD: no federation; the server trains on all data at once, then splits them and unlearns (cgd-unlearn).

    ``poison.central`` lets the attack at the training set; ``strategy = central`` is the same run undefended.
    """

    paper = (("xu2025cgd", "the whole system"),)
    choices = ("cgd-unlearning", "cgd-early-stop", "cgd-oversampling", "cgd-thresholds", "cgd-fresh-models")
    knowledge = ("all training data in one place",)
    trainer = "central"
    repair = "cgd-unlearn"
    strategy = CentralTrainingStrategy
