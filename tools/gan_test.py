"""GAN-test: how well does a small ResNet do on real images when it has only ever seen generated ones?

python -m tools.gan_test --idx-dir DIR --generator fedcrucible_assets/flow-fashion

For each seed the same network is trained by the same recipe on 2,000 generated images, on 2,000 real public images
(another 2,000 for each seed) and, if asked (--sources), on the shipped mixed set. It is measured on the validation
images and, with --test, on the test images.
After ravuri2019cas, "Classification Accuracy Score for Conditional Generative Models".
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedcrucible_core.foundation.generators.flow import FlowGenerator
from tools.fashion_idx import load_splits
from tools.torch_tools import pick_device, to_tensors

Labelled = tuple[Tensor, Tensor]


class Block(nn.Module):
    """Residual block of two 3x3 convolutions."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
        self.conv2, self.norm2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)
        self.skip: nn.Module = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``[n, c_in, h, w]`` -> ``[n, c_out, h / stride, w / stride]``."""
        h = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(h + self.skip(x))


def small_resnet() -> nn.Sequential:
    """ResNet-8 of width 16 with a stride-2 stem: 78k weights, ``[n, 1, 28, 28]`` in [0, 1] -> ``[n, 10]``."""
    stem = [nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def train_classifier(data: Labelled, seed: int, epochs: int, device: torch.device) -> nn.Sequential:
    """SGD with momentum on a one-cycle schedule, batches of 32, no augmentation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = small_resnet()
    model = model.to(device).to(memory_format=torch.channels_last).train()
    generator = torch.Generator().manual_seed(seed)
    images, labels = data[0].to(device), data[1].to(device)
    steps = epochs * (len(images) // 32)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator).to(device)
        for rows in order[: len(images) // 32 * 32].view(-1, 32):
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, data: Labelled, device: torch.device) -> float:
    """Per cent of images ``[n, 1, 28, 28]`` that get their label."""
    chunks = (data[0][start : start + 1000] for start in range(0, len(data[0]), 1000))
    predicted = torch.cat([model(chunk.to(device)).argmax(1).cpu() for chunk in chunks])
    return 100 * (predicted == data[1]).float().mean().item()


def nearest_distance(images: Tensor, reference: Tensor) -> float:
    """Mean Euclidean pixel distance from each image to its nearest reference image: near 0 means copies."""
    return torch.cdist(images.flatten(1), reference.flatten(1)).min(dim=1).values.mean().item()


def gan_test(
    idx_dir: Path,
    generator_dir: Path,
    mixed: Path,
    device: torch.device,
    *,
    count: int = 2000,
    seeds: int = 5,
    epochs: int = 15,
    test: bool = False,
    sources: Sequence[str] = ("generated", "real"),
    steps: int | None = None,
    guidance: float | None = None,
) -> dict[str, dict[str, object]]:
    """Accuracies per training set and evaluation set, as mean, sample standard deviation and single values."""
    splits = load_splits(idx_dir)
    public = to_tensors(splits["public"])
    targets = {name: to_tensors(splits[name]) for name in (("val", "test") if test else ("val",))}
    generator = FlowGenerator.from_folder(generator_dir, device)
    labels = torch.arange(count) % 10
    scores: dict[str, dict[str, list[float]]] = {}
    distances: list[float] = []
    for seed in range(seeds):
        rows = torch.arange(seed * count, (seed + 1) * count) % len(public[0])
        sets: dict[str, Labelled] = {"real": (public[0][rows], public[1][rows])}
        if "generated" in sources:
            batch = 50 if device.type == "cpu" else count
            drawn = torch.Generator().manual_seed(seed)
            sets["generated"] = generator.sample(labels, drawn, steps, guidance, batch_size=batch), labels
            distances.append(nearest_distance(sets["generated"][0], public[0]))
        if "mixed" in sources:
            with np.load(mixed) as stored:
                pixels = torch.from_numpy(stored["images"][:count]).float().unsqueeze(1) / 255
                sets["mixed"] = pixels, torch.from_numpy(stored["labels"][:count]).long()
        for source in sources:
            model = train_classifier(sets[source], seed, epochs, device)
            for target, held_out in targets.items():
                score = accuracy(model, held_out, device)
                scores.setdefault(source, {}).setdefault(target, []).append(score)
                print(f"seed {seed}, {source} -> {target}: {score:.2f}", flush=True)
    result: dict[str, dict[str, object]] = {
        f"{source} -> {target}": {
            "mean": round(statistics.mean(values), 2),
            "sd": round(statistics.stdev(values), 2) if len(values) > 1 else 0.0,
            "values": [round(value, 2) for value in values],
        }
        for source, per_target in scores.items()
        for target, values in per_target.items()
    }
    if distances:
        result["distance to the nearest public image"] = {
            "generated": round(statistics.mean(distances), 3),
            "val": round(nearest_distance(targets["val"][0], public[0]), 3),
        }
    return result


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idx-dir", type=Path, required=True, help="folder with the four IDX files of Fashion-MNIST")
    parser.add_argument("--generator", type=Path, default=Path("fedcrucible_assets/flow-fashion"))
    parser.add_argument("--mixed", type=Path, default=Path("fedcrucible_assets/data/mixed_public.npz"))
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--steps", type=int, default=None, help="sampling steps instead of the model's own")
    parser.add_argument("--guidance", type=float, default=None, help="guidance instead of the model's own")
    parser.add_argument("--sources", nargs="+", choices=("generated", "real", "mixed"), default=["generated", "real"])
    parser.add_argument("--test", action="store_true", help="measure the test images too")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    result = gan_test(
        args.idx_dir,
        args.generator,
        args.mixed,
        pick_device(args.device),
        count=args.count,
        seeds=args.seeds,
        epochs=args.epochs,
        test=args.test,
        sources=args.sources,
        steps=args.steps,
        guidance=args.guidance,
    )
    for name, figures in result.items():
        print(name, json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
