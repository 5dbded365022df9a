"""The trainers by the name that a system gives."""

from __future__ import annotations

from strategies.central import Central
from strategies.federation import Federation
from strategies.parts import Parts
from strategies.population import Standing
from strategies.roster import Roster
from strategies.trainer import Nobody, Trainer

TRAINERS: dict[str, type[Trainer]] = {"federation": Federation, "central": Central, "nobody": Nobody}


def trainer_of(parts: Parts, roster: Roster, standing: Standing) -> Trainer:
    """The trainer of the system that is run."""
    return TRAINERS[parts.system.kind.trainer](parts, roster, standing)
