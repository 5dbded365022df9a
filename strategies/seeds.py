"""What a blind run tells a client of chance: the seeds of its own work of one message, never the run's seed.

Each is a hash of the run's seed, a purpose, the round and the partition (``learning/rng.py``), so the client computes
what it would compute if it knew the run's seed.  A seed has 31 bits: whoever tries them all finds it.
"""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import ConfigRecord, RecordDict

from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.learning.rng import derive_seed, seed_name

SEEDS = "seeds"
"""Name of the record."""


def with_seeds(content: RecordDict, config: RunConfigBase, server_round: int, partition: int) -> RecordDict:
    """The content of a message to one client, with its seeds where the run is blind; else the content itself."""
    if not config.federation.blind:
        return content
    wanted: list[tuple[str, tuple[int, ...]]] = [("train", (server_round, partition)), ("client-test", (partition,))]
    if not config.federation.own_data:
        wanted.append(("partition", ()))
    seeds = {seed_name(name, *numbers): derive_seed(config.run.seed, name, *numbers) for name, numbers in wanted}
    return RecordDict({**content, SEEDS: ConfigRecord(dict(seeds))})


def read_seeds(content: RecordDict) -> Mapping[str, int]:
    """The seeds in a message, by their names; none where the run isn't blind."""
    record = content.get(SEEDS)
    if not isinstance(record, ConfigRecord):
        return {}
    return {name: seed for name, seed in record.items() if isinstance(seed, int)}


def stand_in(seeds: Mapping[str, int], partition: int) -> int:
    """A seed in the place of the run's, for what isn't told; the same in all rounds of a run, another in another run's.

    Raises ValueError where the server told none.
    """
    found = seeds.get(seed_name("partition"), seeds.get(seed_name("client-test", partition)))
    if found is None:
        raise ValueError("the run is blind, but its server tells no seeds: another version")
    return found % 2**31
