"""Label skew drawn from a Dirichlet distribution."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.partition.base import PARTITIONERS, Labels, Partitioner


@PARTITIONERS.register("dirichlet")
class DirichletPartitioner(Partitioner):
    """Each class is split among clients in proportions drawn from Dir(beta, ..., beta); small beta = strong skew.

    A draw that leaves some client with fewer than ``min_samples`` images is thrown away, at most ``tries`` times.
    After that the draw whose smallest client was largest is repaired: images, chosen at random, move one by one from
    the client that is largest at that moment to those that are short.  With hundreds of clients nearly every draw needs
    this; it touches only as many images as are missing, and the record says how many.

    hsu2019 draws the other way round, for each client its proportions of classes; clients are equally large
    then, here they are not.
    """

    paper = (("yurochkin2019", "per class over clients"), ("li2022niidbench", "redrawn below a minimum size"))
    choices = ("non-iid-degree",)
    beta: float = Field(0.5, gt=0.0, le=1e6, description="Concentration; 0.1 = strong skew, 100 = nearly IID")
    min_samples: int = Field(10, ge=1, description="Fewest images that a client may have")
    tries: int = Field(20, ge=1, le=1000, description="Draws before the best one is repaired")

    def owners(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> Labels:
        """Client of each image. Raises ConfigError when there are fewer than ``min_samples`` images per client."""
        drawn = self._best_draw(labels, clients, num_classes, rng)
        return self._repair(drawn, clients, rng)

    def notes(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> tuple[str, ...]:
        """How many images a repair moved, if there was one."""
        drawn = self._best_draw(labels, clients, num_classes, rng)
        moved = int((self._repair(drawn, clients, rng) != drawn).sum())
        if not moved:
            return ()
        return (
            f"partition repaired: {moved} of {len(labels)} training images were moved to clients whom the best of "
            f"{self.tries} draws left with fewer than {self.min_samples}",
        )

    def _best_draw(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> Labels:
        """The first draw that leaves nobody short, else the one whose smallest client is largest."""
        if self.min_samples * clients > len(labels):
            raise ConfigError(
                "partition.dirichlet.min_samples",
                self.min_samples,
                f"allowed: 1 to {len(labels) // clients} with {len(labels)} training images and {clients} clients",
            )
        best, best_minimum = self._draw(labels, clients, num_classes, rng), -1
        for attempt in range(self.tries):
            drawn = best if attempt == 0 else self._draw(labels, clients, num_classes, rng)
            minimum = int(np.bincount(drawn, minlength=clients).min())
            if minimum > best_minimum:
                best, best_minimum = drawn, minimum
            if best_minimum >= self.min_samples:
                break
        return best

    def _draw(self, labels: Labels, clients: int, num_classes: int, rng: np.random.Generator) -> Labels:
        owners = np.empty(len(labels), dtype=np.int64)
        for label in range(num_classes):
            members = rng.permutation(np.flatnonzero(labels == label))
            shares = rng.dirichlet(np.full(clients, self.beta))
            ends = np.floor(np.cumsum(shares) * len(members)).astype(np.int64)
            ends[-1] = len(members)
            owners[members] = np.repeat(np.arange(clients), np.diff(ends, prepend=0))
        return owners

    def _repair(self, owners: Labels, clients: int, rng: np.random.Generator) -> Labels:
        owners = owners.copy()
        sizes = np.bincount(owners, minlength=clients)
        for short in np.flatnonzero(sizes < self.min_samples):
            while sizes[short] < self.min_samples:
                donor = int(sizes.argmax())
                moved = rng.choice(np.flatnonzero(owners == donor))
                owners[moved] = short
                sizes[donor] -= 1
                sizes[short] += 1
        return owners
