"""Train the class-conditional flow generator on the 10,000 public images and write it as a folder.

python -m tools.train_generator --idx-dir DIR --out fedcrucible_assets/flow-fashion

The loss is flow matching with t from a logit-normal distribution (esser2024); the label is hidden one time in
ten for classifier-free guidance; the weights kept are an exponential moving average. How good the images are as
training data is measured by tools/gan_test.py.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import torch
from torch import Tensor

from fedcrucible_core.foundation.generators.flow import FlowConfig, FlowGenerator, FlowUNet, flow_matching_loss
from tools.fashion_idx import load_splits
from tools.torch_tools import jitter, pick_device, to_tensors


def learning_rate(step: int, steps: int, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, then a cosine down to 1% of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(network: FlowUNet, images: Tensor, labels: Tensor, args: argparse.Namespace) -> FlowUNet:
    """Fit the network to images ``[n, 1, 28, 28]`` in [0, 1]; returns the moving average of its weights."""
    device = next(network.parameters()).device
    draw = torch.Generator(device).manual_seed(args.seed)
    shake = torch.Generator().manual_seed(args.seed)
    images, labels = images.to(device), labels.to(device)
    average = copy.deepcopy(network).requires_grad_(False)
    averaged: list[Tensor] = list(average.parameters())
    trained: list[Tensor] = list(network.parameters())
    fused = device.type == "cuda"
    optimiser = torch.optim.AdamW(network.parameters(), lr=args.lr, weight_decay=args.weight_decay, fused=fused)
    null_label, n = network.config.num_classes, args.batch_size
    total = torch.zeros((), device=device)
    started = time.perf_counter()
    network.train()
    for step in range(min(args.steps, args.stop_after)):
        rows = torch.randint(len(images), (n,), generator=draw, device=device)
        x, y = images[rows], labels[rows]
        if args.shift > 0 or args.flip:
            x = jitter(x, shake, shift=args.shift, scale=0.0, turn=0.0, flip=args.flip)
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
        noise = torch.randn(x.shape, generator=draw, device=device)
        t = torch.randn(n, generator=draw, device=device).sigmoid()
        drop = torch.rand(n, generator=draw, device=device) < args.hide_label
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.lr)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            loss = flow_matching_loss(network, x, y, noise, t, drop, null_label)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            decay = min(args.ema, (step + 1) / (step + 10))
            torch._foreach_lerp_(averaged, trained, 1 - decay)
        total += loss.detach()
        if (step + 1) % args.report_every == 0:
            mean, seconds = total.item() / args.report_every, time.perf_counter() - started
            print(f"step {step + 1}/{args.steps}: loss {mean:.4f}, {seconds:.0f} s", flush=True)
            total.zero_()
            FlowGenerator(average, device).save(args.out)  # an interrupted run leaves what it has
    return average.eval()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idx-dir", type=Path, required=True, help="folder with the four IDX files of Fashion-MNIST")
    parser.add_argument("--out", type=Path, default=Path("fedcrucible_assets/flow-fashion"))
    parser.add_argument("--steps", type=int, default=5_500)
    parser.add_argument("--stop-after", type=int, default=3_500, help="stop on the way: the schedule spans --steps")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--hide-label", type=float, default=0.1)
    parser.add_argument("--shift", type=float, default=0.0, help="augmentation: random shift, in pixels")
    parser.add_argument("--flip", action="store_true", help="augmentation: mirror half of the images")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--middle-width", type=int, default=96)
    parser.add_argument("--middle-blocks", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--sample-steps", type=int, default=10, help="written into the model's own settings")
    parser.add_argument("--guidance", type=float, default=1.0, help="written into the model's own settings")
    parser.add_argument("--report-every", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    device = pick_device(args.device)
    config = FlowConfig(
        width=args.width,
        middle_width=args.middle_width,
        middle_blocks=args.middle_blocks,
        dropout=args.dropout,
        steps=args.sample_steps,
        guidance=args.guidance,
    )
    network = FlowUNet(config).to(device).to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in network.parameters()):,} weights, on {device}", flush=True)
    images, labels = to_tensors(load_splits(args.idx_dir)["public"])
    FlowGenerator(train(network, images, labels, args), device).save(args.out)
    print(f"{args.out}: {sum(f.stat().st_size for f in args.out.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
