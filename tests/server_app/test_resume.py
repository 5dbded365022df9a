"""A record is one run: what may go on from where, and what is refused before anything is written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcrucible.engines.in_process import run_in_process
from fedcrucible_assets import asset_path
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.load import load
from fedcrucible_core.config.old_keys import former, modern
from fedcrucible_core.foundation.encoder import folder_identity
from fedcrucible_core.foundation.sources.flow import FlowSource
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import RoundRecord, RunSummary
from server_app import identity
from server_app.plan import Plan
from tests.support import tiny_runs
from tests.support.tiny_runs import Scalar

TINY: dict[str, Scalar] = {
    **tiny_runs.TINY,
    "run.checkpoint_every": 1,
    "federation.clients": 4,
    "task.train_samples": 120,
    "model.name": "logistic",
    "adversary.malicious_fraction": 0.5,
    "output.name": "x",
}
TIMES = {"seconds", "peak_memory_mb"}


def play(**changes: Scalar) -> tuple[RunSummary, list[RoundRecord]]:
    settings = TINY | {key.replace("__", "."): value for key, value in changes.items()}
    summary = run_in_process(Plan.make(load(settings)))
    return summary, list(read(Path(summary.folder)).rounds)


def timeless(rounds: list[RoundRecord]) -> list[dict[str, object]]:
    """All that a round's record says, apart from seconds and memory."""
    dumped = [r.model_dump(exclude=TIMES) for r in rounds]
    for row in dumped:
        row["per_client"].pop("client_seconds", None)
    return dumped


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "krum"},
        {"strategy": "foolsgold"},
        {"attack__name": "blend"},
        {"adversary__malicious_fraction": 0.25},
        {"attack__badnets__size": 4},
        {"run__seed": 2},
        {"task__train_samples": 100},
        {"task__test_samples": 50},
        {"training__lr": 0.05},
        {"federation__clients": 5},
        {"federation__fraction_train": 0.5},
        {"model__name": "cnn"},
        {"partition__name": "shards"},
        {"run__eval_every": 2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_settings_are_refused_and_nothing_is_written(changes: dict[str, Scalar], runs_folder: Path) -> None:
    play()
    before = content(runs_folder / "x")
    with pytest.raises(ConfigError, match="made with other settings") as caught:
        play(**changes, run__resume=True, run__rounds=3)
    key = next(iter(changes)).replace("__", ".")
    assert caught.value.key == "run.resume"
    assert f"{key} is {next(iter(changes.values()))!r}, recorded " in str(caught.value)
    assert content(runs_folder / "x") == before


def test_all_keys_that_differ_are_listed(runs_folder: Path) -> None:
    play()
    with pytest.raises(ConfigError, match=r"strategy is 'krum'.*; attack\.name is 'blend'") as caught:
        play(strategy="krum", attack__name="blend", run__resume=True)
    assert "attack.blend.alpha" not in str(caught.value)  # the same in both


def test_what_has_no_effect_may_change(runs_folder: Path) -> None:
    whole, rounds = play(output__name="whole", run__rounds=4)
    play()
    resumed, again = play(
        run__resume=True, run__rounds=4, run__checkpoint_every=2, federation__timeout_s=60.0, output__save_model=False,
        attack__blend__alpha=0.5, defense__krum__f=1,
    )  # fmt: skip
    assert resumed.parameters_sha256 == whole.parameters_sha256
    assert timeless(again) == timeless(rounds)


def test_other_data_of_the_same_name_are_refused(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play()
    from fedcrucible_core.learning.datasets import load as datasets

    original = datasets.dataset_source("fashion-mnist-slice").read(Path())
    turned = original.train.inputs.flip(3)
    changed = type(original)(original.info, type(original.train)(turned, original.train.labels), original.test,
                             original.validation, True)  # fmt: skip
    monkeypatch.setattr(
        "fedcrucible_core.learning.datasets.shipped.FashionMnistSlice.read", lambda self, root, reading: changed
    )
    datasets._load_task.cache_clear()
    datasets._load.cache_clear()
    try:
        with pytest.raises(ConfigError, match="other settings or other data"):
            play(run__resume=True, run__rounds=3)
    finally:
        monkeypatch.undo()
        datasets._load_task.cache_clear()
        datasets._load.cache_clear()


def test_a_checkpoint_of_another_run_is_refused(runs_folder: Path) -> None:
    play()
    play(output__name="y", run__seed=2)
    for path in (runs_folder / "y" / files.CHECKPOINTS).iterdir():
        (runs_folder / "x" / files.CHECKPOINTS / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match="another run's"):
        play(run__resume=True, run__rounds=3)


def test_fewer_rounds_than_there_are(runs_folder: Path) -> None:
    whole, _ = play(run__rounds=3, run__checkpoint_every=2)
    with pytest.raises(ConfigError, match=r"run\.rounds = 2: .* holds 3 rounds already"):
        play(run__rounds=2, run__checkpoint_every=2, run__resume=True)
    again, rounds = play(run__rounds=3, run__checkpoint_every=2, run__resume=True)
    assert again.parameters_sha256 == whole.parameters_sha256
    assert [r.round for r in rounds] == [0, 1, 2, 3]


def test_a_finished_record_without_checkpoint_is_not_touched(runs_folder: Path) -> None:
    play(run__checkpoint_every=0)
    before = content(runs_folder / "x")
    with pytest.raises(ConfigError, match="no checkpoint to go on from"):
        play(run__resume=True, run__rounds=3)
    assert content(runs_folder / "x") == before


def test_an_unfinished_record_without_checkpoint_starts_over(
    runs_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, rounds = play(output__name="whole", run__rounds=3)
    play(run__checkpoint_every=0)
    (runs_folder / "x" / files.SUMMARY).unlink()
    resumed, again = play(run__resume=True, run__rounds=3)
    assert [r.round for r in again] == [0, 1, 2, 3]
    assert timeless(again) == timeless(rounds)
    assert resumed.parameters_sha256 == whole.parameters_sha256
    notes = read(runs_folder / "x").run.history
    assert any("nothing to resume from" in note for note in notes)


def test_a_new_name_says_that_there_was_nothing_to_resume(runs_folder: Path) -> None:
    summary, rounds = play(run__resume=True)
    assert [r.round for r in rounds] == [0, 1, 2]
    assert any("nothing to resume" in note for note in read(Path(summary.folder)).run.history)


def test_a_folder_that_is_no_record_is_refused(runs_folder: Path) -> None:
    (runs_folder / "x").mkdir(parents=True)
    (runs_folder / "x" / "letter.txt").write_text("dear reader")
    with pytest.raises(ConfigError, match=r"no config\.json"):
        play(run__resume=True)
    assert content(runs_folder / "x") == {"letter.txt": b"dear reader"}


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        (files.CONFIG, lambda _: b'{"values": [', r"config\.json is damaged"),
        (files.CONFIG, lambda _: b"[1]", r"config\.json is damaged"),
        (files.METRICS, lambda old: b"{}\n" + old.split(b"\n", 1)[1], r"metrics\.jsonl, line 1 is damaged"),
    ],
)
def test_a_damaged_record_is_refused_and_left_alone(
    name: str, damage: Callable[[bytes], bytes], said: str, runs_folder: Path
) -> None:
    play()
    path = runs_folder / "x" / name
    path.write_bytes(damage(path.read_bytes()))
    before = content(runs_folder / "x")
    with pytest.raises(ConfigError, match=said) as caught:
        play(run__resume=True, run__rounds=3)
    assert "pydantic" not in str(caught.value)
    assert content(runs_folder / "x") == before


def test_a_damaged_checkpoint_is_passed_over_and_said(runs_folder: Path) -> None:
    whole, rounds = play(output__name="whole", run__rounds=3)
    play()
    newest = sorted((runs_folder / "x" / files.CHECKPOINTS).iterdir())[-1]
    damaged = bytearray(newest.read_bytes())
    damaged[-3] ^= 1
    newest.write_bytes(damaged)
    resumed, again = play(run__resume=True, run__rounds=3)
    assert resumed.parameters_sha256 == whole.parameters_sha256
    assert timeless(again) == timeless(rounds)
    assert any("checksum" in note for note in read(runs_folder / "x").run.history)


def test_a_resumed_run_that_fails_at_its_start_leaves_the_record(
    runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(strategy="clip-fed", model__name="cnn")
    before = content(runs_folder / "x")

    def fail(self: Plan) -> None:
        raise RuntimeError("the generator broke")

    monkeypatch.setattr(Plan, "server_phase", fail)
    with pytest.raises(RuntimeError, match="generator"):
        play(strategy="clip-fed", model__name="cnn", run__resume=True, run__rounds=4)
    assert content(runs_folder / "x") == before


def test_other_versions_are_said(runs_folder: Path) -> None:
    play()
    path = runs_folder / "x" / files.ENVIRONMENT
    environment = json.loads(path.read_bytes())
    environment["packages"]["torch"] = "1.0"
    path.write_text(json.dumps(environment))
    play(run__resume=True, run__rounds=3)
    notes = read(runs_folder / "x").run.history
    assert [n for n in notes if "torch 1.0 then" in n and "other sources" not in n]
    play(run__resume=True, run__rounds=4)
    assert len([n for n in read(runs_folder / "x").run.history if "versions" in n]) == 1  # said once, and kept


def test_the_history_survives_another_resume(runs_folder: Path) -> None:
    play()
    play(run__resume=True, run__rounds=3)
    play(run__resume=True, run__rounds=4)
    assert read(runs_folder / "x").run.history == ("resumed after round 2 of 3", "resumed after round 3 of 4")


def test_another_device_is_said(runs_folder: Path) -> None:
    play()
    path = runs_folder / "x" / files.ENVIRONMENT
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"device": "cuda"}))
    play(run__resume=True, run__rounds=3)
    assert [n for n in read(runs_folder / "x").run.history if "device cuda then, cpu now" in n]


@pytest.mark.parametrize(
    ("special", "changes"),
    [
        ("a rule that smooths its last model", {"strategy": "crfl", "defense__crfl__copies": 3}),
        ("a last round that is measured though others aren't", {"run__eval_every": 2}),
    ],
)
def test_a_longer_run_is_as_if_it_had_been_so_from_the_start(
    special: str, changes: dict[str, Scalar], runs_folder: Path
) -> None:
    whole, rounds = play(**changes, output__name="whole", run__rounds=5)
    play(**changes, run__rounds=3)
    resumed, again = play(**changes, run__rounds=5, run__resume=True)
    assert resumed.parameters_sha256 == whole.parameters_sha256, special
    assert timeless(again) == timeless(rounds)


def test_a_last_round_that_can_t_be_taken_back_is_refused(runs_folder: Path) -> None:
    crfl: dict[str, Scalar] = {"strategy": "crfl", "defense__crfl__copies": 3, "run__checkpoint_every": 2}
    play(**crfl)
    before = content(runs_folder / "x")
    with pytest.raises(ConfigError, match="rule 'crfl' treats unlike others"):
        play(**crfl, run__rounds=3, run__resume=True)
    assert content(runs_folder / "x") == before


def test_other_pictures_of_the_server_are_refused(runs_folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    names = Plan.make(load(TINY)).data.info.class_names
    for label, name in enumerate(names):
        folder = tmp_path / "own" / name.replace("/", "_")
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("L", (28, 28), 20 * label + number).save(folder / f"{number}.png")
    settings: dict[str, Scalar] = {
        "strategy": "fine-tune", "model__name": "cnn",
        "synthetic__source": "folder", "synthetic__folder__path": str(tmp_path / "own"),
    }  # fmt: skip
    play(**settings)
    again, _ = play(**settings, run__resume=True, run__rounds=3)
    assert again.rounds == 3
    Image.new("L", (30, 30), 255).save(folder / "0.png")
    with pytest.raises(ConfigError, match="another run's"):
        play(**settings, run__resume=True, run__rounds=4)


def test_another_picture_of_the_attack_is_refused(runs_folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "blend.png"
    Image.new("L", (28, 28), 10).save(path)
    settings: dict[str, Scalar] = {"attack__name": "blend", "attack__blend__image": str(path)}
    play(**settings)
    Image.new("L", (28, 28), 200).save(path)
    with pytest.raises(ConfigError, match="another run's"):
        play(**settings, run__resume=True, run__rounds=3)


def test_only_our_own_leftovers_are_removed(runs_folder: Path) -> None:
    folder = runs_folder / "x"
    (folder / ".a.part").mkdir(parents=True)
    for name in (".keep.part", ".b.7.part.txt"):
        (folder / name).write_text("mine")
    with pytest.raises(ConfigError, match=r"no config\.json"):
        play(run__resume=True)
    assert sorted(p.name for p in folder.iterdir()) == [".a.part", ".b.7.part.txt", ".keep.part"]


def test_seconds_cover_all_processes(runs_folder: Path) -> None:
    first, _ = play()
    path = runs_folder / "x" / files.CHECKPOINTS / "round-0000002.safetensors"
    from dataclasses import replace

    from fedcrucible_core.records.checkpoint import read_checkpoint, write_checkpoint

    assert 0 < read_checkpoint(path).seconds <= first.seconds_total
    write_checkpoint(path.parent, replace(read_checkpoint(path), seconds=1000.0))
    resumed, _ = play(run__resume=True, run__rounds=3)
    assert 1000 < resumed.seconds_total < 1000 + 60


@pytest.mark.parametrize(
    "attack",
    [
        {"attack__name": "lp", "attack__lp__refresh": 10},
        {"attack__name": "lf", "attack__lf__refresh": 10},
        {"attack__name": "lp-adaptive", "attack__lp-adaptive__refresh": 10, "attack__lp-adaptive__steps": 3},
        {"attack__name": "neurotoxin", "attack__neurotoxin__reference": "last-update"},
    ],
    ids=lambda attack: attack["attack__name"],
)
def test_attacks_with_memory_resume_bit_for_bit(attack: dict[str, Scalar], runs_folder: Path) -> None:
    # Chosen so that a resumed run without its attackers' memory ends in another model.
    common = {
        **attack, "model__name": "resnet8", "model__resnet8__width": 4, "training__lr": 0.05,
        "training__batch_size": 16, "task__train_samples": 400,
    }  # fmt: skip
    whole, rounds = play(output__name="whole", run__rounds=4, **common)
    play(run__rounds=2, **common)
    resumed, again = play(run__rounds=4, run__resume=True, **common)
    assert resumed.parameters_sha256 == whole.parameters_sha256
    assert timeless(again) == timeless(rounds)


def test_a_full_disk_costs_a_checkpoint_not_the_run(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = write_atomic

    def full(path: Path, data: bytes) -> None:
        if path.parent.name == files.CHECKPOINTS:
            raise OSError(28, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr("fedcrucible_core.records.checkpoint.write_atomic", full)
    summary, rounds = play()
    assert len(rounds) == 3
    notes = read(Path(summary.folder)).run.history
    assert [n for n in notes if "checkpoint of round 1 could not be written" in n and "round-0000001" in n]


def test_a_full_disk_keeps_the_summary_and_names_the_file(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync
    wrote: list[str] = []
    write = write_atomic

    def full(handle: int) -> None:
        if wrote and wrote[-1] == files.MODEL:
            raise OSError(28, "No space left on device")
        sync(handle)

    def noted(path: Path, data: bytes) -> None:
        wrote.append(path.name)
        write(path, data)

    monkeypatch.setattr("os.fsync", full)
    monkeypatch.setattr("fedcrucible_core.records.writer.write_atomic", noted)
    with pytest.raises(OSError, match=r"No space left on device.*x/model\.safetensors"):
        play()
    stored = json.loads((runs_folder / "x" / files.SUMMARY).read_bytes())
    assert stored["ma_percent"] is not None
    assert not (runs_folder / "x" / files.MODEL).exists()


def test_a_full_disk_names_the_rounds_file(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    path = runs_folder / "metrics.jsonl"
    runs_folder.mkdir()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*metrics\.jsonl"):
        files.append_line(path, b"{}")


@pytest.mark.parametrize("name", [*files.FILES, f"{files.CHECKPOINTS}/round-0000002.safetensors"])
def test_a_folder_in_a_file_s_place_is_refused_and_nothing_is_written(name: str, runs_folder: Path) -> None:
    play()
    path = runs_folder / "x" / name
    path.unlink(missing_ok=True)
    (path / "within").mkdir(parents=True)
    before = content(runs_folder / "x")
    with pytest.raises(ConfigError, match=r"no config\.json" if name == files.CONFIG else "in the way"):
        play(run__resume=True, run__rounds=3)
    assert content(runs_folder / "x") == before
    assert (path / "within").is_dir()


@pytest.mark.parametrize("name", files.FOLDERS)
def test_a_file_in_a_folder_s_place_is_refused(name: str, runs_folder: Path) -> None:
    play()
    shutil.rmtree(runs_folder / "x" / name, ignore_errors=True)  # not every run has one
    (runs_folder / "x" / name).write_text("mine")
    before = content(runs_folder / "x")
    with pytest.raises(ConfigError, match=f"{name} is in the way"):
        play(run__resume=True, run__rounds=3)
    assert content(runs_folder / "x") == before


@pytest.mark.parametrize(
    "settings",
    [
        b"[" * 100_000,
        b'{"values": {"run.rounds": "abc"}}',
        b'{"values": {"run.rounds": null}}',
        b'{"values": {"run.rounds": NaN}}',
        b'{"values": {"run.rounds": [1]}}',
        b'{"values": {"strategy": {"a": 1}}}',
        b'{"values": [1]}',
    ],
)
def test_settings_that_are_none_are_a_damaged_record(settings: bytes, runs_folder: Path) -> None:
    play()
    path = runs_folder / "x" / files.CONFIG
    if b"rounds" in settings:  # the other settings as they were
        stored = json.loads(path.read_bytes())
        stored["values"] |= json.loads(settings)["values"]
        settings = json.dumps(stored).encode()
    path.write_bytes(settings)
    before = content(runs_folder / "x")
    with pytest.raises(ConfigError, match=r"config\.json is damaged"):
        play(run__resume=True, run__rounds=3)
    assert content(runs_folder / "x") == before


def test_a_full_disk_is_found_before_a_finished_record_forgets_anything(
    runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play()
    before = content(runs_folder / "x")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*/x'"):
        play(run__resume=True, run__rounds=3)
    assert content(runs_folder / "x") == before


def test_a_checkpoint_of_the_version_before_goes_on(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its identity was hashed under the keys of then."""
    whole, _ = play(output__name="whole", poison__ratio=0.7)
    with monkeypatch.context() as then:
        then.setattr("server_app.run.run_identity", lambda plan: identity.run_identity(plan, former_keys=True))
        play(run__rounds=1, poison__ratio=0.7)
    assert former({"poison.ratio": 0.7, "attack.name": "lp", "attack.trigger": "sig"}) == {
        "attack.poison_ratio": 0.7,
        "attack.name": "lp",
        "attack.lp.trigger": "sig",
    }
    resumed, _ = play(run__resume=True, poison__ratio=0.7)
    assert resumed.parameters_sha256 == whole.parameters_sha256


@pytest.mark.parametrize(
    "old",
    [
        {"strategy": "fedavg", "defense.name": "pruning", "defense.pruning.max_weight": 0.5},
        {"strategy": "pruning", "defense.pruning.share": 0.3, "defense.pruning.max_weight": 0.5},
        {"strategy": "fine-tune", "synthetic.guide_agreement": True},
        {"attack.name": "lp", "attack.lp.trigger": "sig", "attack.target_label": 2},
    ],
)
def test_settings_of_the_version_before_are_found_again(old: dict[str, Scalar]) -> None:
    assert former(modern(old)[0]) == old


def test_what_ships_is_known_under_the_hashes_of_the_version_before() -> None:
    """They covered the model cards, whose text may change: a checkpoint goes on all the same."""
    shipped = [folder_identity(asset_path("clip-tiny-fashion")), FlowSource().fingerprint()]
    assert list(identity.FORMER_CONTENT) == shipped
