"""This node's versions against those that the server's pack names."""

from __future__ import annotations

from collections.abc import Mapping

from fedcrucible.health.finding import Finding, Status
from fedcrucible.sites.pack import SitePack
from fedcrucible.sites.request import local_versions
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.records.environment import ROOT, source_digest

GROUP = "versions"
SHOWN_DIGITS = 16


def compare(pack: SitePack | None) -> list[Finding]:
    """One finding for each package that the pack names, one for the program itself."""
    here = local_versions()
    if pack is None:
        shown = ", ".join(f"{name} {version}" for name, version in here.items())
        todo = "with --pack they are compared with the server's"
        return [Finding(GROUP, "here", "ok", shown, todo)]
    return [*(_package(name, wanted, here) for name, wanted in pack.versions.items()), _program(pack)]


def _package(name: str, wanted: str, here: Mapping[str, str]) -> Finding:
    has = here.get(name, "")
    title, detail = plain_text(name, 40), f"{has or 'not installed'}, the server has {plain_text(wanted, 40)}"
    if has == wanted:
        return Finding(GROUP, title, "ok", has)
    same = _minor(has) == _minor(wanted)
    status: Status = "fail" if name == "flwr" and not same else "warn"
    why = "Flower refuses another minor version" if name == "flwr" else "models may differ in their last digits"
    if name == "python":
        return Finding(GROUP, title, "ok" if same else "warn", detail, "" if same else "use the server's Python")
    return Finding(GROUP, title, status, detail, f"{why}: pip install '{title}=={plain_text(wanted, 40)}'")


def _program(pack: SitePack) -> Finding:
    here = source_digest(ROOT)
    if here == pack.source_sha256:
        return Finding(GROUP, "program", "ok", f"source {here[:SHOWN_DIGITS]}, as the server's")
    detail = f"source {here[:SHOWN_DIGITS]}, the server has {plain_text(pack.source_sha256[:SHOWN_DIGITS])}"
    todo = "install the server's version; what runs is the app that the server sends, so ask what changed there"
    return Finding(GROUP, "program", "warn", detail, todo)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
