"""The page of several records, whatever made them: the same page as a matrix' own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcrucible_core.records.reader import RecordedRun, read
from fedcrucible_core.reports.pages.matrix import MatrixPage, Settings, render_matrix
from fedcrucible_core.reports.pages.matrix_words import legend, not_compared, unfinished, weak_attacks
from fedcrucible_core.reports.pages.parts import Layout, parts
from fedcrucible_core.reports.statistics.from_records import spots_of_records, swept
from fedcrucible_core.reports.statistics.reference_tests import reference_tests
from fedcrucible_core.reports.statistics.spots import Spot, labels_of, notes_by_place

SHOWN_SEEDS = 10


@dataclass(frozen=True)
class Labelled:
    """A record folder, and what to call its strategy (empty = its registered name)."""

    folder: Path
    label: str = ""


def render_records(records: Sequence[Labelled], title: str, out_path: Path, *, sweep: str = "") -> Path:
    """Write one page over several records and return its path.

    Runs with the same label, attack and settings are seeds of one row: of several with one seed the first counts.
    Rows are judged (``standing``) among those that share all settings but the defence's: an attack is weak there where
    plain FedAvg ends below 50 % ASR.  ``sweep`` is a configuration key, e.g. ``adversary.malicious_fraction``,
    that gets its own chart.
    Raises ValueError for no records, FileNotFoundError when a folder holds none.
    """
    if not records:
        raise ValueError("a comparison needs at least one record folder")
    labelled = [(one.label, read(one.folder, arrays=False)) for one in records]
    spots, repeated = spots_of_records(labelled)
    seeds = max(len(row.runs) for spot in spots for row in spot.rows)
    layout = Layout(seeds=seeds)
    left_out = f"{repeated} runs repeat the settings and the seed of another one, and are left out."
    return render_matrix(
        MatrixPage(
            title=title,
            facts=_facts([run for _, run in labelled]),
            legend=legend(spots, seeds) + " Best values are framed.",
            spots=spots,
            tables=list(parts(spots, layout, reference_tests(spots, _reference(spots)))),
            warnings=[
                *weak_attacks(spots), *not_compared(spots), *([left_out] if repeated else []), *unfinished(spots),
            ],
            notes=notes_by_place(spots),
            settings=_settings([run for _, run in labelled]),
            origin=_origin([run for _, run in labelled]),
            sweep=sweep,
            swept=swept(spots, sweep) if sweep else (),
        ),
        out_path,
    )  # fmt: skip


def _reference(spots: Sequence[Spot]) -> str:
    """The undefended row; else the first."""
    plain = [row.label for spot in spots for row in spot.rows if row.undefended]
    return (plain or labels_of(spots))[0]


def _facts(runs: Sequence[RecordedRun]) -> str:
    """Data sets, attacks, runs and seeds in one line."""
    data = sorted({run.run.dataset for run in runs if run.run.dataset})
    attacks = sorted({run.run.attack for run in runs})
    seeds = sorted({run.run.seed for run in runs})
    shown = ", ".join(map(str, seeds)) if len(seeds) <= SHOWN_SEEDS else f"{len(seeds)} of them"
    return " · ".join([*data, f"attack {', '.join(attacks)}", f"{len(runs)} runs", f"seeds {shown}"])


def _settings(runs: Sequence[RecordedRun]) -> Settings:
    """What all runs have set differently from the default."""
    first = runs[0]
    shared = [
        (key, str(value), "")
        for key, value in first.config.items()
        if first.defaults.get(key, value) != value and all(run.config.get(key) == value for run in runs)
    ]
    return [("Shared by all runs, where it differs from the default", shared)]


def _origin(runs: Sequence[RecordedRun]) -> list[tuple[str, str]]:
    known = [run.environment for run in runs if run.environment is not None]
    commits = sorted({found.git_commit[:12] for found in known if found.git_commit})
    digests = sorted({found.source_sha256[:16] for found in known if found.source_sha256})
    started = sorted(found.started_utc for found in known if found.started_utc)
    rows = [
        ("records", str(len(runs))),
        ("started", " to ".join(dict.fromkeys((started[0], started[-1]))) if started else ""),
        ("commit", ", ".join(commits)),
        ("source digest", ", ".join(digests)),
    ]
    return [(key, value) for key, value in rows if value]
