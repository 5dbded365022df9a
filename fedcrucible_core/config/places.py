"""The folders that outlive a process: the cache, downloaded data, run records.

Each is the one that a setting names, else the one of its environment variable, else the user's (XDG on Linux).  On a
machine with nothing but a mounted volume, e.g. in a container, the three variables put everything there.
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.load import UNCLEAN, is_clean

CACHE, DATA, RUNS = "FEDCRUCIBLE_CACHE", "FEDCRUCIBLE_DATA", "FEDCRUCIBLE_RUNS"
APP = "fedcrucible"


def cache_folder(configured: str | Path = "") -> Path:
    """The folder of what can be computed again: ``configured``, else ``FEDCRUCIBLE_CACHE``, else the user's cache."""
    if configured:
        return Path(configured).expanduser()
    named = os.environ.get(CACHE, "")
    return Path(named).expanduser().resolve() if named else user_cache_path(APP)


def data_folder(configured: str = "") -> Path:
    """The folder of downloaded or own data: ``configured``, else ``FEDCRUCIBLE_DATA``, else ``data`` in the cache."""
    named = configured or os.environ.get(DATA, "")
    return Path(named).expanduser().resolve() if named else default_data_folder()


def default_data_folder() -> Path:
    """The data folder where nobody names one: in the cache."""
    return cache_folder() / "data"


def runs_folder(configured: str = "") -> Path:
    """Absolute folder of all records: ``configured``, else ``FEDCRUCIBLE_RUNS``, else ./runs, else the user's data.

    ./runs counts only where it can be written; a server's working folder need not be the user's. Raises ConfigError
    for a relative folder, for one within FLWR_HOME/apps, which holds unpacked apps and is not for results, and for
    names with control characters or broken Unicode, which no record could hold.
    """
    named, key = (configured, "output.dir") if configured else (os.environ.get(RUNS, ""), RUNS)
    if named:
        if not is_clean(named):
            raise ConfigError(key, named, UNCLEAN)
        path = Path(named).expanduser()
        if not path.is_absolute():
            raise ConfigError(key, named, "must be absolute, for the server's working folder may not be yours")
        path = path.resolve()
        if _within_apps(path):
            raise ConfigError(key, named, "lies within FLWR_HOME/apps, where Flower unpacks apps; choose another")
        return path
    local = Path.cwd().resolve() / "runs"
    if is_clean(str(local)) and not _within_apps(local) and _writable(local):
        return local
    return user_data_path(APP, appauthor=False).resolve() / "runs"


def flower_home() -> Path:
    """Flower's own folder, FLWR_HOME or ``~/.flwr``: databases and unpacked apps."""
    return Path(os.environ.get("FLWR_HOME") or Path.home() / ".flwr").expanduser()


def _within_apps(path: Path) -> bool:
    return path.is_relative_to(flower_home().resolve() / "apps")


def _writable(folder: Path) -> bool:
    place = folder if folder.is_dir() else folder.parent
    return os.access(place, os.W_OK | os.X_OK)
