"""A low-rank adapter (LoRA, hu2022lora) in forty lines, under the names that PEFT gives its records.

With PEFT installed, ``get_peft_model`` and ``get_peft_model_state_dict`` take the place of this module.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class LowRankLinear(nn.Module):
    """A frozen linear layer W with a trained product beside it: W x + B A x; A ``[rank, in]``, B ``[out, rank]``.

    B begins at zero, so that an adapter changes nothing before it is trained.
    """

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output ``[..., out]`` for ``[..., in]``."""
        return self.base_layer(x) + self.lora_B(self.lora_A(x))  # type: ignore[no-any-return]


def adapt(model: nn.Module, layers: Sequence[str], rank: int, trained_whole: Sequence[str]) -> nn.Module:
    """Freeze a model but for adapters on its linear ``layers`` and the modules ``trained_whole``; both by last name."""
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        parent, _, last = name.rpartition(".")
        if last in layers and isinstance(module, nn.Linear):
            setattr(model.get_submodule(parent), last, LowRankLinear(module, rank))
        elif last in trained_whole:
            module.requires_grad_(True)
    return model
