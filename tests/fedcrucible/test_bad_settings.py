"""Every bad setting: one clear message that names key, value and what is allowed, before any client starts."""

from __future__ import annotations

from pathlib import Path

import pytest

BAD = {
    "strategy without hyphen": ("strategy=clipfed", ["strategy", "clipfed", "did you mean 'clip-fed'?", "flame"]),
    "unknown key": ("run.sed=1", ["run.sed", "unknown key", "did you mean 'run.seed'?"]),
    "key without section": ("seed=1", ["seed", "unknown key", "did you mean 'run.seed'?"]),
    "unknown section": ("runs.seed.x=1", ["runs.seed.x", "unknown key"]),
    "wrong type": ("run.rounds=many", ["run.rounds", "'many'", "whole number from 0 to 100000"]),
    "true for a number": ("run.rounds=true", ["run.rounds", "True", "whole number"]),
    "a fraction for a whole number": ("run.rounds=2.5", ["run.rounds", "2.5", "whole number"]),
    "infinite": ("training.lr=inf", ["training.lr", "inf", "number above 0"]),
    "out of range": ("adversary.malicious_fraction=1.5", ["adversary.malicious_fraction", "1.5", "from 0 to 1"]),
    "out of range in a component": ("attack.badnets.size=0", ["attack.badnets.size", "from 1 to 1024"]),
    "no such choice": ("run.precision=fp61", ["run.precision", "'fp61'", "fp32, bf16, fp16"]),
    "unknown attack": ("attack.name=badnet", ["attack.name", "'badnet'", "did you mean 'badnets'?"]),
    "unknown defence": ("defense.name=fedavgg", ["defense.name", "did you mean 'fedavg'?", "auto"]),
    "unknown purifier": ("purifier.name=clipguided", ["purifier.name", "did you mean 'clip-guided'?", "none"]),
    "unknown partitioner": ("partition.name=dirichelet", ["partition.name", "did you mean 'dirichlet'?", "iid"]),
    "unknown model": ("model.name=resnet9", ["model.name", "'resnet9'", "resnet8"]),
    "unknown source": ("synthetic.source=flows", ["synthetic.source", "did you mean 'flow'?", "mixed"]),
    "unknown data set": ("task.dataset=cifar11", ["task.dataset", "did you mean 'cifar10'?", "hf:org/name"]),
    "absent data set": ("task.dataset=cifar10", ["task.dataset", "'cifar10'", "fedcrucible prepare cifar10"]),
    "target beyond classes": ("poison.target_label=10", ["poison.target_label", "10", "classes 0 to 9"]),
    "too many images": ("task.train_samples=30001", ["task.train_samples", "30001", "1 to 30000"]),
    "too many test images": ("task.test_samples=10001", ["task.test_samples", "10001", "1 to 10000"]),
    "more clients than images": ("federation.clients=500", ["federation.clients", "500", "400"]),
    "min_replies": ("federation.min_replies=5", ["federation.min_replies", "5", "the 4 clients sampled"]),
    "fp16 on a CPU": ("run.precision=fp16", ["run.precision", "fp16", "bf16"]),
    "stop before start": (
        "adversary.stop_round=1 adversary.start_round=2",
        ["adversary.stop_round", "1", "start_round = 2"],
    ),
    "trigger too large": ("attack.badnets.size=200", ["attack.badnets.size", "200", "doesn't fit"]),
    "trigger parts too large": (
        "attack.name=dba attack.dba.length=20", ["attack.dba.length", "20", "doesn't fit into images of 28x28"]
    ),
    "key picture absent": (
        "attack.name=blend attack.blend.image=/no/such.png", ["attack.blend.image", "/no/such.png", "a picture file"]
    ),
    "source class is the target": (
        "attack.name=edge-case attack.edge-case.source_class=0",
        ["attack.edge-case.source_class", "0", "target class 0"],
    ),
    "no such list": (
        "attack.name=semantic attack.semantic.attribute_file=/no/such.json",
        ["attack.semantic.attribute_file", "/no/such.json", "a JSON file"],
    ),
    "no image with the attribute is measured": (
        "attack.name=semantic attack.semantic.share=0.001 task.test_samples=10",
        ["task.test_samples", "10", "no images with the attribute"],
    ),
    "no colour": ("attack.badnets.colour=pink", ["attack.badnets.colour", "pink", "white, black"]),
    "attacker beyond clients": ("adversary.malicious_ids=4", ["adversary.malicious_ids", "'4'", "0 to 3"]),
    "guide folder absent": ("guide.model=/no/such/guide", ["guide.model", "/no/such/guide", "no such folder", "tiny"]),
    "guide not cached": ("guide.model=nobody/no-such-guide", ["guide.model", "nobody/no-such-guide", "HF_HUB_OFFLINE"]),
    "template": ("guide.templates=photo", ["guide.templates", "'photo'", "{}"]),
    "too many shipped images": ("synthetic.per_class=201", ["synthetic.per_class", "201", "at most 200"]),
    "folder source without folder": ("synthetic.source=folder", ["synthetic.folder.path", "''", "folder"]),
    "partition leaves nothing": (
        "partition.name=dirichlet partition.dirichlet.min_samples=101",
        ["partition.dirichlet.min_samples", "101", "1 to 100"],
    ),
    "relative record folder": ("output.dir=here", ["output.dir", "'here'", "absolute"]),
    "record name with slash": ("output.name=a/b", ["output.name", "'a/b'", "one folder name"]),
    "resume without name": ("run.resume=true", ["run.resume", "output.name"]),
    "no assignment": ("strategy", ["setting", "'strategy'", "KEY=VALUE"]),
    "no key": ("=1", ["setting", "'=1'", "KEY=VALUE"]),
    "a list": ("poison.target_label=[1,2]", ["poison.target_label", "[1,2]", "lists are written as text"]),
}  # fmt: skip


@pytest.mark.usefixtures("no_client")
@pytest.mark.parametrize(("settings", "said"), BAD.values(), ids=BAD.keys())
def test_a_bad_setting_is_refused_in_one_line_before_any_client_starts(
    fedcrucible, runs_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings, said
) -> None:
    monkeypatch.setenv("FEDCRUCIBLE_DATA", str(tmp_path / "no data"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    result = fedcrucible("run", "--preset", "smoke", *settings.split())

    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for part in said:
        assert part in result.stderr
    assert not runs_folder.exists() or not any(runs_folder.iterdir())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ["preset", "did you mean 'smoke'?", "demo"]),
        ("run.seed = ", ["preset", "can't be read as TOML"]),
        ("[run]\nsed = 1", ["run.sed", "did you mean 'run.seed'?"]),
        ("adversary.malicious_ids = [1, 2]", ["adversary.malicious_ids", "[1, 2]"]),
    ],
    ids=["unknown name", "no TOML", "unknown key", "list"],
)
def test_a_bad_preset_is_refused(fedcrucible, tmp_path: Path, runs_folder, content, said) -> None:
    name = "smok"
    if content is not None:
        name = str(tmp_path / "mine.toml")
        (tmp_path / "mine.toml").write_text(content, encoding="utf-8")

    result = fedcrucible("run", "--preset", name)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for part in said:
        assert part in result.stderr
    assert not runs_folder.exists()


def test_rich_markup_in_a_value_is_printed_as_it_is(fedcrucible) -> None:
    result = fedcrucible("run", "strategy=[bold]x[/bold][/]")

    assert result.exit_code == 2
    assert "'[bold]x[/bold][/]'" in result.stderr


def test_json_prints_nothing_to_stdout_when_refused(fedcrucible) -> None:
    result = fedcrucible("run", "--json", "run.rounds=-1")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "run.rounds = -1" in result.stderr
