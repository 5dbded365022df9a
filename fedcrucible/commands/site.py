"""``fedcrucible site``: a site asks, the server approves; fingerprints are read out over the telephone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcrucible.commands import site_matrix
from fedcrucible.failures import FAILED, CommandError, clear_errors

if TYPE_CHECKING:
    from fedcrucible.sites.roster import OpenRoster, Roster, Site

app = typer.Typer(
    name="site",
    help="Let sites into a deployment and out of it: request and unpack at the site, the rest at the server. `matrix` "
    "shows what a run's model is worth to each.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Keys = Annotated[Path, typer.Option("--folder", help="Where the site's key lies; it never leaves this folder.")]
RosterFile = Annotated[Path, typer.Option("--roster", help="The server's list of sites.")]
SuperLink = Annotated[
    str, typer.Option("--superlink", metavar="HOST:PORT", help="As sites dial it; remembered by the roster.")
]
Authority = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", help="The CA's certificate (ca.crt); remembered by the roster.")
]
Fingerprint = Annotated[
    str, typer.Option("--fingerprint", help="What the other side read out over the telephone, never from the file.")
]
ROSTER = Path("sites/roster.json")
KEYS = Path("keys")
app.command("matrix")(site_matrix.command)


@app.command("request")
def request(name: Annotated[str, typer.Argument(metavar="NAME")], folder: Keys = KEYS) -> None:
    """At the site: make its key pair, where there is none yet, and write NAME.request.json for the server."""
    with clear_errors():
        from fedcrucible.engines.flower.node_keys import fingerprint, spoken_fingerprint
        from fedcrucible.sites.request import make_request

        private, path, made = make_request(name, folder)
        typer.echo(f"private key   {private} (stays here: no copy, no mail)")
        typer.echo(f"request       {path} (send it to the server, by any way)")
        typer.echo(f"fingerprint   {fingerprint(made.key)}")
        typer.echo(f"to read out   {spoken_fingerprint(made.key)}")


@app.command("approve")
def approve(
    request_file: Annotated[Path, typer.Argument(metavar="REQUEST")],
    fingerprint: Fingerprint,
    roster: RosterFile = ROSTER,
    superlink: SuperLink = "",
    ca: Authority = None,
) -> None:
    """At the server: check the fingerprint, put the site on the roster and register its key with the SuperLink.

    Again for an approved site registers it again, e.g. after a SuperLink that has forgotten it.
    """
    with clear_errors():
        from fedcrucible.sites.request import read_request

        asked = read_request(request_file)
        with _opened(roster, superlink, ca) as changed:
            site = changed.approve(asked, fingerprint)
        typer.echo(f"approved      {site.site}, {site.fingerprint}")
        _register(changed.roster, site)


@app.command("pack")
def pack(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    partition: Annotated[int, typer.Option("--partition", min=0, help="Which partition the site holds, from 0.")],
    partitions: Annotated[int, typer.Option("--partitions", min=1, help="How many there are: federation.clients.")],
    data_dir: Annotated[str, typer.Option("--data-dir", help="The site's data folder, as its machine names it.")] = "",
    own_data: Annotated[bool, typer.Option("--own-data", help="That folder is the site's whole partition.")] = False,
    folder: Annotated[Path, typer.Option("--folder", help="Where NAME.site.json is written.")] = Path("sites"),
    roster: RosterFile = ROSTER,
    superlink: SuperLink = "",
    ca: Authority = None,
) -> None:
    """At the server: write NAME.site.json, all that the site's node needs, and no secret."""
    with clear_errors():
        from fedcrucible.sites.authority import read_authority
        from fedcrucible.sites.pack import make_pack, write_pack

        with _opened(roster, superlink, ca) as changed:
            address, authority = _where(changed.roster)
            site = changed.assign(name, partition, partitions)
            made = make_pack(site, address, read_authority(authority), partitions, data_dir=data_dir, own_data=own_data)
            path = write_pack(folder, made)
        typer.echo(f"pack          {path} (send it to the site, by any way: it holds no secret)")
        typer.echo(f"to read out   {made.ca_fingerprint} (the CA's fingerprint)")


@app.command("unpack")
def unpack(
    pack_file: Annotated[Path, typer.Argument(metavar="PACK")], fingerprint: Fingerprint, folder: Keys = KEYS
) -> None:
    """At the site: check the CA's fingerprint, write ca.crt beside the key and print how the node is started."""
    with clear_errors():
        from fedcrucible.sites.arrival import accept

        found, authority = accept(pack_file, folder, fingerprint)
        typer.echo(f"written       {authority}")
        typer.echo(f"check first   fedcrucible preflight --pack {pack_file} --key {folder / found.site} --data FOLDER")
        typer.echo("start with")
        typer.echo(found.shell(folder))


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the roster.")] = "",
    roster: RosterFile = ROSTER,
    superlink: SuperLink = "",
    ca: Authority = None,
) -> None:
    """At the server: let a site in no more; its node ends within seconds. Its key never comes back."""
    with clear_errors():
        from fedcrucible.engines.flower.command import FlowerRunError
        from fedcrucible.engines.flower.superlink_access import SuperLinkAccess

        with _opened(roster, superlink, ca) as changed:
            site = changed.revoke(name, reason)
        typer.echo(f"revoked       {site.site}, {site.fingerprint}")
        if not changed.roster.superlink or not changed.roster.ca:
            raise CommandError(
                "no SuperLink is known, so nothing was unregistered: one that knows this key still lets it in",
                "name it: --superlink HOST:PORT --ca FILE",
            )
        try:
            access = SuperLinkAccess(changed.roster.superlink, Path(changed.roster.ca))
            done = access.unregister(site.fingerprint)
        except FlowerRunError as error:
            hint = "the SuperLink may still let it in: repeat this command when it can be reached"
            raise CommandError(f"not unregistered: {error}", hint) from None
        typer.echo(f"unregistered  {'now' if done else 'the SuperLink does not let this key in anyway'}")


@app.command("list")
def listing(
    roster: RosterFile = ROSTER,
    superlink: SuperLink = "",
    ca: Authority = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """At the server: who is on the roster, what the SuperLink says of each, and whom it knows beside them."""
    with clear_errors():
        from fedcrucible.sites.overview import overview

        with _opened(roster, superlink, ca) as changed:
            found = overview(changed.roster)
        if as_json:
            typer.echo(json.dumps(found.as_json(), indent=1))
            return
        for line in found.lines():
            typer.echo(line)


@contextmanager
def _opened(path: Path, superlink: str, ca: Path | None) -> Iterator[OpenRoster]:
    """The roster, with the SuperLink's place remembered where a command names it; a busy one is a clear error."""
    from fedcrucible.sites.address import parse_address
    from fedcrucible.sites.authority import read_authority
    from fedcrucible.sites.roster import opened
    from fedcrucible_core.records.lock import FolderBusyError

    address = str(parse_address(superlink)) if superlink else ""
    if ca is not None:
        read_authority(ca)
    try:
        with opened(path) as found:
            found.remember(address, ca)
            yield found
    except FolderBusyError:
        raise CommandError(f"{path} is being changed by another command; try again") from None


def _where(roster: Roster) -> tuple[str, Path]:
    from fedcrucible_core.config.errors import ConfigError

    for key, value in (("superlink", roster.superlink), ("ca", roster.ca)):
        if not value:
            raise ConfigError(key, value, f"the roster remembers none yet; name it with --{key}")
    return roster.superlink, Path(roster.ca)


def _register(roster: Roster, site: Site) -> None:
    from fedcrucible.engines.flower.command import FlowerRunError
    from fedcrucible.engines.flower.superlink_access import SuperLinkAccess

    if not roster.superlink or not roster.ca:
        typer.echo("registered    not yet: repeat with --superlink HOST:PORT --ca FILE when the SuperLink is up")
        return
    try:
        access = SuperLinkAccess(roster.superlink, Path(roster.ca))
        done = access.register({site.site: site.public_key})[site.site]
    except FlowerRunError as error:
        hint = "the site is on the roster; repeat this command when the SuperLink can be reached"
        raise CommandError(f"not registered: {error}", hint, FAILED) from None
    if done.refused:
        raise CommandError(f"not registered: {done.refused}", f"`fedcrucible site revoke {site.site}`, then approve it")
    typer.echo(f"registered    node {done.node.node_id}, {done.node.state}")
