"""What each client says of its own model: the table on a run's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedcrucible_core.records.numbers import numbers_of
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import ClientsSummary, RoundRecord
from fedcrucible_core.reports.pages.page import rate

MOST_CLIENTS = 100
NOTE = (
    "Clients measure the model that they use on test data of their own, which follow their own label mix, and the "
    "server sums up what they say: a hostile client may claim anything. Round {}; lowest accuracy first{}."
)


@dataclass(frozen=True)
class ClientRow:
    """One client's word."""

    client: str
    examples: str
    ma: str
    asr: str
    malicious: bool
    upstream: bool
    """Honest, with data that came poisoned."""


def client_rows(record: RecordedRun) -> tuple[list[ClientRow], str]:
    """The clients of the last round in which any was asked, lowest accuracy first, and a note on them."""
    asked = _last_asked(record.rounds)
    if asked is None:
        return [], ""
    order = sorted(asked.client_metrics.items(), key=lambda item: (item[1].get("ma_percent", 0.0), item[0]))
    rows = [
        ClientRow(
            client,
            f"{said.get('examples', 0.0):.0f}",
            rate(said.get("ma_percent")),
            rate(said.get("asr_percent")),
            any(str(one) == client for one in record.run.malicious),
            any(str(one) == client for one in record.run.upstream),
        )
        for client, said in order[:MOST_CLIENTS]
    ]
    more = f", {MOST_CLIENTS} of {len(order)}" if len(order) > MOST_CLIENTS else ""
    return rows, NOTE.format(asked.round, more)


def client_pairs(record: RecordedRun) -> list[tuple[str, str]]:
    """Mean, spread, worst and the mean of the last rounds, in words."""
    summary = record.summary.clients
    if summary is None:
        return []
    found = [(number, getattr(summary, field)) for field, number in numbers_of(ClientsSummary).items()]
    return [(number.title, f"{value:.1f} {number.unit}") for number, value in found if value is not None]


def _last_asked(rounds: Sequence[RoundRecord]) -> RoundRecord | None:
    return next((r for r in reversed(rounds) if r.client_metrics), None)
