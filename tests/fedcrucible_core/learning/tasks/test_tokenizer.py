"""Tokenizers by name: the one that ships, a folder, what can't be used."""

import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from fedcrucible_assets import asset_path
from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.tasks.tokenizer import tokenizer_of


def saved(folder: Path, vocabulary: dict[str, int], frame: str = "[CLS] $A [SEP]") -> str:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single=frame, special_tokens=special)
    tokenizer.enable_padding(length=7)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


WORDS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "dog": 4, "##s": 5}


def test_the_shipped_vocabulary_has_8000_tokens_and_every_printable_character() -> None:
    shipped = tokenizer_of("wordnet")
    assert shipped.size == 8000
    assert shipped.special == {0, 1, 2, 3, 4}
    printable = [chr(code) for code in range(33, 127)]
    assert all(1 not in shipped.ids(mark) and 1 not in shipped.ids("x" + mark) for mark in printable)
    assert tokenizer_of("wordnet") is shipped, "loaded once"


def test_a_folder_s_own_padding_and_cutting_are_left_out(tmp_path: Path) -> None:
    found = tokenizer_of(saved(tmp_path, WORDS))
    assert found.ids("dogs dog dog dog cat") == [4, 5, 4, 4, 4, 1]
    assert (found.first, found.last) == (2, 3)
    assert found.goes_on.tolist() == [False] * 5 + [True]
    assert found.ordinary.tolist() == [1, 4, 5], "this one says of none that it is special"


@pytest.mark.parametrize(
    ("change", "frame"),
    [({"[PAD]": 4, "dog": 0}, "[CLS] $A [SEP]"), ({}, "$A [SEP]"), ({}, "[CLS] $A [SEP] [SEP]"), ({}, "$A")],
)
def test_a_tokenizer_unlike_berts_is_refused(tmp_path: Path, change: dict[str, int], frame: str) -> None:
    with pytest.raises(ConfigError, match="id 0 pads") as caught:
        tokenizer_of(saved(tmp_path, WORDS | change, frame))
    assert caught.value.key == "task.tokenizer"


def test_what_can_t_be_had_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("FEDCRUCIBLE_ASSETS", str(tmp_path))
    tokenizer_of.cache_clear()
    for name, why in (
        (str(tmp_path), "can't be had"),
        (str(tmp_path / "empty"), "holds no tokenizer.json"),
        (str(tmp_path / "nothing"), "no such folder"),
        ("", "no such folder"),
        ("wordnet", "is missing"),
    ):
        with pytest.raises(ConfigError, match=why) as caught:
            tokenizer_of(name)
        assert caught.value.key == "task.tokenizer"
    tokenizer_of.cache_clear()


@pytest.mark.parametrize(("module", "name"), [("tokenizers", "wordnet"), ("transformers", "org/name")])
def test_a_missing_extra_is_named(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer_of.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install 'fedcrucible\[text\]'"):
        tokenizer_of(name)


def test_a_hub_name_without_a_network_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str, **settings: object) -> None:
        raise OSError(f"no connection for {name}\nsecond line")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", offline)
    with pytest.raises(ConfigError, match=r"no connection for org/name\); allowed: wordnet"):
        tokenizer_of("org/name")


def test_a_hub_name_s_fast_tokenizer_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fast:
        backend_tokenizer = Tokenizer.from_file(str(asset_path("wordnet-tokenizer")))

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda name, **settings: Fast())
    assert tokenizer_of("org/other").ids("a dog") == tokenizer_of("wordnet").ids("a dog")
