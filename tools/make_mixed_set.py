"""Write the same-class mixing fallback: server data without a generator. It is NOT a generative model.

Each image is ``lam * a + (1 - lam) * b``: ``a`` a public image, ``b`` one of its five nearest public images of the
same class (Euclidean distance between pixels), ``lam`` uniform in [0.3, 0.7]. Mixing real neighbours keeps nearly all
that the public images know, so a model trained on this set is close to one trained on real images: name it in every
result.

python -m tools.make_mixed_set --idx-dir DIR --out fedcrucible_assets/data/mixed_public.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tools.fashion_idx import ImageSet, UInt8Array, load_splits, write_npz


def nearest_same_class(images: UInt8Array, rows: np.ndarray, k: int) -> np.ndarray:
    """Positions ``[len(rows), k]`` of the ``k`` images nearest to each row of ``images [n, 28, 28]``, bar itself."""
    flat = images.reshape(len(images), -1).astype(np.float64)  # sums of squared bytes are exact
    squared = np.square(flat).sum(axis=1)
    distance = squared[rows, None] + squared[None, :] - 2.0 * flat[rows] @ flat.T
    distance[np.arange(len(rows)), rows] = np.inf
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


def mix(public: ImageSet, per_class: int, k: int, seed: int) -> dict[str, np.ndarray]:
    """Mixed images in class-interleaved order, with labels, both sources' published indices and the mixing weights."""
    rng = np.random.default_rng(seed)
    names = ("images", "labels", "first_indices", "second_indices", "lam")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for label in range(10):
        members = np.flatnonzero(public.labels == label)
        rows = rng.choice(len(members), per_class, replace=False)
        near = nearest_same_class(public.images[members], rows, k)
        first, second = members[rows], members[near[np.arange(per_class), rng.integers(0, k, per_class)]]
        lam = rng.uniform(0.3, 0.7, per_class).astype(np.float32)
        blend = lam[:, None, None] * public.images[first] + (1 - lam[:, None, None]) * public.images[second]
        parts["images"].append(np.rint(blend).astype(np.uint8))
        parts["labels"].append(np.full(per_class, label, np.uint8))
        parts["first_indices"].append(public.indices[first])
        parts["second_indices"].append(public.indices[second])
        parts["lam"].append(lam)
    # Deal the classes out in turn, so that every prefix is class-balanced.
    return {name: np.stack(arrays, axis=1).reshape(-1, *arrays[0].shape[1:]) for name, arrays in parts.items()}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idx-dir", type=Path, required=True, help="folder with the four IDX files of Fashion-MNIST")
    parser.add_argument("--out", type=Path, default=Path("fedcrucible_assets/data/mixed_public.npz"))
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--neighbours", type=int, default=5)
    parser.add_argument("--seed", type=int, default=2024)
    args = parser.parse_args()

    mixed = mix(load_splits(args.idx_dir)["public"], args.per_class, args.neighbours, args.seed)
    kind = "same-class mixing fallback (kNN mixup of public images); not a generative model"
    write_npz(args.out, **mixed, seed=np.array(args.seed), kind=np.array(kind))
    print(f"{args.out}: {len(mixed['labels'])} images, {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
