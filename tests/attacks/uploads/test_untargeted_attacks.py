"""Sign flip, Gaussian, IPM, ALIE, Min-Max, Min-Sum: worked numbers, slow references, pitfalls."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attacks.support.benign_statistics import FromBenignStatistics
from attacks.support.untargeted import Untargeted
from attacks.uploader import UPLOADERS, CraftContext
from attacks.uploads.alie import ALIE, largest_z
from attacks.uploads.gaussian import Gaussian
from attacks.uploads.ipm import IPM
from attacks.uploads.min_max import MinMax, MinSum, pair_distances, perturbation
from attacks.uploads.sign_flip import SignFlip

THREE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
G = torch.tensor([10.0, -20.0])


def context(clean: Tensor | None = None, n: int = 10, m: int | None = None, seed: int = 0) -> CraftContext:
    rng = torch.Generator().manual_seed(seed)
    attackers = m or (1 if clean is None else len(clean))
    return CraftContext(1, 0, n, (), rng, attackers=attackers, clean_updates=clean)


def update(attack: Untargeted, clean: Tensor, **more: int) -> Tensor:
    """What the attack adds to the global model."""
    g = torch.zeros(clean.shape[1])
    return attack.craft(g, None, clean[0], context(clean, **more))


def random_updates(seed: int, k: int = 5, d: int = 30) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(k, d, generator=rng) + torch.randn(d, generator=rng)


def test_sign_flip_uploads_the_opposite_of_the_clean_update() -> None:
    clean = torch.tensor([11.0, -18.0])
    assert SignFlip().craft(G, None, clean, context()).tolist() == [9.0, -22.0]
    assert SignFlip(scale=3.0).craft(G, None, clean, context()).tolist() == [7.0, -26.0]


def test_gaussian_is_noise_around_the_global_model() -> None:
    g = torch.full((200_000,), 5.0)
    noise = Gaussian(sigma=0.25).craft(g, None, g + 7.0, context()) - g
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.003)
    assert float(noise.std()) == pytest.approx(0.25, rel=0.01)


def test_gaussian_draws_from_the_generator_it_is_given() -> None:
    g = torch.zeros(5)
    first, again = (Gaussian().craft(g, None, g, context(seed=1)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, Gaussian().craft(g, None, g, context(seed=2)))


def test_ipm_uploads_the_negated_mean() -> None:
    assert update(IPM(epsilon=0.5), THREE).tolist() == pytest.approx([-1 / 3, -1 / 3])


@pytest.mark.parametrize(
    ("n", "m", "z"), [(50, 10, 0.2533), (100, 20, 0.2858), (20, 8, 0.6745), (10, 2, 0.0), (10, 1, -0.1397)]
)
def test_alie_z(n: int, m: int, z: float) -> None:
    assert largest_z(n, m) == pytest.approx(z, abs=5e-5)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (2, 2), (5, 3), (10, 9), (10, 10), (3, 0)])
def test_alie_z_is_finite_where_the_formula_is_not(n: int, m: int) -> None:
    assert math.isfinite(largest_z(n, m))


def test_alie_is_the_mean_minus_z_deviations() -> None:
    clean = random_updates(1)
    mean, std = clean.double().mean(0).numpy(), np.std(clean.double().numpy(), axis=0)
    expected = mean - largest_z(20, 5) * std
    assert update(ALIE(), clean, n=20).double().numpy() == pytest.approx(expected, abs=1e-5)
    assert update(ALIE(z_max=2.0), clean).double().numpy() == pytest.approx(mean - 2.0 * std, abs=1e-5)


def test_min_max_worked_number() -> None:
    p = perturbation(THREE, "unit")
    gamma = MinMax().gamma(THREE, THREE.mean(0), p, 1.0)
    assert gamma == pytest.approx(0.94281, abs=1e-5)
    assert update(MinMax(), THREE).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_min_sum_worked_number() -> None:
    assert MinSum().gamma(THREE, THREE.mean(0), perturbation(THREE, "unit"), 1.0) == pytest.approx(0.74536, abs=1e-5)


def test_directions() -> None:
    b = THREE.double().numpy()
    mean = b.mean(0)
    assert perturbation(THREE, "unit").numpy() == pytest.approx(-mean / np.linalg.norm(mean))
    assert perturbation(THREE, "std").numpy() == pytest.approx(-b.std(0))
    assert perturbation(torch.tensor([[-2.0, 0.0, 3.0]]), "sign").tolist() == [1.0, 0.0, -1.0]


def within_max(b: np.ndarray, m: np.ndarray) -> float:
    """How far inside the Min-Max bound m lies, relative to it; negative = outside. By loops."""
    bound = max(float(np.linalg.norm(x - y)) for x in b for y in b)
    return 1.0 - max(float(np.linalg.norm(m - x)) for x in b) / bound


def within_sum(b: np.ndarray, m: np.ndarray) -> float:
    bound = max(sum(float(np.linalg.norm(x - y)) ** 2 for y in b) for x in b)
    return 1.0 - sum(float(np.linalg.norm(m - x)) ** 2 for x in b) / bound


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 7), direction=st.sampled_from(["unit", "std", "sign"]))
def test_the_largest_step_keeps_the_bound_and_a_longer_one_breaks_it(seed: int, k: int, direction: str) -> None:
    clean = random_updates(seed, k)
    b = clean.double().numpy()
    p, mean = perturbation(clean, direction).double().numpy(), b.mean(0)
    for attack, within in ((MinMax(direction=direction), within_max), (MinSum(direction=direction), within_sum)):
        crafted = update(attack, clean).double().numpy()
        gamma = float((crafted - mean) @ p / (p @ p))
        assert gamma >= 0
        assert within(b, crafted) == pytest.approx(0.0, abs=1e-5)
        assert within(b, crafted) >= -1e-6
        assert within(b, mean + 1.01 * gamma * p) < 0


@pytest.mark.parametrize("attack", [MinMax(), MinSum(), MinMax(direction="std"), MinSum(direction="std")])
def test_equal_benign_updates_leave_no_room(attack: Untargeted) -> None:
    clean = torch.tensor([[1.0, 2.0]]).expand(4, 2)
    assert update(attack, clean).tolist() == pytest.approx([1.0, 2.0], abs=1e-6)


@pytest.mark.parametrize("name", ["min-max", "min-sum", "alie"])
def test_a_lone_attacker_looks_honest(name: str) -> None:
    attack, own = UPLOADERS.create(name), torch.tensor([11.0, -18.5])
    assert torch.equal(attack.craft(G, None, own, context(None)), own)
    assert torch.equal(attack.craft(G, None, own, context((own - G)[None])), own)


def test_zero_updates_stay_finite() -> None:
    for name, cls in UPLOADERS.classes().items():
        if issubclass(cls, Untargeted) and name != "gaussian":
            assert torch.equal(update(UPLOADERS.create(name), torch.zeros(4, 3)), torch.zeros(3))


def test_distances_of_close_long_updates_are_right() -> None:
    base = torch.full((1000,), 100.0)
    rows = torch.stack([base, base + 0.01])
    expected = float((rows[1].double() - rows[0].double()).square().sum())
    assert float(pair_distances(rows)[0, 1]) == pytest.approx(expected, rel=1e-4)


def test_statistics_hold_clean_updates_only() -> None:
    # Pitfall: statistics over the attackers' own crafted gradients. Here craft sees nothing but clean updates.
    for cls in UPLOADERS.classes().values():
        if issubclass(cls, FromBenignStatistics):
            assert cls.needs_clean_updates
            assert cls.knowledge
    crafted = update(IPM(epsilon=100.0), THREE)
    assert torch.equal(update(IPM(epsilon=100.0), THREE), crafted)


def test_colluders_upload_the_same_vector() -> None:
    clean = random_updates(3)
    for name in ("ipm", "alie", "min-max", "min-sum"):
        attack, g = UPLOADERS.create(name), torch.zeros(clean.shape[1])
        uploads = [attack.craft(g, None, own, context(clean)) for own in clean]
        assert all(torch.equal(upload, uploads[0]) for upload in uploads)


def test_none_of_them_has_a_trigger() -> None:
    untargeted = {n for n, c in UPLOADERS.classes().items() if issubclass(c, Untargeted)}
    assert untargeted >= {"sign-flip", "gaussian", "ipm", "alie", "min-max", "min-sum"}
    assert not any(UPLOADERS[name].plants for name in untargeted)
