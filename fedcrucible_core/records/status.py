"""status.json: how a run stands, for those who watch it from outside; replaced as a whole after every round, and at
most once a second while one runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from fedcrucible_core.records.drops import counted
from fedcrucible_core.records.schema import Line, Record, RoundRecord

State = Literal["starting", "running", "finished", "degraded", "failed", "interrupted"]
ENDED: tuple[State, ...] = ("finished", "degraded", "failed", "interrupted")
"""States after which nothing more happens; a run that was killed stays in one of the others."""


LATE_TIMES, LATE_LEAST_S = 2.0, 10.0
"""A client is late when it has let pass so many times the seconds that the faster half needed, and at least so many."""


class RunningRound(Record):
    """The round that runs, as of ``RunStatus.updated``."""

    round: int
    phase: Line
    """Which of the round's phases (``schema.PHASES``, and connect: waiting for nodes before the first)."""
    since: float
    """When it began."""
    asked: tuple[int, ...] = ()
    """Clients that messages are out to, or were in this phase."""
    answered: dict[Line, float] = Field(default_factory=dict)
    """Those whose answer has come, whether it is good or not -> seconds that it took, the fastest first."""
    late: tuple[int, ...] = ()
    """Those that still let wait though half of them have long answered (see :func:`late`)."""
    deadline: float | None = None
    """Until when answers are waited for (federation.timeout_s); None where no message is out."""

    @property
    def waiting(self) -> tuple[int, ...]:
        """Clients that haven't answered yet."""
        return tuple(client for client in self.asked if str(client) not in self.answered)


def late(asked: Sequence[int], answered: Mapping[int, float], waited: float) -> tuple[int, ...]:
    """Clients that others let wait ``waited`` seconds: nobody before half of all have answered (seconds each)."""
    half = (len(asked) + 1) // 2
    times = sorted(answered.values())
    if len(times) < half or waited < max(LATE_LEAST_S, LATE_TIMES * times[half - 1] if half else 0.0):
        return ()
    return tuple(client for client in asked if client not in answered)


class RunStatus(Record):
    """The content of status.json.  Times are seconds since 1970, UTC."""

    run: str
    """The run's own id, the same however often it is resumed; that of events.jsonl."""
    flower_run: int | None = None
    """Flower's id of it, as ``flwr ls`` shows it; None in the in-process engine."""
    name: Line = ""
    """Name of the record's folder."""
    strategy: Line = ""
    attack: Line = ""
    state: State = "starting"
    error: Line = ""
    """Why a failed run ended."""
    pid: int = 0
    started: float = 0.0
    """When this process began the run, or went on with it."""
    updated: float = 0.0
    """When this file was written."""
    last_round: float | None = None
    """When the last round ended; None before round 0.  Its age is the reader's clock minus this."""

    now: RunningRound | None = None
    """The round that runs; None between rounds, after the run's end, and of older versions."""

    # --- the last round ---
    round: int | None = None
    rounds: int = 0
    """How many rounds of training there shall be."""
    stage: Literal["training", "repair"] = "training"
    asked: tuple[int, ...] = ()
    """Clients that were asked to train."""
    replied: tuple[int, ...] = ()
    """Those whose reply reached the rule."""
    rejected: tuple[int, ...] = ()
    """Those whose reply the rule gave weight 0."""
    dropped: dict[Line, Line] = Field(default_factory=dict)
    """Client -> why its reply never reached the rule."""
    dropped_by_cause: dict[Line, int] = Field(default_factory=dict)
    """Kind of cause (``records/drops.py``) -> replies."""
    absent: tuple[int, ...] = ()
    """Clients that were not asked, for no usable node of theirs was online."""
    quorum_missed: Line = ""
    """Why fewer replied than are required; empty where all is well."""
    seconds: dict[Line, float] = Field(default_factory=dict)
    """Phase -> wall-clock seconds."""
    ma_percent: float | None = None
    """Of the last round that was evaluated; so is ``asr_percent``."""
    asr_percent: float | None = None
    bytes_down: int = 0
    bytes_up: int = 0

    # --- all rounds ---
    asked_total: int = 0
    replied_total: int = 0
    dropped_total: dict[Line, int] = Field(default_factory=dict)
    """Kind of cause -> replies, over all rounds."""
    dropped_by_client: dict[Line, int] = Field(default_factory=dict)
    """Client -> replies of it that were dropped, over all rounds."""
    rounds_degraded: int = 0
    """Rounds that missed the quorum."""
    seconds_total: dict[Line, float] = Field(default_factory=dict)
    """Phase -> wall-clock seconds, over all rounds."""
    events: int = 0
    """Lines of events.jsonl, and the last one's hash: kept elsewhere, it proves them all."""
    events_head: str = ""

    @property
    def ended(self) -> bool:
        """Whether the run says that it is over."""
        return self.state in ENDED


def of_rounds(rounds: Sequence[RoundRecord]) -> dict[str, object]:
    """The fields of a status that recorded rounds decide; nothing without any."""
    if not rounds:
        return {}
    last = rounds[-1]
    measured = next((r for r in reversed(rounds) if r.ma_percent is not None), None)
    seconds: Counter[str] = Counter()
    for record in rounds:
        seconds.update(record.seconds)
    return {
        "round": last.round,
        "stage": last.stage,
        "asked": last.participants,
        "replied": replied(last),
        "rejected": last.rejected,
        "dropped": last.dropped,
        "dropped_by_cause": counted(last.dropped.values()),
        "absent": last.absent,
        "quorum_missed": last.quorum_missed,
        "rounds_degraded": sum(bool(r.quorum_missed) for r in rounds),
        "seconds": last.seconds,
        "ma_percent": None if measured is None else measured.ma_percent,
        "asr_percent": None if measured is None else measured.asr_percent,
        "bytes_down": sum(r.bytes_down for r in rounds),
        "bytes_up": sum(r.bytes_up for r in rounds),
        "asked_total": sum(len(r.participants) for r in rounds),
        "replied_total": sum(len(replied(r)) for r in rounds),
        "dropped_total": counted(cause for r in rounds for cause in r.dropped.values()),
        "dropped_by_client": dict(Counter(client for r in rounds for client in r.dropped)),
        "seconds_total": dict(seconds),
    }


def replied(record: RoundRecord) -> tuple[int, ...]:
    """Participants whose reply was valid."""
    return tuple(client for client in record.participants if str(client) not in record.dropped)
