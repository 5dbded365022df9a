from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fedcrucible_core.foundation.cache import digest, files_digest
from fedcrucible_core.foundation.pixels import center_crop, fit, moment_match, to_channels


def pictures(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("have", [(1, 28, 28), (3, 64, 64), (3, 20, 50), (3, 50, 20), (1, 8, 8)])
@pytest.mark.parametrize("want", [(1, 28, 28), (3, 32, 32), (3, 24, 48)])
def test_fit_gives_the_shape_in_range(have, want) -> None:
    x = pictures(5, *have)
    out = fit(x, want)
    assert out.shape == (5, *want)
    assert out.dtype == torch.float32
    assert out.is_contiguous()
    assert 0 <= out.min() <= out.max() <= 1


def test_fit_keeps_proportions_by_taking_the_middle() -> None:
    x = torch.zeros(1, 1, 10, 30)
    x[..., 10:20] = 1
    assert torch.equal(fit(x, (1, 10, 10)), torch.ones(1, 1, 10, 10))


def test_resize_is_antialiased() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    assert (fit(stripes, (1, 16, 16)) - 0.5).abs().max() < 0.1


def test_grey_is_luma_and_colour_is_repetition() -> None:
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None].expand(1, 3, 2, 2)
    assert torch.allclose(to_channels(red, 1), torch.full((1, 1, 2, 2), 0.299))
    assert torch.equal(to_channels(torch.ones(1, 1, 2, 2), 3), torch.ones(1, 3, 2, 2))
    with pytest.raises(ValueError, match="4 channels"):
        to_channels(torch.ones(1, 4, 2, 2), 3)


def test_crop_pads_where_the_image_is_smaller() -> None:
    assert torch.equal(
        center_crop(torch.ones(1, 1, 2, 2), 4, 2)[0, 0], torch.tensor([[0, 0], [1, 1], [1, 1], [0, 0.0]])
    )


def test_moments_match_the_published_ones_before_clipping() -> None:
    x = pictures(100, 3, 16, 16) * torch.tensor([1.0, 0.5, 0.2])[None, :, None, None]
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    matched = moment_match(x, mean, std, clip=False)
    assert torch.allclose(matched.mean(dim=(0, 2, 3)), torch.tensor(mean), atol=1e-5)
    assert torch.allclose(matched.transpose(0, 1).flatten(1).std(dim=1), torch.tensor(std), atol=1e-4)
    clipped = moment_match(x, mean, std)
    assert 0 <= clipped.min() <= clipped.max() <= 1
    assert torch.allclose(clipped.mean(dim=(0, 2, 3)), torch.tensor(mean), atol=1e-2)


def test_a_constant_channel_becomes_the_published_mean() -> None:
    assert torch.allclose(moment_match(torch.full((2, 1, 4, 4), 0.7), (0.3,), (0.2,)), torch.tensor(0.3))


def test_digest_tells_parts_shapes_types_and_values_apart(tmp_path: Path) -> None:
    x = torch.arange(6.0)
    keys = [
        digest("ab", "c"),
        digest("a", "bc"),
        digest("abc"),
        digest(b"abc"),
        digest(x),
        digest(x.reshape(2, 3)),
        digest(x.double()),
        digest(x + 1),
        digest(x[:0]),
    ]
    assert len(set(keys)) == len(keys)
    assert digest(x) == digest(x.clone())
    assert digest(x.reshape(2, 3).T) == digest(x.reshape(2, 3).T.contiguous())
    file = tmp_path / "a.bin"
    file.write_bytes(b"one")
    first = files_digest([file])
    file.write_bytes(b"other")
    assert files_digest([file]) != first
