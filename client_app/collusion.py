"""Which attackers work together: those that the run's seed draws, in the rounds in which they take part."""

from __future__ import annotations

from functools import lru_cache

from attacks.schedule import malicious_partitions
from client_app.session import Session
from fedcrucible_core.config.compose import RunConfigBase
from strategies.nodes import sample


def colluding_partitions(session: Session) -> tuple[int, ...]:
    """Attackers that pool their data and take part this round, ascending; the session's own is always one of them.

    They are the members of the group that the run's seed samples this round if all clients are online.  An attacker is
    alone with ``adversary.collusion = "alone"``, where its node has a data folder of its own, and where the node was
    made malicious by hand (``role='malicious'``) rather than by the run's configuration.
    """
    config, own = session.config, session.partition
    group = frozenset(malicious_partitions(config))
    if config.adversary.collusion == "alone" or not session.shares_data or own not in group:
        return (own,)
    return tuple(sorted({own} | (group & _sampled(config, session.round))))


@lru_cache(maxsize=4)
def _sampled(config: RunConfigBase, round: int) -> frozenset[int]:
    """Partitions that take part in a round if all clients are online."""
    return frozenset(sample(range(config.federation.clients), config, round, frozenset(malicious_partitions(config))))
