"""Synthetic images of a service that speaks the OpenAI images API."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.foundation.base import SOURCES, Provenance, Samples, SourceError, SyntheticSource
from fedcrucible_core.foundation.cache import digest
from fedcrucible_core.foundation.http_retry import RefusedError, Retry, excerpt
from fedcrucible_core.foundation.pixels import fit
from fedcrucible_core.foundation.prompts import expand_prompts
from fedcrucible_core.foundation.sources.fashion import interleaved_labels
from fedcrucible_core.foundation.sources.pictures import decode_picture
from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.rng import torch_generator

if TYPE_CHECKING:
    import httpx

LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")


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
        import httpx

        labels = interleaved_labels(info.num_classes, per_class)
        names = [info.class_names[label] for label in labels.tolist()]
        prompts = expand_prompts(names, torch_generator(seed, "synthetic/prompts"))
        key = self._key()
        folder = cache_folder(self.keep_dir) / "pictures"
        failed: list[int] = []
        direct = dict.fromkeys(LOOPBACK)  # a service on this machine is not behind the proxy of the environment
        with httpx.Client(timeout=self.timeout_s, follow_redirects=True, mounts=direct) as client:

            def draw(index: int) -> Tensor | None:
                if failed:  # nothing more is asked (or paid) for once a request has failed
                    return None
                kept = folder / digest(self._url(), self.model, self.size, prompts[index], f"{seed}/{index}")
                if kept.is_file():
                    with contextlib.suppress(SourceError, OSError):
                        return self._decode(kept.read_bytes(), info)
                try:
                    content = self._request(client, prompts[index], key)
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

    def _url(self) -> str:
        base = self.base_url.rstrip("/")
        if not base.startswith(("http://", "https://")):
            raise ConfigError("synthetic.openai-images.base_url", self.base_url, "must start with http:// or https://")
        return f"{base.removesuffix('/v1')}/v1/images/generations"

    def _key(self) -> str:
        if not self.api_key_env:
            return ""
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            wanted = "that environment variable is not set; export it, or set this key to '' for a service without keys"
            raise ConfigError("synthetic.openai-images.api_key_env", self.api_key_env, wanted)
        return key

    def _request(self, client: httpx.Client, prompt: str, key: str) -> bytes:
        """The picture file that the service makes of a prompt."""
        url = self._url()
        body = {"model": self.model, "prompt": prompt, "n": 1, "size": self.size}
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = self._try(lambda: client.post(url, json=body, headers=headers), url, key)
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
            return self._try(lambda: client.get(link), link.split("?")[0], key).content  # the key stays at home
        raise SourceError(f"{url}: the answer has neither b64_json nor url: {excerpt(answer.text, key)}")

    def _try(self, request: Callable[[], httpx.Response], url: str, key: str) -> httpx.Response:
        """The answer; a refusal names the setting that is to blame."""
        try:
            return Retry(self.retries, self.backoff_s).send(request, url, key)
        except RefusedError as refused:
            if refused.status in (401, 403):
                wanted = f"the service refused the key in that environment variable ({refused})"
                raise ConfigError("synthetic.openai-images.api_key_env", self.api_key_env, wanted) from None
            wanted = f"the service refused the request ({refused}); check base_url, model and size"
            raise ConfigError("synthetic.openai-images.model", self.model, wanted) from None

    def _decode(self, content: bytes, info: DataInfo) -> Tensor:
        """The picture as ``[1, C, H, W]``; its size may differ from the one asked for, but not be too small."""
        try:
            picture = decode_picture(content, info.shape[0])
        except ValueError as error:
            raise SourceError(f"{self._url()}: the service sent {error}") from error
        height, width = picture.shape[-2:]
        if height < info.shape[1] or width < info.shape[2]:
            wanted = f"{info.name} needs at least {info.shape[2]}x{info.shape[1]}"
            raise SourceError(f"{self._url()}: the service sent a picture of {width}x{height}, and {wanted}")
        if f"{width}x{height}" != self.size:
            message = f"the service sends pictures of {width}x{height}, not {self.size} as asked; they are resized"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        return fit(picture[None], info.shape)


def _keep(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        warnings.warn(f"can't keep the received picture at {path} ({error})", RuntimeWarning, stacklevel=2)
