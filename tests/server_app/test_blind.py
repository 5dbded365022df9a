"""Blind runs: nothing that a client receives tells the attack's truth, and the model is the same, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client_app.app import app as honest_app
from client_app.session import run_config
from fedcrucible.engines import hidden_settings
from fedcrucible.engines.hidden_settings import submitted, told_to_clients, with_hidden
from fedcrucible.engines.in_process import run_in_process
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.blind import is_public, public_settings, server_settings
from fedcrucible_core.config.load import default_keys, flatten, load
from fedcrucible_core.records import files
from server_app import app as server
from server_app.plan import Plan
from server_app.run import execute
from tests.support.tiny_runs import Scalar, settings

SEED = 1_734_826_193
TRUTH: Mapping[str, Scalar] = {
    "run__seed": SEED,
    "strategy": "trimmed-mean",
    "attack__name": "blend",
    "attack__blend__alpha": 0.234567,
    "poison__target_label": 7,
    "poison__ratio": 0.456789,
    "adversary__malicious_ids": "1, 3",
    "adversary__start_round": 2,
    "defense__trimmed-mean__f": 1,
    "output__name": "trimmed-mean-against-it",
    "federation__fraction_evaluate": 1.0,
    "partition__test_fraction": 0.2,
}
BLIND: Mapping[str, Scalar] = {**TRUTH, "federation__blind": True}
WORDS = (
    str(SEED), "trimmed-mean-against", "0.234567", "0.456789", '1, 3', '"blend"', '"trimmed-mean"',
)  # fmt: skip
"""What the truth looks like in what is received; the names of components are keys of everybody's configuration."""


class Received:
    """All that reaches clients, by partition, as text."""

    def __init__(self) -> None:
        self.of: dict[int, list[str]] = {}
        self.app = ClientApp()
        for register in (self.app.train, self.app.evaluate, self.app.query):
            register()(self._answer)
        self.app.query("memory")(self._answer)

    def _answer(self, msg: Message, context: Context) -> Message:
        partition = int(context.node_config["partition-id"])
        told = {
            "run_config": dict(context.run_config),
            "node_config": dict(context.node_config),
            "metadata": {key: str(value) for key, value in msg.metadata.__dict__.items()},
            "content": {key: _shown(record) for key, record in msg.content.items()},
        }
        self.of.setdefault(partition, []).append(json.dumps(told, default=str))
        return honest_app(msg, context)


def _shown(record: Any) -> Any:
    if isinstance(record, ArrayRecord):
        return {key: [array.dtype, list(array.shape)] for key, array in record.items()}
    return dict(record.items())


def _played(**changes: Scalar) -> tuple[Received, Path, str]:
    plan = Plan.make(load(settings(**changes)))
    received = Received()
    with told_to_clients(plan.config) as (sent, node_configs):
        grid = LocalGrid(received.app, 5, sent, node_configs=node_configs)
        summary = execute(plan, grid, in_order=False)
    return received, Path(summary.folder), summary.parameters_sha256


def test_honest_clients_see_no_truth_and_the_model_is_the_same(runs_folder: Path) -> None:
    open_, _, expected = _played(**TRUTH)
    assert all(word in "".join(open_.of[0]) for word in WORDS), "what is looked for is there when a run isn't blind"
    blind, folder, found = _played(**BLIND, output__dir=str(runs_folder / "blind"))
    assert found == expected
    for partition in (0, 2, 4):
        everything = "".join(blind.of[partition])
        assert [word for word in WORDS if word in everything] == []
        assert "hidden-file" not in everything
        kinds = {json.loads(text)["metadata"]["_message_type"] for text in blind.of[partition]}
        assert kinds == {"query", "train", "evaluate"}
    assert "hidden-file" in blind.of[1][0]
    lines = [json.loads(line) for line in (folder / files.METRICS).read_text().splitlines()]
    assert [line["malicious"] for line in lines[1:]] == [[1, 3], [1, 3]]
    assert [line["attacking"] for line in lines[1:]] == [[], [1, 3]]
    assert not any("asr_percent" in said for line in lines[1:] for said in line["client_metrics"].values())


def test_another_truth_looks_the_same(runs_folder: Path) -> None:
    other = {
        **BLIND, "attack__name": "sign-flip", "strategy": "median", "adversary__malicious_ids": "3",
        "poison__target_label": 2, "run__rounds": 1, "output__name": "x",
    }  # fmt: skip
    first, _, _ = _played(**BLIND, run__rounds=1)
    second, _, _ = _played(**other)
    assert [_lasting(text) for text in first.of[0]] == [_lasting(text) for text in second.of[0]]


def _lasting(text: str) -> Any:
    """What was received, without the names that Flower draws anew for every message."""
    told = json.loads(text)
    told["metadata"] = {
        key: value
        for key, value in told["metadata"].items()
        if key not in ("_message_id", "_created_at", "_delivered_at")
    }
    return told


def test_the_in_process_engine_plays_blind_runs(runs_folder: Path) -> None:
    quick = {"run__rounds": 1, "output__name": "quick", "model__name": "logistic"}
    plain = run_in_process(Plan.make(load(settings(**{**TRUTH, **quick}))))
    blind = run_in_process(Plan.make(load(settings(**{**BLIND, **quick, "output__name": "blind"}))))
    assert plain.parameters_sha256 == blind.parameters_sha256


def test_a_server_reads_its_file_and_prints_no_truth(
    tmp_path: Path, runs_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = flatten(
        load(
            settings(
                **{
                    **BLIND,
                    "run__rounds": 1,
                    "model__name": "logistic",
                    "output__name": "quiet",
                    "federation__discovery": "order",
                }
            )
        )
    )
    with submitted(whole, tmp_path) as sent:
        attacker = {"role": "malicious", "hidden-file": sent["federation.hidden"]}
        grid = LocalGrid(honest_app, 5, sent, node_configs={1: attacker, 3: attacker})
        server.main(grid, Context(1, 1, {}, RecordDict(), sent))
    said = capsys.readouterr().out
    assert said == "blind run: what it came to stands in its record\n"
    assert (runs_folder / "quiet" / files.SUMMARY).is_file()


# --- who is told what -------------------------------------------------------------------------------------------------


def test_nothing_is_public_but_what_honest_clients_live_by() -> None:
    sections = {key.split(".")[0] for key in default_keys() if is_public(key)}
    assert sections == {"task", "training", "model", "partition", "run", "federation"}
    hidden = ("run.seed", "run.rounds", "federation.excluded", "federation.fraction_train", "output.name", "strategy")
    assert not any(is_public(key) for key in hidden)


def test_a_server_finds_the_rest_in_its_file_and_nodes_do_not(tmp_path: Path) -> None:
    whole = flatten(load(settings(**BLIND)))
    with submitted(whole, tmp_path) as sent:
        path = Path(str(sent["federation.hidden"]))
        assert path.stat().st_mode & 0o777 == 0o600
        assert set(sent) == set(default_keys())
        assert flatten(load(server_settings(sent))) == {**whole, "federation.hidden": str(path)}
        honest = run_config(_context(sent))
        assert (honest.strategy, honest.attack.name, honest.run.seed) == ("fedavg", "none", 1)
        for node in ({"hidden-file": str(path)}, {"role": "benign", "hidden-file": str(path)}):
            assert run_config(_context(sent, **node)) == honest, "only a malicious node's file counts"
        attacker = run_config(_context(sent, role="malicious", **{"hidden-file": str(path)}))
        assert (attacker.attack.name, attacker.run.seed, attacker.strategy) == ("blend", SEED, "trimmed-mean")
    assert not path.exists()


def test_a_file_on_top_of_what_is_typed(tmp_path: Path) -> None:
    (tmp_path / "truth.toml").write_text('[attack]\nname = "blend"\n[poison]\nratio = 0.2\n')
    typed: dict[str, Scalar] = {"federation.blind": True, "federation.hidden": str(tmp_path / "truth.toml")}
    found = with_hidden({**typed, "poison.ratio": 0.4})
    assert found == {"attack.name": "blend", "poison.ratio": 0.4, "federation.blind": True, "federation.hidden": ""}


def _context(sent: Mapping[str, Scalar], **node: Scalar) -> Context:
    return Context(1, 2, {"partition-id": 0, **node}, RecordDict(), dict(sent))


def test_a_malicious_node_without_its_file_says_so() -> None:
    sent = public_settings({"federation.blind": True})
    with pytest.raises(ConfigError, match="node-config hidden-file = '': the run is blind: a malicious node needs"):
        run_config(_context(sent, role="malicious"))


def test_a_server_of_another_version_is_refused_and_not_guessed_at(runs_folder: Path) -> None:
    plan = Plan.make(load(settings(**{**BLIND, "run__rounds": 1, "federation__blind": False})))
    sent = public_settings({**flatten(plan.config), "federation.blind": True})
    summary = execute(plan, LocalGrid(honest_app, 5, sent), in_order=True)
    assert all("tells no seeds" in cause for cause in summary.dropped)


FAULTS: dict[str, tuple[Mapping[str, Scalar], str]] = {
    "drawn by seed": ({"adversary__malicious_ids": ""}, r"adversary.malicious_ids = '': .*would draw '\d, \d'"),
    "many architectures": ({"strategy": "fm-fl", "fm_fl__prototypes": "blocks"}, "strategy = 'fm-fl': .*one model"),
    "other training": ({"strategy": "flpurifier"}, r"defense.name = .*train in its own way"),
    "survey": ({"strategy": "pruning"}, r"repair.name = 'pruning': asks clients"),
    "common trigger": ({"federation__evaluate_triggered": "common"}, "don't know the trigger"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_gives_the_truth_away_is_refused(kind: str) -> None:
    changes, said = FAULTS[kind]
    with pytest.raises(ConfigError, match=said):
        Plan.make(load(settings(**{**BLIND, **changes})))


def test_a_truth_that_was_sent_to_everybody_is_refused(tmp_path: Path) -> None:
    sent = {**public_settings({"federation.blind": True}), "attack.name": "blend"}
    with pytest.raises(ConfigError, match=r"attack.name = 'blend': .*every node sees .*federation.hidden"):
        server_settings(sent)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "can't be read as TOML on this machine"), ("a = [", "can't be read as TOML"),
     ("[training]\nlr = 0.1\n", "training.lr there, which nodes need")],
)  # fmt: skip
def test_a_hidden_file_that_is_none_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "hidden.toml"
    if text is not None:
        path.write_text(text)
    sent = {**public_settings({"federation.blind": True}), "federation.hidden": str(path)}
    with pytest.raises(ConfigError, match=said):
        server_settings(sent)


@pytest.mark.parametrize(
    ("hidden", "blind", "said"),
    [
        ("", True, "needs a TOML file"),
        ("here.toml", True, "an absolute path"),
        ("/x", False, "only with federation.blind"),
    ],
)
def test_where_the_file_lies_must_be_said_and_only_then(hidden: str, blind: bool, said: str) -> None:
    sent = {**public_settings({"federation.blind": blind}), "federation.hidden": hidden}
    with pytest.raises(ConfigError, match=said):
        server_settings(sent)


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No hidden file outlives its run."""
    written: list[Path] = []
    write = hidden_settings.write_hidden

    def watched(folder: Path, values: Mapping[str, Scalar]) -> Path:
        written.append(write(folder, values))
        return written[-1]

    monkeypatch.setattr(hidden_settings, "write_hidden", watched)
    yield
    assert not [path for path in written if path.exists()]
