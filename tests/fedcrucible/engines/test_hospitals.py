"""docs/your-data.md's three hospitals: its deployment commands, for real, on a machine of one's own."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from client_app.app import app
from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import read_rounds
from server_app.plan import Plan
from server_app.run import execute
from tests.support.own_pictures import write_folder

pytestmark = pytest.mark.slow
PAGE = Path(__file__).resolve().parents[3] / "docs" / "your-data.md"
HOSPITALS = 3


def option(name: str) -> str:
    """What the page gives an option of a command in a block that no other test runs."""
    blocks = "\n".join(re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    found = re.search(rf'--{name} ("[^"]+")', blocks)
    assert found is not None
    (value,) = shlex.split(found[1].replace("\\\n", ""))
    return value


def run_settings(server: Path, records: Path) -> dict[str, Scalar]:
    """The page's ``--run-config`` with folders of this machine, for one round."""
    settings: dict[str, Scalar] = {}
    for pair in option("run-config").split():
        key, _, value = pair.partition("=")
        settings[key] = tomllib.loads(f"value = {value}")["value"]
    return settings | {"task.data_dir": str(server), "output.dir": str(records), "run.rounds": 1}


def node(partition: int, folder: Path) -> NodeSpec:
    """A hospital whose ``--node-config`` is the page's, with its own number and folder."""
    spec = NodeSpec(partition, "benign", data_dir=str(folder), own_data=True)
    page = option("node-config").replace("'/data/xray'", f"'{folder}'")
    assert spec.config(HOSPITALS) == page.replace("partition-id=0", f"partition-id={partition}")
    return spec


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """All classes in two sizes; two classes in a third size; one class, spelt otherwise, in grey."""
    every = write_folder(tmp_path / "hospital-a", 6)
    few = write_folder(tmp_path / "hospital-bb", 6, ("apple", "banana"), (64, 20))
    grey = write_folder(tmp_path / "hospital-ccc", 6, ("Apple",), (32, 32))
    for file in grey.rglob("*.png"):
        Image.open(file).convert("L").save(file)
    return [every, few, grey]


def test_three_hospitals_train_on_all_they_have(folders: list[Path], tmp_path: Path) -> None:
    server = write_folder(tmp_path / "test-set", 10)
    settings = run_settings(server, tmp_path / "records")
    with Deployment([node(number, folder) for number, folder in enumerate(folders)]) as deployment:
        summary = deployment.run(settings, lambda line: None)
    assert summary.dropped == {}
    assert summary.state == "ok"
    first, last = read_rounds(Path(summary.folder) / files.METRICS)
    assert first.notes == ("clients 0 to 2 on data of their nodes' own (own-data)",)
    assert last.participants == (0, 1, 2)
    assert any("27 of its 30 training images are set aside for tests" in note for note in summary.notes)
    plan = Plan.make(load(settings))
    assert len(plan.data.test) == 27
    nodes = {number: {"data-dir": str(folder), "own-data": True} for number, folder in enumerate(folders)}
    grid = LocalGrid(app, HOSPITALS, flatten(plan.config), node_configs=nodes)
    assert execute(plan, grid, in_order=False).parameters_sha256 == summary.parameters_sha256
