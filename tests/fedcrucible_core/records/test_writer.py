from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.learning.bounds import set_bounds
from fedcrucible_core.learning.vector import buffer_slots, parameter_slots
from fedcrucible_core.learning.weights import Weights
from fedcrucible_core.records import environment, files
from fedcrucible_core.records.model_digest import model_sha256
from fedcrucible_core.records.reader import read, read_rounds
from fedcrucible_core.records.sampling import embedding_sample
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    output = OutputSection(dir=str(tmp_path / "runs"))
    return RunRecord.create(output, strategy="clip-fed", attack="badnets", seed=7)


def test_round_survives_json_with_numbers_that_json_lacks() -> None:
    written = RoundRecord.model_validate(
        {
            "round": 3,
            "ma_percent": 80.5,
            "asr_correct_percent": math.nan,
            "per_class_recall_percent": [90.0, math.nan],
            "weights": {"0": 0.25, "4": 0.75},
            "facts": {"loss": math.inf},
            "per_client": {"score": [1.0, math.nan]},
            "confusion": [[1, 2], [3, 4]],
            "dropped": {"2": 'a "quoted"\nline'},
        }
    )
    line = written.model_dump_json()
    assert "\n" not in line
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    found = RoundRecord.model_validate_json(line)
    assert found.asr_correct_percent is None
    assert found.per_class_recall_percent == (90.0, None)
    assert found.facts["loss"] == math.inf
    assert math.isnan(found.per_client["score"][1])
    assert found.model_dump_json() == line


def test_unknown_fields_of_a_later_version_are_ignored() -> None:
    assert RoundRecord.model_validate({"round": 1, "new_thing": 3}).round == 1


def test_everything_written_is_read_back(record: RunRecord) -> None:
    run = RunDescription(strategy="clip-fed", attack="badnets", seed=7, class_names=("a", "b"), target_label=1)
    record.write_run(run)
    values = {"strategy": "clip-fed", "run.seed": 7, "training.lr": 1e-05, "output.report": True, "output.name": "x"}
    record.write_config(values, {"run.seed": 1})
    assert record.write_environment("cpu", 1).threads == 1
    rounds = [RoundRecord(round=r, ma_percent=10.0 * r) for r in range(3)]
    for row in rounds:
        record.append_round(row)
    images = torch.rand(4, 3, 5, 5)
    record.save_examples({"triggered": images, "clean": images}, {"clean": torch.arange(4)})
    record.save_embedding("final, last round", torch.randn(6, 3), torch.arange(6), torch.arange(6) > 3)
    assert not read(record.folder).finished
    summary = record.write_summary("ff" * 32, 12.5)
    found = record.read()
    assert found.finished
    assert found.run == run
    assert found.rounds == tuple(rounds)
    assert found.summary == summary
    assert found.summary.seconds_total == 12.5
    assert found.config == values
    assert found.defaults == {"run.seed": 1}
    assert [e.kind for e in found.examples] == ["triggered", "clean"]
    assert found.examples[1].images.shape == (4, 3, 5, 5)
    assert found.examples[0].labels is None
    assert [e.name for e in found.embeddings] == ["final, last round"]
    assert found.embeddings[0].triggered.tolist() == [False] * 4 + [True] * 2


def test_config_toml_runs_again_without_the_record_name(record: RunRecord) -> None:
    record.write_config({"a.text": 'q"ü\\', "run.seed": 7, "x.flag": False, "x.lr": 1e-05, "output.name": "old"})
    found = tomllib.loads((record.folder / files.CONFIG_TOML).read_text(encoding="utf-8"))
    assert found == {"a": {"text": 'q"ü\\'}, "run": {"seed": 7}, "x": {"flag": False, "lr": 1e-05}}


def test_a_last_line_cut_short_is_left_out_and_repaired(record: RunRecord) -> None:
    path = record.folder / files.METRICS
    for number in range(3):
        record.append_round(RoundRecord(round=number))
    whole = path.read_bytes()
    path.write_bytes(whole[:-25])
    assert [r.round for r in read_rounds(path)] == [0, 1]
    record.append_round(RoundRecord(round=2))
    assert path.read_bytes() == whole


def test_a_damaged_line_within_is_an_error_with_its_number(record: RunRecord) -> None:
    path = record.folder / files.METRICS
    path.write_bytes(b'{"round": 0}\n{"round"\n{"round": 2}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_rounds(path)


def test_rewind_forgets_later_rounds_and_the_summary(record: RunRecord) -> None:
    record.write_run(RunDescription(strategy="s", seed=1))
    for number in range(5):
        record.append_round(RoundRecord(round=number))
    record.write_summary()
    record.rewind(2)
    assert [r.round for r in record.rounds()] == [0, 1, 2]
    assert not (record.folder / files.SUMMARY).exists()


def test_model_keeps_names_shapes_and_counters(record: RunRecord) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model(torch.randn(4, 1, 8, 8))
    kept = Weights.of(model)
    digest = record.write_model(kept, parameter_slots(model), buffer_slots(model))
    stored = load_file(record.folder / files.MODEL)
    assert {name: (t.dtype, t.shape) for name, t in stored.items()} == {
        name: (t.dtype, t.shape) for name, t in model.state_dict().items()
    }
    assert all(torch.equal(stored[name], tensor) for name, tensor in model.state_dict().items())
    assert digest == model_sha256(kept)
    assert digest != model_sha256(Weights(kept.parameters + 1e-3, kept.buffers))


def test_bounds_are_part_of_the_model(record: RunRecord) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    free = Weights.of(model)
    set_bounds(model, {"1": torch.tensor([0.5, 2.0])})
    digest = record.write_model(Weights.of(model), parameter_slots(model), buffer_slots(model))
    stored = load_file(record.folder / files.MODEL)
    assert sorted(stored) == ["0.bias", "0.weight", "bounds.1"]
    assert stored["bounds.1"].tolist() == [0.5, 2.0]
    assert digest != model_sha256(free)


def test_the_noun_of_inputs_is_written_only_where_they_are_no_images() -> None:
    run = RunDescription(strategy="s", seed=1)
    assert "input_noun" not in json.loads(run.model_dump_json())
    assert run.inputs == "images"
    texts = RunDescription.model_validate_json(
        RunDescription(strategy="s", seed=1, input_noun="text").model_dump_json()
    )
    assert texts.inputs == "texts"


def test_no_record_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run record"):
        read(tmp_path)


def test_environment_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = environment.collect_environment("cpu", "", 1)
    assert found.python
    assert found.packages["torch"]
    assert found.git_commit is None
    assert len(found.source_sha256) == 64
    assert environment.git_state(tmp_path) == (None, None)
    assert environment.source_digest(tmp_path / "absent") == environment.source_digest(tmp_path)


def test_embedding_sample_is_balanced_and_spares_the_target() -> None:
    labels = np.arange(10_000) % 10
    indices, marks = embedding_sample(labels, labels != 3, seed=5)
    assert len(indices) == 2000
    assert np.bincount(labels[indices]).tolist() == [200] * 10
    assert marks.sum() == 100
    assert 3 not in labels[indices[marks]]
    again = embedding_sample(labels, labels != 3, seed=5)
    assert np.array_equal(again[0], indices)
    assert np.array_equal(again[1], marks)
    few, some = embedding_sample(labels[:200], labels[:200] != 3, seed=5)
    assert (len(few), int(some.sum())) == (200, 10)
    assert not embedding_sample(labels, None, seed=5)[1].any()


def test_same_second_makes_two_folders(tmp_path: Path) -> None:
    output = OutputSection(dir=str(tmp_path))
    made = {RunRecord.create(output, strategy="a/b", attack="c d", seed=1).folder for _ in range(4)}
    assert len(made) == 4
    assert all(folder.parent == tmp_path.resolve() and folder.is_dir() for folder in made)


def test_bad_slots_of_embedding_are_refused(record: RunRecord) -> None:
    with pytest.raises(ValueError, match="5 labels"):
        record.save_embedding("x", torch.zeros(6, 2), torch.zeros(5), torch.zeros(6))


def test_a_named_record_is_not_overwritten(tmp_path: Path) -> None:
    output = OutputSection(dir=str(tmp_path), name="mine")
    first = RunRecord.create(output, strategy="s", attack="a", seed=1)
    assert first.folder == tmp_path.resolve() / "mine"
    first.append_round(RoundRecord(round=0))
    with pytest.raises(ConfigError, match="has content"):
        RunRecord.create(output, strategy="s", attack="a", seed=1)
    again = RunRecord.create(output, strategy="s", attack="a", seed=1, resume=True)
    assert [r.round for r in again.rounds()] == [0]
