"""The same run without a site from some round on: a new record that goes on from a checkpoint of the old one.

The old record is only read.  What lies before the checkpoint is copied, so that both records tell the whole run.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcrucible.failures import CommandError
from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.blind import HIDDEN
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import default_keys, flatten, load, of_record
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import checkpoint, files
from fedcrucible_core.records.lock import FolderBusyError, only_writer
from fedcrucible_core.records.reader import parsed, read, read_settings
from fedcrucible_core.records.schema import RunDescription
from fedcrucible_core.records.writer import RunRecord
from strategies.exclusions import KEY as EXCLUDED
from strategies.exclusions import Exclusions, Window


@dataclass(frozen=True)
class Fork:
    """A record that is about to go on without some sites."""

    folder: Path
    config: RunConfigBase
    checkpoint_round: int
    """The round of the old record that it goes on from."""
    first_round: int
    """The first round without the sites."""


def fork(old: Path, without: Sequence[int], first: int, name: str = "") -> Fork:
    """Make the new record, in the old one's folder of records, up to the checkpoint that it goes on from.

    It goes on from the newest whole checkpoint before round ``first``; the rounds from there to ``first`` are run again
    with everybody.  ``name`` is the new folder's; empty = the old one's with what was left out.

    Raises:
        CommandError: ``old`` is no record, or holds no checkpoint before that round.
        ConfigError: the sites can't be left out, or the new folder can't be used.
        DamagedRecordError: a file of the old record is damaged.
    """
    if not (old / files.RUN).is_file():
        raise CommandError(f"{old} is no run record", f"a record folder holds {files.RUN}")
    old = old.resolve()
    if not any(record.participants for record in read(old, arrays=False).rounds):
        raise CommandError(f"no client took part in any round of {old}", "there is nobody to leave out")
    recorded = of_record(read_settings(old).get("values", {}))
    start = _checkpoint(old, first, recorded)
    if name in (".", "..") or Path(name).name != name:
        raise CommandError(f"--name {name!r} is no folder name", "allowed: one name, beside the old record")
    folder = old.parent / (name or _name(old, without, first))
    settings = recorded | {
        EXCLUDED: _excluded(recorded, without, first),
        "output.dir": str(folder.parent),
        "output.name": folder.name,
        "run.resume": True,
        HIDDEN: "",  # of a blind deployment: the record knows all settings
    }
    config = load(settings)
    if folder.exists() and any(folder.iterdir()):
        raise CommandError(f"{folder} has content", "name another record by --name")
    _copy(old, folder, start, recorded, f"replayed from {old.name} after round {start.round}")
    return Fork(folder, config, start.round, first)


def _excluded(recorded: dict[str, Scalar], without: Sequence[int], first: int) -> str:
    clients, before = int(recorded["federation.clients"]), str(recorded[EXCLUDED])
    for site in without:
        if not 0 <= site < clients:
            raise CommandError(f"--without {site}: the run has no such site", f"allowed: 0 to {clients - 1}")
    windows = dict(Exclusions.parse(before, clients).windows)
    for site in without:
        then = windows.get(site)
        windows[site] = Window(first) if then is None else Window(min(first, then.first))
    return Exclusions(dict(sorted(windows.items()))).text()


def _checkpoint(old: Path, first: int, recorded: dict[str, Scalar]) -> checkpoint.Checkpoint:
    """The newest whole checkpoint before round ``first``. Raises CommandError that says what there is."""
    rounds = int(recorded["run.rounds"])
    if first <= 1:
        anew = f"from round 1 it is a run of its own: fedcrucible run --preset {old / files.CONFIG_TOML} {EXCLUDED}=..."
        raise CommandError(f"--from {first}: there is no checkpoint before round 1", anew)
    if first > rounds:
        raise CommandError(f"--from {first} is after the last round of {old.name}, {rounds}", f"allowed: 2 to {rounds}")
    damaged: list[str] = []
    found = checkpoint.latest_checkpoint(old / files.CHECKPOINTS, damaged.append, before=first)
    if found is not None:
        return found
    there = [r for r in checkpoint.rounds_of(old / files.CHECKPOINTS) if r < rounds]
    cause = f"{old} holds no whole checkpoint before round {first}"
    if damaged:
        cause += f" ({'; '.join(map(plain_text, damaged))})"
    later = [r + 1 for r in there if r >= first]
    if later:
        could = f"--from {later[0]} or any later round could start, from the checkpoints after rounds "
        could += ", ".join(str(r) for r in there if r >= first)
    else:
        could = "no round could start"
    every, kept = recorded["run.checkpoint_every"], recorded["run.checkpoints_kept"]
    hint = f"{could}; run.checkpoint_every is {every} in this record, run.checkpoints_kept {kept} "
    raise CommandError(cause, hint + "(every = 1 and kept = 0 keep a checkpoint of every round)")


def _name(old: Path, without: Sequence[int], first: int) -> str:
    return f"{old.name}-without-{'-'.join(map(str, without))}-from-{first}"


def _copy(old: Path, folder: Path, start: checkpoint.Checkpoint, recorded: dict[str, Scalar], note: str) -> None:
    """The record up to its checkpoint; all or nothing."""
    lines = RunRecord(old).lines_up_to(start.round)
    run = parsed(old / files.RUN, RunDescription)
    try:
        with only_writer(folder):
            new = RunRecord(folder)
            new.write_config(recorded, default_keys())
            new.write_run(run.model_copy(update={"history": (*run.history, note)}))
            write_atomic(folder / files.METRICS, b"".join(line + b"\n" for line in lines))
            if (old / files.ENVIRONMENT).is_file():
                shutil.copyfile(old / files.ENVIRONMENT, folder / files.ENVIRONMENT)
            for path in sorted((old / files.DIAGNOSTICS).glob("round-*.safetensors")):
                if path.name <= f"round-{start.round:07d}.safetensors":
                    (folder / files.DIAGNOSTICS).mkdir(exist_ok=True)
                    shutil.copyfile(path, folder / files.DIAGNOSTICS / path.name)
            new.write_checkpoint(start)
    except FolderBusyError:
        raise CommandError(f"another run is writing to {folder}", "name another record by --name") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def settings_of(made: Fork) -> list[str]:
    """What ``flwr run`` is told to go on with it."""
    wanted = ("output.dir", "output.name", "run.resume", EXCLUDED)
    values = flatten(made.config)
    return [f"{key}={_shown(values[key])}" for key in wanted]


def _shown(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'


def replayed(made: Fork, old: Path) -> bool:
    """Whether the rounds that both records hold up to the first one without the sites have the same rates."""
    before, after = (
        {r.round: (r.ma_percent, r.asr_percent) for r in read(folder, arrays=False).rounds if r.stage == "training"}
        for folder in (old, made.folder)
    )
    return all(before.get(number) == after.get(number) for number in range(made.first_round))
