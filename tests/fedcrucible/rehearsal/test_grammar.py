"""``--fault``: checked before anything starts, with one error that says what is allowed."""

from __future__ import annotations

import pytest

from client_app.node_fault import NODE_FAULTS, planned
from fedcrucible.rehearsal.fault import FAULTS, Placed
from fedcrucible.rehearsal.grammar import programme
from fedcrucible_core.config.errors import ConfigError


def test_sites_are_chosen_from_the_highest_and_never_0() -> None:
    found = programme("kill@2,late@3,nan@4,stale-key", 4)
    assert found.faults == (
        Placed("kill", 2, 3),
        Placed("late", 3, 2),
        Placed("nan", 4, 2),
        Placed("stale-key", None, 0),
    )
    assert found.rounds == 5, "one more than the last fault"
    assert [found.node_plan(site) for site in range(4)] == ["", "", "late@3,nan@4", "kill@2"]


def test_a_named_site_is_kept_free_of_others() -> None:
    found = programme("nan@1,inf@1:2", 3)
    assert [str(placed) for placed in found.faults] == ["nan@1:1", "inf@1:2"]


def test_a_node_comes_back_where_it_died() -> None:
    found = programme("kill@2,back@3", 2)
    assert [placed.site for placed in found.faults] == [1, 1]
    assert programme("join@2", 3).latecomers == {2}


@pytest.mark.parametrize(
    ("text", "nodes", "rounds", "said"),
    [
        ("kil@2", 4, 0, r"fault = 'kil': did you mean 'kill'\? allowed: back, disk, duplicate"),
        ("kill", 4, 0, r"kill needs its round, e\.g\. kill@1"),
        ("kill@x", 4, 0, "'x' is no whole number; allowed: kind@round, or kind@round:site"),
        ("kill@-1", 4, 0, "'-1' is no whole number"),
        ("kill@2:", 4, 0, "'' is no whole number"),
        ("kill@2:9", 4, 0, "there are sites 0 to 3"),
        ("kill@2,,", 4, 0, "fault = ''"),
        ("nan@0", 3, 0, "nan can happen in round 1 at the earliest"),
        ("replay@1", 3, 0, "in round 2 at the earliest"),
        ("setup@3", 3, 0, "setup has no round"),
        ("disk@2:1", 3, 0, r"befalls the server, no site; allowed: disk@2"),
        ("nan@1:1,inf@1:1", 3, 0, r"one fault a round; it has nan@1:1"),
        ("kill@1:1,nan@2:1", 3, 0, r"it has left with kill@1:1"),
        ("join@3:1,nan@2:1", 3, 0, "it isn't there before"),
        ("back@3", 3, 0, "back needs a kill in an earlier round"),
        ("revoked@1:1,back@2:1", 3, 0, "back needs a kill of that site in an earlier round"),
        ("nan@1:1,replay@2:1", 3, 0, "no round of honest work"),
        ("server-kill@2,disk@2", 3, 0, "ends in that round already by server-kill@2"),
        ("nan@1,inf@1,lie@1", 3, 0, "no site is left for it"),
        ("nan@1:0,inf@1:1", 2, 0, "nodes = 2: no site would reply validly in round 1"),
        ("kill@1:1,nan@2:0", 2, 0, "no site would reply validly in round 2"),
        ("nan@2", 4, 2, "rounds = 2: nan@2:3 can be judged after round 3; allowed: 3 or more"),
        ("nan@2", 1, 0, "nodes = 1: allowed: 2 or more"),
        ("", 3, 0, "the whole matrix needs 4 or more"),
    ],
)
def test_what_can_t_be_played_is_one_error(text: str, nodes: int, rounds: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        programme(text, nodes, rounds)


def test_the_command_refuses_before_anything_starts(fedcrucible, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    for arguments, said in [
        (("--fault", "kil@2"), "did you mean 'kill'"),
        (("--fault", "nan@1", "run.rounds=3"), "a rehearsal sets it itself"),
        (("--fault", "nan@1", "training.lr=-1"), "training.lr"),
    ]:
        refused = fedcrucible("rehearse", *arguments)
        assert refused.exit_code == 2, refused.output
        assert said in refused.stderr


def test_every_fault_of_a_node_is_one_that_its_node_knows() -> None:
    told = [FAULTS.create(name).on_node(Placed(name, 3, 1)) for name in FAULTS if FAULTS[name].takes_site]
    for words in filter(None, told):
        assert list(planned(words)) == [3]
    assert {words.split("@")[0] for words in told if words} == set(NODE_FAULTS)
