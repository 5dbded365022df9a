"""Every registered purifier keeps the same promises; a new purifier is tested unasked."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from defenses.base import PURIFIERS, Purifier
from defenses.contracts import PURIFIER_PROMISES
from defenses.contracts.promises import check_one
from defenses.contracts.purifiers import purify
from defenses.contracts.server_setting import make_data, make_guide, make_model, same, snapshot

NAMES = sorted(PURIFIERS)


@pytest.fixture(params=NAMES)
def purifier(request: pytest.FixtureRequest) -> Purifier:
    return PURIFIERS.create(request.param)


def test_the_built_in_purifiers_are_registered() -> None:
    assert {"fine-tune", "clip-guided", "clip-guided-plus"} <= set(NAMES)


@pytest.mark.parametrize("promise", PURIFIER_PROMISES)
def test_keeps_its_promise(purifier: Purifier, promise: str) -> None:
    check_one(purifier, PURIFIER_PROMISES, promise)


def test_another_seed_ends_elsewhere(purifier: Purifier) -> None:
    models = [make_model() for _ in range(2)]
    for model, seed in zip(models, (5, 6), strict=True):
        purify(purifier.model_copy(update={"batch_size": 8}), model, seed=seed)
    assert not same(snapshot(models[0]), snapshot(models[1]))


def test_names_its_source(purifier: Purifier) -> None:
    assert purifier.paper


def test_changes_the_model_and_reports_finite_numbers(purifier: Purifier) -> None:
    model = make_model()
    before = snapshot(model)
    result = purify(purifier, model)
    assert not same(before, snapshot(model))
    assert all(bool(torch.isfinite(t).all()) for t in model.state_dict().values())
    assert all(math.isfinite(v) for v in result.facts.values())
    assert result.facts["diverged"] == 0.0
    assert all(t.device.type == "cpu" and not t.requires_grad for t in result.state.values())


def test_frozen_parameters_and_buffers_stay(purifier: Purifier) -> None:
    model = make_model()
    first = next(model.parameters())
    first.requires_grad_(False)
    before = snapshot(model)
    purify(purifier.model_copy(update={"bn_mode": "eval"}), model)
    after = snapshot(model)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(torch.equal(before[name], after[name]) for name in before if name not in trainable)


def test_zero_epochs_change_nothing(purifier: Purifier) -> None:
    off = {name: 0 for name in type(purifier).model_fields if "epochs" in name}
    assert off
    model = make_model()
    before = snapshot(model)
    result = purify(PURIFIERS.create(purifier.name, off), model)
    assert same(before, snapshot(model))
    assert result.facts == {"diverged": 0.0}


def test_a_diverging_purifier_is_undone_and_says_so(purifier: Purifier) -> None:
    if purifier.name == "activation-bounds":
        pytest.skip("it changes no parameter: whatever finite bounds it ends with leave a finite model")
    kept = dict(purify(purifier, make_model()).state)
    model = make_model()
    before = snapshot(model)
    wild = PURIFIERS.create(purifier.name, {"lr": 1e30, "grad_clip": 0.0})
    result = purify(wild, model, state=kept)
    assert result.facts == {"diverged": 1.0}
    assert same(before, snapshot(model))
    assert same(kept, dict(result.state))


def test_a_model_that_is_broken_already_does_not_crash_the_purify(purifier: Purifier) -> None:
    model = make_model()
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    assert purify(purifier, model).facts == {"diverged": 1.0}
    assert not model.training


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_batch_norm_statistics_move_in_train_mode_only(purifier: Purifier, mode: str) -> None:
    model = make_model()
    before = snapshot(model)
    data = make_data(17, augmented=False)  # 17 = 16 + 1: a lone last image must not reach batch norm
    purify(PURIFIERS.create(purifier.name, {"bn_mode": mode, "batch_size": 16}), model, data)
    moved = {name for name, t in snapshot(model).items() if "running" in name and not torch.equal(t, before[name])}
    assert bool(moved) is (mode == "train")


def test_channels_last_gives_the_same_model(purifier: Purifier) -> None:
    plain, last = make_model(), make_model(channels_last=True)
    purify(purifier, plain)
    purify(purifier, last)
    assert any(p.ndim == 4 and not p.is_contiguous() for p in last.parameters())
    for name, tensor in snapshot(plain).items():
        torch.testing.assert_close(snapshot(last)[name], tensor, rtol=1e-3, atol=1e-4)


def test_originals_only_equals_a_set_without_augmentation(purifier: Purifier) -> None:
    data = make_data()
    bare = replace(data, augmented=None)
    a, b = make_model(), make_model()
    guide = make_guide(data)
    short = type(guide)(guide.embeddings[:26], guide.text_embeddings, guide.logits[:26])
    rngs = [torch.Generator().manual_seed(1) for _ in range(2)]
    PURIFIERS.create(purifier.name, {"use_augmented": False}).purify(a, data, guide, rngs[0], {})
    purifier.purify(b, bare, short, rngs[1], {})
    assert same(snapshot(a), snapshot(b))


def test_a_guide_of_other_images_raises(purifier: Purifier) -> None:
    with pytest.raises(ValueError, match="guide describes 10 images, the server has 52"):
        purifier.purify(make_model(), make_data(), make_guide(make_data(5)), torch.Generator(), {})


def test_a_missing_guide_is_told_before_anything_happens(purifier: Purifier) -> None:
    model = make_model()
    before = snapshot(model)
    if purifier.needs.guide:
        with pytest.raises(ValueError, match=purifier.name):
            purifier.purify(model, make_data(), None, torch.Generator(), {})
        assert same(before, snapshot(model))
    else:
        purifier.purify(model, make_data(), None, torch.Generator(), {})
        assert not same(before, snapshot(model))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_works_on_cuda(purifier: Purifier) -> None:
    model = make_model().to("cuda")
    result = purify(purifier, model)
    assert result.facts["diverged"] == 0.0
    assert all(t.device.type == "cpu" for t in result.state.values())
    purify(purifier, model, state=dict(result.state))
