"""How well CGD's split finds poison in a central training set: by attack, by the epoch at which models score, by s_c.

    python -m studies.cgd_splits --attacks badnets sig --seeds 101 --epochs 1 2 3 5 10

Poisons the embedded data (5 % of all samples; of a clean-label attack half of the target class), trains what scores it,
and prints how the paper's rule parts it.  Scores: ``fresh`` (models trained on the whole set, logits averaged),
``victim`` (the run's own training at that epoch), ``k-fold`` (each sample by a model that didn't train on it), ``none``
(the guide alone).  Nothing is measured on test data.  Seeds 101 and up are for choices: no reported run uses them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from defenses.base import FreshModels, Split
from defenses.fresh_models import LARGEST_SEED, folds_of
from defenses.kernels.ranks import percentile_ranks
from defenses.support.suspicion import model_logits, surprise
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import FitSettings, minimise, training_mode
from fedcrucible_core.learning.rng import torch_generator
from server_app.plan import Plan
from server_app.repair_inputs import split_facts

CENTRAL: dict[str, Scalar] = {
    "strategy": "central", "poison.central": True, "poison.ratio": 0.05, "poison.share_of": "all",
    "model.resnet8.width": 8, "training.lr": 0.05, "run.eval_every": 100, "output.report": False,
}  # fmt: skip
"""The run whose set is split."""
CLEAN_LABEL: dict[str, Scalar] = {"poison.ratio": 0.5, "poison.share_of": "eligible"}
SCORES = ("fresh", "victim", "k-fold")
THRESHOLDS = ((0.2, 0.1), (0.3, 0.1), (0.3, 0.2), (0.4, 0.2), (0.5, 0.3))
"""(s_c, s_p); the paper's come first."""


def main() -> None:
    """Print a line for each attack, seed, score, epoch and pair of thresholds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", nargs="+", default=["badnets", "blend", "wanet", "bpp", "sig"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 3, 5, 10])
    parser.add_argument("--scores", nargs="+", default=["fresh", "victim"], choices=SCORES)
    parser.add_argument("--batch-size", type=int, default=32, help="samples per batch of the fresh models")
    parser.add_argument("--samples", type=int, default=6000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("attack seed score epoch s_c s_p | recall % contamination % escaped % clean triggered", flush=True)
    for attack in chosen.attacks:
        for seed in chosen.seeds:
            plan = planned(attack, seed, chosen.samples)
            guide = plan.foundation.guide().targets(plan.central.data.inputs, plan.data.info.class_names)
            entropy = surprise(guide.rescaled(1.0), plan.central.data.labels)
            print_rows(plan, [attack, seed, "none", 0], entropy, torch.ones(len(entropy), dtype=torch.float64))
            for score in chosen.scores:
                for epoch, of_models in scored(plan, score, chosen.epochs, chosen.batch_size):
                    print_rows(plan, [attack, seed, score, epoch], entropy, percentile_ranks(of_models))


def planned(attack: str, seed: int, samples: int = 6000) -> Plan:
    """A central run whose set that attack has been at."""
    settings = CENTRAL | {"attack.name": attack, "run.seed": seed, "task.train_samples": samples}
    plan = Plan.make(load(settings))
    return Plan.make(load(settings | CLEAN_LABEL)) if plan.adversary.poisoner.clean_label else plan


def print_rows(plan: Plan, head: Sequence[object], entropy: Tensor, fast: Tensor) -> None:
    """What the paper's rule makes of two scores, for each pair of thresholds; ``fast`` are ranks of the models'."""
    guide = percentile_ranks(entropy)
    for s_c, s_p in THRESHOLDS:
        found = Split.by((guide <= 1.0 - s_c) & (fast >= s_c), (guide > 1.0 - s_p) | (fast < s_p))
        facts = split_facts(found, plan.central.poisoned)
        rates = (facts[f"split_{name}_percent"] for name in ("recall", "contamination", "escaped"))
        shown = " ".join(f"{rate:.1f}" for rate in rates)
        print(*head, s_c, s_p, "|", shown, len(found.clean), len(found.triggered), flush=True)


def scored(plan: Plan, score: str, epochs: Sequence[int], batch_size: int) -> Iterator[tuple[int, Tensor]]:
    """Epoch -> the models' -log p(label) of every sample, float64 ``[n]``."""
    data, seed = plan.central.data, plan.config.run.seed
    if score == "victim":
        settings: FitSettings = plan.config.training
        logits = [_trained(plan, data, data, settings, epochs, torch_generator(seed, "study-victim"))]
    elif score == "fresh":
        settings = FreshModels(batch_size=batch_size)
        rng = torch_generator(seed, "study-fresh")
        logits = [_trained(plan, data, data, settings, epochs, rng) for _ in range(3)]
    else:
        settings, rng = FreshModels(batch_size=batch_size), torch_generator(seed, "study-folds")
        logits = [_held_out(plan, data, settings, epochs, rng)]
    for epoch in epochs:
        yield epoch, surprise(torch.stack([of[epoch] for of in logits]).mean(0), data.labels)


def _held_out(
    plan: Plan, data: Labeled, settings: FitSettings, epochs: Sequence[int], rng: torch.Generator, folds: int = 3
) -> dict[int, Tensor]:
    found = {epoch: torch.zeros(len(data), plan.data.info.num_classes) for epoch in epochs}
    for fold in folds_of(len(data), folds, rng):
        others = torch.ones(len(data), dtype=torch.bool).index_fill_(0, fold, False).nonzero().flatten()
        answers = _trained(plan, data.subset(others), data.subset(fold), settings, epochs, rng)
        for epoch, logits in answers.items():
            found[epoch][fold] = logits
    return found


def _trained(
    plan: Plan, data: Labeled, asked: Labeled, settings: FitSettings, epochs: Sequence[int], rng: torch.Generator
) -> dict[int, Tensor]:
    """Logits of ``asked`` after each of these epochs of plain training on ``data``."""
    model = plan.untrained(int(torch.randint(LARGEST_SEED, (), generator=rng)))
    found, done = dict[int, Tensor](), [0]

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(model(data.inputs[rows]), data.labels[rows])

    def keep(note: Callable[[Tensor], Tensor] = torch.clone) -> None:
        if done[0] in epochs:
            found[done[0]] = note(model_logits(model.eval(), asked))
        done[0] += 1

    minimise(
        model.parameters(), loss, len(data), settings, rng, epochs=max(epochs), mode=partial(training_mode, model),
        before_epoch=keep,
    )  # fmt: skip
    keep()
    return found


if __name__ == "__main__":
    main()
