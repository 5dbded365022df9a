"""What an attack prepares before any data is poisoned, e.g. a trained trigger; a file that others can load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from safetensors.torch import save
from torch import Tensor

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.foundation.cache import plain, read_tensors, warn_unusable

FACTS = "facts"
"""Text entry of the file that holds the facts, as JSON."""


@dataclass(frozen=True, eq=False)
class Artefact:
    """Named CPU tensors and facts about them; empty for attacks that prepare nothing."""

    tensors: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))
    facts: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))

    def as_read(self) -> Artefact:
        """The same in memory of its own, laid out as ``load`` returns it: last bits of products depend on that."""
        return Artefact(MappingProxyType({name: plain(tensor) for name, tensor in self.tensors.items()}), self.facts)

    def save(self, path: Path) -> None:
        """Write a safetensors file in one step; ``load`` reads it back. Raises OSError."""
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        write_atomic(path, save(content, metadata={FACTS: json.dumps(dict(self.facts), sort_keys=True)}))

    @classmethod
    def load(cls, path: Path) -> Artefact | None:
        """The artefact in a file; None where there is none, or (with a warning) no such file."""
        content = read_tensors(path)
        if content is None:
            return None
        tensors, text = content
        try:
            facts = json.loads(text[FACTS])
        except (KeyError, ValueError) as error:
            warn_unusable(path, error)
            return None
        return cls(MappingProxyType(tensors), MappingProxyType(facts))


EMPTY = Artefact()
"""What attacks have that prepare nothing."""
