"""Measure tests, list those over three seconds, and keep ``tests/slow_tests.txt``, what ``make test`` leaves out.

``python tools/slow_tests.py tests/attacks`` measures one folder, one test after the other, and lists what is over the
limit and not marked. ``--write`` adds these to the list; ``--prune`` drops lines that name no test any more. Seconds
are those of the processor, children that ended included, so that a busy machine changes little. What a test waits for
isn't in them: mark a test that sleeps by hand (``pytest.mark.slow``).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support import tiers  # noqa: E402

LIMIT_S = 3.0


def main(arguments: list[str] | None = None) -> int:
    """Measure and list; the exit code is 1 where a test is over the limit and unmarked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="test files or folders (all of them by default)")
    parser.add_argument("--write", action="store_true", help="add what is over the limit to tests/slow_tests.txt")
    parser.add_argument("--prune", action="store_true", help="drop lines that name no test; measures nothing")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    if chosen.prune:
        return _prune()
    return _measure(chosen.paths, chosen.limit, chosen.write)


def _prune() -> int:
    stale = tiers.stale(tiers.listed())
    tiers.write(tiers.listed() - stale)
    print("\n".join(f"dropped {name}" for name in sorted(stale)) or "every line names a test")
    return 0


def _measure(paths: list[str], limit: float, write: bool) -> int:
    stopwatch = Stopwatch()
    outcome = pytest.main([*paths, "-m", "not slow", "-p", "no:xdist", "-q"], plugins=[stopwatch])
    over = {name: seconds for name, seconds in stopwatch.seconds.items() if seconds > limit}
    for name, seconds in sorted(over.items(), key=lambda pair: -pair[1]):
        print(f"{seconds:7.1f} s  {name}")
    total = sum(stopwatch.seconds.values())
    print(f"{len(over)} of {len(stopwatch.seconds)} tests over {limit:g} s; all of them {total:.0f} s")
    if write:
        tiers.write(tiers.listed() | {tiers.name_of(test) for test in over})
    return 1 if over and not write else int(outcome)


class Stopwatch:
    """A pytest plugin: processor seconds by test, its own share of fixtures included."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Time one test from set-up to tear-down."""
        before = _processor_s()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = _processor_s() - before


def _processor_s() -> float:
    return sum(os.times()[:4])


if __name__ == "__main__":
    sys.exit(main())
