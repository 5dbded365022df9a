"""Federated pruning: merging of answers, what is silenced, the server's own bound."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from defenses.base import RepairContext
from defenses.repairs.pruning import Pruning, silencing_order
from fedcrucible_core.learning.channels import last_convolution, mean_activations
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import ResNet8, ResNet18, SplitModel
from fedcrucible_core.learning.survey import Survey
from fedcrucible_core.learning.vector import flatten_parameters

INFO = DataInfo("grey", tuple("abcde"), (1, 12, 12), (0.3,), (0.4,))


def model() -> SplitModel:
    return ResNet8(width=4).build(INFO, 1).eval()


def context(answers: torch.Tensor | None, accuracy: Callable[[], float] | None = None) -> RepairContext:
    return RepairContext(INFO, torch.Generator(), torch.device("cpu"), answers, accuracy=accuracy)


def ranks(channels: int, clients: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(channels, generator=g) for _ in range(clients)])


def silent(pruned: SplitModel) -> list[int]:
    place = last_convolution(pruned, INFO.shape)
    images = torch.rand(4, *INFO.shape, generator=torch.Generator().manual_seed(0))
    activity = mean_activations(pruned, place.module, images, 4, torch.device("cpu"), "abs")
    return (activity == 0).nonzero().flatten().tolist()


def test_a_fifth_of_512_channels_are_102() -> None:
    survey = Pruning().survey(ResNet18().build(INFO, 1), INFO)
    assert isinstance(survey, Survey)
    assert (survey.channels, survey.count) == (512, 102)


def test_the_share_is_rounded_down_but_not_by_rounding_errors() -> None:
    for share, count in ((0.2, 3), (0.25, 4), (0.5, 8), (0.0, 0), (0.3125, 5)):
        assert Pruning(share=share).survey(model(), INFO).count == count
    assert Pruning(share=0.29)._count(last_convolution(model(), INFO.shape)) == 4


def test_mean_ranks_put_the_least_active_first() -> None:
    answers = torch.tensor([[0, 1, 2, 3], [1, 0, 2, 3], [2, 0, 1, 3]])
    assert silencing_order(answers, "ranks") == [1, 0, 2, 3]


def test_equal_channels_go_in_order_of_their_number() -> None:
    assert silencing_order(torch.tensor([[0, 1, 2], [2, 1, 0]]), "ranks") == [0, 1, 2]
    assert silencing_order(torch.tensor([[1, 0, 0, 1], [0, 0, 1, 1]]), "votes") == [3, 0, 2, 1]


def test_one_liar_in_five_is_trimmed_away() -> None:
    """Four agree; the liar's reversed ranks pull the mean, not the trimmed mean."""
    honest = torch.arange(10)
    answers = torch.stack([*[honest] * 4, 9 - honest])
    assert silencing_order(answers, "ranks", 0.2) == list(range(10))
    skewed = torch.stack([torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2]), torch.tensor([0, 1, 2])])
    assert silencing_order(skewed, "ranks", 0.34) == [0, 1, 2]


def test_trimming_never_cuts_everyone() -> None:
    for clients in range(1, 7):
        assert sorted(silencing_order(ranks(6, clients), "ranks", 0.49)) == list(range(6))


@pytest.mark.parametrize("method", ["ranks", "votes"])
def test_the_first_channels_are_silenced_and_nothing_else_changes(method: str) -> None:
    pruned, untouched = model(), model()
    answers = ranks(16, 3)
    if method == "votes":
        answers = (answers < 3).long()
    facts = Pruning.model_validate({"method": method}).repair(pruned, context(answers))
    expected = sorted(silencing_order(answers, method)[:3])  # type: ignore[arg-type]
    assert facts == {"silenced": 3.0, "extreme": 0.0}
    assert silent(pruned) == expected
    place = last_convolution(pruned, INFO.shape)
    for (name, new), (_, old) in zip(pruned.named_parameters(), untouched.named_parameters(), strict=True):
        if name.rpartition(".")[0] not in (place.convolution, place.norm):
            assert torch.equal(new, old), name
        else:
            kept = [c for c in range(16) if c not in expected]
            assert torch.equal(new[kept], old[kept]), name


class _Accuracy:
    """An accuracy that falls by four points with every silent channel, and by a point for every twenty zero weights."""

    def __init__(self, watched: SplitModel) -> None:
        self.watched = watched

    def __call__(self) -> float:
        weight = self.watched.get_submodule("features.5.conv2").weight
        zero = int(((weight == 0) & (weight.flatten(1).abs().amax(1) > 0)[:, None, None, None]).sum())  # type: ignore
        return 90.0 - 4.0 * len(silent(self.watched)) - zero / 20


def test_the_servers_images_bound_what_is_silenced() -> None:
    pruned = model()
    repair = Pruning(share=0.5, max_drop=9.0)
    facts = repair.repair(pruned, context(ranks(16, 3), _Accuracy(pruned)))
    assert facts["silenced"] == 2.0
    assert silent(pruned) == sorted(silencing_order(ranks(16, 3), "ranks")[:2])
    assert facts["server_accuracy_before_percent"] == 90.0
    assert facts["server_accuracy_after_percent"] == 82.0


def test_the_share_is_the_most_under_a_loose_bound() -> None:
    pruned = model()
    assert Pruning(max_drop=99.0).repair(pruned, context(ranks(16, 3), _Accuracy(pruned)))["silenced"] == 3.0


def test_extreme_weights_shrink_while_the_accuracy_holds() -> None:
    pruned = model()
    repair = Pruning(share=0.0, extreme_weights=3.0, max_drop=2.0)
    facts = repair.repair(pruned, context(ranks(16, 3), _Accuracy(pruned)))
    assert 0 < facts["extreme"] <= 40
    assert facts["server_accuracy_after_percent"] >= 88.0
    weight = pruned.get_submodule("features.5.conv2").weight
    assert int((weight == 0).sum()) == facts["extreme"]  # type: ignore[arg-type,operator]


def test_extreme_weights_without_a_bound_go_once() -> None:
    pruned = model()
    facts = Pruning(share=0.0, extreme_weights=1.5).repair(pruned, context(ranks(16, 1)))
    weight = pruned.get_submodule("features.5.conv2").weight
    assert 0 < facts["extreme"] == int((weight == 0).sum())  # type: ignore[arg-type,operator]


def test_only_a_watched_accuracy_needs_images() -> None:
    assert not Pruning().needs.server_images
    assert Pruning(max_drop=1.0).needs.server_images


def test_without_a_survey_it_says_so() -> None:
    with pytest.raises(ValueError, match="works on clients' answers"):
        Pruning().repair(model(), context(None))


def test_repair_is_deterministic() -> None:
    results = []
    for _ in range(2):
        pruned = model()
        Pruning().repair(pruned, context(ranks(16, 5)))
        results.append(flatten_parameters(pruned))
    assert torch.equal(*results)
