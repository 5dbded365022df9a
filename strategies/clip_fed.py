"""CLIP-Fed: a filter before aggregation, and after it a server phase that is guided by CLIP."""

from __future__ import annotations

from strategies.loop import Loop
from strategies.population import Population
from strategies.roster import Answers
from strategies.systems import SYSTEMS, System


class ClipFedStrategy(Loop):
    """CLIP-Fed's round.

    1. Clients train; their updates are reduced by PCA and clustered by HDBSCAN, and the majority cluster is kept
       (rule ``clip-fed-filter``).
    2. Eq. 2: the kept updates' mean, weighted by the number of samples.
    3. On the server's synthetic images, feature rectification pulls the aggregate's features towards CLIP's (Eqs. 3-5);
       knowledge transfer then distils CLIP's predictions into it (Eq. 6; purifier ``clip-guided``).
    """

    def advance(self, server_round: int, population: Population, answers: Answers) -> Population:
        """Steps 1 and 2, then step 3."""
        aggregated = self.train(server_round, population, answers)
        return self.purify(server_round, aggregated)


@SYSTEMS.register("clip-fed")
class ClipFed(System):
    """CLIP-Fed: cluster filter, sample-weighted mean, CLIP-guided feature rectification and knowledge transfer."""

    paper = ("gai2025clipfed", "")
    choices = ("clip-fed-settings", "server-phase-order")
    rule = "clip-fed-filter"
    purifier = "clip-guided"
    strategy = ClipFedStrategy


@SYSTEMS.register("clip-fed-plus")
class ClipFedPlus(System):
    """Our stronger variant of CLIP-Fed: the aggregate itself teaches too, and random visible patches are unlearned."""

    paper = "this project's own, beside CLIP-Fed, never in its place"
    choices = ("server-phase-order",)
    rule = "clip-fed-filter"
    purifier = "clip-guided-plus"
    strategy = ClipFedStrategy
