"""The contract of every registered source that needs no network, and each source's own promises."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fedcrucible_assets import AssetMissingError, asset_path
from fedcrucible_core.config import Component, ConfigError
from fedcrucible_core.foundation.base import SOURCES
from fedcrucible_core.foundation.sources import DiffusersSource, FlowSource, FolderSource, MixedSource, SourceError
from fedcrucible_core.foundation.sources.fashion import fashion_classes
from fedcrucible_core.learning.data import DataInfo
from tests.support.text_task import TOPICS
from tests.support.tiny_models import CLASSES

CPU = torch.device("cpu")
NAMES = list(SOURCES)


def write_pictures(folder, names, count, size=(20, 24)) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name.replace("/", "_")).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name.replace("/", "_") / f"{i:03}.png")


def small_flow(folder) -> None:
    from fedcrucible_core.foundation.generators.flow import FlowConfig, FlowGenerator, FlowUNet

    torch.manual_seed(0)
    FlowGenerator(FlowUNet(FlowConfig(width=8, middle_width=16, middle_blocks=1, embedding=16, heads=2))).save(folder)


def make(name, info, folder):
    """The source ready to run without network, or a skip."""
    cls = SOURCES[name]
    if not cls.offline:
        pytest.skip("needs a network")
    if name == "folder":
        write_pictures(folder / "pictures", info.class_names, 5)
        return cls(path=str(folder / "pictures"))  # type: ignore[call-arg]
    if name == "flow":
        try:
            asset_path("flow-fashion")
        except AssetMissingError:
            small_flow(folder / "flow")
            return cls(path=str(folder / "flow"), steps=2)  # type: ignore[call-arg]
        return cls(steps=2)  # type: ignore[call-arg]
    return cls()


def test_the_five_sources_are_registered() -> None:
    assert {"flow", "mixed", "folder", "diffusers", "openai-images"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_source_builds_from_nothing_says_what_it_needs_and_documents_its_parameters(name) -> None:
    source = SOURCES.create(name)
    assert isinstance(source, Component)
    assert source.knowledge
    assert type(source).paper
    assert all(field.description for field in type(source).model_fields.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_source_refuses_inputs_of_a_kind_that_it_does_not_make(name, fashion_info: DataInfo) -> None:
    source = SOURCES.create(name)
    for info in (fashion_info, TOPICS):
        if info.task in source.tasks:
            continue
        with pytest.raises(ConfigError, match=f"inputs of task '{info.task}'; allowed: .*public") as caught:
            source.check(info, 1)
        assert caught.value.key == "synthetic.source"
        assert name not in caught.value.allowed.split("allowed: ")[1].split(", ")


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("name", [name for name in NAMES if "vision" in SOURCES[name].tasks])
def test_contract_of_a_source(name, shape, fashion_info: DataInfo, tmp_path: Path) -> None:
    info = DataInfo(fashion_info.name, fashion_info.class_names, shape, (0.3,) * shape[0], (0.3,) * shape[0])
    source = make(name, info, tmp_path)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    samples = source.generate(info, 3, 7, CPU)
    assert torch.equal(torch.get_rng_state(), state), "no global randomness"
    assert samples.data.inputs.shape == (30, *shape)
    assert samples.data.inputs.dtype == torch.float32
    assert 0 <= samples.data.inputs.min() <= samples.data.inputs.max() <= 1
    assert samples.data.labels.dtype == torch.int64
    assert torch.bincount(samples.data.labels).tolist() == [3] * 10
    assert len(samples.provenance) == 30
    assert all(origin.source == name and origin.prompt for origin in samples.provenance)
    if name != "flow":
        assert len({(origin.prompt, origin.index) for origin in samples.provenance}) == 30
    again = source.generate(info, 3, 7, CPU)
    assert torch.equal(samples.data.inputs, again.data.inputs)
    assert torch.equal(samples.data.labels, again.data.labels)
    assert samples.provenance == again.provenance
    assert not torch.equal(samples.data.inputs, source.generate(info, 3, 8, CPU).data.inputs)
    assert source.fingerprint() == source.fingerprint() != ""


# flow


def test_shipped_flow_draws_what_the_guide_recognises(fashion_info: DataInfo, tmp_path: Path) -> None:
    from fedcrucible_core.foundation.guide import load_guide
    from tests.support.zero_shot import zero_shot_accuracy

    try:
        asset_path("flow-fashion")
        asset_path("clip-tiny-fashion")
    except AssetMissingError:
        pytest.skip("the shipped generator or guide isn't here")
    samples = FlowSource().generate(fashion_info, 5, 1, CPU)
    guide = load_guide("tiny", cache_dir=tmp_path)
    assert zero_shot_accuracy(guide, samples.data.inputs, samples.data.labels, fashion_info.class_names) > 70


def test_flow_refuses_classes_it_does_not_know(colour_info: DataInfo) -> None:
    with pytest.raises(ConfigError, match=r"synthetic\.source = 'flow': .*cat, dog, ship"):
        FlowSource().generate(colour_info, 1, 1, CPU)


def test_flow_with_a_folder_of_its_own(colour_info: DataInfo, tmp_path: Path) -> None:
    small_flow(tmp_path / "flow")
    source = FlowSource(path=str(tmp_path / "flow"), steps=1)
    assert source.generate(colour_info, 2, 1, CPU).data.inputs.shape == (6, 3, 32, 32)
    eleven = DataInfo("many", tuple(map(str, range(11))), (1, 28, 28), (0.5,), (0.5,))
    with pytest.raises(ConfigError, match="has 10 classes, but many has 11"):
        source.generate(eleven, 1, 1, CPU)
    with pytest.raises(ConfigError, match=r"synthetic\.flow\.path = .*holds no flow generator"):
        FlowSource(path=str(tmp_path)).generate(colour_info, 1, 1, CPU)


def test_classes_are_found_by_name_in_any_order_and_spelling() -> None:
    info = DataInfo("x", ("Ankle boot", "T-shirt/top", "Trouser"), (1, 28, 28), (0.5,), (0.5,))
    assert fashion_classes(info, "flow").tolist() == [9, 0, 1]


# mixed


def test_mixed_says_it_is_no_generator_and_draws_without_repetition(fashion_info: DataInfo) -> None:
    assert "NOT a generative model" in (MixedSource.__doc__ or "")
    everything = MixedSource().generate(fashion_info, 200, 3, CPU)
    assert sorted(origin.index for origin in everything.provenance) == list(range(2000))
    with np.load(asset_path("mixed-public")) as file:
        index = torch.tensor([origin.index for origin in everything.provenance])
        assert torch.equal(torch.from_numpy(file["labels"]).long()[index], everything.data.labels)
        assert torch.equal(
            (everything.data.inputs[:, 0] * 255).round().to(torch.uint8), torch.from_numpy(file["images"])[index]
        )


def test_mixed_refuses_more_than_ship(fashion_info: DataInfo) -> None:
    with pytest.raises(ConfigError, match=r"synthetic\.per_class = 201: at most 200"):
        MixedSource().generate(fashion_info, 201, 1, CPU)


# folder


def test_folder_names_every_missing_and_every_thin_class(colour_info: DataInfo, tmp_path: Path) -> None:
    write_pictures(tmp_path, ["cat"], 1)
    (tmp_path / "Dog").mkdir()
    with pytest.raises(ConfigError) as caught:
        FolderSource(path=str(tmp_path)).generate(colour_info, 2, 1, CPU)
    assert caught.value.key == "synthetic.folder.path"
    assert "no pictures of dog, ship" in str(caught.value)
    assert "fewer than 2 pictures (synthetic.per_class) of cat (1)" in str(caught.value)


@pytest.mark.parametrize("path", ["", "/no/such/folder"])
def test_folder_that_is_not_there(path, colour_info: DataInfo) -> None:
    with pytest.raises(ConfigError, match="must be a folder"):
        FolderSource(path=path).generate(colour_info, 1, 1, CPU)


def test_folder_reads_common_formats_and_names_a_broken_picture(colour_info: DataInfo, tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / name.upper()).mkdir()
        for i, suffix in enumerate(("png", "jpg", "webp", "bmp")):
            Image.new("RGB", (40, 40), "white").save(tmp_path / name.upper() / f"{i}.{suffix}")
        (tmp_path / name.upper() / "notes.txt").write_text("not a picture")
    samples = FolderSource(path=str(tmp_path)).generate(colour_info, 4, 1, CPU)
    assert samples.data.inputs.min() > 0.98
    assert {origin.prompt for origin in samples.provenance} >= {"CAT/0.png", "SHIP/3.bmp"}
    before = FolderSource(path=str(tmp_path)).fingerprint()
    (tmp_path / "DOG" / "0.png").write_bytes(b"junk")
    assert FolderSource(path=str(tmp_path)).fingerprint() != before
    with pytest.raises(SourceError, match=r"DOG.0\.png: not a readable picture"):
        FolderSource(path=str(tmp_path)).generate(colour_info, 4, 1, CPU)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16", "CMYK"])
def test_pictures_of_every_mode_become_colour_or_grey(mode, tmp_path: Path) -> None:
    from fedcrucible_core.foundation.sources.pictures import decode_picture

    suffix = "tif" if mode in ("CMYK", "I;16") else "png"
    file = tmp_path / f"x.{suffix}"
    Image.new(mode, (6, 4)).save(file)
    for channels in (1, 3):
        picture = decode_picture(file, channels)
        assert picture.shape == (channels, 4, 6)
    if mode in ("RGBA", "LA"):
        assert (picture == 1).all(), "transparent pixels lie on white"


# diffusers


def test_diffusers_not_installed_names_the_extra(colour_info: DataInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"synthetic\.source = 'diffusers': .*pip install 'fedcrucible\[diffusers\]'"):
        DiffusersSource().generate(colour_info, 1, 1, CPU)


class RecordingPipeline:
    """Answers like a diffusers pipeline with output_type="pt"."""

    calls: list[dict[str, Any]]
    last: RecordingPipeline

    @classmethod
    def from_pretrained(cls, model):
        if model == "missing":
            raise OSError("no such model\nlong story")
        made = cls()
        made.calls = []
        cls.last = made
        return made

    def set_progress_bar_config(self, disable) -> None:
        assert disable

    def to(self, device, dtype):
        assert dtype == torch.float32
        return self

    def __call__(self, **call):
        self.calls.append(call)
        shape = (3, call["height"], call["width"])
        images = torch.stack([torch.rand(shape, generator=generator) for generator in call["generator"]])
        return types.SimpleNamespace(images=images, nsfw_content_detected=[False] * len(images))


def test_diffusers_gets_a_prompt_and_a_seed_for_each_image(
    colour_info: DataInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = types.SimpleNamespace(AutoPipelineForText2Image=RecordingPipeline)
    monkeypatch.setitem(sys.modules, "diffusers", fake)
    source = DiffusersSource(steps=3, guidance=2.5, height=64, width=48, batch_size=4)
    samples = source.generate(colour_info, 3, 5, CPU)
    calls = RecordingPipeline.last.calls
    assert [len(call["prompt"]) for call in calls] == [4, 4, 1]
    assert {(c["num_inference_steps"], c["guidance_scale"], c["output_type"]) for c in calls} == {(3, 2.5, "pt")}
    assert samples.data.inputs.shape == (9, 3, 32, 32)
    assert [origin.prompt for origin in samples.provenance] == [prompt for call in calls for prompt in call["prompt"]]
    assert all(CLASSES[y] in origin.prompt for y, origin in zip(samples.data.labels, samples.provenance, strict=True))
    other = DiffusersSource(steps=3, guidance=2.5, height=64, width=48, batch_size=2).generate(colour_info, 3, 5, CPU)
    assert torch.equal(other.data.inputs, samples.data.inputs)
    with pytest.raises(
        ConfigError, match=r"synthetic\.diffusers\.model = 'missing': can't be loaded \(no such model\);"
    ):
        DiffusersSource(model="missing").generate(colour_info, 1, 1, CPU)


def test_diffusers_itself_with_a_tiny_random_model(colour_info: DataInfo, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.support.tiny_models import TEXT, tokenizer

    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(4, 8),
        layers_per_block=1,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        norm_num_groups=2,
        attention_head_dim=2,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 8),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=2,
    )
    pipeline = diffusers.StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=CLIPTextModel(CLIPTextConfig(**TEXT)),
        tokenizer=tokenizer(12),
        scheduler=diffusers.DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(tmp_path / "sd")
    source = DiffusersSource(model=str(tmp_path / "sd"), steps=2, guidance=0.0, height=64, width=64, batch_size=2)
    samples = source.generate(colour_info, 1, 1, CPU)
    assert samples.data.inputs.shape == (3, 3, 32, 32)
    assert torch.allclose(samples.data.inputs, source.generate(colour_info, 1, 1, CPU).data.inputs)


def two_tones(folder, names) -> None:
    """One class folder for each name; all its pictures have the brightness 40, 80, 120, .. by its place."""
    for place, name in enumerate(names, start=1):
        (folder / name).mkdir(parents=True)
        for i in range(2):
            Image.new("L", (8, 8), 40 * place).save(folder / name / f"{i}.png")


@pytest.mark.parametrize("names", [("猫", "狗"), ("кошка", "собака"), ("C", "C++", "C#"), ("a_b", "a-b"), ("-1", "1")])
def test_folder_gives_each_class_its_own_pictures(names, tmp_path: Path) -> None:
    two_tones(tmp_path, names)
    info = DataInfo("own", tuple(reversed(names)), (1, 8, 8), (0.5,), (0.5,))
    samples = FolderSource(path=str(tmp_path)).generate(info, 2, 1, CPU)
    for label, name in enumerate(info.class_names):
        tones = (samples.data.inputs[samples.data.labels == label] * 255).round()
        assert set(tones.flatten().tolist()) == {40 * (1 + names.index(name))}


def test_folder_refuses_two_folders_for_one_class(tmp_path: Path) -> None:
    two_tones(tmp_path, ("Cat", "CAT", "dog"))
    info = DataInfo("own", ("cat", "dog"), (1, 8, 8), (0.5,), (0.5,))
    with pytest.raises(ConfigError, match=r"synthetic\.folder\.path = .*'CAT' and 'Cat' can each be meant by 'cat'"):
        FolderSource(path=str(tmp_path)).generate(info, 1, 1, CPU)


def test_folder_passes_over_what_systems_leave_behind(tmp_path: Path) -> None:
    two_tones(tmp_path, ("cat", "dog"))
    (tmp_path / "cat" / "._0.png").write_bytes(b"resource fork")
    (tmp_path / ".cat").mkdir()
    (tmp_path / "__MACOSX" / "cat").mkdir(parents=True)
    (tmp_path / "cat" / "around").symlink_to(tmp_path / "cat")
    info = DataInfo("own", ("cat", "dog"), (1, 8, 8), (0.5,), (0.5,))
    source = FolderSource(path=str(tmp_path))
    assert {p.prompt for p in source.generate(info, 2, 1, CPU).provenance} == {
        "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"
    }  # fmt: skip
    assert source.fingerprint()


def test_shipped_classes_are_not_found_in_names_that_only_contain_them() -> None:
    info = DataInfo("x", ("bag", "猫 shirt"), (1, 28, 28), (0.5,), (0.5,))
    with pytest.raises(ConfigError, match="also has 猫 shirt"):
        fashion_classes(info, "flow")


@pytest.mark.parametrize("value", [0, 0x4000, 0x8080, 0xFFFF])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_folder_scales_sixteen_bits(value, suffix, tmp_path: Path) -> None:
    """They were cut off at 255: every picture but a black one was white."""
    for name in ("scan", "film"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8), value, dtype=np.uint16)).save(tmp_path / name / f"a.{suffix}")
    info = DataInfo("own", ("film", "scan"), (1, 8, 8), (0.5,), (0.5,))
    images = FolderSource(path=str(tmp_path)).generate(info, 1, 1, CPU).data.inputs
    assert torch.allclose(images, torch.full_like(images, value / 0xFFFF), atol=0.5 / 255)


def test_folder_reads_floating_point_or_says_why_not(tmp_path: Path) -> None:
    for name, level in (("scan", 0.25), ("film", 300.0)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8), level, dtype=np.float32)).save(tmp_path / name / "a.tif")
    one = DataInfo("own", ("scan",), (1, 8, 8), (0.5,), (0.5,))
    images = FolderSource(path=str(tmp_path)).generate(one, 1, 1, CPU).data.inputs
    assert torch.allclose(images, torch.full_like(images, 0.25), atol=0.5 / 255)
    two = DataInfo("own", ("film", "scan"), (1, 8, 8), (0.5,), (0.5,))
    with pytest.raises(SourceError, match=r"film.a\.tif: not a readable picture \(mode F with values 300"):
        FolderSource(path=str(tmp_path)).generate(two, 1, 1, CPU)
