"""Where a run begins: at the beginning, or where the record that it continues has come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import default_keys, flatten, load, of_record
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.checkpoint import Checkpoint
from fedcrucible_core.records.environment import ROOT, processor, source_digest, version_of
from fedcrucible_core.records.reader import DamagedRecordError, parsed, read_lines, read_settings
from fedcrucible_core.records.schema import Environment, RunDescription
from fedcrucible_core.records.writer import RunRecord
from server_app.identity import continued_settings, run_identity
from server_app.plan import Plan
from strategies.exclusions import KEY as EXCLUDED
from strategies.exclusions import Exclusions

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
    excluded: str | None = None
    """``federation.excluded`` of the whole run, where the record was begun with another list; None where it wasn't."""

    @property
    def last_round(self) -> int:
        """The last round that stays; -1 for none."""
        return -1 if self.checkpoint is None else self.checkpoint.round

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that the run has taken before."""
        return 0.0 if self.checkpoint is None else self.checkpoint.seconds


def starting_point(record: RunRecord, plan: Plan) -> Start:
    """Where the run in ``record`` begins; nothing is written.

    With ``run.resume`` it goes on from the newest whole checkpoint.  An unfinished record without one starts over, an
    empty folder starts anew, and the notes say so.

    Raises:
        ConfigError: the folder holds another run (other settings or other data), something that is no record, a
            finished run without checkpoint, or more rounds than are asked for.
    """
    config = plan.config
    if not config.run.resume:
        return Start()
    if not any(record.folder.iterdir()):
        return Start(notes=(f"nothing to resume: {record.folder} is new, the run starts from its beginning",))
    recorded = _check_settings(record, config)
    in_the_way = files.in_the_way(record.folder)
    if in_the_way is not None:
        raise _refusal(
            f"{in_the_way} is in the way of a file or folder of the record; move it, or choose another output.name"
        )
    notes: list[str] = []
    checkpoint = _checkpoint(record, plan, recorded, notes)
    if checkpoint is None:
        note = "nothing to resume from: the record holds no whole checkpoint, so the run starts over"
        return Start(continues=True, notes=(*notes, note))
    if checkpoint.identity not in (run_identity(plan), run_identity(plan, former_keys=True)):
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
    excluded = _excluded(recorded, config, checkpoint.round)
    before = str(recorded.get(EXCLUDED, ""))
    if excluded not in (None, before):
        notes.append(f"{EXCLUDED} is {excluded!r} from now on, it was {before!r}")
    return Start(checkpoint, True, (*_history(record), *notes, note, *_other_surroundings(record, plan)), excluded)


def _excluded(recorded: Mapping[str, Scalar], config: RunConfigBase, done: int) -> str | None:
    """The list of excluded partitions that is right for the rounds before and after ``done``; None = as configured."""
    before = Exclusions.parse(str(recorded.get(EXCLUDED, "")), config.federation.clients)
    found = Exclusions.of(config.federation).continued(before, done).text()
    return None if found == config.federation.excluded else found


def _checkpoint(record: RunRecord, plan: Plan, recorded: Mapping[str, Scalar], notes: list[str]) -> Checkpoint | None:
    """The newest whole checkpoint that a run of this length would have come by; what is told of it goes to ``notes``.

    The last round of a shorter run may be no round of a longer one: it is measured whatever ``run.eval_every`` says,
    and a rule that smooths its final model adds no noise to it.
    """
    run, rounds = plan.config.run, recorded.get("run.rounds", plan.config.run.rounds)
    if not isinstance(rounds, int):
        raise _refusal(
            f"{record.folder / files.CONFIG} is damaged: run.rounds is {rounds!r}; choose another output.name"
        )
    smooths = plan.system.rule_needs.smoothing is not None
    special = run.rounds > rounds and (smooths or rounds % run.eval_every != 0)
    found = record.latest_checkpoint(notes.append, before=rounds if special else None)
    if found is None and special:
        found = record.latest_checkpoint(lambda _: None)
        if found is not None and smooths:
            raise _refusal(
                f"round {rounds} of {record.folder} was its last, which rule {plan.system.rule_name!r} treats unlike "
                "others, and there is no earlier checkpoint; choose another output.name"
            )
        if found is not None:
            notes.append(f"round {rounds} was measured as the last of a shorter run")
    if found is None and (record.folder / files.SUMMARY).is_file():
        allowed = f"{record.folder} holds a finished run and no checkpoint to go on from; choose another output.name"
        raise _refusal("; ".join([allowed, *notes]))
    return found


def _history(record: RunRecord) -> tuple[str, ...]:
    """What befell the run before."""
    try:
        return parsed(record.folder / files.RUN, RunDescription).history
    except (OSError, DamagedRecordError):
        return ()


def _check_settings(record: RunRecord, config: RunConfigBase) -> Mapping[str, Scalar]:
    """The recorded settings, once they are known to be those of this run."""
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
    return recorded["values"]


def differences(recorded: Mapping[str, Scalar], old: Mapping[str, Scalar], config: RunConfigBase) -> list[str]:
    """Settings that change numbers and that ``config`` has other values of than a record, in words; empty for none.

    A key that the record doesn't know had its default, or what was computed before it existed; one that isn't known
    here counts unless it had its default of then, ``old``.
    """
    values, defaults = flatten(config), default_keys()
    before = of_record(recorded)
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


def with_excluded(config: RunConfigBase, excluded: str) -> RunConfigBase:
    """The same settings with another ``federation.excluded``."""
    federation = config.federation.model_copy(update={"excluded": excluded})
    return config.model_copy(update={"federation": federation})


def _rounds_done(record: RunRecord, checkpoint: Checkpoint) -> int:
    """Training rounds that the record holds; lines behind the checkpoint may be damaged, for they are run again."""
    path = record.folder / files.METRICS
    try:
        rounds = [line.round for line, _ in read_lines(path) if line.stage == "training"]
    except DamagedRecordError:
        rounds = []
    return max([checkpoint.round, *rounds])


def _other_surroundings(record: RunRecord, plan: Plan) -> tuple[str, ...]:
    """A sentence where the record was begun elsewhere: its rounds then have two origins."""
    try:
        before = parsed(record.folder / files.ENVIRONMENT, Environment)
    except (OSError, DamagedRecordError):
        return ("nobody knows with which versions the record was begun",)
    then = {**before.packages, "device": before.device, "processor": before.processor}
    now = {name: version_of(name) for name in before.packages}
    now |= {"device": str(plan.device), "processor": processor()}
    changed = [f"{name} {was} then, {now[name] or 'none'} now" for name, was in then.items() if was != now[name]]
    if before.source_sha256 != source_digest(ROOT):
        changed.append("other sources of this project")
    return (f"resumed with other versions or another device: {'; '.join(changed)}",) if changed else ()


def _refusal(allowed: str) -> ConfigError:
    return ConfigError("run.resume", True, allowed)
