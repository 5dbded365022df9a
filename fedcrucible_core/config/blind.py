"""Blind runs: which settings every node may see, and where the others are.

Flower sends one and the same run configuration to every node.  With ``federation.blind`` it holds what an honest client
needs to train and nothing else; all other settings lie in a file on the SuperLink's machine (``federation.hidden``),
and what an attacker needs in a file on its own (node config ``hidden-file``).  docs/security.md says what still leaks.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.load import default_keys
from fedcrucible_core.config.old_keys import modern
from fedcrucible_core.config.preset import flatten_table
from fedcrucible_core.config.text_files import read_text
from fedcrucible_core.config.values import Scalar

BLIND, HIDDEN = "federation.blind", "federation.hidden"
SEED, ATTACK = "run.seed", "attack.name"
PUBLIC = (
    "task.", "training.", "model.", "partition.", "run.device", "run.precision", "run.channels_last", "run.threads",
    "run.eval_batch_size", "federation.clients", "federation.own_data", "federation.evaluate_model", BLIND, HIDDEN,
)  # fmt: skip
"""Keys (or sections) that an honest client lives by; a key that is added to the project is hidden until it stands
here."""
NEUTRAL: Mapping[str, Scalar] = {"strategy": "fedavg", ATTACK: "none"}
"""What nodes are told of hidden keys, whatever is true; of all others their defaults."""


def is_public(key: str) -> bool:
    """Whether every node of a blind run may see a key's value."""
    return key.startswith(PUBLIC)


def public_settings(settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """What nodes are sent of a blind run: every key, the hidden ones as if nothing were known of them."""
    known = default_keys()
    shown = {key: value for key, value in settings.items() if key in known and is_public(key)}
    return {**known, **NEUTRAL, **shown}


def hidden_settings(settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The rest."""
    return {key: value for key, value in settings.items() if not is_public(key)}


def server_settings(sent: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A run's whole settings, from what was sent to everybody and, of a blind run, from the server's own file.

    Raises ConfigError for a hidden key that was sent, and for a file that is missing or isn't what it should be.
    """
    sent, _ = modern(sent)
    if sent.get(BLIND) is not True:
        if sent.get(HIDDEN):
            raise ConfigError(HIDDEN, sent[HIDDEN], f"only with {BLIND} = true; leave it empty")
        return dict(sent)
    known = default_keys()
    for key, value in sent.items():
        if key in known and not is_public(key) and value not in (known[key], NEUTRAL.get(key)):
            allowed = f"{BLIND} = true, and every node sees what a run is submitted with; write it into {HIDDEN}"
            raise ConfigError(key, value, allowed)
    path = str(sent.get(HIDDEN, ""))
    if not path:
        raise ConfigError(HIDDEN, path, f"{BLIND} = true needs a TOML file on the SuperLink's machine, absolute path")
    shown = {key: value for key, value in sent.items() if key not in known or is_public(key)}
    return {**shown, **read_hidden(path, HIDDEN)}


def node_settings(sent: Mapping[str, Scalar], hidden_file: str | None, seed: int | None = None) -> dict[str, Scalar]:
    """What a node of a blind run goes by: the public settings, and an attacker's own on top. Raises ConfigError.

    ``seed`` takes the place of the run's where the node's own file doesn't say it.
    """
    shown = public_settings(modern(sent)[0])
    if seed is not None:
        shown[SEED] = seed
    if hidden_file is None:
        return shown
    return {**shown, ATTACK: default_keys()[ATTACK], **read_hidden(hidden_file, "node-config hidden-file")}


def read_hidden(path: str, key: str) -> dict[str, Scalar]:
    """The settings of a hidden file, flat. Raises ConfigError that names ``key``."""
    if not Path(path).is_absolute():
        raise ConfigError(key, path, "an absolute path")
    try:
        table = tomllib.loads(read_text(Path(path)))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(key, path, f"can't be read as TOML on this machine: {error}") from None
    found, _ = modern(flatten_table(table))
    public = [name for name in found if is_public(name)]
    if public:
        allowed = f"{public[0]} there, which nodes need: it belongs into the run configuration"
        raise ConfigError(key, path, allowed)
    return found
