"""A run that goes on in another process, and a strategy that is used again: nothing is forgotten, nothing left over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi

from fedcrucible.flower import Defended
from fedcrucible_core.config import ConfigError
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.writer import RunRecord
from tests.support.own_app import Values, content, honest, run, values

PLAIN = {"output.report": False}
START: dict[str, Values] = {"w": np.zeros((4, 5), np.float32), "scale": np.array(1.0, np.float32), "n": np.array(0)}
TIED: dict[str, Values] = {
    "a": np.ones((3, 4), np.float32),
    "b": np.ones((3, 4), np.float32),
    "c": np.zeros(9, np.float32),
}


def tied(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
    made = values(honest(arrays, client, round)["arrays"])  # type: ignore[arg-type]
    return content({**made, "b": made["a"]})


def crash(at: int) -> Callable[[int, ArrayRecord], None]:
    def evaluate(round: int, arrays: ArrayRecord) -> None:
        if round == at:
            raise ZeroDivisionError("the process ends here")

    return evaluate


def same(one: Any, other: Any) -> None:
    for key in other.arrays:
        np.testing.assert_array_equal(one.arrays[key].numpy(), other.arrays[key].numpy())


@pytest.mark.parametrize("rule", ["foolsgold", "fedcpa", "signguard-sim"])
def test_memory_of_tied_weights_survives(rule: str, tmp_path: Path) -> None:
    run(Defended(rule, seed=1, record=tmp_path / "x", settings=PLAIN), TIED, tied, rounds=3)
    resumed = run(Defended(rule, record=tmp_path / "x", resume=True, settings=PLAIN), TIED, tied, rounds=5)
    same(resumed, run(Defended(rule, seed=1), TIED, tied, rounds=5))


@pytest.mark.parametrize("inner", [FedAdam, FedYogi, FedAdagrad, FedAvgM])
def test_memory_of_a_server_optimiser_survives_arrays_without_dimensions_too(inner: Any, tmp_path: Path) -> None:
    def made() -> FedAvg:
        return inner(server_momentum=0.9) if inner is FedAvgM else inner(eta=0.05)  # type: ignore[no-any-return]

    run(Defended("median", record=tmp_path / "x", inner=made(), settings=PLAIN), START, rounds=3)
    again = Defended("median", record=tmp_path / "x", resume=True, inner=made(), settings=PLAIN)
    same(run(again, START, rounds=5), run(Defended("median", inner=made()), START, rounds=5))
    others = [None, FedAdam(eta=10.0), FedAvgM(server_momentum=0.5)]
    for other in others:
        with pytest.raises(ConfigError, match="another defence, server optimiser or other settings"):
            run(Defended("median", record=tmp_path / "x", resume=True, inner=other, settings=PLAIN), START, rounds=6)


def test_the_users_server_optimiser_stays_as_it_is() -> None:
    inner = FedAvgM(server_momentum=0.9)
    first, second = (run(Defended("median", seed=1, inner=inner), START, rounds=3) for _ in range(2))
    same(first, second)


@pytest.mark.parametrize("every", [0, 1, 3])
def test_a_run_that_kept_nothing_begins_at_its_beginning(every: int, tmp_path: Path) -> None:
    def strategy(**more: Any) -> Defended:
        return Defended("flame", seed=1, record=tmp_path / "x", checkpoint_every=every, settings=PLAIN, **more)

    with pytest.raises(ZeroDivisionError):
        run(strategy(), START, rounds=4, evaluate_fn=crash(1 if every == 1 else 2))
    found = run(strategy(resume=True), START, rounds=4)
    same(found, run(Defended("flame", seed=1), START, rounds=4))
    assert [row.round for row in read(tmp_path / "x").rounds] == [0, 1, 2, 3, 4]


def test_checkpoints_are_kept_every_so_many_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(RunRecord, "write_checkpoint", lambda _, content, number: kept.append(content.round))
    run(Defended("median", record=tmp_path / "x", checkpoint_every=2, settings=PLAIN), START, rounds=5)
    assert kept == [2, 4]


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    def go(rounds: int = 3, start: dict[str, Values] = START, rule: str = "median", **given: Any) -> Any:
        settings = {**PLAIN, **given.pop("settings", {})}
        return run(Defended(rule, record=tmp_path / "x", resume=True, settings=settings, **given), start, rounds=rounds)

    run(Defended("median", seed=4, record=tmp_path / "x", settings=PLAIN), START, rounds=3)
    for told, given in {
        r"^num_rounds = 2: at least 3": {"rounds": 2},
        r"^seed = 5: 4": {"seed": 5},
        "another defence": {"rule": "krum"},
        "other settings": {"settings": {"federation.buffers": "median"}},
        r"its array 'w' is float32 \(4, 5\), that of initial_arrays float64": {
            "start": {**START, "w": np.zeros((4, 5))}
        },
        r"its array 'w' is float32 \(4, 5\), that of initial_arrays float32 \(2,\)": {
            "start": {**START, "w": np.zeros(2, np.float32)}
        },
    }.items():
        with pytest.raises(ConfigError, match=told):
            go(**given)  # type: ignore[arg-type]
    go(5, seed=4, settings={"output.report": True, "run.device": "auto"})  # what changes no number may be another
    (tmp_path / "x" / "metrics.jsonl").write_bytes(b"{broken\n")
    with pytest.raises(ConfigError, match=r"^resume = .*choose another record"):
        go(6)


def test_a_finished_run_without_checkpoint_is_kept(tmp_path: Path) -> None:
    run(Defended("median", record=tmp_path / "x", checkpoint_every=0, settings=PLAIN), START, rounds=2)
    with pytest.raises(ConfigError, match="finished"):
        run(Defended("median", record=tmp_path / "x", resume=True, settings=PLAIN), START, rounds=3)


def test_a_run_of_our_own_is_left_alone(tmp_path: Path) -> None:
    run(Defended("median", record=tmp_path / "x", checkpoint_every=0, settings=PLAIN), START, rounds=2)
    (tmp_path / "x" / "summary.json").unlink()  # as after an interruption
    described = (tmp_path / "x" / "run.json").read_text()
    (tmp_path / "x" / "run.json").write_text(described.replace("an app of its own", "fashion"))
    kept = (tmp_path / "x" / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="a run of our own"):
        run(Defended("median", record=tmp_path / "x", resume=True, settings=PLAIN), START, rounds=3)
    assert (tmp_path / "x" / "metrics.jsonl").read_bytes() == kept


def test_a_folder_without_a_record_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(ConfigError, match=r"^record = .*has content; choose another folder"):
            run(Defended("median", record=tmp_path, resume=resume, settings=PLAIN), START)


def test_a_page_that_fails_costs_the_page_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedcrucible_core.reports.pages import run_report

    def broken(*_: Any) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr(run_report, "render_report", broken)
    assert run(Defended("median", record=tmp_path / "x"), START).arrays["n"].numpy() == 1


def caught(arrays: dict[str, Values], client: int, round: int) -> RecordDict:
    """One client of eight goes its own way, and FLDetector removes it."""
    made = values(honest(arrays, client, round)["arrays"])  # type: ignore[arg-type]
    if client == 2:
        made["w"] = arrays["w"] + np.float32((-1) ** round)
    return content(made)


def _until_it_starts_over(strategy: Defended, start: dict[str, Values], rounds: int = 14) -> int:
    restarted: list[int] = []
    strategy.run.on_round = lambda row: restarted.append(row.round) if "starts over" in " ".join(row.notes) else None
    run(strategy, start, caught, clients=8, rounds=rounds)
    assert restarted, "nobody was caught: the test tests nothing"
    return restarted[0]


def test_a_second_run_starts_over_from_its_own_model() -> None:
    strategy = Defended("fldetector", seed=1, inner=FedAvgM(server_momentum=0.9))
    first = _until_it_starts_over(strategy, START)
    other = {**START, "w": np.full((4, 5), 9.0, np.float32)}
    seen: list[float] = []
    strategy.run.on_round = None

    def evaluate(round: int, arrays: ArrayRecord) -> None:
        seen.append(float(arrays["w"].numpy().mean()))

    run(strategy, other, caught, clients=8, rounds=first, evaluate_fn=evaluate)
    assert seen[-1] == 9.0


def test_a_resumed_run_starts_over_from_the_first_model(tmp_path: Path) -> None:
    when = _until_it_starts_over(Defended("fldetector", seed=1), START)
    run(
        Defended("fldetector", seed=1, record=tmp_path / "x", settings=PLAIN), START, caught, clients=8, rounds=when - 1
    )
    again = Defended("fldetector", record=tmp_path / "x", resume=True, settings=PLAIN)
    drawn_anew = {**START, "w": np.full((4, 5), 9.0, np.float32)}
    found = run(again, drawn_anew, caught, clients=8, rounds=when)
    np.testing.assert_array_equal(found.arrays["w"].numpy(), START["w"])


def test_starting_over_forgets_momentum() -> None:
    strategy = Defended("fldetector", seed=1, inner=FedAvgM(server_momentum=0.9))
    when = _until_it_starts_over(strategy, START)
    run(strategy, START, caught, clients=8, rounds=when)
    assert strategy.aggregator.memory().get("inner") is None


@pytest.mark.parametrize("asked", [{"record": "x"}, {"on_round": print}, {"resume": True, "record": "x"}])
def test_rounds_by_hand_are_refused_where_nobody_would_record_them(asked: dict[str, Any], tmp_path: Path) -> None:
    from flwr.app import ConfigRecord
    from flwr.clientapp import ClientApp

    from fedcrucible.engines.local_grid import LocalGrid
    from tests.support.own_app import record

    given = {key: str(tmp_path / "x") if key == "record" else value for key, value in asked.items()}
    strategy = Defended("median", **given)
    with pytest.raises(ConfigError, match=r"not those of Defended\.start"):
        strategy.configure_train(1, record(START), ConfigRecord(), LocalGrid(ClientApp(), 3, {}))
