"""``fedcrucible watch``: rounds as they come, clients that were lost, and an end when the run ends."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fedcrucible.watching import picture
from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.records import files
from fedcrucible_core.records.events import EventWriter
from fedcrucible_core.records.glance import Watcher
from fedcrucible_core.records.lock import only_writer
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.status import RunStatus, of_rounds
from fedcrucible_core.records.writer import RunRecord

HOSTILE = "error 2: \x1b[2J[bold red]you are fired[/]\u202e"
RUN = RunDescription(strategy="flame", attack="badnets", seed=1, rounds=3, dataset="fashion-mnist", clients=3)


def a_round(number: int, **changes: object) -> RoundRecord:
    fields = {"round": number, "participants": [0, 1, 2] if number else [], "ma_percent": 50.0, "seconds": {"train": 2}}
    return RoundRecord.model_validate({**fields, **changes})


class Fake:
    """A run that is played step by step."""

    def __init__(self, folder: Path) -> None:
        self.record = RunRecord(folder)
        self.rounds: list[RoundRecord] = []
        self.record.write_run(RUN)
        self.tell("starting")

    def play(self, record: RoundRecord) -> None:
        self.record.append_round(record)
        self.rounds.append(record)
        self.tell("running")

    def tell(self, state: str, **changes: object) -> None:
        status = RunStatus.model_validate(
            {"run": "r", "name": "x", "state": state, **of_rounds(self.rounds), **changes}
        )
        write_atomic(self.record.folder / files.STATUS, status.model_dump_json().encode())


@pytest.fixture
def run(tmp_path: Path) -> Fake:
    folder = tmp_path / "x"
    folder.mkdir()
    return Fake(folder)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """What happens while the command sleeps, sleep by sleep."""
    waiting: list[Callable[[], object]] = []
    monkeypatch.setattr("time.sleep", lambda _: waiting.pop(0)())
    yield lambda *todo: waiting.extend(todo)
    assert not waiting


def rounds_in(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("round ")]


def test_lines_come_with_the_rounds_and_end_with_the_run(fedcrucible, run: Fake, steps) -> None:
    run.play(a_round(0))
    with contextlib.ExitStack() as held:
        held.enter_context(only_writer(run.record.folder))

        def end() -> None:
            run.tell("degraded")
            held.close()

        lost = a_round(1, dropped={"2": HOSTILE}, rejected=[1], notes=["not online any more: client 2"])
        steps(lambda: run.play(lost), lambda: None, lambda: run.play(a_round(2)), end)
        result = fedcrucible("watch", run.record.folder)

    assert result.exit_code == 4
    assert [line.split()[1] for line in result.stdout.splitlines() if line.startswith("round ")] == [
        "0/3",
        "1/3",
        "2/3",
    ]
    assert "  client 2 dropped: error 2: \ufffd[2J[bold red]you are fired[/]\ufffd\n" in result.stdout
    assert result.stdout.endswith("degraded  round 2 of 3\n")
    assert all(line.isprintable() for line in result.stdout.splitlines())


def test_a_resumed_run_plays_rounds_again(fedcrucible, run: Fake, steps) -> None:
    for number in range(3):
        run.play(a_round(number))
    with contextlib.ExitStack() as held:
        held.enter_context(only_writer(run.record.folder))

        def rewind() -> None:
            run.record.rewind(0)
            del run.rounds[1:]

        def end() -> None:
            run.tell("finished")
            held.close()

        steps(rewind, lambda: run.play(a_round(1, ma_percent=60.0)), end)
        result = fedcrucible("watch", run.record.folder)

    assert result.exit_code == 0
    assert rounds_in(result.stdout)[-1] == "1/3"
    assert "MA 60.00 %" in result.stdout


@pytest.mark.parametrize(
    ("state", "held", "seen", "code"),
    [
        ("running", True, "running", 0),
        ("running", False, "killed", 1),
        ("finished", False, "finished", 0),
        ("finished", True, "starting", 0),  # somebody resumes it
        ("degraded", False, "degraded", 4),
        ("failed", False, "failed", 1),
    ],
)
def test_the_state_is_what_the_status_says_and_whether_anybody_writes(
    fedcrucible, run: Fake, state: str, held: bool, seen: str, code: int
) -> None:
    run.play(a_round(0))
    run.tell(state, error="RuntimeError: broken" if state == "failed" else "")
    with only_writer(run.record.folder) if held else contextlib.nullcontext():
        result = fedcrucible("watch", run.record.folder, "--once")

    assert result.exit_code == code
    assert result.stdout.splitlines()[-1].startswith(f"{seen}  round 0 of 3")
    assert ("RuntimeError: broken" in result.stdout) == (state == "failed")


def test_a_record_of_an_earlier_version_is_shown_too(fedcrucible, run: Fake) -> None:
    run.play(a_round(0))
    (run.record.folder / files.STATUS).unlink()
    assert fedcrucible("watch", run.record.folder, "--once").exit_code == 1
    run.record.write_summary()
    assert fedcrucible("watch", run.record.folder).exit_code == 0


def test_what_is_no_record_is_one_error(fedcrucible, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        result = fedcrucible("watch", folder)
        assert result.exit_code == 1
        assert "is no run record" in result.stderr


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50)])
def test_the_picture_fits_the_screen_and_shows_no_hostile_text(run: Fake, width: int, height: int) -> None:
    EventWriter(run.record.folder / files.EVENTS).append("nodes", {"2": {"node": "7", "name": HOSTILE, "key": ""}})
    for number in range(100):
        run.play(a_round(number, participants=list(range(60)), dropped={"2": HOSTILE}, notes=["x" * 500]))
    seen = Watcher(run.record.folder).look()
    assert seen is not None
    screen = io.StringIO()
    Console(file=screen, width=width, height=height, color_system=None).print(picture(seen, width, height))

    shown = screen.getvalue().splitlines()
    assert len(shown) <= height
    assert all(line.isprintable() and len(line) <= width for line in shown)
    assert "[bold red]" in screen.getvalue()
    assert "   99  50.00" in screen.getvalue()


def test_once_says_how_it_stands(fedcrucible, run: Fake) -> None:
    run.play(a_round(0))
    run.play(a_round(1, dropped={"2": "no reply in time"}, rejected=[1]))
    with only_writer(run.record.folder):
        result = fedcrucible("watch", run.record.folder, "--once")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[:4] == [
        "x: flame under badnets, fashion-mnist, seed 1, 3 clients",
        "round 0/3  MA 50.00 %  train 2.0 s  total 2.0 s",
        "round 1/3  MA 50.00 %  replied 2 of 3  rejected 1  dropped 1 (1 late)  train 2.0 s  total 2.0 s",
        "  client 2 dropped: no reply in time",
    ]
    assert "client 2: replied 0 of 1, rejected 0, absent 0, never heard; last missing in round 1: " in result.stdout
    assert result.stdout.splitlines()[-1].startswith("running  round 1 of 3")
