"""Which splitter, and which rule of it, finds planted samples without being told how many there are.

    python -m studies.sanitizer_rules --data mixed flow --seeds 101 102 103

Plants triggered samples (BD-FMFL) in the server's synthetic data, splits, and counts what survives and what clean data
are lost; nothing is trained but what splitters ask for.  Seeds 101 and up are for choices: no reported run uses them.
The chosen rule and what was seen stand in docs/choices.md#sanitizer-rule.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean

import torch

from defenses.base import SPLITTERS, Splitter
from defenses.splitting import split
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.foundation.base import Samples
from fedcrucible_core.foundation.public_slice import public_samples
from fedcrucible_core.learning.rng import torch_generator
from server_app.plan import Plan

CGD = "cgd-entropy"
CANDIDATES: dict[str, tuple[str, dict[str, object]]] = {
    "guide-agreement": ("guide-agreement", {}),
    "cgd sigmas": (CGD, {"rule": "sigmas"}),
    "cgd sigmas, guide alone": (CGD, {"rule": "sigmas", "models": 0}),
    "cgd argmax": (CGD, {"rule": "argmax"}),
    "cgd otsu": (CGD, {"rule": "otsu", "models": 0}),
    "cgd otsu, guide's scale": (CGD, {"rule": "otsu", "models": 0, "scale": 0.0}),
    "cgd mixture": (CGD, {"rule": "mixture", "models": 0}),
    "cgd mixture, guide's scale": (CGD, {"rule": "mixture", "models": 0, "scale": 0.0}),
    "cgd gap": (CGD, {"rule": "gap", "models": 0}),
    "cgd share .15": (CGD, {"rule": "share", "models": 0, "share": 0.15}),
    "cgd share .25": (CGD, {"rule": "share", "models": 0, "share": 0.25}),
    "guide-density": ("guide-density", {}),
    "guide-density own, otsu": ("guide-density", {"score": "own", "cut": "otsu"}),
    "loss-only": ("loss-only", {}),
    "loss-only otsu": ("loss-only", {"cut": "otsu"}),
    "public-probe": ("public-probe", {}),
    "random": ("random", {}),
}
"""Label -> (splitter, its parameters)."""
TEXT: dict[str, Scalar] = {"guide.model": "minilm", "attack.trigger": "addsent", "synthetic.source": "markov"}
DATA: dict[str, dict[str, Scalar]] = {
    "flow": {"synthetic.source": "flow"},
    "mixed": {"synthetic.source": "mixed"},
    "wn4": {"task.dataset": "wn4", "synthetic.per_class": 250, "model.name": "distilbert-tiny", **TEXT},
}
"""What is split: settings of a run that would use it."""


@dataclass(frozen=True)
class Found:
    """What a splitter made of one set."""

    survivors: int
    poisoned: int
    dropped: float
    """Clean samples that are not called clean, in percent."""
    dropped_target: float
    """The same among clean samples of the target class."""


def main() -> None:
    """Print one table for each set and share of planted samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["flow", "mixed"], choices=list(DATA))
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.0, 0.05, 0.2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--only", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for data in chosen.data:
        for ratio in chosen.ratios:
            found = table(DATA[data], ratio, chosen.seeds, chosen.only)
            print(f"\n{data}, {ratio:.0%} of every other class planted, seeds {', '.join(map(str, chosen.seeds))}")
            print(f"{'':28} {'survive':>15} {'clean dropped %':>16} {'of the target %':>16}")
            for label, results in found.items():
                print(f"{label:28} {_line(results)}", flush=True)


def table(settings: Mapping[str, Scalar], ratio: float, seeds: list[int], labels: list[str]) -> dict[str, list[Found]]:
    """What each candidate finds, by seed."""
    found: dict[str, list[Found]] = {label: [] for label in labels}
    for seed in seeds:
        plan = Plan.make(load({**_base(ratio, seed), **settings}))
        samples = plan.foundation.samples("distillation")
        for label in labels:
            found[label].append(judge(plan, samples, _splitter(label)))
    return found


def judge(plan: Plan, samples: Samples, splitter: Splitter) -> Found:
    """Split the set as a run would, and count."""
    info, seed = plan.data.info, plan.config.run.seed
    parts = split(
        splitter, samples.data, info, plan.foundation.guide, torch_generator(seed, "split"),
        untrained=plan.untrained, public=lambda: public_samples(info),
    )  # fmt: skip
    poisoned = torch.zeros(len(samples.data), dtype=torch.bool) if samples.poisoned is None else samples.poisoned
    kept = torch.zeros(len(samples.data), dtype=torch.bool)
    kept[parts.clean] = True
    target = samples.data.labels == plan.config.poison.target_label
    lost = 100.0 * (~kept).double()
    return Found(
        int((kept & poisoned).sum()), int(poisoned.sum()), float(lost[~poisoned].mean()),
        float(lost[~poisoned & target].mean()),
    )  # fmt: skip


def _base(ratio: float, seed: int) -> dict[str, Scalar]:
    planted: dict[str, Scalar] = {"attack.name": "bd-fmfl", "attack.trigger": "badnets", "attack.bd-fmfl.ratio": ratio}
    return {"strategy": "fine-tune", "run.seed": seed, "run.device": "cpu", "task.train_samples": 4000, **planted}


def _splitter(label: str) -> Splitter:
    name, parameters = CANDIDATES[label]
    return SPLITTERS[name].model_validate(parameters)


def _line(results: list[Found]) -> str:
    def column(values: Iterator[float]) -> float:
        return mean(values)

    survive = column(float(r.survivors) for r in results)
    planted = column(float(r.poisoned) for r in results)
    worst = max(r.survivors for r in results)
    return (
        f"{survive:5.1f} of {planted:4.0f} ({worst:3d}) {column(r.dropped for r in results):10.1f} "
        f"{column(r.dropped_target for r in results):16.1f}"
    )


if __name__ == "__main__":
    main()
