"""The guide's own public slice: labelled samples that are no client's, no validation's and no test's."""

from __future__ import annotations

import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.pixels import fit
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets.public import public_slice


def public_samples(info: DataInfo, key: str = "synthetic.source", value: object = "public") -> Labeled:
    """The public samples that ship with a data set, as its models take them.

    Raises:
        ConfigError: there are none; it names ``key``, whose ``value`` asks for them.
    """
    found = public_slice(info)
    if found is None:
        raise ConfigError(key, value, f"no public samples ship with {info.name}; allowed with those that have some")
    inputs = found.for_model()
    if info.task == "vision" and inputs.shape[1:] != info.shape:
        inputs = fit(inputs.to(torch.float32), info.shape)
    return Labeled(inputs, found.labels)
