"""``fedcrucible preflight``: on a node, before it first connects: would it work, and if not, why?"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands.findings import report
from fedcrucible.commands.options import Preset, Settings
from fedcrucible.failures import clear_errors

if TYPE_CHECKING:
    from fedcrucible.health.preflight import Flight

EXAMPLES = 256
Existing = Path | None


def command(
    settings: Settings = None,
    superlink: Annotated[str, typer.Option("--superlink", metavar="HOST:PORT", help="Where the server is.")] = "",
    ca: Annotated[Existing, typer.Option("--ca", metavar="FILE", help="The CA's certificate, ca.crt.")] = None,
    key: Annotated[Existing, typer.Option("--key", metavar="FILE", help="This node's private key.")] = None,
    data: Annotated[Existing, typer.Option("--data", metavar="FOLDER", help="What this node trains on.")] = None,
    pack: Annotated[Existing, typer.Option("--pack", metavar="FILE", help="NAME.site.json from the server.")] = None,
    examples: Annotated[
        int, typer.Option("--examples", min=0, help="Examples of the timed local epoch; 0 = no epoch.")
    ] = EXAMPLES,
    preset: Preset = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check name, port, TLS, clock, key, versions and data of this node; exit code 1 when something fails.

    Changes nothing on either side and prints no file's name. Settings say how the data are read and what is trained,
    as in a run: task.dataset=csv model.name=cnn; task.dataset is `folder` where none is named.
    """
    with clear_errors():
        from fedcrucible.health.preflight import check

        with contextlib.redirect_stdout(sys.stderr):
            findings = check(prepared(settings or [], preset, superlink, ca, key, data, pack, examples))
        report(findings, as_json=as_json)


def prepared(
    settings: list[str],
    preset: str,
    superlink: str,
    ca: Path | None,
    key: Path | None,
    data: Path | None,
    pack: Path | None,
    examples: int,
) -> Flight:
    """What is to be checked. Raises ConfigError for options that can't be used."""
    from fedcrucible.health.preflight import Flight
    from fedcrucible.sites.address import parse_address
    from fedcrucible.sites.authority import read_authority
    from fedcrucible.sites.pack import read_pack
    from fedcrucible_core.config.errors import ConfigError
    from fedcrucible_core.config.load import load, load_assignments, overlaid
    from fedcrucible_core.config.preset import load_preset

    packed = read_pack(pack) if pack is not None else None
    address = superlink or (packed.superlink if packed else "")
    if not address:
        raise ConfigError("superlink", address, "name it with --superlink HOST:PORT, or the server's file with --pack")
    if ca is None and packed is None:
        raise ConfigError("ca", "", "name the CA's certificate with --ca FILE, or the server's file with --pack")
    authority = read_authority(ca) if ca is not None else (packed.ca_pem if packed else "")
    config = None
    folder = str(data.resolve()) if data is not None else (packed.data_dir if packed else "")
    if folder:
        given = overlaid(load_preset(preset), load_assignments(settings))
        config = load(overlaid({"task.dataset": "folder"}, given, {"task.data_dir": folder}))
    return Flight(parse_address(address), authority, key, config, examples, packed)
