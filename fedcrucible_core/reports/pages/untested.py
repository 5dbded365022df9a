"""What the page says of a run whose training set itself was measured, for there is no test split."""

from __future__ import annotations

from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import RunDescription
from fedcrucible_core.reports.pages.page import rate


def verdict(record: RecordedRun) -> str:
    """What a split came to, and what the one number that there is means."""
    run = record.run
    fit = (
        f"There is no test split, so no accuracy is known: the model gives {rate(record.summary.ma_percent)} % of the "
        f"training {run.inputs} the label that they came with, be it true or poisoned."
    )
    if record.split is None:
        return fit
    parts = [row.part for row in record.split.rows if row.part != "left out"]
    return f"The split takes {parts.count('triggered'):,} of {len(parts):,} {run.inputs} for poisoned. {fit}"


def curves_note(run: RunDescription) -> str:
    """What the curve is."""
    return f"Training {run.inputs} that are given the label they came with: how well it is fitted, no accuracy."
