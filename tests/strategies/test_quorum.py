"""Sites that a run can't do without: required at the start, and missed aloud in every round that loses one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.config.sections import FederationSection
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records import files
from fedcrucible_core.records.attendance import attendance
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import RoundRecord, RunSummary
from fedcrucible_core.records.verification import verify
from server_app.app import DegradedRunError, main
from server_app.plan import Plan
from server_app.run import execute
from strategies.nodes import TooFewNodesError
from strategies.quorum import Quorum
from tests.support.node_grid import NodeGrid

BOUND = "clinic:0, hospital-b:1, SHA256:abc:2"


def quorum(**settings: Scalar) -> Quorum:
    keys = {f"federation.{key}": value for key, value in settings.items()}
    return Quorum.of(load({"federation.clients": 5, **keys}).federation)


@pytest.mark.parametrize(
    ("text", "partitions"),
    [("", ()), ("all", (0, 1, 2, 3, 4)), ("3, 1,1", (1, 3)), ("clinic,4", (0, 4)), ("SHA256:abc", (2,))],
)
def test_sites_are_partitions_or_listed_nodes(text: str, partitions: tuple[int, ...]) -> None:
    assert quorum(required=text, node_partitions=BOUND).required == partitions


@pytest.mark.parametrize("text", ["5", "-1", "hospital-c", "clinic:0", "0 1", "\u0663", "1" * 5000])
def test_what_is_no_site_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"required = .* is neither; allowed by commas: partitions"):
        quorum(required=text, node_partitions=BOUND)


def test_no_more_can_be_required_than_are_asked() -> None:
    assert quorum(quorum=3, fraction_train=0.6).count == 3
    with pytest.raises(ConfigError, match=r"federation\.quorum = 4: at most the 3 clients sampled"):
        quorum(quorum=4, fraction_train=0.6)


def test_a_round_says_which_sites_it_lost() -> None:
    late = {3: "no reply in time"}
    assert quorum().missed([0], late, [1]) == ""
    assert quorum(quorum=3).missed([0, 2, 4], late, [1]) == ""
    few = quorum(quorum=4, node_partitions=BOUND).missed([0, 2, 4], late, [1])
    assert few == (
        "3 valid replies of 4 required; lost: client 1 = hospital-b (no usable node was online), "
        "client 3 (no reply in time)"
    )
    assert quorum(required="0,2").missed([0, 2, 4], late, [1]) == ""
    assert quorum(required="3").missed([0, 2, 4], late, [1]) == "lost: client 3 (no reply in time)"
    assert quorum(quorum=2).missed([0], {}, []) == "1 valid replies of 2 required"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"federation__quorum": 3}, "2 clients can be used, 3 required (federation.quorum)"),
        ({"federation__required": "0,2"}, "client 2 not there, required (federation.required)"),
    ],
)
def test_a_run_does_not_begin_without_them(settings: dict[str, Scalar], said: str, runs_folder: Path) -> None:
    grid = NodeGrid(3, **settings)
    grid.online.discard(2)
    with pytest.raises(TooFewNodesError) as caught:
        execute(Plan.make(grid.config), grid, in_order=False)
    assert said in str(caught.value)
    assert not any(runs_folder.rglob("run.json"))


def hostile(content: RecordDict) -> RecordDict:
    raise RuntimeError("\x1b[31mgone\nhome")


class Losing(NodeGrid):
    """Node 2 leaves for good after the first round."""

    def push_messages(self, messages):  # type: ignore[no-untyped-def]
        batch = list(messages)
        if sum(kind == "train" for _, kind in self.asked) >= 3:
            self.online.discard(2)
        return super().push_messages(batch)


@pytest.mark.parametrize(
    ("required", "status"), [({}, "partial"), ({"federation__required": "2"}, "degraded")], ids=["default", "required"]
)
def test_a_site_that_is_lost_on_the_way_is_never_silent(
    required: dict[str, Scalar], status: str, runs_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Losing(3, run__rounds=3, model__name="logistic", federation__discovery="query", **required)
    context = Context(run_id=77, node_id=1, node_config={}, state=RecordDict(), run_config=flatten(grid.config))
    if status == "degraded":
        with pytest.raises(DegradedRunError, match="degraded: 1 of 3 rounds missed"):
            main(grid, context)
    else:
        main(grid, context)

    (folder,) = runs_folder.iterdir()
    record, said = read(folder), capsys.readouterr().out
    assert [r.absent for r in record.rounds] == [(), (), (), (2,)]
    assert (record.summary.status, record.summary.lost, record.summary.never_heard) == (status, {"2": 1}, ())
    missed = "lost: client 2 (no usable node was online)"
    assert [r.quorum_missed for r in record.rounds] == ["", "", "", missed if status == "degraded" else ""]
    assert (f"quorum missed: {missed}" in said) == (status == "degraded")
    assert "not online any more: client 2" in said
    shown = json.loads((folder / files.STATUS).read_text())
    assert (shown["state"], shown["absent"]) == ("degraded" if status == "degraded" else "finished", [2])
    assert shown["flower_run"] == 77
    assert "events: " in said
    found = verify(folder)
    assert found.problems == ()
    nodes = {key: value for e in found.chain.events if e.kind == "nodes" for key, value in e.facts.items()}
    assert {key: value["node"] for key, value in nodes.items()} == {"0": "2", "1": "3", "2": "4"}


def a_round(number: int, **changes: object) -> RoundRecord:
    return RoundRecord.model_validate({"round": number, "participants": [0, 1, 2], **changes})


def test_attendance() -> None:
    assert attendance([a_round(0)])["status"] == "complete"
    found = attendance([a_round(1, dropped={"1": "late"}), a_round(2, dropped={"1": "x", "2": "y"}, absent=[4])])
    assert found == {"status": "partial", "rounds_degraded": 0, "lost": {"1": 2, "2": 1, "4": 1}, "never_heard": (1, 4)}
    assert attendance([a_round(1, quorum_missed="lost: client 1")])["status"] == "degraded"


def test_records_of_earlier_versions_say_nothing() -> None:
    assert RunSummary.model_validate({"strategy": "x", "attack": "y", "seed": 1, "rounds": 1}).status is None
    written = a_round(1).model_dump()
    assert not {"absent", "quorum_missed"} & set(written)


def test_a_site_that_is_excluded_is_required_by_nobody() -> None:
    quorum = Quorum.of(FederationSection(clients=4, required="all", excluded="2"))
    assert quorum.shortage({0, 1, 3}, {2}) == []
    assert "client 3" in quorum.shortage({0, 1}, {2})[0]
