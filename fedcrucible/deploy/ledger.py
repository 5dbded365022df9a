"""The list of a deployment's processes, on disk: what was started, and how it is known to be the same still."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedcrucible.engines.flower import guard
from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.errors import ConfigError

LEDGER = "processes.json"


class Started(BaseModel):
    """One process. A pid alone proves nothing: numbers are used again, start times with it aren't."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    started: str
    """When, as the system tells it; compared, never read."""
    command: tuple[str, ...]
    log: str


class Ledger(BaseModel):
    """All processes by name, and the mark that they and all their descendants carry in their environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mark: str
    processes: Mapping[str, Started] = {}

    @classmethod
    def new(cls) -> Ledger:
        """An empty one with a mark of its own."""
        return cls(mark=uuid.uuid4().hex)

    def with_process(self, name: str, started: Started) -> Ledger:
        """This ledger with one more process, or another in the place of one that ended."""
        return self.model_copy(update={"processes": {**self.processes, name: started}})

    def running(self) -> dict[str, Started]:
        """The processes that are alive and the same that were started."""
        alive = set(guard.marked(self.mark))
        return {
            name: process
            for name, process in self.processes.items()
            if process.pid in alive and start_time(process.pid) == process.started
        }

    def write(self, folder: Path) -> None:
        """Replace the list on disk."""
        write_atomic(folder / LEDGER, self.model_dump_json(indent=1).encode())


def read_ledger(folder: Path) -> Ledger | None:
    """The list on disk, None where there is none. Raises ConfigError where it can't be read."""
    path = folder / LEDGER
    try:
        return Ledger.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        said: Any = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ConfigError(
            "state", str(path), f"can't be read: {said}; end its processes by hand, then remove it"
        ) from None


def start_time(pid: int) -> str:
    """When a process started; empty where it is gone."""
    try:
        # After the name, which may hold anything in its brackets, come the fields from the third on.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[19]
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return ""
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return " ".join(told.stdout.split())
