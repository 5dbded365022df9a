"""What every splitter promises."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from defenses.base import Split, Splitter
from defenses.contracts.promises import Promise, check_all, require, unchanged
from defenses.contracts.server_setting import make_data, make_guide, make_model, same, snapshot
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import Labeled

SAMPLES = 24
TOKENS = 30
"""Numbers below which token ids lie."""


def check_splitter(splitter: Splitter, *, exempt: Collection[str] = ()) -> None:
    """Check all promises of :data:`SPLITTER_PROMISES` on up to 24 tiny images or texts, with all that it needs.

    Raises:
        AssertionError: names the promise and what was found.
        ValueError: ``exempt`` names no promise.
    """
    check_all(splitter, SPLITTER_PROMISES, exempt)


def labelled(n: int = SAMPLES) -> tuple[Labeled, GuideTargets]:
    """Images whose every third label is wrong, and what a guide says of them."""
    data = make_data(n, augmented=False)
    labels = data.originals.labels.clone()
    labels[::3] = (labels[::3] + 1) % 4
    return Labeled(data.originals.inputs, labels), make_guide(data)


def labelled_texts(n: int = SAMPLES) -> tuple[Labeled, GuideTargets]:
    """Token ids with the labels of :func:`labelled`, and what a guide says of them."""
    data, guide = labelled(n)
    ids = torch.randint(1, TOKENS, (n, 6), generator=torch.Generator().manual_seed(1))
    return Labeled(ids, data.labels), guide


def _text_model() -> nn.Module:
    """The mean of word vectors, then one linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.EmbeddingBag(TOKENS, 8, mode="mean"), nn.Linear(8, 4)).eval()


def _split(splitter: Splitter, data: Labeled, guide: GuideTargets) -> Split:
    needs = splitter.needs
    rng, model = torch.Generator().manual_seed(3), None
    if needs.fresh:
        model = make_model() if data.inputs.is_floating_point() else _text_model()
    return splitter.split(data, guide if needs.guide else None, model, rng)


def _parts(found: Split) -> list[Tensor]:
    return [found.clean, found.triggered, found.mixed]


# --- the promises -----------------------------------------------------------------------------------------------------


def _partition(splitter: Splitter) -> None:
    for n in (1, 2, 3, SAMPLES):
        found = _split(splitter, *labelled(n))
        for rows in _parts(found):
            require(rows.dtype == torch.int64 and rows.ndim == 1, f"row numbers are {rows.dtype} {tuple(rows.shape)}")
            require(bool((rows[1:] > rows[:-1]).all()), f"row numbers {rows.tolist()} don't ascend")
        rows = torch.cat(_parts(found)).sort().values
        require(torch.equal(rows, torch.arange(n)), f"the parts hold {rows.tolist()}, not each of {n} rows once")
        for name, values in found.scores.items():
            require(values.shape == (n,), f"score {name} has shape {tuple(values.shape)}, not ({n},)")
            require(bool(torch.isfinite(values).all()), f"score {name} isn't finite")
        for name, value in found.facts.items():
            require(math.isfinite(value), f"fact {name} is {value}")


def _texts(splitter: Splitter) -> None:
    for n in (1, SAMPLES):
        rows = torch.cat(_parts(_split(splitter, *labelled_texts(n)))).sort().values
        require(torch.equal(rows, torch.arange(n)), f"of {n} texts the parts hold {rows.tolist()}")


def _deterministic(splitter: Splitter) -> None:
    before = torch.get_rng_state()
    first, second = _split(splitter, *labelled()), _split(splitter, *labelled())
    require(unchanged(_padded(first), _padded(second)), "the same seed gave other parts")
    require(first.facts == second.facts, f"the same seed gave other facts: {first.facts}, {second.facts}")
    require(torch.equal(before, torch.get_rng_state()), "it drew from the global generator")


def _order(splitter: Splitter) -> None:
    data, guide = labelled()
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(5))
    moved = replace(guide, embeddings=guide.embeddings[order], logits=guide.logits[order])
    plain, shuffled = _padded(_split(splitter, data, guide)), _padded(_split(splitter, data.subset(order), moved))
    for name, a, b in zip(("clean", "triggered", "mixed"), plain, shuffled, strict=True):
        require(torch.equal(a[order], b), f"the {name} part holds other samples in another order")


def _padded(found: Split) -> list[Tensor]:
    """The parts as masks bool ``[n]``."""
    n = sum(len(rows) for rows in _parts(found))
    return [torch.zeros(n, dtype=torch.bool).index_fill_(0, rows, True) for rows in _parts(found)]


def _inputs(splitter: Splitter) -> None:
    data, guide = labelled()
    watched = [data.inputs, data.labels, guide.embeddings, guide.text_embeddings, guide.logits]
    copies = [tensor.clone() for tensor in watched]
    model = make_model() if splitter.needs.fresh else None
    before = {} if model is None else snapshot(model)
    splitter.split(data, guide if splitter.needs.guide else None, model, torch.Generator().manual_seed(3))
    require(unchanged(copies, watched), "the samples or the guide's targets were changed")
    require(model is None or same(before, snapshot(model)), "the model was changed")


SPLITTER_PROMISES: Mapping[str, Promise[Splitter]] = {
    "every row is in one part": _partition,
    "texts are split too": _texts,
    "same seed, same parts": _deterministic,
    "the order of rows is irrelevant": _order,
    "samples, guide and model are left as they were": _inputs,
}
"""Promise -> its check."""
