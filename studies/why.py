"""What makes CLIP-Fed work or fail: which clients its filter keeps, and what its purification leaves.

python -m studies.why filter      # undefended runs; every filter setting judges the very same updates
python -m studies.why purify      # one attacked model; every purifier setting starts from it (validation split)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from defenses.base import PURIFIERS, RULES, Aggregate, ClientUpdates
from defenses.rules.fedavg import FedAvg
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load, parse_assignment
from fedcrucible_core.config.preset import load_preset
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.foundation.patches import random_patches
from fedcrucible_core.learning.rng import torch_generator
from server_app.checks import attackers
from server_app.evaluation import Evaluator
from server_app.plan import Plan
from strategies.outcome import Checkpoint, RoundOutcome
from strategies.population import first_of

SEEN: list[ClientUpdates] = []
"""What a rule was given, round by round."""


@RULES.register("fedavg-kept")
class Kept(FedAvg):
    """FedAvg that keeps every round's updates for other rules to judge."""

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """As FedAvg."""
        SEEN.append(replace(updates, matrix=updates.matrix.clone(), w_t=updates.w_t.clone()))
        return super().aggregate(updates)


class LastModel:
    """Observer that keeps the last checkpoint."""

    def __init__(self) -> None:
        self.checkpoint: Checkpoint | None = None

    def on_round(self, outcome: RoundOutcome) -> None:
        pass

    def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def on_note(self, text: str) -> None:
        pass


FILTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "PCA 10 (auto), raw": ("clip-fed-filter", {}),
    "PCA 2, raw": ("clip-fed-filter", {"pca_components": 2}),
    "PCA 5, raw": ("clip-fed-filter", {"pca_components": 5}),
    "no PCA (19), raw": ("clip-fed-filter", {"pca_components": 19}),
    "95 % of variance, raw": ("clip-fed-filter", {"explained_variance": 0.95}),
    "PCA 2, normalised": ("clip-fed-filter", {"pca_components": 2, "normalise": True}),
    "PCA 10, normalised": ("clip-fed-filter", {"normalise": True}),
    "no PCA (19), normalised": ("clip-fed-filter", {"pca_components": 19, "normalise": True}),
    "FLAME, cosine of models": ("flame", {}),
    "FLAME, cosine of updates": ("flame", {"cosine_on": "updates"}),
}
SCENES: dict[str, dict[str, Scalar]] = {
    "main-class .4": {"partition.name": "main-class"},
    "dirichlet .5": {"partition.name": "dirichlet"},
}


def undefended(settings: Mapping[str, Scalar]) -> tuple[Plan, Checkpoint]:
    """Run FedAvg under attack; fills SEEN and returns the final model."""
    SEEN.clear()
    values: dict[str, Scalar] = {
        **load_preset("demo"),
        **settings,
        "strategy": "fedavg-kept",
        "task.eval_split": "validation",
        "output.report": False,
    }
    values["run.checkpoint_every"] = int(values.get("run.rounds", load(values).run.rounds))
    with tempfile.TemporaryDirectory(prefix="why-") as folder:
        plan, last = Plan.make(load({**values, "output.dir": folder})), LastModel()
        run_in_process(plan, [last])
    assert last.checkpoint is not None
    return plan, last.checkpoint


def judge(bad: set[int], name: str, params: Mapping[str, Any]) -> tuple[float, float, int]:
    """TPR %, FPR % over all kept rounds, and rounds in which attackers are at least half of those accepted."""
    rule = RULES.create(name, params)
    state: dict[str, Tensor] = {}
    hits = alarms = lost = total_bad = total_good = 0
    for seen in SEEN:
        rng = torch_generator(1, "why", seen.round)
        result = rule.aggregate(replace(seen, rng=rng, state=state))
        state = dict(result.state)
        rejected = {i for i, weight in zip(seen.ids, result.weights.tolist(), strict=True) if weight <= 0}
        accepted = set(seen.ids) - rejected
        hits += len(rejected & bad)
        alarms += len(rejected - bad)
        lost += len(accepted & bad) * 2 >= len(accepted)
        total_bad += len(bad)
        total_good += len(seen.ids) - len(bad)
    return 100 * hits / total_bad, 100 * alarms / total_good, lost


def spread(bad: set[int]) -> tuple[float, float, float, float]:
    """Mean distance (per round, to the group's mean) and mean norm of malicious and of honest updates."""
    rows = []
    for seen in SEEN:
        mask = torch.tensor([i in bad for i in seen.ids])
        groups = [seen.matrix[mask].double(), seen.matrix[~mask].double()]
        rows.append(
            [f for g in groups for f in (float((g - g.mean(0)).norm(dim=1).mean()), float(g.norm(dim=1).mean()))]
        )
    mean = torch.tensor(rows).mean(0).tolist()
    return mean[0], mean[1], mean[2], mean[3]


def study_filter(fractions: Sequence[float], seed: int, more: Mapping[str, Scalar]) -> None:
    """Print TPR / FPR of every filter setting on the same updates."""
    for scene, settings in SCENES.items():
        for fraction in fractions:
            plan, _ = undefended({**settings, **more, "adversary.malicious_fraction": fraction, "run.seed": seed})
            bad = set(attackers(plan.config))
            a, b, c, d = spread(bad)
            print(f"\n{scene}, {len(bad)} of {plan.config.federation.clients} malicious, seed {seed}")
            print(f"distance to own group's mean / norm: malicious {a:.2f} / {b:.2f}, honest {c:.2f} / {d:.2f}\n")
            print("| filter | TPR % | FPR % | rounds with attackers in the majority of the accepted |")
            print("| --- | --- | --- | --- |")
            for name, (rule, params) in FILTERS.items():
                tpr, fpr, lost = judge(bad, rule, params)
                print(f"| {name} | {tpr:.1f} | {fpr:.1f} | {lost} of {len(SEEN)} |", flush=True)


TRIALS: dict[str, tuple[str, dict[str, Any]]] = {
    "defaults: lr .01, 1 + 1 epochs, T 1, BN eval": ("clip-guided", {"bn_mode": "eval", "temperature": 1.0}),
    "BN train": ("clip-guided", {"temperature": 1.0}),
    "BN train, T 3 (demo)": ("clip-guided", {}),
    "BN eval, T 3": ("clip-guided", {"bn_mode": "eval"}),
    "demo, without FR": ("clip-guided", {"feature_rectification": False}),
    "demo, without KD": ("clip-guided", {"knowledge_transfer": False}),
    "demo, lr .02": ("clip-guided", {"lr": 0.02}),
    "demo, lr .05": ("clip-guided", {"lr": 0.05}),
    "demo, lr .05, BN eval": ("clip-guided", {"lr": 0.05, "bn_mode": "eval"}),
    "demo, 3 KT epochs": ("clip-guided", {"kt_epochs": 3}),
    "demo, 3 + 3 epochs": ("clip-guided", {"fr_epochs": 3, "kt_epochs": 3}),
    "plain fine-tuning, 2 epochs": ("fine-tune", {}),
    "plain fine-tuning, 2 epochs, lr .05": ("fine-tune", {"lr": 0.05}),
    "clip-fed-plus": ("clip-guided-plus", {}),
    "clip-fed-plus without patches": ("clip-guided-plus", {"patch_probability": 0.0}),
    "clip-fed-plus without its self-teaching": ("clip-guided-plus", {"alpha_self": 0.0}),
}


def study_purifier(fraction: float, seed: int, more: Mapping[str, Scalar]) -> None:
    """Print MA / ASR on the validation split after one purification of the same attacked model."""
    plan, checkpoint = undefended({**more, "adversary.malicious_fraction": fraction, "run.seed": seed})
    evaluator = Evaluator.build(plan.config, plan.data, plan.adversary.poisoner, plan.device)
    data = plan.foundation.server_data()
    patched = random_patches(data.originals.inputs, torch_generator(seed, "why-patches"), 4)
    views = {"band noise": data, "patches": replace(data, augmented=patched), "none": replace(data, augmented=None)}
    model = plan.model()
    first_of(checkpoint.population).load_into(model)
    start = evaluator.measure(model)
    assert start.attack is not None
    print(f"{fraction:.0%} malicious, seed {seed}: MA {start.clean.accuracy:.2f} %, ASR {start.attack.asr:.2f} %\n")
    print("| one purification | augmentation | MA % | ASR % | CPU s |")
    print("| --- | --- | --- | --- | --- |")
    for view, chosen in views.items():
        targets = plan.foundation.guide().targets(chosen.training_set().inputs, plan.data.info.class_names)
        for name, (purifier_name, params) in TRIALS.items():
            if view != "band noise" and name not in (
                "BN train, T 3 (demo)",
                "demo, lr .05",
                "clip-fed-plus without patches",
            ):
                continue
            base = PURIFIERS.built(plan.config, purifier_name)
            purifier = PURIFIERS[purifier_name](**{**base.model_dump(), **params})
            first_of(checkpoint.population).load_into(model)
            clock = time.process_time()
            guide = targets if purifier.needs.guide else None
            purifier.purify(model, chosen, guide, torch_generator(seed, "why"), {})
            clock = time.process_time() - clock
            after = evaluator.measure(model)
            assert after.attack is not None
            print(
                f"| {name} | {view} | {after.clean.accuracy:.2f} | {after.attack.asr:.2f} | {clock:.1f} |", flush=True
            )


def main() -> None:
    """Run one of the two studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["filter", "purify"])
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.3, 0.4])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings beside the demo's")
    options = parser.parse_args()
    more = dict(map(parse_assignment, options.set))
    torch.set_num_threads(1)
    if options.study == "filter":
        study_filter(options.fractions, options.seed, more)
    else:
        study_purifier(options.fractions[0], options.seed, more)


if __name__ == "__main__":
    main()
