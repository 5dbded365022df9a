"""What every upload attack must do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from attacks.contracts.setting import TARGET, Ground, Pictures, Texts, named, require, section_of, seeded
from attacks.local_view import LocalView
from attacks.poisoner import POISONERS, Poisoner
from attacks.uploader import CraftContext, Uploader
from fedcrucible_core.config.sections import AdversarySection, TrainingSection
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.vector import buffer_slots, parameter_slots
from fedcrucible_core.learning.weights import Weights


def check_uploader(uploader: Uploader, poisoner: Poisoner | None = None) -> None:
    """Check an upload attack by its contract, planting ``poisoner`` (``badnets`` unless given).

    Raises AssertionError that names the property it lacks.
    """
    for _, check in uploader_checks():
        check(uploader, poisoner)


def uploader_checks() -> Iterator[tuple[str, Callable[[Uploader, Poisoner | None], None]]]:
    """Each check of an upload attack by name."""
    yield from named(
        crafted_uploads_are_finite_and_inputs_stay, a_round_is_finite_and_deterministic, one_alone_can_attack
    )


def _ground(poisoner: Poisoner | None) -> Ground:
    """What the poisoner is for."""
    return Texts.of(24, 12) if poisoner is not None and poisoner.task == "text" else Pictures.of((1, 12, 12))


def _view(poisoner: Poisoner | None, **more: object) -> LocalView:
    """An attacker with 24 samples: of images for a network with batch normalisation, of texts for one with dropout."""
    ground = _ground(poisoner)
    task = ground.task(ground.samples(24, 9))
    of_texts = {"width": 8, "heads": 2, "layers": 1, "hidden": 16}
    kind, settings = ("distilbert-tiny", of_texts) if ground.info.task == "text" else ("resnet8", {"width": 4})
    model: nn.Module = MODELS.create(kind, settings).build(task.info, 0)
    view = LocalView(
        round=1,
        partition=0,
        part=0,
        participants=10,
        slots=parameter_slots(model),
        target=TARGET,
        poisoner=poisoner or POISONERS.create("badnets"),
        adversary=AdversarySection.model_validate({}),
        poison=section_of(ratio=0.5),
        training=TrainingSection.model_validate({"batch_size": 8, "lr": 0.05}),
        received=Weights.of(model),
        model=model,
        task=task,
    )
    return replace(view, **more)  # type: ignore[arg-type]


def crafted_uploads_are_finite_and_inputs_stay(uploader: Uploader, poisoner: Poisoner | None = None) -> None:
    """``craft`` is a deterministic function to a finite float32 vector of the model's length."""
    view = _view(poisoner)
    vectors = [
        view.w_global,
        *(view.w_global + torch.randn(view.w_global.shape, generator=seeded(i)) for i in (1, 2)),
    ]
    w_global, w_benign, w_malicious = vectors
    before = [vector.clone() for vector in vectors]
    context = CraftContext(round=1, partition=0, num_participants=10, slots=view.slots, rng=seeded(0))
    clean = torch.stack([w_benign - w_global, w_malicious - w_global])
    chosen = torch.arange(len(w_global)) % 3 == 0
    for ctx in (context, replace(context, clean_updates=clean, attackers=2), replace(context, chosen=chosen)):
        first, second = (uploader.craft(w_global, w_benign, w_malicious, replace(ctx, rng=seeded(0))) for _ in range(2))
        require(first.shape == w_global.shape, f"craft gives shape {tuple(first.shape)}, not {tuple(w_global.shape)}")
        require(first.dtype == torch.float32, f"craft gives {first.dtype}, not float32")
        require(bool(torch.isfinite(first).all()), "craft gives a vector that is not finite")
        require(torch.equal(first, second), "craft differs for the same generator")
        require(all(map(torch.equal, vectors, before)), "craft changes its inputs")


def a_round_is_finite_and_deterministic(uploader: Uploader, poisoner: Poisoner | None = None) -> None:
    """``upload`` gives a finite model, leaves what it is given alone, and draws from the view's generators only."""
    view = _view(poisoner)
    given = (view.w_global, view.received.buffers, view.task.train.inputs, view.task.train.labels)
    before, state = [tensor.clone() for tensor in given], torch.random.get_rng_state()
    upload = uploader.upload(view)
    require(upload.parameters.shape == view.w_global.shape, "the upload has another number of parameters")
    require(upload.buffers.shape == view.received.buffers.shape, "the upload has another number of buffers")
    kinds = {upload.parameters.dtype, upload.buffers.dtype}
    require(kinds == {torch.float32}, "the upload is not float32")
    finite = bool(torch.isfinite(upload.parameters).all()) and bool(torch.isfinite(upload.buffers).all())
    require(finite, "the upload is not finite")
    for slot in buffer_slots(view.model):
        negative = slot.name.endswith("running_var") and bool((upload.buffers[slot.start : slot.stop] < 0).any())
        require(not negative, "the upload holds a negative variance: buffers must not be crafted")
    claims = {len(view.clean), len(view.poisoned)}
    require(upload.num_examples in claims, f"the upload claims {upload.num_examples} examples, not one of {claims}")
    require(upload.loss == upload.loss, "the reported loss is no number")
    require(all(map(torch.equal, given, before)), "upload changes what it is given")
    kept = all(tensor.device.type == "cpu" and not tensor.requires_grad for tensor in view.memory.values())
    require(kept, "the memory holds tensors that can't travel")
    require(bool(uploader.state_kept) or not view.memory, "the memory is used, but state_kept doesn't say so")
    require(torch.equal(torch.random.get_rng_state(), state), "upload draws from torch's global generator")
    again = _view(poisoner)
    repeated = uploader.upload(again)
    require(torch.equal(repeated.parameters, upload.parameters), "upload differs for the same seeds")
    same = {name: tensor.tolist() for name, tensor in again.memory.items()} == {
        name: tensor.tolist() for name, tensor in view.memory.items()
    }
    require(same, "the memory differs for the same seeds")


def one_alone_can_attack(uploader: Uploader, poisoner: Poisoner | None = None) -> None:
    """A lone attacker, even with a single image or as the only participant, uploads something finite."""
    ground = _ground(poisoner)
    two = ground.task(ground.samples(24, 9).subset(torch.arange(2)))
    for view in (_view(poisoner, participants=1), _view(poisoner, task=two)):
        upload = uploader.upload(view)
        require(bool(torch.isfinite(upload.parameters).all()), "a lone attacker's upload is not finite")
