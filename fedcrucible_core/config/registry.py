"""Names to classes, by decorator."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar, cast

from fedcrucible_core.config.component import Component
from fedcrucible_core.config.errors import ConfigError, did_you_mean

T = TypeVar("T", bound=Component)


class Configured(Protocol):
    """What a registry asks of a run's configuration."""

    def named(self, key: str) -> str:
        """The name that stands at a configuration key, e.g. ``attack.name``."""

    def component(self, section: str, name: str) -> Component:
        """The component ``name`` of a section with this configuration's parameters for it."""


class Registry(Generic[T]):
    """The registered components of one kind, e.g. ``Registry("defense", "defenses.rules")``.

    ``folders`` are the packages (or modules) whose import registers the built-in components: every module of a
    folder is imported, on first use, so a new file needs no list. ``key`` is the configuration key that names one
    of them; empty = ``<section>.name``.
    """

    def __init__(self, section: str, *folders: str, key: str = "") -> None:
        self.section = section
        self.folders = folders
        self.key = key or f"{section}.name"
        self.beside: tuple[Registry[Any], ...] = ()
        """Others whose names stand at the same key, so that none may be taken twice."""
        self._classes: dict[str, type[T]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator: file a component under ``name``.

        Raises ValueError when the name is taken by another class. A module that is imported once more may register
        its class anew.
        """

        def decorate(cls: type[T]) -> type[T]:
            known = (self._classes, *(other._classes for other in self.beside))
            taken: type[Component] | None = next((classes[name] for classes in known if name in classes), None)
            if taken is not None and _identity(taken) != _identity(cls):
                raise ValueError(f"{self.section} {name!r} is already registered by {'.'.join(_identity(taken))}")
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

    def of(self, config: Configured) -> T:
        """The component that a run's configuration chooses, with its parameters.

        Raises ConfigError for a name that isn't there.
        """
        return self.built(config, config.named(self.key))

    def built(self, config: Configured, name: str) -> T:
        """The component ``name`` with the parameters that a run's configuration has for it, chosen or not."""
        return cast("T", config.component(self.section, name))

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True  # first: what is imported below may ask this registry
            for folder in self.folders:
                import_all(folder)


class JointRegistry(Registry[T]):
    """All components of several registries whose names stand at one key; register in one of the parts.

    Raises ValueError where two parts use one name.
    """

    def __init__(self, section: str, *parts: Registry[Any], key: str = "") -> None:
        super().__init__(section, key=key)
        self.parts = parts
        for part in parts:
            part.beside = tuple(other for other in parts if other is not part)
        self._load()

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Refused: what kind of component it is has to be said. Raises TypeError."""
        raise TypeError(f"{self.section} {name!r} must be registered as one of its kinds")

    def _load(self) -> None:
        self._classes = {}
        for part in self.parts:
            part._load()
            twice = self._classes.keys() & part._classes.keys()
            if twice:
                raise ValueError(f"{self.section} {min(twice)!r} is registered twice")
            self._classes |= part._classes


def import_all(package: str) -> None:
    """Import a package and every module that lies in it, in name order; names with a leading underscore are left."""
    found = importlib.import_module(package)
    for module in pkgutil.iter_modules(getattr(found, "__path__", ())):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package}.{module.name}")


def _identity(cls: type[Component]) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
