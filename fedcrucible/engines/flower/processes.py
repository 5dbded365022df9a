"""Flower processes with a common folder: sets that stay, and sets that end together whatever happens."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from fedcrucible.engines.flower import guard
from fedcrucible.engines.flower.environment import flower_environment
from fedcrucible_core.config.plain_text import uncoloured, visible_lines

SHORT_TEMPORARY = Path("/tmp")
"""Ray puts sockets below its temporary folder, and the path of a socket must stay under about 100 characters."""
STOP_LIMIT_S = 20.0


class Processes:
    """Flower processes that share a folder and carry one mark, by which they and their descendants are found again.

    ``folder`` holds their logs and the FLWR_HOME of each.
    """

    def __init__(self, folder: Path, mark: str) -> None:
        self.folder = folder
        self.mark = mark

    def alive(self) -> list[int]:
        """Ids of the processes that run now."""
        return guard.marked(self.mark)

    def environment(self, home: str = "home") -> dict[str, str]:
        """Environment of a process, with a FLWR_HOME of this name within the folder."""
        return {**flower_environment(self.folder / home), guard.MARK: self.mark}

    def start(self, command: Sequence[str], log: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process whose output goes to the file ``log`` in the folder."""
        with (self.folder / log).open("ab") as output:
            return subprocess.Popen(
                list(command),
                env=dict(environment),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log_tail(self, log: str, lines: int = 12) -> str:
        """The last lines of a log file in the folder."""
        path = self.folder / log
        if not path.is_file():
            return ""
        found = path.read_bytes().decode("utf-8", errors="replace").removesuffix("\n").split("\n")
        return visible_lines("\n".join(uncoloured(line) for line in found[-lines:]))


class ProcessSet(Processes):
    """Context manager: processes started in it, their descendants and the folder are gone after it.

    A guard process does the cleaning, so that it happens also when this process is killed.
    """

    def __init__(self) -> None:
        super().__init__(Path(), uuid.uuid4().hex)
        self._guard: subprocess.Popen[bytes] | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Make the folder and start the guard."""
        place = SHORT_TEMPORARY if SHORT_TEMPORARY.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="fedcrucible-", dir=place)).resolve()
        command = [sys.executable, "-S", guard.__file__, self.mark, str(self.folder)]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes and remove the folder."""
        self.stop()

    def stop(self) -> None:
        """End all processes and remove the folder; safe to call twice."""
        if self._guard is None:
            return
        self._guard.communicate(timeout=STOP_LIMIT_S)
        self._guard = None
        for child in self._children:
            child.wait(timeout=STOP_LIMIT_S)
        self._children.clear()

    def environment(self, home: str = "home") -> dict[str, str]:
        """As of all processes, with Ray's files in the folder too."""
        return {**super().environment(home), "RAY_TMPDIR": str(self.folder)}

    def start(self, command: Sequence[str], log: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process whose output goes to the file ``log`` in the folder; it ends with the set."""
        child = super().start(command, log, environment)
        self._children.append(child)
        return child


class ProcessOwner(ABC):
    """Context manager around something that consists of processes: they start with it, and none outlives it."""

    def __init__(self) -> None:
        self.processes = ProcessSet()

    def __enter__(self) -> Self:
        """Start everything; where that fails nothing is left."""
        self.processes.__enter__()
        try:
            self._start()
        except BaseException:
            self.processes.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes."""
        self.processes.stop()

    @abstractmethod
    def _start(self) -> None:
        """Start the processes, in ``self.processes``."""
