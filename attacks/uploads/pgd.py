"""A backdoor within a norm bound."""

from __future__ import annotations

from attacks.support.projection import Projected
from attacks.uploader import UPLOADERS


@UPLOADERS.register("pgd")
class PGD(Projected):
    """Train on poisoned data within the ball ||w - w_t|| <= eps_r, eps_r = epsilon * decay^(round - 1).

    The model is projected onto the ball after every ``project_every``-th batch and after the last of each epoch, and
    once more before the upload, so that the bound holds exactly.  epsilon 0 takes the length of the attacker's own
    clean update of the round: its upload is then never longer than its honest one.  Public code uses 0.083 (CIFAR-10,
    with replacement) and 0.25 (MNIST), for models that were trained before the attack.

    After projection the update is scaled by gamma (1 = not at all, 0 = as model-replacement chooses).
    """

    paper = ("wang2020tails", "PGD")
    choices = ("pgd-radius",)
    cost = "one local training, a projection per batch"
    traps = ("always projected after the last batch",)
