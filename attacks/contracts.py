"""What every poisoner and every upload attack must do, as checks that anybody's own test can call.

Each check raises AssertionError with a sentence that names the property.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks.artefact import Artefact
from attacks.local_view import LocalView
from attacks.poisoner import POISONERS, PoisonContext, Poisoner
from attacks.task import AttackTask
from attacks.uploader import CraftContext, Uploader
from fedcrucible_core.config.sections import AdversarySection, PoisonSection, TaskSection, TrainingSection
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.vector import buffer_slots, parameter_slots
from fedcrucible_core.learning.weights import Weights

CLASSES, TARGET = 6, 3
SHAPES = ((1, 28, 28), (3, 32, 32))
"""Grey and colour."""
TOLERANCE = 1e-6
"""How much the answer for an image may differ with the batch that it is in: interpolations differ in their last bit."""


@dataclass(frozen=True)
class Trial:
    """A poisoner on random images of one shape."""

    poisoner: Poisoner
    task: AttackTask
    artefact: Artefact

    @classmethod
    def of(cls, poisoner: Poisoner, shape: tuple[int, int, int], count: int = 48) -> Trial:
        """Images without extreme pixels, so that every trigger changes them; labels 0..5 in turn."""
        task = _task(_pictures(count, shape, 9))
        return cls(poisoner, task, poisoner.prepare(task, _rng(7)))

    @property
    def data(self) -> Labeled:
        """All images."""
        return self.task.train

    def context(self, part: int | None = 0, seed: int = 0, section: PoisonSection | None = None) -> PoisonContext:
        """What the poisoner is given."""
        chosen = section or _section(ratio=0.5)
        return PoisonContext(self.task, chosen, _rng(seed), self.artefact, part)

    def whole(self, x: Tensor, y: Tensor) -> Tensor:
        """The test form."""
        return self.poisoner.stamp(x, y, self.context(part=None))


def check_poisoner(poisoner: Poisoner) -> None:
    """Check a poisoner by its contract; raises AssertionError that names the property it lacks."""
    for _, check in poisoner_checks():
        check(poisoner)


def check_uploader(uploader: Uploader, poisoner: Poisoner | None = None) -> None:
    """Check an upload attack by its contract, planting ``poisoner`` (``badnets`` unless given).

    Raises AssertionError that names the property it lacks.
    """
    for _, check in uploader_checks():
        check(uploader, poisoner)


def poisoner_checks() -> Iterator[tuple[str, Callable[[Poisoner], None]]]:
    """Each check of a poisoner by name, to run them one by one."""
    yield from _named(
        preparation_is_deterministic_and_plain,
        training_form_keeps_shape_range_and_inputs,
        training_form_is_deterministic,
        labels_follow_the_promise,
        test_form_changes_every_image_in_range,
        test_form_treats_each_image_by_itself,
        black_and_white_images_stay_in_range,
        nothing_changes_outside_the_mask,
        the_ratio_is_exact,
        append_all_keeps_the_clean_set_first,
        decoys_keep_shape_range_and_inputs,
        additions_carry_the_target,
        a_set_without_eligible_images_stays_clean,
        carriers_are_told_image_by_image,
        the_measured_set_leaves_the_target_out,
        small_sets_work,
    )


def uploader_checks() -> Iterator[tuple[str, Callable[[Uploader, Poisoner | None], None]]]:
    """Each check of an upload attack by name."""
    yield from _named(
        crafted_uploads_are_finite_and_inputs_stay, a_round_is_finite_and_deterministic, one_alone_can_attack
    )


def _named(*checks: Callable[..., None]) -> Iterator[tuple[str, Callable[..., None]]]:
    for check in checks:
        yield check.__name__.replace("_", " "), check


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)


def _section(**values: object) -> PoisonSection:
    return PoisonSection.model_validate({"target_label": TARGET, **values})


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pictures(count: int, shape: tuple[int, int, int], seed: int) -> Labeled:
    pixels = torch.randint(26, 230, (count, *shape), dtype=torch.uint8, generator=_rng(seed))
    return Labeled(pixels, torch.arange(count) % CLASSES)


def _task(data: Labeled) -> AttackTask:
    shape = (data.inputs.shape[1], data.inputs.shape[2], data.inputs.shape[3])
    info = DataInfo("random", tuple("abcdef"), shape, (0.5,) * shape[0], (0.5,) * shape[0])
    return AttackTask(TARGET, info, data, TaskSection.model_validate({}))


def _trials(poisoner: Poisoner) -> Iterator[Trial]:
    for shape in SHAPES:
        yield Trial.of(poisoner, shape)


def _check_images(made: Tensor, given: Tensor, what: str) -> None:
    _require(made.shape == given.shape, f"{what} has shape {tuple(made.shape)}, not {tuple(given.shape)}")
    _require(made.dtype == torch.float32, f"{what} is {made.dtype}, not float32")
    _require(bool(torch.isfinite(made).all()), f"{what} is not finite")
    if len(made):
        _require(float(made.min()) >= 0.0 and float(made.max()) <= 1.0, f"{what} leaves the range [0, 1]")


def _differing(a: Tensor, b: Tensor) -> Tensor:
    return (a != b).flatten(1).any(1)


# --- poisoners --------------------------------------------------------------------------------------------------------


def preparation_is_deterministic_and_plain(poisoner: Poisoner) -> None:
    """``prepare`` gives the same for the same generator, as finite CPU tensors without gradient."""
    for trial in _trials(poisoner):
        state = torch.random.get_rng_state()
        again = poisoner.prepare(trial.task, _rng(7))
        _require(torch.equal(torch.random.get_rng_state(), state), "prepare draws from torch's global generator")
        _require(set(again.tensors) == set(trial.artefact.tensors), "prepare is not deterministic: other names")
        for name, tensor in trial.artefact.tensors.items():
            _require(torch.equal(again.tensors[name], tensor), f"prepare is not deterministic: {name}")
            _require(tensor.device.type == "cpu", f"prepare leaves {name} on a device")
            _require(not tensor.requires_grad, f"prepare leaves a gradient on {name}")
        _require(poisoner.prepares or not trial.artefact.tensors, "prepare makes tensors but is not overridden")


def training_form_keeps_shape_range_and_inputs(poisoner: Poisoner) -> None:
    """``stamp`` and ``relabel`` return new tensors of the right kind and leave theirs alone."""
    for trial in _trials(poisoner):
        x, y = trial.data.for_model(), trial.data.labels.clone()
        before = x.clone(), y.clone()
        for part in (None, *range(5)):
            made, labels = poisoner.stamp(x, y, trial.context(part)), poisoner.relabel(y, trial.context(part))
            _check_images(made, x, "stamp's result")
            _require(made.data_ptr() != x.data_ptr(), "stamp returns its own input")
            _require(labels.data_ptr() != y.data_ptr(), "relabel returns its own input")
            _require(labels.shape == y.shape and labels.dtype == torch.int64, "relabel's labels are not int64 [n]")
            _require(0 <= int(labels.min()) <= int(labels.max()) < CLASSES, "relabel gives a label that is no class")
        _require(torch.equal(x, before[0]), "stamp changes its inputs")
        _require(torch.equal(y, before[1]), "relabel changes its inputs")


def training_form_is_deterministic(poisoner: Poisoner) -> None:
    """The generator in the context is the only source of chance."""
    for trial in _trials(poisoner):
        x, y = trial.data.for_model(), trial.data.labels
        state = torch.random.get_rng_state()
        first, second = (poisoner.stamp(x, y, trial.context(1, 3)) for _ in range(2))
        _require(torch.equal(first, second), "stamp differs for the same generator")
        labels, again = (poisoner.relabel(y, trial.context(1, 3)) for _ in range(2))
        _require(torch.equal(labels, again), "relabel differs for the same generator")
        _require(torch.equal(torch.random.get_rng_state(), state), "stamp draws from torch's global generator")


def labels_follow_the_promise(poisoner: Poisoner) -> None:
    """Clean-label attacks keep labels, targeted ones give the target, untargeted ones leave inputs alone."""
    trial = Trial.of(poisoner, SHAPES[1])
    x, y = trial.data.for_model(), trial.data.labels
    labels = poisoner.relabel(y, trial.context())
    if poisoner.clean_label:
        _require(torch.equal(labels, y), "clean_label is promised, but relabel changes labels")
    elif poisoner.targeted:
        _require(bool((labels == TARGET).all()), "relabel gives poisoned samples another label than the target")
    else:
        _require(torch.equal(poisoner.stamp(x, y, trial.context()), x), "an untargeted poisoner changes inputs")
        moved = bool((labels != y).any())
        _require(moved == poisoner.poisons_own, "poisons_own doesn't say whether an untargeted poisoner changes labels")


def test_form_changes_every_image_in_range(poisoner: Poisoner) -> None:
    """The whole trigger is deterministic and visible in every image."""
    if not poisoner.has_trigger:
        return
    for trial in _trials(poisoner):
        x, y = trial.data.for_model(), trial.data.labels
        before, made = x.clone(), trial.whole(x, y)
        _check_images(made, x, "the test form")
        _require(torch.equal(x, before), "the test form changes its inputs")
        _require(torch.equal(trial.whole(x, y), made), "the test form is not deterministic")
        _require(bool(_differing(made, x).all()), "the test form leaves an image as it was")


def test_form_treats_each_image_by_itself(poisoner: Poisoner) -> None:
    """An image's trigger doesn't depend on the others of its batch."""
    if not poisoner.targeted:
        return
    for trial in _trials(poisoner):
        x, y = trial.data.for_model()[:6], trial.data.labels[:6]
        together = trial.whole(x, y)
        for rows in (slice(0, 1), slice(1, 3), slice(3, 6)):
            alone = trial.whole(x[rows], y[rows])
            same = torch.allclose(alone, together[rows], atol=TOLERANCE)
            _require(same, "an image's trigger depends on the other images of the call")


def black_and_white_images_stay_in_range(poisoner: Poisoner) -> None:
    """Extreme pixels don't leave [0, 1]."""
    if not poisoner.targeted:
        return
    for trial in _trials(poisoner):
        for value in (0.0, 1.0):
            x = torch.full((2, *trial.task.info.shape), value)
            _check_images(trial.whole(x, torch.zeros(2, dtype=torch.int64)), x, "the test form of flat images")


def nothing_changes_outside_the_mask(poisoner: Poisoner) -> None:
    """Where ``mask`` names the trigger's pixels, no other pixel changes."""
    for trial in _trials(poisoner) if poisoner.has_trigger else ():
        mask = poisoner.mask(trial.task.info.image_shape)
        if mask is None:
            return
        shape = trial.task.info.image_shape
        _require(mask.shape == shape and mask.dtype == torch.bool, f"mask is not bool {shape}")
        x, y = trial.data.for_model(), trial.data.labels
        for part in (None, *range(5)):
            made = poisoner.stamp(x, y, trial.context(part))
            _require(torch.equal(made[:, ~mask], x[:, ~mask]), "stamp changes pixels outside the mask")


def _may_be_poisoned(trial: Trial, scope: str) -> Tensor:
    """The obvious rule, image by image."""
    poisoner, data = trial.poisoner, trial.data
    carriers = poisoner.carriers(data, trial.task)
    found = []
    for row, label in enumerate(data.labels.tolist()):
        allowed = carriers is None or bool(carriers[row])
        if poisoner.clean_label:
            allowed = allowed and label == TARGET
        elif poisoner.targeted and scope == "non-target":
            allowed = allowed and label != TARGET
        found.append(allowed and poisoner.poisons_own)
    return torch.tensor(found)


def the_ratio_is_exact(poisoner: Poisoner) -> None:
    """As many samples are poisoned as asked for, as many decoys made as the poisoner says, and nothing else changes."""
    trial = Trial.of(poisoner, SHAPES[1])
    x, y, size = trial.data.for_model(), trial.data.labels, len(trial.data)
    for scope in ("non-target", "all"):
        eligible = _may_be_poisoned(trial, scope)
        for ratio in (0.0, 0.1, 0.5, 0.9, 1.0):
            section = _section(ratio=ratio, scope=scope)
            made = poisoner.poison(trial.data, trial.context(section=section))
            changed = _differing(made.data.inputs[:size], x) | (made.data.labels[:size] != y)
            count = int(eligible.sum())
            poisoned = int(ratio * count + 0.5)
            decoys = min(poisoner.decoy_count(poisoned, count), count - poisoned) if poisoned else 0
            _require(int(made.poisoned[:size].sum()) == poisoned, f"ratio {ratio}: another number is poisoned")
            _require(int(made.decoys[:size].sum()) == decoys, f"ratio {ratio}: another number of decoys")
            _require(not bool((made.poisoned[:size] & ~eligible).any()), "a sample is poisoned that may not be")
            _require(not bool((changed & ~(made.poisoned | made.decoys)[:size]).any()), "an untouched sample changes")
            kept = torch.equal(made.data.labels[:size][made.decoys[:size]], y[made.decoys[:size]])
            _require(kept, "decoys lose their labels")


def append_all_keeps_the_clean_set_first(poisoner: Poisoner) -> None:
    """``append-all`` adds a poisoned copy of every eligible sample behind the clean ones."""
    trial = Trial.of(poisoner, SHAPES[1])
    section = _section(ratio=0.1, mode="append-all")
    made, size = poisoner.poison(trial.data, trial.context(section=section)), len(trial.data)
    _require(torch.equal(made.data.inputs[:size], trial.data.for_model()), "append-all changes the clean inputs")
    _require(torch.equal(made.data.labels[:size], trial.data.labels), "append-all changes the clean labels")
    count = int(_may_be_poisoned(trial, "non-target").sum())
    decoys = min(poisoner.decoy_count(count, count), count) if count else 0
    added = poisoner.additions(trial.data, trial.context(section=section))
    wanted = size + count + decoys + (0 if added is None else len(added[0]))
    _require(len(made.data) == wanted, f"append-all makes {len(made.data)} samples, not {wanted}")


def decoys_keep_shape_range_and_inputs(poisoner: Poisoner) -> None:
    """Decoys are images of their own, neither clean nor poisoned."""
    for trial in _trials(poisoner) if poisoner.decoy_count(10, 100) else ():
        x = trial.data.for_model()[:12]
        others, labels = x.flip(0).contiguous(), trial.data.labels[:12]
        before = x.clone(), others.clone()
        made = poisoner.decoys(x, others, trial.context(seed=5))
        _check_images(made, x, "decoys")
        again = poisoner.decoys(x, others, trial.context(seed=5))
        _require(torch.equal(made, again), "decoys differ for the same generator")
        _require(bool(_differing(made, x).all()), "a decoy is the clean image")
        _require(bool(_differing(made, trial.whole(x, labels)).all()), "a decoy is the poisoned image")
        unchanged = torch.equal(x, before[0]) and torch.equal(others, before[1])
        _require(unchanged, "decoys change their inputs")


def additions_carry_the_target(poisoner: Poisoner) -> None:
    """Samples that are added are images in [0, 1] with the target as label."""
    trial = Trial.of(poisoner, SHAPES[1])
    added = poisoner.additions(trial.data.subset(torch.arange(0, 48, 2)), trial.context())
    if added is None:
        return
    x, y = added
    _check_images(x, torch.empty(len(y), *SHAPES[1]), "what is added")
    _require(y.tolist() == [TARGET] * len(x), "an added sample has another label than the target")
    _require(len(x) > 0, "additions adds no sample; it should return None")


def a_set_without_eligible_images_stays_clean(poisoner: Poisoner) -> None:
    """Without anything to poison a set keeps all its samples as they are."""
    if poisoner.poisons_own and not poisoner.targeted:
        return  # any image may be poisoned
    trial = Trial.of(poisoner, SHAPES[1])
    label = TARGET + 1 if poisoner.clean_label else TARGET
    own = trial.data.subset((trial.data.labels == label).nonzero().flatten())
    for mode in ("replace", "append-all"):
        section = _section(ratio=1.0, mode=mode)
        made = poisoner.poison(own, trial.context(section=section))
        kept = torch.equal(made.data.inputs[: len(own)], own.for_model())
        _require(kept and torch.equal(made.data.labels[: len(own)], own.labels), "a clean sample is changed")
        more = len(made.data) - len(own)
        _require(not more or poisoner.additions(own, trial.context()) is not None, "samples are added unannounced")


def carriers_are_told_image_by_image(poisoner: Poisoner) -> None:
    """No threshold comes from the images that are judged."""
    trial, test = Trial.of(poisoner, SHAPES[1]), _pictures(60, SHAPES[1], 10)
    whole = poisoner.carriers(test, trial.task)
    if whole is None:
        return
    _require(whole.shape == (60,) and whole.dtype == torch.bool, "carriers are not bool [n]")
    for rows in (torch.arange(0, 60, 7), torch.arange(30), torch.tensor([5])):
        part = poisoner.carriers(test.subset(rows), trial.task)
        _require(part is not None and torch.equal(part, whole[rows]), "carriers depend on the other images")


def the_measured_set_leaves_the_target_out(poisoner: Poisoner) -> None:
    """Success is measured on carriers of other classes than the target, stamped with the whole trigger."""
    if not poisoner.targeted:
        return
    for shape in SHAPES:
        trial, test = Trial.of(poisoner, shape, 480), _pictures(240, shape, 11)
        made = poisoner.attacked(test, trial.context())
        _require(len(made) > 0, "nothing to measure on")
        _require(bool((made.labels != TARGET).all()), "the target class is measured on")
        if made.rows is None:
            continue
        carriers = poisoner.carriers(test, trial.task)
        kept = test.labels != TARGET if carriers is None else (test.labels != TARGET) & carriers
        _require(made.rows.tolist() == kept.nonzero().flatten().tolist(), "other images than the carriers are measured")
        _require(torch.equal(made.labels, test.labels[kept]), "the measured labels are not the true ones")
        expected = trial.whole(test.for_model()[kept], test.labels[kept])
        same = torch.allclose(made.inputs, expected, atol=TOLERANCE)
        _require(same, "the measured inputs do not carry the whole trigger")


def small_sets_work(poisoner: Poisoner) -> None:
    """Sets of one, two and three samples are poisoned too."""
    for trial in _trials(poisoner):
        for count in (1, 2, 3):
            for mode in ("replace", "append-all"):
                section = _section(ratio=1.0, mode=mode)
                made = poisoner.poison(trial.data.subset(torch.arange(count)), trial.context(section=section))
                marks = len(made.data) == len(made.poisoned) == len(made.decoys)
                _require(marks and len(made.data) >= count, f"a set of {count} samples loses some")
                _check_images(made.data.inputs, made.data.inputs, f"a poisoned set of {count}")


# --- upload attacks ---------------------------------------------------------------------------------------------------


def _view(poisoner: Poisoner | None, **more: object) -> LocalView:
    """An attacker with 24 images and a network with batch normalisation."""
    task = _task(_pictures(24, (1, 12, 12), 9))
    model: nn.Module = MODELS.create("resnet8", {"width": 4}).build(task.info, 0)
    view = LocalView(
        round=1,
        partition=0,
        part=0,
        participants=10,
        slots=parameter_slots(model),
        target=TARGET,
        poisoner=poisoner or POISONERS.create("badnets"),
        adversary=AdversarySection.model_validate({}),
        poison=_section(ratio=0.5),
        training=TrainingSection.model_validate({"batch_size": 8, "lr": 0.05}),
        received=Weights.of(model),
        model=model,
        task=task,
    )
    return replace(view, **more)  # type: ignore[arg-type]


def crafted_uploads_are_finite_and_inputs_stay(uploader: Uploader, poisoner: Poisoner | None = None) -> None:
    """``craft`` is a deterministic function to a finite float32 vector of the model's length."""
    view = _view(poisoner)
    vectors = [view.w_global, *(view.w_global + torch.randn(view.w_global.shape, generator=_rng(i)) for i in (1, 2))]
    w_global, w_benign, w_malicious = vectors
    before = [vector.clone() for vector in vectors]
    context = CraftContext(round=1, partition=0, num_participants=10, slots=view.slots, rng=_rng(0))
    clean = torch.stack([w_benign - w_global, w_malicious - w_global])
    chosen = torch.arange(len(w_global)) % 3 == 0
    for ctx in (context, replace(context, clean_updates=clean, attackers=2), replace(context, chosen=chosen)):
        first, second = (uploader.craft(w_global, w_benign, w_malicious, replace(ctx, rng=_rng(0))) for _ in range(2))
        _require(first.shape == w_global.shape, f"craft gives shape {tuple(first.shape)}, not {tuple(w_global.shape)}")
        _require(first.dtype == torch.float32, f"craft gives {first.dtype}, not float32")
        _require(bool(torch.isfinite(first).all()), "craft gives a vector that is not finite")
        _require(torch.equal(first, second), "craft differs for the same generator")
        _require(all(map(torch.equal, vectors, before)), "craft changes its inputs")


def a_round_is_finite_and_deterministic(uploader: Uploader, poisoner: Poisoner | None = None) -> None:
    """``upload`` gives a finite model, leaves what it is given alone, and draws from the view's generators only."""
    view = _view(poisoner)
    given = (view.w_global, view.received.buffers, view.task.train.inputs, view.task.train.labels)
    before, state = [tensor.clone() for tensor in given], torch.random.get_rng_state()
    upload = uploader.upload(view)
    _require(upload.parameters.shape == view.w_global.shape, "the upload has another number of parameters")
    _require(upload.buffers.shape == view.received.buffers.shape, "the upload has another number of buffers")
    kinds = {upload.parameters.dtype, upload.buffers.dtype}
    _require(kinds == {torch.float32}, "the upload is not float32")
    finite = bool(torch.isfinite(upload.parameters).all()) and bool(torch.isfinite(upload.buffers).all())
    _require(finite, "the upload is not finite")
    for slot in buffer_slots(view.model):
        negative = slot.name.endswith("running_var") and bool((upload.buffers[slot.start : slot.stop] < 0).any())
        _require(not negative, "the upload holds a negative variance: buffers must not be crafted")
    claims = {len(view.clean), len(view.poisoned)}
    _require(upload.num_examples in claims, f"the upload claims {upload.num_examples} examples, not one of {claims}")
    _require(upload.loss == upload.loss, "the reported loss is no number")
    _require(all(map(torch.equal, given, before)), "upload changes what it is given")
    kept = all(tensor.device.type == "cpu" and not tensor.requires_grad for tensor in view.memory.values())
    _require(kept, "the memory holds tensors that can't travel")
    _require(bool(uploader.state_kept) or not view.memory, "the memory is used, but state_kept doesn't say so")
    _require(torch.equal(torch.random.get_rng_state(), state), "upload draws from torch's global generator")
    again = _view(poisoner)
    repeated = uploader.upload(again)
    _require(torch.equal(repeated.parameters, upload.parameters), "upload differs for the same seeds")
    same = {name: tensor.tolist() for name, tensor in again.memory.items()} == {
        name: tensor.tolist() for name, tensor in view.memory.items()
    }
    _require(same, "the memory differs for the same seeds")


def one_alone_can_attack(uploader: Uploader, poisoner: Poisoner | None = None) -> None:
    """A lone attacker, even with a single image or as the only participant, uploads something finite."""
    data = _pictures(24, (1, 12, 12), 9)
    for view in (_view(poisoner, participants=1), _view(poisoner, task=_task(data.subset(torch.arange(2))))):
        upload = uploader.upload(view)
        _require(bool(torch.isfinite(upload.parameters).all()), "a lone attacker's upload is not finite")
