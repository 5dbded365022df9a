"""How a watched run looks: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from fedcrucible_core.config.plain_text import plain_text, visible
from fedcrucible_core.records.drops import counted
from fedcrucible_core.records.glance import Glance, Site
from fedcrucible_core.records.schema import RoundRecord
from fedcrucible_core.records.status import replied

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

Phases = tuple[tuple[str, tuple[str, ...]], ...]
PHASES: Phases = (
    ("train", ("train",)),
    ("aggregate", ("validate", "aggregate")),
    ("server", ("server",)),
    ("evaluate", ("evaluate",)),
)
"""Columns of seconds; what is left over is in the total alone."""
STYLES = {"finished": "green", "running": "cyan", "starting": "cyan"}
LONGEST_CAUSE = 70
WIDE = 130
"""Columns of a screen that has room for all phases."""
MOST_NAMED = 6
"""Clients that one line names."""
AROUND = 13
"""Lines of a screen that are no row of a table."""


def picture(glance: Glance, width: int, height: int) -> Group:
    """All that fits on a screen of so many columns and lines: how the run stands, its last rounds, its clients."""
    from rich.console import Group
    from rich.text import Text

    rows = max(4, height - AROUND)
    for_sites = min(len(glance.sites), max(2, rows // 2))
    style = STYLES.get(glance.state, "bold red")
    progress, late = progress_line(glance), glance.running is not None and glance.running.late
    return Group(
        Text(headline(glance), style="bold"),
        Text(standing(glance), style=style),
        *([Text(progress, style="yellow" if late else "")] if progress else []),
        _rounds(glance.rounds[-max(2, rows - for_sites) :], PHASES if width >= WIDE else PHASES[:1]),
        _sites(glance.sites, for_sites),
    )


def headline(glance: Glance) -> str:
    """What the run is."""
    run = glance.run
    name = f"{glance.status.name}: " if glance.status is not None else ""
    return visible(f"{name}{run.strategy} under {run.attack}, {run.dataset}, seed {run.seed}, {run.clients} clients")


def standing(glance: Glance) -> str:
    """How it stands, in one line."""
    done = glance.rounds[-1].round if glance.rounds else None
    parts = [glance.state, "before round 0" if done is None else f"round {done} of {glance.run.rounds}"]
    if not glance.over and glance.age is not None:
        parts.append(f"{glance.age:.0f} s since the {'last round' if done is not None else 'start'}")
    if glance.status is not None and glance.status.error:
        parts.append(glance.status.error)
    if glance.state == "killed":
        parts.append("no process writes to the record; run.resume goes on where checkpoints were kept")
    return visible("  ".join(parts))


def progress_line(glance: Glance) -> str:
    """How the round goes that runs now, in one line; empty where none does."""
    now = glance.running
    if now is None:
        return ""
    names = {site.client: site.name for site in glance.sites}
    parts = [f"round {now.round}: {now.phase} for {max(0.0, glance.now - now.since):.0f} s"]
    if now.asked:
        parts.append(f"{len(now.answered)} of {len(now.asked)} answered")
        waiting = [client for client in now.waiting if client not in now.late]
        for title, clients in (("waiting for", waiting), ("late:", now.late)):
            if clients:
                parts.append(f"{title} {_listed(clients, names)}")
    if now.waiting and now.deadline is not None:
        parts.append(f"at most {max(0.0, now.deadline - glance.now):.0f} s more")
    return visible("  ".join(parts))


def _listed(clients: Sequence[int], names: Mapping[int, str]) -> str:
    shown = [f"{client} ({names[client]})" if names.get(client) else str(client) for client in clients[:MOST_NAMED]]
    return ", ".join([*shown, *([f"and {len(clients) - MOST_NAMED} more"] if len(clients) > MOST_NAMED else [])])


def round_line(record: RoundRecord, rounds: int) -> str:
    """One round in one line."""
    parts = [f"round {record.round}/{rounds}" if record.stage == "training" else "repaired model"]
    for title, value in (("MA", record.ma_percent), ("ASR", record.asr_percent)):
        if value is not None:
            parts.append(f"{title} {value:.2f} %")
    if record.participants:
        parts.append(f"replied {len(replied(record))} of {len(record.participants)}")
        parts += [f"rejected {len(record.rejected)}"] if record.rejected else []
        parts += [f"dropped {len(record.dropped)} ({_kinds(record)})"] if record.dropped else []
    parts += [f"{name} {seconds:.1f} s" for name, seconds in _seconds(record) if seconds >= 0.05]
    parts.append(f"total {sum(record.seconds.values()):.1f} s")
    return visible("  ".join([*parts, *record.notes]))


def drop_lines(record: RoundRecord, most: int = 20) -> Iterator[str]:
    """Why each reply of a round was dropped."""
    for client, cause in list(record.dropped.items())[:most]:
        yield visible(f"  client {client} dropped: {cause}")
    if len(record.dropped) > most:
        yield f"  and {len(record.dropped) - most} more"


def site_lines(sites: Sequence[Site]) -> Iterator[str]:
    """The clients that were absent, lost a reply or were rejected."""
    for site in sites:
        if site.dropped or site.rejected or site.absent:
            name = f" ({site.name})" if site.name else ""
            heard = "never heard" if site.last_heard is None else f"last heard in round {site.last_heard}"
            counts = f"replied {site.replied} of {site.asked}, rejected {site.rejected}, absent {site.absent}"
            cause = f"; last missing in {site.cause}" if site.cause else ""
            yield visible(f"client {site.client}{name}: {counts}, {heard}{cause}")


def _rounds(records: Sequence[RoundRecord], phases: Phases) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(expand=True, box=None, header_style="bold", padding=(0, 1))
    titles = [f"{name} s" for name, _ in phases]
    for name in ("round", "MA %", "ASR %", "replied", "rejected", "dropped", *titles, "total s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what happened", ratio=1, no_wrap=True, overflow="ellipsis")
    for record in records:
        happened = visible("; ".join([*([_kinds(record)] if record.dropped else []), *record.notes]))
        table.add_row(
            str(record.round) if record.stage == "training" else "repair",
            _rate(record.ma_percent),
            _rate(record.asr_percent),
            f"{len(replied(record))}/{len(record.participants)}" if record.participants else "-",
            str(len(record.rejected)),
            Text(str(len(record.dropped)), style="bold red" if record.dropped else ""),
            *(f"{seconds:.1f}" for _, seconds in _seconds(record, phases)),
            f"{sum(record.seconds.values()):.1f}",
            Text(happened),
        )
    return table


def _sites(sites: Sequence[Site], most: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(expand=True, box=None, header_style="bold", padding=(0, 1))
    measured = any(site.ma_percent is not None for site in sites)
    columns = ["client", "node", *(["own MA %"] if measured else []), "replied", "rejected", "dropped", "absent"]
    for name in (*columns, "last heard"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last cause", ratio=1, no_wrap=True, overflow="ellipsis")
    for site in sites[:most]:
        table.add_row(
            str(site.client),
            Text(visible(site.name)),
            *([_rate(site.ma_percent)] if measured else []),
            f"{site.replied}/{site.asked}",
            str(site.rejected),
            Text(str(site.dropped), style="bold red" if site.dropped else ""),
            Text(str(site.absent), style="bold red" if site.absent else ""),
            "never" if site.last_heard is None else str(site.last_heard),
            Text(plain_text(site.cause, LONGEST_CAUSE)),
        )
    if len(sites) > most:
        table.add_row("...", Text(f"{len(sites) - most} more"))
    return table


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _kinds(record: RoundRecord) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counted(record.dropped.values()).items())


def _seconds(record: RoundRecord, phases: Phases = PHASES) -> list[tuple[str, float]]:
    return [(name, sum(record.seconds.get(phase, 0.0) for phase in parts)) for name, parts in phases]
