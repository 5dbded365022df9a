"""Whether a record is what its events.jsonl says it is: the chain, then every file that the chain vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcrucible_core.records import files
from fedcrucible_core.records.events import Chain, Event, read_chain
from fedcrucible_core.records.reader import DamagedRecordError, parsed, read_lines
from fedcrucible_core.records.schema import RunSummary

BEGINNINGS = ("start", "resume")


@dataclass(frozen=True)
class Verification:
    """What was found."""

    chain: Chain
    rounds: int
    """Lines of metrics.jsonl that the chain vouches for."""
    problems: tuple[str, ...]
    """What can't be explained by a run that was killed; the first broken line of the chain goes first."""
    remarks: tuple[str, ...]
    """What a reader should know of a record that is whole as far as it goes."""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass
class _Account:
    """What the events come to: later ones replace what a resumed run has forgotten."""

    beginning: dict[str, Any]
    rounds: list[dict[str, Any]]
    end: dict[str, Any] | None
    problems: list[str]
    before: int = 0
    """Rounds that were recorded before the chain began: it was begun by resuming a record that had none."""


def verify(folder: Path, head: str = "") -> Verification:
    """Check a record against its events, and these against ``head``, the last line's hash as it was kept elsewhere.

    Raises FileNotFoundError for a folder without events.jsonl: records of earlier versions have none.
    """
    path = folder / files.EVENTS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {files.EVENTS}: it is no record, or one of an earlier version")
    chain = read_chain(path)
    if chain.fault:
        return Verification(chain, 0, (f"{files.EVENTS}, {chain.fault}",), ())
    remarks = []
    if chain.torn:
        remarks.append(f"the last line of {files.EVENTS} was cut short: its writer was killed while it wrote")
    if not chain.events:
        return Verification(chain, 0, (f"{files.EVENTS} holds no whole line",), tuple(remarks))
    account = _account(chain.events)
    problems = [*_of_the_head(chain, head), *account.problems]
    if account.beginning.get("broken"):
        problems.append(f"the run was resumed with a broken chain: {account.beginning['broken']}")
    problems += _of_file(folder / files.CONFIG, account.beginning.get("config_sha256"))
    covered, extra = _of_rounds(folder, account, problems)
    problems += _of_the_end(folder, account)
    if account.before:
        remarks.append(
            f"rounds 0 to {account.before - 1} were recorded before {files.EVENTS} began: nothing proves them"
        )
    if extra:
        remarks.append(f"{files.METRICS} holds one round more: the run was killed before it wrote its event")
    if account.end is None:
        remarks.append("the run has not ended: it still goes, or was killed" + _how(chain.events[-1]))
    return Verification(chain, covered, tuple(problems), tuple(remarks))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _account(events: tuple[Event, ...]) -> _Account:
    account = _Account({}, [], None, [])
    if events[0].kind not in BEGINNINGS:
        account.problems.append(f"{files.EVENTS} begins with {events[0].kind!r}, not with the run's start")
    for event in events:
        if event.kind in BEGINNINGS:
            account.beginning, account.end = dict(event.facts), None
            after = event.facts.get("after_round", -1)
            account.before = after + 1 if event is events[0] else min(account.before, after + 1)
            account.rounds = [r for r in account.rounds if r.get("stage") == "training" and r["round"] <= after]
            _check_resumed(account, event)
        elif event.kind == "round":
            account.rounds.append(dict(event.facts))
        elif event.kind == "end":
            account.end = dict(event.facts)
    return account


def _check_resumed(account: _Account, event: Event) -> None:
    """The model that a run goes on from is the one that its round left behind."""
    left = account.rounds[-1].get("model_sha256") if account.rounds else None
    if left is not None and event.facts.get("model_sha256") != left:
        account.problems.append(
            f"{files.EVENTS}, line {event.number + 1}: the run went on from another model than round "
            f"{account.rounds[-1]['round']} ended with"
        )


def _of_the_head(chain: Chain, head: str) -> Iterator[str]:
    if head and head not in [event.sha256 for event in chain.events]:
        yield f"no line of {files.EVENTS} has the hash {head}: lines were removed, or the chain was written anew"


def _of_file(path: Path, expected: object) -> Iterator[str]:
    if not isinstance(expected, str):
        yield f"no event says what {path.name} holds"
    elif not path.is_file():
        yield f"{path.name} is missing"
    elif file_sha256(path) != expected:
        yield f"{path.name} was changed: its SHA-256 is another one"


def _of_rounds(folder: Path, account: _Account, problems: list[str]) -> tuple[int, bool]:
    """How many rounds are as recorded, and whether there is one more that no event is about."""
    try:
        lines = read_lines(folder / files.METRICS)[account.before :]
    except DamagedRecordError as error:
        problems.append(str(error))
        return 0, False
    for place, (told, (record, line)) in enumerate(zip(account.rounds, lines, strict=False)):
        if hashlib.sha256(line).hexdigest() != told.get("metrics_sha256"):
            number = account.before + place + 1
            problems.append(f"{files.METRICS}, line {number} (round {record.round}) was changed, moved or replaced")
            return place, False
    if len(lines) < len(account.rounds):
        missing = [str(told.get("round")) for told in account.rounds[len(lines) :]]
        problems.append(f"{files.METRICS} lacks round {', '.join(missing)}")
    extra = len(lines) - len(account.rounds)
    if extra > 1 or (extra == 1 and account.end is not None):
        problems.append(f"{files.METRICS} holds {extra} rounds that no event is about")
        return len(account.rounds), False
    return min(len(lines), len(account.rounds)), extra == 1


def _of_the_end(folder: Path, account: _Account) -> Iterator[str]:
    if account.end is None:
        if (folder / files.SUMMARY).is_file():
            yield (
                f"{files.SUMMARY} is there, but no event says that the run ended: it was killed at its very end, or "
                "lines were removed"
            )
        return
    for name, expected in dict(account.end.get("files") or {}).items():
        yield from _of_file(folder / Path(name).name, expected)
    model = account.end.get("model_sha256")
    last = account.rounds[-1].get("model_sha256") if account.rounds else model
    if last != model:
        yield f"the final model is not the one that round {account.rounds[-1].get('round')} left behind"
    try:
        recorded = parsed(folder / files.SUMMARY, RunSummary).parameters_sha256
    except (OSError, DamagedRecordError):
        return  # told above: the file is missing or was changed
    if recorded != model:
        yield f"{files.SUMMARY} names another final model"


def _how(last: Event) -> str:
    if last.kind != "failed":
        return ""
    return f"; its last event: {last.kind}: {last.facts.get('error')}"
