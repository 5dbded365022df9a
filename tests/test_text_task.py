"""A task that isn't vision goes through training, aggregation, measurement, record and page: words as token ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fedcrucible.commands.data import examine
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets.base import DATASETS, READ_AS_IT_IS, DatasetSource, PublishedData, Reading
from fedcrucible_core.learning.tasks import TextTask, task_of
from fedcrucible_core.records import files
from fedcrucible_core.records.reader import read
from server_app.plan import Plan
from tests.support.word_model import registered

WORDS, LENGTH, PAD = 40, 12, 0
CLASSES = ("about cats", "about dogs", "about fish")
INFO = DataInfo("sentences", CLASSES, (LENGTH,), (), (), task="text", tokenizer="wordnet")


class Sentences(DatasetSource):
    """Sentences of random words, each with a few of its class's own."""

    ships = True

    def read(self, root: Path, reading: Reading = READ_AS_IT_IS) -> PublishedData:
        return PublishedData(INFO, _sentences(240, 1), _sentences(90, 2), _sentences(30, 3))

    def prepare(self, root: Path) -> None:
        pass


def _sentences(count: int, seed: int) -> Labeled:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    ids = torch.randint(4, WORDS, (count, LENGTH), generator=rng)
    ids[:, :4] = labels[:, None] + 1
    ids = ids.gather(1, torch.rand(count, LENGTH, generator=rng).argsort(1))
    lengths = torch.randint(LENGTH - 3, LENGTH + 1, (count, 1), generator=rng)
    return Labeled(ids.where(torch.arange(LENGTH) < lengths, PAD), labels)


@pytest.fixture(autouse=True)
def words() -> Iterator[None]:
    with registered((DATASETS, "sentences", Sentences)):
        yield


def settings(tmp_path: Path, **more: object) -> dict[str, object]:
    return {
        "task.dataset": "sentences",
        "task.train_samples": 0,
        "model.name": "words",
        "attack.name": "none",
        "partition.name": "iid",
        "federation.clients": 5,
        "run.rounds": 4,
        "run.device": "cpu",
        "training.batch_size": 16,
        "training.lr": 1.0,
        "output.dir": str(tmp_path),
        "output.report": True,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


@pytest.mark.parametrize("strategy", ["fedavg", "krum", "deepsight", "foolsgold"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_texts_are_learned_measured_and_recorded(tmp_path: Path, strategy: str, optimiser: str) -> None:
    lr = 1.0 if optimiser == "sgd" else 0.05
    noise = {"defense__deepsight__noise_samples": 50}
    chosen = settings(tmp_path, strategy=strategy, training__optimiser=optimiser, training__lr=lr, **noise)
    summary = run_in_process(Plan.make(load(chosen)))
    record = read(Path(summary.folder))
    assert summary.ma_percent is not None
    assert summary.ma_percent > 60, "three classes"
    assert len(record.rounds) == 5
    assert record.rounds[-1].ma_percent == summary.ma_percent
    assert record.examples == (), "texts aren't kept as pictures"
    page = (Path(summary.folder) / "report.html").read_text(encoding="utf-8")
    assert "% of clean texts correctly" in page
    assert "90 clean test texts" in page or "30 clean test texts" in page


def test_what_is_for_pictures_is_refused_by_its_key(tmp_path: Path) -> None:
    for more, key in (
        ({"training__augment": "crop-flip"}, "training.augment"),
        ({"model__name": "cnn"}, "model.name"),
        ({"strategy": "clip-fed"}, "synthetic.source"),
        ({"strategy": "fine-tune"}, "synthetic.source"),
        ({"attack__name": "badnets"}, "attack.name"),
        ({"attack__name": "semantic"}, "attack.name"),
        ({"attack__name": "edge-case"}, "attack.name"),
        ({"task__image_size": 8}, "task.dataset"),
    ):
        with pytest.raises(ConfigError) as caught:
            Plan.make(load(settings(tmp_path, **more)))
        assert caught.value.key == key


def test_the_data_command_shows_texts() -> None:
    report = examine(["task.dataset=sentences", "model.name=words"])
    assert (report.noun, report.shape, report.channels) == ("text", (LENGTH,), None)
    assert report.images == {"train": 240, "validation": 30, "test": 90}


def test_texts_have_their_own_task() -> None:
    assert isinstance(task_of(INFO), TextTask)


def test_a_task_nobody_knows_is_named() -> None:
    with pytest.raises(ConfigError, match="is of task 'sound'"):
        task_of(DataInfo("noises", ("a", "b"), (9,), (), (), task="sound"))


def test_texts_are_pruned_by_the_units_that_the_output_layer_reads(tmp_path: Path) -> None:
    """8 units of the word vectors' mean: a quarter of them is cut off, by what clients answer."""
    more = {"strategy": "fedavg", "repair__name": "pruning", "repair__pruning__share": 0.25, "run__rounds": 1}
    summary = run_in_process(Plan.make(load(settings(tmp_path, **more, output__report=False))))
    last = read(Path(summary.folder)).rounds[-1]
    assert (last.stage, last.facts["repair.silenced"], last.dropped) == ("repair", 2.0, {})
    weight = load_file(Path(summary.folder) / files.MODEL)["classifier.weight"]
    assert int((weight == 0).all(0).sum()) == 2
