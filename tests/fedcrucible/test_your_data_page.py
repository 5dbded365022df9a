"""docs/your-data.md: a newcomer's path, every command of it, word for word, ends in a table."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedcrucible.cli import app
from tests.support.own_pictures import CLASSES, write_folder

PAGE = Path(__file__).resolve().parents[2] / "docs" / "your-data.md"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def commands(block: str) -> list[str]:
    """The block's ``fedcrucible`` commands, and what stands between them, in order."""
    found: list[str] = [""]
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        if line.startswith("fedcrucible "):
            found += [line, ""]
        else:
            found[-1] += line + "\n"
    return [command for command in found if command.strip()]


def follow(block: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a block prints.  ``fedcrucible`` runs in this process, which spares its start; all else in bash."""
    printed = []
    for command in commands(block):
        if command.startswith("fedcrucible "):
            words = [os.path.expandvars(word) for word in shlex.split(command)[1:]]
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
            printed.append(done.stdout)
        else:
            script = f"{command}\nprintf '%s' \"${{FEDCRUCIBLE_DATA:-}}\" > .exported"
            subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=os.environ | environment, check=True)
            exported = Path(".exported").read_text(encoding="utf-8")
            if exported:
                monkeypatch.setenv("FEDCRUCIBLE_DATA", exported)
    return "\n".join(printed)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Pictures of three classes in two sizes, and whatever else the page says that a reader has."""
    folder = tmp_path
    write_folder(folder / "pictures", 20)
    write_folder(folder / "server-pictures", 5)
    for letter in "abc":
        write_folder(folder / f"hospital-{letter}", 10)
    (folder / "pictures" / "plum" / "not-found.jpg").write_text("<html>404</html>")
    return folder


def save_hub_set(folder: Path, name: str) -> None:
    """A data set of the hub where ``fedcrucible prepare`` would put it."""
    datasets = pytest.importorskip("datasets")
    from tests.support.own_pictures import picture

    features = datasets.Features({"image": datasets.Image(), "labels": datasets.ClassLabel(names=list(CLASSES))})
    splits = {
        split: datasets.Dataset.from_dict(
            {"image": [picture(i % 3, i) for i in range(count)], "labels": [i % 3 for i in range(count)]},
            features=features,
        )
        for split, count in (("train", 48), ("validation", 9), ("test", 18))
    }
    datasets.DatasetDict(splits).save_to_disk(str(folder / "hf" / name.replace("/", "--")))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_command_stands_in_a_block_that_is_run_or_is_one_of_a_deployment() -> None:
    text = PAGE.read_text(encoding="utf-8")
    others = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert text.count("```") == 2 * (len(blocks()) + len(others))
    assert not any("fedcrucible " in other for other in others)
    assert sum("fedcrucible " in block for block in blocks()) >= 6


@pytest.mark.slow
def test_the_page_followed_word_for_word_ends_in_tables(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for key, value in {
        "PWD": place, "FEDCRUCIBLE_RUNS": place / "runs", "XDG_CACHE_HOME": place / "cache", "HF_HUB_OFFLINE": 1
    }.items():  # fmt: skip
        monkeypatch.setenv(key, str(value))
    monkeypatch.delenv("FEDCRUCIBLE_DATA", raising=False)
    monkeypatch.chdir(place)
    scripts = blocks()
    hub = next(i for i, script in enumerate(scripts) if "fedcrucible prepare" in script)
    name = re.findall(r"prepare hf:(\S+)", scripts[hub])[0]
    try:
        save_hub_set(place / "data", name)
    except pytest.skip.Exception:
        del scripts[hub]
    printed = "\n".join(follow(script, {"PATH": path}, monkeypatch) for script in scripts)

    assert "3 classes, 32 x 32 pixels, colour" in printed
    assert re.search(r"note: skipped 1 file: an HTML page, not a picture \(.*not-found\.jpg\)", printed)
    assert "fedavg under badnets, folder" in printed
    assert "clip-fed under badnets, folder" in printed
    assert "ripe banana" in printed
    assert "csv in" in printed
    assert "npz in" in printed
    for folder, rows in (("first-table", 4), ("hub-table", 2), ("hospitals", 2)):
        if folder == "hub-table" and not (place / "data").exists():
            continue
        found = table(place / folder)
        assert len(found) == rows
        assert {row["strategy"] for row in found} == {"fedavg", "flame"}
        assert (place / folder / "report.html").is_file()
    records = [json.loads(path.read_text()) for path in (place / "runs").glob("*/run.json")]
    assert all(any("HTML page" in note for note in record["notes"]) for record in records)
