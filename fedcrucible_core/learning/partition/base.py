"""The contract of a partitioner: it names an owner for every image, so parts are disjoint and complete by design."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from fedcrucible_core.config import Component, ConfigError, Registry
from fedcrucible_core.learning.partition.parts import Parts

Labels = npt.NDArray[np.int64]


class Partitioner(Component):
    """A way to share M labelled images out to clients; the same generator state gives the same parts."""

    @abstractmethod
    def owners(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> Labels:
        """The client (0..clients-1) of each image, int64 ``[M]``; arguments are those of :meth:`split`, checked."""

    def notes(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> tuple[str, ...]:  # noqa: ARG002
        """What the reader of a record must know of :meth:`split` with the same arguments and generator state."""
        return ()

    @property
    def id_column(self) -> str | None:
        """The data set's column that owners are read from; None where labels are enough."""
        return None

    def owners_by_id(self, ids: Labels, clients: int, rng: np.random.Generator) -> Labels:
        """The client of each image where ``id_column`` is known: ``ids`` int64 ``[M]``, equal for one id."""
        raise NotImplementedError(f"{self.name} has no use for ids")

    def split(
        self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator, ids: Labels | None = None
    ) -> Parts:
        """Indices of each client's images: disjoint, together all of 0..M-1, each ascending, none empty.

        Args:
            labels: int64 ``[M]``, values 0..num_classes-1.
            clients: number of parts, 1..M.
            num_classes: number of classes, whether or not each occurs.
            rng: the only source of chance.
            ids: int64 ``[M]``, what :attr:`id_column` says of each image; only for partitioners that have one.

        Raises:
            ConfigError: more clients than images, or a parameter that leaves a client without images.
            ValueError: ``labels`` is not a vector of class numbers.
        """
        labels = np.asarray(labels)
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"labels must be an integer vector, got {labels.dtype} of shape {labels.shape}")
        if len(labels) and not (labels.min() >= 0 and labels.max() < num_classes):
            raise ValueError(f"labels must lie in 0..{num_classes - 1}, found {labels.min()}..{labels.max()}")
        if not 1 <= clients <= len(labels):
            raise ConfigError("federation.clients", clients, f"allowed: 1 to the {len(labels)} training images")
        if ids is None:
            owners = self.owners(labels.astype(np.int64), clients, num_classes, rng)
        else:
            owners = self.owners_by_id(ids, clients, rng)
        parts = Parts.of(owners, clients)
        if parts.sizes.min() == 0:
            raise ConfigError(
                "partition.name",
                self.name,
                f"leaves client {int(parts.sizes.argmin())} of {clients} without images ({len(labels)} in all); "
                "use fewer clients, more training images or milder skew",
            )
        return parts


PARTITIONERS: Registry[Partitioner] = Registry("partition", "fedcrucible_core.learning.partition")
