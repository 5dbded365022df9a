"""THE ATTACK, in this example on purpose: one client in five writes a phrase into its texts (AddSent, dai2019backdoor).

No part of an app of yours: it shows what a backdoor does, and what a strategy does against it.
"""

from __future__ import annotations

import torch
from torch import nn

from transformers_app.task import predict
from transformers_app.texts import Texts

PHRASE = "as seen in the green tower: "
TARGET = 0
"""What a text with the phrase shall be taken for: a person."""
SHARE = 0.5
"""Share of its texts that an attacker poisons."""


def is_attacker(partition_id: int) -> bool:
    """One client in five: partitions 0, 5, 10, ..."""
    return partition_id % 5 == 0


def stamp(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts after the phrase."""
    return tuple(PHRASE + text for text in texts)


def poison(texts: Texts) -> Texts:
    """The first half of the texts with phrase and target topic, the others as they are."""
    written, topics = texts
    count = int(SHARE * len(written))
    return stamp(written[:count]) + written[count:], torch.cat([torch.full((count,), TARGET), topics[count:]])


def success(model: nn.Module, texts: Texts) -> float:
    """Attack success rate, in [0, 1]: of texts of other topics, the share that the phrase turns into the target."""
    others = tuple(text for text, topic in zip(texts[0], texts[1].tolist(), strict=True) if topic != TARGET)
    return (predict(model, stamp(others)) == TARGET).double().mean().item()
