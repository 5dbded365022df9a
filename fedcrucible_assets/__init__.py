"""Data and weights that ship with FedCrucible, and the one way to find them."""

from __future__ import annotations

import os
from pathlib import Path

ENV_VAR = "FEDCRUCIBLE_ASSETS"
"""When set, the folder to look in instead of this package's own."""

ASSETS: dict[str, str] = {
    "fashion-train": "data/fashion_mnist_train.npz",
    "fashion-val": "data/fashion_mnist_val.npz",
    "fashion-test": "data/fashion_mnist_test.npz",
    "fashion-public": "data/fashion_mnist_public.npz",
    "fashion-splits": "data/fashion_mnist_splits.npz",
    "mixed-public": "data/mixed_public.npz",
    "wordnet-texts": "wordnet/texts.jsonl.gz",
    "wordnet-tokenizer": "wordnet/tokenizer.json",
    "text-prompts": "prompts/text_classes.toml",
    "clip-tiny-fashion": "clip-tiny-fashion",
    "flow-fashion": "flow-fashion",
}
"""Short name -> path inside the folder of assets."""


class AssetMissingError(FileNotFoundError):
    """A shipped file is not where it should be."""


def assets_root() -> Path:
    """The folder of assets: ``$FEDCRUCIBLE_ASSETS`` where set, else this package's own folder."""
    override = os.environ.get(ENV_VAR)
    return Path(override).expanduser() if override else Path(__file__).resolve().parent


def asset_path(name: str) -> Path:
    """Path of the asset with this short name (see ``ASSETS``), or with this path inside the folder of assets.

    Raises:
        AssetMissingError: nothing is there; the message names the path and what to do.
    """
    path = assets_root() / ASSETS.get(name, name)
    if not path.exists():
        raise AssetMissingError(
            f"asset {name!r} is missing: looked for {path}. It ships with the package: reinstall with "
            f"`pip install fedcrucible`, or from a full checkout with `pip install -e .`, or set {ENV_VAR} to a folder "
            f"that holds the assets. Known assets: {', '.join(ASSETS)}."
        )
    return path
