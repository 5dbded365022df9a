"""What the server prepares once (its data, the guide's view of them) and does to the model each round."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from defenses.base import Purified, Purifier, State
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.learning.models.base import SplitModel


@dataclass(frozen=True)
class ServerPhase:
    """A purifier with everything it works on."""

    purifier: Purifier
    data: ServerData
    targets: GuideTargets | None

    def run(self, model: SplitModel, rng: torch.Generator, state: State) -> Purified:
        """Purify ``model`` in place; raises FloatingPointError when that leaves a parameter that is not finite."""
        result = self.purifier.purify(model, self.data, self.targets, rng, state)
        for name, tensor in model.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise FloatingPointError(f"purifier {self.purifier.name!r} left {name} not finite: lower its lr")
        return result
