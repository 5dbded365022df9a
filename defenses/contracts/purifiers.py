"""What every purifier promises."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from safetensors.torch import load, save
from torch import Tensor

from defenses.base import Purified, Purifier
from defenses.contracts.promises import Promise, check_all, require, unchanged
from defenses.contracts.server_setting import make_data, make_guide, make_model, same, snapshot
from fedcrucible_core.foundation.base import ServerData
from fedcrucible_core.learning.models.base import SplitModel


def check_purifier(purifier: Purifier, *, exempt: Collection[str] = ()) -> None:
    """Check all promises of :data:`PURIFIER_PROMISES` on a tiny model, 26 images with augmented copies, and a guide.

    Raises:
        AssertionError: names the promise and what was found.
        ValueError: ``exempt`` names no promise.
    """
    check_all(purifier, PURIFIER_PROMISES, exempt)


def purify(
    purifier: Purifier,
    model: SplitModel,
    data: ServerData | None = None,
    seed: int = 5,
    state: Mapping[str, Tensor] | None = None,
) -> Purified:
    """One server phase in the tiny setting."""
    data = data or make_data()
    return purifier.purify(model, data, make_guide(data), torch.Generator().manual_seed(seed), state or {})


def require_left_alone(model: SplitModel, trainable: list[bool]) -> None:
    """Raise AssertionError where a model isn't left in eval mode, without gradients and as trainable as before."""
    require(not any(module.training for module in model.modules()), "the model isn't left in eval mode")
    require(all(p.grad is None for p in model.parameters()), "gradients are left on the model")
    require([p.requires_grad for p in model.parameters()] == trainable, "other parameters are trainable than before")


def require_finite_model(model: SplitModel) -> None:
    """Raise AssertionError where a parameter or buffer isn't finite."""
    for name, tensor in model.state_dict().items():
        require(bool(torch.isfinite(tensor).all()), f"{name} isn't finite")


def require_finite_facts(facts: Mapping[str, float]) -> None:
    """Raise AssertionError where a diagnostic isn't a finite number."""
    for name, value in facts.items():
        require(math.isfinite(value), f"fact {name} is {value}")


# --- the promises -----------------------------------------------------------------------------------------------------


def _finite(purifier: Purifier) -> None:
    model = make_model()
    result = purify(purifier, model)
    require_finite_model(model)
    require_finite_facts(result.facts)
    for name, tensor in result.state.items():
        require(tensor.device.type == "cpu" and not tensor.requires_grad, f"state {name} isn't a plain CPU tensor")


def _deterministic(purifier: Purifier) -> None:
    before = torch.get_rng_state()
    models = [make_model(), make_model()]
    first, second = (purify(purifier, model) for model in models)
    require(same(snapshot(models[0]), snapshot(models[1])), "the same seed gave another model")
    require(first.facts == second.facts, f"the same seed gave other facts: {first.facts}, {second.facts}")
    require(same(dict(first.state), dict(second.state)), "the same seed gave another state")
    require(torch.equal(before, torch.get_rng_state()), "it drew from the global generator")


def _inputs(purifier: Purifier) -> None:
    data = make_data()
    guide, state = make_guide(data), dict(purify(purifier, make_model(), data).state)
    whole = data.training_set()
    watched = [
        data.originals.inputs, data.originals.labels, whole.inputs, guide.embeddings, guide.text_embeddings,
        guide.logits, *([] if data.augmented is None else [data.augmented]), *state.values(),
        *(rows for rows in (data.clean, data.triggered) if rows is not None),
    ]  # fmt: skip
    copies = [tensor.clone() for tensor in watched]
    purifier.purify(make_model(), data, guide, torch.Generator().manual_seed(0), state)
    require(unchanged(copies, watched), "the server's data, the guide's targets or the state were changed")


def _left_alone(purifier: Purifier) -> None:
    for was_training in (False, True):
        model = make_model().train(was_training)
        trainable = [p.requires_grad for p in model.parameters()]
        purify(purifier, model)
        require_left_alone(model, trainable)


def _restart(purifier: Purifier) -> None:
    a, b = make_model(), make_model()
    kept: dict[str, Tensor] = {}
    restored: dict[str, Tensor] = {}
    for t in range(3):
        kept = dict(purify(purifier, a, seed=t, state=kept).state)
        restored = load(save(dict(purify(purifier, b, seed=t, state=restored).state)))
        require(same(kept, restored), f"round {t}: the state differs after a restart")
        require(same(snapshot(a), snapshot(b)), f"round {t} ends elsewhere after a restart")


PURIFIER_PROMISES: Mapping[str, Promise[Purifier]] = {
    "model, facts and state are finite": _finite,
    "same seed, same model": _deterministic,
    "data, guide and state are left as they were": _inputs,
    "the model is left in eval mode without gradients": _left_alone,
    "state survives a restart": _restart,
}
"""Promise -> its check."""
