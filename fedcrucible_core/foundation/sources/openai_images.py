"""Synthetic images of a service that speaks the OpenAI images API."""

from __future__ import annotations

import base64
import binascii
import contextlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.foundation.base import SOURCES, Provenance, Samples, SourceError, SyntheticSource
from fedcrucible_core.foundation.cache import digest
from fedcrucible_core.foundation.http_retry import Retry, excerpt
from fedcrucible_core.foundation.http_service import Service, authorization, open_client
from fedcrucible_core.foundation.pixels import fit
from fedcrucible_core.foundation.prompts import expand_prompts
from fedcrucible_core.foundation.sources.fashion import interleaved_labels
from fedcrucible_core.foundation.sources.pictures import decode_picture
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.rng import torch_generator

if TYPE_CHECKING:
    import httpx

PATH = "/images/generations"


@SOURCES.register("openai-images")
class OpenAIImagesSource(SyntheticSource):
    """Text-to-image service with the OpenAI API: ``POST {base_url}/v1/images/generations``, one request per image.

    Answers with ``b64_json`` or ``url`` are understood. Every picture received is kept in ``keep_dir``, so a run that
    broke off goes on where it stopped and doesn't pay twice. The service draws at its own random: only kept pictures
    make a run repeatable.
    """

    paper = ("gai2025clipfed", "Generation of Image-Text Samples")
    choices = ("server-images", "moment-match")
    knowledge: ClassVar[tuple[str, ...]] = ("a text-to-image service that knows the classes",)
    offline: ClassVar[bool] = False

    base_url: str = Field("https://api.openai.com", description="Address of the service, with or without /v1")
    model: str = Field("dall-e-2", description="Model name, as the service knows it")
    size: str = Field("256x256", pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$", description="Size asked for, WIDTHxHEIGHT")
    api_key_env: str = Field(
        "OPENAI_API_KEY", description="Name of the environment variable that holds the key; empty = no key is sent"
    )
    timeout_s: float = Field(120.0, gt=0.0, description="Seconds to wait for one answer")
    retries: int = Field(4, ge=0, le=20, description="Further tries after 429, 5xx, a timeout or a lost connection")
    backoff_s: float = Field(1.0, ge=0.0, description="Wait before the first further try; doubles each time")
    parallel: int = Field(4, ge=1, le=64, description="Requests under way at once")
    keep_dir: str = Field("", description="Folder of received pictures; empty = FEDCRUCIBLE_CACHE or the user cache")

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:  # noqa: ARG002
        """``per_class`` images of every class, classes in turn; each prompt is in the provenance.

        Raises:
            ConfigError: no key where one is wanted, or the service refuses it (401, 403) or the request (4xx).
            SourceError: the service can't be reached or keeps failing, or its answer can't be read.
        """
        labels = interleaved_labels(info.num_classes, per_class)
        names = [info.class_names[label] for label in labels.tolist()]
        prompts = expand_prompts(names, torch_generator(seed, "synthetic/prompts"))
        service = self._service()
        url, key = service.url(PATH), service.key()
        folder = cache_folder(self.keep_dir) / "pictures"
        failed: list[int] = []
        with open_client(self.timeout_s) as client:

            def draw(index: int) -> Tensor | None:
                if failed:  # nothing more is asked (or paid) for once a request has failed
                    return None
                kept = folder / digest(url, self.model, self.size, prompts[index], f"{seed}/{index}")
                if kept.is_file():
                    with contextlib.suppress(SourceError, OSError):
                        return self._decode(kept.read_bytes(), info)
                try:
                    content = self._request(client, service, prompts[index], key)
                    picture = self._decode(content, info)
                except Exception:
                    failed.append(index)
                    raise
                _keep(kept, content)
                return picture

            with ThreadPoolExecutor(self.parallel) as pool:
                images = [image for image in pool.map(draw, range(len(prompts))) if image is not None]
        provenance = tuple(Provenance(self.name, prompt, i) for i, prompt in enumerate(prompts))
        return Samples(Labeled(torch.cat(images), labels), provenance)

    def _service(self) -> Service:
        retry = Retry(self.retries, self.backoff_s)
        section, hint = "synthetic.openai-images", "check base_url, model and size"
        return Service(section, self.base_url, self.model, self.api_key_env, retry, hint)

    def _request(self, client: httpx.Client, service: Service, prompt: str, key: str) -> bytes:
        """The picture file that the service makes of a prompt."""
        url = service.url(PATH)
        body = {"model": self.model, "prompt": prompt, "n": 1, "size": self.size}
        answer = service.send(lambda: client.post(url, json=body, headers=authorization(key)), url, key)
        try:
            entry: Any = answer.json()["data"][0]
            encoded, link = entry.get("b64_json"), entry.get("url")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise SourceError(f"{url}: the answer isn't an image list: {excerpt(answer.text, key)}") from error
        if isinstance(encoded, str) and encoded:
            try:
                return base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError) as error:
                raise SourceError(f"{url}: b64_json isn't base64 ({error})") from error
        if isinstance(link, str) and link.startswith(("http://", "https://")):
            return service.send(lambda: client.get(link), link.split("?")[0], key).content  # the key stays at home
        raise SourceError(f"{url}: the answer has neither b64_json nor url: {excerpt(answer.text, key)}")

    def _decode(self, content: bytes, info: DataInfo) -> Tensor:
        """The picture as ``[1, C, H, W]``; its size may differ from the one asked for, but not be too small."""
        try:
            picture = decode_picture(content, info.shape[0])
        except ValueError as error:
            raise SourceError(f"{self._service().url(PATH)}: the service sent {error}") from error
        height, width = picture.shape[-2:]
        if height < info.shape[1] or width < info.shape[2]:
            wanted = f"{info.name} needs at least {info.shape[2]}x{info.shape[1]}"
            url = self._service().url(PATH)
            raise SourceError(f"{url}: the service sent a picture of {width}x{height}, and {wanted}")
        if f"{width}x{height}" != self.size:
            message = f"the service sends pictures of {width}x{height}, not {self.size} as asked; they are resized"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        return fit(picture[None], info.shape)


def _keep(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        warnings.warn(f"can't keep the received picture at {path} ({error})", RuntimeWarning, stacklevel=2)
