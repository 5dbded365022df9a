"""``task.class_names``: lists, files, and names that say nothing."""

import json
from pathlib import Path

import pytest

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.datasets import load_task
from fedcrucible_core.learning.datasets.class_names import class_names, ids_among

OWN = ("n01440764", "n02102040", "n03888257")
NAMES = ("tench", "English springer", "parachute")


def test_nothing_set_leaves_the_names_alone(tmp_path: Path) -> None:
    assert class_names("", OWN, tmp_path) == OWN
    assert class_names("  ", OWN, tmp_path) == OWN


@pytest.mark.parametrize(
    "setting",
    ["tench, English springer,parachute", "tench | English springer|parachute", " tench|English  springer |parachute "],
)
def test_a_list_is_taken_in_order(setting, tmp_path: Path) -> None:
    assert class_names(setting, OWN, tmp_path) == NAMES


def test_names_with_commas_are_separated_by_bars(tmp_path: Path) -> None:
    assert class_names("a, b|c|d", OWN, tmp_path) == ("a, b", "c", "d")


SHUFFLED = (2, 0, 1)
FILES = {
    "ids.json": json.dumps({OWN[i]: NAMES[i] for i in SHUFFLED}),
    "numbers.json": json.dumps({str(i): NAMES[i] for i in SHUFFLED}),
    "list.json": json.dumps(NAMES),
    "index.json": json.dumps({OWN[i]: [str(i), NAMES[i]] for i in SHUFFLED}),
    "head.csv": "id,name\n" + "".join(f'{OWN[i]},"{NAMES[i]}"\n' for i in SHUFFLED),
    "bare.csv": "".join(f"{OWN[i]},{NAMES[i]}\r\n" for i in SHUFFLED),
    "words.txt": "".join(f"{OWN[i]} {NAMES[i]}\n" for i in SHUFFLED) + "\n",
    "tabs.txt": "".join(f"{OWN[i]}\t{NAMES[i]}\n" for i in SHUFFLED),
    "numbers.txt": "".join(f"{i} {NAMES[i]}\n" for i in SHUFFLED),
    "lines.txt": "\n".join(NAMES),
    "bom.csv": "\ufeff" + "".join(f"{i},{NAMES[i]}\n" for i in SHUFFLED),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("absolute", [True, False])
def test_files_of_every_form_name_classes_by_id_or_number(file, absolute, tmp_path: Path) -> None:
    (tmp_path / file).write_text(FILES[file], encoding="utf-8")
    assert class_names(str(tmp_path / file) if absolute else file, OWN, tmp_path) == NAMES


def test_ids_go_before_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"1": "one", "0": "zero"}))
    assert class_names("a.json", ("1", "0"), tmp_path) == ("one", "zero")
    (tmp_path / "b.json").write_text(json.dumps({"2": "two", "1": "one"}))
    assert class_names("b.json", ("1", "2"), tmp_path) == ("one", "two")


def test_underscores_and_blanks_of_ids_are_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"big_cat": "lion", "dog": "poodle"}))
    assert class_names("a.json", ("big cat", "dog"), tmp_path) == ("lion", "poodle")


BAD = {
    "too few": ("a,b", r"2 names for 3 classes \(n01440764, n02102040, n03888257\)"),
    "empty": ("a,,c", "the name of class 1 is empty"),
    "equal": ("a,b,a", "several classes have the same name: a"),
    "absent": ("names.csv", "no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_lists_that_do_not_fit_are_one_error(case, tmp_path: Path) -> None:
    setting, message = BAD[case]
    with pytest.raises(ConfigError, match=rf"task.class_names = '{setting}': {message}"):
        class_names(setting, OWN, tmp_path)


BAD_FILES = {
    "unknown.json": (json.dumps(dict(zip([*OWN[:2], "n09999999"], NAMES, strict=True))),
                     "unknown ids: n09999999; no name for n03888257; the classes are"),
    "missing.csv": ("n01440764,tench\n", "no name for n02102040, n03888257"),
    "beyond.json": (json.dumps({"0": "a", "1": "b", "3": "c"}), "unknown ids: 0, 1, 3; no name for"),
    "unknown.txt": ("n01440764 tench\nn02102040 dog\nn09999999 x\n", "unknown ids: n09999999"),
    "twice.txt": ("n01440764 tench\nn01440764 dog\nn03888257 x\n", "names an id more than once: n01440764"),
    "same.json": (json.dumps(dict.fromkeys(OWN, "x")), "several classes have the same name: x"),
    "numbers.json": (json.dumps(dict.fromkeys(OWN, 1)), "holds 1 where a name should be"),
    "word.json": ('"tench"', "holds str; allowed: a JSON object"),
    "broken.json": ("{", "can't be read"),
    "ragged.csv": ("n01440764,tench\nn02102040\nn03888257,x\n", "line 'n02102040' has no id and name"),
}  # fmt: skip


@pytest.mark.parametrize("file", BAD_FILES)
def test_files_that_do_not_fit_are_one_error(file, tmp_path: Path) -> None:
    content, message = BAD_FILES[file]
    (tmp_path / file).write_text(content)
    with pytest.raises(ConfigError, match=rf"task.class_names = '{file}': {message}"):
        class_names(file, OWN, tmp_path)


def test_a_run_sees_the_names_that_were_set() -> None:
    names = [f"thing number {i}" for i in range(10)]
    named = load_task(TaskSection(class_names="|".join(names)))
    assert named.info.class_names == tuple(names)
    assert named.train is load_task(TaskSection()).train


@pytest.mark.parametrize(
    "names",
    [OWN, ("0", "1", "2"), ("a", "b", "c"), ("class 0", "class_1"), ("c0", "c1"), ("False", "True"), ("3.5", "-2"),
     ("d41d8cd98f00b204e9800998ecf8427e", "0cc175b9c0f1b6a831c399e269772661"),
     ("123e4567-e89b-12d3-a456-426614174000",), ("n01440764", "n02102040", "cat")],
)  # fmt: skip
def test_names_that_look_like_ids_are_noticed(names) -> None:
    assert ids_among(names)


@pytest.mark.parametrize(
    "names", [NAMES, ("cat", "dog"), ("handwritten digit zero", "mp3 player"), ("猫", "狗"), ("Boeing 737", "A320 jet")]
)
def test_words_are_no_ids(names) -> None:
    assert not ids_among(names)


def test_every_shipped_data_set_has_names_that_say_something() -> None:
    from fedcrucible_core.learning.datasets import DATASETS, dataset_source
    from fedcrucible_core.learning.datasets.names import FASHION

    assert not ids_among(FASHION)
    for name in DATASETS:
        source = dataset_source(name)
        if hasattr(source, "info"):
            assert not ids_among(source.info().class_names)
