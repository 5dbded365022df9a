"""What a record says of a foreign app's run before its first round."""

from __future__ import annotations

from fedcrucible.flower.configured import Defence
from fedcrucible.flower.memory import DATASET
from fedcrucible.flower.record import BY_WORD, UNKNOWN
from fedcrucible.flower.server_side import ServerSide
from fedcrucible_core.records.schema import RunDescription


def description(defence: Defence, side: ServerSide, rounds: int, malicious_key: str) -> RunDescription:
    """The run as its record describes it: who defends; nothing of data or attacks, which only the app knows."""
    system, given = defence.system, side.given
    parts = [part for part in (system.rule, system.purifier, system.repair) if part is not None]
    knowledge = {part.name: part.knowledge for part in parts if part.knowledge}
    if system.kind.knowledge:
        knowledge[system.name] = system.kind.knowledge
    return RunDescription(
        strategy=system.name,
        attack="of the app" if malicious_key else "unknown",
        rule=system.rule_name,
        purifier=system.purifier.name if system.purifier else "",
        repair=system.repair.name if system.repair else "",
        seed=defence.config.run.seed,
        rounds=rounds,
        dataset=DATASET,
        class_names=given.class_names,
        input_noun="input",
        attack_inputs="triggered inputs",
        truth="known" if malicious_key else "unknown",
        knowledge=knowledge,
        notes=(BY_WORD.format(malicious_key) if malicious_key else UNKNOWN,),
        privacy=defence.rule.privacy,
    )
