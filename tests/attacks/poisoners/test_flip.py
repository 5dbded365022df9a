"""FLIP: the exact gradient, the steps, which labels are flipped, and images that stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from attacks.poisoner import PoisonContext
from attacks.poisoners.flip import LOGITS, ROWS, Flip, best_flip
from attacks.support.trajectory import Checkpoint, Expert, Nesterov, mismatch
from fedcrucible_core.config.sections import PoisonSection
from fedcrucible_core.learning.models import MODELS
from tests.support.tiny_task import CLASSES, GREY, context, generator, labelled, make_task

TARGET = 2
QUICK = Flip(epochs=2, samples=60, batch_size=24, checkpoint_every=1, passes=3)


@pytest.fixture(scope="module")
def prepared() -> PoisonContext:
    task = make_task(labelled(72, GREY), TARGET)
    section = PoisonSection(target_label=TARGET, ratio=0.2)
    return replace(context(task, None, section=section), artefact=QUICK.prepare(task, generator(1)))


def test_steps_against_a_loop() -> None:
    ours, velocity = {"w": torch.tensor([0.5], dtype=torch.float64)}, {"w": torch.zeros(1, dtype=torch.float64)}
    w, v = 0.5, 0.0
    for gradient in (1.0, -0.5, 0.25, 0.0):
        g = gradient + 0.01 * w
        v = 0.9 * v + g
        w = w - 0.1 * (g + 0.9 * v)
        given = {"w": torch.tensor([gradient], dtype=torch.float64)}
        ours, velocity = Nesterov(0.1, 0.9, 0.01).step(ours, velocity, given)
        assert float(ours["w"]) == pytest.approx(w, rel=1e-12)
        assert float(velocity["w"]) == pytest.approx(v, rel=1e-12)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_forward_derivative_is_the_gradient_of_the_unrolled_step(norm: str) -> None:
    """Against two backward passes through the student's step, in float64, batch norm on the batch's own statistics."""
    task = make_task(labelled(8, (1, 12, 12)))
    model = MODELS.create("resnet8", {"width": 4, "norm": norm}).build(task.info, 1).double()
    expert = Expert(model, Nesterov(0.1, 0.9, 2e-4), 8)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    velocity = {name: 0.01 * torch.ones_like(p) for name, p in weights.items()}
    at = Checkpoint(weights, velocity, {name: b.clone() for name, b in model.named_buffers()})
    clean = task.train.for_model().double()
    poisoned = (clean * 0.5).contiguous(), torch.full((8,), TARGET)
    q = torch.rand(8, CLASSES, generator=generator(3), dtype=torch.float64).softmax(1)

    loss, slope = mismatch(expert, at, poisoned, clean, q)

    learned, start = q.clone().requires_grad_(), {n: w.clone().requires_grad_() for n, w in weights.items()}
    kept = {name: b.clone() for name, b in at.buffers.items()}
    said = F.log_softmax(functional_call(model, {**start, **kept}, (clean,)), 1)
    found = torch.autograd.grad(-(learned * said).sum(1).mean(), list(start.values()), create_graph=True)
    student, _ = expert.rule.step(start, velocity, dict(zip(start, found, strict=True)))
    hard = F.one_hot(poisoned[1], CLASSES).double()
    wanted, _ = expert.rule.step(weights, velocity, expert.gradient(at, poisoned[0], hard))
    moved = sum((weights[n] - wanted[n]).pow(2).sum() for n in wanted)
    expected = sum((student[n] - wanted[n]).pow(2).sum() for n in wanted) / moved
    (by_label,) = torch.autograd.grad(expected, learned)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-9)
    assert torch.allclose(slope, by_label, rtol=1e-6, atol=1e-12)


def test_images_stay_byte_for_byte_and_exactly_as_many_labels_differ(prepared: PoisonContext) -> None:
    own = prepared.task.train
    made = QUICK.poison(own, prepared)
    assert torch.equal(made.data.inputs, own.for_model())
    differ = made.data.labels != own.labels
    assert int(differ.sum()) == 12, "0.2 of 60 images of other classes"
    assert torch.equal(differ, made.poisoned)


def test_the_largest_margins_are_flipped_to_their_own_class(prepared: PoisonContext) -> None:
    own, logits, rows = prepared.task.train, prepared.artefact.tensors[LOGITS], prepared.artefact.tensors[ROWS]
    margins = {}
    for row, values in zip(rows.tolist(), logits.double().tolist(), strict=True):
        true = int(own.labels[row])
        if true != TARGET:
            wrong = max((value, label) for label, value in enumerate(values) if label != true)
            margins[row] = (wrong[0] - values[true], wrong[1])
    best = sorted(margins, key=lambda row: -margins[row][0])[:12]
    made = QUICK.poison(own, prepared)
    assert sorted(best) == made.poisoned.nonzero().flatten().tolist()
    assert [int(made.data.labels[row]) for row in best] == [margins[row][1] for row in best]


def test_images_without_learned_labels_come_last_and_get_the_target(prepared: PoisonContext) -> None:
    own = labelled(12, GREY, seed=77)
    section = PoisonSection(target_label=TARGET, ratio=1.0)
    made = QUICK.poison(own, replace(prepared, section=section))
    assert bool((made.data.labels[made.poisoned] == TARGET).all())
    mixed = prepared.task.train.subset(prepared.artefact.tensors[ROWS][:6])
    joined = type(own)(torch.cat([own.inputs, mixed.inputs]), torch.cat([own.labels, mixed.labels]))
    rows = (joined.labels != TARGET).nonzero().flatten()
    order = QUICK.order(joined, rows, prepared).tolist()
    known = int((mixed.labels != TARGET).sum())
    assert min(order[:known]) >= 12 > max(order[known:])


def test_appended_copies_get_the_learned_labels_too(prepared: PoisonContext) -> None:
    own = prepared.task.train
    section = PoisonSection(target_label=TARGET, mode="append-all")
    made = QUICK.poison(own, replace(prepared, section=section))
    true = own.labels[own.labels != TARGET]
    assert torch.equal(made.data.labels[: len(own)], own.labels)
    assert len(made.data) == len(own) + len(true)
    assert bool((made.data.labels[len(own) :] != true).all())


def test_the_expert_sees_added_images_and_each_knows_its_clean_one() -> None:
    task = make_task(labelled(60, GREY), TARGET)
    images, labels = task.train.for_model(), task.train.labels
    source, triggered, given = QUICK._poisoned(images, labels, task, generator(1))
    assert len(triggered) == 60 // CLASSES
    assert torch.equal(source[:60], torch.arange(60))
    assert torch.equal(given[:60], labels), "added, not replaced"
    assert bool((given[60:] == TARGET).all())
    assert bool((labels[source[60:]] != TARGET).all())
    assert torch.equal(triggered, QUICK.triggered(images[source[60:]]))


def test_learning_moves_labels_and_tells_how_well(prepared: PoisonContext) -> None:
    start = 5.0 * F.one_hot(prepared.task.train.labels[prepared.artefact.tensors[ROWS]], CLASSES)
    assert not torch.equal(prepared.artefact.tensors[LOGITS], start.float())
    assert float(prepared.artefact.facts["last_mismatch"]) > 0.0


def test_a_reader_is_told_that_it_is_weak() -> None:
    assert "flip is weak here" in QUICK.notes(1)[0]


def test_margins_leave_the_true_class_out() -> None:
    margin, wrong = best_flip(torch.tensor([[5.0, 1.0, 2.0], [0.0, 3.0, 3.5]]), torch.tensor([0, 2]))
    assert margin.tolist() == [-3.0, -0.5]
    assert wrong.tolist() == [2, 1]


@pytest.mark.parametrize(("trigger", "pixels"), [("sine", 28 * 26), ("patch", 9), ("pixel", 1), ("corners", 36)])
def test_triggers(trigger: str, pixels: int) -> None:
    x = torch.full((1, *GREY), 0.4)
    made = Flip.model_validate({"trigger": trigger}).triggered(x)
    assert int(((made - x).abs() > 1e-6).sum()) == pytest.approx(pixels, abs=56 if trigger == "sine" else 0)
