"""What a foreign app's run needs to go on in another process, kept in its record's checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from logging import WARNING
from pathlib import Path

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from flwr.common.logger import log
from torch import Tensor

from fedcrucible.flower.configured import COUNTING
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.learning.weights import SOLE, Weights
from fedcrucible_core.records import files
from fedcrucible_core.records.checkpoint import Checkpoint
from fedcrucible_core.records.reader import DamagedRecordError, parsed, read_settings
from fedcrucible_core.records.schema import RunDescription
from fedcrucible_core.records.writer import RunRecord
from strategies.arrays import STYPE, header

ARRAYS, INITIAL, CLIENTS, RUN = "arrays/", "initial/", "clients", "run"
"""Parts of a checkpoint beside what rule, purifier and server optimiser remember."""
DATASET = "an app of its own"
"""What the description of an app's run says of its data; by that its record is known."""
_MAY_CHANGE = ("run.", "output.", "federation.poll_s", "guide.cache_dir")
"""Settings on which no number depends, and the seed, which a run may have drawn."""


@dataclass(frozen=True)
class Identity:
    """All that a run's numbers depend on but its seed: settings, and the server optimiser, in words."""

    config: RunConfigBase
    optimiser: str

    @property
    def digest(self) -> str:
        """Two runs with the same one may be one run."""
        return _digest(self.config, self.optimiser)

    def recorded_in(self, folder: Path) -> str:
        """The digest of a record's settings, with this server optimiser; empty where they can't be read."""
        try:
            return _digest(load(read_settings(folder).get("values", {})), self.optimiser)
        except (OSError, ValueError):
            return ""


def _digest(config: RunConfigBase, optimiser: str) -> str:
    settings = {
        key: value
        for key, value in flatten(config).items()
        if key == "strategy" or (key.startswith(COUNTING) and not key.startswith(_MAY_CHANGE))
    }
    content = json.dumps([settings, optimiser], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Memory:
    """All that a run needs to go on after ``round``."""

    round: int
    arrays: ArrayRecord
    states: Mapping[str, Mapping[str, Tensor]]
    clients: Mapping[str, int]
    seed: int
    initial: ArrayRecord | None = None
    """What training starts over from, of rules that let it."""

    def checkpoint(self, identity: str, seconds: float) -> Checkpoint:
        """The same as a checkpoint of the run ``identity`` that has taken so many seconds."""
        states: dict[str, dict[str, Tensor]] = {owner: dict(named) for owner, named in self.states.items()}
        for prefix, arrays in ((ARRAYS, self.arrays), (INITIAL, self.initial or ArrayRecord())):
            for key, array in arrays.items():
                held = torch.from_numpy(np.frombuffer(array.data, np.uint8).copy())
                states.setdefault(f"{prefix}{array.dtype}", {})[key] = held
        states[CLIENTS] = {key: torch.tensor(number) for key, number in self.clients.items()}
        states[RUN] = {"seed": torch.tensor(self.seed)}
        nothing = {SOLE: Weights(torch.zeros(0), torch.zeros(0))}
        return Checkpoint(self.round, nothing, states, identity, seconds)


def is_record(folder: Path) -> bool:
    """Whether a run's record lies there, whole or not."""
    return (folder / files.RUN).is_file()


def remembered(folder: Path, identity: Identity, like: ArrayRecord, rounds: int, seed: int | None) -> Memory | None:
    """What the record in ``folder`` kept of the run; None where there is none, or an unfinished one kept nothing.

    ``like`` are the arrays that the app begins with, ``rounds`` how many it asks for, ``seed`` its seed, if any.

    Raises:
        ConfigError: it is another run's, damaged, has other arrays or another seed, or holds more rounds.
    """

    def refusal(why: str) -> ConfigError:
        return ConfigError("resume", str(folder), f"{why}; choose another record")

    record = RunRecord(folder)
    if not is_record(folder):
        return None
    if not _is_of_an_app(folder):
        raise refusal("it is no app's, but a run of our own")
    found = record.latest_checkpoint(lambda text: log(WARNING, "%s", text))
    if found is None and (folder / files.SUMMARY).exists():
        raise refusal("it is finished, and kept no checkpoint")
    if (identity.recorded_in(folder) if found is None else found.identity) != identity.digest:
        raise refusal("it is a run of another defence, server optimiser or other settings")
    if found is None:
        log(WARNING, "%s holds no whole checkpoint: the run starts over", folder)
        return None
    if found.round > rounds:
        raise ConfigError("num_rounds", rounds, f"at least {found.round}, which {folder} holds already")
    own = int(found.state[RUN]["seed"])
    if seed is not None and seed != own:
        raise ConfigError("seed", seed, f"{own}, which the run in {folder} has, or None")
    try:
        record.lines_up_to(found.round)
    except DamagedRecordError as error:
        raise refusal(str(error)) from None
    arrays, initial = _arrays(found, ARRAYS), _arrays(found, INITIAL)
    if set(arrays) != set(like):
        raise refusal("its model has other arrays than initial_arrays")
    for key, array in arrays.items():
        held, wanted = (array.dtype, tuple(array.shape)), (like[key].dtype, tuple(like[key].shape))
        if held != wanted:
            raise refusal(f"its array {key!r} is {held[0]} {held[1]}, that of initial_arrays {wanted[0]} {wanted[1]}")
    states = {
        owner: named
        for owner, named in found.state.items()
        if owner not in (CLIENTS, RUN) and not owner.startswith((ARRAYS, INITIAL))
    }
    return Memory(
        found.round,
        ArrayRecord({key: arrays[key] for key in like}),
        states,
        {key: int(number) for key, number in found.state.get(CLIENTS, {}).items()},
        own,
        ArrayRecord({key: initial[key] for key in like}) if initial else None,
    )


def _is_of_an_app(folder: Path) -> bool:
    try:
        return parsed(folder / files.RUN, RunDescription).dataset == DATASET
    except (OSError, ValueError):
        return False


def _arrays(checkpoint: Checkpoint, prefix: str) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for owner, named in checkpoint.state.items():
        if owner.startswith(prefix):
            for key, tensor in named.items():
                data = tensor.numpy().tobytes()
                found[key] = Array(owner.removeprefix(prefix), header(data)[0], STYPE, data)
    return found
