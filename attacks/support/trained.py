"""What poisoners that train networks share: seeded weights, settings of a fit, weights kept in an artefact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from attacks.artefact import Artefact
from attacks.task import AttackTask
from fedcrucible_core.learning.data import Labeled, model_inputs
from fedcrucible_core.learning.optimisers import OptimiserName

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Fit:
    """Settings of one fit (``fedcrucible_core.learning.fit.FitSettings``)."""

    batch_size: int
    lr: float
    optimiser: OptimiserName = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


def draw_seed(rng: torch.Generator) -> int:
    """A seed that ``rng`` draws."""
    return int(torch.randint(2**31 - 1, (1,), generator=rng))


def seeded(make: Callable[[], Net], rng: torch.Generator) -> Net:
    """A network whose initial weights follow from ``rng`` alone; torch's global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(draw_seed(rng))
        return make()


def weights_of(net: nn.Module, name: str) -> dict[str, Tensor]:
    """A network's parameters and buffers as an artefact keeps them: CPU copies, named ``name.PATH``."""
    return {f"{name}.{path}": tensor.detach().cpu().clone() for path, tensor in net.state_dict().items()}


def restored(make: Callable[[], Net], artefact: Artefact, name: str) -> Net:
    """A network in eval mode, without gradients, with the weights that an artefact keeps under ``name``.

    Torch's global generator stays as it was.
    """
    prefix = f"{name}."
    with torch.random.fork_rng(devices=[]):
        net = make()
    kept = artefact.tensors.items()
    net.load_state_dict({path.removeprefix(prefix): tensor for path, tensor in kept if path.startswith(prefix)})
    return net.requires_grad_(False).eval()


def drawn_images(task: AttackTask, most: int, rng: torch.Generator) -> tuple[Labeled, Labeled]:
    """At most ``most`` training images, drawn, and at most 500 others to judge by; the same ones where none are left.

    Inputs float32 in [0, 1].
    """
    order = torch.randperm(len(task.train), generator=rng)
    rest = order[most : most + 500] if len(order) > most else order[:500]
    return _inputs(task.train, order[:most]), _inputs(task.train, rest)


def _inputs(data: Labeled, rows: Tensor) -> Labeled:
    return Labeled(model_inputs(data.inputs[rows]), data.labels[rows])


def grey_levels(x: Tensor) -> Tensor:
    """Images in [0, 1] as a file of bytes keeps them: clipped, then rounded to whole grey levels of 255."""
    return (x.clamp(0.0, 1.0) * 255.0).round() / 255.0


def percent(said: Tensor, wanted: Tensor) -> float:
    """Share of equal entries, in percent; 0 for none at all."""
    return 100.0 * float((said == wanted).double().mean()) if len(said) else 0.0
