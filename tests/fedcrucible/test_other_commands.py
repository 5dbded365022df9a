"""``list``, ``config``, ``doctor``, ``prepare``, ``report`` and what belongs to all commands."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from fedcrucible.catalogue import KINDS, entries
from fedcrucible.health import Finding, content, hardware, places, software
from fedcrucible_core.config.load import default_keys
from fedcrucible_core.config.preset import flatten_table
from fedcrucible_core.foundation.sentence_encoder import PACKAGES

COMMANDS = ("demo", "run", "compare", "paper", "list", "config", "doctor", "prepare", "report", "incident", "replay")


@pytest.fixture(scope="module")
def a_record(tmp_path_factory: pytest.TempPathFactory):
    from fedcrucible.engines.in_process import run_in_process
    from fedcrucible_core.config.load import load
    from fedcrucible_core.config.preset import load_preset
    from server_app.plan import Plan

    settings = load_preset("smoke") | {"strategy": "fedavg", "run.rounds": 1, "output.report": False}
    folder = tmp_path_factory.mktemp("records")
    return Path(run_in_process(Plan.make(load(settings | {"output.dir": str(folder)}))).folder)


def test_help_names_every_command(fedcrucible) -> None:
    result = fedcrucible("--help")

    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout


def test_version(fedcrucible) -> None:
    assert fedcrucible("--version").stdout.startswith("fedcrucible 0.")


@pytest.mark.parametrize("kind", KINDS)
def test_list_shows_every_entry_of_a_kind(fedcrucible, kind) -> None:
    result = fedcrucible("list", kind, "--json")

    assert result.exit_code == 0, result.output
    listed = json.loads(result.stdout)
    assert listed
    assert [entry["name"] for entry in listed] == [entry.name for entry in entries(kind)]
    keys = default_keys()
    for entry in listed:
        assert entry["summary"]
        assert entry["chosen_by"]
        assert (Path(__file__).parents[2] / entry["file"]).is_file()
        for parameter in entry["parameters"]:
            assert parameter["description"]
            assert parameter["allowed"]
            if kind != "datasets":
                assert parameter["default"] == keys[parameter["key"]]


def test_list_shows_parameters_and_one_name_in_full(fedcrucible) -> None:
    attacks = fedcrucible("list", "attacks").stdout
    assert "attack.badnets.size" in attacks
    assert re.search(r"^badnets +poisoner ", attacks, re.MULTILINE)
    assert re.search(r"^neurotoxin +upload attack ", attacks, re.MULTILINE)
    assert "kind: upload attack" in fedcrucible("list", "pgd").stdout
    full = fedcrucible("list", "badnets").stdout
    assert "Gu et al. 2017" in full
    assert "scale with the image's height" in full
    assert "attack.name=badnets" in full
    clip_fed = fedcrucible("list", "strategies", "clip-fed").stdout
    assert "rule: clip-fed-filter" in clip_fed
    assert "purifier.clip-guided.tau" in clip_fed
    everything = fedcrucible("list")
    assert everything.exit_code == 0
    assert "resnet8" in everything.stdout


def test_list_names_what_comes_closest(fedcrucible) -> None:
    result = fedcrucible("list", "badnet")

    assert result.exit_code == 2
    assert "did you mean 'badnets'?" in result.stderr


def test_list_as_markdown_has_one_row_per_entry(fedcrucible) -> None:
    lines = fedcrucible("list", "defenses", "--markdown").stdout.splitlines()

    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) == len(entries("defenses"))
    assert {line.count("|") - line.count("\\|") for line in lines if line.startswith("|")} == {10}


def test_config_as_toml_is_a_preset_of_all_defaults(fedcrucible) -> None:
    result = fedcrucible("config", "--toml")

    assert flatten_table(tomllib.loads(result.stdout)) == default_keys()


def test_config_as_json_and_as_tables(fedcrucible) -> None:
    keys = json.loads(fedcrucible("config", "--json").stdout)
    assert {info["key"]: info["default"] for info in keys} == default_keys()
    shown = fedcrucible("config", "attack").stdout
    assert "attack.badnets.size" in shown
    assert "task.dataset" not in shown
    refused = fedcrucible("config", "atack")
    assert refused.exit_code == 2
    assert "did you mean 'attack'?" in refused.stderr


@pytest.mark.parametrize("module", [software, hardware, places])
def test_each_check_says_how_things_are(module, runs_folder) -> None:
    for finding in module.check():
        assert finding.status in ("ok", "warn"), finding
        assert finding.status == "ok" or finding.todo
    assert not runs_folder.exists()


@pytest.mark.parametrize(("failing", "code"), [(False, 0), (True, 1)])
def test_the_doctor_fails_only_when_the_demo_would(fedcrucible, monkeypatch: pytest.MonkeyPatch, failing, code) -> None:
    findings = [Finding("data", "fashion-mnist-slice", "fail" if failing else "warn", "[b]gone[/b]", "reinstall")]
    monkeypatch.setattr(content, "check", lambda: findings)

    result, as_json = fedcrucible("doctor"), fedcrucible("doctor", "--json")

    assert (result.exit_code, as_json.exit_code) == (code, code)
    assert "flwr: 1.41" in result.stdout
    assert "[b]gone[/b]" in result.stdout
    assert "-> reinstall" in result.stdout
    assert json.loads(as_json.stdout)["ok"] is not failing


def test_the_doctor_names_missing_assets_and_absent_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDCRUCIBLE_ASSETS", str(tmp_path))
    monkeypatch.setenv("FEDCRUCIBLE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    found = {finding.name: finding for finding in content.check()}

    for name in ("fashion-mnist-slice", "guide tiny", "source flow", "source mixed"):
        assert found[name].status == "fail"
        assert found[name].todo
    assert "fedcrucible prepare ag-news" in found["not fetched"].todo
    assert "OPENAI_API_KEY" in found["source openai-images"].detail


@pytest.mark.parametrize("model", ["minilm", "wordllama"])
def test_the_doctor_says_whether_guides_of_texts_are_here(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, _ = PACKAGES[model]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    absent, optional = content._text_guide(model), software._optional(package, software.OPTIONAL[package])
    assert (absent.name, absent.status) == (f"guide {model}", "ok")
    assert "not installed" in absent.detail
    assert "fedcrucible[text-guide]" in absent.todo
    assert (f"guide.model={model}" in optional.detail, "[text-guide]" in optional.detail) == (True, True)

    monkeypatch.setattr("fedcrucible_core.foundation.sentence_encoder.known_identity", lambda _: "a hash")
    assert content._text_guide(model).detail == "installed, for texts"

    def broken(_: str) -> str:
        raise FileNotFoundError("no config.json")

    monkeypatch.setattr("fedcrucible_core.foundation.sentence_encoder.known_identity", broken)
    found = content._text_guide(model)
    assert (found.status, found.detail) == ("warn", "no config.json")
    assert set(PACKAGES) == set(content.TEXT_GUIDES)


def test_the_doctor_finds_wrong_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.40.0")

    found = {finding.name: finding for finding in software.check()}

    assert found["flwr"].status == "fail"
    assert "1.41" in found["flwr"].todo


def test_the_doctor_names_a_folder_that_can_not_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("FEDCRUCIBLE_RUNS", "relative/folder")

    found = {finding.name: finding for finding in places.check()}

    assert found["run records"].status == "fail"
    assert "FEDCRUCIBLE_RUNS" in found["run records"].todo


def test_the_doctor_names_the_folders_that_the_variables_say(monkeypatch, tmp_path) -> None:
    for name in ("CACHE", "DATA", "RUNS"):
        monkeypatch.setenv(f"FEDCRUCIBLE_{name}", str(tmp_path / name))

    found = {finding.name: finding for finding in places.check()}

    for name, folder in (("cache", "CACHE"), ("data", "DATA"), ("run records", "RUNS")):
        assert found[name].status == "ok"
        assert found[name].detail.startswith(str(tmp_path / folder))


def test_prepare_of_what_ships_counts_its_images(fedcrucible) -> None:
    result = fedcrucible("prepare", "fashion-mnist-slice", "--json")

    assert json.loads(result.stdout)["train_images"] == 30_000


@pytest.mark.usefixtures("offline")
def test_prepare_without_a_network_says_where_files_go(fedcrucible, tmp_path: Path) -> None:
    result = fedcrucible("prepare", "cifar10", "--data-dir", tmp_path)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "cifar10 can't be downloaded" in result.stderr
    assert f"cifar-10-python.tar.gz into {tmp_path}" in result.stderr


def test_prepare_of_an_unknown_name(fedcrucible) -> None:
    result = fedcrucible("prepare", "cifar11")

    assert result.exit_code == 2
    assert "did you mean 'cifar10'?" in result.stderr


def test_report_renders_one_record_anew_or_compares_several(fedcrucible, a_record, tmp_path: Path) -> None:
    (a_record / "report.html").unlink(missing_ok=True)

    one = fedcrucible("report", a_record)
    assert one.exit_code == 0, one.output
    assert one.stdout == f"report: {a_record / 'report.html'}\n"
    assert (a_record / "report.html").stat().st_size > 1000

    out = tmp_path / "all.html"
    several = fedcrucible("report", a_record, _copy(a_record, tmp_path), "--out", out, "--json")
    assert several.exit_code == 0, several.output
    assert json.loads(several.stdout)["report"] == str(out)
    assert "fedavg" in out.read_text(encoding="utf-8")


def test_report_takes_a_folder_of_records(fedcrucible, a_record) -> None:
    result = fedcrucible("report", a_record.parent, "--json")

    assert json.loads(result.stdout)["records"] == [str(a_record)]


def test_report_refuses_what_is_no_record(fedcrucible, tmp_path: Path) -> None:
    result = fedcrucible("report", tmp_path)

    assert result.exit_code == 1
    assert f"{tmp_path} is no run record" in result.stderr


def _copy(record: Path, place: Path) -> Path:
    import shutil

    return Path(shutil.copytree(record, place / "again"))
