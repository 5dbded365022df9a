"""Digests of models: equal models, equal digests, whatever file they lie in."""

from __future__ import annotations

import hashlib
import json

import torch

from fedcrucible_core.learning.weights import SOLE, Population, Weights


def model_sha256(model: Weights) -> str:
    """SHA-256 of the float32 bytes of parameters, buffers, bounds in this order: equal models, equal digests."""
    digest = hashlib.sha256()
    for vector in (model.parameters, model.buffers, *model.bounds.values()):
        digest.update(vector.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def population_sha256(population: Population) -> str:
    """Digest of a run's models: of one its own, of several that of their digests."""
    digests = {name: model_sha256(weights) for name, weights in population.items()}
    if set(digests) == {SOLE}:
        return digests[SOLE]
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
