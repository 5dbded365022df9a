"""Write constraints.txt anew: for every package of the project and its extras the newest versions that fit together.

python tools/refresh_constraints.py      # --keep: same versions, for a package that is new; --check only looks

Asks the package index that uv is set up for. Names, versions and the date are written; no index, path or local version
(``+cpu``), so that the file serves with any index and processor. Run the whole test suite before committing the result.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = ("all", "dev")
OLDEST_PYTHON = "3.11"
ALSO = ("pip", "uv")
"""What `make setup` and `make hooks` install beside the project."""
PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;+]+)")


def main() -> None:
    """Resolve and write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep all versions; add what is new, drop what is gone")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where --keep would")
    chosen = parser.parse_args()
    kept = ["--constraint", str(CONSTRAINTS)]
    pins = pinned(resolve(kept if chosen.keep or chosen.check else ["--upgrade"]))
    if chosen.check:
        changed = sorted(pins.items() ^ pinned(CONSTRAINTS.read_text(encoding="utf-8")).items())
        sys.exit(f"{CONSTRAINTS.name} is not up to date: {changed}" if changed else 0)
    CONSTRAINTS.write_text(text(pins, datetime.datetime.now(datetime.UTC).date()), encoding="utf-8")
    print(f"{len(pins)} packages written to {CONSTRAINTS.name}")


def resolve(options: list[str]) -> str:
    """What uv makes of pyproject.toml; ends the program with uv's own words where nothing fits."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--python-version", OLDEST_PYTHON, "--quiet",
               "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links", *options]  # fmt: skip
    asked = "\n".join([f"fedcrucible[{','.join(EXTRAS)}] @ {ROOT.as_uri()}", *ALSO])
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def pinned(resolution: str) -> dict[str, str]:
    """Version by package; the project itself and whatever isn't pinned by number are left out."""
    found = (PINNED.match(line) for line in resolution.splitlines())
    return {match[1].lower(): match[2] for match in found if match}


def text(pins: dict[str, str], date: datetime.date) -> str:
    """The file."""
    head = f"# Versions the project is tested with, of {date.isoformat()}; names only: any package index serves."
    return f"{head}\n" + "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()))


if __name__ == "__main__":
    main()
