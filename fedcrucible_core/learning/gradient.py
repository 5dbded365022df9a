"""The gradient of a model on a data set, without a step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedcrucible_core.learning.fit import batch_bounds, batch_norm_mode
from fedcrucible_core.learning.vector import flatten_gradients


def mean_gradient(model: nn.Module, inputs: Tensor, labels: Tensor, batch_size: int) -> Tensor:
    """Gradient ``[d]`` of the mean cross-entropy over all samples, computed in float32, on the CPU.

    Batch normalisation works as in training (statistics of batches in the data's order), so running statistics move;
    parameters don't.  Nothing is dropped out, so nothing is left to chance.  ``inputs`` ``[n, ...]`` and ``labels``
    ``[n]`` lie on the model's device.
    """
    model.zero_grad()
    with batch_norm_mode(model, "train"):
        for start, stop in batch_bounds(len(inputs), batch_size):
            loss = F.cross_entropy(model(inputs[start:stop]), labels[start:stop], reduction="sum") / len(inputs)
            torch.autograd.backward(loss)
    gradient = flatten_gradients(model)
    model.zero_grad()
    return gradient
