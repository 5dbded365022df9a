"""Keys of earlier versions: old presets, command lines and records still load, and say so in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedcrucible_core.config.values import Scalar

_PRUNING = ("method", "share", "activation", "trim", "everyone", "max_drop", "extreme_weights")
RENAMED: Mapping[str, str] = {
    "attack.target_label": "poison.target_label",
    "attack.poison_ratio": "poison.ratio",
    "attack.poison_mode": "poison.mode",
    "attack.poison_scope": "poison.scope",
    "attack.malicious_fraction": "adversary.malicious_fraction",
    "attack.malicious_ids": "adversary.malicious_ids",
    "attack.participation": "adversary.participation",
    "attack.collusion": "adversary.collusion",
    "attack.start_round": "adversary.start_round",
    "attack.stop_round": "adversary.stop_round",
    "attack.every": "adversary.every",
    "attack.local_epochs": "adversary.local_epochs",
    "attack.lr": "adversary.lr",
    "attack.pgd.every": "attack.pgd.project_every",
    **{f"defense.pruning.{name}": f"repair.pruning.{name}" for name in _PRUNING},
}
"""Old key -> the key that stands for it now, with the same values."""

PLANTING = ("model-replacement", "constrain-and-scale", "pgd", "neurotoxin", "lp", "lp-adaptive", "lf", "afa")
"""Upload attacks that each had a ``trigger`` of their own."""
DEFAULT_ATTACK = "badnets"


def _one_trigger(settings: dict[str, Scalar]) -> Mapping[str, str]:
    """``attack.NAME.trigger`` of the chosen attack is ``attack.trigger``; those of others had no effect."""
    chosen = f"attack.{settings.get('attack.name', DEFAULT_ATTACK)}.trigger"
    used = _replace(settings, chosen, "attack.trigger") if chosen.split(".")[1] in PLANTING else {}
    for name in PLANTING:
        settings.pop(f"attack.{name}.trigger", None)
    return used


def _alie_deviations(settings: dict[str, Scalar]) -> Mapping[str, str]:
    """``attack.alie.z = 0`` meant automatic; -1 does now, so that 0 deviations can be said."""
    old = "attack.alie.z"
    if settings.get(old) in (0, "0", "0.0"):
        settings[old] = -1.0
    return _replace(settings, old, "attack.alie.z_max")


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


_SPLITTER_OF_SWITCH = {"true": "guide-agreement", "1": "guide-agreement", "false": "none", "0": "none"}
"""Other values stay as they are: they are no splitter, and are refused as such."""


def _guide_agreement(settings: dict[str, Scalar]) -> Mapping[str, str]:
    """The guide's agreement with the server's images was a switch; it is one of the splitters."""
    old = "synthetic.guide_agreement"
    if old not in settings:
        return {}
    settings[old] = _SPLITTER_OF_SWITCH.get(str(settings[old]).lower(), settings[old])
    _replace(settings, old, "splitter.name")
    return {old: "splitter.name=guide-agreement"}


REWRITTEN: tuple[Callable[[dict[str, Scalar]], Mapping[str, str]], ...] = (
    _one_trigger,
    _alie_deviations,
    _pruning,
    _guide_agreement,
)
"""What no plain renaming can do: each changes a copy of the settings in place and returns old -> new in words."""


class OldKeyWarning(FutureWarning):
    """Settings were given under keys of an earlier version."""


def former(settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Settings under the keys of the version before, as checkpoints of then were hashed."""
    before = {new: old for old, new in RENAMED.items()} | {"attack.alie.z_max": "attack.alie.z"}
    before["attack.trigger"] = f"attack.{settings.get('attack.name', DEFAULT_ATTACK)}.trigger"
    changed = dict(settings)
    pruned = changed.get("repair.name") == "pruning" and changed.get("defense.name") == "fedavg"
    if pruned:
        del changed["repair.name"]
        changed["defense.name"] = "pruning"
    if pruned or changed.get("strategy") == "pruning":
        before["defense.fedavg.max_weight"] = "defense.pruning.max_weight"
    if changed.get("splitter.name") == "guide-agreement":
        del changed["splitter.name"]
        changed["synthetic.guide_agreement"] = True
    return {before.get(key, key): value for key, value in changed.items()}


def today(key: str) -> str:
    """The key that stands for an old one now; every other key as it is."""
    return RENAMED.get(key, key)


def modern(settings: Mapping[str, Scalar]) -> tuple[dict[str, Scalar], Mapping[str, str]]:
    """Settings under today's keys, and which old ones were among them (old -> new, for a message).

    Of a key that is given under both names the later one counts, as a command line goes before a preset.
    """
    found = dict(settings)
    used: dict[str, str] = {}
    for old, new in RENAMED.items():
        used |= _replace(found, old, new)
    for rewrite in REWRITTEN:
        used |= rewrite(found)
    return found, used


def _replace(settings: dict[str, Scalar], old: str, new: str) -> dict[str, str]:
    """Have ``old``'s value stand at ``new`` unless that was given after it."""
    if old not in settings:
        return {}
    given = list(settings)
    value = settings.pop(old)
    if new not in settings or given.index(new) < given.index(old):
        settings[new] = value
    return {old: new}


def deprecation(used: Mapping[str, str]) -> str:
    """One line about old keys; empty when there was none."""
    if not used:
        return ""
    return f"keys of an earlier version: {', '.join(f'{old} is now {new}' for old, new in used.items())}"
