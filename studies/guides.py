"""How well guides of texts know the classes without any label: zero-shot accuracy on the validation split.

    python -m studies.guides --dataset wn4 wn6 --model minilm wordllama

Prints one line for each data set, guide and kind of prompts: class names alone, general templates, the prompts that
ship (and these centred), and for comparison a linear probe trained on the public slice's embeddings.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from defenses.fresh_models import train_probe
from defenses.splitters.public_probe import PublicProbe
from fedcrucible_core.config.sections import GuideSection, TaskSection
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.foundation.class_prompts import TEXT_TEMPLATES
from fedcrucible_core.foundation.guides import guide_of
from fedcrucible_core.foundation.public_slice import public_samples
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.evaluation import classes_of
from fedcrucible_core.learning.rng import torch_generator

GENERAL = "|".join(TEXT_TEMPLATES)
KINDS: dict[str, dict[str, object]] = {
    "names": {"prompts": "templates", "templates": "{}"},
    "templates": {"prompts": "templates", "templates": GENERAL},
    "prompts": {},
    "prompts, centred": {"centre": True},
}
"""Column -> settings of the guide."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", default=["wn4", "wn6"])
    parser.add_argument("--model", nargs="+", default=["minilm", "wordllama"])
    parser.add_argument("--cache-dir", default="", help="folder of kept embeddings; empty = a temporary one")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'':22}" + "".join(f"{kind:>18}" for kind in (*KINDS, "probe")))
        for name in chosen.dataset:
            data = load_task(TaskSection.model_validate({"dataset": name, "train_samples": 0, "test_samples": 0}))
            for model in chosen.model:
                found = accuracies(model, data.info, data.validation, chosen.cache_dir or folder)
                print(f"{name + ' ' + model:22}" + "".join(f"{value:18.1f}" for value in found.values()), flush=True)


def accuracies(model: str, info: DataInfo, data: Labeled, cache_dir: str | Path) -> dict[str, float]:
    """Accuracy in percent by kind of prompts, and of the probe."""
    found = {}
    for kind, settings in KINDS.items():
        section = GuideSection.model_validate({"model": model, "cache_dir": str(cache_dir), **settings})
        guide = guide_of(section, info, torch.device("cpu"))
        found[kind] = _percent(guide.targets(data.for_model(), info.class_names).logits, data)
    return {**found, "probe": _probe(guide, info, data)}


def _probe(guide: Guide, info: DataInfo, data: Labeled) -> float:
    wanted = PublicProbe().needs.fresh
    assert wanted is not None
    probe = train_probe(wanted, public_samples(info), guide, info.num_classes, torch_generator(0, "study/probe"))
    return _percent(probe(data.for_model()), data)


def _percent(logits: torch.Tensor, data: Labeled) -> float:
    return 100.0 * float((classes_of(logits).cpu() == data.labels).double().mean())


if __name__ == "__main__":
    main()
