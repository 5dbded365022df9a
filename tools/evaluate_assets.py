"""Measure the shipped models again: every figure in their model cards comes from this command.

python -m tools.evaluate_assets --idx-dir DIR

Prints the zero-shot accuracy of the tiny CLIP on the validation and test images, what BadNets' white 3x3 patch does to
it, and the GAN-test of the flow generator (see tools/gan_test.py). Sizes and sampling time come with them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from transformers.utils import logging

from fedcrucible_core.foundation.generators.flow import FlowGenerator
from tools.clip_zero_shot import report
from tools.fashion_idx import load_splits
from tools.gan_test import gan_test
from tools.torch_tools import pick_device, to_tensors


def print_sizes(assets: Path) -> None:
    """Bytes of each shipped file, and of all."""
    files = sorted(p for p in assets.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"})
    for path in files:
        print(f"{path.stat().st_size:>12,}  {path.relative_to(assets)}")
    print(f"{sum(p.stat().st_size for p in files):>12,}  in all", flush=True)


def print_clip(folder: Path, idx_dir: Path, device: torch.device) -> None:
    """Zero-shot accuracy and the behaviour under the trigger, on validation and test images."""
    splits = load_splits(idx_dir)
    for name in ("val", "test"):
        print(f"clip, {name}: {json.dumps(report(folder, *to_tensors(splits[name]), device))}", flush=True)


def print_sampling_time(folder: Path, device: torch.device, count: int = 2000) -> None:
    """Seconds to draw a server's synthetic set."""
    generator = FlowGenerator.from_folder(folder, device)
    wall, busy = time.perf_counter(), time.process_time()
    generator.sample(torch.arange(count) % 10, torch.Generator().manual_seed(0))
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    threads = torch.get_num_threads()
    print(
        f"generator: {count} images in {wall:.1f} s ({busy:.1f} CPU seconds, {threads} threads, {device})", flush=True
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idx-dir", type=Path, required=True, help="folder with the four IDX files of Fashion-MNIST")
    parser.add_argument("--assets", type=Path, default=Path("fedcrucible_assets"))
    parser.add_argument(
        "--parts", nargs="+", choices=("sizes", "clip", "generator"), default=["sizes", "clip", "generator"]
    )
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the GAN-test")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()

    logging.disable_progress_bar()
    torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    if "sizes" in args.parts:
        print_sizes(args.assets)
    if "clip" in args.parts:
        print_clip(args.assets / "clip-tiny-fashion", args.idx_dir, device)
    if "generator" in args.parts:
        folder, mixed = args.assets / "flow-fashion", args.assets / "data" / "mixed_public.npz"
        print_sampling_time(folder, device)
        sources = ("generated", "real", "mixed")
        result = gan_test(args.idx_dir, folder, mixed, device, seeds=args.seeds, test=True, sources=sources)
        for name, figures in result.items():
            print(f"{name}: {json.dumps(figures)}", flush=True)


if __name__ == "__main__":
    main()
