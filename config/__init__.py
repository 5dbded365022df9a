"""Ground floor: every knob of a run, validated once, before any client starts."""

from config.component import Component
from config.errors import ConfigError
from config.registry import Registry
from config.rooms import require_own_rooms

__all__ = ["Component", "ConfigError", "Registry"]

require_own_rooms()
