"""The record folder of a foreign app: what is known stands there, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from typer.testing import CliRunner

from fedcrucible.cli import app as command
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible.flower import Defended
from fedcrucible.flower.clients import Clients
from fedcrucible.flower.rates import rates_of
from fedcrucible_core.config import ConfigError
from fedcrucible_core.records.reader import read
from tests.support.own_app import app_of, content, honest, instead, record, run

PLAIN = {"output.report": False}
START = {"fc.weight": np.zeros((4, 5), np.float32), "fc.bias": np.zeros(4, np.float32), "n": np.array(0)}


def giant(made: RecordDict) -> RecordDict:
    own: Any = made["arrays"]
    moved = {key: array.numpy() * (100 if array.numpy().dtype == np.float32 else 1) for key, array in own.items()}
    return content(moved, 10, train_loss=1.0)


def test_a_record_holds_what_is_known_and_opens_as_ours_do(tmp_path: Path) -> None:
    seen: list[Any] = []
    strategy = Defended("krum", f=1, record=tmp_path / "x", seed=5, on_round=seen.append)
    run(strategy, START, instead(2, giant), rounds=3)
    found = read(tmp_path / "x")
    assert found.finished
    assert [r.round for r in found.rounds] == [0, 1, 2, 3] == [r.round for r in seen]
    assert found.run.truth == "unknown"
    assert (found.run.rule, found.run.clients, found.run.seed) == ("krum", 5, 5)
    assert found.summary.ma_percent is None
    assert found.summary.asr_percent is None
    assert found.summary.detection is None
    assert all(r.tpr_percent is None and r.fpr_percent is None for r in found.rounds)
    assert 2 in found.rounds[-1].rejected
    assert found.config == {"strategy": "krum", "defense.krum.f": 1, "run.seed": 5}
    assert not (tmp_path / "x" / "config.toml").exists()  # nothing runs this again but the app
    for arguments in (["report", str(tmp_path / "x")], ["watch", str(tmp_path / "x")], ["verify", str(tmp_path / "x")]):
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 0, result.output
    page = (tmp_path / "x" / "report.html").read_text()
    assert "isn&#39;t known" in page
    assert "client 2" in page
    assert "no attack" not in page.split("<nav")[0]
    assert json.loads((tmp_path / "x" / "status.json").read_text())["state"] == "finished"


def test_rates_that_the_app_measures_are_its_ma_and_asr(tmp_path: Path) -> None:
    def central(round: int, arrays: ArrayRecord) -> MetricRecord:
        return MetricRecord({"accuracy": 0.2 * round, "asr": 0.9, "loss": 1.0})

    app = app_of(honest, lambda client: content({}, 10, eval_acc=0.1 * client))
    run(Defended("median", record=tmp_path / "x", settings=PLAIN), START, app=app, rounds=2, evaluate_fn=central)
    found = read(tmp_path / "x")
    assert [r.ma_percent for r in found.rounds] == pytest.approx([0, 20, 40])
    assert found.summary.asr_percent == pytest.approx(90)
    assert found.summary.clients is not None
    assert found.summary.clients.ma_mean_percent == pytest.approx(20)
    assert found.rounds[-1].client_metrics["3"] == pytest.approx({"examples": 10, "ma_percent": 30})
    assert (tmp_path / "x" / "sites.json").is_file()


def test_where_clients_say_who_attacks_detection_is_judged(tmp_path: Path) -> None:
    def reply(arrays: Any, client: int, round: int) -> RecordDict:
        made = giant(honest(arrays, client, round)) if client == 2 else honest(arrays, client, round)
        made["metrics"] = MetricRecord({**made["metrics"], "malicious": int(client == 2)})  # type: ignore[dict-item]
        return made

    strategy = Defended("multi-krum", f=1, record=tmp_path / "x", malicious_key="malicious", settings=PLAIN)
    run(strategy, START, reply, rounds=2)
    found = read(tmp_path / "x")
    assert found.run.truth == "known"
    assert found.summary.detection is not None
    assert found.summary.detection.true_positives == 2
    assert found.rounds[1].attackers == (2,)
    assert found.rounds[1].tpr_percent == 100.0


def test_dropped_replies_stand_in_the_record_with_their_cause(tmp_path: Path) -> None:
    run(Defended("median", record=tmp_path / "x", settings=PLAIN), START, instead(1, lambda made: None), rounds=2)
    found = read(tmp_path / "x")
    assert found.rounds[1].dropped.keys() == {"1"}
    assert sum(found.summary.dropped.values()) == 2


def test_a_place_that_cant_be_used_is_refused_before_anybody_trains(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("something")
    asked: list[int] = []

    def reply(arrays: Any, client: int, round: int) -> RecordDict:
        asked.append(client)
        return honest(arrays, client, round)

    with pytest.raises(ConfigError, match="has content"):
        run(Defended("median", record=tmp_path / "x", settings=PLAIN), START, reply)
    assert asked == []


def test_a_run_that_fails_says_so_in_its_record(tmp_path: Path) -> None:
    def central(round: int, arrays: ArrayRecord) -> MetricRecord:
        if round == 2:
            raise ZeroDivisionError("the app's own")
        return MetricRecord({"accuracy": 0.5})

    with pytest.raises(ZeroDivisionError):
        run(Defended("median", record=tmp_path / "x", settings=PLAIN), START, rounds=3, evaluate_fn=central)
    assert len(read(tmp_path / "x").rounds) == 2
    status = json.loads((tmp_path / "x" / "status.json").read_text())
    assert (status["state"], "the app's own" in status["error"]) == ("failed", True)


def test_a_full_disk_costs_the_record_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedcrucible_core.records.writer import RunRecord

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunRecord, "append_round", full)
    found = run(Defended("median", record=tmp_path / "x", settings=PLAIN), START, rounds=2)
    assert found.arrays["fc.weight"].numpy().any()


@pytest.mark.parametrize("rule", ["fldetector", "foolsgold", "signguard-sim", "fedcpa", "dp"])
def test_a_restart_goes_on_as_if_nothing_had_been(rule: str, tmp_path: Path) -> None:
    """Rules with memory end in the same model, bit for bit; the seed is the one that was drawn."""
    first = Defended(rule, record=tmp_path / "x", settings=PLAIN)
    run(first, START, rounds=3)
    again = Defended(rule, record=tmp_path / "x", resume=True, settings=PLAIN)
    resumed = run(again, START, rounds=5)
    seed = first.defence.config.run.seed
    whole = run(Defended(rule, seed=seed, record=tmp_path / "y", settings=PLAIN), START, rounds=5)
    assert again.defence.config.run.seed == seed
    for key in START:
        np.testing.assert_array_equal(resumed.arrays[key].numpy(), whole.arrays[key].numpy())
    assert resumed.train_metrics_clientapp.keys() == {4, 5}
    one, other = read(tmp_path / "x"), read(tmp_path / "y")
    assert [r.weights for r in one.rounds] == [r.weights for r in other.rounds]
    assert one.finished
    assert CliRunner().invoke(command, ["verify", str(tmp_path / "x")]).exit_code == 0


def test_only_the_same_run_is_gone_on_with(tmp_path: Path) -> None:
    run(Defended("median", record=tmp_path / "x", settings=PLAIN), START, rounds=2)
    with pytest.raises(ConfigError, match="another defence"):
        run(Defended("krum", record=tmp_path / "x", resume=True, settings=PLAIN), START, rounds=3)
    with pytest.raises(ConfigError, match="other arrays"):
        run(
            Defended("median", record=tmp_path / "x", resume=True, settings=PLAIN),
            {"w": np.zeros(3, np.float32)},
            rounds=3,
        )
    nothing_left = run(Defended("median", record=tmp_path / "x", resume=True, settings=PLAIN), START, rounds=2)
    assert nothing_left.arrays["n"].numpy() == 2
    fresh = run(Defended("median", record=tmp_path / "new", resume=True, settings=PLAIN), START, rounds=1)
    assert fresh.arrays["n"].numpy() == 1


class KeyedGrid(LocalGrid):
    """Nodes that come and go, and come back under other ids with the same keys."""

    def __init__(self, app: Any, clients: int) -> None:
        super().__init__(app, clients, {})
        made = [Ed25519PrivateKey.generate().public_key() for _ in range(clients)]
        self.keys = [key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in made]
        self.shift = 0
        self.online = set(range(clients))

    def get_node_ids(self) -> Iterable[int]:
        return {2 + self.shift + i for i in self.online}

    def get_nodes(self) -> Iterable[NodeInfo]:
        return [NodeInfo(node_id=2 + self.shift + i, public_key=self.keys[i], name=f"site {i}") for i in self.online]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        batch = list(messages)
        for message in batch:
            message.metadata.dst_node_id -= self.shift
        ids = list(super().push_messages(batch))
        for message, own in zip(batch, ids, strict=True):
            message.metadata.dst_node_id += self.shift
            self._replies[own].metadata.__dict__["_src_node_id"] = message.metadata.dst_node_id
        return ids


def test_a_client_is_its_nodes_key_whatever_its_id_is() -> None:
    grid = KeyedGrid(app_of(honest), 4)
    clients = Clients()
    made = [Message(RecordDict(), dst_node_id=i, message_type="train") for i in grid.get_node_ids()]
    first = clients.ask(grid, made)
    grid.shift = 100
    made = [Message(RecordDict(), dst_node_id=i, message_type="train") for i in grid.get_node_ids()]
    second = clients.ask(grid, made)
    assert first.clients == second.clients == [0, 1, 2, 3]
    assert {node - 100: number for node, number in second.numbers.items()} == dict(first.numbers)
    assert len(clients.known) == 4


def test_nodes_that_leave_and_join_are_clients_of_their_own() -> None:
    grid = KeyedGrid(app_of(honest), 5)
    strategy = Defended("foolsgold", fraction_evaluate=0.0)
    rounds: list[list[int]] = []
    strategy.run.on_round = lambda row: rounds.append(list(row.participants))
    grid.online = {0, 1, 2}

    def central(round: int, arrays: ArrayRecord) -> None:
        grid.online = {0: {0, 1, 2}, 1: {1, 2, 3}, 2: {0, 1, 4}}.get(round, grid.online)

    strategy.start(grid, record(START), num_rounds=3, evaluate_fn=central)
    assert rounds == [[], [0, 1, 2], [1, 2, 3], [0, 1, 4]]
    assert strategy.outcome.dropped == {}


def test_a_node_that_never_answers_is_dropped_as_late() -> None:
    class Silent(LocalGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            return [m for m in super().pull_messages(message_ids) if m.metadata.src_node_id != 3]

    strategy = Defended("median", fraction_evaluate=0.0)
    strategy.start(Silent(app_of(honest), 4, {}), record(START), num_rounds=1, timeout=0.2)
    assert strategy.outcome.dropped == {1: "no reply in time"}
    assert strategy.outcome.valid == [0, 2, 3]


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ({"accuracy": 0.5}, {"ma_percent": 50.0}),
        ({"eval-acc": 0.25, "ASR": 1.0}, {"ma_percent": 25.0, "asr_percent": 100.0}),
        ({"ma_percent": 42.0}, {"ma_percent": 42.0}),
        ({"accuracy": 55.0}, {}),
        ({"accuracy": float("nan"), "loss": 0.1}, {}),
        ({"accuracy": [0.5]}, {}),
        ({}, {}),
    ],
)
def test_rates_are_read_by_usual_names(metrics: dict[str, Any], found: dict[str, float]) -> None:
    assert rates_of(metrics) == found
