"""The server's own update on its root set, trained as a client trains."""

from __future__ import annotations

import torch
from torch import Tensor

from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.fit import batch_bounds
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.training import train
from fedcrucible_core.learning.vector import flatten_parameters
from fedcrucible_core.learning.weights import Weights


def root_update(
    model: SplitModel,
    sent: Weights,
    root: Labeled,
    training: TrainingSection,
    rng: torch.Generator,
    precision: str,
    client_images: int = 0,
) -> Tensor:
    """Train the server's working model from the model that was sent out; returns trained minus sent, ``[d]``.

    ``client_images`` > 0 trains for as many steps as a client with that many images takes, to the nearest whole epoch
    of the root set and at least one; 0 for the clients' number of epochs.

    The working model holds what was sent again afterwards, buffers included.
    """
    sent.load_into(model)
    settings = training.model_copy(update={"local_epochs": _epochs(training, len(root.inputs), client_images)})
    try:
        train(model, root.inputs, root.labels, settings, rng, precision=precision)
        return flatten_parameters(model) - sent.parameters
    finally:
        model.eval()
        sent.load_into(model)


def _epochs(training: TrainingSection, images: int, client_images: int) -> int:
    if client_images == 0:
        return training.local_epochs
    steps_of_a_client = training.local_epochs * len(batch_bounds(client_images, training.batch_size))
    return max(1, round(steps_of_a_client / len(batch_bounds(images, training.batch_size))))
