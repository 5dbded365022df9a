"""Clients that an operator leaves out: of which rounds, who hears of it, what is refused, what a resumed run keeps."""

from __future__ import annotations

import pytest

from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import load
from server_app.identity import digest, identity
from server_app.plan import Plan
from strategies.exclusions import Exclusions, Window
from strategies.nodes import TooFewNodesError
from strategies.sampling import assumed_malicious, participants_per_round
from tests.support.node_grid import NodeGrid
from tests.support.tiny_runs import Scalar, play, settings

FAST: dict[str, Scalar] = {"model__name": "logistic", "task__train_samples": 60, "task__test_samples": 20}


def test_what_can_be_written() -> None:
    found = Exclusions.parse(" 7 , 3@12, 1@2-4 ", 8)
    assert found.windows == {1: Window(2, 4), 3: Window(12), 7: Window()}
    assert found.text() == "1@2-4, 3@12, 7"
    assert [sorted(found.at(number)) for number in (1, 2, 4, 5, 12)] == [[7], [1, 7], [1, 7], [7], [3, 7]]
    assert Exclusions.parse("", 8).at(1) == frozenset()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("8", "'8' is no partition 0 to 7"),
        ("-1", "'-1' is no partition"),
        ("a", "'a' is no partition"),
        ("3@", "'3@' is no partition"),
        ("3@0", "'3@0' names no rounds"),
        ("3@5-4", "'3@5-4' names no rounds"),
        ("3, 3@4", "partition 3 is listed twice"),
        ("\N{SUPERSCRIPT THREE}", "is no partition"),
        ("3" * 400, "is no partition"),
    ],
)
def test_what_is_refused_as_text(text: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=r"federation\.excluded") as caught:
        Exclusions.parse(text, 8)
    assert cause in str(caught.value)


@pytest.mark.parametrize(
    ("before", "now", "done", "after"),
    [
        ("", "3", 6, "3@7"),
        ("", "3", 0, "3"),
        ("", "3@12", 6, "3@12"),
        ("", "3@2", 6, "3@7"),
        ("3@7", "3", 9, "3@7"),
        ("3@7", "3@7", 9, "3@7"),
        ("3@7", "1, 3", 9, "1@10, 3@7"),
        ("3@7", "", 9, "3@7-9"),
        ("3@7", "", 6, ""),
        ("3@7-8", "3@7-8", 12, "3@7-8"),
        ("3@7-8", "", 12, "3@7-8"),
        ("3@7-20", "3@7-15", 9, "3@7-15"),
        ("3@7-20", "3@7-8", 9, "3@7-9"),
        ("3", "3", 9, "3"),
    ],
)
def test_what_has_happened_stays(before: str, now: str, done: int, after: str) -> None:
    found = Exclusions.parse(now, 8).continued(Exclusions.parse(before, 8), done)
    assert found.text() == after
    again = Exclusions.parse(after, 8).continued(found, done)
    assert again.text() == after, "the list that was written goes on as it is"


def test_a_second_range_of_rounds_is_refused() -> None:
    with pytest.raises(ConfigError, match="partition 3 was left out of rounds 2 to 4 already"):
        Exclusions.parse("3", 8).continued(Exclusions.parse("3@2-4", 8), 9)


def test_the_round_that_lacks_the_most() -> None:
    found = Exclusions.parse("1@2-4, 2@4, 3@9", 8)
    assert found.most(3) == {1}
    assert found.most(8) == {1, 2}
    assert Exclusions.parse("3@9", 8).most(8) == frozenset()


def test_excluded_clients_are_no_share_of_anything() -> None:
    config = load({"federation.clients": 10, "federation.fraction_train": 0.5})
    assert participants_per_round(config.federation, 1) == 5
    assert participants_per_round(config.federation, 7) == 3
    assert assumed_malicious(config, 2, 5) == 1
    assert assumed_malicious(config, 3, 6, excluded=4) == 3


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_tells_and_counts_who_is_left_out(runs_folder: object) -> None:
    summary, rounds = play(run__rounds=3, federation__excluded="3@2, 0@3-3", **FAST)
    assert [record.participants for record in rounds[1:]] == [(0, 1, 2, 3, 4), (0, 1, 2, 4), (1, 2, 4)]
    assert [record.excluded for record in rounds] == [(), (), (3,), (0, 3)]
    assert rounds[2].notes == ("excluded from now on (federation.excluded): client 3",)
    assert rounds[3].notes == ("excluded from now on (federation.excluded): client 0",)
    assert summary.excluded == {"0": 1, "3": 2}
    plain, untouched = play(run__rounds=1, **FAST)
    assert '"excluded"' not in untouched[1].model_dump_json()
    assert '"excluded"' not in plain.model_dump_json()


def test_a_client_that_comes_back_is_told(runs_folder: object) -> None:
    _, rounds = play(run__rounds=2, federation__excluded="3@1-1", **FAST)
    assert rounds[0].notes[0] == "excluded from now on (federation.excluded): client 3"
    assert "no longer excluded (federation.excluded): client 3" in rounds[2].notes
    assert rounds[2].participants == (0, 1, 2, 3, 4)


def test_clients_own_rates_leave_them_out_too(runs_folder: object) -> None:
    _, rounds = play(
        run__rounds=1, federation__excluded="3", federation__fraction_evaluate=1.0, partition__test_fraction=0.3, **FAST
    )
    assert sorted(rounds[1].client_metrics) == ["0", "1", "2", "4"]


def test_an_excluded_attacker_is_as_if_it_never_were(runs_folder: object) -> None:
    common: dict[str, Scalar] = {"run__rounds": 2, "adversary__malicious_ids": "3", "attack__name": "sign-flip", **FAST}
    attacked, _ = play(**common)
    without, rounds = play(**common, federation__excluded="3")
    assert attacked.parameters_sha256 != without.parameters_sha256
    assert all(record.malicious == () for record in rounds)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"federation__excluded": "0, 1, 2, 3, 4"}, "leaves nobody"),
        ({"federation__excluded": "0, 1, 2, 3"}, "leaves 1 clients a round, federation.min_replies = 2"),
        ({"federation__excluded": "0, 1, 2", "strategy": "krum"}, "leaves 2 clients a round, too few for rule 'krum'"),
        ({"federation__excluded": "0, 1@2", "strategy": "multi-krum", "defense__multi-krum__m": 4}, "too few for rule"),
        ({"federation__excluded": "9"}, "'9' is no partition 0 to 4"),
    ],
)
def test_too_few_left_is_refused_before_anything_starts(changes: dict[str, Scalar], cause: str) -> None:
    with pytest.raises(ConfigError, match=r"federation\.excluded") as caught:
        Plan.make(load(settings(**FAST, **changes)))
    assert cause in str(caught.value)


def test_excluded_rounds_after_the_last_are_no_problem() -> None:
    Plan.make(load(settings(**FAST, federation__excluded="0@9, 1@9, 2@9, 3@9, 4@9")))


def test_on_resume_from_the_next_round_on(runs_folder: object) -> None:
    common: dict[str, Scalar] = {"output__name": "x", "run__checkpoint_every": 1, **FAST}
    play(**common, run__rounds=2)
    summary, rounds = play(**common, run__rounds=4, run__resume=True, federation__excluded="3")
    assert [record.excluded for record in rounds] == [(), (), (), (3,), (3,)]
    assert "federation.excluded is '3@3' from now on, it was ''" in summary.notes
    whole, _ = play(run__rounds=4, federation__excluded="3@3", **FAST)
    assert whole.parameters_sha256 == summary.parameters_sha256, "the recorded setting is that of the whole run"


def test_on_resume_the_same_list_is_no_change(runs_folder: object) -> None:
    common: dict[str, Scalar] = {"output__name": "x", "run__checkpoint_every": 1, **FAST}
    play(**common, run__rounds=1)
    play(**common, run__rounds=2, run__resume=True, federation__excluded="3")
    summary, rounds = play(**common, run__rounds=3, run__resume=True, federation__excluded="3")
    assert [record.excluded for record in rounds] == [(), (), (3,), (3,)]
    assert sum("from now on" in note for note in summary.notes) == 1
    assert rounds[3].notes == (), "who was left out before is no news"


def test_a_run_without_the_key_is_the_same_cell_as_before() -> None:
    plain = load(settings(**FAST))
    assert "federation.excluded" not in identity(plain)
    assert digest(plain) != digest(load(settings(**FAST, federation__excluded="3")))


# --- deployments ------------------------------------------------------------------------------------------------------


def test_nobody_waits_for_an_excluded_node() -> None:
    grid = NodeGrid(3, federation__excluded="2", federation__wait_for_clients_s=60.0)
    grid.online = {0, 1}
    directory = grid.directory()
    directory.wait(grid)
    assert directory.news() == ["excluded from now on (federation.excluded): client 2"]


def test_an_excluded_node_is_named_with_its_cause() -> None:
    grid = NodeGrid(3, federation__excluded="2")
    directory = grid.directory()
    directory.wait(grid)
    assert [node.partition for node in directory.refresh(grid)] == [0, 1]
    assert directory.news() == [
        "excluded from now on (federation.excluded): client 2",
        "node 4 is not used: partition 2 is excluded (federation.excluded)",
    ]


def test_a_node_may_be_used_until_its_exclusion_begins() -> None:
    grid = NodeGrid(3, federation__excluded="2@2")
    directory = grid.directory()
    directory.wait(grid)
    assert [node.partition for node in directory.refresh(grid)] == [0, 1, 2]
    directory.news()
    directory.round = 2
    assert [node.partition for node in directory.refresh(grid)] == [0, 1]
    assert directory.news() == [
        "excluded from now on (federation.excluded): client 2",
        "node 4 is not used: partition 2 is excluded (federation.excluded)",
    ]


def test_too_few_nodes_says_who_is_excluded() -> None:
    grid = NodeGrid(3, federation__excluded="2")
    grid.online = {0, 2}
    with pytest.raises(TooFewNodesError, match=r"partition 1; partition 2 excluded \(federation\.excluded\)"):
        grid.directory().wait(grid)


def test_engines_agree(runs_folder: object) -> None:
    from server_app.run import execute

    grid = NodeGrid(3, federation__excluded="1@2", run__rounds=2)
    asked = execute(Plan.make(grid.config), grid, in_order=False)
    assert run_in_process(Plan.make(grid.config)).parameters_sha256 == asked.parameters_sha256
