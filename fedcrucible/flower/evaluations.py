"""What clients of a foreign app say of the model: odd answers are dropped, rates are recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flwr.app import Message, MetricRecord, RecordDict

from fedcrucible.flower.rates import is_finite, rates_of
from fedcrucible.flower.uploads import EXACT, excessive, read_metrics, usual_metrics
from fedcrucible_core.config.plain_text import error_text
from strategies.client_metrics import summed
from strategies.outcome import RoundOutcome
from strategies.records import records_of
from strategies.replies import read_all

Aggregate = Callable[[list[RecordDict], str], MetricRecord]


def concluded(
    answers: list[tuple[int, Message | Exception | None]],
    aggregate: Aggregate,
    weight_key: str,
    most: float,
    outcome: RoundOutcome,
) -> MetricRecord | None:
    """The app's own aggregate of valid answers; what each client measured, and why others don't count, is recorded."""
    contents, dropped = read_all(
        answers, lambda message, _: read_metrics(message, weight_key, most or EXACT), outcome.round
    )
    claims = {client: float(_metrics(content)[weight_key]) for client, content in contents.items()}  # type: ignore[arg-type]
    many = {} if most else excessive(claims)
    contents, odd = usual_metrics({client: content for client, content in contents.items() if client not in many})
    outcome.evaluations_dropped = dict(sorted({**dropped, **many, **odd}.items()))
    for client, content in contents.items():
        rates = rates_of(_metrics(content))
        if "ma_percent" in rates:
            outcome.client_metrics[client] = {"examples": claims[client], **rates}
    outcome.facts |= _facts(outcome)
    return aggregated(contents, aggregate, weight_key, outcome)


def aggregated(
    contents: Mapping[int, RecordDict], aggregate: Aggregate, weight_key: str, outcome: RoundOutcome
) -> MetricRecord | None:
    """The app's own aggregate of metrics, by client; None, with a note, where it can't be made.

    Metrics that hold anything that isn't finite would make the aggregate so: they are left out, where others aren't.
    """
    odd = [client for client, content in contents.items() if not _finite(content)]
    chosen = [content for client, content in contents.items() if client not in odd or len(odd) == len(contents)]
    if not chosen:
        return None
    if len(chosen) < len(contents):
        outcome.notes.append(f"metrics of clients {odd} aren't finite: left out of the aggregate of metrics")
    try:
        return aggregate(chosen, weight_key)
    except Exception as error:  # the app's own function, or metrics that don't add up
        outcome.notes.append(f"metrics could not be aggregated: {error_text(error)}")
        return None


def _metrics(content: RecordDict) -> MetricRecord:
    return next(iter(records_of(content, MetricRecord).values()))


def _finite(content: RecordDict) -> bool:
    """Whether all numbers of a reply's metrics are such as floats can hold."""
    for value in _metrics(content).values():
        for number in value if isinstance(value, list) else (value,):
            if not is_finite(number):
                return False
    return True


def _facts(outcome: RoundOutcome) -> dict[str, float]:
    measured: Mapping[int, Mapping[str, float]] = outcome.client_metrics
    if not measured:
        return {}
    facts = {"clients.measured": float(len(measured)), "clients.dropped": float(len(outcome.evaluations_dropped))}
    facts |= summed("ma", [rates["ma_percent"] for rates in measured.values()], worst=min)
    return facts | summed("asr", [r["asr_percent"] for r in measured.values() if "asr_percent" in r], worst=max)
