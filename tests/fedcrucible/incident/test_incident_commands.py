"""``fedcrucible incident`` and ``fedcrucible replay`` on records of real, tiny runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from defenses.base import RULES
from fedcrucible.incident.evidence import gather
from fedcrucible.incident.rejudge import rejudge
from fedcrucible_core.records.checkpoint import rounds_of
from fedcrucible_core.records.diagnostics import read_diagnostics
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import RoundRecord
from tests.support import tiny_runs
from tests.support.tiny_runs import Scalar

Invoke = Callable[..., Result]
SITUATION: dict[str, Scalar] = {
    "model__name": "logistic",
    "task__train_samples": 100,
    "task__test_samples": 40,
    "run__rounds": 5,
    "strategy": "multi-krum",
    "defense__assumed_malicious": 1,
    "attack__name": "sign-flip",
    "adversary__malicious_ids": "3",
    "adversary__start_round": 3,
    "output__diagnostics": "geometry",
    "run__checkpoint_every": 1,
    "run__checkpoints_kept": 0,
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which site 3 attacks from round 3 on, with all that an incident asks for."""
    folder = tmp_path_factory.mktemp("runs")
    summary, _ = tiny_runs.play(**SITUATION, output__dir=str(folder), output__name="whole")
    return Path(summary.folder)


@pytest.fixture
def whole(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(original, tmp_path / "whole"))


def plain(whole: Path) -> Path:
    """The record as it would be without diagnostics."""
    shutil.rmtree(whole / "diagnostics")
    return whole


def fewer_checkpoints(whole: Path, *kept: int) -> Path:
    for path in (whole / "checkpoints").glob("*.safetensors"):
        if int(path.stem.removeprefix("round-")) not in kept:
            path.unlink()
    return whole


def timeless(rounds: tuple[RoundRecord, ...]) -> list[dict[str, object]]:
    dumped = [r.model_dump(exclude={"seconds", "peak_memory_mb"}) for r in rounds]
    for row in dumped:
        row["per_client"].pop("client_seconds", None)
    return dumped


# --- incident ---------------------------------------------------------------------------------------------------------


def test_the_guilty_site_is_found(whole: Path, fedcrucible: Invoke) -> None:
    result = fedcrucible("incident", whole, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["sites"][0]["site"], found["sites"][0]["since"], found["sites"][0]["until"]) == (3, 3, 5)
    assert [rule["rule"] for rule in found["rules"]] == ["flame", "clip-fed-filter", "rfa"]
    assert "truth" not in found
    told = json.loads(fedcrucible("incident", whole, "--json", "--truth").stdout)
    assert told["truth"] == {"attackers": [3], "TPR": 100.0, "FPR": 0.0}
    assert told["sites"] == found["sites"]


def test_the_tables(whole: Path, fedcrucible: Invoke) -> None:
    result = fedcrucible("incident", whole)
    assert result.exit_code == 0, result.output
    assert "site 3 stands out since round 3" in result.stdout
    assert "TPR" not in result.stdout
    assert "honest" not in result.stdout
    told = fedcrucible("incident", whole, "--truth").stdout
    assert "those that stand out: TPR 100.00 %, FPR 0.00 %" in told
    shown = fedcrucible("incident", whole, "--site", "3").stdout
    assert "rejected" in shown
    assert "Its weight under other rules" in shown


def test_a_sites_timeline(whole: Path, fedcrucible: Invoke) -> None:
    found = json.loads(fedcrucible("incident", whole, "--site", "3", "--json").stdout)
    rounds = found["rounds"]
    assert [row["round"] for row in rounds] == [1, 2, 3, 4, 5]
    assert [row["verdict"] for row in rounds][2:] == ["rejected"] * 3
    assert rounds[2]["cosine"]["place"] == 5
    assert rounds[2]["cosine"]["value"] < 0.0
    assert rounds[2]["score"]["place"] == 1
    assert all(row["examples"] == 20.0 and row["norm"]["value"] > 0.0 for row in rounds)
    assert set(rounds[2]["others"]) == {"flame", "clip-fed-filter", "rfa"}
    assert "train_loss" in rounds[2]["diagnostics"]


def test_the_runs_own_rule_judges_again_what_it_judged(whole: Path) -> None:
    found = gather(whole)
    (again,) = rejudge(found, ["multi-krum"])
    recorded = {r.round: {int(site): weight for site, weight in r.weights.items()} for r in read(whole).rounds[1:]}
    assert again.weights == recorded


def test_every_rule_judges_or_says_why_it_cant(whole: Path, fedcrucible: Invoke) -> None:
    found = json.loads(fedcrucible("incident", whole, "--rules", "all", "--json").stdout)
    rules = {rule["rule"]: rule for rule in found["rules"]}
    assert set(rules) == set(RULES)
    assert rules["fltrust"]["impossible"] == "needs the server's root set"
    assert rules["median"]["impossible"] == "needs the updates themselves"
    assert rules["krum"]["judged"] == dict.fromkeys("01234", 5)
    shown = fedcrucible("incident", whole, "--rules", "median,krum").stdout
    assert "note: median can't judge again: it needs the updates themselves" in shown


def test_an_assumption_of_ones_own(whole: Path) -> None:
    found = gather(whole)
    (none,) = rejudge(found, ["multi-krum"], assumed=0)
    assert all(weight > 0 for weights in none.weights.values() for weight in weights.values())


def test_a_record_without_diagnostics_says_so(whole: Path, fedcrucible: Invoke) -> None:
    plain(whole)
    found = json.loads(fedcrucible("incident", whole, "--json").stdout)
    assert found["sites"][0]["site"] == 3
    assert all("output.diagnostics = geometry" in rule["impossible"] for rule in found["rules"])
    shown = fedcrucible("incident", whole, "--site", "3")
    assert shown.exit_code == 0
    assert "note: the record holds no diagnostics (output.diagnostics = geometry keeps them)" in shown.stdout


def test_a_record_from_before_lacks_all_that_came_later(whole: Path, fedcrucible: Invoke) -> None:
    plain(whole)
    config = json.loads((whole / "config.json").read_text())
    for part in config.values():
        for key in ("federation.excluded", "output.diagnostics", "run.checkpoints_kept"):
            del part[key]
    (whole / "config.json").write_text(json.dumps(config))
    assert fedcrucible("incident", whole).exit_code == 0
    assert fedcrucible("replay", whole, "--without", "3", "--from", "4", "-q").exit_code == 0


def test_scores_that_are_no_numbers(whole: Path, fedcrucible: Invoke) -> None:
    lines = (whole / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows[1:]:
        row["per_client"]["score"][1] = "NaN"
    (whole / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = fedcrucible("incident", whole, "--site", "1")
    assert found.exit_code == 0
    assert "nan" in found.stdout
    read_back = json.loads(fedcrucible("incident", whole, "--site", "1", "--json").stdout)
    assert read_back["rounds"][0]["score"] == {"value": None, "place": None, "of": None}
    assert json.loads(fedcrucible("incident", whole, "--json").stdout)["sites"][0]["site"] == 3


def test_a_cause_that_a_client_wrote_is_shown_as_plain_text(whole: Path, fedcrucible: Invoke) -> None:
    lines = (whole / "metrics.jsonl").read_text().splitlines()
    row = json.loads(lines[2])
    row["dropped"] = {"3": "\x1b[31m[bold]evil\u202e"}
    for part in ("weights",):
        row[part].pop("3")
    lines[2] = json.dumps(row)
    (whole / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    shown = fedcrucible("incident", whole, "--site", "3").stdout
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown
    assert "[bold]evil" in shown.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--site", "9"), "site 9 is in no round of"),
        (("--rules", "nothing"), "--rules: 'nothing' is no rule"),
    ],
)
def test_mistakes(whole: Path, fedcrucible: Invoke, arguments: tuple[str, ...], said: str) -> None:
    result = fedcrucible("incident", whole, *arguments)
    assert result.exit_code == 1
    assert said in result.stderr


def test_damaged_diagnostics_are_one_error(whole: Path, fedcrucible: Invoke) -> None:
    path = next((whole / "diagnostics").iterdir())
    path.write_bytes(b"nothing")
    result = fedcrucible("incident", whole)
    assert result.exit_code == 1
    assert f"{path} is damaged" in result.stderr.replace("\n", "")


# --- replay -----------------------------------------------------------------------------------------------------------


def test_the_same_run_without_the_site(whole: Path, fedcrucible: Invoke) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    result = fedcrucible("replay", whole, "--without", "3", "--from", "4", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    new = Path(found["record"])
    assert new == whole.parent / "whole-without-3-from-4"
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before
    old, again = read(whole), read(new)
    assert timeless(old.rounds[:4]) == timeless(again.rounds[:4])
    assert [r.excluded for r in again.rounds] == [(), (), (), (), (3,), (3,)]
    assert found["same_before"] is True
    assert "replayed from whole after round 3" in again.run.history
    assert found["final"]["MA"] == {"before": old.summary.ma_percent, "after": again.summary.ma_percent}
    assert [pair["out"] for pair in found["rounds"]] == [[], [], [], [], [3], [3]]
    assert sorted(read_diagnostics(new / "diagnostics")) == [1, 2, 3, 4, 5]
    direct, _ = tiny_runs.play(**SITUATION, federation__excluded="3@4", output__dir=str(new.parent), output__name="d")
    assert direct.parameters_sha256 == again.summary.parameters_sha256


def test_from_a_checkpoint_further_back(whole: Path, fedcrucible: Invoke) -> None:
    fewer_checkpoints(whole, 2)
    result = fedcrucible("replay", whole, "--without", "3", "--from", "4", "--name", "again")
    assert result.exit_code == 0, result.output
    again = read(whole.parent / "again")
    assert timeless(read(whole).rounds[:4]) == timeless(again.rounds[:4]), "round 3 was run again, with everybody"
    assert "MA recorded" in result.stdout
    assert "final MA:" in result.stdout


def test_a_resumed_record_is_replayed_too(tmp_path: Path, fedcrucible: Invoke) -> None:
    common = SITUATION | {"output__dir": str(tmp_path), "output__name": "cut"}
    tiny_runs.play(**common | {"run__rounds": 3})
    tiny_runs.play(**common, run__resume=True, federation__excluded="1")
    result = fedcrucible("replay", tmp_path / "cut", "--without", "3", "--from", "5", "-q")
    assert result.exit_code == 0, result.output
    again = read(tmp_path / "cut-without-3-from-5")
    assert [r.excluded for r in again.rounds] == [(), (), (), (), (1,), (1, 3)]
    assert fedcrucible("incident", tmp_path / "cut").exit_code == 0


def test_no_checkpoint_before_that_round(whole: Path, fedcrucible: Invoke) -> None:
    fewer_checkpoints(whole, 3, 4, 5)
    result = fedcrucible("replay", whole, "--without", "3", "--from", "3")
    assert result.exit_code == 1
    assert "holds no whole checkpoint before round 3" in result.stderr
    assert "--from 4 or any later round could start, from the checkpoints after rounds 3, 4" in result.stderr
    assert "run.checkpoint_every" in result.stderr
    assert not (whole.parent / "whole-without-3-from-3").exists()


def test_no_checkpoint_at_all(whole: Path, fedcrucible: Invoke) -> None:
    fewer_checkpoints(whole)
    result = fedcrucible("replay", whole, "--without", "3", "--from", "3")
    assert result.exit_code == 1
    assert "no round could start; run.checkpoint_every is 1 in this record" in result.stderr


def test_damaged_checkpoints_are_named(whole: Path, fedcrucible: Invoke) -> None:
    fewer_checkpoints(whole, 2)
    (whole / "checkpoints" / "round-0000002.safetensors").write_bytes(b"nothing")
    result = fedcrucible("replay", whole, "--without", "3", "--from", "3")
    assert result.exit_code == 1
    assert "round-0000002.safetensors is damaged" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--without", "9", "--from", "3"), "--without 9: the run has no such site"),
        (("--without", "a", "--from", "3"), "--without 'a' names no sites"),
        (("--without", "3", "--from", "9"), "--from 9 is after the last round of whole, 5"),
        (("--without", "3", "--from", "1"), "--from 1: there is no checkpoint before round 1"),
        (("--without", "0,1,2", "--from", "3"), "federation.excluded = '0@3, 1@3, 2@3'"),
        (("--without", "3", "--from", "3", "--name", "../x"), "--name '../x' is no folder name"),
    ],
)
def test_what_cant_be_replayed(whole: Path, fedcrucible: Invoke, arguments: tuple[str, ...], said: str) -> None:
    there = sorted(whole.parent.iterdir())
    result = fedcrucible("replay", whole, *arguments)
    assert result.exit_code in (1, 2)
    assert said in result.stderr.replace("\n", " ")
    assert sorted(whole.parent.iterdir()) == there


def test_nothing_is_written_over(whole: Path, fedcrucible: Invoke) -> None:
    (whole.parent / "there").mkdir()
    (whole.parent / "there" / "x").touch()
    result = fedcrucible("replay", whole, "--without", "3", "--from", "4", "--name", "there")
    assert result.exit_code == 1
    assert "has content" in result.stderr


def test_left_to_a_deployment(whole: Path, fedcrucible: Invoke) -> None:
    result = fedcrucible("replay", whole, "--without", "3", "--from", "4", "--prepare", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    new = Path(found["record"])
    assert found["after_round"] == 3
    assert rounds_of(new / "checkpoints") == [3]
    assert not (new / "summary.json").exists()
    assert 'federation.excluded="3@4"' in found["settings"]
    assert "run.resume=true" in found["settings"]
    settings = dict(each.split("=", 1) for each in found["settings"])
    summary, _ = tiny_runs.play(
        **SITUATION, run__resume=True, output__dir=str(new.parent), output__name=new.name,
        federation__excluded=json.loads(settings["federation.excluded"]),
    )  # fmt: skip
    assert Path(summary.folder) == new
    assert len(read(new).rounds) == 6


def test_no_record_and_no_clients(tmp_path: Path, fedcrucible: Invoke) -> None:
    result = fedcrucible("replay", tmp_path, "--without", "3", "--from", "3")
    assert result.exit_code == 1
    assert "is no run record" in result.stderr
