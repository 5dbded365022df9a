"""What the record says of a run's data."""

import pytest

from fedcrucible_core.config.load import load
from server_app.plan import Plan

DIGITS = "|".join(f"n0144076{i}" for i in range(10))
NOTE = (
    "class names look like ids (n01440760, n01440761, n01440762, ...): "
    "the guide reads them in its prompts; set task.class_names"
)
SMALL = {"task.train_samples": 200, "task.test_samples": 100, "federation.clients": 4, "model.name": "cnn"}


def notes(**settings: object) -> tuple[str, ...]:
    return Plan.make(load(SMALL | {key.replace("__", "."): value for key, value in settings.items()})).data_notes


@pytest.mark.parametrize("strategy", ["guide-zero-shot", "clip-fed"])
def test_names_that_say_nothing_are_noted_where_the_guide_reads_them(strategy) -> None:
    assert notes(strategy=strategy, task__class_names=DIGITS) == (NOTE,)
    assert notes(strategy=strategy) == ()


def test_a_guide_that_filters_images_reads_names_too() -> None:
    settings = {"strategy": "fine-tune", "task__class_names": DIGITS, "splitter__name": "guide-agreement"}
    assert notes(**settings) == (NOTE,)


@pytest.mark.parametrize("strategy", ["fedavg", "fine-tune"])
def test_without_a_guide_names_are_nobodys_business(strategy) -> None:
    assert notes(strategy=strategy, task__class_names=DIGITS) == ()
