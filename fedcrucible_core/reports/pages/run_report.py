"""One run's page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedcrucible_core.records import files
from fedcrucible_core.records.numbers import numbers_of
from fedcrucible_core.records.reader import Embedding, RecordedRun, read
from fedcrucible_core.records.schema import RoundRecord
from fedcrucible_core.reports.charts.activity import detection_chart, rejection_chart, seconds_chart
from fedcrucible_core.reports.charts.clients_measure import clients_measure_chart
from fedcrucible_core.reports.charts.confusion import confusion_chart
from fedcrucible_core.reports.charts.curves import accuracy_chart, recall_chart
from fedcrucible_core.reports.charts.diagnostics import clients_chart, facts_chart
from fedcrucible_core.reports.charts.entropy_map import entropy_map
from fedcrucible_core.reports.charts.example_texts import text_rows
from fedcrucible_core.reports.charts.examples import picture_rows
from fedcrucible_core.reports.charts.tsne import TsnePanel, cached_panel, tsne_chart
from fedcrucible_core.reports.pages import wording
from fedcrucible_core.reports.pages.page import write_page
from fedcrucible_core.reports.pages.personal import client_pairs, client_rows
from fedcrucible_core.reports.pages.site_heat import site_heat
from fedcrucible_core.reports.pages.split_section import (
    caption,
    part_rows,
    suspect_rows,
    suspect_samples,
    truth_known,
)
from fedcrucible_core.reports.pages.synthetic_data import client_facts, counted, samples
from fedcrucible_core.reports.pages.synthetic_data import facts as synthetic_facts

MOST_ROWS = 250
ROUND_NUMBERS = {field: number for field, number in numbers_of(RoundRecord).items() if number.unit == "%"}
"""Columns of the table of rounds."""
DETECTION = (
    "Rejected means that the rule gave the update weight 0. In rounds without an active attack all clients train "
    "honestly and count as honest; so does, in any round, a malicious client that has nothing to poison."
)
REJECTION = (
    "Rejected means that the rule gave the update weight 0. Nobody knows who attacks here, so no rejection is called "
    "right or wrong."
)
UPSTREAM = " Honest clients whose data came to them poisoned count as honest, whether they are rejected or not."
CONFUSION = (
    "Round {}: counts by true class, tinted by their share of the row. {} of the target class are left out; a "
    "backdoor fills the framed column."
)
FEATURES = (
    "t-SNE of penultimate features (PCA to 50, perplexity 30, fixed seed); {inputs} are outlined black. "
    "Silhouette of {inputs} against their true class, in the PCA space: near +1 they form a cluster of their "
    "own, at 0 or less they lie among their class."
)


def render_report(folder: Path, *, tsne_images: int = 2000) -> Path:
    """Write ``report.html`` into a record folder from what lies in it, and return its path.

    Needs neither torch nor a network. ``tsne_images`` bounds each feature plot (2,000 take some seconds, once: the
    points are kept); 0 leaves it out. Raises FileNotFoundError when the folder holds no record.
    """
    record = read(folder)
    run, rounds = record.run, record.rounds
    confusion, attacked = confusion_chart(run, rounds), run.attack_inputs or f"attacked {run.inputs}"
    panels, missing = _panels(record, tsne_images)
    changed, unchanged = wording.settings(record.config, record.defaults)
    dropped, dropped_more = wording.dropped(record)
    rows, rows_note = _rows(rounds)
    shown = samples(record)
    return write_page(
        record.folder / files.REPORT,
        "report",
        title=f"{' '.join(wording.heading(run))}, seed {run.seed}",
        run=run,
        heading=wording.heading(run),
        subtitle=wording.subtitle(record),
        verdict=wording.verdict(record),
        warnings=wording.warnings(record),
        cards=wording.cards(record),
        curves=accuracy_chart(rounds, run.measured.removeprefix("clean ")),
        curves_title="Accuracy and attack success by round" if run.tested else "How well the labels are fitted",
        curves_note=wording.curves_note(run),
        curves_caption=wording.curves_caption(run),
        recall=recall_chart(run, rounds),
        detection=detection_chart(rounds) if run.truth == "known" else rejection_chart(rounds),
        detection_caption=DETECTION + (UPSTREAM if run.upstream else "") if run.truth == "known" else REJECTION,
        detection_rows=wording.detection_rows(record) + client_facts(record),
        confusion=confusion[0] if confusion else None,
        confusion_title=f"Where {attacked} end up",
        confusion_caption=CONFUSION.format(confusion[1], run.inputs.capitalize()) if confusion else "",
        pictures=picture_rows(run, record.examples),
        texts=text_rows(run, record.texts),
        synthetic=shown,
        synthetic_note=counted(shown),
        synthetic_rows=synthetic_facts(record),
        sites=site_heat(record),
        **_split(record),
        personal=clients_measure_chart(rounds),
        personal_pairs=client_pairs(record),
        personal_rows=client_rows(record),
        tsne=tsne_chart(run, panels),
        tsne_caption=FEATURES.format(inputs=attacked),
        tsne_missing=missing,
        seconds=seconds_chart(rounds),
        phase_rows=wording.phase_rows(record),
        cost_rows=wording.cost_rows(record),
        facts=facts_chart(rounds),
        clients=clients_chart(rounds, run.upstream),
        rounds=rows,
        round_fields=list(ROUND_NUMBERS),
        round_headings=[number.heading for number in ROUND_NUMBERS.values()],
        rounds_note=rows_note,
        dropped=dropped,
        dropped_more=dropped_more,
        changed=changed,
        unchanged=unchanged,
        environment=wording.environment_rows(record.environment, record.summary.parameters_sha256),
        folder=record.folder.name,
    )


def _split(record: RecordedRun) -> dict[str, object]:
    """What the section on a repair's split shows; nothing where nothing was split."""
    split = record.split
    if split is None:
        return {"split_rows": ()}
    return {
        "split_map": entropy_map(split),
        "split_caption": caption(split, record.run.inputs),
        "split_rows": part_rows(split),
        "split_truth": truth_known(split),
        "splitter": split.facts.splitter or "a splitter",
        "suspects": suspect_samples(record, split),
        "suspect_rows": suspect_rows(split),
    }


def _panels(record: RecordedRun, images: int) -> tuple[list[tuple[str, TsnePanel]], str]:
    if images <= 0:
        return [], "The feature plot was left out on request."
    if not record.embeddings:
        return [], "No test features were saved with this run."
    panels, failed = [], []
    for embedding in record.embeddings:
        try:
            panels.append((_title(embedding), cached_panel(embedding, record.run.seed, size=images)))
        except ValueError as error:
            failed.append(f"{embedding.name}: {error}")
    return panels, "; ".join(failed)


def _title(embedding: Embedding) -> str:
    return embedding.name.replace("_", " ")


def _rows(rounds: Sequence[RoundRecord]) -> tuple[Sequence[RoundRecord], str]:
    note = "A dash means not measured in that round. The bar at the left marks rounds in which the attack is active."
    if len(rounds) <= MOST_ROWS:
        return rounds, note
    step = -(-len(rounds) // MOST_ROWS)
    kept = [r for place, r in enumerate(rounds) if place % step == 0 or place == len(rounds) - 1]
    return kept, f"One row in {step} of {len(rounds)} rounds; all of them are in metrics.jsonl. {note}"
