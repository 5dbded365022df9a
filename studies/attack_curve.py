"""MA and ASR over the share of malicious clients: undefended, FLAME, CLIP-Fed and its ablations, several seeds.

    python -m studies.attack_curve --jobs 2

Finished runs are skipped, so it can be interrupted.  Writes the runs' records, a CSV, a Markdown table and a page.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible.comparison.sweep import labelled, sweep
from fedcrucible.comparison.tables.tables import table
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.reports import render_records

KEY = "purifier.clip-guided."
SYSTEMS: dict[str, dict[str, Scalar]] = {
    "fedavg": {"strategy": "fedavg"},
    "flame": {"strategy": "flame"},
    "clip-fed": {"strategy": "clip-fed"},
    "clip-fed without FR": {"strategy": "clip-fed", KEY + "feature_rectification": False},
    "clip-fed without KD": {"strategy": "clip-fed", KEY + "knowledge_transfer": False},
    "clip-fed-plus": {"strategy": "clip-fed-plus"},
}
PAPERS = [name for name in SYSTEMS if name != "clip-fed-plus"]
"""Systems of the whole curve; our own variant runs at one share of attackers unless it is asked for."""
ATTACKED: dict[str, dict[str, Scalar]] = {
    "clip-fed-plus": SYSTEMS["clip-fed-plus"],
    "clip-fed without filter": {"strategy": "clip-fed", "defense.name": "fedavg"},
    "clip-fed-plus without filter": {"strategy": "clip-fed-plus", "defense.name": "fedavg"},
    "fine-tune": {"strategy": "fine-tune"},
}
CONTROLS: dict[str, dict[str, Scalar]] = {
    "server data alone": next(
        dict(point.settings)
        for point in matrix(Options("demo-table")).system_points
        if point.settings["strategy"] == "server-data-only"
    ),
    "server data alone, CLIP-guided": {
        "strategy": "server-data-only", "purifier.name": "clip-guided", KEY + "lr": 0.05, KEY + "kt_epochs": 4,
    },
    "guide zero-shot": {"strategy": "guide-zero-shot"},
}  # fmt: skip
FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.4)


def main() -> None:
    """Run the grid and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="worker processes; 0 = only print what is finished")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--fractions", type=float, nargs="+", default=list(FRACTIONS))
    parser.add_argument("--systems", nargs="+", default=PAPERS, choices=list(SYSTEMS))
    parser.add_argument("--controls", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--control-fraction", type=float, default=0.3, help="attackers in the attacked controls")
    parser.add_argument("--out", type=Path, default=Path("runs/attack-curve"))
    options = parser.parse_args()
    common: dict[str, Scalar] = load_preset("demo")
    cells = [
        Cell(
            {"system": name, "malicious": fraction, "seed": seed},
            {**common, **SYSTEMS[name], "adversary.malicious_fraction": fraction, "run.seed": seed},
        )
        for seed in options.seeds
        for fraction in options.fractions
        for name in options.systems
    ]
    controls = [
        Cell(
            {"system": name, "malicious": fraction, "seed": seed},
            {**common, **settings, "adversary.malicious_fraction": fraction, "run.seed": seed},
        )
        for seed in options.seeds
        for group, fraction in ((ATTACKED, options.control_fraction), (CONTROLS, 0.0))
        for name, settings in group.items()
        if options.controls and name not in options.systems
    ]
    by_seed = sorted([*cells, *controls], key=lambda cell: cell.labels["seed"])  # whole seeds first
    frame = sweep(by_seed, options.out, options.jobs)
    frame.to_csv(options.out / "attack_curve.csv", index=False)
    main_part = frame[frame["system"].isin(options.systems)]
    text = [
        f"MA % over the share of malicious clients, mean ± 95 % interval over seeds {options.seeds}",
        "",
        table(main_part, ["system"], "malicious", ["ma"]),
        "",
        "ASR %",
        "",
        table(main_part, ["system"], "malicious", ["asr"]),
        "",
        "Filter: malicious clients rejected (TPR %) / honest clients rejected (FPR %)",
        "",
        table(main_part[main_part["system"] != "fedavg"], ["system"], "malicious", ["tpr", "fpr"]),
    ]
    if options.controls:
        rest = frame[frame["system"].isin([*ATTACKED, *CONTROLS])]
        text += ["", "Controls: MA % / ASR %", "", table(rest, ["system", "malicious"], None, ["ma", "asr"])]
    (options.out / "attack_curve.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    records = labelled(main_part, "system")
    page = render_records(
        records, "Attack curve", options.out / "attack_curve.html", sweep="adversary.malicious_fraction"
    )
    print("\n".join(text))
    print(f"\nPage: {page}")


if __name__ == "__main__":
    main()
