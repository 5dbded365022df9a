"""Write the shipped slice of Fashion-MNIST: clients, validation, test, some public images, and every part's indices.

python -m tools.make_fashion_slice --idx-dir DIR --out fedcrucible_assets/data
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tools.fashion_idx import SPLIT_SIZES, load_splits, write_npz

SHIPPED = {"train": None, "val": None, "test": None, "public": 2_000}
"""Parts that ship, each with how many of its first images; None = all."""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idx-dir", type=Path, required=True, help="folder with the four IDX files of Fashion-MNIST")
    parser.add_argument("--out", type=Path, default=Path("fedcrucible_assets/data"))
    args = parser.parse_args()

    splits = load_splits(args.idx_dir)
    for name, count in SHIPPED.items():
        part = splits[name].first(count)
        path = args.out / f"fashion_mnist_{name}.npz"
        write_npz(path, images=part.images, labels=part.labels, indices=part.indices)
        print(f"{path}: {len(part)} images, {path.stat().st_size:,} bytes, classes {np.bincount(part.labels).tolist()}")
    path = args.out / "fashion_mnist_splits.npz"
    write_npz(path, **{f"{name}_indices": splits[name].indices for name in SPLIT_SIZES})
    print(f"{path}: indices of {', '.join(SPLIT_SIZES)}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
