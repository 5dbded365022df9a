from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedcrucible_core.config.atomic_file import PART, write_atomic


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    write_atomic(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_an_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "within"
    with pytest.raises(OSError, match="within") as caught:
        write_atomic(path, b"x")
    assert caught.value.filename == str(path)


def test_threads_of_one_process_write_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "x"
    contents = [bytes([number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_atomic(path, content), contents * 4))
    assert path.read_bytes() in contents
    assert [file.name for file in path.parent.iterdir()] == ["x"]


def test_a_half_written_file_has_a_name_that_cleaners_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr("os.fsync", lambda _: names.extend(file.name for file in tmp_path.iterdir()))
    write_atomic(tmp_path / "summary.json", b"x")
    assert len(names) == 1
    assert PART.fullmatch(names[0])
