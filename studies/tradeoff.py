"""MA against ASR over the strength of CLIP-Fed's server phase, at the demo's federation.

    python -m studies.tradeoff --jobs 2

Measured on the validation split, for this is where the demo's setting was chosen.  Finished runs are skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.sweep import labelled, sweep
from fedcrucible.comparison.tables.tables import table
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.reports import render_records

KEY = "purifier.clip-guided."
STRENGTHS: dict[str, dict[str, Scalar]] = {
    "defaults (lr .01, 1 + 1 epochs, T 1, BN eval)": {
        KEY + "lr": 0.01, KEY + "kt_epochs": 1, KEY + "temperature": 1.0, KEY + "bn_mode": "eval",
    },
    "lr .01": {KEY + "lr": 0.01},
    "lr .02": {KEY + "lr": 0.02},
    "lr .03": {KEY + "lr": 0.03},
    "lr .05": {KEY + "lr": 0.05},
    "lr .1": {KEY + "lr": 0.1},
}  # fmt: skip


def main() -> None:
    """Run the grid and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--out", type=Path, default=Path("runs/tradeoff"))
    options = parser.parse_args()
    preset = {**load_preset("demo"), "task.eval_split": "validation"}
    cells = [
        Cell({"server phase": name, "seed": seed}, {**preset, "strategy": "clip-fed", **settings, "run.seed": seed})
        for seed in options.seeds
        for name, settings in STRENGTHS.items()
    ]
    frame = sweep(cells, options.out, options.jobs)
    frame.to_csv(options.out / "tradeoff.csv", index=False)
    text = table(frame, ["server phase"], None, ["ma", "asr"])
    (options.out / "tradeoff.md").write_text(text + "\n", encoding="utf-8")
    records = labelled(frame, "server phase")
    page = render_records(records, "Strength of the server phase", options.out / "tradeoff.html")
    print(f"MA % / ASR %, validation split, seeds {options.seeds}\n\n{text}\n\nPage: {page}")


if __name__ == "__main__":
    main()
