"""The real client against a local HTTP server that speaks the images API."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fedcrucible_core.config import ConfigError
from fedcrucible_core.foundation.sources import OpenAIImagesSource, SourceError
from fedcrucible_core.learning.data import DataInfo
from tests.support.scripted_service import Answer, ScriptedService

CPU = torch.device("cpu")
KEY = "sk-secret-key"


def png(size=(64, 64), shade=200):
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), shade, dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def listed(content):
    return {"created": 1, "data": [{"b64_json": base64.b64encode(content).decode()}]}


@pytest.fixture
def service():
    with ScriptedService((200, listed(png()), {}, 0.0)) as made:
        yield made


@pytest.fixture
def source(service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def build(**changes):
        parameters = {
            "base_url": service.url,
            "model": "painter",
            "size": "64x64",
            "api_key_env": "MY_KEY",
            "backoff_s": 0.01,
            "timeout_s": 5.0,
            "keep_dir": str(tmp_path / "kept"),
            "retries": 2,
            "parallel": 1,
        }
        return OpenAIImagesSource(**{**parameters, **changes})

    return build


def test_request_and_samples(service, source, colour_info: DataInfo) -> None:
    samples = source().generate(colour_info, 2, 1, CPU)
    assert samples.data.inputs.shape == (6, 3, 32, 32)
    assert torch.allclose(samples.data.inputs, torch.tensor(200 / 255), atol=1e-5)
    assert samples.data.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert len(service.requests) == 6
    for (method, path, headers, body), origin in zip(service.requests, samples.provenance, strict=True):
        assert (method, path) == ("POST", "/v1/images/generations")
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert body == {"model": "painter", "prompt": origin.prompt, "n": 1, "size": "64x64"}
        assert origin.source == "openai-images"


def test_grey_data_sets_get_grey_images(source, fashion_info: DataInfo) -> None:
    assert source(parallel=8).generate(fashion_info, 1, 1, CPU).data.inputs.shape == (10, 1, 28, 28)


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_base_url_with_or_without_v1(service, source, colour_info: DataInfo, suffix) -> None:
    source(base_url=service.url + suffix).generate(colour_info, 1, 1, CPU)
    assert {path for _, path, _, _ in service.requests} == {"/v1/images/generations"}


def test_url_answers_are_fetched_without_the_key(service, source, colour_info: DataInfo) -> None:
    link: Answer = (200, {"data": [{"url": f"{service.url}/picture.png?token=1"}]}, {}, 0.0)
    service.script = [link, (200, png(shade=10), {}, 0.0)] * 3
    samples = source().generate(colour_info, 1, 1, CPU)
    assert torch.allclose(samples.data.inputs, torch.tensor(10 / 255), atol=1e-5)
    gets = [headers for method, _, headers, _ in service.requests if method == "GET"]
    assert len(gets) == 3
    assert not any("Authorization" in headers for headers in gets)


def test_pictures_received_are_kept_and_a_later_run_goes_on(service, source, colour_info: DataInfo) -> None:
    service.script = [(200, listed(png()), {}, 0.0)] * 2 + [(500, b"down", {}, 0.0)] * 3
    with pytest.raises(SourceError, match=r"no answer after 3 tries .*HTTP 500: down"):
        source().generate(colour_info, 1, 1, CPU)
    service.requests.clear()
    first = source().generate(colour_info, 1, 1, CPU)
    assert len(service.requests) == 1, "two of three were kept"
    service.usual = (500, b"down", {}, 0.0)
    assert torch.equal(source().generate(colour_info, 1, 1, CPU).data.inputs, first.data.inputs)


def test_a_kept_picture_that_broke_is_asked_for_again(service, source, colour_info: DataInfo, tmp_path: Path) -> None:
    source().generate(colour_info, 1, 1, CPU)
    for file in (tmp_path / "kept" / "pictures").iterdir():
        file.write_bytes(b"junk")
    source().generate(colour_info, 1, 1, CPU)
    assert len(service.requests) == 6


@pytest.mark.parametrize("status", [429, 500, 502, 503, "drop"])
def test_busy_then_fine(service, source, colour_info: DataInfo, status) -> None:
    service.script = [(status, b"busy", {}, 0.0)] * 2
    assert len(source().generate(colour_info, 1, 1, CPU).data.inputs) == 3
    assert len(service.requests) == 5


def test_retry_after_is_respected(service, source, colour_info: DataInfo) -> None:
    service.script = [(429, b"", {"Retry-After": "0.3"}, 0.0), (429, b"", {"Retry-After": "Mon, 1 Jan"}, 0.0)]
    start = time.monotonic()
    source().generate(colour_info, 1, 1, CPU)
    assert time.monotonic() - start >= 0.3


def test_timeout_then_fine_and_timeouts_only(service, source, colour_info: DataInfo) -> None:
    slow: Answer = (200, listed(png()), {}, 0.6)
    service.script = [slow]
    assert len(source(timeout_s=0.3).generate(colour_info, 1, 1, CPU).data.inputs) == 3
    service.usual = slow
    with pytest.raises(SourceError, match=r"no answer after 1 try .*Timeout"):
        source(timeout_s=0.2, retries=0).generate(colour_info, 1, 2, CPU)


def test_nobody_listens(source, colour_info: DataInfo) -> None:
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9/v1/images/generations: no answer .*ConnectError"):
        source(base_url="http://127.0.0.1:9").generate(colour_info, 1, 1, CPU)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_variable_and_never_shown(service, source, colour_info: DataInfo, status) -> None:
    service.usual = (status, f"wrong key {KEY}".encode(), {}, 0.0)
    with pytest.raises(ConfigError) as caught:
        source().generate(colour_info, 1, 1, CPU)
    assert caught.value.key == "synthetic.openai-images.api_key_env"
    assert caught.value.value == "MY_KEY"
    assert KEY not in str(caught.value)
    assert str(status) in str(caught.value)
    assert len(service.requests) == 1, "no second try"


def test_a_missing_key_is_an_error_before_any_request_unless_none_is_wanted(
    service, source, colour_info: DataInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ConfigError, match=r"api_key_env = 'MY_KEY': that environment variable is not set"):
        source().generate(colour_info, 1, 1, CPU)
    assert not service.requests
    source(api_key_env="").generate(colour_info, 1, 1, CPU)
    assert not any("Authorization" in headers for _, _, headers, _ in service.requests)


def test_a_refused_request(service, source, colour_info: DataInfo) -> None:
    service.usual = (400, {"error": {"message": "unknown model"}}, {}, 0.0)
    with pytest.raises(ConfigError, match=r"openai-images\.model = 'painter': .*unknown model.*check base_url"):
        source().generate(colour_info, 1, 1, CPU)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        {"data": []},
        {"data": "text"},
        {"images": 1},
        {"data": [{}]},
        {"data": [{"b64_json": "%%%"}]},
        {"data": [{"b64_json": base64.b64encode(b"no picture").decode()}]},
        {"data": [{"url": "file:///etc/hostname"}]},
        {"data": [7]},
    ],
)
def test_malformed_answers(service, source, colour_info: DataInfo, answer) -> None:
    service.usual = (200, answer, {}, 0.0)
    with pytest.raises(SourceError, match="/v1/images/generations: "):
        source().generate(colour_info, 1, 1, CPU)


def test_other_size_is_resized_with_a_warning_and_too_small_is_an_error(service, source, colour_info: DataInfo) -> None:
    service.usual = (200, listed(png((96, 48))), {}, 0.0)
    with pytest.warns(RuntimeWarning, match="sends pictures of 96x48, not 64x64"):
        assert source().generate(colour_info, 1, 1, CPU).data.inputs.shape == (3, 3, 32, 32)
    service.usual = (200, listed(png((16, 16))), {}, 0.0)
    with pytest.raises(SourceError, match="picture of 16x16, and toy needs at least 32x32"):
        source().generate(colour_info, 1, 2, CPU)


def test_an_error_stops_what_is_not_yet_under_way(service, source, colour_info: DataInfo) -> None:
    service.usual = (400, b"no", {}, 0.0)
    with pytest.raises(ConfigError):
        source(parallel=2).generate(colour_info, 30, 1, CPU)
    assert len(service.requests) <= 2


def test_order_does_not_depend_on_who_answers_first(service, source, colour_info: DataInfo) -> None:
    service.script = [(200, listed(png(shade=s)), {}, 0.2 if s == 10 else 0.0) for s in (10, 20, 30)]
    samples = source(parallel=3).generate(colour_info, 1, 1, CPU)
    by_prompt = {origin.prompt: image for origin, image in zip(samples.provenance, samples.data.inputs, strict=True)}
    for (_, _, _, body), shade in zip(service.requests, (10, 20, 30), strict=True):
        assert torch.allclose(by_prompt[body["prompt"]], torch.tensor(shade / 255), atol=1e-5)


@pytest.mark.parametrize("parameters", [{"size": "big"}, {"size": "0x64"}, {"timeout_s": 0}, {"api_key": KEY}])
def test_bad_parameters(parameters) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        OpenAIImagesSource(**parameters)


def test_bad_address(source, colour_info: DataInfo) -> None:
    with pytest.raises(ConfigError, match=r"base_url = 'ftp://x'"):
        source(base_url="ftp://x").generate(colour_info, 1, 1, CPU)
