"""Honest clients whose data came to them poisoned, and clients that look for it before they train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from flwr.app import MetricRecord, RecordDict

from attacks.upstream import upstream_set
from client_app.honest_data import honest_data
from client_app.local_data import attack_task, clean_data
from defenses import splitting
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from fedcrucible_core.records.reader import read
from fedcrucible_core.reports.charts.diagnostics import clients_chart
from fedcrucible_core.reports.pages.run_report import render_report
from fedcrucible_core.reports.statistics.rows import is_attacked, is_sanitized, is_undefended
from server_app.identity import digest, identity
from server_app.plan import Plan
from strategies import client_sanitizing
from strategies.client_sanitizing import Sanitized
from strategies.sanitizer_facts import round_facts, told
from tests.support.tiny_runs import Scalar, play, settings

UPSTREAM: dict[str, Scalar] = {
    "federation__clients": 20,
    "task__train_samples": 600,
    "adversary__malicious_fraction": 0.0,
    "poison__upstream": "1,4,7,11",
    "poison__ratio": 0.5,
}
SANITIZED: dict[str, Scalar] = {
    **UPSTREAM,
    "client__sanitizer": "drop",
    "client__splitter": "guide-agreement",
}


def test_twenty_clients_four_of_them_supplied_with_poison(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = splitting.split

    def counted(splitter, data, *args, **kwargs):  # type: ignore[no-untyped-def]
        calls.append(len(data))
        return real(splitter, data, *args, **kwargs)

    monkeypatch.setattr(client_sanitizing, "split", counted)
    summary, rounds = play(**SANITIZED)
    assert len(calls) == 20, "each client splits its data once, not once a round"
    run = read(Path(summary.folder))
    assert run.run.upstream == (1, 4, 7, 11)
    assert run.run.malicious == ()
    assert rounds[0].facts["upstream.clients"] == 4
    one, two = (r.facts for r in rounds[1:])
    assert {k: v for k, v in one.items() if k.startswith("client_")} == {
        k: v for k, v in two.items() if k.startswith("client_")
    }
    assert one["client_sanitizer.clients"] == 20
    assert one["client_sanitizer.kept"] + one["client_sanitizer.dropped"] == sum(calls)
    assert one["client_sanitizer.poisoned"] == rounds[0].facts["upstream.poisoned"]
    assert 0 < one["client_sanitizer.caught_percent"] <= 100
    assert run.summary.client_sanitizer is not None
    assert run.summary.client_sanitizer.caught_percent == one["client_sanitizer.caught_percent"]
    assert all(seconds > 0 for seconds in rounds[1].per_client["sanitizer_seconds"])
    assert not any(rounds[2].per_client["sanitizer_seconds"])
    assert is_attacked(run)
    assert is_sanitized(run)
    assert not is_undefended(run)
    assert any("4 honest clients came to them poisoned by badnets" in note for note in run.summary.notes)
    assert not any("no client attacked" in note for note in run.summary.notes)
    page = render_report(Path(summary.folder), tsne_images=0).read_text()
    assert "20 clients, 0 malicious, 4 honest with poisoned data" in page
    assert "clients&#39; poison caught" in page or "clients' poison caught" in page


def test_they_count_as_honest_and_apart(runs_folder: Path) -> None:
    summary, rounds = play(**UPSTREAM, strategy="krum", adversary__malicious_ids="0,2")
    run = read(Path(summary.folder))
    assert run.summary.detection is not None
    positives = run.summary.detection.true_positives + run.summary.detection.false_negatives
    assert positives == 2 * 2, "two malicious clients in two rounds; nobody else is positive"
    rejected = sum(i in r.rejected for r in rounds[1:] for i in run.run.upstream)
    assert run.summary.upstream_rejected_percent == 100.0 * rejected / 8
    assert "honest, poisoned data" in str(clients_chart(rounds, run.run.upstream))


def test_poisoned_data_change_the_model_and_nothing_else_does(runs_folder: Path) -> None:
    clean, _ = play(federation__clients=4, adversary__malicious_fraction=0.0)
    same, _ = play(federation__clients=4, adversary__malicious_fraction=0.0, client__splitter="random")
    poisoned, _ = play(federation__clients=4, adversary__malicious_fraction=0.0, poison__upstream="2")
    assert clean.parameters_sha256 == same.parameters_sha256 != poisoned.parameters_sha256


def test_a_client_that_is_told_holds_what_the_poisoner_made() -> None:
    config = load(settings(**UPSTREAM))
    device = torch.device("cpu")
    made = upstream_set(config, 4, attack_task(config))
    held = honest_data(config, 4, device, RecordDict()).data
    assert held.equals(made.data)
    assert int(made.poisoned.sum()) > 0
    assert honest_data(config, 5, device, RecordDict()).data is clean_data(config, 5, device)
    assert honest_data(config, 4, device, RecordDict(), by_seed=False).data is clean_data(config, 4, device), (
        "no configuration poisons a node that says itself what it is"
    )


def test_another_process_reads_the_split_in_the_node_s_state(monkeypatch: pytest.MonkeyPatch) -> None:
    config, device, state = load(settings(**SANITIZED)), torch.device("cpu"), RecordDict()
    first = honest_data(config, 4, device, state)
    monkeypatch.setattr(client_sanitizing, "sanitize", lambda *_: pytest.fail("split again"))
    again = honest_data(config, 4, device, state)
    assert again.data.equals(first.data)
    assert {**again.sanitized, "seconds": 0.0} == {**first.sanitized, "seconds": 0.0}
    assert "seconds" not in again.sanitized


@pytest.mark.parametrize("action", ["relabel", "relabel-confident"])
def test_relabelled_samples_are_trained_on_under_the_guide_s_class(action: str) -> None:
    config = load(settings(**{**SANITIZED, "client__sanitizer": action}))
    held = honest_data(config, 4, torch.device("cpu"), RecordDict())
    made = upstream_set(config, 4, attack_task(config))
    assert held.sanitized["relabelled"] > 0
    assert len(held.data) == held.sanitized["kept"] + held.sanitized["relabelled"]
    if action == "relabel":
        assert len(held.data) == len(made.data)
        assert not torch.equal(held.data.labels, made.data.labels)


def test_counts_by_hand() -> None:
    # Samples 0..4: kept clean, kept poisoned, dropped poisoned, dropped clean, relabelled poisoned.
    made = Sanitized(torch.tensor([0, 0, 1, 1, 2]), torch.tensor([5, 0, 0, 3, 7]))
    found = made.counts(torch.tensor([False, True, True, False, True]), torch.tensor([5, 0, 0, 3, 0]))
    assert found == {
        "kept": 2, "dropped": 2, "relabelled": 1, "poisoned": 3, "caught": 2, "survivors": 1, "clean_dropped": 1
    }  # fmt: skip
    facts = round_facts([found, {"kept": 5.0, "dropped": 0.0, "relabelled": 0.0}, {}])
    assert facts["client_sanitizer.clients"] == 2
    assert facts["client_sanitizer.dropped_percent"] == 20
    assert facts["client_sanitizer.caught_percent"] == pytest.approx(100 * 2 / 3)
    assert facts["client_sanitizer.clean_dropped_percent"] == 50
    assert round_facts([{}, {}]) == {}


def test_nothing_left_is_said() -> None:
    data = clean_data(load(settings()), 0, torch.device("cpu"))
    nothing = Sanitized(torch.ones(len(data), dtype=torch.int64), data.labels)
    with pytest.raises(ValueError, match=r"client\.sanitizer leaves none of \d+ samples"):
        nothing.of(data)


def test_a_hostile_word_is_no_number() -> None:
    claims = {"kept": 3.0, "dropped": -1.0, "caught": 1e12, "poisoned": float("nan"), "seconds": 2.5}
    metrics = MetricRecord({f"sanitized.{name}": value for name, value in claims.items()})
    assert told(metrics, 100) == {"kept": 3.0, "seconds": 2.5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"poison__upstream": "20"}, r"poison\.upstream = '20': '20' is no partition; .* 0 to 19"),
        ({"poison__upstream": "1,1"}, r"poison\.upstream = '1,1': 1 is listed twice"),
        ({"adversary__malicious_ids": "3,4"}, r"poison\.upstream .* partition 4 is malicious .* are honest"),
        ({"strategy": "central"}, r"poison\.upstream .* strategy 'central' has no clients"),
        ({"client__splitter": "guide-agrement"}, r"client\.splitter = 'guide-agrement': did you mean"),
        (
            {"client__splitter": "cgd-entropy", "splitter__cgd_entropy__score": "victim-ckpt5"},
            r"splitter\.cgd-entropy\.score = 'victim-ckpt5': .* a client has none",
        ),
        (
            {"guide__backdoor": "same-target", "attack__name": "bd-fmfl"},
            r"guide\.backdoor = 'same-target': is simulated at the server alone",
        ),
    ],
)
def test_impossible_settings_are_refused_before_any_client_starts(changes: dict[str, Scalar], message: str) -> None:
    chosen = settings(**{**SANITIZED, **changes})
    chosen = {key.replace("cgd_entropy", "cgd-entropy"): value for key, value in chosen.items()}
    with pytest.raises(ConfigError, match=message):
        Plan.make(load(chosen))


def test_a_sanitizer_without_clients_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"client\.sanitizer = 'drop': strategy 'central' has no clients"):
        Plan.make(load(settings(strategy="central", client__sanitizer="drop")))


def test_what_makes_another_run() -> None:
    plain = load(settings(adversary__malicious_fraction=0.0))
    upstream = load(settings(adversary__malicious_fraction=0.0, poison__upstream="1"))
    assert not any(key.startswith("client.") or key == "poison.upstream" for key in identity(plain))
    assert digest(plain) != digest(upstream)
    other = load(settings(adversary__malicious_fraction=0.0, poison__upstream="1", attack__name="blend"))
    assert digest(other) != digest(upstream)
    looks = load(settings(client__sanitizer="drop"))
    assert digest(looks) != digest(load(settings()))
    assert digest(looks) != digest(load({**settings(client__sanitizer="drop"), "splitter.cgd-entropy.s_p": 0.05}))
    assert digest(load(settings(client__splitter="random"))) == digest(load(settings()))


def test_without_an_attack_nobody_s_data_are_poisoned(runs_folder: Path) -> None:
    summary, rounds = play(**{**UPSTREAM, "attack__name": "none", "run__rounds": 1})
    assert "upstream.poisoned" not in rounds[0].facts
    assert read(Path(summary.folder)).run.upstream == ()
