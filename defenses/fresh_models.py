"""Models trained from scratch for a splitter: on the set that is split, or on the guide's own public slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenses.model_store import ModelStore, trained_or_kept
from defenses.needs import FreshModels
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import logits
from fedcrucible_core.learning.fit import minimise, training_mode
from fedcrucible_core.learning.steps import Told, nobody

Untrained = Callable[[int], nn.Module]
"""An untrained model of the run's architecture, on its device, with weights drawn from a seed."""
LARGEST_SEED = 2**62
FORWARD_BATCH = 500


class MeanLogits(nn.Module):
    """Mean of several classifiers' logits ``[n, C]``."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Averaged before any softmax."""
        return torch.stack([member(x) for member in self.members]).mean(0)


class OwnRows(nn.Module):
    """Logits ``[n, C]`` of the very rows of a set, in their order: each by a model that wasn't trained on it.

    No model of other inputs: whoever asks for logits of a set takes these (``support/suspicion.py: model_logits``).
    """

    logits: Tensor

    def __init__(self, logits: Tensor, inputs: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("logits", logits)
        self.inputs = inputs

    def forward(self, x: Tensor) -> Tensor:
        """The logits. Raises ValueError for a set of another length."""
        if len(x) != len(self.logits):
            raise ValueError(f"these are the logits of {len(self.logits)} rows, asked for {len(x)}")
        if self.inputs is not None and x is not self.inputs and not torch.equal(x, self.inputs):
            raise ValueError("there are logits of the set alone, and the splitter asks for those of other inputs")
        return self.logits


class Probe(nn.Module):
    """One linear layer on a frozen guide's embeddings ``[n, e]`` of its inputs."""

    def __init__(self, guide: Guide, width: int, classes: int) -> None:
        super().__init__()
        self.guide = guide
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[n, C]``."""
        logits: Tensor = self.linear(self.guide.embeddings(x).to(self.linear.weight))
        return logits


def train_fresh(
    wanted: FreshModels,
    data: Labeled,
    untrained: Untrained,
    rng: torch.Generator,
    store: ModelStore | None = None,
    told: Told = nobody,
) -> nn.Module:
    """Train ``wanted.count`` models on ``data`` by cross-entropy, without augmentation; in eval mode, without gradient.

    Samples without a label (-1) teach nothing: left out.  Everything drawn (weights, order, dropout) follows from
    ``rng``; the global generator is left as it was.  What ``store`` has isn't trained again; ``told`` hears of epochs.
    """
    data = _labelled(data)
    about, epochs = "" if store is None else store.about(wanted, data), Epochs(wanted.count * wanted.epochs, told)
    members = [_trained(wanted, data, untrained, rng, store, about, epochs) for _ in range(wanted.count)]
    return MeanLogits(members).eval()


def train_folds(
    wanted: FreshModels,
    data: Labeled,
    untrained: Untrained,
    rng: torch.Generator,
    store: ModelStore | None = None,
    told: Told = nobody,
) -> OwnRows:
    """Train a model on all but each of ``wanted.count`` folds of ``data``; logits of every row by the one without it.

    Raises ValueError where there is one sample or one fold only: a model needs others to learn from.
    """
    folds = folds_of(len(data), wanted.count, rng)
    if len(folds) < 2:
        raise ValueError(f"held-out scores need two folds at least, there are {len(folds)} of {len(data)} samples")
    found, epochs = [], Epochs(len(folds) * wanted.epochs, told)
    for fold in folds:
        others = torch.ones(len(data), dtype=torch.bool).index_fill_(0, fold, False).nonzero().flatten()
        part = _labelled(data.subset(others.to(data.labels.device)))
        model = _trained(
            wanted, part, untrained, rng, store, "" if store is None else store.about(wanted, part), epochs
        )
        device = next(model.parameters()).device
        found.append(logits(model, data.inputs[fold.to(data.inputs.device)], FORWARD_BATCH, device).cpu())
    return OwnRows(torch.cat(found)[torch.cat(folds).argsort()])


def _labelled(data: Labeled) -> Labeled:
    rows = (data.labels >= 0).nonzero().flatten()
    return data if len(rows) == len(data) else data.subset(rows)


class Epochs:
    """Counts epochs of several models."""

    def __init__(self, total: int, told: Told) -> None:
        self.done, self.total, self._told = 0, total, told

    def begin(self) -> None:
        """One more begins."""
        self._told("training models that score", self.done, self.total)
        self.done += 1

    def model_done(self, number: int) -> None:
        """All of a model's, whoever trained them."""
        self.done = number


def _trained(
    wanted: FreshModels,
    data: Labeled,
    untrained: Untrained,
    rng: torch.Generator,
    store: ModelStore | None,
    about: str,
    epochs: Epochs,
) -> nn.Module:
    seed = int(torch.randint(LARGEST_SEED, (), generator=rng))
    model = untrained(seed)
    device = next(model.parameters()).device
    inputs, labels = data.for_model().to(device), data.labels.to(device)

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(model(inputs[rows]), labels[rows])

    def train() -> None:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)  # dropout draws from the global generator
            minimise(
                model.parameters(), loss, len(labels), wanted, rng, epochs=wanted.epochs,
                mode=partial(training_mode, model), before_epoch=epochs.begin,
            )  # fmt: skip

    before = epochs.done
    trained_or_kept(store, about, model, inputs, rng, train)
    epochs.model_done(before + wanted.epochs)
    return model.requires_grad_(False)


def folds_of(n: int, folds: int, rng: torch.Generator) -> list[Tensor]:
    """Rows 0..n-1 in ``folds`` parts (as many as there are rows, if those are fewer), ascending, by chance."""
    return [part.sort().values for part in torch.randperm(n, generator=rng).tensor_split(min(folds, n)) if len(part)]


def train_probe(wanted: FreshModels, data: Labeled, guide: Guide, classes: int, rng: torch.Generator) -> nn.Module:
    """Train one linear layer on the guide's embeddings of ``data``, labelled samples alone; they are computed once."""
    data = _labelled(data)
    inputs = guide.embeddings(data.for_model())
    seed = int(torch.randint(LARGEST_SEED, (), generator=rng))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = Probe(guide, inputs.shape[1], classes).to(inputs.device)
    labels = data.labels.to(inputs.device)

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(probe.linear(inputs[rows]), labels[rows])

    minimise(probe.parameters(), loss, len(labels), wanted, rng, epochs=wanted.probe_epochs)
    return probe.requires_grad_(False).eval()
