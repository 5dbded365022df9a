"""Adaptive layer poisoning: as strong as a simulated server still accepts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from attacks.support.critical_layers import coordinates
from attacks.uploader import UPLOADERS, CraftContext, RunFacts
from attacks.uploads.lp import LP
from attacks.view import AttackView, Upload
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.component import Names
from fedcrucible_core.learning.weights import Weights


def blended(w_global: Tensor, w_benign: Tensor, w_malicious: Tensor, strength: float) -> Tensor:
    """``g + lambda (mal - g) + max(0, 1 - lambda) (ben - g)``."""
    honest = max(0.0, 1.0 - strength)
    return w_global + strength * (w_malicious - w_global) + honest * (w_benign - w_global)


@UPLOADERS.register("lp-adaptive")
class LPAdaptive(LP):
    """Layer poisoning by attackers who know the server's rule and try their upload on a simulated server first.

    Around g = w_t, with ben = the mean of the colluders' clean models and mal = the poisoned model of the first of
    them: w = g + lambda (mal - g) + max(0, 1 - lambda) (ben - g) on the critical layers L*, ben elsewhere.  L* is found
    as lp does, with a higher tau.  All colluders who hold the same L* upload the same vector: everyone under full
    participation; under sampling only those whose L* was found in the same round, because no attacker knows another's
    memory.

    The simulated round holds the k colluders' clean updates and as many copies of the crafted one as attackers would
    have there in the round's own proportion: round(k m / (n - m)), at least one, for m attackers among n participants.
    While the rule rejects every copy, the least critical layer is dropped; with none left the attackers upload ben.
    With ``strength`` 0 lambda is searched for every set of layers: doubled from 1 while the rule accepts (at most to
    ``strongest``), halved until it accepts, then bisected, ``steps`` simulations in all; it ends on an accepted value.
    That value lies at the edge of what a small simulated round accepts; the real server often rejects it.

    ``simulate`` is the rule: the server's own by default, or any by name, e.g. clip-fed-filter, flame, multi-krum.  A
    rule that can't judge (it needs what only the server has, or more clients) counts as accepting.  Rules with memory
    are simulated without it, and an assumed number of attackers shrinks with the simulated round.  A lone attacker has
    one clean update and one copy, and filters accept everyone among fewer than three clients, so it uploads with the
    given lambda, untested.  A trigger that is split between attackers (dba) plants only the first attacker's part.
    """

    paper = ("zhuang2024lp", "adaptive layer poisoning, as in its public code")
    choices = ("adaptive-layers", "critical-layers", "adaptive-attacker")
    knowledge = ("the server's rule", "colluding attackers' data", "number of participants")
    state_kept = "critical layers, searched every few rounds"
    cost = "as lp, and a simulated aggregation (20 where lambda is searched for) for each number of layers tried"
    traps = ("the server's own rule is simulated, not a stand-in",)
    tau: float = Field(
        0.95, gt=0.0, le=1.0, description="Share (fraction) of w_mal's success that the layers must reach"
    )
    strength: float = Field(1.0, ge=0.0, description="lambda, share of the poisoned update on L*; 0 = search")
    strongest: float = Field(8.0, gt=0.0, description="Largest lambda that the search may end on")
    steps: int = Field(20, ge=1, description="Simulations of one search for lambda")
    simulate: Annotated[str, Names("defense")] = Field(
        "server", description="Aggregation rule that is simulated, by registered name; server = its own"
    )

    def check_run(self, run: RunFacts) -> None:
        """The simulated rule exists."""
        if self.simulate != "server" and self.simulate not in run.rules:
            raise ConfigError("attack.lp-adaptive.simulate", self.simulate, f"allowed: server, {', '.join(run.rules)}")

    def acts_unpoisoned(self, material: bool) -> bool:
        """Where L* can be found: all upload the same vector, made of the first one's model."""
        return material

    def upload(self, view: AttackView) -> Upload:
        """One round of one attacker: the vector that all colluders upload."""
        layers, clean = self.layers(view), view.clean_model()
        vector, attacked = view.once(("lp-adaptive", tuple(layers)), lambda: self._accepted(view, layers))
        return Upload(Weights(vector, clean.buffers), len(view.clean), clean.loss, attacked)

    def craft(self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, ctx: CraftContext) -> Tensor:
        """The blend with ``strength`` (1 where it is searched for) on the chosen coordinates, ben elsewhere."""
        return self._crafted(w_global, w_benign, w_malicious, ctx.chosen, self.strength or 1.0)

    def _crafted(
        self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, chosen: Tensor | None, strength: float
    ) -> Tensor:
        centre = w_global if w_benign is None else w_benign
        blend = blended(w_global, centre, w_malicious, strength)
        return blend if chosen is None else torch.where(chosen, blend, centre)

    def _accepted(self, view: AttackView, layers: Sequence[int]) -> tuple[Tensor, bool]:
        """The strongest upload that the simulated server accepts; else the mean clean model, and False."""
        benign = view.clean_updates()
        centre = view.w_global + benign.mean(0)
        if not layers:
            return centre, False
        malicious = self.malicious_model(view.leader).parameters
        for count in range(len(layers), 0, -1):
            chosen = coordinates(len(centre), [view.slots[i] for i in layers[:count]])
            craft = partial(self._crafted, view.w_global, centre, malicious, chosen)
            strength = self._strength(partial(self._simulated, view, benign, craft))
            if strength > 0.0:
                return craft(strength), True
        return centre, False

    def _strength(self, accepts: Callable[[float], bool]) -> float:
        """The configured lambda, or the largest found; 0 where it isn't accepted."""
        if self.strength > 0.0:
            return self.strength if accepts(self.strength) else 0.0
        return largest_accepted(accepts, self.strongest, self.steps)

    def _simulated(self, view: AttackView, benign: Tensor, craft: Callable[[float], Tensor], strength: float) -> bool:
        """Whether the simulated server accepts at least one copy of the upload with this lambda."""
        k, attackers = len(benign), len(view.colluders)
        honest = view.participants - attackers
        copies = max(1, int(k * attackers / honest + 0.5)) if honest > 0 else k
        crafted = craft(strength) - view.w_global
        accepted = view.simulate(self.simulate, torch.cat([benign, crafted.expand(copies, -1)]))
        return accepted is None or bool(accepted[k:].any())


def largest_accepted(accepts: Callable[[float], bool], strongest: float, steps: int) -> float:
    """The largest lambda found that is accepted, at most ``strongest``; 0 where none was.

    Doubled from 1 while accepted, halved while nothing was accepted yet, else bisected; ``steps`` trials.
    """
    low, high, trial = 0.0, math.inf, min(1.0, strongest)
    for _ in range(steps):
        if accepts(trial):
            low = trial
        else:
            high = trial
        if low >= strongest:
            break
        trial = min(2.0 * trial, strongest) if high == math.inf else (low + high) / 2.0
    return low
