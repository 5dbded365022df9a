"""Splitters without a guide's logits: loss, density, a probe of public samples, chance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from defenses.contracts.server_setting import INFO, make_model
from defenses.fresh_models import MeanLogits, train_fresh, train_probe
from defenses.needs import FreshModels
from defenses.splitters.guide_density import GuideDensity
from defenses.splitters.loss_only import LossOnly
from defenses.splitters.public_probe import PublicProbe
from defenses.splitters.random import Random
from defenses.splitting import split
from fedcrucible_core.foundation.base import Guide, GuideTargets
from fedcrucible_core.learning.data import DataInfo, Labeled

RNG = torch.Generator()
TEXT = DataInfo("words", INFO.class_names, (3,), (), (), task="text")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class ById(Guide):
    """Embeds inputs by their first number: four directions, one a class."""

    def embeddings(self, inputs: Tensor) -> Tensor:
        return torch.eye(4)[inputs.flatten(1)[:, 0].long() % 4]

    def text_embeddings(self, class_names: object) -> Tensor:
        return torch.eye(4)

    def logits(self, embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        return embeddings @ text_embeddings.T


def test_lowest_loss_is_flagged() -> None:
    identity = nn.Sequential(nn.Flatten())
    identity.register_parameter("p", nn.Parameter(torch.zeros(1)))
    inputs = torch.stack([torch.linspace(0.0, 9.0, 10), torch.zeros(10)], dim=1)
    found = LossOnly(share=0.2).split(Labeled(inputs, torch.zeros(10, dtype=torch.int64)), None, identity, RNG)
    assert found.triggered.tolist() == [8, 9], "the largest logit has the lowest loss"
    assert found.scores["s_model"].tolist() == pytest.approx(
        [float(torch.log1p((-x).exp())) for x in inputs[:, 0]], rel=1e-5
    )
    with pytest.raises(ValueError, match="freshly trained"):
        LossOnly().split(Labeled(inputs, torch.zeros(10, dtype=torch.int64)), None, None, RNG)


def clusters(n: int = 40) -> tuple[Tensor, Tensor]:
    """Embeddings around four directions, and which direction each is of."""
    g = generator(1)
    true = torch.arange(4 * n) % 4
    return nn.functional.normalize(torch.eye(4)[true] + 0.1 * torch.randn(4 * n, 4, generator=g), dim=1), true


def test_a_row_among_another_label_s_rows_is_flagged() -> None:
    points, true = clusters()
    labels = true.clone()
    labels[[1, 2, 3]] = 0
    guide = GuideTargets(points, torch.eye(4), points)
    found = GuideDensity().split(Labeled(torch.zeros(160, 1), labels), guide, None, RNG)
    assert found.triggered.tolist() == [1, 2, 3]
    own = GuideDensity(score="own", cut="share", share=3 / 160).split(
        Labeled(torch.zeros(160, 1), labels), guide, None, RNG
    )
    assert own.triggered.tolist() == [1, 2, 3], "few strangers are thin among the rows of their label"


def test_many_alike_strangers_are_no_local_outliers() -> None:
    points, true = clusters()
    labels = torch.where(true == 1, 0, true)  # a label that holds two clusters
    found = GuideDensity(score="own", cut="share", share=0.25).split(
        Labeled(torch.zeros(160, 1), labels), GuideTargets(points, torch.eye(4), points), None, RNG
    )
    flagged = torch.zeros(160, dtype=torch.bool)
    flagged[found.triggered] = True
    assert float(flagged[true == 1].double().mean()) < 0.5, "as the class says of itself"


@pytest.mark.parametrize("score", ["own", "other"])
def test_density_of_few_rows_one_label_and_nothing_finite(score: str) -> None:
    points, true = clusters(1)
    guide = GuideTargets(points, torch.eye(4), points)
    cut = "sign" if score == "other" else "otsu"
    splitter = GuideDensity(score=score, cut=cut)
    lone = splitter.split(Labeled(torch.zeros(4, 1), true), guide, None, RNG)
    assert torch.isfinite(lone.scores["density"]).all()
    one_label = splitter.split(Labeled(torch.zeros(4, 1), true * 0), guide, None, RNG)
    assert len(one_label.clean) + len(one_label.triggered) == 4
    points = points.clone()
    points[2] = torch.nan
    broken = GuideTargets(points, torch.eye(4), points)
    assert 2 in splitter.split(Labeled(torch.zeros(4, 1), true), broken, None, RNG).triggered.tolist()


def test_chance_draws_as_many_as_it_says() -> None:
    data = Labeled(torch.zeros(30, 1), torch.zeros(30, dtype=torch.int64))
    parts = [Random(share=0.3).split(data, None, None, generator(seed)).triggered for seed in (0, 0, 1)]
    assert [len(part) for part in parts] == [9, 9, 9]
    assert torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[0], parts[2])
    assert len(Random(share=0.0).split(data, None, None, generator()).clean) == 30


def words(n: int, seed: int) -> Labeled:
    g = generator(seed)
    labels = torch.randint(0, 4, (n,), generator=g)
    ids = torch.randint(4, 400, (n, 3), generator=g)
    ids[:, 0] = 4 * (ids[:, 0] // 4) + labels
    return Labeled(ids, labels)


def test_a_probe_on_the_guide_s_embeddings_filters_texts() -> None:
    data = words(60, 1)
    labels = data.labels.clone()
    labels[:5] = (labels[:5] + 1) % 4
    asked: list[int] = []

    def public() -> Labeled:
        asked.append(1)
        return words(80, 2)

    found = split(PublicProbe(), Labeled(data.inputs, labels), TEXT, ById, generator(), public=public)
    assert found.triggered.tolist() == [0, 1, 2, 3, 4]
    assert asked == [1]
    assert found.logits is not None
    assert found.logits.argmax(1).tolist() == data.labels.tolist(), "what flagged rows are relabelled by"


def test_a_model_of_public_pictures_filters_pictures() -> None:
    bright = torch.arange(40) % 4
    images = (bright.float() / 4)[:, None, None, None].expand(-1, 1, 8, 8) + 0.02 * torch.rand(
        40, 1, 8, 8, generator=generator()
    )
    labels = bright.clone()
    labels[0] = 1
    probe = PublicProbe(epochs=12, batch_size=8)
    found = split(
        probe, Labeled(images, labels), INFO, ById, generator(), untrained=make_model,
        public=lambda: Labeled(images, bright),
    )  # fmt: skip
    assert 0 in found.triggered.tolist()
    assert len(found.clean) > 30


def test_what_is_not_given_is_said() -> None:
    data = words(4, 0)
    with pytest.raises(ValueError, match="public slice"):
        split(PublicProbe(), data, TEXT, ById, RNG)
    with pytest.raises(ValueError, match="freshly trained models, and nothing makes them"):
        split(LossOnly(), data, TEXT, ById, RNG)


def test_training_follows_from_the_generator_alone() -> None:
    data = Labeled(torch.rand(20, 1, 8, 8, generator=generator()), torch.arange(20) % 4)
    wanted = FreshModels(count=2, epochs=2, batch_size=8)
    before = torch.get_rng_state()
    first, again, other = (train_fresh(wanted, data, make_model, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    x = data.inputs
    assert torch.equal(first(x), again(x))
    assert not torch.equal(first(x), other(x))
    members = list(first.members)  # type: ignore[arg-type]
    assert torch.allclose(first(x), (members[0](x) + members[1](x)) / 2)
    assert not torch.equal(members[0](x), members[1](x)), "each has weights of its own"
    assert not any(p.requires_grad for p in first.parameters())


def test_stored_pictures_are_trained_on_as_models_take_them() -> None:
    stored = torch.randint(0, 256, (12, 1, 8, 8), generator=generator(), dtype=torch.uint8)
    labels, wanted = torch.arange(12) % 4, FreshModels(epochs=1, batch_size=4)
    a = train_fresh(wanted, Labeled(stored, labels), make_model, generator())
    b = train_fresh(wanted, Labeled(stored.float() / 255, labels), make_model, generator())
    x = torch.rand(3, 1, 8, 8, generator=generator())
    assert torch.allclose(a(x), b(x))


def test_a_probe_learns_what_its_embeddings_tell() -> None:
    probe = train_probe(FreshModels(probe_epochs=40, lr=0.05, batch_size=16), words(80, 3), ById(), 4, generator())
    held_out = words(50, 4)
    assert (probe(held_out.inputs).argmax(1) == held_out.labels).all()


def test_mean_logits_of_one_is_itself() -> None:
    model = make_model()
    x = torch.rand(3, 1, 8, 8, generator=generator())
    assert torch.equal(MeanLogits([model])(x), model(x))


def test_models_learn_from_labelled_samples_alone() -> None:
    g = generator(7)
    data = Labeled(torch.rand(24, *INFO.shape, generator=g), torch.arange(24) % 4)
    more = Labeled(torch.cat([data.inputs, data.inputs[:5]]), torch.cat([data.labels, torch.full((5,), -1)]))
    wanted = FreshModels(1, 1, lr=0.01, batch_size=8)
    without, along = (train_fresh(wanted, one, make_model, generator(3)) for one in (data, more))
    assert torch.equal(without(data.inputs), along(data.inputs))
    texts = Labeled(torch.arange(12)[:, None].expand(12, 3), torch.arange(12) % 4)
    more = Labeled(torch.cat([texts.inputs, texts.inputs[:2]]), torch.cat([texts.labels, torch.full((2,), -1)]))
    without, along = (train_probe(wanted, one, ById(), 4, generator(3)) for one in (texts, more))
    assert torch.equal(without(texts.inputs), along(texts.inputs))
