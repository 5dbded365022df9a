"""Submitting one run to a SuperLink with ``flwr run``, following it, and reading what came of it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcrucible.engines.flower.command import CONNECTION, FlowerRunError, flwr
from fedcrucible.engines.flower.output import cause, is_from_app, plain, run_number
from fedcrucible.engines.hidden_settings import submitted, toml_lines, with_hidden
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.location import run_folder
from fedcrucible_core.records.schema import RunSummary
from server_app.plan import Plan

_TAIL_LINES = 30
_FINISH_LIMIT_S = 60.0


@dataclass(frozen=True)
class Submission:
    """How the ``flwr`` command reaches one SuperLink."""

    app: Path
    environment: Mapping[str, str]

    def run(
        self,
        config: RunConfigBase,
        on_line: Callable[[str], None],
        federation_config: str = "",
        on_start: Callable[[str], None] | None = None,
    ) -> RunSummary:
        """Submit a run and follow it to its end; the record folder is chosen here, so that it is known.

        ``on_line`` gets the ServerApp's own lines as they come.  Raises FlowerRunError.
        """
        folder, settings = _with_record_folder(config)
        try:
            with submitted(settings, self.app.parent) as sent:
                self.submit(self.app, sent, on_line, federation_config, on_start)
        except BaseException:
            _remove_if_empty(folder)
            raise
        return RunSummary.model_validate_json((folder / files.SUMMARY).read_bytes())

    def submit(
        self,
        app: Path,
        settings: Mapping[str, Scalar],
        on_line: Callable[[str], None],
        federation_config: str = "",
        on_start: Callable[[str], None] | None = None,
    ) -> None:
        """Submit a run of the Flower app in a folder, anybody's, with changed settings, and follow it to its end.

        ``on_line`` gets what its server prints, as it comes.  Raises FlowerRunError.
        """
        with tempfile.TemporaryDirectory(prefix="settings-", dir=self.app.parent) as place:
            settings_file = Path(place) / "settings.toml"
            settings_file.write_text(toml_lines(settings), encoding="utf-8")
            command = ["flwr", "run", str(app), CONNECTION, "--stream", "-c", str(settings_file)]
            if federation_config:
                command += ["--federation-config", federation_config]
            number, tail = self._follow(command, on_line, on_start)
            self._require_success(number, tail)

    def command(self, *arguments: str) -> str:
        """The standard output of a ``flwr`` command. Raises FlowerRunError."""
        return flwr(self.app.parent, self.environment, *arguments)

    def _follow(
        self, command: Sequence[str], on_line: Callable[[str], None], on_start: Callable[[str], None] | None
    ) -> tuple[str, list[str]]:
        number, tail = None, deque[str](maxlen=_TAIL_LINES)
        process = subprocess.Popen(
            command,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            cwd=self.app.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            for raw in process.stdout:
                line = plain(raw.decode("utf-8", errors="replace"))  # only \n ends a line: \r must not forge one
                tail.append(line)
                if number is None:
                    number = run_number(line)
                    if number is not None and on_start is not None:
                        on_start(number)
                elif is_from_app(line):
                    on_line(line)
            process.wait()
        except BaseException:
            process.kill()
            process.wait()
            if number is not None:
                self._stop(number)
            raise
        if number is None:
            said = "\n".join(tail)
            raise FlowerRunError(f"Flower did not accept the run: {cause(said)}\n{said}")
        return number, list(tail)

    def _stop(self, number: str) -> None:
        try:
            self.command("stop", number, CONNECTION)
        except (FlowerRunError, OSError):
            return  # it has ended by itself, or its SuperLink has

    def _require_success(self, number: str, tail: Sequence[str]) -> None:
        """The command's exit code says nothing about the run, so the SuperLink is asked."""
        deadline = time.monotonic() + _FINISH_LIMIT_S
        while True:
            run = self._look_up(number)
            status = str(run["status"])
            if status == "finished:completed":
                return
            if status.startswith("finished") or time.monotonic() >= deadline:
                break
            time.sleep(0.5)
        log = "\n".join(line for line in tail if line)
        ended = f"the Flower run ended as {plain_text(status)}: {plain_text(run['status-details'], 1000)}"
        raise FlowerRunError(f"{ended}\nEnd of its log:\n{log}")

    def _look_up(self, number: str) -> dict[str, Any]:
        answer = self.command("ls", CONNECTION, "--run-id", number, "--format", "json")
        found: dict[str, Any] = json.loads(answer[answer.index("{") :])
        if not found.get("runs"):
            said = plain_text(str(found.get("error-message") or answer).strip().split("\n")[-1], 300)
            raise FlowerRunError(
                f"the SuperLink tells nothing about run {number}: {said}\nWhere it has died, the run has died with it: "
                "start it, then the run again with run.resume=true, which needs run.checkpoint_every and output.name"
            )
        run: dict[str, Any] = found["runs"][0]
        return run


def checked(settings: Mapping[str, Scalar]) -> RunConfigBase:
    """The validated configuration, every combination checked. Raises ConfigError before Flower is even started."""
    return Plan.make(load(with_hidden(settings))).config


def _with_record_folder(config: RunConfigBase) -> tuple[Path, dict[str, Scalar]]:
    folder = run_folder(config.output, config.strategy, config.attack.name, config.run.seed, resume=config.run.resume)
    return folder, {**flatten(config), "output.dir": str(folder.parent), "output.name": folder.name}


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
