"""A folder of made-up pictures, large enough to see what memory and time `fedcrucible purify` takes.

python -m studies.big_folder --pictures 50000 --out /tmp/big
fedcrucible purify /tmp/big --architecture cnn --json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SIDE = 32


def write_pictures(out: Path, pictures: int, seed: int = 0) -> None:
    """``out/<class>/<number>.png``: noise around a brightness and a bar of the class's own, classes by turns."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    for name in CLASSES:
        (out / name).mkdir(parents=True, exist_ok=True)
    for number in range(pictures):
        label = number % len(CLASSES)
        pixels = rng.normal(60 + 15 * label, 25, (SIDE, SIDE, 3))
        pixels[:, 3 * label : 3 * label + 3] += 90
        picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        picture.save(out / CLASSES[label] / f"{number:06}.png", compress_level=1)


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=50_000, help="how many")
    parser.add_argument("--out", type=Path, required=True, help="the folder")
    asked = parser.parse_args()
    write_pictures(asked.out, asked.pictures)


if __name__ == "__main__":
    main()
