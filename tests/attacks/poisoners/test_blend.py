"""Blend: x' = (1 - a) x + a k."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.poisoners.blend import Blend
from fedcrucible_core.config import ConfigError
from tests.support.tiny_task import COLOUR, GREY, stamped


def test_worked_number() -> None:
    x, key = torch.full((1, *COLOUR), 0.5), Blend().key(COLOUR)
    expected = 0.8 * 0.5 + 0.2 * key.double().numpy()
    assert np.allclose(stamped(Blend(), x)[0].numpy(), expected, atol=1e-6)


def test_no_opacity_is_identity_and_full_opacity_the_key() -> None:
    x = torch.rand(3, *COLOUR)
    assert torch.equal(stamped(Blend(alpha=0.0), x), x)
    assert torch.equal(stamped(Blend(alpha=1.0), x), Blend().key(COLOUR).expand_as(x))


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.7])
def test_it_is_linear(alpha) -> None:
    attack, a, b = Blend(alpha=alpha), torch.rand(2, *GREY), torch.rand(2, *GREY)
    mixed = stamped(attack, 0.3 * a + 0.7 * b)
    assert torch.allclose(mixed, 0.3 * stamped(attack, a) + 0.7 * stamped(attack, b), atol=1e-6)
    assert torch.allclose(stamped(attack, a) - stamped(attack, b), (1 - alpha) * (a - b), atol=1e-6)


def test_the_noise_key_belongs_to_its_seed() -> None:
    torch.manual_seed(0)
    first = Blend().key(COLOUR)
    torch.manual_seed(1)
    assert torch.equal(Blend().key(COLOUR), first)
    assert not torch.equal(Blend(seed=1).key(COLOUR), first)
    assert abs(float(first.mean()) - 0.5) < 0.02
    assert abs(float(first.var()) - 1 / 12) < 0.01


def test_a_picture_can_be_the_key(tmp_path: Path) -> None:
    path = tmp_path / "key.png"
    Image.fromarray(np.full((40, 60, 3), (255, 0, 51), dtype=np.uint8)).save(path)
    key = Blend(image=str(path)).key(COLOUR)
    assert key.shape == COLOUR
    assert torch.allclose(key.amax((1, 2)), torch.tensor([1.0, 0.0, 0.2]), atol=1e-6)
    assert Blend(image=str(path)).key(GREY).shape == GREY
    assert torch.equal(stamped(Blend(alpha=1.0, image=str(path)), torch.zeros(1, *COLOUR))[0], key)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    for path in (tmp_path / "a.png", tmp_path / "absent.png"):
        with pytest.raises(ConfigError, match=r"attack.blend.image = .*allowed: a picture file"):
            Blend(image=str(path)).key(COLOUR)
