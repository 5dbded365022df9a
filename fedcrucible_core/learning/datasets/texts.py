"""Texts and labels by split to a published set of token ids: what holds for every source of texts is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets.base import PublishedData, Reading
from fedcrucible_core.learning.datasets.read_pictures import most_bytes
from fedcrucible_core.learning.tasks.text import TextTask
from fedcrucible_core.learning.tasks.tokenizer import SHIPPED

LENGTH = 128
"""Tokens of a text where neither ``task.max_length`` nor its source says (docs/choices.md#text-lengths)."""
TEXT_NAMES = ("text", "sentence", "content", "document", "body", "review", "comment", "message", "tweet", "headline")
"""Usual names of columns of texts."""
SHORTEST = 3
ID_BYTES = 8


def texts_asked(reading: Reading) -> bool | None:
    """Whether a column of texts is asked for, or one of pictures; None = neither.

    Raises:
        ConfigError: both are.
    """
    if reading.text_column and reading.image_column:
        allowed = "task.image_column is set as well, and an input is one of the two; leave one out"
        raise ConfigError("task.text_column", reading.text_column, allowed)
    return bool(reading.text_column) if reading.text_column or reading.image_column else None


def text_info(
    name: str, classes: tuple[str, ...], reading: Reading, length: int = LENGTH, tokenizer: str = SHIPPED
) -> DataInfo:
    """Facts of a set of texts; ``length`` and ``tokenizer`` are its own, which ``reading`` may replace.

    Raises:
        ConfigError: (``task.max_length``, ``task.reserved_tokens``) no token of a text would be left.
    """
    length = reading.max_length or length
    if length < SHORTEST:
        raise ConfigError("task.max_length", length, f"allowed: {SHORTEST} or more, for two tokens stand around a text")
    if reading.reserved_tokens > length - SHORTEST:
        allowed = f"leaves none of a text's {length} tokens; allowed: 0 to {length - SHORTEST}"
        raise ConfigError("task.reserved_tokens", reading.reserved_tokens, allowed)
    return DataInfo(
        name,
        classes,
        (length,),
        (),
        (),
        task="text",
        tokenizer=reading.tokenizer or tokenizer,
        reserved=reading.reserved_tokens,
    )


def published_texts(
    info: DataInfo,
    texts: Mapping[str, Sequence[str]],
    labels: Mapping[str, Tensor],
    *,
    rows: Mapping[str, Tensor] | None = None,
    train_is_stratified: bool = False,
    notes: tuple[str, ...] = (),
) -> PublishedData:
    """The splits ``train``, and ``validation`` and ``test`` where there are such, as token ids.

    Texts that stand in two splits are a note.  Raises ConfigError where the ids would not fit in memory.
    """
    _check_memory(info, sum(map(len, texts.values())))
    encode = TextTask(info).encode
    splits = {
        split: Labeled(encode(found), labels[split], None if rows is None else rows[split])
        for split, found in texts.items()
        if len(found)
    }
    return PublishedData(
        info,
        train=splits["train"],
        test=splits.get("test"),
        validation=splits.get("validation"),
        train_is_stratified=train_is_stratified,
        notes=(*notes, *_shared(texts)),
    )


def _check_memory(info: DataInfo, count: int) -> None:
    needed, most = count * info.shape[0] * ID_BYTES, most_bytes()
    if needed > most:
        allowed = f"{count:,} texts take {needed / 2**30:,.1f} GiB as token ids; allowed: {most / 2**30:,.1f} GiB"
        raise ConfigError("task.max_length", info.shape[0], f"{allowed}; choose a smaller one, or fewer texts")


def _shared(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """What a reader must know of texts that are trained on and measured."""
    known = set(texts["train"])
    found = {split: sum(text in known for text in texts[split]) for split in texts if split != "train"}
    return [
        f"{count} of the {len(texts[split])} {split} texts are in train too" for split, count in found.items() if count
    ]
