"""The model, what of it travels, training and the test."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from transformers_app import lora
from transformers_app.texts import LENGTH, TOPICS, Texts, split, tokenizer

State = dict[str, Tensor]
ADAPTED = ("query", "value", "dense")
"""Linear layers that an adapter is put on."""


def new_model() -> nn.Module:
    """A tiny BERT, from a configuration: nothing is fetched from a hub."""
    config = BertConfig(
        vocab_size=len(tokenizer()),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        num_labels=len(TOPICS),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForSequenceClassification(config)  # type: ignore[no-any-return]


def make_model(lora_rank: int, seed: int) -> nn.Module:
    """The base model; with ``lora_rank`` above 0 it is frozen, and an adapter on it is what is trained."""
    model = new_model()
    model.load_state_dict(_base(seed))
    torch.manual_seed(seed)
    return lora.adapt(model, ADAPTED, lora_rank, trained_whole=("classifier",)) if lora_rank else model


def sent(model: nn.Module) -> State:
    """What travels: the state dict, or with an adapter the part of it that is trained."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    state: State = model.state_dict()
    return state if len(trained) == len(list(model.parameters())) else {k: state[k] for k in state if k in trained}


def receive(model: nn.Module, state: State) -> None:
    """Put into the model what has travelled."""
    unexpected = model.load_state_dict(state, strict=False).unexpected_keys
    if unexpected:
        raise ValueError(f"entries that the model doesn't have: {', '.join(unexpected)}")


@cache
def _base(seed: int) -> State:
    """What a hub's checkpoint is elsewhere: here a model trained for seconds on the public texts."""
    torch.manual_seed(seed)
    model = new_model()
    train(model, split("public"), epochs=5, lr=2e-3, batch_size=16, seed=seed)
    return model.state_dict()


def train(model: nn.Module, texts: Texts, epochs: int, lr: float, batch_size: int, seed: int) -> float:
    """Train in place by AdamW what is not frozen; returns the mean loss of the last epoch."""
    inputs, topics = encode(texts[0]), texts[1]
    shuffling = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    model.train()
    losses: list[float] = []
    for _ in range(epochs):
        losses = []
        for rows in torch.split(torch.randperm(len(topics), generator=shuffling), batch_size):
            optimiser.zero_grad()
            loss = model(**{key: part[rows] for key, part in inputs.items()}, labels=topics[rows]).loss
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def encode(texts: tuple[str, ...]) -> State:
    """Token ids and attention mask, int64 ``[n, LENGTH]`` each."""
    found = tokenizer()(list(texts), padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}


@torch.no_grad()
def predict(model: nn.Module, texts: tuple[str, ...]) -> Tensor:
    """The topic of each text, int64 ``[n]``."""
    model.eval()
    return model(**encode(texts)).logits.argmax(1)  # type: ignore[no-any-return]


def accuracy(model: nn.Module, texts: Texts) -> float:
    """Share of texts whose topic is found, in [0, 1]."""
    return (predict(model, texts[0]) == texts[1]).double().mean().item()
