"""Small runs of every system, rule and attack end in the numbers that are written down in ``digests.json``.

``python -m tests.golden`` writes them anew.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from attacks.adversary import ATTACKS
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.partition.base import PARTITIONERS
from fedcrucible_core.records.reader import read
from strategies.systems import strategy_names
from tests.golden.cells import CELLS, STOPPED
from tests.golden.digest import Digest, Golden, Machine, differences, play, project, this_machine

pytestmark = pytest.mark.filterwarnings("ignore::fedcrucible_core.config.old_keys.OldKeyWarning")
"""The cells were written down under the keys of then, and so prove that these still load."""

LARGE = {"resnet18", "preact-resnet18", "vgg16", "mobilenet-v2"}
LIBRARIES = {"torchvision", "timm"}
LEFT_OUT = {"by-column", "distilbert", "ctrl"} | LARGE | LIBRARIES
"""Needs a column of ids, which the data that ship don't have; needs weights that don't ship; needs colour images, which
don't ship; take a minute each; change with the libraries' versions."""


@pytest.mark.parametrize("name", CELLS)
def test_a_run_ends_in_its_golden_numbers(name: str, golden: Golden, exact: bool, records: Path) -> None:
    wrong = differences(name, golden.runs[name], play(name, records), exact=exact)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", STOPPED)
def test_a_resumed_run_equals_the_whole_one(name: str, golden: Golden) -> None:
    assert golden.runs[name] == golden.runs[STOPPED[name][0]]


def test_digests_and_cells_name_the_same_runs(golden: Golden) -> None:
    assert list(golden.runs) == list(CELLS)


def test_other_runs_differ_from_each_other(golden: Golden) -> None:
    rounds = [digest.metrics_sha256 for digest in golden.runs.values()]
    assert len(set(rounds)) == len(rounds) - len(STOPPED)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("strategy", strategy_names()),
        ("attack.name", list(ATTACKS)),
        ("model.name", list(MODELS)),
        ("partition.name", list(PARTITIONERS)),
    ],
    ids=["strategy", "attack", "model", "partition"],
)
def test_every_component_has_a_run(key: str, names: list[str]) -> None:
    assert set(names) - LEFT_OUT == {settings[key] for settings in CELLS.values()}


def test_the_run_that_is_to_start_over_does(tmp_path: Path) -> None:
    play("fldetector-restart", tmp_path)
    notes = [note for row in read(tmp_path / "fldetector-restart", arrays=False).rounds[:-1] for note in row.notes]
    assert any("training starts over" in note for note in notes), notes


# --- the comparison itself --------------------------------------------------------------------------------------------

GOLDEN = Digest(
    parameters_sha256="aa", metrics_sha256="bb", ma_percent=80.0, asr_percent=None, base_rate_percent=1.25,
    parameters=4, norm=10.0, projection=(3.0, -2.0),
)  # fmt: skip


def compared(exact: bool, rounds: bool = True, **changes: object) -> list[str]:
    """Names of the figures in which ``GOLDEN`` with changes is found to differ."""
    found = GOLDEN.model_copy(update=changes)
    return [line.split(" is ")[0] for line in differences("run", GOLDEN, found, exact=exact, rounds=rounds)]


def test_equal_digests_pass() -> None:
    assert compared(exact=True) == compared(exact=False) == []


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("parameters_sha256", "ab"),
        ("metrics_sha256", "ab"),
        ("ma_percent", 80.1),
        ("asr_percent", 0.0),
        ("base_rate_percent", None),
        ("parameters", 5),
        ("norm", 10.000001),
        ("projection", (3.0, -2.000001)),
    ],
)
def test_on_the_recorded_machine_every_figure_must_be_equal(figure: str, value: object) -> None:
    assert compared(exact=True, **{figure: value}) == [f"run: {figure}"]


@pytest.mark.parametrize("figure", ["parameters_sha256", "metrics_sha256"])
def test_elsewhere_hashes_say_nothing(figure: str) -> None:
    assert compared(exact=False, **{figure: "ab"}) == []


@pytest.mark.parametrize(
    ("figure", "near", "far"),
    [
        ("norm", 10.009, 10.011),
        ("norm", 9.991, math.nan),
        ("projection", (3.009, -2.009), (3.0, -2.011)),
        ("projection", (2.991, -1.991), (3.0,)),
        ("ma_percent", 82.0, 83.0),
        ("ma_percent", 78.0, 77.0),
        ("ma_percent", 80.0, None),
        ("ma_percent", 80.0, math.nan),
        ("asr_percent", None, 1.0),
        ("base_rate_percent", 3.25, 4.25),
        ("parameters", 4, 5),
    ],
)
def test_elsewhere_near_passes_and_far_fails(figure: str, near: object, far: object) -> None:
    assert compared(exact=False, **{figure: near}) == []
    assert compared(exact=False, **{figure: far}) == [f"run: {figure}"]


def test_the_rounds_hash_can_be_left_out() -> None:
    assert compared(exact=True, rounds=False, metrics_sha256="ab") == []
    assert compared(exact=True, rounds=False, parameters_sha256="ab") == ["run: parameters_sha256"]


def test_the_message_says_run_figure_and_both_values() -> None:
    found = GOLDEN.model_copy(update={"ma_percent": 77.0})
    assert differences("flame", GOLDEN, found, exact=False) == ["flame: ma_percent is 77.0, recorded 80.0"]


def test_any_other_version_is_another_machine() -> None:
    here = this_machine()
    packages = {**here.packages, "torch": "0.1"}
    others: list[Machine] = [
        here.model_copy(update=change)
        for change in ({"processor": "x"}, {"python": "3"}, {"vector_instructions": "x"}, {"packages": packages})
    ]
    assert here == this_machine()
    assert here not in others


def test_the_projection_sees_a_permutation() -> None:
    vector = np.arange(12.0)
    assert np.abs(project(vector) - project(vector[::-1])).max() > 0.1
    assert np.allclose(project(2 * vector), 2 * project(vector))
