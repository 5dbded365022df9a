"""Where a run begins: at the beginning, or where the record that it continues has come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from config import ConfigError
from config.compose import RunConfigBase
from config.load import BEFORE, default_keys, flatten, load
from learning.data import DataSplits
from server_app.identity import continued_settings, run_identity
from server_app.record import files
from server_app.record.checkpoint import Checkpoint
from server_app.record.environment import ROOT, source_digest, version_of
from server_app.record.reader import DamagedRecordError, Scalar, parsed, read_lines, read_settings
from server_app.record.schema import Environment
from server_app.record.writer import RunRecord

SHOWN_DIFFERENCES = 12


@dataclass(frozen=True)
class Start:
    """Where a run begins, and what of its folder goes on."""

    checkpoint: Checkpoint | None = None
    """The state that it goes on from; None: the initial model."""
    continues: bool = False
    """Whether the folder holds an earlier part of the run, of which later rounds are forgotten once this one begins."""
    notes: tuple[str, ...] = ()
    """What the user is told of it."""

    @property
    def last_round(self) -> int:
        """The last round that stays; -1 for none."""
        return -1 if self.checkpoint is None else self.checkpoint.round

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that the run has taken before."""
        return 0.0 if self.checkpoint is None else self.checkpoint.seconds


def starting_point(record: RunRecord, config: RunConfigBase, data: DataSplits) -> Start:
    """Where the run in ``record`` begins; nothing is written.

    With ``run.resume`` it goes on from the newest whole checkpoint.  An unfinished record without one starts over, an
    empty folder starts anew, and the notes say so.

    Raises:
        ConfigError: the folder holds another run (other settings or other data), something that is no record, a
            finished run without checkpoint, or more rounds than are asked for.
    """
    if not config.run.resume:
        return Start()
    if not any(record.folder.iterdir()):
        return Start(notes=(f"nothing to resume: {record.folder} is new, the run starts from its beginning",))
    _check_settings(record, config)
    damaged: list[str] = []
    checkpoint = record.latest_checkpoint(damaged.append)
    finished = (record.folder / files.SUMMARY).is_file()
    if checkpoint is None:
        if finished:
            allowed = (
                f"{record.folder} holds a finished run and no checkpoint to go on from; choose another output.name"
            )
            raise _refusal("; ".join([allowed, *damaged]))
        note = "nothing to resume from: the record holds no whole checkpoint, so the run starts over"
        return Start(continues=True, notes=(*damaged, note))
    if checkpoint.identity != run_identity(config, data):
        raise _refusal(
            f"the checkpoint of round {checkpoint.round} in {record.folder} is another run's: it was made with other "
            "settings or other data"
        )
    try:
        record.lines_up_to(checkpoint.round)
    except DamagedRecordError as error:
        raise _refusal(f"{error}; choose another output.name") from None
    done = _rounds_done(record, checkpoint)
    if config.run.rounds < done:
        allowed = f"{record.folder} holds {done} rounds already; at least that many, or another output.name"
        raise ConfigError("run.rounds", config.run.rounds, allowed)
    note = f"resumed after round {checkpoint.round} of {config.run.rounds}"
    return Start(checkpoint, continues=True, notes=(*damaged, note, *_other_versions(record)))


def _check_settings(record: RunRecord, config: RunConfigBase) -> None:
    try:
        recorded = read_settings(record.folder)
    except DamagedRecordError as error:
        raise _refusal(f"{error}, so nobody knows what run it is; choose another output.name") from None
    if not recorded.get("values"):
        raise _refusal(
            f"{record.folder} has content but no {files.CONFIG}: it is no record; choose another output.name"
        )
    changed = differences(recorded["values"], recorded.get("defaults", {}), config)
    if changed:
        more = len(changed) - SHOWN_DIFFERENCES
        said = "; ".join(changed[:SHOWN_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
        raise _refusal(f"{record.folder} was made with other settings: {said}. Use those, or another output.name")


def differences(recorded: Mapping[str, Scalar], old: Mapping[str, Scalar], config: RunConfigBase) -> list[str]:
    """Settings that change numbers and that ``config`` has other values of than a record, in words; empty for none.

    A key that the record doesn't know had its default, or what was computed before it existed; one that isn't known
    here counts unless it had its default of then, ``old``.
    """
    values, defaults = flatten(config), default_keys()
    before = defaults | dict(BEFORE) | {key: value for key, value in recorded.items() if key in defaults}
    ours = continued_settings(config)
    try:
        theirs = continued_settings(load(before))
    except ConfigError:  # this version refuses some of its values
        theirs = {key: before[key] for key in ours}
    changed = [key for key in defaults if (key in ours or key in theirs) and values[key] != before[key]]
    unknown = [key for key, value in recorded.items() if key not in defaults and value != old.get(key)]
    return [f"{key} is {values[key]!r}, recorded {before[key]!r}" for key in changed] + [
        f"{key} is unknown to this version, recorded {recorded[key]!r}" for key in unknown
    ]


def _rounds_done(record: RunRecord, checkpoint: Checkpoint) -> int:
    """Training rounds that the record holds; lines behind the checkpoint may be damaged, for they are run again."""
    path = record.folder / files.METRICS
    try:
        rounds = [line.round for line, _ in read_lines(path) if line.stage == "training"]
    except DamagedRecordError:
        rounds = []
    return max([checkpoint.round, *rounds])


def _other_versions(record: RunRecord) -> tuple[str, ...]:
    """A sentence where the record was begun with other versions: its rounds then have two origins."""
    path = record.folder / files.ENVIRONMENT
    try:
        before = parsed(path, Environment)
    except (OSError, DamagedRecordError):
        return ("nobody knows with which versions the record was begun",)
    now = {name: version_of(name) for name in before.packages}
    changed = [
        f"{name} {then} then, {now[name] or 'none'} now" for name, then in before.packages.items() if then != now[name]
    ]
    if before.source_sha256 != source_digest(ROOT):
        changed.append("other sources of this project")
    return (f"resumed with other versions than the record was begun with: {'; '.join(changed)}",) if changed else ()


def _refusal(allowed: str) -> ConfigError:
    return ConfigError("run.resume", True, allowed)
