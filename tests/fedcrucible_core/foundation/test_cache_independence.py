"""What a cache holds is what would be computed now, whoever filled it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedcrucible_core.foundation.base import Provenance, Samples, SyntheticSource
from fedcrucible_core.foundation.cache import arithmetic, plain
from fedcrucible_core.foundation.guide import load_guide
from fedcrucible_core.foundation.server_data import cached_samples
from fedcrucible_core.learning.data import DataInfo, Labeled
from tests.support.tiny_runs import play

SETTINGS = ((250, 1), (7, 1), (250, 2), (7, 2))
"""Images a forward pass, threads."""
CPU = torch.device("cpu")


class _Teller:
    """Stands for the model; its embeddings tell under what they were computed."""

    identity, logit_scale, logit_bias = "", torch.ones(()), torch.zeros(())

    def __init__(self, model: str, family: str, device: torch.device) -> None:
        pass

    def images(self, images: Tensor, batch_size: int) -> Tensor:
        return torch.tensor([[batch_size, torch.get_num_threads()]] * len(images), dtype=torch.float32)

    def texts(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([[1.0, torch.get_num_threads()]] * len(texts))


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("order", [SETTINGS, SETTINGS[::-1]])
def test_embeddings_do_not_depend_on_who_filled_the_cache(
    order: tuple[tuple[int, int], ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcrucible_core.foundation.encoder.Encoder", _Teller)
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for batch_size, threads in (*order, *order):
        torch.set_num_threads(threads)
        guide = load_guide("tiny", batch_size=batch_size, cache_dir=tmp_path)
        assert guide.embeddings(images)[0].tolist() == [batch_size, threads]
        found = guide.text_embeddings(("bag", "coat"))[0]
        assert float(found[1] / found[0]) == pytest.approx(threads)


def test_embeddings_do_not_depend_on_the_memory_layout_of_the_images(tmp_path: Path) -> None:
    images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    straight = load_guide("tiny", cache_dir=tmp_path / "a").embeddings(images)
    turned = images.to(memory_format=torch.channels_last)
    assert torch.equal(load_guide("tiny", cache_dir=tmp_path / "b").embeddings(turned), straight)


def test_a_copy_has_the_strides_of_a_fresh_tensor() -> None:
    one_channel = torch.rand(2, 4, 4, 1).permute(0, 3, 1, 2)
    assert plain(one_channel).stride() == torch.empty(2, 1, 4, 4).stride()
    assert torch.equal(plain(one_channel), one_channel)


class _ThreadTeller(SyntheticSource):
    """Its images tell under how many threads they were made."""

    name = "thread-teller"

    def generate(self, info: DataInfo, per_class: int, seed: int, device: torch.device) -> Samples:
        n = info.num_classes * per_class
        images = torch.full((n, *info.shape), torch.get_num_threads() / 100)
        return Samples(Labeled(images, torch.arange(n) % info.num_classes), (Provenance(self.name, "", 0),) * n)


def test_generated_images_do_not_depend_on_who_filled_the_cache(colour_info: DataInfo, tmp_path: Path) -> None:
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        made = cached_samples(_ThreadTeller(), colour_info, 2, 1, CPU, tmp_path)
        assert float(made.data.inputs[0, 0, 0, 0]) == pytest.approx(threads / 100)
    assert len(list((tmp_path / "synthetic").iterdir())) == 2


def test_the_arithmetic_of_a_device_names_its_threads() -> None:
    torch.set_num_threads(1)
    one = arithmetic(CPU)
    torch.set_num_threads(2)
    assert arithmetic(CPU) != one


def test_a_run_ends_in_the_same_model_whatever_ran_before(runs_folder: Path, tmp_path: Path) -> None:
    def sha(cache: str, batch_size: int) -> str:
        changes = {"guide__cache_dir": str(tmp_path / cache), "guide__batch_size": batch_size}
        return play(strategy="clip-fed", run__rounds=1, synthetic__per_class=20, **changes)[0].parameters_sha256

    fresh = sha("fresh", 250)
    sha("used", 7)
    assert sha("used", 250) == fresh
