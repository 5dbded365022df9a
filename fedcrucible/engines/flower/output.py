"""Reading what ``flwr run --stream`` prints: the run's number, and which lines are the app's own."""

from __future__ import annotations

import re

from fedcrucible_core.config.plain_text import uncoloured, visible_lines

_EDGE = "\N{BOX DRAWINGS LIGHT VERTICAL}"
_STARTED = re.compile(r"Successfully started run (\d+)")
_NOISE = re.compile(
    r"^(\s|$|(DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL) *:|Using SuperLink:|Successfully (started|installed) |\(|\["
    r"|An unhandled exception occurred|For more information, visit:"
    r"|ray[:.]|Traceback |During handling |The above exception |[\w.]+(Error|Exception|Warning)\b)"
)


def plain(line: str) -> str:
    """A line, or several, without colours and end; what else isn't shown as itself is replaced."""
    return visible_lines(uncoloured(line).rstrip()).rstrip()


def cause(output: str) -> str:
    """What went wrong, in one line: the text in the last frame that ``flwr`` drew, or else its last line."""
    lines = [line.strip() for line in plain(output).split("\n") if line.strip()]
    framed: list[str] = []
    for line in lines:
        if line.startswith("\N{BOX DRAWINGS LIGHT ARC DOWN AND RIGHT}"):
            framed = []
        elif line.startswith(_EDGE):
            framed.append(line.strip(_EDGE).strip())
    return " ".join(framed) or (lines[-1] if lines else "it said nothing")


def run_number(line: str) -> str | None:
    """The run's id, in the one line that tells it."""
    found = _STARTED.search(line)
    return found.group(1) if found else None


def is_from_app(line: str) -> bool:
    """Whether the ServerApp printed this line, rather than Flower's log, Ray or a traceback."""
    return _NOISE.match(line) is None
