"""Names to classes, by decorator."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from config.component import Component
from config.errors import ConfigError, did_you_mean

T = TypeVar("T", bound=Component)


class Registry(Generic[T]):
    """The registered components of one kind, e.g. ``Registry("attack", room="attacks")``.

    ``room`` is the package whose import registers the built-in components; it is imported on first use, so a
    process pays only for the rooms it enters.  ``key`` is the configuration key that names one of them; empty =
    ``<section>.name``.
    """

    def __init__(self, section: str, room: str, key: str = "") -> None:
        self.section = section
        self.room = room
        self.key = key or f"{section}.name"
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator: file a component under ``name``. Raises ValueError when the name is taken."""

        def decorate(cls: type[T]) -> type[T]:
            taken = self._classes.get(name)
            if taken is not None and taken.__qualname__ != cls.__qualname__:
                raise ValueError(f"{self.section} {name!r} is already registered by {taken.__qualname__}")
            if not (cls.__doc__ or "").strip():
                raise ValueError(f"{self.section} {name!r} needs a docstring: it is its documentation")
            cls.name = name
            self._classes[name] = cls
            return cls

        return decorate

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._classes))

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._classes

    def __getitem__(self, name: str) -> type[T]:
        self._load()
        try:
            return self._classes[name]
        except KeyError:
            allowed = f"{did_you_mean(name, self._classes)}allowed: {', '.join(self)}"
            raise ConfigError(self.key, name, allowed) from None

    def classes(self) -> Mapping[str, type[T]]:
        """All registered classes by name, in name order."""
        return {name: self[name] for name in self}

    def create(self, name: str, params: Mapping[str, Any] | None = None) -> T:
        """Build the component ``name`` from its parameters (validated by pydantic)."""
        return self[name](**(params or {}))

    def _load(self) -> None:
        importlib.import_module(self.room)
