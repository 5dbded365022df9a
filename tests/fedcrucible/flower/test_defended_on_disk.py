"""Replies and updates on disk: the same numbers as in memory, and far less memory of the process's own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible.flower import Defended
from fedcrucible.flower.on_disk import SMALL, DiskRoom
from fedcrucible.flower.patient_grid import AT_A_TIME
from fedcrucible_core.config import ConfigError
from tests.support.own_app import Values, app_of, content, honest, record, run, values

LARGE = SMALL // 4 + 1
"""float32 numbers that don't stay in memory."""
ARRAYS: dict[str, Values] = {
    "a.weight": np.ones((LARGE, 1), np.float32),
    "a.bias": np.zeros(3, np.float32),
    "bn.running_var": np.ones(5, np.float32),
    "bn.num_batches_tracked": np.array(3),
    "mask": np.array([True, False]),
    "nothing": np.zeros((0, 2), np.float32),
}


@pytest.mark.parametrize("rule", ["fedavg", "krum", "trimmed-mean", "flame", "fedcpa"])
def test_the_model_is_the_same_bit_for_bit(rule: str, tmp_path: Path) -> None:
    there, here = (run(Defended(rule, seed=1, on_disk=folder), ARRAYS, rounds=2) for folder in (tmp_path, None))
    assert {key: array.data for key, array in there.arrays.items()} == {k: a.data for k, a in here.arrays.items()}
    assert there.train_metrics_clientapp == here.train_metrics_clientapp
    assert list(tmp_path.iterdir()) == []  # files have no names


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted there")
def test_no_reply_keeps_a_descriptor(tmp_path: Path) -> None:
    held: list[int] = []

    class Counting(LocalGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            held.append(len(list(Path("/proc/self/fd").iterdir())))
            return super().pull_messages(message_ids)

    strategy = Defended("median", on_disk=tmp_path, fraction_evaluate=0.0)
    strategy.start(Counting(app_of(honest), 12, {}), record(ARRAYS), 3)
    assert strategy.outcome.valid == list(range(12))
    assert max(held) - min(held) <= AT_A_TIME


def test_doubles_and_tied_weights_and_odd_orders(tmp_path: Path) -> None:
    weight = np.asfortranarray(np.ones((LARGE, 2)))
    arrays = {"embedding.weight": weight, "head.weight": weight.copy()}

    def tied(sent: dict[str, Values], client: int, round: int) -> RecordDict:
        moved = honest(sent, client, round)["arrays"]["embedding.weight"].numpy()  # type: ignore[index, union-attr]
        return content({"head.weight": moved, "embedding.weight": moved})

    there, here = (run(Defended("krum", on_disk=folder), arrays, tied) for folder in (tmp_path, None))
    for key, found in values(there.arrays).items():
        np.testing.assert_array_equal(found, here.arrays[key].numpy())
        assert found.dtype == np.float64


def test_hostile_replies_are_dropped_as_in_memory(tmp_path: Path) -> None:
    def hostile(sent: dict[str, Values], client: int, round: int) -> RecordDict:
        if client == 0:
            return content({**sent, "a.weight": np.full((LARGE, 1), np.nan, np.float32)})
        if client == 1:
            return content({**sent, "more": np.zeros(LARGE, np.float32)})
        if client == 2:
            lying = ArrayRecord({**{key: Array(found) for key, found in sent.items()}})
            lying["a.weight"].data = b"\x93NUMPY" + bytes(5 * LARGE)
            return content(lying)
        if client == 3:
            odd = ArrayRecord({key: Array(found) for key, found in sent.items()})
            odd["a.weight"].data = 7  # type: ignore[assignment]
            return content(odd)
        return honest(sent, client, round)

    causes = []
    for folder in (tmp_path, None):
        strategy = Defended("fedavg", on_disk=folder)
        result = run(strategy, ARRAYS, hostile, clients=7)
        causes.append(strategy.outcome.dropped)
        assert strategy.outcome.valid == [4, 5, 6]
        assert len(result.arrays)
    assert causes[0] == causes[1]
    assert len(causes[0]) == 4


@pytest.fixture
def _in_a_run() -> None:
    LocalGrid(ClientApp(), 1, {})  # a message can be made in a run alone


@pytest.mark.usefixtures("_in_a_run")
def test_a_small_reply_an_error_and_an_odd_one_stay_as_they_are(tmp_path: Path) -> None:
    room = DiskRoom(tmp_path)
    small = Message(content({"w": np.zeros(3)}), dst_node_id=2, message_type="train")
    failed = Message(Error(1, "broken"), reply_to=small)
    kept = small.content
    assert room.moved(small).content is kept
    assert room.moved(failed).has_error()


@pytest.mark.usefixtures("_in_a_run")
def test_the_clients_own_arrays_stay_what_they_are(tmp_path: Path) -> None:
    own = ArrayRecord({"w": Array(np.zeros(LARGE, np.float32))})
    data = own["w"].data
    moved = DiskRoom(tmp_path).moved(Message(content(own), dst_node_id=2, message_type="train"))
    assert own["w"].data is data
    assert bytes(moved.content["arrays"]["w"].data) == data  # type: ignore[index, union-attr]
    assert not isinstance(moved.content["arrays"]["w"].data, bytes)  # type: ignore[index, union-attr]


def test_a_full_disk_costs_the_round_of_updates_and_no_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    strategy = Defended("fedavg", on_disk=tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    run(strategy, ARRAYS)
    assert strategy.outcome.dropped == {}
    assert strategy.outcome.notes == [
        "rule fedavg: no room for updates on disk: No space left on device; the model is kept"
    ]


@pytest.mark.parametrize("place", ["missing", "a-file"])
def test_a_folder_that_cannot_be_used_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(ConfigError, match=rf"on_disk.*{place}.*a folder that can be written to"):
        Defended("fedavg", on_disk=tmp_path / place)


def test_a_matrix_of_no_clients_or_columns_is_empty(tmp_path: Path) -> None:
    assert DiskRoom(tmp_path).matrix(0, 5, torch.float32).shape == (0, 5)
    assert DiskRoom(tmp_path).matrix(2, 0, torch.float64).dtype == torch.float64


LIMITED: Any = """
import resource, sys
import numpy as np, torch
from flwr.app import ArrayRecord, Array, ConfigRecord
from fedcrucible.flower.patient_grid import PatientGrid
from studies.drop_in_scale import PATIENCE_S, LazyGrid, noisy_clients
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible.flower import Defended

torch.set_num_threads(1)
parameters, models, folder = 10_000_000, float(sys.argv[1]), sys.argv[2] or None  # memory of such goes when it is freed
strategy = Defended("flame", on_disk=folder)
grid = PatientGrid(LazyGrid(noisy_clients(), 16, {}), PATIENCE_S, strategy.room)
arrays = ArrayRecord({"w": Array(np.zeros(parameters, np.float32))})
messages = list(strategy.configure_train(1, arrays, ConfigRecord(), grid))
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (int(used + models * 4 * parameters),) * 2)
made, _ = strategy.aggregate_train(1, list(grid.send_and_receive(messages)))
print(strategy.outcome.model, len(strategy.outcome.valid))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts memory of its own on Linux alone")
def test_a_round_of_many_clients_fits_into_the_memory_of_a_few_models(tmp_path: Path) -> None:
    done = {}
    for name, folder in (("disk", str(tmp_path)), ("memory", "")):
        command = [sys.executable, "-c", LIMITED, "12", folder]  # a client alone takes seven
        done[name] = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert "changed 16" in done["disk"].stdout, done["disk"].stderr
    assert "changed 16" not in done["memory"].stdout  # else the limit limits nothing
