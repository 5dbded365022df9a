"""What every poisoner must do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from attacks.contracts.setting import (
    CLASSES,
    TARGET,
    Pictures,
    Trial,
    differing,
    grounds,
    main_ground,
    named,
    require,
    section_of,
    seeded,
    trials,
)
from attacks.poisoner import Poisoner

TOLERANCE = 1e-6
"""How much the answer for an image may differ with the batch that it is in: interpolations differ in their last bit."""


def check_poisoner(poisoner: Poisoner) -> None:
    """Check a poisoner by its contract; raises AssertionError that names the property it lacks."""
    for _, check in poisoner_checks():
        check(poisoner)


def poisoner_checks() -> Iterator[tuple[str, Callable[[Poisoner], None]]]:
    """Each check of a poisoner by name, to run them one by one."""
    yield from named(
        preparation_is_deterministic_and_plain,
        training_form_keeps_shape_range_and_inputs,
        training_form_is_deterministic,
        labels_follow_the_promise,
        test_form_changes_every_image_in_range,
        test_form_treats_each_image_by_itself,
        extreme_inputs_stay_in_range,
        nothing_changes_outside_the_mask,
        the_ratio_is_exact,
        append_all_keeps_the_clean_set_first,
        decoys_keep_shape_range_and_inputs,
        additions_carry_the_target,
        a_set_without_eligible_images_stays_clean,
        carriers_are_told_image_by_image,
        the_measured_set_leaves_the_target_out,
        classes_confine_it,
        small_sets_work,
    )


def preparation_is_deterministic_and_plain(poisoner: Poisoner) -> None:
    """``prepare`` gives the same for the same generator, as finite CPU tensors without gradient."""
    for trial in trials(poisoner):
        state = torch.random.get_rng_state()
        again = poisoner.prepare(trial.task, seeded(7))
        require(torch.equal(torch.random.get_rng_state(), state), "prepare draws from torch's global generator")
        require(set(again.tensors) == set(trial.artefact.tensors), "prepare is not deterministic: other names")
        for name, tensor in trial.artefact.tensors.items():
            require(torch.equal(again.tensors[name], tensor), f"prepare is not deterministic: {name}")
            require(tensor.device.type == "cpu", f"prepare leaves {name} on a device")
            require(not tensor.requires_grad, f"prepare leaves a gradient on {name}")
        require(poisoner.prepares or not trial.artefact.tensors, "prepare makes tensors but is not overridden")


def training_form_keeps_shape_range_and_inputs(poisoner: Poisoner) -> None:
    """``stamp``, ``plant`` and ``relabel`` return new tensors of the right kind and leave theirs alone."""
    for trial in trials(poisoner):
        x, y = trial.data.for_model(), trial.data.labels.clone()
        before = x.clone(), y.clone()
        for part in (None, *range(5)):
            labels = poisoner.relabel(y, trial.context(part))
            for form in (poisoner.stamp, poisoner.plant):
                made = form(x, y, trial.context(part))
                trial.ground.check(made, x, f"{form.__name__}'s result")
                require(made.data_ptr() != x.data_ptr(), f"{form.__name__} returns its own input")
            require(labels.data_ptr() != y.data_ptr(), "relabel returns its own input")
            require(labels.shape == y.shape and labels.dtype == torch.int64, "relabel's labels are not int64 [n]")
            require(0 <= int(labels.min()) <= int(labels.max()) < CLASSES, "relabel gives a label that is no class")
        require(torch.equal(x, before[0]), "stamp changes its inputs")
        require(torch.equal(y, before[1]), "relabel changes its inputs")


def training_form_is_deterministic(poisoner: Poisoner) -> None:
    """The generator in the context is the only source of chance."""
    for trial in trials(poisoner):
        x, y = trial.data.for_model(), trial.data.labels
        state = torch.random.get_rng_state()
        for form in (poisoner.stamp, poisoner.plant):
            first, second = (form(x, y, trial.context(1, 3)) for _ in range(2))
            require(torch.equal(first, second), f"{form.__name__} differs for the same generator")
        labels, again = (poisoner.relabel(y, trial.context(1, 3)) for _ in range(2))
        require(torch.equal(labels, again), "relabel differs for the same generator")
        require(torch.equal(torch.random.get_rng_state(), state), "stamp draws from torch's global generator")


def labels_follow_the_promise(poisoner: Poisoner) -> None:
    """Clean-label attacks keep labels, targeted ones give the target, untargeted ones leave inputs alone."""
    trial = Trial.of(poisoner, main_ground(poisoner))
    x, y = trial.data.for_model(), trial.data.labels
    labels = poisoner.relabel(y, trial.context())
    if poisoner.clean_label:
        require(torch.equal(labels, y), "clean_label is promised, but relabel changes labels")
    elif poisoner.targeted:
        require(bool((labels == TARGET).all()), "relabel gives poisoned samples another label than the target")
    else:
        require(torch.equal(poisoner.stamp(x, y, trial.context()), x), "an untargeted poisoner changes inputs")
        moved = bool((labels != y).any())
        require(moved == poisoner.poisons_own, "poisons_own doesn't say whether an untargeted poisoner changes labels")


def test_form_changes_every_image_in_range(poisoner: Poisoner) -> None:
    """The whole trigger is deterministic and visible in every image."""
    if not poisoner.has_trigger:
        return
    for trial in trials(poisoner):
        x, y = trial.data.for_model(), trial.data.labels
        before, made = x.clone(), trial.whole(x, y)
        trial.ground.check(made, x, "the test form")
        require(torch.equal(x, before), "the test form changes its inputs")
        require(torch.equal(trial.whole(x, y), made), "the test form is not deterministic")
        require(bool(differing(made, x).all()), "the test form leaves an image as it was")


def test_form_treats_each_image_by_itself(poisoner: Poisoner) -> None:
    """An image's trigger doesn't depend on the others of its batch."""
    if not poisoner.targeted:
        return
    for trial in trials(poisoner):
        x, y = trial.data.for_model()[:6], trial.data.labels[:6]
        together = trial.whole(x, y)
        for rows in (slice(0, 1), slice(1, 3), slice(3, 6)):
            alone = trial.whole(x[rows], y[rows])
            same = _close(alone, together[rows])
            require(same, "an image's trigger depends on the other images of the call")


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=TOLERANCE) if a.is_floating_point() else torch.equal(a, b)


def extreme_inputs_stay_in_range(poisoner: Poisoner) -> None:
    """Extreme pixels don't leave [0, 1]; texts without a word, and without room, stay texts."""
    if not poisoner.targeted:
        return
    for trial in trials(poisoner):
        for x in trial.ground.extremes():
            made = trial.whole(x, torch.zeros(2, dtype=torch.int64))
            trial.ground.check(made, x, "the test form of extreme inputs")
            if poisoner.has_trigger and not isinstance(trial.ground, Pictures):
                require(bool(differing(made, x).all()), "the trigger doesn't fit into every text")


def nothing_changes_outside_the_mask(poisoner: Poisoner) -> None:
    """Where ``mask`` names the trigger's pixels, no other pixel changes."""
    for trial in trials(poisoner) if poisoner.has_trigger else ():
        if not isinstance(trial.ground, Pictures):
            continue
        shape = trial.task.info.image_shape
        mask = poisoner.mask(shape)
        if mask is None:
            return
        require(mask.shape == shape and mask.dtype == torch.bool, f"mask is not bool {shape}")
        x, y = trial.data.for_model(), trial.data.labels
        for part in (None, *range(5)):
            for form in (poisoner.stamp, poisoner.plant):
                made = form(x, y, trial.context(part))
                outside = torch.equal(made[:, ~mask], x[:, ~mask])
                require(outside, f"{form.__name__} changes pixels outside the mask")


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


def _may_be_decoys(trial: Trial, eligible: Tensor) -> Tensor:
    carriers = trial.poisoner.decoy_carriers(trial.data, trial.context())
    return eligible if carriers is None else carriers


def the_ratio_is_exact(poisoner: Poisoner) -> None:
    """As many samples are poisoned as asked for, as many decoys made as the poisoner says, and nothing else changes."""
    trial = Trial.of(poisoner, main_ground(poisoner))
    x, y, size = trial.data.for_model(), trial.data.labels, len(trial.data)
    for scope in ("non-target", "all"):
        eligible = _may_be_poisoned(trial, scope)
        for ratio in (0.0, 0.1, 0.5, 0.9, 1.0):
            section = section_of(ratio=ratio, scope=scope)
            made = poisoner.poison(trial.data, trial.context(section=section))
            changed = differing(made.data.inputs[:size], x) | (made.data.labels[:size] != y)
            count = int(eligible.sum())
            poisoned = int(ratio * count + 0.5)
            able = _may_be_decoys(trial, eligible)
            left = int(able.sum()) - int((able & made.poisoned[:size]).sum())
            decoys = min(poisoner.decoy_count(poisoned, count), left) if poisoned else 0
            require(int(made.poisoned[:size].sum()) == poisoned, f"ratio {ratio}: another number is poisoned")
            require(int(made.decoys[:size].sum()) == decoys, f"ratio {ratio}: another number of decoys")
            require(not bool((made.poisoned[:size] & ~eligible).any()), "a sample is poisoned that may not be")
            require(not bool((changed & ~(made.poisoned | made.decoys)[:size]).any()), "an untouched sample changes")
            kept = torch.equal(made.data.labels[:size][made.decoys[:size]], y[made.decoys[:size]])
            require(kept, "decoys lose their labels")


def append_all_keeps_the_clean_set_first(poisoner: Poisoner) -> None:
    """``append-all`` adds a poisoned copy of every eligible sample behind the clean ones."""
    trial = Trial.of(poisoner, main_ground(poisoner))
    section = section_of(ratio=0.1, mode="append-all")
    made, size = poisoner.poison(trial.data, trial.context(section=section)), len(trial.data)
    require(torch.equal(made.data.inputs[:size], trial.data.for_model()), "append-all changes the clean inputs")
    require(torch.equal(made.data.labels[:size], trial.data.labels), "append-all changes the clean labels")
    eligible = _may_be_poisoned(trial, "non-target")
    count = int(eligible.sum())
    decoys = min(poisoner.decoy_count(count, count), int(_may_be_decoys(trial, eligible).sum())) if count else 0
    added = poisoner.additions(trial.data, trial.context(section=section))
    wanted = size + count + decoys + (0 if added is None else len(added[0]))
    require(len(made.data) == wanted, f"append-all makes {len(made.data)} samples, not {wanted}")


def decoys_keep_shape_range_and_inputs(poisoner: Poisoner) -> None:
    """Decoys are images of their own, neither clean nor poisoned."""
    for trial in trials(poisoner) if poisoner.decoy_count(10, 100) else ():
        x = trial.data.for_model()[:12]
        others, labels = x.flip(0).contiguous(), trial.data.labels[:12]
        before = x.clone(), others.clone()
        made = poisoner.decoys(x, others, trial.context(seed=5))
        trial.ground.check(made, x, "decoys")
        again = poisoner.decoys(x, others, trial.context(seed=5))
        require(torch.equal(made, again), "decoys differ for the same generator")
        require(bool(differing(made, x).all()), "a decoy is the clean image")
        require(bool(differing(made, trial.whole(x, labels)).all()), "a decoy is the poisoned image")
        unchanged = torch.equal(x, before[0]) and torch.equal(others, before[1])
        require(unchanged, "decoys change their inputs")


def additions_carry_the_target(poisoner: Poisoner) -> None:
    """Samples that are added are inputs of the set's kind with the target as label."""
    trial = Trial.of(poisoner, main_ground(poisoner))
    added = poisoner.additions(trial.data.subset(torch.arange(0, 48, 2)), trial.context())
    if added is None:
        return
    x, y = added
    trial.ground.check(x, torch.empty(len(y), *trial.task.info.shape), "what is added")
    require(y.tolist() == [TARGET] * len(x), "an added sample has another label than the target")
    require(len(x) > 0, "additions adds no sample; it should return None")


def a_set_without_eligible_images_stays_clean(poisoner: Poisoner) -> None:
    """Without anything to poison a set keeps all its samples as they are."""
    if poisoner.poisons_own and not poisoner.targeted:
        return  # any image may be poisoned
    trial = Trial.of(poisoner, main_ground(poisoner))
    label = TARGET + 1 if poisoner.clean_label else TARGET
    own = trial.data.subset((trial.data.labels == label).nonzero().flatten())
    for mode in ("replace", "append-all"):
        section = section_of(ratio=1.0, mode=mode)
        made = poisoner.poison(own, trial.context(section=section))
        kept = torch.equal(made.data.inputs[: len(own)], own.for_model())
        require(kept and torch.equal(made.data.labels[: len(own)], own.labels), "a clean sample is changed")
        more = len(made.data) - len(own)
        require(not more or poisoner.additions(own, trial.context()) is not None, "samples are added unannounced")


def carriers_are_told_image_by_image(poisoner: Poisoner) -> None:
    """No threshold comes from the images that are judged."""
    ground = main_ground(poisoner)
    trial, test = Trial.of(poisoner, ground), ground.samples(60, 10)
    whole = poisoner.carriers(test, trial.task)
    if whole is None:
        return
    require(whole.shape == (60,) and whole.dtype == torch.bool, "carriers are not bool [n]")
    for rows in (torch.arange(0, 60, 7), torch.arange(30), torch.tensor([5])):
        part = poisoner.carriers(test.subset(rows), trial.task)
        require(part is not None and torch.equal(part, whole[rows]), "carriers depend on the other images")


def the_measured_set_leaves_the_target_out(poisoner: Poisoner) -> None:
    """Success is measured on carriers of other classes than the target, stamped with the whole trigger."""
    if not poisoner.targeted:
        return
    for ground in grounds(poisoner):
        trial, test = Trial.of(poisoner, ground, 480), ground.samples(240, 11)
        made = poisoner.attacked(test, trial.context())
        require(len(made) > 0, "nothing to measure on")
        require(bool((made.labels != TARGET).all()), "the target class is measured on")
        if made.rows is None:
            continue
        carriers = poisoner.carriers(test, trial.task)
        kept = test.labels != TARGET if carriers is None else (test.labels != TARGET) & carriers
        require(made.rows.tolist() == kept.nonzero().flatten().tolist(), "other images than the carriers are measured")
        require(torch.equal(made.labels, test.labels[kept]), "the measured labels are not the true ones")
        expected = trial.whole(test.for_model()[kept], test.labels[kept])
        same = _close(made.inputs, expected)
        require(same, "the measured inputs do not carry the whole trigger")


def classes_confine_it(poisoner: Poisoner) -> None:
    """A task confined to classes has poison and measured samples of these alone; clean-label and natural ones choose.

    So that poison.classes means the same for all others.
    """
    if not poisoner.targeted or poisoner.clean_label or poisoner.natural:
        return
    trial, chosen = Trial.of(poisoner, main_ground(poisoner)), (TARGET + 1) % CLASSES
    carriers = poisoner.carriers(trial.data, trial.task)
    if carriers is not None:  # it is about some classes anyway
        chosen = next(int(label) for label in trial.data.labels[carriers].tolist() if label != TARGET)
    context = replace(trial.context(section=section_of(ratio=1.0)), task=replace(trial.task, classes=(chosen,)))
    made = poisoner.poison(trial.data, context)
    true = trial.data.labels[made.poisoned[: len(trial.data)]]
    require(len(true) > 0 and bool((true == chosen).all()), "another class than the task's is poisoned")
    measured = poisoner.attacked(trial.data, replace(context, part=None)).labels
    require(len(measured) > 0 and bool((measured == chosen).all()), "another class than the task's is measured")


def small_sets_work(poisoner: Poisoner) -> None:
    """Sets of one, two and three samples are poisoned too."""
    for trial in trials(poisoner):
        for count in (1, 2, 3):
            for mode in ("replace", "append-all"):
                section = section_of(ratio=1.0, mode=mode)
                made = poisoner.poison(trial.data.subset(torch.arange(count)), trial.context(section=section))
                marks = len(made.data) == len(made.poisoned) == len(made.decoys)
                require(marks and len(made.data) >= count, f"a set of {count} samples loses some")
                trial.ground.check(made.data.inputs, made.data.inputs, f"a poisoned set of {count}")
