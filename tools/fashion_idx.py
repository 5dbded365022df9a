"""Fashion-MNIST as its authors publish it (IDX files), and the one split of it that every shipped asset is made from.

The 60,000 training images are cut into disjoint parts by one fixed stratified permutation, so that each prefix of each
part is as class-balanced as it can be:

========== ======== ==================================================================================
part       images   use
========== ======== ==================================================================================
public     10,000   trains the shipped CLIP and the shipped generator; the first 2,000 images ship, for controls
val        2,000    every choice of a hyper-parameter; never trained on
train      30,000   the pool that federated clients draw from
reserve    18,000   unused
========== ======== ==================================================================================

The published test set of 10,000 images stays whole and is only ever measured on.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
IndexArray = npt.NDArray[np.uint16]

CLASS_NAMES: tuple[str, ...] = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
SPLIT_SEED = 1234
SPLIT_SIZES: dict[str, int] = {"public": 10_000, "val": 2_000, "train": 30_000, "reserve": 18_000}


@dataclass(frozen=True)
class ImageSet:
    """Images ``[n, 28, 28]`` uint8, labels ``[n]`` uint8, and each image's row in its published file ``[n]`` uint16."""

    images: UInt8Array
    labels: UInt8Array
    indices: IndexArray

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> ImageSet:
        """The first ``count`` images; None = all."""
        return ImageSet(self.images[:count], self.labels[:count], self.indices[:count])


def read_idx(path: Path) -> UInt8Array:
    """Read one IDX file of unsigned bytes, gzipped or not."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is no IDX file of unsigned bytes (its first bytes are {raw[:4]!r})")
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(tuple(int(n) for n in shape))


def _read_pair(idx_dir: Path, stem: str) -> tuple[UInt8Array, UInt8Array]:
    arrays = []
    for name in (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"):
        found = [p for p in (idx_dir / f"{name}.gz", idx_dir / name) if p.exists()]
        if not found:
            raise FileNotFoundError(f"{idx_dir / name}[.gz] is missing; --idx-dir needs the four Fashion-MNIST files")
        arrays.append(read_idx(found[0]))
    return arrays[0], arrays[1]


def stratified_order(labels: UInt8Array, seed: int = SPLIT_SEED) -> IndexArray:
    """Order all images so that every run of ten holds each class once: shuffle within classes, then deal them out.

    ``labels`` must hold ten equally large classes.
    """
    counts = np.bincount(labels, minlength=10)
    if len(counts) != 10 or len(set(counts.tolist())) != 1:
        raise ValueError(f"ten equally large classes are needed, found sizes {counts.tolist()}")
    rng = np.random.default_rng(seed)
    by_class = np.stack([rng.permutation(np.flatnonzero(labels == c)) for c in range(10)])  # [10, n / 10]
    hands = np.stack([rng.permutation(10) for _ in range(by_class.shape[1])])  # [n / 10, 10], the order of classes
    return by_class.T[np.arange(len(hands))[:, None], hands].reshape(-1).astype(np.uint16)


def load_splits(idx_dir: Path) -> dict[str, ImageSet]:
    """All parts of the training file by name, and ``test``."""
    images, labels = _read_pair(idx_dir, "train")
    order = stratified_order(labels)
    splits: dict[str, ImageSet] = {}
    start = 0
    for name, size in SPLIT_SIZES.items():
        part = order[start : start + size]
        splits[name] = ImageSet(images[part], labels[part], part)
        start += size
    test_images, test_labels = _read_pair(idx_dir, "t10k")
    splits["test"] = ImageSet(test_images, test_labels, np.arange(len(test_labels), dtype=np.uint16))
    return splits


def write_npz(path: Path, **arrays: npt.NDArray[np.generic]) -> None:
    """``np.savez_compressed`` with fixed time stamps, so that the same arrays give the same bytes on every run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)
