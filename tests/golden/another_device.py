"""All cells on another device, compared with the digests within tolerances."""

from __future__ import annotations

import logging
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.golden.cells import CELLS
from tests.golden.digest import differences, play, recorded

JOBS = 4  # a GPU serves several small runs at once


def on_device(device: str) -> None:
    """Compare all cells as computed on ``device`` with the digests, within tolerances; exit 1 if one is too far off."""
    far = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        with ProcessPoolExecutor(JOBS, get_context("spawn")) as workers:
            asked = {name: workers.submit(_off, name, Path(folder) / "runs", device) for name in CELLS}
            for name, answer in asked.items():
                lines = answer.result()
                far += bool(lines)
                print("\n".join(lines) or f"{name}: within tolerances", flush=True)
    print(f"{far} of {len(CELLS)} runs on {device} are further off than tolerated")
    raise SystemExit(far > 0)


def _off(name: str, records: Path, device: str) -> list[str]:
    logging.disable(logging.WARNING)
    try:
        found = play(name, records, {"run.device": device})
    except Exception as error:
        return [f"{name}: {type(error).__name__}: {error}"]
    return differences(name, recorded().runs[name], found, exact=False)
