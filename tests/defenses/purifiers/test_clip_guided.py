"""CLIP-Fed's purifier as printed, our stronger variant, and the fine-tuning control."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from defenses.base import Purified, Purifier
from defenses.contracts.server_setting import (
    CLASSES,
    GUIDE_DIM,
    INFO,
    make_data,
    make_guide,
    make_model,
    same,
    snapshot,
)
from defenses.purifiers.clip_guided import ClipGuided
from defenses.purifiers.clip_guided_plus import ClipGuidedPlus
from defenses.purifiers.fine_tune import FineTune
from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import GuideTargets, ServerData
from fedcrucible_core.foundation.patches import random_patches
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.models import ResNet8, SplitModel

STILL = 1e-30
"""A learning rate that changes no float32 weight: losses are then those of the model as it was."""


def run(purifier: Purifier, model: SplitModel, state: dict[str, torch.Tensor] | None = None, seed: int = 5) -> Purified:
    data = make_data()
    return purifier.purify(model, data, make_guide(data), torch.Generator().manual_seed(seed), state or {})


class Watched(ClipGuided):
    """Records which parameters each phase may change."""

    def minimise(self, model: SplitModel, parameters: Iterable[torch.Tensor], *args: Any, **kwargs: Any) -> list[float]:
        chosen = list(parameters)
        names = {id(p): name for name, p in model.named_parameters()}
        PHASES.append([names.get(id(p), "h") for p in chosen])
        return super().minimise(model, chosen, *args, **kwargs)


PHASES: list[list[str]] = []


def test_rectification_leaves_the_classifier_bit_identical() -> None:
    model = make_model()
    before = snapshot(model)
    run(ClipGuided(knowledge_transfer=False, fr_epochs=2, lr=0.1), model)
    after = snapshot(model)
    for name in before:
        untouched = name.startswith("classifier") or "running" in name or "num_batches" in name
        assert torch.equal(before[name], after[name]) is untouched, name


def test_phases_train_h_then_features_and_h_then_everything() -> None:
    PHASES.clear()
    model = make_model()
    state = dict(run(Watched(), model).state)
    features = [name for name, _ in model.named_parameters() if name.startswith("features")]
    everything = [name for name, _ in model.named_parameters()]
    assert [["h", "h"], [*features, "h", "h"], everything] == PHASES
    PHASES.clear()
    run(Watched(), model, state)
    assert [[*features, "h", "h"], everything] == PHASES  # the warm start happens once


def test_first_loss_is_that_of_a_slow_loop() -> None:
    model, data = make_model(), make_data()
    guide = make_guide(data)
    g = torch.Generator().manual_seed(0)
    state = {
        "projection.weight": torch.randn(GUIDE_DIM, model.feature_dim, generator=g),
        "projection.bias": torch.randn(GUIDE_DIM, generator=g),
    }
    server = data.training_set()
    images, labels = server.inputs, server.labels
    with torch.no_grad():
        z = (model.embed(images) @ state["projection.weight"].T + state["projection.bias"]).double()
    image, text = guide.embeddings.double(), guide.text_embeddings.double()

    def cos(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(a @ b) / (float(a.norm()) * float(b.norm()))

    def loop(per_sample: bool, tau: float) -> float:
        own = [image[labels == c].mean(0) for c in range(CLASSES)]
        extracted = [z[labels == c].mean(0) for c in range(CLASSES)]
        total = 0.0
        for i, y in enumerate(labels.tolist()):
            positive = image[i] if per_sample else own[y]
            others = [k for k in range(CLASSES) if k != y]
            total += -cos(z[i], positive) / tau + math.log(sum(math.exp(cos(z[i], extracted[k]) / tau) for k in others))
            total += -cos(z[i], text[y]) / tau + math.log(sum(math.exp(cos(z[i], text[k]) / tau) for k in others))
        return total / len(labels)

    for prototype in ("class-mean", "per-sample"):
        purifier = ClipGuided.model_validate({"lr": STILL, "prototype": prototype, "tau": 0.2, "beta": 0.5})
        facts = run(purifier, make_model(), state).facts
        assert facts["fr_loss_first"] == pytest.approx(loop(prototype == "per-sample", 0.2), rel=1e-5)
        with torch.no_grad():
            logits = model(images).double()
        student, teacher = F.log_softmax(logits, 1), F.softmax(guide.logits.double(), 1)
        divergence = (teacher * (teacher.log() - student)).sum(1)
        cross = -student[torch.arange(len(labels)), labels]
        assert facts["kt_loss_first"] == pytest.approx(float((cross + 0.5 * divergence).mean()), rel=1e-5)


def test_prototypes_are_refreshed_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    from defenses.support.rectification import Contrast

    seen: list[torch.Tensor] = []
    original: Callable[[Contrast, torch.Tensor], None] = Contrast.refresh

    def refresh(self: Contrast, features: torch.Tensor) -> None:
        original(self, features)
        assert not self.prototypes.requires_grad
        seen.append(self.prototypes.clone())

    monkeypatch.setattr(Contrast, "refresh", refresh)
    run(ClipGuided(fr_epochs=3, warm_start_epochs=2), make_model())
    assert len(seen) == 5
    assert all(not torch.equal(a, b) for a, b in pairwise(seen))


def test_rectification_lowers_its_own_loss() -> None:
    facts = run(ClipGuided(knowledge_transfer=False, fr_epochs=8, lr=0.05), make_model()).facts
    assert facts["fr_loss_last"] < facts["fr_loss_first"] - 1.0


def test_transfer_lowers_its_own_loss() -> None:
    facts = run(ClipGuided(feature_rectification=False, kt_epochs=25, lr=0.05, batch_size=8), make_model()).facts
    assert facts["kt_loss_last"] < facts["kt_loss_first"] - 0.3
    assert "fr_loss_first" not in facts


def test_transfer_without_guide_term_is_fine_tuning() -> None:
    a, b, c = make_model(), make_model(), make_model()
    run(ClipGuided(feature_rectification=False, beta=0.0, kt_epochs=2), a)
    run(FineTune(epochs=2), b)
    run(ClipGuided(feature_rectification=False, beta=0.5, kt_epochs=2), c)
    assert same(snapshot(a), snapshot(b))
    assert not same(snapshot(a), snapshot(c))


def test_h_is_kept_from_round_to_round() -> None:
    model = make_model()
    first = dict(run(ClipGuided(), model).state)
    assert {name: tuple(t.shape) for name, t in first.items()} == {
        "projection.weight": (GUIDE_DIM, model.feature_dim),
        "projection.bias": (GUIDE_DIM,),
    }
    assert same(dict(run(ClipGuided(lr=STILL), make_model(), first, seed=99).state), first)
    skipped = run(ClipGuided(feature_rectification=False), make_model(), first)
    assert same(dict(skipped.state), first)


def test_a_saved_h_of_other_dimensions_is_refused() -> None:
    with pytest.raises(ValueError, match="doesn't fit"):
        run(ClipGuided(), make_model(), {"projection.weight": torch.zeros(3, 3), "projection.bias": torch.zeros(3)})


def test_frozen_orthogonal_map_never_changes() -> None:
    purifier = ClipGuided(projection="frozen-orthogonal", lr=0.1)
    first = dict(run(purifier, make_model(), seed=1).state)
    assert list(first) == ["projection.weight"]
    weight = first["projection.weight"]
    torch.testing.assert_close(weight @ weight.T, torch.eye(GUIDE_DIM), rtol=0, atol=1e-5)
    assert same(first, dict(run(purifier, make_model(), first, seed=2).state))


def test_unequal_dimensions_are_refused_before_any_round() -> None:
    model, guide = make_model(), make_guide(make_data())
    ClipGuided().check(model, guide)
    ClipGuided(projection="identity", feature_rectification=False).check(model, guide)
    with pytest.raises(ConfigError, match=r"purifier\.clip-guided\.projection = 'identity'.*equal dimensions"):
        ClipGuided(projection="identity").check(model, guide)


def test_identity_needs_equal_dimensions_and_no_state() -> None:
    with pytest.raises(ConfigError, match="equal dimensions"):  # before any client trains
        ClipGuided(projection="identity").check(make_model(), make_guide(make_data()))
    with pytest.raises(ValueError, match="equal dimensions"):
        run(ClipGuided(projection="identity"), make_model())
    data, model = make_data(), make_model()
    wide = F.normalize(torch.randn(52, model.feature_dim, generator=torch.Generator().manual_seed(0)), dim=1)
    guide = GuideTargets(wide, wide[:CLASSES], make_guide(data).logits)
    before = snapshot(model)
    result = ClipGuided(projection="identity").purify(model, data, guide, torch.Generator().manual_seed(0), {})
    assert result.state == {}
    assert not same(before, snapshot(model))


def test_a_single_class_raises() -> None:
    data = ServerData(Labeled(torch.rand(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64)), None, (), {})
    guide = GuideTargets(torch.ones(6, 3), torch.ones(1, 3), torch.ones(6, 1))
    with pytest.raises(ValueError, match="at least 2 classes"):
        ClipGuided().purify(make_model(), data, guide, torch.Generator(), {})


def test_a_class_without_images_is_no_problem() -> None:
    data = make_data(augmented=False)
    keep = data.originals.labels != 2
    part = ServerData(data.originals.subset(keep), None, (), {})
    model = make_model()
    result = ClipGuided().purify(model, part, make_guide(part), torch.Generator().manual_seed(0), {})
    assert result.facts["diverged"] == 0.0
    assert math.isfinite(result.facts["fr_loss_last"])


def test_gradient_clipping_bounds_the_step() -> None:
    moved = {}
    for clip in (1e-3, 0.0):
        model = make_model()
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        run(FineTune(grad_clip=clip, weight_decay=0.0, batch_size=100, momentum=0.0, lr=1.0), model)
        moved[clip] = float((torch.cat([p.detach().flatten() for p in model.parameters()]) - before).norm())
    assert moved[1e-3] == pytest.approx(1e-3, rel=1e-2)
    assert moved[0.0] > 0.01


def test_plus_without_patches_and_self_is_the_faithful_purifier() -> None:
    a, b = make_model(), make_model()
    run(ClipGuided(beta=0.7, kt_epochs=2, temperature=3.0), a)
    plus = ClipGuidedPlus(
        feature_rectification=True,
        alpha_self=0.0,
        alpha_guide=0.7,
        alpha_label=1.0,
        patch_probability=0.0,
        epochs=2,
        temperature=3.0,
        lr=0.01,
        bn_mode="eval",
    )
    run(plus, b)
    assert same(snapshot(a), snapshot(b))


def test_plus_keeps_an_aggregate_that_is_consistent_already() -> None:
    """Teacher = the aggregate before rectification, on clean images: without patches student and teacher agree."""
    model = make_model()
    before = snapshot(model)
    options: dict[str, Any] = {
        "alpha_guide": 0.0,
        "alpha_label": 0.0,
        "weight_decay": 0.0,
        "lr": 0.05,
        "bn_mode": "eval",
    }
    facts = run(ClipGuidedPlus(feature_rectification=False, patch_probability=0.0, **options), model).facts
    assert facts["consistency_loss_last"] == pytest.approx(0.0, abs=1e-7)
    for name, tensor in snapshot(model).items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=1e-5)
    patched = run(ClipGuidedPlus(feature_rectification=False, patch_probability=1.0, **options), make_model()).facts
    assert patched["consistency_loss_first"] > 1e-5
    rectified = run(ClipGuidedPlus(feature_rectification=True, patch_probability=0.0, **options), make_model()).facts
    assert rectified["consistency_loss_first"] > 1e-4


def test_plus_sees_the_patches_of_the_common_family(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []

    def patches(x: torch.Tensor, rng: torch.Generator, max_side: int = 4) -> torch.Tensor:
        assert max_side == 3
        return x + 100.0

    def watch(self: SplitModel, x: torch.Tensor) -> torch.Tensor:
        shares.append(float((x.amax(dim=(1, 2, 3)) > 50).float().mean()))
        return self.classifier(self.embed(x / (1 + 99 * (x > 50))))  # type: ignore[no-any-return]

    monkeypatch.setattr("defenses.purifiers.clip_guided_plus.random_patches", patches)
    monkeypatch.setattr(SplitModel, "forward", watch)
    run(ClipGuidedPlus(feature_rectification=False, patch_probability=0.5, max_side=3, epochs=40), make_model())
    assert shares[0] == 0.0  # the teacher looks at clean images
    assert sum(shares[1:]) / 40 == pytest.approx(0.5, abs=0.05)
    assert len(set(shares[1:])) > 3  # drawn afresh each epoch


def planted() -> tuple[SplitModel, torch.Tensor, torch.Tensor]:
    """A model with a backdoor (white 3x3 corner -> class 0), clean test images and labels."""
    info = DataInfo("blocks", INFO.class_names, (1, 16, 16), (0.5,), (0.25,))
    images, labels = blocks(256, 1)
    triggered = stamp(images[labels != 0])
    x, y = torch.cat([images, triggered]), torch.cat([labels, torch.zeros(len(triggered), dtype=torch.int64)])
    model = ResNet8(width=4).build(info, 0)
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    g = torch.Generator().manual_seed(0)
    for _ in range(8):
        for rows in torch.randperm(len(x), generator=g).split(32):  # type: ignore[no-untyped-call]
            optimiser.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return model.eval(), *blocks(400, 2)


def blocks(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a brighter band in the quarter of rows that the class names."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    images = 0.6 * torch.rand(n, 1, 16, 16, generator=g)
    band = torch.arange(16)[None, :] // 4 == labels[:, None]
    return (images + 0.25 * band[:, None, :, None]).clamp(0, 1), labels


def stamp(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x[:, :, 13:, 13:] = 1.0
    return x


@torch.no_grad()
def rates(model: SplitModel, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    clean = (model(images).argmax(1) == labels).float().mean()
    hit = (model(stamp(images[labels != 0])).argmax(1) == 0).float().mean()
    return float(clean), float(hit)


@pytest.mark.parametrize("probability", [0.0, 0.75])
def test_self_distillation_under_patches_removes_a_backdoor_it_was_never_told_of(probability: float) -> None:
    """Labels, guide and rectification are off: only agreement with the aggregate under random patches is left."""
    model, images, labels = planted()
    clean, hit = rates(model, images, labels)
    assert clean > 0.9
    assert hit > 0.9
    x, y = blocks(200, 3)
    data = ServerData(Labeled(x, y), None, (), {})
    guide = GuideTargets(torch.eye(CLASSES)[y], torch.eye(CLASSES), torch.zeros(200, CLASSES))
    plus = ClipGuidedPlus(
        feature_rectification=False,
        alpha_guide=0.0,
        alpha_label=0.0,
        epochs=12,
        lr=0.05,
        patch_probability=probability,
        bn_mode="eval",
    )
    plus.purify(model, data, guide, torch.Generator().manual_seed(0), {})
    clean, hit = rates(model, images, labels)
    assert clean > 0.9
    assert hit < 0.3 if probability > 0 else hit > 0.9


def test_patches_leave_their_input_and_stay_in_range() -> None:
    x = torch.rand(50, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    patched = random_patches(x, torch.Generator().manual_seed(1), 6)
    assert torch.equal(x, kept)
    assert bool(((patched - x).abs().amax(dim=(1, 2, 3)) > 0).all())
    assert float(patched.min()) >= 0.0
    assert float(patched.max()) <= 1.0
