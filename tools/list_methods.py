"""Writes docs/methods.md and docs/references.md.

The first says of every rule, purifier, repair, splitter, attack, partitioner, data set and system what its author
says of it, from the registries. The second is docs/references.toml in words, with the components that follow each
publication.

python tools/list_methods.py          # --check only says whether the pages are up to date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's registries, whatever else is installed

from fedcrucible.catalogue import KINDS as ALL_KINDS  # noqa: E402
from fedcrucible.catalogue import entries  # noqa: E402
from fedcrucible.catalogue_text import markdown  # noqa: E402
from fedcrucible.papers.references import UNVERIFIED, Reference, references  # noqa: E402
from fedcrucible_core.config.citation import cited  # noqa: E402
from strategies.systems import SYSTEMS  # noqa: E402

METHODS = ROOT / "docs" / "methods.md"
REFERENCES = ROOT / "docs" / "references.md"
KINDS = ("defenses", "purifiers", "repairs", "splitters", "attacks", "partitioners", "datasets")
HEAD = """# Methods

Made by `python tools/list_methods.py` from the classes themselves; don't edit. `fedcrucible list NAME` shows one in
full, with its parameters. n: clients of a round, d: parameters of the model. Full references are in
[references.md](references.md), points that papers leave open in [choices.md](choices.md), words in
[glossary.md](glossary.md).
"""
NOT_BUILT = """## Not built, and why

| method | source | why |
| --- | --- | --- |
| ReBack | [Ma et al. 2024](https://doi.org/10.1109/SP54263.2024), see `ma2024reback` | Neither code nor a formula is public: its abstract says that subsets are parted, the target found by averaging and differencing, and the trigger computed from that. |
| PIPD's selective training | `chen2024pipd` | Its code reads presets that nothing makes, and its training by them isn't public. The detector is here: `pipd-isolate`. |
| MSPC as a defence | `pal2024mspc` | What CGD's authors did with the flagged samples isn't said. The detector is here: `mspc-split`. |
"""  # noqa: E501
REFERENCES_HEAD = """# References

Made by `python tools/list_methods.py` from `docs/references.toml`; don't edit. Comments and docstrings cite a
publication by its key. A section or equation cited beside a key was not always read again; see the head of that file.
"""


def methods() -> str:
    """The page of methods as it should be."""
    found = [entry for kind in KINDS for entry in entries(kind)]
    systems = [entry for entry in entries("strategies") if entry.name in SYSTEMS]
    return f"{HEAD}\n{markdown([*found, *systems], with_parameters=False)}\n\n{NOT_BUILT}"


def reference_list() -> str:
    """The page of references as it should be, by first author's family name, then year."""
    users = _users()
    order = sorted(references().values(), key=lambda one: (one.short.lower(), one.key))
    return "\n".join([REFERENCES_HEAD, *(_reference(one, users.get(one.key, [])) for one in order), ""])


def _users() -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for kind in ALL_KINDS:
        for entry in entries(kind):
            for key, _ in cited(entry.paper):
                users.setdefault(key, []).append(entry.name)
    return {key: sorted(set(names)) for key, names in users.items()}


def _reference(one: Reference, users: list[str]) -> str:
    links = [f"[doi:{one.doi}](https://doi.org/{one.doi})"] if one.doi else []
    links += [f"[arXiv:{one.arxiv}](https://arxiv.org/abs/{one.arxiv})"] if one.arxiv else []
    links += [f"<{one.url}>"] if one.url else []
    said = [f"- `{one.key}`: {', '.join(one.authors)}. *{one.title}*. {one.published}. {', '.join(links)}".rstrip()]
    said += [] if one.verified else [UNVERIFIED]
    said += [one.note] if one.note else []
    said += ["followed by " + ", ".join(f"`{name}`" for name in users)] if users else []
    return "; ".join(said)


def main() -> None:
    """Write the pages, or say whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    only_check = parser.parse_args().check
    for target, text in ((METHODS, methods()), (REFERENCES, reference_list())):
        if only_check:
            if not target.is_file() or target.read_text(encoding="utf-8") != text:
                sys.exit(f"{target} is not up to date: python tools/list_methods.py")
        else:
            target.write_text(text, encoding="utf-8")
            print(f"wrote {target}")


if __name__ == "__main__":
    main()
