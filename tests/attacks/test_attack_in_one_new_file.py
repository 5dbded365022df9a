"""A poisoner and an upload attack are each one new file, wherever it lies; nothing else is edited."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks.adversary import ATTACKS
from attacks.contracts import check_poisoner, check_uploader
from attacks.poisoner import POISONERS
from attacks.uploader import UPLOADERS
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.rooms import ROOT
from server_app.plan import Plan
from tests.support.tiny_runs import TINY, settings

FRAME = '''
"""A grey frame around the image."""

from pydantic import Field
from torch import Tensor

from attacks.poisoner import POISONERS, PoisonContext, Poisoner


@POISONERS.register("frame")
class Frame(Poisoner):
    """Border of constant brightness."""

    paper = "an example"
    brightness: float = Field(0.5, ge=0.0, le=1.0, description="Value of the border pixels")

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        x = x.clone()
        x[:, :, [0, -1], :] = self.brightness
        x[:, :, :, [0, -1]] = self.brightness
        return x
'''
HALF = '''
"""Half an update."""

from pydantic import Field
from torch import Tensor

from attacks.uploader import UPLOADERS, CraftContext, Uploader


@UPLOADERS.register("half")
class Half(Uploader):
    """Upload a part of the poisoned update."""

    paper = "an example"
    part: float = Field(0.5, gt=0.0, description="Factor on the update")

    def craft(self, w_global: Tensor, w_benign: Tensor | None, w_malicious: Tensor, ctx: CraftContext) -> Tensor:
        return w_global + (w_malicious - w_global) * self.part
'''
SCRIPT = """
import json, sys
import my_frame, my_half
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from server_app.plan import Plan

for chosen in json.loads(sys.argv[1]):
    print(run_in_process(Plan.make(load(chosen))).parameters_sha256)
"""


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_frame.py").write_text(FRAME, encoding="utf-8")
    (tmp_path / "my_half.py").write_text(HALF, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("my_frame", "my_half"):
        importlib.import_module(module)
    yield
    for module in ("my_frame", "my_half"):
        sys.modules.pop(module)
    POISONERS._classes.pop("frame")
    UPLOADERS._classes.pop("half")


@pytest.mark.usefixtures("_files")
def test_each_runs_and_keeps_its_contract(runs_folder: Path) -> None:
    assert {"frame", "half"} <= set(ATTACKS)
    check_poisoner(POISONERS.create("frame"))
    check_uploader(UPLOADERS.create("half"), POISONERS.create("frame"))
    alone = run_in_process(Plan.make(load(settings(attack__name="frame", run__rounds=1))))
    both = run_in_process(Plan.make(load(settings(attack__name="half", attack__trigger="frame", run__rounds=1))))
    assert alone.asr_percent is not None
    assert both.asr_percent is not None
    assert alone.parameters_sha256 != both.parameters_sha256


@pytest.mark.usefixtures("_files")
def test_a_name_of_the_other_kind_is_taken(runs_folder: Path) -> None:
    for registry, name in ((POISONERS, "half"), (UPLOADERS, "badnets")):
        with pytest.raises(ValueError, match=f"'{name}' is already registered"):
            registry.register(name)(registry[next(iter(registry))])


@pytest.mark.slow
@pytest.mark.usefixtures("_files")
def test_their_fields_are_keys_where_they_are_imported_first(tmp_path: Path) -> None:
    changes = (
        {"attack.name": "frame"},
        {"attack.name": "frame", "attack.frame.brightness": 0.9},
        {"attack.name": "half", "attack.trigger": "frame", "attack.half.part": 0.25},
    )
    cells = [{**TINY, "run.rounds": 1, **change} for change in changes]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "FEDCRUCIBLE_RUNS": str(tmp_path / "runs"),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(cells)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    hashes = [line for line in done.stdout.splitlines() if len(line) == 64]
    assert len(set(hashes)) == 3
