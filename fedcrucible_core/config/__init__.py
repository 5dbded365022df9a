"""Ground floor: every knob of a run, validated once, before any client starts."""

from fedcrucible_core.config.component import Component
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.registry import Registry
from fedcrucible_core.rooms import require_own_rooms

__all__ = ["Component", "ConfigError", "Registry"]

require_own_rooms()
