from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Never

import pytest
import torch
from torch.nn import functional as F

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.sections import GuideSection
from fedcrucible_core.foundation.base import Guide
from fedcrucible_core.foundation.guide import TransformersGuide, load_guide
from fedcrucible_core.foundation.guides import plain_guide
from fedcrucible_core.learning.data import DataInfo
from tests.support.tiny_models import CLASSES
from tests.support.zero_shot import zero_shot_accuracy


@pytest.fixture(params=["clip", "siglip"])
def setup(request, tmp_path: Path):
    folder = request.getfixturevalue(f"{request.param}_folder")
    return {"model": str(folder), "family": request.param, "cache_dir": tmp_path / "cache"}


def raw_model(setup):
    import transformers

    classes = {
        "clip": (transformers.CLIPModel, transformers.CLIPProcessor),
        "siglip": (transformers.SiglipModel, transformers.SiglipProcessor),
    }[setup["family"]]
    return classes[0].from_pretrained(setup["model"]).float().eval(), classes[1].from_pretrained(setup["model"])


def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args, **kwargs) -> Never:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("fedcrucible_core.foundation.encoder.Encoder.__init__", refuse)


def test_embeddings_are_normalised_float32_and_of_equal_length(setup, pictures) -> None:
    guide = load_guide(**setup)
    image, text = guide.embeddings(pictures), guide.text_embeddings(CLASSES)
    assert isinstance(guide, Guide)
    assert image.dtype == text.dtype == torch.float32
    assert image.shape[0] == 10
    assert text.shape[0] == 3
    assert image.shape[1] == text.shape[1]
    for embeddings in (image, text):
        assert torch.allclose(embeddings.norm(dim=1), torch.ones(len(embeddings)), atol=1e-6)
    assert guide.embeddings(pictures[:0]).shape == (0, image.shape[1])


def test_logits_equal_the_model_s_own_through_its_own_processor(setup, pictures) -> None:
    """The whole path (fast pixels, tokens, towers, scale, bias) against transformers' forward pass."""
    guide = load_guide(**setup)
    model, processor = raw_model(setup)
    uint8 = (pictures * 255).round().to(torch.uint8)
    padding = "max_length" if setup["family"] == "siglip" else True
    inputs = processor(
        text=[f"a photo of a {name}" for name in CLASSES],
        images=list(uint8),
        return_tensors="pt",
        padding=padding,
        max_length=12,
        truncation=True,
    )
    with torch.no_grad():
        expected = model(**inputs).logits_per_image
    targets = guide.targets(uint8.float() / 255, CLASSES)
    assert torch.allclose(targets.logits, expected, atol=1e-3)
    scale, bias = guide.head()
    assert torch.allclose(scale, model.logit_scale.exp().detach())
    assert float(bias) == (-10.0 if setup["family"] == "siglip" else 0.0)
    cosines = F.cosine_similarity(targets.embeddings[:, None], targets.text_embeddings[None], dim=-1)
    assert torch.allclose(targets.logits, cosines * scale + bias, atol=1e-5)


def test_the_shipped_logit_scale_makes_logits_a_hundred_times_the_cosine_for_released_weights(
    clip_folder, tmp_path: Path
) -> None:
    from transformers import CLIPModel

    folder = tmp_path / "clip100"
    shutil.copytree(clip_folder, folder)
    model = CLIPModel.from_pretrained(folder).float()
    model.logit_scale.data.fill_(4.6052)
    model.save_pretrained(folder)
    guide = load_guide(str(folder), cache_dir=tmp_path)
    assert torch.allclose(guide.logits(torch.eye(2), torch.eye(2)), 100 * torch.eye(2), atol=0.01)


@pytest.mark.parametrize(("size", "channels"), [((32, 32), 3), ((28, 28), 3), ((28, 28), 1), ((48, 64), 3)])
def test_preprocessing_equals_the_processor(setup, size, channels) -> None:
    from fedcrucible_core.foundation.preprocess import Preprocess

    _, processor = raw_model(setup)
    noise = torch.randint(0, 256, (4, channels, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    edges = (noise > 127).to(torch.uint8) * 255
    for image in (noise, edges):
        rgb = image.expand(-1, 3, -1, -1)
        expected = processor.image_processor(list(rgb), return_tensors="pt")["pixel_values"]
        mine = Preprocess.from_processor(processor.image_processor)(image.float() / 255)
        assert mine.shape == expected.shape
        assert (mine - expected).abs().max() < 1e-2


def test_grey_images_are_repeated_to_three_channels(setup, pictures) -> None:
    guide = load_guide(**setup)
    grey = pictures[:, :1]
    assert torch.equal(guide.embeddings(grey), guide.embeddings(grey.expand(-1, 3, -1, -1).contiguous()))


def test_batch_size_does_not_change_embeddings(setup, pictures, tmp_path: Path) -> None:
    whole = load_guide(**setup).embeddings(pictures)
    setup["cache_dir"] = tmp_path / "other"
    assert torch.allclose(load_guide(**setup, batch_size=3).embeddings(pictures), whole, atol=1e-5)


def test_ensemble_is_the_normalised_mean_of_normalised_embeddings(setup) -> None:
    templates = ["a photo of a {}", "the {}", "a small {}"]
    single = torch.stack([load_guide(**setup, templates=t).text_embeddings(CLASSES) for t in templates])
    together = load_guide(**setup, templates=" | ".join(templates)).text_embeddings(CLASSES)
    assert torch.allclose(together, F.normalize(single.mean(dim=0), dim=-1), atol=1e-5)
    assert not torch.allclose(together, single[0], atol=1e-4)


def test_what_is_in_the_cache_never_loads_the_model(setup, pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_guide(**setup)
    expected = first.targets(pictures, CLASSES)
    assert first.loaded
    forbid_loading(monkeypatch)
    second = load_guide(**setup)
    found = second.targets(pictures, CLASSES)
    assert not second.loaded
    assert torch.equal(found.embeddings, expected.embeddings)
    assert torch.equal(found.text_embeddings, expected.text_embeddings)
    assert torch.equal(found.logits, expected.logits)
    for other in (lambda: second.text_embeddings(CLASSES[::-1]), lambda: second.embeddings(pictures[1:])):
        with pytest.raises(AssertionError, match="was loaded"):
            other()


def test_other_weights_other_key(clip_folder, pictures, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(clip_folder, folder)
    before = load_guide(str(folder), cache_dir=tmp_path).embeddings(pictures)
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder).float()
    torch.nn.init.normal_(model.visual_projection.weight)
    model.save_pretrained(folder)
    assert not torch.allclose(load_guide(str(folder), cache_dir=tmp_path).embeddings(pictures), before)


@pytest.mark.parametrize("damage", ["empty", "noise", "truncated", "nan", "other shape"])
def test_a_corrupted_cache_file_is_computed_again_with_a_warning(clip_folder, pictures, tmp_path: Path, damage) -> None:
    from safetensors.torch import save_file

    def targets():
        return load_guide(str(clip_folder), cache_dir=tmp_path).targets(pictures, CLASSES)

    expected = targets()
    files = sorted((tmp_path / "guide").iterdir())
    assert len(files) == 3
    for file in files:
        content = file.read_bytes()
        if damage == "nan":
            nan = torch.full((10 if "image" in file.name else 3, 12), float("nan"))
            save_file({"embeddings": nan, "logit_scale": nan[0, 0].clone(), "logit_bias": nan[0, 1].clone()}, file)
        elif damage == "other shape":
            wrong = torch.ones(2)
            save_file({"embeddings": wrong, "logit_scale": wrong.clone(), "logit_bias": wrong.clone()}, file)
        else:
            file.write_bytes({"empty": b"", "noise": os.urandom(200), "truncated": content[:-7]}[damage])
    with pytest.warns(RuntimeWarning, match="computing it again"):
        found = targets()
    assert torch.allclose(found.logits, expected.logits, atol=1e-4)
    targets()  # repaired: pytest would show warnings, and the next line would fail
    assert all(file.stat().st_size > 50 for file in files)


def test_a_cache_that_cannot_be_written_is_a_warning(clip_folder, pictures, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.warns(RuntimeWarning, match="can't write cache file"):
        embeddings = load_guide(str(clip_folder), cache_dir=blocked).embeddings(pictures)
    assert len(embeddings) == 10


def write_often(path, value) -> None:
    from fedcrucible_core.foundation.cache import write_tensors

    for _ in range(60):
        write_tensors(path, {"embeddings": torch.full((50, 64), value)})


def test_readers_see_whole_files_while_two_processes_write(tmp_path: Path) -> None:
    from fedcrucible_core.foundation.cache import read_tensors

    path = tmp_path / "x.safetensors"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_often, args=(path, float(i))) for i in range(2)]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        content = read_tensors(path)
        if content:
            seen += 1
            assert len(content[0]["embeddings"].unique()) == 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert read_tensors(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"], "no temporary file may stay"


def test_default_cache_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FEDCRUCIBLE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_guide().cache == tmp_path / "fedcrucible" / "guide"


def test_the_variable_moves_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDCRUCIBLE_CACHE", str(tmp_path))
    assert load_guide().cache == tmp_path / "guide"


def test_section_fields_are_the_parameters(tmp_path) -> None:
    section = GuideSection(templates="a {}|the {}", cache_dir=str(tmp_path))
    guide = plain_guide(section, DataInfo("toy", CLASSES, (3, 32, 32), (), ()), torch.device("cpu"))
    assert isinstance(guide, TransformersGuide)
    assert guide.prompts.of("bag") == ("a bag", "the bag")
    assert guide.model == "tiny"
    assert not guide.loaded


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"templates": "a photo"}, "guide.templates"),
        ({"templates": "a {}|"}, "guide.templates"),
        ({"templates": "{} {}"}, "guide.templates"),
        ({"family": "blip"}, "guide.family"),
    ],
)
def test_bad_parameters_are_refused_at_once(parameters, key) -> None:
    with pytest.raises(ConfigError) as caught:
        load_guide(**parameters)
    assert caught.value.key == key


@pytest.mark.parametrize("model", ["/no/such/folder", "./nowhere", "~/nowhere-at-all", "a/b/c", ""])
def test_a_folder_that_is_not_there(model, pictures, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"guide\.model = .*no such folder"):
        load_guide(model, cache_dir=tmp_path).embeddings(pictures)


def test_a_folder_without_a_model_and_one_of_another_family(
    clip_folder, siglip_folder, pictures, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"guide\.model = .*config\.json"):
        load_guide(str(tmp_path), cache_dir=tmp_path).embeddings(pictures)
    with pytest.raises(ConfigError, match=r"guide\.family = 'clip': .*siglip"):
        load_guide(str(siglip_folder), cache_dir=tmp_path).embeddings(pictures)
    broken = tmp_path / "broken"
    shutil.copytree(clip_folder, broken)
    (broken / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(ConfigError, match=r"guide\.model = .*can't be loaded .*complete clip model"):
        load_guide(str(broken), cache_dir=tmp_path).embeddings(pictures)


def test_unreachable_hub_is_one_clear_error(tmp_path: Path, pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError) as caught:
        load_guide("nobody/no-such-clip", cache_dir=tmp_path).embeddings(pictures)
    assert "guide.model = 'nobody/no-such-clip': can't be had from the Hugging Face hub" in str(caught.value)
    assert "or use tiny, which ships" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"guide\.model = 'no such name!'"):
        load_guide("no such name!", cache_dir=tmp_path).embeddings(pictures)


def test_a_hub_model_in_the_local_cache_is_found_and_pinned_to_its_commit(
    clip_folder, pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "a" * 40
    hub = tmp_path / "hub"
    snapshot = hub / "models--team--tiny-clip" / "snapshots" / commit
    shutil.copytree(clip_folder, snapshot)
    refs = hub / "models--team--tiny-clip" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    for name in ("huggingface_hub.constants.HF_HUB_CACHE", "huggingface_hub.constants.HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(name, str(hub), raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    import fedcrucible_core.foundation.encoder as encoder

    if encoder.cached_commit("team/tiny-clip") is None:
        pytest.skip("this hub client binds its cache folder at import")
    guide = load_guide("team/tiny-clip", cache_dir=tmp_path)
    local = load_guide(str(clip_folder), cache_dir=tmp_path)
    assert guide.identity == f"team/tiny-clip@{commit}"
    assert torch.allclose(guide.embeddings(pictures), local.embeddings(pictures))


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 4, 8, 8), torch.zeros(3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)]
)
def test_images_of_another_kind_are_refused(images, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float"):
        load_guide(cache_dir=tmp_path).embeddings(images)


def test_no_class_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="class name"):
        load_guide(cache_dir=tmp_path).text_embeddings(())


def test_shipped_guide_reads_test_images(fashion_info: DataInfo, tmp_path: Path) -> None:
    import numpy as np

    from fedcrucible_assets import AssetMissingError, asset_path

    try:
        asset_path("clip-tiny-fashion")
    except AssetMissingError:
        pytest.skip("the shipped guide isn't here")
    with np.load(asset_path("fashion-test")) as file:
        images, labels = torch.from_numpy(file["images"][:1000]), torch.from_numpy(file["labels"][:1000]).long()
    guide = load_guide("tiny", cache_dir=tmp_path)
    accuracy = zero_shot_accuracy(guide, images[:, None].float() / 255, labels, fashion_info.class_names)
    assert accuracy > 82.0


def test_a_large_set_is_kept_in_parts_whose_bits_are_those_of_the_whole(
    setup, pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_guide(**setup, batch_size=2).embeddings(pictures)
    monkeypatch.setattr("fedcrucible_core.foundation.guide.CHUNK_PASSES", 2)
    setup["cache_dir"] = setup["cache_dir"] / "parts"
    guide, told = load_guide(**setup, batch_size=2), list[int]()
    guide.told = lambda _, done, total: told.append(done)
    assert torch.equal(guide.embeddings(pictures), whole)
    assert told == [0, 4, 8]
    files = sorted((setup["cache_dir"] / "guide").glob("image-*"))
    assert len(files) == 3
    files[1].unlink()  # interrupted there: the rest is read, that part is computed again
    assert torch.equal(load_guide(**setup, batch_size=2).embeddings(pictures), whole)
    assert len(list((setup["cache_dir"] / "guide").glob("image-*"))) == 3
