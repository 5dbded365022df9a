"""What repairs that train share: the fit, what is held out, the lowest of a list; MixMatch's epochs."""

from __future__ import annotations

import pytest
import torch

from defenses.support.fitting import (
    FitOptions,
    accuracy_percent,
    fit,
    held_out,
    lowest,
    sample_losses,
    view_of,
    without,
)
from defenses.support.mixmatch import MixMatch
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import logits
from tests.support.planted import accuracy, fresh, pictures, planted_model, same_parameters


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_share_of_every_class_is_held_out() -> None:
    trained, held = held_out(pictures(40), 0.2, rng())
    assert torch.bincount(held.labels).tolist() == [2, 2, 2, 2]
    assert len(trained) == 32
    joined = torch.cat([trained.inputs, held.inputs])
    assert torch.equal(joined.sum((1, 2, 3)).sort().values, pictures(40).inputs.sum((1, 2, 3)).sort().values)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_samples_serve_both(n: int) -> None:
    trained, held = held_out(pictures(n), 0.2, rng())
    assert trained.equals(held)


def test_a_class_of_two_keeps_one() -> None:
    data = Labeled(torch.rand(12, 1, 8, 8), torch.tensor([0] * 10 + [1] * 2))
    trained, held = held_out(data, 0.9, rng())
    assert torch.bincount(trained.labels, minlength=2).tolist() == [1, 1]
    assert torch.bincount(held.labels, minlength=2).tolist() == [9, 1]


def test_the_fit_learns_and_ends_in_eval_mode() -> None:
    model, data = fresh(1), pictures(80)
    losses = fit(model, data, FitOptions(0.05), rng(), epochs=6, view=view_of("none", rng()))
    assert losses[-1] < losses[0]
    assert not model.training
    assert accuracy_percent(model, data) == pytest.approx(accuracy(model, data))


def test_one_sample_has_no_batch_statistics_and_no_epoch_changes_nothing() -> None:
    model = fresh(1)
    fit(model, pictures(1), FitOptions(0.05), rng(), epochs=1)
    assert torch.equal(model.get_buffer("features.1.running_mean"), torch.zeros(8))
    untouched = fresh(1)
    assert fit(untouched, pictures(8), FitOptions(0.05), rng(), epochs=0) == []
    assert same_parameters(untouched, fresh(1))


def test_losses_that_are_not_finite_count_as_infinite() -> None:
    data = pictures(4)
    broken = data.inputs.clone()
    broken[1] = torch.nan
    losses = sample_losses(planted_model(), Labeled(broken, data.labels))
    assert torch.isinf(losses).tolist() == [False, True, False, False]
    assert lowest(losses, 3).tolist() == [0, 2, 3]
    assert without(torch.tensor([1, 3]), 5).tolist() == [0, 2, 4]


def test_augmentation_is_that_of_the_run() -> None:
    assert view_of("none", rng()) is None
    view = view_of("crop-flip", rng())
    assert view is not None
    assert view(pictures(3).inputs).shape == (3, 1, 8, 8)


def test_mixmatch_learns_from_few_labels() -> None:
    data = pictures(160)
    wrong = Labeled(data.inputs, torch.where(torch.arange(160) < 40, data.labels, (data.labels + 1) % 4))
    model, begun = fresh(1), []

    def pool(epoch: int) -> torch.Tensor:
        begun.append(epoch)
        return torch.arange(40)

    view = view_of("none", rng())
    losses = MixMatch(iterations=30, batch_size=16, lr=5e-3).fit(
        model, wrong, pool, rng(), epochs=3, view=view or (lambda x: x)
    )
    assert begun == [0, 1, 2]
    assert len(losses) == 3
    predicted = logits(model.eval(), data.inputs, 100, torch.device("cpu")).argmax(1)
    assert float((predicted == data.labels).double().mean()) > 0.9, "the labels that were dropped taught nothing"


def test_mixmatch_with_every_label_kept_is_supervised_and_with_none_is_an_error() -> None:
    mixmatch, data = MixMatch(iterations=2, batch_size=8), pictures(16)
    losses = mixmatch.fit(fresh(1), data, lambda _: torch.arange(16), rng(), epochs=1, view=lambda x: x)
    assert losses[0] > 0.0
    with pytest.raises(ValueError, match="no sample keeps its label"):
        mixmatch.fit(fresh(1), data, lambda _: torch.arange(0), rng(), epochs=1, view=lambda x: x)
