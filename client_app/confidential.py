"""What a node's own data hold and are called stays there: errors that leave it tell their kind, its log the rest.

A loader's message names files, a label may be somebody's name, and the server's log and record are read by others.
"""

from __future__ import annotations

import re

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text

_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,60}")


class TellableError(ConfigError):
    """A node's setting, or how its data differ from the server's: the message holds nothing that is the data's."""


class SiteDataError(RuntimeError):
    """Something went wrong at a node with a data folder of its own; its cause is for that machine's log alone."""


def keep_confidential(msg: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Flower's mod around every message: a node with a ``data-dir`` lets no error out that could tell of its data.

    Raises:
        TellableError: as it is.
        SiteDataError: in place of every other error, with its type and, of a ConfigError, its key.
    """
    if not str(context.node_config.get("data-dir", "")).strip():
        return call_next(msg, context)
    try:
        return call_next(msg, context)
    except TellableError:
        raise
    except Exception as error:
        raise SiteDataError(_told(error)) from error  # Flower logs the chain at the node and sends this text alone


def _told(error: Exception) -> str:
    known = isinstance(error, ConfigError) and _KEY.fullmatch(error.key)
    key = f" ({error.key})" if isinstance(error, ConfigError) and known else ""
    return f"{plain_text(type(error).__name__, 60)}{key}; why stands in this node's own log, for it may name its data"
