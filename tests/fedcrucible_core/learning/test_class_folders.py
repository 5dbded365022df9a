"""Folders and labels are matched to class names in every script, and never to somebody else's."""

from __future__ import annotations

import unicodedata

import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets.class_folders import folded, match_names, refuse_look_alikes


def match(wanted: list[str], found: list[str]) -> list[str | None]:
    return match_names(wanted, found, "some.key", "place")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["猫", "狗"], ["狗", "猫"]),
        (["кошка", "собака"], ["собака", "кошка"]),
        (["C", "C++", "C#"], ["C#", "C", "C++"]),
        (["قطة", "كلب"], ["كلب", "قطة"]),
        (["-1", "1", "10"], ["1", "10", "-1"]),
        (["Dog", "dog"], ["dog", "Dog"]),
        (["a b", "a_b", "a-b"], ["a_b", "a-b", "a b"]),
        (["🐱", "🐶"], ["🐶", "🐱"]),
        (["+", "++", "-"], ["-", "++", "+"]),
    ],
)
def test_an_exact_name_is_its_own_class(wanted, found) -> None:
    assert match(wanted, found) == wanted


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("T-shirt/top", "t-shirt_top"),
        ("T-shirt/top", "T-SHIRT TOP"),
        ("ankle boot", "Ankle_Boot"),
        ("Кошка", "кошка"),
        ("Straße", "STRASSE"),
        ("\uff43\uff41\uff54", "cat"),
        ("café", unicodedata.normalize("NFD", "Café")),
        ("Bird (small)", "bird small"),
        ("C++", "c++"),
    ],
)
def test_case_separators_and_encoding_do_not_matter(name, folder) -> None:
    assert match([name], [folder]) == [folder]


def test_the_exact_folder_goes_before_one_that_is_merely_alike() -> None:
    assert match(["dog"], ["DOG", "Dog", "dog"]) == ["dog"]
    assert match(["C", "c++"], ["C", "C++", "c"]) == ["C", "C++"]


@pytest.mark.parametrize(
    ("name", "folder"), [("C", "C++"), ("C#", "C"), ("猫", "狗"), ("café", "cafe"), ("1", "-1"), ("猫 cat", "cat")]
)
def test_what_is_not_the_same_name_is_not_matched(name, folder) -> None:
    assert match([name], [folder]) == [None]


@pytest.mark.parametrize(
    ("wanted", "found", "named"),
    [
        (["dog"], ["DOG", "Dog"], ["'DOG'", "'Dog'", "'dog'"]),
        (["dog", "DOG"], ["Dog"], ["'Dog'", "'dog'", "'DOG'"]),
        (["ankle boot"], ["ankle_boot", "ankle-boot"], ["'ankle_boot'", "'ankle-boot'"]),
        (["ЖУК"], ["жук", "Жук"], ["'жук'", "'Жук'"]),
    ],
)
def test_a_collision_is_refused_by_name(wanted, found, named) -> None:
    with pytest.raises(ConfigError, match=r"^some\.key = 'place': .*use the exact names") as caught:
        match(wanted, found)
    assert all(name in str(caught.value) for name in named)


def test_folding_is_stable_and_keeps_numbers() -> None:
    for name in ("T-shirt/top", "ǅ ﬁ ß İ", "猫_狗", "___", "2.50", "+7"):
        assert folded(folded(name)) == folded(name)
    assert [folded(name) for name in ("-1", "1.5", "1,5")] == ["-1", "1.5", "1,5"]


def test_labels_that_look_alike_are_refused() -> None:
    refuse_look_alikes(["C", "C++", "猫", "狗", "1", "-1", "1"], "the labels", "task.data_dir", "x.csv")
    with pytest.raises(ConfigError, match=r"task\.data_dir = 'x\.csv': the labels 'Normal' and 'normal ' differ only"):
        refuse_look_alikes(["Normal", "covid", "normal "], "the labels", "task.data_dir", "x.csv")
