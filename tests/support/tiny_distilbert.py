"""A pretrained DistilBERT of a few thousand parameters, saved as the hub's are."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.tasks.tokenizer import tokenizer_of

TEXTS = DataInfo("texts", tuple("abcd"), (24,), (), (), task="text", tokenizer="wordnet", reserved=8)
LONG_TEXTS = DataInfo("long-texts", tuple("ab"), (40,), (), (), task="text", tokenizer="wordnet", reserved=8)


@lru_cache(maxsize=1)
def pretrained() -> Path:
    """Folder of a model with a language-modelling head, made once per process."""
    place = Path(tempfile.mkdtemp(prefix="distilbert-"))
    save(place, "DistilBertForMaskedLM")
    return place


def save(place: Path, kind: str, **more: object) -> None:
    """Write a model of a class of transformers and WordNet's tokenizer into a folder."""
    import torch
    import transformers
    from transformers.utils import logging

    tokenizer = tokenizer_of("wordnet")
    tokenizer.backend.save(str(place / "tokenizer.json"))
    bert = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    distilbert = {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 40}
    chosen, config = (bert, "BertConfig") if kind.startswith("Bert") else (distilbert, "DistilBertConfig")
    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = getattr(transformers, kind)(
            getattr(transformers, config)(vocab_size=tokenizer.size, **{**chosen, **more})
        )
        made.save_pretrained(place)
    logging.enable_progress_bar()
