"""Layer flipping (LF): the critical layers' poisoned update with its sign turned round."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.uploader import UPLOADERS, CraftContext
from attacks.uploads.afa import flipped
from attacks.uploads.lp import LP


@UPLOADERS.register("lf")
class LF(LP):
    """On the backdoor-critical layers L*: 2 w_t - w_mal; elsewhere the clean model. L* is found as lp does.

    Made for servers that flip the aggregated sign where agreement is low (robust learning rate): the flipped update
    becomes a backdoor update again.  Under plain averaging it REMOVES backdoor; see afa, which flips all layers.  It is
    the variant of layer poisoning whose undefended success would be as low as CLIP-Fed reports for its "LayerAttack";
    lp is the obvious reading.
    """

    paper = ("zhuang2024lp", "layer flipping (LFA), as in its public code")
    choices = ("layer-flipping", "layer-attack-name", "critical-layers")
    state_kept = "critical layers, searched every few rounds"
    cost = "as lp"
    traps = ("batch-norm buffers are never flipped",)

    def acts_unpoisoned(self, material: bool) -> bool:
        """Where L* can be found, the clean model too is turned round there."""
        return material

    def craft(self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, ctx: CraftContext) -> Tensor:
        """The flipped model on the chosen coordinates, the clean one elsewhere."""
        turned = flipped(w_global, w_malicious)
        if w_benign is None or ctx.chosen is None:
            return turned
        return torch.where(ctx.chosen, turned, w_benign)
