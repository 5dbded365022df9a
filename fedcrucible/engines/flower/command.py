"""The ``flwr`` command, and how it finds one SuperLink."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fedcrucible.engines.flower.output import cause, plain

CONNECTION = "private"
"""Name of the SuperLink in our config.toml; a name that is also a folder would be taken for an app by ``flwr``."""
_LIMIT_S = 120.0


class FlowerRunError(RuntimeError):
    """Something that Flower could not do or that ended badly; the text holds the cause and the end of the log."""


def flwr(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """The standard output of a ``flwr`` command that is called in ``folder``. Raises FlowerRunError."""
    shown = f"`flwr {' '.join(arguments)}`"
    try:
        done = subprocess.run(
            ["flwr", *arguments],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FlowerRunError(f"{shown} has not ended after {_LIMIT_S:.0f} s") from None
    if done.returncode != 0:
        said = f"{plain(done.stdout)}\n{plain(done.stderr)}"
        raise FlowerRunError(f"{shown} failed: {cause(said)}\n{said}")
    return done.stdout


def write_connection(home: Path, superlink: str, authority: Path | None) -> None:
    """Write Flower's config.toml with one SuperLink, ``host:port``; ``authority`` vouches for it, None = plain HTTP."""
    trust = "insecure = true" if authority is None else f"root-certificates = {_text(str(authority.resolve()))}"
    entries = f"address = {_text(superlink)}\n{trust}\n"
    home.mkdir(parents=True, exist_ok=True)
    content = f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n{entries}'
    (home / "config.toml").write_text(content, encoding="utf-8")


def _text(value: str) -> str:
    """A text as TOML reads it, whatever quotes are in it."""
    return json.dumps(value, ensure_ascii=False)
