"""A rule, a repair and a splitter, each in one new file and named in the configuration, take part in a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from defenses.base import REPAIRS, RULES, SPLITTERS
from fedcrucible_core.config import ConfigError
from fedcrucible_core.records.reader import read
from tests.support.new_files import NewFiles
from tests.support.new_files import new_files as new_files
from tests.support.tiny_runs import play

RULE = '''
"""A rule of one file."""

import torch
from pydantic import Field

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates


@RULES.register("half-mean")
class HalfMean(AggregationRule):
    """A scaled mean."""

    scale: float = Field(0.5, ge=0.0, description="Factor on the mean")

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        weights = updates.equal_shares(torch.ones(len(updates), dtype=torch.bool))
        return Aggregate(self.scale * updates.weighted_sum(weights), weights, facts={"scale": self.scale})
'''
REPAIR = '''
"""A repair of one file, which asks nobody."""

import torch
from pydantic import Field

from defenses.base import REPAIRS, Needs, Repair, RepairContext
from fedcrucible_core.learning.models.base import SplitModel


@REPAIRS.register("shrink")
class Shrink(Repair):
    """Scales the classifier; looks at the server's images before and after."""

    scale: float = Field(0.25, description="Factor on the classifier's weights")

    @property
    def needs(self) -> Needs:
        return Needs(server_images=True, guide=True)

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        before = context.accuracy()
        with torch.no_grad():
            model.classifier.weight.mul_(self.scale)
            model.classifier.bias.mul_(self.scale)
        rows = float(len(context.guide.logits) == len(context.data.training_set()))
        return {"before": before, "after": context.accuracy(), "guided": rows}
'''
SPLITTER = '''
"""A splitter of one file."""

import torch

from defenses.base import SPLITTERS, Split, Splitter


@SPLITTERS.register("no-last")
class NoLast(Splitter):
    """Distrusts the last image of every class."""

    def split(self, data, guide, model, rng):
        clean = torch.ones(len(data), dtype=torch.bool)
        assert model is None or model(data.inputs).shape == (len(data), 10)
        for label in data.labels.unique():
            clean[(data.labels == label).nonzero().flatten()[-1]] = False
        return Split.by(clean, ~clean, facts={"classes": float(len(data.labels.unique()))})
'''


def test_a_rule(new_files: NewFiles, runs_folder: Path) -> None:
    new_files.add(RULES, "half_mean", RULE)
    summary, rounds = play(strategy="half-mean", **{"defense__half-mean__scale": 0.25}, run__rounds=1)
    assert rounds[1].facts["rule.scale"] == 0.25
    assert summary.parameters_sha256 != play(run__rounds=1)[0].parameters_sha256


def test_a_repair_after_any_rule(new_files: NewFiles, runs_folder: Path) -> None:
    new_files.add(REPAIRS, "shrink", REPAIR)
    summary, rounds = play(strategy="median", repair__name="shrink", repair__shrink__scale=0.5, run__rounds=1)
    assert [r.stage for r in rounds] == ["training", "training", "repair"]
    assert rounds[2].participants == (), "nobody was asked"
    assert rounds[2].model == "changed"
    assert rounds[2].facts["repair.before"] == rounds[2].facts["repair.after"], "a scale changes no prediction"
    assert rounds[2].facts["repair.guided"] == 1.0
    assert read(Path(summary.folder)).run.repair == "shrink"


def test_a_repair_of_a_model_that_no_client_trained(new_files: NewFiles, runs_folder: Path) -> None:
    new_files.add(REPAIRS, "shrink", REPAIR)
    _, rounds = play(strategy="server-data-only", repair__name="shrink", run__rounds=1)
    assert [r.stage for r in rounds] == ["training", "training", "repair"]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("model.classifier.weight.mul_(float('nan'))", "it left classifier.weight not finite"),
        ("raise ValueError('no idea')", "no idea"),
    ],
)
def test_a_repair_that_fails_keeps_the_model(broken: str, why: str, new_files: NewFiles, runs_folder: Path) -> None:
    new_files.add(REPAIRS, "shrink", REPAIR.replace("model.classifier.weight.mul_(self.scale)", broken))
    _, rounds = play(repair__name="shrink", run__rounds=1)
    assert rounds[2].model == "kept"
    assert rounds[2].notes[0] == f"repair 'shrink' failed ({why}): the model was kept"
    assert rounds[2].ma_percent == rounds[1].ma_percent


def test_a_splitter_of_the_servers_images(new_files: NewFiles, runs_folder: Path) -> None:
    new_files.add(SPLITTERS, "no_last", SPLITTER)
    chosen = {"strategy": "fine-tune", "run__rounds": 0}
    (start,) = play(**chosen, splitter__name="no-last")[1]
    (plain,) = play(**chosen)[1]
    assert (plain.facts["server_data.images"], start.facts["server_data.images"]) == (30.0, 20.0)
    assert start.facts["server_data.dropped_by_splitter"] == 10.0
    assert start.facts["server_data.splitter.classes"] == 10.0
    assert start.facts["server_data.dropped_by_guide"] == 0.0


def test_a_splitter_that_leaves_a_class_empty_is_refused(new_files: NewFiles, runs_folder: Path) -> None:
    new_files.add(SPLITTERS, "no_last", SPLITTER)
    with pytest.raises(ConfigError, match=r"splitter\.name = 'no-last': it leaves no image of "):
        play(strategy="fine-tune", splitter__name="no-last", synthetic__per_class=1)


def test_a_splitter_is_given_models_trained_for_it(new_files: NewFiles, runs_folder: Path) -> None:
    wanted = "    needs = property(lambda self: Needs(fresh=FreshModels(count=2, epochs=1)))\n\n    def split"
    text = SPLITTER.replace("    def split", wanted).replace("model is None or model(", "model(")
    new_files.add(SPLITTERS, "no_last", text.replace("import SPLITTERS,", "import SPLITTERS, FreshModels, Needs,"))
    start = play(strategy="fine-tune", splitter__name="no-last", run__rounds=0)[1][0]
    assert start.facts["server_data.dropped_by_splitter"] == 10.0
