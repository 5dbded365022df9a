"""Logs for programs: one JSON object per line, each with the run, the round and the node that it is about.

Every text is made plain first: whatever a site chose, it can neither begin a line nor write on a screen.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fedcrucible_core.config.plain_json import plain_json
from fedcrucible_core.config.plain_text import error_text

ENV = "FEDCRUCIBLE_LOG"
"""``json`` asks every process of ours for such logs, as ``output.log`` asks a run."""
LONGEST_MESSAGE = 4000
TOLD = "told_apart"
"""Attribute of a log record whose content is told by a line of its own (``logging``'s ``extra``)."""


def wanted(setting: str = "text") -> bool:
    """Whether logs shall be JSON: by the run's setting, or by this process' environment."""
    return "json" in (setting, os.environ.get(ENV, "").strip().lower())


@dataclass
class LogContext:
    """What every line is about unless it says otherwise."""

    run: str = ""
    """The run's own id."""
    flower_run: int | None = None
    round: int | None = None
    node: str = ""
    """Flower's id of this node; empty on the server, whose lines name the node they are about."""

    def line(self, level: str, event: str, message: str, **facts: Any) -> str:
        """One line, without its end."""
        common = {"run": self.run, "flower_run": self.flower_run, "round": self.round, "node": self.node}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = plain_json({**common, **facts, "message": message}, LONGEST_MESSAGE)
        return json.dumps({"time": now, "level": level, "event": event, **told}, allow_nan=False)

    def say(self, level: str, event: str, message: str, **facts: Any) -> None:
        """Print one line."""
        print(self.line(level, event, message, **facts), flush=True)


_SPEAKING: list[LogContext] = []


def somebody_speaks() -> bool:
    """Whether this process' log lines are JSON now: somebody else tells what happens in it."""
    return bool(_SPEAKING)


class JsonHandler(logging.Handler):
    """Prints log records as lines of a context, to whatever stdout is then: Flower changes it."""

    def __init__(self, context: LogContext) -> None:
        super().__init__()
        self.context = context

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, unless a line of its own tells of it."""
        if getattr(record, TOLD, False):
            return
        try:
            error = record.exc_info[1] if record.exc_info else None
            facts = {"error": error_text(error)} if error is not None else {}
            self.context.say(record.levelname, "log", record.getMessage(), logger=record.name, **facts)
        except Exception:
            self.handleError(record)


@contextlib.contextmanager
def json_logs(logger: logging.Logger, context: LogContext) -> Iterator[None]:
    """Let what a logger says on the terminal be JSON while this lasts; files and others that it writes to stay."""
    handler = JsonHandler(context)
    _SPEAKING.append(context)
    human = [h for h in logger.handlers if _writes_to_the_terminal(h)]
    level = logger.level
    for each in human:
        logger.removeHandler(each)
    handler.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        _SPEAKING.remove(context)
        logger.setLevel(level)
        logger.removeHandler(handler)
        for each in human:
            logger.addHandler(each)


def _writes_to_the_terminal(handler: logging.Handler) -> bool:
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    named = type(handler).__name__ == "ConsoleHandler"  # Flower's, whose stream changes
    return isinstance(handler, logging.StreamHandler) and (named or handler.stream in streams)
