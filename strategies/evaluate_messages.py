"""What clients measure on test data of their own, as it travels both ways in Flower's evaluate messages."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from fedcrucible_core.config.plain_text import plain_repr
from strategies.messages import CLIENT, METRICS
from strategies.replies import InvalidReplyError, check_records, claimed_examples, number, received

ACCURACY, ASR = "accuracy-percent", "asr-percent"


@dataclass(frozen=True)
class ClientRates:
    """One client's rates, in percent, of its own test share."""

    examples: int
    ma_percent: float
    asr_percent: float | None = None
    """None where the attack is untargeted or no sample of the share can be triggered."""


def evaluate_reply(rates: ClientRates, partition: int) -> RecordDict:
    """Content of a client's answer to an evaluate message."""
    metrics = MetricRecord({"num-examples": rates.examples, ACCURACY: rates.ma_percent})
    if rates.asr_percent is not None:
        metrics[ASR] = rates.asr_percent
    return RecordDict({METRICS: metrics, CLIENT: ConfigRecord({"partition-id": partition})})


def read_rates(message: Message | Exception | None, partition: int, max_examples: int) -> ClientRates:
    """Check one answer to an evaluate message completely: rates are finite and 0 to 100.

    Raises InvalidReplyError; whatever a client sends, nothing else escapes.
    """
    return received(message, lambda content: _read(content, partition, max_examples))


def _read(content: RecordDict, partition: int, max_examples: int) -> ClientRates:
    check_records(content, partition, {METRICS: MetricRecord, CLIENT: ConfigRecord})
    metrics = content.metric_records[METRICS]
    examples = claimed_examples(metrics, max_examples)
    unexpected = sorted(set(metrics) - {"num-examples", ACCURACY, ASR})
    if unexpected:
        raise InvalidReplyError(f"unexpected metrics [{', '.join(plain_repr(key, 20) for key in unexpected[:6])}]")
    asr = _percent(metrics, ASR) if ASR in metrics else None
    return ClientRates(examples, _percent(metrics, ACCURACY), asr)


def _percent(metrics: MetricRecord, key: str) -> float:
    value = number(metrics.get(key))
    if not 0.0 <= value <= 100.0:  # NaN is no rate either
        raise InvalidReplyError(f"{key} is {plain_repr(metrics.get(key))}, allowed 0 to 100")
    return value
