"""What a node's own process logs for programs: a line when a message comes, one when it is answered, or fails."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message, MetricRecord
from flwr.common.logger import FLOWER_LOGGER

from fedcrucible_core.config.json_log import LogContext, json_logs, somebody_speaks, wanted
from fedcrucible_core.config.plain_text import error_text
from strategies.messages import METRICS, ROUND


def node_log(msg: Message, context: Context, answer: Callable[[Message, Context], Message]) -> Message:
    """A Flower mod: JSON lines around ``answer`` where this process' environment asks for them.

    Only on a node of its own: a simulation's clients, and those of the server's process, are told of by the server.
    """
    if not wanted() or somebody_speaks() or "ray" in sys.modules:
        return answer(msg, context)
    lines = LogContext("", context.run_id, _round(msg), str(context.node_id))
    kind, start = msg.metadata.message_type, time.perf_counter()
    about = {"kind": kind, "partition": context.node_config.get("partition-id")}
    with json_logs(FLOWER_LOGGER, lines):
        lines.say("INFO", "received", f"{kind} message", **about)
        try:
            reply = answer(msg, context)
        except BaseException as error:
            about["seconds"] = time.perf_counter() - start
            lines.say("ERROR", "failed", error_text(error), **about)
            raise
        about["seconds"] = time.perf_counter() - start
        lines.say("INFO", "answered", f"{kind} message answered", **about, **_numbers(reply))
    return reply


def _round(msg: Message) -> int | None:
    """The round of a message; None where it is of none."""
    order = msg.content.get(ROUND)
    found = order.get("round") if isinstance(order, ConfigRecord) else None
    return found if isinstance(found, int) else None


def _numbers(reply: Message) -> dict[str, object]:
    """The numbers that the server is told, its own seconds apart."""
    told = None if reply.has_error() else reply.content.get(METRICS)
    named = dict(told) if isinstance(told, MetricRecord) else {}
    return {key.replace("-", "_"): value for key, value in named.items() if key != "seconds"}
