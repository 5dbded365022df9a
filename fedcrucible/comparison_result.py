"""A comparison as Python sees it: one row a run, the table of means, the page."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcrucible.frames import frame_from, frame_of

if TYPE_CHECKING:
    import pandas as pd

MANIFEST, PARQUET = "manifest.json", "results.parquet"
RATES = ("MA", "ASR")


@dataclass(frozen=True, repr=False)
class Comparison:
    """A matrix of runs in its folder; everything is read from there when it is asked for."""

    folder: Path

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Whether a comparison lies there."""
        return (folder / MANIFEST).is_file() and (folder / PARQUET).is_file()

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """What was run, with what: axes, seeds, versions, the settings of each cell."""
        content: Mapping[str, Any] = json.loads((self.folder / MANIFEST).read_bytes())
        return content

    @property
    def frame(self) -> pd.DataFrame:
        """One row per cell: labels, numbers (percent), where they come from. The same as results.csv. Needs pandas."""
        return frame_from(self.folder / PARQUET)

    def table(self) -> pd.DataFrame:
        """One row per system and what it faced: means over seeds, half of Student's 95 % interval, marks. Needs pandas.

        ``best_MA`` and ``best_ASR`` mark the best of those that faced the same; ``not_compared`` says why one isn't.
        """
        return frame_of(self._rows())

    @property
    def failed(self) -> Mapping[str, str]:
        """Cells without numbers and why."""
        return {str(one["cell"]): str(one["cause"]) for one in self.manifest.get("failed", ())}

    def report(self) -> Path:
        """The path of the comparison's page; it was drawn with the tables."""
        from fedcrucible_core.records.files import REPORT

        page = self.folder / REPORT
        if page.is_file():
            return page
        from fedcrucible_core.reports.pages.records_page import Labelled, render_records

        return render_records([Labelled(record) for record in self._records()], str(self.manifest["title"]), page)

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} without numbers" if self.failed else ""
        return f"<{self._title()}: {len(self.manifest['cells'])} cells{failed}; {self.folder}>"

    def _repr_html_(self) -> str:
        """For notebooks: the table, best values bold."""
        rows = shown_rows(self._rows())
        heads = "".join(f"<th>{html.escape(str(head))}</th>" for head in (rows[0] if rows else ()))
        body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row.values()) + "</tr>" for row in rows)
        failed = "".join(f"<li>{html.escape(f'{cell}: {cause}')}</li>" for cell, cause in self.failed.items())
        return (
            f"<b>{html.escape(self._title())}</b><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
            f"{f'<ul>{failed}</ul>' if failed else ''}<code>{html.escape(str(self.folder))}</code>"
        )

    def _title(self) -> str:
        return str(self.manifest["title"])

    def _records(self) -> list[Path]:
        """Folders of the runs, also where the whole folder has been moved."""
        named = [Path(cell["record"]) for cell in self.manifest["cells"] if cell["record"]]
        return list(dict.fromkeys(p if p.is_dir() else self.folder / p.parent.name / p.name for p in named))

    def _rows(self) -> Iterator[dict[str, object]]:
        layout = self.manifest.get("layout", {})
        for row in self._judged():
            yield {
                **{name: row[name] for name in layout.get("blocks", ())},
                **({layout.get("column") or "faced": row["column"]} if row["column"] is not None else {}),
                layout.get("system", "strategy"): row["system"],
                **{name: value for rate in RATES for name, value in _mean(rate, row[rate]).items()},
                **{name: row[name] for name in ("seeds", "best_MA", "best_ASR", "weak_attack", "not_compared")},
            }

    def _judged(self) -> list[dict[str, Any]]:
        """Rows as they were judged when the tables were made; worked out anew for a comparison of an older version."""
        if "rows" in self.manifest:
            rows: list[dict[str, Any]] = self.manifest["rows"]
            return rows
        from fedcrucible.comparison.tables.matrix_spots import as_object
        from fedcrucible_core.records.reader import read
        from fedcrucible_core.reports.statistics.from_records import spots_of_records

        spots, _ = spots_of_records([("", read(folder, arrays=False)) for folder in self._records()])
        return [row for spot in spots for row in as_object(spot, ())]


def _mean(rate: str, found: Mapping[str, float | None] | None) -> dict[str, object]:
    mean, high = (found["mean"], found["high"]) if found else (None, None)
    return {f"{rate}_percent": mean, f"{rate}_half": None if mean is None or high is None else high - mean}


def shown_rows(rows: Iterator[dict[str, object]]) -> list[dict[str, str]]:
    """Rows as a notebook shows them: numbers to two decimals with their half-widths, best values bold; escaped."""
    return [_shown(row) for row in rows]


def _shown(row: Mapping[str, object]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name, value in row.items():
        if name.endswith("_half") or name.startswith("best_"):
            continue
        rate = name.removesuffix("_percent")
        if rate not in RATES:
            shown[name] = "" if value is None else html.escape(str(value))
        elif isinstance(value, float):
            half = row[f"{rate}_half"]
            text = f"{value:.2f}" + (f" ± {half:.2f}" if isinstance(half, float) else "")
            shown[f"{rate} %"] = f"<b>{text}</b>" if row[f"best_{rate}"] else text
        else:
            shown[f"{rate} %"] = "-"
    return shown
