"""What happens inside the training loop: hooks, and nothing at all without one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedcrucible_core.config.sections import TrainingSection
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.gradient import mean_gradient
from fedcrucible_core.learning.models import ResNet8
from fedcrucible_core.learning.training import HookChain, TrainingHook, train
from fedcrucible_core.learning.vector import (
    flatten_gradients,
    flatten_parameters,
    parameter_slots,
    shaped_like_parameters,
)

SETTINGS = TrainingSection(local_epochs=2, batch_size=8, lr=0.05)


def data(count: int = 21) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 1, 12, 12, generator=rng(3)), torch.arange(count) % 3


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def resnet() -> nn.Module:
    return ResNet8(width=4).build(DataInfo("d", tuple("abc"), (1, 12, 12), (0.5,), (0.5,)), 1)


def trained(
    hook: TrainingHook | None = None, settings: TrainingSection = SETTINGS, **more: str
) -> tuple[Tensor, float]:
    model = resnet()
    loss = train(model, *data(), settings, rng(), hook=hook, **more)
    return flatten_parameters(model), loss


class Recorder(TrainingHook):
    def __init__(self, name: str = "", log: list[str] | None = None) -> None:
        self.name, self.log = name, [] if log is None else log

    def loss(self, model: nn.Module, loss: Tensor) -> Tensor:
        self.log.append(f"{self.name}loss")
        return loss

    def after_backward(self, model: nn.Module) -> None:
        self.log.append(f"{self.name}backward")

    def after_step(self, model: nn.Module, *, last_of_epoch: bool) -> None:
        self.log.append(f"{self.name}step{' last' if last_of_epoch else ''}")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_hook_that_does_nothing_changes_no_bit(precision: str) -> None:
    without, with_one = trained(precision=precision), trained(TrainingHook(), precision=precision)
    assert torch.equal(without[0], with_one[0])
    assert without[1] == with_one[1]


def test_order_of_calls() -> None:
    hook = Recorder()
    trained(hook)
    epoch = ["loss", "backward", "step"] * 2 + ["loss", "backward", "step last"]  # 21 images: 8, 8, 5
    assert hook.log == epoch * 2


def test_a_joined_last_batch_is_the_last_of_its_epoch() -> None:
    hook = Recorder()
    images, labels = data(17)  # 8 and 9: a lone last image joins the batch before it
    train(resnet(), images, labels, SETTINGS.model_copy(update={"local_epochs": 1}), rng(), hook=hook)
    assert [call for call in hook.log if call.startswith("step")] == ["step", "step last"]


def test_a_chain_calls_each_in_turn() -> None:
    log: list[str] = []
    trained(HookChain(Recorder("a ", log), Recorder("b ", log)), SETTINGS.model_copy(update={"local_epochs": 1}))
    assert log[:6] == ["a loss", "b loss", "a backward", "b backward", "a step", "b step"]
    assert log[-2:] == ["a step last", "b step last"]


def test_a_term_of_the_loss_has_a_gradient_and_is_not_reported() -> None:
    class Decay(TrainingHook):
        def loss(self, model: nn.Module, loss: Tensor) -> Tensor:
            return loss + 0.05 * sum(p.square().sum() for p in model.parameters())

    plain = SETTINGS.model_copy(update={"local_epochs": 1})
    decayed, loss = trained(Decay(), plain)
    expected, ours = trained(None, plain.model_copy(update={"weight_decay": 0.1}))
    assert torch.allclose(decayed, expected, atol=1e-6)
    assert not torch.allclose(decayed, trained(None, plain)[0], atol=1e-4)
    assert loss == pytest.approx(ours, rel=1e-5)


def test_gradients_are_there_and_may_be_changed() -> None:
    class Freeze(TrainingHook):
        def after_backward(self, model: nn.Module) -> None:
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.grad.zero_()

    assert torch.equal(trained(Freeze())[0], flatten_parameters(resnet()))


def test_parameters_may_be_changed_after_a_step() -> None:
    class Zero(TrainingHook):
        @torch.no_grad()
        def after_step(self, model: nn.Module, *, last_of_epoch: bool) -> None:
            for parameter in model.parameters():
                parameter.zero_()

    assert not bool(trained(Zero())[0].any())


def test_mean_gradient_is_that_of_the_whole_set() -> None:
    images, labels = data()
    model = resnet()
    loss = F.cross_entropy(model.train()(images), labels)
    loss.backward()
    expected = flatten_gradients(model)
    before = flatten_parameters(model)
    assert torch.allclose(mean_gradient(model, images, labels, 64), expected, atol=1e-6)
    assert torch.equal(flatten_parameters(model), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_mean_gradient_weighs_batches_by_their_images() -> None:
    images, labels = data()
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))  # no batch statistics: batches can't matter
    whole, pieces = mean_gradient(model, images, labels, 64), mean_gradient(model, images, labels, 4)
    assert torch.allclose(whole, pieces, atol=1e-6)


def test_pieces_of_a_vector_have_the_parameters_shapes() -> None:
    model = resnet()
    vector = flatten_parameters(model)
    pieces = shaped_like_parameters(model, vector)
    assert all(torch.equal(piece, p) for piece, p in zip(pieces, model.parameters(), strict=True))
    assert len(pieces) == len(parameter_slots(model))


def test_a_missing_gradient_counts_as_zero() -> None:
    model = nn.Linear(2, 2)
    model.weight.grad = torch.ones(2, 2)
    assert flatten_gradients(model).tolist() == [1, 1, 1, 1, 0, 0]
