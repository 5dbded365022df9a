"""The benchmark of aggregation rules measures what it says."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from defenses.base import RULES
from defenses.kernels.geometry import gram
from studies import aggregation
from studies.aggregation import Row, crowd, layout, main, measure
from studies.bounds import gram_bound, partition_bound

ROOT = Path(__file__).resolve().parents[2]


def test_a_light_run_writes_its_table(tmp_path: Path) -> None:
    arguments = ["--rules", "krum", "median", "--shapes", "8x3000", "--repeats", "1", "--no-memory"]
    main([*arguments, "--out", str(tmp_path)])
    frame = pd.read_csv(tmp_path / "aggregation.csv")
    assert frame["rule"].tolist() == ["krum", "median"]
    assert (frame["CPU ms"] > 0).all()
    assert frame["Gram ms"].notna().tolist() == [True, False]
    assert frame["partition ms"].notna().tolist() == [False, True]
    assert frame["Flower / ours"].notna().all()
    assert "| krum |" in (tmp_path / "aggregation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_can_be_measured_or_says_why_not(name: str) -> None:
    row = measure(name, crowd(12, 3000), 1, with_rivals=False)
    assert row.ms > 0 or row.skipped.startswith("skipped: ")


@pytest.mark.parametrize("d", [7, 2000, 3000, 1_000_000, 11_200_000])
def test_the_layout_covers_every_parameter_once(d: int) -> None:
    slots = layout(d)
    assert slots[0].start == 0
    assert slots[-1].stop == d
    assert all(a.stop == b.start for a, b in itertools.pairwise(slots))


def test_the_bound_is_the_product_that_rules_need() -> None:
    updates = crowd(9, 5000)
    np.testing.assert_allclose(gram_bound(updates), gram(updates, centred=True).numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.sort(partition_bound(updates)), np.sort(updates[:, -1].numpy()), rtol=0, atol=0)


def test_what_is_required_is_checked() -> None:
    fast = Row("krum", aggregation.HELD_AT, ms=600.0, gram_ms=400.0, grams=1, memory=1.1, rivals={"byzfl torch": 900.0})
    assert fast.limit_ms == 650.0
    assert fast.verdict == "ok"
    assert Row("krum", aggregation.HELD_AT, ms=651.0, gram_ms=400.0, grams=1, memory=1.4).verdict == "time, memory"
    assert Row("median", aggregation.HELD_AT, ms=301.0, partition_ms=200.0).verdict == "time"
    slow = Row("median", "20x10", ms=301.0, partition_ms=200.0, rivals={"Flower": 300.0})
    assert slow.verdict == "slower than Flower"


def test_memory_that_a_child_takes_is_seen_beside_a_larger_parent() -> None:
    """On Linux ``ru_maxrss`` of a child begins at its parent's, and a smaller child seems to take nothing."""
    held = torch.ones(100_000_000)
    code = (
        "import torch; from studies.aggregation import peak_bytes; before = peak_bytes();"
        "held = torch.ones(50_000_000); print((peak_bytes() - before) / 2e8)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0.9 < float(done.stdout) < 1.5
    assert held.numel() == 100_000_000
