"""Runs pieces of code, each in a fork of this process, and prints as JSON which modules each one has imported.

``python -m tests.support.forked`` reads a list of ``{"name", "code", "base"}`` from its standard input. ``base`` is
code that this process runs itself before the fork, once: what several pieces may import is paid for once.
"""

from __future__ import annotations

import json
import os
import sys
import traceback


def main() -> None:
    """Run all pieces in their order."""
    answers, done = {}, set()
    for piece in json.load(sys.stdin):
        if piece["base"] not in done:
            exec(piece["base"], {})
            done.add(piece["base"])
        answers[piece["name"]] = _fork(piece["code"])
    json.dump(answers, sys.stdout)


def _fork(code: str) -> dict[str, object]:
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        with os.fdopen(reader) as answer:
            text = answer.read()
        os.waitpid(child, 0)
        return dict(json.loads(text)) if text else {"error": "ended without an answer", "modules": []}
    os.close(reader)
    os.dup2(2, 1)  # what the piece prints is no answer
    error = ""
    try:
        exec(code, {"__name__": "__main__"})
    except SystemExit as end:
        error = f"exit code {end.code}" if end.code else ""
    except BaseException:
        error = traceback.format_exc()
    with os.fdopen(writer, "w") as answer:
        json.dump({"error": error, "modules": sorted(sys.modules)}, answer)
    os._exit(0)


if __name__ == "__main__":
    main()
