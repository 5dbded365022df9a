"""The attack of a run: what is done to data, and what is done to the model that is uploaded."""

from __future__ import annotations

from dataclasses import dataclass

from attacks.poisoner import POISONERS, Poisoner
from attacks.uploader import UPLOADERS, PlainUpload, Uploader
from fedcrucible_core.config import Component, ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.registry import JointRegistry

ATTACKS: JointRegistry[Component] = JointRegistry("attack", POISONERS, UPLOADERS)
"""All names that ``attack.name`` takes: those of poisoners and of upload attacks."""


@dataclass(frozen=True)
class Adversary:
    """A poisoner and an uploader, one of which ``attack.name`` names."""

    poisoner: Poisoner
    uploader: Uploader

    @classmethod
    def of(cls, config: RunConfigBase) -> Adversary:
        """The attack that a configuration chooses, each half with its own section's parameters.

        A poisoner's upload is the trained model as it is.  An upload attack plants ``attack.trigger``; an untargeted
        one plants nothing.

        Raises:
            ConfigError: a name that isn't there, or a trigger that the upload attack can do nothing with.
        """
        name, trigger = config.attack.name, config.attack.trigger
        if trigger not in POISONERS:
            POISONERS[trigger]  # raises, with suggestions
        if name in POISONERS:
            return cls(POISONERS.built(config, name), PlainUpload())
        if name not in UPLOADERS:
            ATTACKS[name]  # raises, with suggestions of both kinds
        uploader = UPLOADERS.built(config, name)
        poisoner = POISONERS.built(config, trigger if uploader.plants else "none")
        if uploader.needs_target and not poisoner.targeted:
            targeted = [other for other in POISONERS if POISONERS.built(config, other).targeted]
            allowed = f"{name} needs a target; {did_you_mean(trigger, targeted)}allowed: {', '.join(targeted)}"
            raise ConfigError("attack.trigger", trigger, allowed)
        return cls(poisoner, uploader)

    @property
    def parts(self) -> tuple[Component, ...]:
        """The halves that have a name, and so documentation."""
        return tuple(part for part in (self.poisoner, self.uploader) if part.name not in ("", "none"))
