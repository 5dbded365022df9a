"""A language model that runs in this process, through Hugging Face transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import first_line
from fedcrucible_core.foundation.answer_cache import AnswerCache, Reply, Request, Turn
from fedcrucible_core.foundation.chat_budget import Tokens
from fedcrucible_core.learning.rng import derive_seed


class LocalModel:
    """A causal language model; its answers are kept like those of a service.

    Each answer is drawn from a seed of its own, so it doesn't depend on what was asked before.
    """

    def __init__(
        self,
        model: str,
        key: str,
        cache: AnswerCache,
        device: torch.device,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float,
    ) -> None:
        """``key`` is the configuration key that names the model; nothing is loaded yet."""
        self.model = model
        self.key = key
        self.cache = cache
        self.device = device
        self.sampling = {"max_new_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
        self._loaded: tuple[Any, Any] | None = None

    @property
    def has_template(self) -> bool:
        """Whether the model was made to answer messages; else it only continues text. Loads its tokenizer."""
        return bool(self._parts()[0].chat_template)

    def ask_all(self, requests: Sequence[Request], likely_answer: int = 0) -> list[Reply]:  # noqa: ARG002
        """The answer to each request, in order; those that are kept are read."""
        replies = []
        for request in requests:
            reply = self.cache.read(request)
            if reply is None:
                reply = self._continued(request) if request.lines else self._answered(request)
                self.cache.write(request, reply)
            replies.append(reply)
        return replies

    def _answered(self, request: Request) -> Reply:
        """One answer to messages."""
        tokenizer, _ = self._parts()
        if tokenizer.chat_template:
            turns = [{"role": turn.role, "content": turn.text} for turn in request.turns]
            prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        else:
            prompt = "".join(f"{turn.text}\n\n" for turn in request.turns)
        (text,), tokens = self._generate(prompt, request, 1)
        return Reply(text, False, tokens)

    def _continued(self, request: Request) -> Reply:
        """The first line of each continuation, as one JSON object a line."""
        texts, tokens = self._generate(_transcript(request.turns), request, request.lines)
        lines = [text.strip().partition("\n")[0] for text in texts]
        return Reply("\n".join(json.dumps({"text": line}) for line in lines), False, tokens)

    def _generate(self, prompt: str, request: Request, count: int) -> tuple[list[str], Tokens]:
        tokenizer, model = self._parts()
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=not tokenizer.chat_template)["input_ids"]
        ids = self._fitting(ids).to(self.device)
        greedy = self.sampling["temperature"] == 0
        chosen = {"max_new_tokens": self.sampling["max_new_tokens"]} if greedy else self.sampling
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(derive_seed(0, "local model", *self._number(request)))
            made = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=not greedy,
                num_return_sequences=1 if greedy else count,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
                **chosen,
            )
        answers = made[:, ids.shape[1] :]
        texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
        return texts, Tokens(ids.numel(), answers.numel())

    def _fitting(self, ids: torch.Tensor) -> torch.Tensor:
        """The end of a prompt that is longer than the model's window leaves room for."""
        window = getattr(self._parts()[1].config, "max_position_embeddings", None)
        if not isinstance(window, int):
            return ids
        room = window - int(self.sampling["max_new_tokens"])
        if room < 1:
            raise ConfigError(
                f"{self.key.rpartition('.')[0]}.max_new_tokens",
                self.sampling["max_new_tokens"],
                f"the model's window is {window} tokens; allowed: fewer than that",
            )
        return ids[:, -room:]

    def _number(self, request: Request) -> tuple[int, ...]:
        return (int(self.cache.path(request).stem[:15], 16),)

    def _parts(self) -> tuple[Any, Any]:
        """Tokenizer and model. Raises ConfigError where they can't be loaded."""
        if self._loaded is None:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(self.model, trust_remote_code=False)
                with torch.random.fork_rng(devices=[]):
                    model = AutoModelForCausalLM.from_pretrained(self.model, trust_remote_code=False)
            except Exception as error:  # whatever goes wrong in loading, the user needs the same answer
                wanted = f"can't be loaded ({first_line(error)}); check name and network, or give a model's folder"
                raise ConfigError(self.key, self.model, wanted) from error
            self._loaded = tokenizer, model.eval().to(self.device)
        return self._loaded


def _transcript(turns: Sequence[Turn]) -> str:
    return "\n".join(turn.text for turn in turns)
