from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from pydantic import Field

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.base import Guide, Provenance, Samples, SyntheticSource
from fedcrucible_core.foundation.frequency import FrequencyAugmentation, band_masks, dct2
from fedcrucible_core.foundation.server_data import Kept, build_server_data, check_samples
from fedcrucible_core.foundation.sources import MixedSource, SourceError
from fedcrucible_core.learning.data import DataInfo, Labeled
from tests.support.text_task import TOPICS

CPU = torch.device("cpu")


class CountingSource(SyntheticSource):
    """Noise whose channel mean tells the class; counts its calls."""

    calls: ClassVar[int] = 0
    print_: ClassVar[str] = "a"
    brightness: float = Field(0.5)

    def generate(self, info, per_class, seed: int, device):
        type(self).calls += 1
        labels = torch.arange(info.num_classes).repeat(per_class)
        rng = torch.Generator().manual_seed(seed)
        images = torch.rand(len(labels), *info.shape, generator=rng) * 0.2 + self.brightness * 0.5
        images += 0.3 * torch.nn.functional.one_hot(labels, 3)[:, :, None, None]
        return Samples(
            Labeled(images, labels), tuple(Provenance("count", f"p{y}", i) for i, y in enumerate(labels.tolist()))
        )

    def fingerprint(self):
        return self.print_


class ChannelGuide(Guide):
    """Top-1 is the brightest channel; even images of class ``doubt`` look like the next class."""

    def __init__(self, doubt=None) -> None:
        self.doubt = doubt

    def embeddings(self, images):
        means = images.mean(dim=(2, 3))
        if self.doubt is not None:
            mine = means.argmax(dim=1) == self.doubt
            means[mine.nonzero().flatten()[::2]] = torch.eye(3)[(self.doubt + 1) % 3]
        return means

    def text_embeddings(self, class_names):
        return torch.eye(3)

    def logits(self, embeddings, text_embeddings):
        return embeddings @ text_embeddings.T


@pytest.fixture(autouse=True)
def _fresh_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CountingSource, "calls", 0)


def build(info, tmp_path: Path, source=None, **options):
    per_class, seed = options.pop("per_class", 6), options.pop("seed", 1)
    return build_server_data(source or CountingSource(), info, per_class, seed, CPU, cache_dir=tmp_path, **options)


def agreeing(info, guide):
    """Keeps the images that the guide sees as their class."""

    def keep(data):
        agrees = guide.targets(data.inputs, info.class_names).logits.argmax(1) == data.labels
        return Kept("guide-agreement", agrees.nonzero().flatten(), {"dropped_by_guide": float((~agrees).sum())})

    return keep


def assert_same(a, b) -> None:
    assert torch.equal(a.originals.inputs, b.originals.inputs)
    assert torch.equal(a.originals.labels, b.originals.labels)
    assert (a.augmented is None) == (b.augmented is None)
    assert a.augmented is None or torch.equal(a.augmented, b.augmented)
    assert a.provenance == b.provenance
    assert a.facts == b.facts


@pytest.mark.parametrize("augment", ["frequency", "patch", "none"])
@pytest.mark.parametrize("moment_match", [False, True])
def test_shape_range_balance_and_facts(colour_info: DataInfo, tmp_path: Path, augment, moment_match) -> None:
    data = build(colour_info, tmp_path, augment=augment, moment_match=moment_match)
    assert data.originals.inputs.shape == (18, 3, 32, 32)
    assert data.originals.inputs.dtype == torch.float32
    assert data.originals.labels.dtype == torch.int64
    assert torch.bincount(data.originals.labels).tolist() == [6, 6, 6]
    assert len(data.provenance) == 18
    assert data.facts["images"] == 18
    assert [data.facts[f"class_count_{c}"] for c in range(3)] == [6, 6, 6]
    assert data.facts["dropped_by_guide"] == 0
    assert all(isinstance(value, float) for value in data.facts.values())
    server = data.training_set()
    images, labels = server.inputs, server.labels
    assert 0 <= images.min() <= images.max() <= 1
    if augment == "none":
        assert data.augmented is None
        assert len(images) == 18
    else:
        assert data.augmented.shape == data.originals.inputs.shape
        assert torch.equal(labels, data.originals.labels.repeat(2))
    assert ("band" in data.facts) == (augment == "frequency")
    if moment_match:
        assert torch.allclose(data.originals.inputs.mean(dim=(0, 2, 3)), torch.tensor(colour_info.mean), atol=1e-2)


def test_frequency_noise_lies_in_the_band_of_the_facts(colour_info: DataInfo, tmp_path: Path) -> None:
    data = build(
        colour_info, tmp_path, frequency=FrequencyAugmentation(rms=0.02), source=CountingSource(brightness=0.4)
    )
    band = int(data.facts["band"]) - 1
    change = dct2(data.augmented.double()) - dct2(data.originals.inputs.double())
    mask = band_masks(32, 4)[band]
    assert (change * ~mask).abs().max() < 1e-5
    assert abs(float((data.augmented - data.originals.inputs).square().mean().sqrt()) / 0.02 - 1) < 0.1


def test_patches_change_few_pixels(colour_info: DataInfo, tmp_path: Path) -> None:
    data = build(colour_info, tmp_path, augment="patch", frequency=FrequencyAugmentation(patch_max_side=2))
    changed = (data.augmented != data.originals.inputs).any(dim=1).sum(dim=(1, 2))
    assert (changed >= 1).all()
    assert (changed <= 4).all()


def test_samples_are_generated_once(colour_info: DataInfo, tmp_path: Path) -> None:
    first = build(colour_info, tmp_path)
    assert_same(first, build(colour_info, tmp_path))
    assert CountingSource.calls == 1
    build(colour_info, tmp_path, augment="none")
    build(colour_info, tmp_path, moment_match=True)
    assert CountingSource.calls == 1, "what is computed afterwards needs no new samples"


def test_whatever_decides_the_images_is_in_the_key(
    colour_info: DataInfo, fashion_info: DataInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(colour_info, tmp_path)
    build(colour_info, tmp_path, seed=2)
    build(colour_info, tmp_path, per_class=5)
    build(colour_info, tmp_path, source=CountingSource(brightness=0.4))
    monkeypatch.setattr(CountingSource, "print_", "b")
    build(colour_info, tmp_path)
    assert CountingSource.calls == 5


def test_without_the_cache_it_comes_out_the_same(colour_info: DataInfo, tmp_path: Path) -> None:
    assert_same(build(colour_info, tmp_path / "a"), build(colour_info, tmp_path / "b"))
    assert CountingSource.calls == 2


@pytest.mark.parametrize("damage", ["truncated", "other shape", "no provenance"])
def test_a_corrupted_cache_file_is_made_again_with_a_warning(colour_info: DataInfo, tmp_path: Path, damage) -> None:
    from safetensors.torch import save_file

    first = build(colour_info, tmp_path)
    (file,) = (tmp_path / "synthetic").iterdir()
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        shape = (18, 3, 8, 8) if damage == "other shape" else (18, 3, 32, 32)
        save_file({"images": torch.rand(shape), "labels": first.originals.labels}, file)
    with pytest.warns(RuntimeWarning, match="computing it again"):
        assert_same(build(colour_info, tmp_path), first)
    build(colour_info, tmp_path)
    assert CountingSource.calls == 2


def test_the_guide_drops_what_it_does_not_see_as_its_class(colour_info: DataInfo, tmp_path: Path) -> None:
    agreed = build(colour_info, tmp_path, keep=agreeing(colour_info, ChannelGuide()))
    assert agreed.facts["dropped_by_guide"] == 0
    data = build(colour_info, tmp_path, keep=agreeing(colour_info, ChannelGuide(doubt=1)))
    assert data.facts["dropped_by_guide"] == 3
    assert torch.bincount(data.originals.labels).tolist() == [6, 3, 6]
    assert [data.facts[f"class_count_{c}"] for c in range(3)] == [6, 3, 6]
    assert len(data.provenance) == len(data.originals.inputs) == len(data.augmented) == 15
    assert all(
        origin.prompt == f"p{y}" for origin, y in zip(data.provenance, data.originals.labels.tolist(), strict=True)
    )


def test_a_class_without_any_agreed_image_is_an_error(colour_info: DataInfo, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"splitter\.name = 'guide-agreement': it leaves no image of dog"):
        build(colour_info, tmp_path, keep=agreeing(colour_info, ChannelGuide(doubt=1)), per_class=1)


def test_bad_arguments(colour_info: DataInfo, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"synthetic\.per_class = 0"):
        build(colour_info, tmp_path, per_class=0)
    with pytest.raises(ConfigError, match=r"synthetic\.augment = 'blur'"):
        build(colour_info, tmp_path, augment="blur")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda s: Samples(Labeled(s.data.inputs * float("nan"), s.data.labels), s.provenance), "pixels run from nan"),
        (lambda s: Samples(Labeled(s.data.inputs * 255, s.data.labels), s.provenance), r"not within \[0, 1\]"),
        (lambda s: Samples(Labeled(s.data.inputs[:, :1], s.data.labels), s.provenance), "images are"),
        (lambda s: Samples(Labeled(s.data.inputs.double(), s.data.labels), s.provenance), "float64"),
        (lambda s: Samples(Labeled(s.data.inputs, s.data.labels + 1), s.provenance), "labels must be"),
        (lambda s: Samples(Labeled(s.data.inputs, s.data.labels), s.provenance[1:]), "provenances"),
        (lambda s: Samples(Labeled(s.data.inputs[:0], s.data.labels[:0]), ()), "at least one"),
    ],
)
def test_a_source_that_breaks_its_contract_is_caught_before_the_cache(
    colour_info: DataInfo, tmp_path: Path, broken, message
) -> None:
    class Broken(CountingSource):
        def generate(self, *arguments):
            return broken(super().generate(*arguments))

    with pytest.raises(SourceError, match=message):
        build(colour_info, tmp_path, source=Broken())
    assert not list(tmp_path.iterdir())


class Texts(SyntheticSource):
    """Random token ids, with a fact."""

    tasks = ("text",)

    def generate(self, info, per_class, seed: int, device):
        rng, n = torch.Generator().manual_seed(seed), info.num_classes * per_class
        ids = torch.randint(1, 40, (n, *info.shape), generator=rng)
        origins = tuple(Provenance("texts", "p", i) for i in range(n))
        return Samples(Labeled(ids, torch.arange(n) % info.num_classes), origins, facts={"texts.refused": 2.0})


def test_texts_stay_token_ids(tmp_path: Path) -> None:
    data = build(TOPICS, tmp_path, Texts(), augment="auto")
    again = build(TOPICS, tmp_path, Texts(), augment="none")
    assert_same(data, again)
    assert data.augmented is None
    assert data.originals.inputs.dtype == torch.int64
    assert (data.facts["texts"], data.facts["texts.refused"]) == (24, 2)
    assert "images" not in data.facts


def test_auto_augments_images_as_frequency_does(colour_info: DataInfo, tmp_path: Path) -> None:
    assert_same(build(colour_info, tmp_path, augment="auto"), build(colour_info, tmp_path, augment="frequency"))


@pytest.mark.parametrize(
    ("options", "key"),
    [({"augment": "frequency"}, "augment"), ({"augment": "patch"}, "augment"),
     ({"augment": "none", "moment_match": True}, "moment_match")],
)  # fmt: skip
def test_what_is_for_images_is_refused_for_texts_by_its_key(tmp_path: Path, options, key) -> None:
    with pytest.raises(ConfigError, match="has inputs of task 'text'") as caught:
        build(TOPICS, tmp_path, Texts(), **options)
    assert caught.value.key == f"synthetic.{key}"


@pytest.mark.parametrize("other", [{"tokenizer": "other"}, {"reserved": 3}, {"shape": (31,)}])
def test_how_texts_become_ids_is_in_the_key(tmp_path: Path, other) -> None:
    for info in (TOPICS, replace(TOPICS, **other)):
        build(info, tmp_path, Texts(), augment="none")
    assert len(list((tmp_path / "synthetic").iterdir())) == 2


@pytest.mark.parametrize(
    ("inputs", "message"),
    [(torch.zeros(4, 32), "texts are torch.float32"), (torch.full((4, 32), -1), "token ids run from -1"),
     (torch.zeros(4, 31, dtype=torch.int64), "texts are")],
)  # fmt: skip
def test_a_source_of_texts_is_held_to_its_contract(inputs, message) -> None:
    samples = Samples(Labeled(inputs, torch.arange(4)), tuple(Provenance("x", "", i) for i in range(4)))
    with pytest.raises(SourceError, match=message):
        check_samples(samples, "x", TOPICS)


def test_what_an_attacker_has_been_at_stays_marked(colour_info: DataInfo, tmp_path: Path) -> None:
    made = CountingSource().generate(colour_info, 4, 1, CPU)
    samples = replace(made, poisoned=torch.arange(12) % 4 == 0)
    kept = build(colour_info, tmp_path, samples=samples, keep=lambda data: Kept("x", torch.arange(1, 12), {}))
    assert kept.poisoned.tolist() == [i % 4 == 0 for i in range(1, 12)]
    assert kept.facts["poisoned"] == 2


def test_samples_without_a_label_are_left_out_and_counted(colour_info: DataInfo, tmp_path: Path) -> None:
    made = CountingSource().generate(colour_info, 4, 1, CPU)
    assert "without_label" not in build(colour_info, tmp_path, samples=made).facts
    labels = torch.where(torch.arange(12) % 4 == 1, -1, made.data.labels)
    kept = build(colour_info, tmp_path, samples=replace(made, data=Labeled(made.data.inputs, labels)))
    assert kept.originals.labels.tolist() == labels[labels >= 0].tolist()
    assert kept.facts["without_label"] == 3
    assert len(kept.provenance) == len(kept.originals) == 9


def test_shipped_mixtures_all_the_way(fashion_info: DataInfo, tmp_path: Path) -> None:
    data = build(fashion_info, tmp_path, source=MixedSource(), per_class=30)
    assert_same(data, build(fashion_info, tmp_path, source=MixedSource(), per_class=30))
    assert data.augmented.shape == (300, 1, 28, 28)
    assert 1 <= data.facts["band"] <= 4


def test_every_knob_is_a_key_of_the_synthetic_section() -> None:
    from fedcrucible_core.config.compose import _section_with_components

    section = _section_with_components("synthetic")
    made = section.model_validate({"bands": 5, "openai-images": {"size": "512x512"}, "flow": {"steps": 8}})
    assert made.openai_images_.size == "512x512"  # type: ignore[attr-defined]
    assert made.flow_.steps == 8  # type: ignore[attr-defined]
    assert FrequencyAugmentation.from_section(made).bands == 5
