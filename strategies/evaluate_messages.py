"""What clients measure on test data of their own, as it travels both ways in Flower's evaluate messages."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from fedcrucible_core.config.plain_text import plain_repr
from strategies.messages import CLIENT, METRICS
from strategies.records import record_in
from strategies.replies import InvalidReplyError, check_records, claimed_examples, number, received

ACCURACY, ASR = "accuracy-percent", "asr-percent"
ASR_ALLOWED = "asr-allowed"
"""Says, in the client's record, that the site lets nobody measure attack success on its data; absent where it does."""


@dataclass(frozen=True)
class ClientRates:
    """One client's rates, in percent, of its own test share."""

    examples: int
    ma_percent: float
    asr_percent: float | None = None
    """None where the attack is untargeted, no sample of the share can be triggered, or the site doesn't allow it."""
    asr_allowed: bool = True
    """Whether the site lets attack success be measured on its data."""


def evaluate_reply(rates: ClientRates, partition: int) -> RecordDict:
    """Content of a client's answer to an evaluate message."""
    metrics = MetricRecord({"num-examples": rates.examples, ACCURACY: rates.ma_percent})
    if rates.asr_percent is not None:
        metrics[ASR] = rates.asr_percent
    client = ConfigRecord({"partition-id": partition})
    if not rates.asr_allowed:
        client[ASR_ALLOWED] = False
    return RecordDict({METRICS: metrics, CLIENT: client})


def read_rates(message: Message | Exception | None, partition: int, max_examples: int) -> ClientRates:
    """Check one answer to an evaluate message completely: rates are finite and 0 to 100.

    Raises InvalidReplyError; whatever a client sends, nothing else escapes.
    """
    return received(message, lambda content: _read(content, partition, max_examples))


def _read(content: RecordDict, partition: int, max_examples: int) -> ClientRates:
    check_records(content, partition, {METRICS: MetricRecord, CLIENT: ConfigRecord})
    metrics = record_in(content, METRICS, MetricRecord)
    examples = claimed_examples(metrics, max_examples)
    unexpected = sorted(set(metrics) - {"num-examples", ACCURACY, ASR})
    if unexpected:
        raise InvalidReplyError(f"unexpected metrics [{', '.join(plain_repr(key, 20) for key in unexpected[:6])}]")
    asr = _percent(metrics, ASR) if ASR in metrics else None
    allowed = record_in(content, CLIENT, ConfigRecord).get(ASR_ALLOWED, True)
    if not isinstance(allowed, bool):
        raise InvalidReplyError(f"{ASR_ALLOWED} is {plain_repr(allowed)}, allowed true, false")
    if asr is not None and not allowed:
        raise InvalidReplyError(f"{ASR} is there, though {ASR_ALLOWED} is false")
    return ClientRates(examples, _percent(metrics, ACCURACY), asr, allowed)


def _percent(metrics: MetricRecord, key: str) -> float:
    value = number(metrics.get(key))
    if not 0.0 <= value <= 100.0:  # NaN is no rate either
        raise InvalidReplyError(f"{key} is {plain_repr(metrics.get(key))}, allowed 0 to 100")
    return value
