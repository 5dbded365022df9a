"""What every registered attack must do, unasked."""

import pytest
import torch
from attacks.base import ATTACKS, Attack, CraftContext

from attacks.evaluation import triggered_test_set
from attacks.poisoning import poison_dataset
from fedcrucible_core.config.sections import PoisonSection, TrainingSection
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import ResNet8, SmallCNN
from fedcrucible_core.learning.training import TrainingHook
from fedcrucible_core.learning.vector import buffer_slots, flatten_parameters, parameter_slots
from tests.support.attack_view_fake import fake_view
from tests.support.tiny_task import CLASSES, COLOUR, GREY, context, generator, labelled, make_task

SHAPES = [GREY, COLOUR]
TARGET = 3
SENDS_ITS_MODEL = {n for n in ATTACKS if ATTACKS[n].craft is Attack.craft}
"""Data-only attacks hand the trained model on as it is."""
EVERY = pytest.mark.parametrize("name", list(ATTACKS))
DEFAULTS = {name: ATTACKS.create(name) for name in ATTACKS}
TRIGGERED = pytest.mark.parametrize("name", [n for n in DEFAULTS if DEFAULTS[n].has_trigger])
TARGETED = pytest.mark.parametrize("name", [n for n in DEFAULTS if DEFAULTS[n].targeted])
SHAPED = pytest.mark.parametrize("shape", SHAPES, ids=["grey", "colour"])


def differing(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a != b).flatten(1).any(1)


def may_be_poisoned(attack, data, task, scope: str) -> torch.Tensor:
    """The obvious rule, image by image."""
    carriers = attack.carriers(data, task)
    found = []
    for row, label in enumerate(data.labels.tolist()):
        allowed = carriers is None or bool(carriers[row])
        if attack.clean_label:
            allowed = allowed and label == TARGET
        elif attack.targeted and scope == "non-target":
            allowed = allowed and label != TARGET
        found.append(allowed and attack.poisons_own)
    return torch.tensor(found)


@EVERY
@SHAPED
def test_training_form_keeps_shapes_range_and_inputs(name, shape):
    attack, data = ATTACKS.create(name), labelled(12, shape)
    task, x, y = make_task(data, TARGET), data.for_model(), data.labels.clone()
    x_before, y_before = x.clone(), y.clone()
    for part in range(5):
        px, py = attack.poison_train(x, y, context(task, part))
        assert px.shape == x.shape
        assert px.dtype == torch.float32
        assert py.shape == y.shape
        assert py.dtype == torch.int64
        assert float(px.min()) >= 0.0
        assert float(px.max()) <= 1.0
        assert px.data_ptr() != x.data_ptr()
        assert py.data_ptr() != y.data_ptr()
        assert 0 <= int(py.min()) <= int(py.max()) < CLASSES
    assert torch.equal(x, x_before)
    assert torch.equal(y, y_before)


@EVERY
@SHAPED
def test_training_form_is_deterministic(name, shape):
    data = labelled(12, shape)
    task, x, y = make_task(data, TARGET), data.for_model(), data.labels
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = ATTACKS.create(name).poison_train(x, y, context(task, 1, 3))
    second = ATTACKS.create(name).poison_train(x, y, context(task, 1, 3))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(torch.random.get_rng_state(), state)


@EVERY
def test_label_rule(name):
    attack, data = ATTACKS.create(name), labelled(12)
    x, y = data.for_model(), data.labels
    images, labels = attack.poison_train(x, y, context(make_task(data, TARGET)))
    if not attack.targeted:
        assert torch.equal(images, x)
        assert bool((labels != y).all()) if attack.poisons_own else torch.equal(labels, y)
    elif attack.clean_label:
        assert torch.equal(labels, y)
    else:
        assert labels.tolist() == [TARGET] * 12


@TRIGGERED
@SHAPED
def test_test_form_is_deterministic_in_range_and_changes_every_image(name, shape):
    attack, x = ATTACKS.create(name), labelled(10, shape).for_model()
    before = x.clone()
    triggered = attack.poison_test(x)
    assert torch.equal(x, before)
    assert torch.equal(attack.poison_test(x), triggered)
    assert triggered.shape == x.shape
    assert triggered.dtype == torch.float32
    assert float(triggered.min()) >= 0.0
    assert float(triggered.max()) <= 1.0
    assert bool(differing(triggered, x).all())


@TARGETED
@SHAPED
def test_test_form_treats_each_image_by_itself(name, shape):
    attack, x = ATTACKS.create(name), labelled(6, shape).for_model()
    together = attack.poison_test(x)
    alone = torch.cat([attack.poison_test(x[i : i + 1]) for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-6)


@TARGETED
@SHAPED
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_images_stay_in_range(name, shape, value):
    triggered = ATTACKS.create(name).poison_test(torch.full((2, *shape), value))
    assert float(triggered.min()) >= 0.0
    assert float(triggered.max()) <= 1.0


@TRIGGERED
@SHAPED
def test_nothing_changes_outside_the_mask(name, shape):
    attack, data = ATTACKS.create(name), labelled(12, shape)
    mask = attack.mask(shape)
    if mask is None:
        pytest.skip("the trigger may change any pixel")
    assert mask.shape == shape
    assert mask.dtype == torch.bool
    x, y = data.for_model(), data.labels
    assert torch.equal(attack.poison_test(x)[:, ~mask], x[:, ~mask])
    for part in range(5):
        px, _ = attack.poison_train(x, y, context(make_task(data, TARGET), part))
        assert torch.equal(px[:, ~mask], x[:, ~mask])


@EVERY
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("scope", ["non-target", "all"])
def test_ratio_is_exact(name, ratio, scope):
    """Poisoned samples are exactly the share asked for, decoys as many as the attack says, and nothing else changes."""
    attack, data = ATTACKS.create(name), labelled(48)
    task = make_task(data, TARGET)
    section = PoisonSection(target_label=TARGET, ratio=ratio, scope=scope)
    px, py = poison_dataset(torch.arange(48), attack, section, context(task))
    x, y = data.for_model(), data.labels
    changed = differing(px[:48], x) | (py[:48] != y)
    eligible = may_be_poisoned(attack, data, task, scope)
    count = int(eligible.sum())
    poisoned = int(ratio * count + 0.5)
    decoys = min(attack.decoy_count(poisoned, count), count - poisoned) if poisoned else 0
    assert int(changed.sum()) == poisoned + decoys
    assert not bool((changed & ~eligible).any())
    if scope == "non-target" and not attack.clean_label:
        assert int((py[:48] != y).sum()) == poisoned, "decoys keep their labels"
        if attack.targeted:
            assert bool((py[:48][py[:48] != y] == TARGET).all())


@EVERY
def test_append_all_keeps_the_clean_set_first(name):
    attack, data = ATTACKS.create(name), labelled(48)
    task = make_task(data, TARGET)
    section = PoisonSection(target_label=TARGET, mode="append-all", ratio=0.1)
    px, py = poison_dataset(torch.arange(48), attack, section, context(task))
    x, y = data.for_model(), data.labels
    assert torch.equal(px[:48], x)
    assert torch.equal(py[:48], y)
    count = int(may_be_poisoned(attack, data, task, "non-target").sum())
    decoys = min(attack.decoy_count(count, count), count) if count else 0
    added = attack.additions(torch.arange(48), context(task))
    assert len(px) == len(py) == 48 + count + decoys + (0 if added is None else len(added[0]))
    if attack.targeted and not attack.clean_label:
        assert bool((py[48 : 48 + count] == TARGET).all())
        assert bool((py[48 + count : 48 + count + decoys] != TARGET).all())


@EVERY
@SHAPED
def test_decoys_keep_shape_range_and_inputs(name, shape):
    attack, data = ATTACKS.create(name), labelled(12, shape)
    if not attack.decoy_count(10, 100):
        with pytest.raises(TypeError, match="has no decoys"):
            attack.decoys(data.for_model(), data.for_model(), context())
        return
    x = data.for_model()
    others = x.flip(0).contiguous()
    before = x.clone(), others.clone()
    made = attack.decoys(x, others, context(seed=5))
    assert torch.equal(made, attack.decoys(x, others, context(seed=5)))
    assert made.shape == x.shape
    assert made.dtype == torch.float32
    assert float(made.min()) >= 0.0
    assert float(made.max()) <= 1.0
    assert bool(differing(made, x).all())
    assert bool(differing(made, attack.poison_test(x)).all()), "a decoy is not a poisoned image with its true label"
    assert torch.equal(x, before[0])
    assert torch.equal(others, before[1])


@EVERY
def test_additions_carry_the_target_and_belong_to_nobody_else(name):
    attack, data = ATTACKS.create(name), labelled(48)
    added = attack.additions(torch.arange(0, 48, 2), context(make_task(data, TARGET)))
    if added is None:
        return
    x, y = added
    assert x.shape[1:] == COLOUR
    assert x.dtype == torch.float32
    assert 0.0 <= float(x.min()) <= float(x.max()) <= 1.0
    assert y.tolist() == [TARGET] * len(x)
    assert len(x) > 0


@EVERY
def test_a_client_without_eligible_images_stays_clean(name):
    attack, data = ATTACKS.create(name), labelled(48)
    if attack.poisons_own and not attack.targeted:
        pytest.skip("any image may be poisoned")
    label = TARGET + 1 if attack.clean_label else TARGET
    own = (data.labels == label).nonzero().flatten()
    for mode in ("replace", "append-all"):
        section = PoisonSection(target_label=TARGET, ratio=1.0, mode=mode)
        px, py = poison_dataset(own, attack, section, context(make_task(data, TARGET)))
        assert torch.equal(px[: len(own)], data.for_model()[own])
        assert torch.equal(py[: len(own)], data.labels[own])
        assert name in ("edge-case", "semantic") or len(px) == len(own)


@EVERY
def test_one_rule_tells_carriers_in_training_and_test(name):
    """No threshold may come from the images that are judged."""
    attack, data, test = ATTACKS.create(name), labelled(48), labelled(60, seed=10)
    task = make_task(data, TARGET)
    whole = attack.carriers(test, task)
    if whole is None:
        return
    assert whole.shape == (60,)
    assert whole.dtype == torch.bool
    for rows in (torch.arange(0, 60, 7), torch.arange(30), torch.tensor([5])):
        assert torch.equal(attack.carriers(test.subset(rows), task), whole[rows])


@TARGETED
@SHAPED
def test_triggered_test_set_leaves_the_target_class_out(name, shape):
    attack, data, test = ATTACKS.create(name), labelled(480, shape), labelled(240, shape, seed=11)
    task = make_task(data, TARGET)
    found = triggered_test_set(attack, test, task)
    carriers = attack.carriers(test, task)
    kept = test.labels != TARGET if carriers is None else (test.labels != TARGET) & carriers
    assert found.rows is not None
    assert found.rows.tolist() == kept.nonzero().flatten().tolist()
    assert torch.equal(found.labels, test.labels[kept])
    assert bool((found.labels != TARGET).all())
    assert torch.equal(found.inputs, attack.poison_test(test.for_model()[kept]))


@pytest.mark.parametrize("name", [n for n in DEFAULTS if not DEFAULTS[n].targeted])
def test_no_success_is_measured_without_a_target(name):
    data = labelled(12, GREY)
    with pytest.raises(TypeError, match=f"'{name}' is untargeted"):
        triggered_test_set(ATTACKS.create(name), data, make_task(data, TARGET))


def craft_context(slots, **more):
    return CraftContext(round=1, partition=0, num_participants=10, slots=slots, rng=generator(), **more)


@EVERY
def test_upload_is_a_finite_vector_and_inputs_stay(name):
    attack = ATTACKS.create(name)
    info = DataInfo("small", tuple("abcde"), (1, 28, 28), (0.5,), (0.5,))
    vectors = [flatten_parameters(SmallCNN(width=2, hidden=8).build(info, seed)) for seed in range(3)]
    slots = parameter_slots(SmallCNN(width=2, hidden=8).build(info, 0))
    before = [v.clone() for v in vectors]
    clean = torch.stack([vectors[1] - vectors[0], vectors[2] - vectors[0]])
    chosen = torch.arange(len(vectors[0])) % 3 == 0
    for more in ({}, {"clean_updates": clean, "attackers": 2}, {"chosen": chosen}):
        upload = attack.craft(*vectors, craft_context(slots, **more))
        assert upload.shape == vectors[0].shape
        assert upload.dtype == torch.float32
        assert bool(torch.isfinite(upload).all())
        assert all(torch.equal(a, b) for a, b in zip(vectors, before, strict=True))
        assert all(upload.data_ptr() != v.data_ptr() for v in vectors) or name in SENDS_ITS_MODEL
        assert torch.equal(attack.craft(*vectors, craft_context(slots, **more)), upload)


def small_view(name, **more):
    """An attacker with 24 images and a network with batch normalisation."""
    data = labelled(24, (1, 12, 12))
    model = ResNet8(width=4).build(make_task(data).info, 0)
    section = PoisonSection(target_label=TARGET, ratio=0.5)
    training = TrainingSection(batch_size=8, lr=0.05)
    return fake_view(ATTACKS.create(name), model, data, section=section, training=training, **more)


@EVERY
def test_a_round_of_an_attacker(name):
    attack, seen = ATTACKS.create(name), small_view(name)
    before = [t.clone() for t in (seen.w_global, seen.buffers, seen.clean.inputs, seen.clean.labels)]
    state = torch.random.get_rng_state()
    upload = attack.upload(seen)
    assert upload.parameters.shape == seen.w_global.shape
    assert upload.parameters.dtype == upload.buffers.dtype == torch.float32
    assert upload.buffers.shape == seen.buffers.shape
    assert bool(torch.isfinite(upload.parameters - seen.w_global).all())
    assert bool(torch.isfinite(upload.buffers).all())
    variances = [s for s in buffer_slots(seen.model) if s.name.endswith("running_var")]
    assert variances
    assert all(bool((upload.buffers[s.start : s.stop] >= 0).all()) for s in variances), "buffers are never crafted"
    assert upload.num_examples in (len(seen.clean), len(seen.poisoned))
    assert upload.loss == upload.loss
    for a, b in zip(before, (seen.w_global, seen.buffers, seen.clean.inputs, seen.clean.labels), strict=True):
        assert torch.equal(a, b)
    assert all(t.device.type == "cpu" and not t.requires_grad for t in seen.memory.values())
    assert torch.equal(torch.random.get_rng_state(), state), "every draw comes from a generator of the view"
    again = small_view(name)
    repeated = attack.upload(again)
    assert torch.equal(repeated.parameters, upload.parameters)
    assert {k: v.tolist() for k, v in again.memory.items()} == {k: v.tolist() for k, v in seen.memory.items()}


@EVERY
def test_without_a_hook_of_its_own_an_attack_has_none(name):
    attack = ATTACKS.create(name)
    if type(attack).hook is Attack.hook:
        assert attack.hook(small_view(name)) is None
    else:
        assert isinstance(attack.hook(small_view(name)), TrainingHook)


@EVERY
def test_documentation_is_there(name):
    cls = ATTACKS[name]
    assert cls.__doc__
    assert name == "none" or cls.paper
    for key, field in cls.model_fields.items():
        assert field.description, f"{name}.{key} needs a description"
