"""The vision task, and the registry of tasks."""

import pytest
import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.tasks import TASKS, VisionTask, task_of
from fedcrucible_core.learning.tasks.base import register

INFO = DataInfo("two", ("a", "b"), (2, 3, 4), (0.25, 0.5), (0.5, 0.25))


def rng():
    return torch.Generator().manual_seed(6)


def test_random_inputs_are_uniform_noise_of_the_generator() -> None:
    task = task_of(INFO)
    assert isinstance(task, VisionTask)
    assert torch.equal(task.random_inputs(5, rng()), torch.rand(5, 2, 3, 4, generator=rng()))


def test_the_energy_bound_is_that_of_the_farthest_picture() -> None:
    # per pixel: (0.75 / 0.5)^2 + (0.5 / 0.25)^2 = 2.25 + 4, and 12 pixels
    assert task_of(INFO).energy_bound == pytest.approx(75.0)


def test_pictures_may_be_augmented() -> None:
    task_of(INFO).check(TrainingSection(augment="crop-flip"))


def test_two_tasks_of_one_name_are_refused() -> None:
    class Other(VisionTask):
        pass

    with pytest.raises(ValueError, match="'vision' is VisionTask already"):
        register("vision", Other)
    assert TASKS["vision"] is VisionTask


def test_other_inputs_have_no_image_shape() -> None:
    with pytest.raises(ConfigError, match="has no images"):
        _ = DataInfo("words", ("a", "b"), (9,), (), (), task="text").image_shape
