"""What a guide reads of a class: templates, prompts that ship, prompts of a file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fedcrucible_assets import asset_path
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import GuideSection
from fedcrucible_core.foundation.class_prompts import TEXT_TEMPLATES, class_prompts
from fedcrucible_core.learning.data import DataInfo

TOPICS = DataInfo("wn4", ("person", "animal", "artifact", "location"), (64,), (), (), task="text")
NEWS = DataInfo("ag-news", ("World", "Sports", "Business", "Sci/Tech"), (64,), (), (), task="text")
OTHERS = DataInfo("mine", ("person", "weather"), (64,), (), (), task="text")
PICTURES = DataInfo("toy", ("person", "bag"), (1, 8, 8), (), ())


@pytest.mark.parametrize("info", [TOPICS, NEWS])
def test_texts_have_four_prompts_a_class_that_ship(info: DataInfo) -> None:
    prompts = class_prompts(GuideSection(), info)
    found = [prompts.of(name) for name in info.class_names]
    assert [len(of_class) for of_class in found] == [4] * 4
    assert len({prompt for of_class in found for prompt in of_class}) == 16
    assert prompts.of(info.class_names[0].upper()) == found[0], "case and punctuation don't matter"


def test_all_classes_or_none_have_prompts_of_their_own() -> None:
    prompts = class_prompts(GuideSection(), OTHERS)
    assert prompts.of("person") == tuple(template.replace("{}", "person") for template in TEXT_TEMPLATES)


def test_pictures_go_by_templates_and_so_do_texts_that_ask_for_them() -> None:
    assert class_prompts(GuideSection(), PICTURES).of("person") == ("a photo of a person",)
    section = GuideSection(prompts="templates", templates="on {}|of {}")
    assert class_prompts(section, TOPICS).of("person") == ("on person", "of person")


def test_a_file_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "prompts.toml"
    file.write_text('person = ["somebody", "a human"]\nBag = ["a bag"]\n', encoding="utf-8")
    prompts = class_prompts(GuideSection(prompts=str(file)), PICTURES)
    assert prompts.of("person") == ("somebody", "a human")
    assert prompts.of("bag") == ("a bag",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('person = ["x"]', "has no prompts for bag"),
        ("person = []\nbag = ['b']", "'person' must be a list of texts"),
        ("person = 'x'\nbag = ['b']", "'person' must be a list of texts"),
        ("person = [1]\nbag = ['b']", "'person' must be a list of texts"),
        ("person = [' ']\nbag = ['b']", "none of them empty"),
        ("person = ", "can't be used"),
        (None, "no such file"),
    ],
)
def test_a_file_that_can_t_be_used(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "prompts.toml"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"guide\.prompts = ") as caught:
        class_prompts(GuideSection(prompts=str(file)), PICTURES)
    assert said in str(caught.value)


def test_no_shipped_prompt_names_another_class_s_prompt() -> None:
    shipped = tomllib.loads(asset_path("text-prompts").read_text(encoding="utf-8"))
    flat = [prompt for prompts in shipped.values() for prompt in prompts]
    assert len(flat) == len(set(flat)) == 4 * len(shipped)
