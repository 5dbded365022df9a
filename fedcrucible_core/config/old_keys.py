"""Keys of earlier versions: old presets, command lines and records still load, and say so in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedcrucible_core.config.values import Scalar

_PRUNING = ("method", "share", "activation", "trim", "everyone", "max_drop", "extreme_weights")
RENAMED: Mapping[str, str] = {f"defense.pruning.{name}": f"repair.pruning.{name}" for name in _PRUNING}
"""Old key -> the key that stands for it now, with the same values."""


def _pruning(settings: dict[str, Scalar]) -> Mapping[str, str]:
    """Federated pruning was a rule; it is a repair that follows FedAvg, or any other rule."""
    used: dict[str, str] = {}
    cap = settings.pop("defense.pruning.max_weight", None)
    rule = settings.get("defense.name", "auto")
    if rule == "pruning":
        settings["defense.name"] = "fedavg"
        if settings.get("repair.name", "auto") == "auto":
            settings["repair.name"] = "pruning"
        used["defense.name=pruning"] = "defense.name=fedavg with repair.name=pruning"
    if cap is not None:
        used["defense.pruning.max_weight"] = "defense.fedavg.max_weight"
        if rule == "pruning" or (rule == "auto" and settings.get("strategy") == "pruning"):
            settings["defense.fedavg.max_weight"] = cap
    if settings.get("attack.lp-adaptive.simulate") == "pruning":
        settings["attack.lp-adaptive.simulate"] = "fedavg"
        used["attack.lp-adaptive.simulate=pruning"] = "attack.lp-adaptive.simulate=fedavg"
    return used


def _guide_agreement(settings: dict[str, Scalar]) -> Mapping[str, str]:
    """The guide's agreement with the server's images was a switch; it is one of the splitters."""
    given = settings.pop("synthetic.guide_agreement", None)
    if given is None:
        return {}
    if given is True and settings.get("splitter.name", "none") == "none":
        settings["splitter.name"] = "guide-agreement"
    return {"synthetic.guide_agreement": "splitter.name=guide-agreement"}


REWRITTEN: tuple[Callable[[dict[str, Scalar]], Mapping[str, str]], ...] = (_pruning, _guide_agreement)
"""What no plain renaming can do: each changes a copy of the settings in place and returns old -> new in words."""


class OldKeyWarning(FutureWarning):
    """Settings were given under keys of an earlier version."""


def modern(settings: Mapping[str, Scalar]) -> tuple[dict[str, Scalar], Mapping[str, str]]:
    """Settings under today's keys, and which old ones were among them (old -> new, for a message).

    A key that is given under both names keeps the value of the new one.
    """
    found = dict(settings)
    used: dict[str, str] = {}
    for old, new in RENAMED.items():
        if old in found:
            value = found.pop(old)
            found.setdefault(new, value)
            used[old] = new
    for rewrite in REWRITTEN:
        used |= rewrite(found)
    return found, used


def deprecation(used: Mapping[str, str]) -> str:
    """One line about old keys; empty when there was none."""
    if not used:
        return ""
    return f"keys of an earlier version: {', '.join(f'{old} is now {new}' for old, new in used.items())}"
