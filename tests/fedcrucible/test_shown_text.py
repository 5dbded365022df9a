"""Text from outside at every exit: error lines, workers' logs, what ``flwr run`` prints, records, pages."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import typer

from fedcrucible.engines.batch import Finished, _tail
from fedcrucible.engines.flower.command import FlowerRunError
from fedcrucible.engines.flower.output import plain
from fedcrucible.engines.flower.processes import ProcessSet
from fedcrucible.engines.flower.submission import Submission
from fedcrucible.failures import CommandError, clear_errors
from fedcrucible_core.config import ConfigError
from fedcrucible_core.records.schema import LONGEST_LINE, Environment, RoundRecord, RunDescription, RunSummary
from fedcrucible_core.reports.pages.matrix import MatrixPage, render_matrix
from server_app.console import dropped_lines, round_line
from strategies.outcome import RoundOutcome

HOSTILE = "red \x1b[31m\u202e\ud800\x07 end"
SHOWN = "red \ufffd[31m\ufffd\ufffd\ufffd end"


class _MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError(HOSTILE), f"error: RuntimeError: {SHOWN}"),
        (RuntimeError("one\ntwo"), "error: RuntimeError: one two"),
        (ConfigError("run.seed", HOSTILE, HOSTILE), r"error: run.seed = 'red \x1b[31m\u202e\ud800\x07 end': " + SHOWN),
        (ConfigError(HOSTILE, 1, "no"), f"error: {SHOWN} = 1: no"),
        (CommandError(HOSTILE, HOSTILE), f"error: {SHOWN}\n{SHOWN}"),
        (_MuteError(), "error: _MuteError: <_MuteError that can't be shown>"),
        (type("\x1b[31m", (Exception,), {})("x"), "error: \ufffd[31m: x"),
    ],
)
def test_error_lines(error: Exception, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), clear_errors():
        raise error
    assert capsys.readouterr().err.startswith(expected + "\n")


def test_the_cause_of_a_failed_run() -> None:
    assert Finished(0, {}, None, f"{HOSTILE}\nTraceback", 1.0).cause == SHOWN


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"first\n" * 50 + b"\x1b[31mred\x1b[0m\rforged\n\xff last\x0b\n")
    assert _tail(log).split("\n")[-2:] == ["\ufffd[31mred\ufffd[0m\ufffdforged", "\ufffd last\ufffd"]
    with ProcessSet() as processes:
        (processes.folder / "x.log").write_bytes(log.read_bytes())
        assert processes.log_tail("x.log", 2) == "red\ufffdforged\n\ufffd last\ufffd"


def test_what_flwr_run_prints() -> None:
    assert plain("\x1b[92mINFO \x1b[0m:      \x1b]0;title\x07\u202ex\r\n") == "INFO :      \ufffd]0;title\ufffd\ufffdx"
    assert plain("  round 1/2  MA 10.00 %") == "  round 1/2  MA 10.00 %"


def test_a_client_s_carriage_return_makes_no_line_of_the_server_s(tmp_path: Path) -> None:
    said = b"Successfully started run 7\n(ClientAppActor pid=1) x\rround 9/9  MA 99.00 %\nround 1/2  MA 10.00 %\r\n"
    submission, lines = Submission(tmp_path / "app", dict(os.environ)), list[str]()
    command = [sys.executable, "-c", f"import sys; sys.stdout.buffer.write({said!r})"]
    number, tail = submission._follow(command, lines.append, None)
    assert number == "7"
    assert lines == ["round 1/2  MA 10.00 %"]
    assert tail[1] == "(ClientAppActor pid=1) x\ufffdround 9/9  MA 99.00 %"


def test_a_run_that_is_not_accepted_says_why_in_its_first_line(tmp_path: Path) -> None:
    submission = Submission(tmp_path / "app", dict(os.environ))
    with pytest.raises(FlowerRunError, match=r"^Flower did not accept the run: because\n"):
        submission._follow([sys.executable, "-c", "print('x'); print('because')"], print, None)


def test_records_written_and_read() -> None:
    line = RoundRecord(round=1, dropped={HOSTILE: HOSTILE}, notes=(HOSTILE, "a\nb"), facts={HOSTILE: 1.0})
    assert line.dropped == {SHOWN: SHOWN}
    assert line.notes == (SHOWN, "a b")
    assert line.facts == {SHOWN: 1.0}
    assert RoundRecord.model_validate_json('{"round": 1, "notes": ["\\u202e"]}').notes == ("\ufffd",)
    run = RunDescription(strategy=HOSTILE, seed=1, class_names=(HOSTILE,), knowledge={HOSTILE: (HOSTILE,)})
    assert (run.strategy, run.class_names, run.knowledge) == (SHOWN, (SHOWN,), {SHOWN: (SHOWN,)})
    assert RunSummary(strategy="a", attack="b", seed=1, rounds=1, dropped={HOSTILE: 2}).dropped == {SHOWN: 2}
    assert Environment(command=(HOSTILE,)).command == (SHOWN,)
    assert len(RoundRecord(round=1, notes=("x" * 10_000_000,)).notes[0]) == LONGEST_LINE


def test_a_page(tmp_path: Path) -> None:
    shown = MatrixPage(HOSTILE, HOSTILE, "", (), warnings=[f"<b>{HOSTILE}"])
    page = render_matrix(shown, tmp_path / "x.html")
    text = page.read_text(encoding="utf-8")
    assert f"<h1>{SHOWN}</h1>" in text
    assert f"&lt;b&gt;{SHOWN}" in text
    assert not {"\x1b", "\u202e", "\x07"} & set(text)


def test_lines_of_a_round() -> None:
    outcome = RoundOutcome(1, dropped={3: HOSTILE}, notes=[HOSTILE, "two\nlines"])
    assert dropped_lines(outcome) == [f"round 1: reply of client 3 dropped: {SHOWN}"]
    assert round_line(outcome, 2).endswith(f"{SHOWN}  two\ufffdlines")
