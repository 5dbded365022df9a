"""A round's updates as numbers about them that fit into a record, and rules that judge them again by these alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from defenses.updates import ClientUpdates, ServerView, State, without_giants


class NotStoredError(ValueError):
    """A rule asks for what can't be had without the updates themselves."""


@dataclass(frozen=True)
class UpdateGeometry:
    """How the updates of one round lie to each other: all that rules on lengths, distances and cosines ask for.

    The numbers are those that a rule of the run computes itself, bit for bit; a row is a client, in partition order.
    """

    ids: Tensor
    """Partitions, int64 ``[n]``."""
    num_examples: Tensor
    """Claimed training examples, float64 ``[n]``."""
    norms: Tensor
    """Lengths of the updates, float64 ``[n]``."""
    largest: Tensor
    """Largest absolute value of each, float64 ``[n]``."""
    inner: Tensor
    """Inner products of the updates, float64 ``[n, n]``."""
    centred_inner: Tensor
    """Those of the updates minus their mean."""
    model_inner: Tensor
    """Those of the local models."""
    among: Tensor
    """Rows that are no giants (see ``without_giants``), int64 ``[k]``."""
    centred_inner_among: Tensor
    """``centred_inner`` of these alone, ``[k, k]``; empty where they are all."""
    size: Tensor
    """d, the number of parameters, int64 ``[1]``."""

    @classmethod
    def of(cls, updates: ClientUpdates) -> UpdateGeometry:
        """Measure a round's updates: three Gram passes, which the rule that follows need not do again."""
        rows = without_giants(updates.norms).nonzero().flatten()
        whole = len(rows) == len(updates)
        return cls(
            torch.tensor(list(updates.ids), dtype=torch.int64),
            updates.num_examples,
            updates.norms,
            updates.largest,
            updates.inner,
            updates.centred_inner,
            updates.model_inner,
            rows,
            torch.empty(0, 0, dtype=torch.float64) if whole else updates.centred_inner_among(rows),
            torch.tensor([updates.matrix.shape[1]], dtype=torch.int64),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> UpdateGeometry:
        """What ``tensors`` gave. Raises ValueError where something is missing or shapes don't agree."""
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in tensors]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        found = cls(**{name: tensors[name] for name in names})
        n, k = len(found.ids), len(found.among)
        vectors = (found.num_examples, found.norms, found.largest)
        square = (found.inner, found.centred_inner, found.model_inner)
        fits = all(v.shape == (n,) for v in vectors) and all(m.shape == (n, n) for m in square)
        if not fits or n == 0 or found.size.shape != (1,) or (k < n and found.centred_inner_among.shape != (k, k)):
            raise ValueError("its shapes don't agree")
        return found


class StoredUpdates(ClientUpdates):
    """A round of which only the geometry is left; whatever needs more than that raises :class:`NotStoredError`."""

    def __init__(
        self, geometry: UpdateGeometry, round: int, rng: torch.Generator, state: State, server: ServerView
    ) -> None:
        values = {
            "geometry": geometry,
            "ids": geometry.ids.tolist(),
            "num_examples": geometry.num_examples,
            "round": round,
            "rng": rng,
            "state": state,
            "server": server,
            "norms": geometry.norms,
            "largest": geometry.largest,
            "inner": geometry.inner,
            "centred_inner": geometry.centred_inner,
            "model_inner": geometry.model_inner,
        }
        self.__dict__.update(values)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        """d, the number of parameters."""
        return int(self.__dict__["geometry"].size)

    def __getattr__(self, name: str) -> Tensor:
        """Only what isn't stored comes here."""
        if name in ("matrix", "w_t"):
            raise NotStoredError("needs the updates themselves")
        raise AttributeError(name)

    def centred_inner_among(self, rows: Tensor) -> Tensor:
        """As it was stored; other rows than those that are no giants weren't."""
        geometry: UpdateGeometry = self.__dict__["geometry"]
        if len(rows) == len(self):
            return geometry.centred_inner
        if not torch.equal(rows, geometry.among):
            raise NotStoredError("needs distances among clients of its own choice")
        return geometry.centred_inner_among

    def cosines_to(self, vector: Tensor) -> Tensor:
        """Not stored."""
        raise NotStoredError("needs the updates themselves")

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """One NaN: which reply counts how much is known, what comes out isn't, and spoils all that is made of it."""
        return torch.full((1,), torch.nan)
