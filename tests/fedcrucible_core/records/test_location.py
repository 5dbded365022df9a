from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records.location import run_folder


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDCRUCIBLE_RUNS", raising=False)
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "flwr"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/abs", "a\\b", "x\n"])
def test_a_name_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output\.name"):
        run_folder(OutputSection(dir=str(tmp_path), name=name), "s", "a", 1)


def test_names_say_what_ran(tmp_path: Path) -> None:
    folder = run_folder(OutputSection(dir=str(tmp_path)), "clip-fed", "bad/nets ..", 4)
    assert folder.name.startswith("clip-fed-bad_nets-seed4-2")


def test_resume_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.resume"):
        run_folder(OutputSection(dir=str(tmp_path)), "s", "a", 1, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_place_where_no_folder_can_be_made_is_a_setting_that_can_t_be_used(resume: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "nowhere", "loop", "x" * 300):
        with pytest.raises(ConfigError, match=r"output\.name") as caught:
            run_folder(OutputSection(dir=str(tmp_path), name=name), "s", "a", 1, resume=resume)
        assert str(tmp_path / name) in str(caught.value)
    for base in (tmp_path / "file", tmp_path / "file" / "within", tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match=r"output\.dir"):
            run_folder(OutputSection(dir=str(base), name="run"), "s", "a", 1, resume=resume)
    with pytest.raises(ConfigError, match=r"output\.dir"):
        run_folder(OutputSection(dir=str(tmp_path / "file")), "s", "a", 1)
