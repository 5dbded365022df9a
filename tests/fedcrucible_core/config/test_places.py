from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.places import cache_folder, data_folder, default_data_folder, runs_folder


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FEDCRUCIBLE_CACHE", "FEDCRUCIBLE_DATA", "FEDCRUCIBLE_RUNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "flwr"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_cache_is_the_setting_s_then_the_variable_s_then_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == tmp_path / "xdg cache" / "fedcrucible"
    monkeypatch.setenv("FEDCRUCIBLE_CACHE", str(tmp_path / "volume"))
    assert cache_folder() == tmp_path / "volume"
    assert cache_folder(tmp_path / "given") == tmp_path / "given"


def test_a_relative_cache_or_data_folder_is_the_working_folder_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDCRUCIBLE_CACHE", "caches")
    monkeypatch.setenv("FEDCRUCIBLE_DATA", "pictures")
    assert cache_folder() == tmp_path.resolve() / "caches"
    assert data_folder() == tmp_path.resolve() / "pictures"


def test_data_are_where_the_setting_says_then_the_variable_then_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data_folder() == tmp_path / "xdg cache" / "fedcrucible" / "data"
    monkeypatch.setenv("FEDCRUCIBLE_CACHE", str(tmp_path / "volume"))
    assert data_folder() == default_data_folder() == tmp_path / "volume" / "data"
    monkeypatch.setenv("FEDCRUCIBLE_DATA", str(tmp_path / "env"))
    assert data_folder() == tmp_path / "env"
    assert data_folder(str(tmp_path / "key")) == tmp_path / "key"


def test_output_dir_then_variable_then_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs_folder() == tmp_path.resolve() / "runs"
    monkeypatch.setenv("FEDCRUCIBLE_RUNS", str(tmp_path / "variable"))
    assert runs_folder() == tmp_path.resolve() / "variable"
    assert runs_folder(str(tmp_path / "given")) == tmp_path.resolve() / "given"


def test_an_app_folder_is_refused_or_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = tmp_path / "flwr" / "apps" / "me.app.1.0.0.abcdef01"
    app.mkdir(parents=True)
    with pytest.raises(ConfigError, match="FLWR_HOME/apps"):
        runs_folder(str(app / "runs"))
    link = tmp_path / "link"
    link.symlink_to(app)
    with pytest.raises(ConfigError, match="FLWR_HOME/apps"):
        runs_folder(str(link))
    monkeypatch.chdir(app)
    assert not runs_folder().is_relative_to(app.resolve())


@pytest.mark.parametrize("name", ["output.dir", "FEDCRUCIBLE_RUNS"])
def test_a_relative_folder_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name != "output.dir":
        monkeypatch.setenv(name, "somewhere")
    with pytest.raises(ConfigError, match="absolute") as caught:
        runs_folder("somewhere" if name == "output.dir" else "")
    assert caught.value.key == name


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nb", "a\udcff"])
def test_a_variable_that_no_record_could_hold_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDCRUCIBLE_RUNS", str(tmp_path / name))
    with pytest.raises(ConfigError, match="FEDCRUCIBLE_RUNS"):
        runs_folder()
    monkeypatch.delenv("FEDCRUCIBLE_RUNS")
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert runs_folder() == (tmp_path / "data" / "fedcrucible").resolve() / "runs"
