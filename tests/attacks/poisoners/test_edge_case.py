"""Edge-case backdoor, the data side: rare inputs added, measured on held-out ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.poisoners.edge_case import EdgeCase
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.learning.data import Labeled
from tests.support.tiny_task import COLOUR, GREY, context, labelled, make_task, measured_on, poisoned_rows, stamped

SECTION = PoisonSection(target_label=2, ratio=1.0)


def turned(image: np.ndarray, turn: str) -> np.ndarray:
    _, height, width = image.shape
    out = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            source = (height - 1 - row, width - 1 - column) if turn == "half" else (column, width - 1 - row)
            out[:, row, column] = image[:, source[0], source[1]]
    return out


@pytest.mark.parametrize("turn", ["half", "quarter"])
@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_images_are_turned(turn, shape) -> None:
    x = labelled(3, shape).for_model()
    found = stamped(EdgeCase(turn=turn), x)
    assert np.array_equal(found.numpy(), np.stack([turned(image, turn) for image in x.numpy()]))
    assert found.is_contiguous()


def test_upside_down_twice_is_upright() -> None:
    x = labelled(3).for_model()
    assert torch.equal(stamped(EdgeCase(), stamped(EdgeCase(), x)), x)


@pytest.mark.parametrize(("ratio", "added"), [(0.0, 0), (0.2, 12), (0.5, 48), (0.1, 5), (0.9, 100), (0.95, 100)])
def test_rare_inputs_are_added_until_they_are_the_share(ratio, added) -> None:
    """12 of 48 + 12 are 20 %; the pool has 100, and no input is drawn twice."""
    data, own = labelled(600), torch.arange(48)
    x, y = poisoned_rows(EdgeCase(rare_ratio=ratio), SECTION, context(make_task(data)), own)
    assert torch.equal(x[:48], data.for_model()[:48]), "own images stay as they are"
    assert torch.equal(y[:48], data.labels[:48])
    assert len(x) == len(y) == 48 + added
    assert y[48:].tolist() == [2] * added
    assert len(x[48:].flatten(1).unique(dim=0)) == added
    pool = {turned(image, "half").tobytes() for image in data.for_model()[data.labels == 5].numpy()}
    assert {image.numpy().tobytes() for image in x[48:]} <= pool


def test_each_attacker_draws_by_its_own_generator() -> None:
    data, own = labelled(600), torch.arange(48)
    first, again, other = (
        poisoned_rows(EdgeCase(), SECTION, context(make_task(data), seed=seed), own)[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_success_is_measured_on_turned_test_images_of_the_source_class() -> None:
    data, test = labelled(48), labelled(60, seed=4)
    found = measured_on(EdgeCase(), test, make_task(data))
    assert found.labels.tolist() == [5] * 10
    assert np.array_equal(
        found.inputs.numpy(), np.stack([turned(i, "half") for i in test.for_model()[test.labels == 5].numpy()])
    )


def test_settings_that_make_no_rare_input_are_named() -> None:
    data = labelled(12)
    with pytest.raises(ConfigError, match=r"attack.edge-case.source_class = 2"):
        EdgeCase(source_class=2).check_task(make_task(data))
    few = data.subset(torch.tensor([0, 1, 2]))
    with pytest.raises(ConfigError, match=r"attack.edge-case.source_class = 5: no training image"):
        EdgeCase().check_task(make_task(few))
    wide = Labeled(torch.zeros(6, 1, 4, 8, dtype=torch.uint8), torch.arange(6))
    EdgeCase().check_task(make_task(wide))
    with pytest.raises(ConfigError, match=r"attack.edge-case.turn = 'quarter': images of 4x8"):
        EdgeCase(turn="quarter").check_task(make_task(wide))


class TestFolder:
    def folder(self, tmp_path: Path, train: int = 5, test: int = 3) -> str:
        for part, count, start in (("train", train, 10), ("test", test, 100)):
            (tmp_path / part).mkdir()
            for i in range(count):
                Image.fromarray(np.full((40, 40, 3), start + i, dtype=np.uint8)).save(tmp_path / part / f"{i:02d}.png")
        return str(tmp_path)

    def test_pictures_are_added_as_they_are_and_held_out_ones_measured(self, tmp_path: Path) -> None:
        attack, data = EdgeCase(folder=self.folder(tmp_path)), labelled(48)
        task = make_task(data)
        attack.check_task(task)
        x, y = poisoned_rows(attack, SECTION, context(task), torch.arange(12))
        assert y[12:].tolist() == [2] * 3
        assert {round(float(image.mean()) * 255) for image in x[12:]} <= set(range(10, 15))
        found = measured_on(attack, data, task)
        assert found.rows is None
        assert found.labels.tolist() == [5] * 3, "their true class is the source class"
        assert [round(float(image.mean()) * 255) for image in found.inputs] == [100, 101, 102]

    def test_a_folder_without_both_parts_or_with_junk_is_named(self, tmp_path: Path) -> None:
        task = make_task(labelled(12))
        with pytest.raises(ConfigError, match=r"attack.edge-case.folder = .*sub-folders train and test"):
            EdgeCase(folder=str(tmp_path)).check_task(task)
        folder = self.folder(tmp_path, test=0)
        with pytest.raises(ConfigError, match=r"attack.edge-case.folder = .*sub-folders train and test"):
            EdgeCase(folder=folder).check_task(task)
        (tmp_path / "test" / "a.png").write_text("junk")
        with pytest.raises(ConfigError, match=r"attack.edge-case.folder = .*not a readable picture"):
            EdgeCase(folder=folder).check_task(task)
