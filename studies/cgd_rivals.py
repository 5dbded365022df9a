"""What each rival of CGD makes of one backdoored model: accuracy and attack success before and after, and seconds.

    python -m studies.cgd_rivals --rivals fine-pruning ep anp --seeds 1 [--set repair.anp.steps=2000]

Poisons the embedded data (5 % of all samples), trains a model on them centrally, and hands it to one repair after
another, each as a run would hand it over.  ``retrain:pipd-isolate`` is the repair behind a colon's splitter, and
``anp@split`` takes its clean samples from the split of the poisoned set itself in place of the validation split.
Both rates are measured on the test split, which no repair sees.  Seconds are this process's own, of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from defenses.base import RepairContext
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.training import train
from server_app.evaluation import Evaluator
from server_app.plan import Plan
from strategies.population import SOLE
from studies.cgd_splits import CENTRAL

RIVALS = (
    "fine-pruning",
    "mcr",
    "anp",
    "i-bau",
    "ep",
    "abl",
    "dbd",
    "asd",
    "d-br",
    "retrain:pipd-isolate",
    "retrain:mspc-split",
)


def main() -> None:
    """Print a line for the model as it was, and one for each rival."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rivals", nargs="+", default=list(RIVALS))
    parser.add_argument("--attack", default="badnets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=10, help="of the model that is repaired")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of the run")
    parser.add_argument("--victims", type=Path, help="folder of trained models, kept for the next call")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    own: dict[str, Scalar] = dict(pair.split("=", 1) for pair in chosen.set)
    print("attack seed rival | CA % ASR % seconds | facts", flush=True)
    for seed in chosen.seeds:
        settings = CENTRAL | {"attack.name": chosen.attack, "run.seed": seed, "task.train_samples": chosen.samples}
        plan = Plan.make(load(settings))
        evaluator = Evaluator.build(plan.config, plan.data, plan.adversary.poisoner, plan.device)
        started = time.process_time()
        victim = trained(plan, chosen.epochs, chosen.victims)
        _print(chosen.attack, seed, "none", evaluator, victim, time.process_time() - started, {})
        weights = {name: tensor.clone() for name, tensor in victim.state_dict().items()}
        for rival in chosen.rivals:
            victim.load_state_dict(weights)
            started = time.process_time()
            facts = repaired(victim, settings | own, rival)
            _print(chosen.attack, seed, rival, evaluator, victim, time.process_time() - started, facts)


def trained(plan: Plan, epochs: int, folder: Path | None) -> SplitModel:
    """The model of the run's architecture after ``epochs`` on the poisoned set; read from ``folder`` if there."""
    config, model = plan.config, plan.model()
    name = f"{config.attack.name}-{config.run.seed}-{len(plan.central.data)}-{epochs}.pt"
    if folder is not None and (folder / name).is_file():
        model.load_state_dict(torch.load(folder / name, weights_only=True))
        return model.eval()
    settings = config.training.model_copy(update={"local_epochs": epochs})
    data = plan.central.data
    train(model, data.inputs, data.labels, settings, torch_generator(config.run.seed, "study-victim"))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), folder / name)
    return model


def repaired(model: SplitModel, settings: Mapping[str, Scalar], rival: str) -> dict[str, float]:
    """What a repair says of its work on ``model``, in place; the time of its split counts as its own."""
    named, _, splitter = rival.partition(":")
    repair, _, clean = named.partition("@")
    chosen: dict[str, Scalar] = {"repair.name": repair}
    if splitter:
        chosen["splitter.name"] = splitter
    if clean:
        chosen |= {f"repair.{repair}.clean": clean}
    own = {key: value for key, value in settings.items() if not key.startswith("repair.") or f".{repair}." in key}
    plan = Plan.make(load(own | chosen))
    assert plan.system.repair is not None
    given = plan.repair_inputs(SOLE)
    context = RepairContext(
        plan.data.info, torch_generator(plan.config.run.seed, "repair"), plan.device, suspects=given.suspects,
        clean=given.clean, untrained=given.untrained, training=plan.config.training,
    )  # fmt: skip
    return {**given.facts, **plan.system.repair.repair(model, context)}


def _print(
    attack: str,
    seed: int,
    rival: str,
    evaluator: Evaluator,
    model: SplitModel,
    seconds: float,
    facts: Mapping[str, float],
) -> None:
    measured = evaluator.measure(model)
    asr = 0.0 if measured.attack is None else measured.attack.asr
    said = " ".join(f"{name}={value:.4g}" for name, value in facts.items())
    print(attack, seed, rival, "|", f"{measured.clean.accuracy:.1f} {asr:.1f} {seconds:.0f} | {said}", flush=True)


if __name__ == "__main__":
    main()
