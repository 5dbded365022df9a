"""Writes the table of docs/flower-app.md: every defence that a foreign Flower app can have, and what it needs there.

Each line is what ``Defended`` itself answers when it is given a defence's name and nothing else.

python tools/list_drop_ins.py         # --check only says whether the page is up to date
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's registries, whatever else is installed

from fedcrucible.flower.configured import allowed_names, defence_of  # noqa: E402
from fedcrucible.flower.given import Given, check  # noqa: E402
from fedcrucible_core.config import ConfigError  # noqa: E402

PAGE = ROOT / "docs" / "flower-app.md"
PART = re.compile(r"(<!-- begin: tools/list_drop_ins.py -->\n).*?(<!-- end -->)", re.DOTALL)
ARGUMENT = re.compile(r"\b(\w+)=(?= \()")


def table() -> str:
    """The table, in Markdown."""
    lines = ["| defence | fewest clients | assumes | needs beside the replies |", "| --- | --- | --- | --- |"]
    for name in allowed_names():
        rule = defence_of(name, {}, {}).rule
        lines.append(f"| `{name}` | {rule.min_clients} | {', '.join(rule.knowledge) or '-'} | {_needs(name)} |")
    return "\n".join(lines) + "\n"


def updated(text: str) -> str:
    """The page with the table as it should be."""
    return PART.sub(lambda match: match[1] + table() + match[2], text)


def _needs(name: str) -> str:
    try:
        check(defence_of(name, {}, {}), Given())
    except ConfigError as error:
        if error.allowed.startswith("needs "):
            return ARGUMENT.sub(r"`\1=`", error.allowed.removeprefix("needs "))
        key = "" if error.key == "defence" else f"`{error.key}` = "
        return f"refused: {key}{error.allowed}"
    return "-"


def main() -> None:
    """Write the page, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    before = PAGE.read_text(encoding="utf-8")
    after = updated(before)
    if parser.parse_args().check:
        sys.exit(0 if before == after else f"{PAGE} is not up to date: python tools/list_drop_ins.py")
    PAGE.write_text(after, encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
