"""A chat model as a guide: what it says becomes logits."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from fedcrucible_core.config.sections import GuideSection
from fedcrucible_core.foundation.answer_cache import Reply, Request
from fedcrucible_core.foundation.chat_budget import Tokens
from fedcrucible_core.foundation.chat_guide import ChatGuide
from fedcrucible_core.foundation.chat_settings import ChatSettings
from fedcrucible_core.foundation.guides import guide_is_here, plain_guide
from fedcrucible_core.learning.data import DataInfo

NAMES = ("cat", "dog")
INFO = DataInfo("toy-texts", NAMES, (3,), (), (), task="text")
CPU = torch.device("cpu")


class Scripted:
    """Says dog of texts with an even number, with 80 percent."""

    def ask_all(self, requests: Sequence[Request], likely_answer: int = 0) -> list[Reply]:
        return [Reply(self._answer(request), False, Tokens(1, 1)) for request in requests]

    def _answer(self, request: Request) -> str:
        lines = [json.loads(line) for line in request.turns[1].text.split("\n")[1:]]
        said = [(line["id"], "dog" if int(line["text"].split()[-1]) % 2 == 0 else "cat") for line in lines]
        return "\n".join(json.dumps({"id": number, "label": label, "sure": 80}) for number, label in said)


@contextlib.contextmanager
def opened() -> Iterator[Scripted]:
    yield Scripted()


def decode(ids: Tensor) -> list[str]:
    return [f"text {int(row[0])}" for row in ids]


def test_what_it_says_are_log_probabilities() -> None:
    guide = ChatGuide(opened, decode, NAMES, CPU, "somewhere")
    ids = torch.tensor([[1, 0, 0], [2, 0, 0], [4, 0, 0]])
    targets = guide.targets(ids, NAMES)
    assert targets.logits.softmax(1)[:, 1].tolist() == pytest.approx([0.2, 0.8, 0.8])
    assert targets.scale == guide.scale == 1.0
    assert torch.allclose(targets.embeddings, guide.embeddings(ids))
    assert torch.allclose(targets.embeddings.norm(dim=1), torch.ones(3))
    assert guide.logits(targets.embeddings, targets.text_embeddings).argmax(1).tolist() == [0, 1, 1]
    assert guide.targets(ids[:0], NAMES).logits.shape == (0, 2)
    assert guide.identity == "somewhere"


def test_the_configuration_names_it() -> None:
    assert guide_is_here("chat", INFO), "asking costs; nobody is asked beforehand"
    guide = plain_guide(GuideSection(model="chat"), INFO, CPU, ChatSettings(base_url="http://127.0.0.1:9", model="m"))
    assert isinstance(guide, ChatGuide)
    assert guide.identity == "http://127.0.0.1:9 m"
