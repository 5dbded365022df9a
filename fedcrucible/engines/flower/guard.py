"""Ends all processes that carry a mark, then removes their folder; standard library only, run as a script.

It waits until its standard input closes, which happens when its parent says so and also when its parent dies, however
that comes about.  The mark is an environment variable, so that it finds processes whose parents are gone: Flower and
Ray detach theirs.

    python guard.py MARK FOLDER
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "FEDCRUCIBLE_PROCESSES"
GRACE_S = 3.0
"""Seconds between asking processes to end and killing them."""
LIMIT_S = 10.0


def marked(mark: str) -> list[int]:
    """Ids of all living processes that carry the mark."""
    wanted = f"{MARK}={mark}".encode()
    if not Path("/proc/self/environ").exists():  # no /proc, as on macOS: ps shows the environment after the command
        listing = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, check=False).stdout
        return [int(line.split()[0]) for line in listing.splitlines() if wanted in line]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # ended meanwhile, or somebody else's
    return found


def end(mark: str) -> bool:
    """Ask marked processes to end, kill those that don't; whether none is left."""
    start, asked = time.monotonic(), set[int]()
    while (waited := time.monotonic() - start) < LIMIT_S:
        alive = set(marked(mark))
        if not alive:
            return True
        late = waited > GRACE_S
        for pid in alive if late else alive - asked:
            try:
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            except OSError:
                continue
        asked |= alive
        time.sleep(0.1)
    return False


def main() -> int:
    """Wait for the end of the input, then clean up."""
    mark, folder = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    ended = end(mark)
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main())
