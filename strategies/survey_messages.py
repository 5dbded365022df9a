"""The survey of clients about the final model, as it travels both ways."""

from __future__ import annotations

from typing import cast

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from torch import Tensor

from fedcrucible_core.learning.channels import Activation
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.survey import Method, Survey
from fedcrucible_core.learning.weights import Weights
from strategies.messages import CLIENT, MODEL, from_arrays, to_arrays, whole, with_task
from strategies.records import record_in
from strategies.replies import InvalidReplyError, check_arrays, check_records, received, vector

SURVEY, ANSWER = "survey", "answer"
SURVEY_TYPE = f"{MessageType.QUERY}.{SURVEY}"
"""Message type of a survey; a ClientApp answers it with ``@app.query(SURVEY)``."""


def survey_content(model: Weights, round: int, survey: Survey, info: DataInfo | None = None) -> RecordDict:
    """Content of a survey's message: the final model, and what is asked about it; ``info`` as in a training message."""
    question: dict[str, str | int] = {
        "round": round,
        "module": survey.module,
        "received": survey.received,
        "channels": survey.channels,
        "count": survey.count,
        "method": survey.method,
        "activation": survey.activation,
    }
    return with_task({MODEL: to_arrays(model), SURVEY: ConfigRecord(dict(question))}, info)


def read_survey(content: RecordDict) -> tuple[Weights, int, Survey]:
    """What a client reads in a survey's message: final model, round, question."""
    order = record_in(content, SURVEY, ConfigRecord)
    method, activation = order["method"], order["activation"]
    if method not in ("ranks", "votes") or activation not in ("relu", "abs"):
        raise ValueError(f"can't answer with {method!r} of {activation!r} activations")
    survey = Survey(
        str(order["module"]), whole(order["channels"]), whole(order["count"]), cast("Method", method),
        cast("Activation", activation), bool(order["received"]),
    )  # fmt: skip
    return from_arrays(record_in(content, MODEL, ArrayRecord)), whole(order["round"]), survey


def survey_reply(answer: Tensor, partition: int) -> RecordDict:
    """Content of a client's answer int64 ``[channels]`` to a survey."""
    return RecordDict(
        {
            SURVEY: ArrayRecord({ANSWER: Array(answer.numpy())}),
            CLIENT: ConfigRecord({"partition-id": partition}),
        }
    )


def read_survey_answer(message: Message | Exception | None, partition: int, survey: Survey) -> Tensor:
    """Check one answer to a survey completely, as ``read_reply`` does; returns int64 ``[channels]``.

    Raises InvalidReplyError; whatever a client sends, nothing else escapes.
    """
    return received(message, lambda content: _read(content, partition, survey))


def _read(content: RecordDict, partition: int, survey: Survey) -> Tensor:
    check_records(content, partition, {SURVEY: ArrayRecord, CLIENT: ConfigRecord})
    arrays = record_in(content, SURVEY, ArrayRecord)
    check_arrays(arrays, (ANSWER,))
    answer = vector(arrays[ANSWER], "answers", survey.channels, "int64")
    fault = survey.fault(answer)
    if fault:
        raise InvalidReplyError(fault)
    return answer
