"""The app that Flower distributes: complete without the checkout, and configurable as its users expect."""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk
from flwr.common.config import get_fused_config_from_dir, parse_config_args

from fedcrucible.engines.flower.app_folder import stage_app
from fedcrucible.engines.hidden_settings import toml_lines
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import default_keys, flatten, load
from fedcrucible_core.rooms import APP
from server_app import app as server

ROOMS = sorted(APP)


@pytest.fixture(scope="module")
def app_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_app(tmp_path_factory.mktemp("app") / "fedcrucible")


def test_the_bundle_holds_every_room_and_nothing_else(app_folder: Path) -> None:
    bundle = build_fab_from_disk(app_folder)
    names = zipfile.ZipFile(BytesIO(bundle)).namelist()
    folders = sorted({name.split("/")[0] for name in names if "/" in name} - {".info"})
    assert folders == ROOMS
    assert len(bundle) < 4_000_000  # code and the list of keys; Flower takes 10 MiB


def test_the_bundle_s_modules_need_no_other_room_of_the_checkout(app_folder: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(app_folder)!r})
import server_app.app, client_app.app
from fedcrucible_core.config.load import default_keys
default_keys()
rooms = [m for n, m in sys.modules.items() if n.split(".")[0] in {ROOMS!r}]
outside = [m for m in rooms if not m.__file__.startswith({str(app_folder)!r})]
assert not outside, outside
assert "fedcrucible" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=app_folder)


def test_settings_of_all_kinds_reach_the_app(app_folder: Path) -> None:
    words = "strategy='flame' attack.name='badnets' defense.clip-fed-filter.method='cosine' training.lr=1e-3"
    overrides = parse_config_args([words])
    fused = get_fused_config_from_dir(app_folder, overrides)
    assert fused["strategy"] == "flame"
    assert fused["defense.clip-fed-filter.method"] == "cosine"
    assert fused["training.lr"] == 0.001
    assert set(fused) == set(default_keys())


def test_a_whole_configuration_survives_the_settings_file(app_folder: Path, tmp_path: Path) -> None:
    wanted = flatten(load({"training.lr": 1e-5, "output.name": 'a "quoted" name', "guide.templates": "ä {}\\"}))
    path = tmp_path / "settings.toml"
    path.write_text(toml_lines(wanted), encoding="utf-8")
    fused = get_fused_config_from_dir(app_folder, parse_config_args([str(path)]))
    assert fused == wanted


def test_too_few_supernodes_are_an_error_that_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    from client_app.app import app as client

    monkeypatch.setattr(server, "REGISTRATION_S", 0.2)
    grid = LocalGrid(client, 2, {})
    server.require_supernodes(grid, 2)
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r"only 2 SuperNodes.*num-supernodes=20"):
        server.require_supernodes(grid, 20)
    assert time.monotonic() - start < 5
