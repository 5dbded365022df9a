"""The attack of a run: what is done to clients' data, to the model that is uploaded, to the server's own data."""

from __future__ import annotations

from dataclasses import dataclass

from attacks.compromise import COMPROMISES, Compromise
from attacks.poisoner import POISONERS, Poisoner
from attacks.uploader import UPLOADERS, PlainUpload, Uploader
from fedcrucible_core.config import Component, ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.registry import JointRegistry

ATTACKS: JointRegistry[Component] = JointRegistry("attack", POISONERS, UPLOADERS, COMPROMISES)
"""All names that ``attack.name`` takes: of poisoners, of upload attacks, of attacks on the server's synthetic data."""


@dataclass(frozen=True)
class Adversary:
    """A poisoner, an uploader and a compromise of the server's data, one of which ``attack.name`` names."""

    poisoner: Poisoner
    uploader: Uploader
    compromise: Compromise | None = None
    """What is done to the server's synthetic data; None = nothing."""

    @classmethod
    def of(cls, config: RunConfigBase) -> Adversary:
        """The attack that a configuration chooses, each half with its own section's parameters.

        A poisoner's upload is the trained model as it is.  An upload attack plants ``attack.trigger``; an untargeted
        one plants nothing.  An attack on the server's data plants ``attack.trigger`` there, and has no client.

        Raises:
            ConfigError: a name that isn't there, or a trigger that the upload attack can do nothing with.
        """
        name, trigger = config.attack.name, config.attack.trigger
        if trigger not in POISONERS:
            POISONERS[trigger]  # raises, with suggestions
        if name in POISONERS:
            return cls(POISONERS.built(config, name), PlainUpload())
        if name in COMPROMISES:
            poisoner = POISONERS.built(config, trigger)
            _require_target(config, name, poisoner)
            return cls(poisoner, PlainUpload(), COMPROMISES.built(config, name))
        if name not in UPLOADERS:
            ATTACKS[name]  # raises, with suggestions of all kinds
        uploader = UPLOADERS.built(config, name)
        poisoner = POISONERS.built(config, trigger if uploader.plants else "none")
        if uploader.needs_target:
            _require_target(config, name, poisoner)
        return cls(poisoner, uploader, uploader.compromise)

    @property
    def planted(self) -> bool:
        """Whether ``attack.trigger`` says what is planted."""
        return self.compromise is not None or bool(self.uploader.name and self.uploader.plants)

    @property
    def parts(self) -> tuple[Component, ...]:
        """The halves that have a name, and so documentation."""
        parts = (self.poisoner, self.uploader, self.compromise)
        return tuple(part for part in parts if part is not None and part.name not in ("", "none"))


def _require_target(config: RunConfigBase, name: str, poisoner: Poisoner) -> None:
    if not poisoner.targeted:
        targeted = [other for other in POISONERS if POISONERS.built(config, other).targeted]
        trigger = config.attack.trigger
        allowed = f"{name} needs a target; {did_you_mean(trigger, targeted)}allowed: {', '.join(targeted)}"
        raise ConfigError("attack.trigger", trigger, allowed)
