"""Other triggers than the attacker's: universal patterns found on a purified model, beside those of a clean one.

    python -m studies.alternative_trigger cgd/table1-small --attack BadNets --out runs/alternative

A purified model may have forgotten the trigger that it was trained with and still open to others (abad2026alternative).
For an attack of a preset's ``[compare]`` table four kinds of model are tried, of each seed: one trained in the same way
on the clean set (``clean data alone``), the undefended one, and what each repair leaves of it.  On each a pattern is
trained by gradient, from training images of other classes than the target, until the model takes images with it for
the target: a square of free pixels at a fixed place, or changes of bounded size in the middle of the image.  ASR is
measured on the images of the preset's evaluation split that aren't of the target.  Such patterns exist for any model:
what a backdoor left behind is the difference to the clean model, in brackets, in points.

Models are trained as ``studies.cgd_tables`` trains them, and kept in the same way: with its ``--out`` they are shared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from attacks.poisoners.badnets import BadNets
from attacks.support.universal_pattern import Put, added, patched, universal_pattern
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible_core.config.load import load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.data import Labeled, model_inputs
from fedcrucible_core.learning.evaluation import predict
from fedcrucible_core.learning.models import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.weights import Weights
from server_app.plan import Plan
from server_app.strategy_of import strategy_of
from strategies.outcome import RoundOutcome
from strategies.population import SOLE
from strategies.repair_step import repaired
from studies.cgd_tables import victim

CLEAN, UNDEFENDED = "clean data alone", "undefended"
OWN, NONE = "own trigger", "no trigger"


@dataclass(frozen=True)
class Pattern:
    """A kind of pattern: where it lies, how it is put on images, how large its pixels may become."""

    title: str
    mask: Tensor
    """bool ``[C, H, W]``"""
    bounds: tuple[float, float]
    """Of its pixels, or of what is added to the image's."""
    adds: bool

    @property
    def put(self) -> Put:
        """Puts a trained pattern on images."""
        return added(self.mask) if self.adds else patched(self.mask)


@dataclass(frozen=True)
class Search:
    """How patterns are trained."""

    steps: int
    lr: float
    samples: int
    batch_size: int
    seed: int


def main() -> None:
    """Try all models of all seeds; print a line for each and a table at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="a preset, or a file, with a [compare] table that has attack and defence axes")
    parser.add_argument("--attack", default="BadNets", help="label of the attack axis")
    parser.add_argument("--defences", nargs="+", default=["CGD", "CGD, until forgotten"], help="labels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of all models")
    parser.add_argument("--sides", type=int, nargs="+", default=[3, 5], help="of squares, pixels at 32 pixels height")
    parser.add_argument("--places", nargs="+", default=["bottom-right", "top-left"], help="as attack.badnets.position")
    parser.add_argument("--region", type=int, default=12, help="side of the additive pattern in the middle; 0 = none")
    parser.add_argument("--budget", type=float, default=32.0, help="largest change by it, grey levels of 255")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--samples", type=int, default=512, help="training images that patterns are trained on")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True, help="folder of found.json and of the trained models")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict[str, dict[str, float]]] = []
    for seed in chosen.seeds:
        cells = matrix(Options(preset=chosen.preset, settings=chosen.set, seeds=[seed])).cells()
        settings = [(name, cell_of(cells, chosen.attack, name).settings) for name in chosen.defences]
        search = Search(chosen.steps, chosen.lr, chosen.samples, chosen.batch_size, seed)
        shape = Plan.make(load(settings[0][1])).data.info.image_shape
        patterns = patterns_of(shape, chosen.sides, chosen.places, chosen.region, chosen.budget)
        found.append(study(settings, patterns, search, chosen.out))
    (chosen.out / "found.json").write_text(json.dumps(found, indent=1))
    print_table(found)


def cell_of(cells: Sequence[Cell], attack: str, defence: str) -> Cell:
    """The cell with these labels. Raises SystemExit where there is none."""
    for cell in cells:
        if (str(cell.labels.get("attack")), str(cell.labels.get("defence"))) == (attack, defence):
            return cell
    known = sorted({f"{cell.labels.get('attack')} / {cell.labels.get('defence')}" for cell in cells})
    raise SystemExit(f"no cell {attack} / {defence}; there are {'; '.join(known)}")


def patterns_of(
    shape: tuple[int, int, int], sides: Sequence[int], places: Sequence[str], region: int, budget: float
) -> list[Pattern]:
    """Squares of each size in each place, and the additive pattern in the middle of images of this shape (C, H, W)."""
    found = [
        Pattern(f"{side}x{side} {place}", _square(side, place).mask(shape), (0.0, 1.0), False)
        for place in places
        for side in sides
    ]
    if region:
        most = budget / 255.0
        title = f"+-{budget:g}/255 on {region}x{region} center"
        found.append(Pattern(title, _square(region, "center").mask(shape), (-most, most), True))
    return found


def _square(side: int, place: str) -> BadNets:
    return BadNets.model_validate({"size": side, "position": place})


def study(
    settings: Sequence[tuple[str, Mapping[str, Scalar]]], patterns: Sequence[Pattern], search: Search, folder: Path
) -> dict[str, dict[str, float]]:
    """Model -> rate -> percent: CA, ASR of the attack's own trigger, of none, and of each pattern trained on it.

    ``settings``: the name of a repair, and its run's; they share all that comes before the repair.
    """
    shared = {key: value for key, value in settings[0][1].items() if not key.startswith("repair.")}
    made: dict[str, Callable[[], Weights]] = {
        CLEAN: partial(_trained, shared | {"attack.name": "none"}, folder),
        UNDEFENDED: partial(_trained, shared, folder),
        **{name: partial(_repaired, own, folder) for name, own in settings},
    }
    plan = Plan.make(load(shared | {"repair.name": "none"}))
    measure = strategy_of(plan, in_order=True).parts
    target, test = plan.config.poison.target_label, plan.data.measured(plan.config.task.eval_split)
    found = {}
    for name, weights in made.items():
        weights().load_into(measure.model)
        rates = measure.evaluate(measure.model, RoundOutcome(0), True)
        row = {"CA": rates.clean.accuracy, OWN: float("nan") if rates.attack is None else rates.attack.asr}
        row |= tried(measure.model, plan.data.train, test, target, patterns, search)
        found[name] = row
        print(f"seed {search.seed} | {name} | " + " ".join(f"{k}={v:.1f}" for k, v in row.items()), flush=True)
    return found


def tried(
    model: SplitModel, train: Labeled, test: Labeled, target: int, patterns: Sequence[Pattern], search: Search
) -> dict[str, float]:
    """Rate -> share of test images of other classes than the target that a model calls the target, in percent.

    Without any trigger, and with each pattern, trained on the model from training images.
    """
    model.eval()
    images = model_inputs(_drawn(_others(train, target), search))
    shown = model_inputs(_others(test, target))
    found = {NONE: _rate(model, shown, target)}
    for pattern in patterns:
        rng = torch_generator(search.seed, f"alternative-trigger {pattern.title}")
        low, high = pattern.bounds
        start = low + (high - low) * torch.rand(pattern.mask.shape, generator=rng)
        made = universal_pattern(
            model, images, start, pattern.put, target, bounds=pattern.bounds, steps=search.steps, lr=search.lr,
            batch_size=search.batch_size, rng=rng,
        )  # fmt: skip
        found[pattern.title] = _rate(model, pattern.put(shown, made), target)
    return found


def _trained(settings: Mapping[str, Scalar], folder: Path) -> Weights:
    own = dict(settings) | {"repair.name": "none"}
    return victim(Plan.make(load(own)), own, folder / "models")


def _repaired(settings: Mapping[str, Scalar], folder: Path) -> Weights:
    own = dict(settings) | {"run.checkpoint_every": 1}
    plan = Plan.make(load(own))
    weights = victim(plan, own, folder / "models")
    outcome = RoundOutcome(plan.config.run.rounds + 1, stage="repair")
    return repaired(strategy_of(plan, in_order=True).parts, SOLE, None, weights, None, outcome)


def _others(data: Labeled, target: int) -> Tensor:
    return data.inputs[data.labels != target]


def _drawn(images: Tensor, search: Search) -> Tensor:
    rng = torch_generator(search.seed, "alternative-trigger images")
    return images[torch.randperm(len(images), generator=rng)[: search.samples]]


def _rate(model: SplitModel, images: Tensor, target: int) -> float:
    said = predict(model, images, 512, next(model.parameters()).device)
    return 100.0 * float((said == target).double().mean())


def print_table(found: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    """Markdown: models downwards, rates across; means over seeds, and (difference to the clean model) of patterns."""
    rates = list(found[0][CLEAN])
    print("\n| model | " + " | ".join(rates) + " |")
    print("| --- |" + " --- |" * len(rates))
    for name in found[0]:
        print(f"| {name} | " + " | ".join(_shown(found, name, rate) for rate in rates) + " |")


def _shown(found: Sequence[Mapping[str, Mapping[str, float]]], name: str, rate: str) -> str:
    value = mean(one[name][rate] for one in found)
    if name == CLEAN or rate in ("CA", OWN, NONE):
        return f"{value:.1f}"
    return f"{value:.1f} ({value - mean(one[CLEAN][rate] for one in found):+.1f})"


if __name__ == "__main__":
    main()
