"""How accuracy and attack success go, epoch by epoch, while CGD unlearns: by its loss and its weights.

    python -m studies.cgd_unlearning --attacks sig blend --seeds 101 102 --out runs/cgd-unlearning \\
        --forms "paper:" "twice:lambda_un=0.05" "bounded:epsilon=0.1"

The runs are those of cgd/table1-small; a form is a name, and settings of ``repair.cgd-unlearn`` behind a colon.
Nothing stops early here.  Percent, ``CA/ASR/labels`` for epochs 0 (the model as it was), 1, 2, ...: both rates are of
the validation split, on which nothing else looks; labels are those of the triggered part that the model still gives.
Seeds 101 and up are for choices: no reported run uses them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from defenses.repairs.cgd_unlearn import CgdUnlearn
from defenses.support.guided_unlearning import accuracy_percent
from fedcrucible_core.config.load import load, parse_assignment
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.models.base import SplitModel
from server_app.plan import Plan
from server_app.strategy_of import strategy_of
from strategies.outcome import RoundOutcome
from strategies.population import SOLE
from strategies.repair_step import context_of
from studies.cgd_tables import victim

KEY = "repair.cgd-unlearn."
UNSTOPPED = 100.0
"""Tolerance in points: nothing falls that far."""


def main() -> None:
    """Print a line for each attack, seed and form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", nargs="+", default=["sig", "blend", "badnets"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--forms", nargs="+", default=["paper:"], metavar="NAME:KEY=VALUE,KEY=VALUE")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of all runs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the trained models")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    everywhere = dict(parse_assignment(text) for text in chosen.set)
    for attack in chosen.attacks:
        for seed in chosen.seeds:
            for form in chosen.forms:
                name, _, listed = form.partition(":")
                own = dict(parse_assignment(f"{KEY}{pair}") for pair in listed.split(",") if pair)
                settings = load_preset("cgd/table1-small") | everywhere | own
                settings |= {"attack.name": attack, "run.seed": seed, "repair.name": "cgd-unlearn"}
                curve = rates(settings, chosen.epochs, chosen.out / "models")
                print(
                    attack,
                    seed,
                    name,
                    "|",
                    " ".join("/".join(f"{rate:.1f}" for rate in epoch) for epoch in curve),
                    flush=True,
                )


def rates(settings: Mapping[str, Scalar], epochs: int, folder: Path) -> list[tuple[float, float, float]]:
    """Accuracy, attack success, labels left (percent) after each epoch of unlearning, from the model as it was on."""
    fixed: dict[str, Scalar] = {
        "task.eval_split": "validation", "run.checkpoint_every": 1, f"{KEY}epochs": epochs,
        f"{KEY}tolerance": UNSTOPPED,
    }  # fmt: skip
    unstopped = dict(settings) | fixed
    plan = Plan.make(load(unstopped))
    parts = strategy_of(plan, in_order=True).parts
    outcome = RoundOutcome(plan.config.run.rounds + 1, stage="repair")
    victim(plan, unstopped, folder).load_into(parts.model)
    repair, given = plan.system.repair, parts.repair_inputs(SOLE)
    assert isinstance(repair, CgdUnlearn)
    context = context_of(parts, SOLE, None, outcome.round, None, given)
    data, split = context.require_split()
    triggered, found = data.subset(split.triggered.to(data.labels.device)), list[tuple[float, float, float]]()

    def watch(model: SplitModel) -> float:
        measured = parts.evaluate(model.eval(), outcome, True)
        asr = float("nan") if measured.attack is None else measured.attack.asr
        found.append((measured.clean.accuracy, asr, accuracy_percent(model, triggered)))
        return measured.clean.accuracy

    repair.unlearn(parts.model, data, split.clean, split.triggered, context, watch)
    return found


if __name__ == "__main__":
    main()
