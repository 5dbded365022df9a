"""Who of a blind run is told what, as files and configurations: the server's file, and the attackers'."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from attacks.schedule import malicious_partitions
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.blind import BLIND, HIDDEN, hidden_settings, public_settings, read_hidden
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import flatten
from fedcrucible_core.config.values import Scalar

NodeConfigs = dict[int, dict[str, Scalar]]


@contextlib.contextmanager
def told_to_clients(config: RunConfigBase) -> Iterator[tuple[dict[str, Scalar], NodeConfigs]]:
    """What clients of this process are told of a run: its configuration, and more by partition.

    Of a blind run attackers alone are told the truth, in a file that is gone afterwards. Raises ConfigError.
    """
    settings = flatten(config)
    if not config.federation.blind:
        yield settings, {}
        return
    if config.federation.hidden:
        raise ConfigError(HIDDEN, config.federation.hidden, "only in a deployment; in-process clients see no settings")
    with tempfile.TemporaryDirectory() as folder:
        path = write_hidden(Path(folder), settings)
        own: dict[str, Scalar] = {"role": "malicious", "hidden-file": str(path)}
        yield public_settings(settings), {partition: dict(own) for partition in malicious_partitions(config)}


@contextlib.contextmanager
def submitted(settings: Mapping[str, Scalar], folder: Path) -> Iterator[dict[str, Scalar]]:
    """What is sent to a SuperLink of this machine of a run's settings; of a blind run the rest lies in ``folder``
    meanwhile, under a name that tells nothing."""
    if settings.get(BLIND) is not True:
        yield dict(settings)
        return
    path = write_hidden(folder, settings)
    try:
        yield {**public_settings(settings), HIDDEN: str(path)}
    finally:
        path.unlink(missing_ok=True)


def with_hidden(settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The settings of somebody who submits a run, with those of ``federation.hidden`` beneath. Raises ConfigError."""
    path = settings.get(HIDDEN)
    if not path or settings.get(BLIND) is not True:
        return dict(settings)
    return {**read_hidden(str(path), HIDDEN), **settings, HIDDEN: ""}


def write_hidden(folder: Path, settings: Mapping[str, Scalar]) -> Path:
    """Write a run's hidden settings into a file that nobody else may read."""
    path = folder.resolve() / f"settings-{secrets.token_hex(8)}.toml"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(toml_lines(hidden_settings(settings)))
    return path


def toml_lines(settings: Mapping[str, Scalar]) -> str:
    """One ``key = value`` line per setting; JSON writes these types exactly as TOML reads them, floats apart."""
    lines = []
    for key, value in settings.items():
        lines.append(f"{key} = {repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
