"""What is learned, and from what: a logistic regression, a client's pictures, and the model as numpy arrays."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from fedcrucible_assets import asset_path

Array = npt.NDArray[Any]
Pictures = tuple[Array, Array]
"""Grey pictures float64 ``[n, 784]`` in [0, 1], and their labels ``[n]`` in 0..9."""
CLASSES, PIXELS = 10, 784


@cache
def _pictures(asset: str) -> Pictures:
    """A file of the slice of Fashion-MNIST that ships with FedCrucible; read once per process."""
    with np.load(asset_path(asset)) as file:
        return file["images"].reshape(-1, PIXELS) / 255, file["labels"]


def load_data(partition_id: int, num_partitions: int, examples: int) -> Pictures:
    """The pictures of one client, at most ``examples``: every ``num_partitions``-th one of the training set."""
    images, labels = _pictures("fashion-train")
    return images[partition_id::num_partitions][:examples], labels[partition_id::num_partitions][:examples]


def test_data() -> Pictures:
    """The 10,000 test pictures; the server's."""
    return _pictures("fashion-test")


def make_model(iterations: int) -> LogisticRegression:
    """A model of zeros, which goes on from what it is each time it is fitted, ``iterations`` steps of L-BFGS."""
    model = LogisticRegression(max_iter=iterations, warm_start=True, C=0.1)
    model.classes_ = np.arange(CLASSES)
    model.coef_, model.intercept_ = np.zeros((CLASSES, PIXELS)), np.zeros(CLASSES)
    return model


def get_arrays(model: LogisticRegression) -> list[Array]:
    """The model as it travels: coefficients ``[10, 784]``, intercepts ``[10]``."""
    return [model.coef_, model.intercept_]


def set_arrays(model: LogisticRegression, arrays: list[Array]) -> None:
    """Put into a model what has travelled."""
    model.coef_, model.intercept_ = arrays
