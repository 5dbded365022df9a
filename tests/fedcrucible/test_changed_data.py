"""Comparisons whose pictures have changed since their runs were made."""

from pathlib import Path

import pandas as pd

from fedcrucible.comparison.plan.request import Options
from fedcrucible.comparison.session import Request, compare
from fedcrucible_core.learning.datasets import load
from tests.support.own_pictures import picture, write_folder


def request_for(folder: Path, pictures: Path, seeds: str) -> Request:
    settings = ("run.rounds=1", "task.dataset=folder", f"task.data_dir={pictures}", "task.train_samples=0",
                "task.test_samples=0", "task.image_size=16", "model.name=cnn", "partition.name=iid")  # fmt: skip
    return Request(
        Options(preset="smoke", settings=settings, strategies="fedavg", seeds=seeds), 1, out=folder, quiet=True
    )


def test_runs_on_pictures_that_have_changed_since_are_counted(tmp_path: Path) -> None:
    pictures = write_folder(tmp_path / "pictures", 12)
    outcome, folder = compare(request_for(tmp_path / "out", pictures, "1"))
    assert outcome.other_data == 0
    (before,) = pd.read_csv(folder / "results.csv")["data_sha256"]

    picture(1, 99).save(pictures / "apple" / "000.png")
    load._load.cache_clear()
    load._load_task.cache_clear()
    outcome, _ = compare(request_for(folder, pictures, "1,2"))
    assert outcome.results.ran == 1
    assert outcome.other_data == 1
    old, new = pd.read_csv(folder / "results.csv")["data_sha256"]
    assert old == before != new
    for name in ("results.md", "report.html"):
        assert "1 runs were made from other images or labels than those that are there now" in (
            folder / name
        ).read_text("utf-8")
