"""Model replacement: an update scaled up until the average is the attacker's model."""

from __future__ import annotations

from attacks.support.scaling import Scaled
from attacks.uploader import UPLOADERS


@UPLOADERS.register("model-replacement")
class ModelReplacement(Scaled):
    """Upload w_t + gamma * (X - w_t), where X is the model trained on poisoned data.

    With gamma = n / eta, n participants and server rate eta, the average becomes X where the others' updates cancel
    out or are zero.  Attackers who collude share that factor: each of m takes n / (m eta), so that together they plant
    the mean of their models instead of overshooting m times.  Shares are supposed to be equal; an attacker with more
    data than the average client overshoots a little.  Batch-norm buffers are never scaled.
    """

    paper = ("bagdasaryan2020", "equation 3")
    choices = ("replacement-factor",)
    knowledge = ("number of participants and the server's learning rate",)
    cost = "one local training"
    traps = ("batch-norm buffers are not scaled",)
