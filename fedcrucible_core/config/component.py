"""What every swappable piece (attack, rule, purifier, model, ...) has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from fedcrucible_core.config.citation import Paper


@dataclass(frozen=True)
class Names:
    """Marks a text field that names a component: ``Annotated[str, Names("defense")]``.

    A run that reaches the field's component reaches the named one too (``server_app/identity.py``).
    """

    section: str
    """Section of the configuration in which the named component has its parameters."""


class Component(BaseModel):
    """A value with one validated constructor: its fields are its parameters and its config keys.

    A component never changes after construction; whatever it must remember between rounds travels in an
    explicit state mapping.  Its docstring is what ``fedcrucible list`` prints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Raise TypeError for choices that aren't texts: settings travel as text, and would never equal them."""
        for key, field in cls.model_fields.items():
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            if not all(isinstance(choice, str) for choice in choices):
                raise TypeError(f"{cls.__name__}.{key}: choices must be texts, not {choices}")

    name: ClassVar[str] = ""
    """Registered name, set by the registry."""
    paper: ClassVar[Paper] = ""
    """Source: (key of docs/references.toml, section or equation), several such pairs, or words."""
    choices: ClassVar[tuple[str, ...]] = ()
    """Headings of docs/choices.md: what the source leaves open, and what is done here."""
    knowledge: ClassVar[tuple[str, ...]] = ()
    """What it needs that a real server (or attacker) may not have; printed beside its numbers."""
    state_kept: ClassVar[str] = ""
    """What it remembers from round to round, with its size, e.g. ``one [d] history per client``; empty = nothing."""
    cost: ClassVar[str] = ""
    """Time and memory of one call in n clients, d parameters (or images, epochs), e.g. ``O(n^2 d): one Gram pass``."""
    traps: ClassVar[tuple[str, ...]] = ()
    """Mistakes of public code or of a plain reading of the paper that this one avoids, a few words each."""
