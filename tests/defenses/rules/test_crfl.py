"""CRFL: the model is clipped, never the update; noise; votes; certificates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from defenses.base import Aggregate, ClientUpdates
from defenses.contracts.setting import INFO, D, tiny_model, tiny_start
from defenses.kernels.certificate import (
    LastRound,
    allowed_shift,
    certified_radius,
    gradient_change,
    input_bound,
    largest_lr,
)
from defenses.kernels.votes import vote_bounds
from defenses.rules.crfl import CRFL
from defenses.smoothing import noisy_votes
from defenses.updates import ServerView
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models import Logistic
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import flatten_buffers, flatten_parameters, load_parameters


def crfl(w_t: torch.Tensor, updates: torch.Tensor, round: int = 1, rounds: int = 0, **options: float) -> Aggregate:
    n = len(updates)
    return CRFL.model_validate(options).aggregate(
        ClientUpdates(
            w_t, updates, torch.ones(n, dtype=torch.float64), range(n), round, torch.Generator().manual_seed(round),
            {}, ServerView(rounds=rounds),
        )
    )  # fmt: skip


class TestRule:
    def test_the_bound_grows_to_its_cap(self) -> None:
        assert [CRFL().bound(t) for t in (1, 10, 100, 130, 200)] == pytest.approx([2.1, 3.0, 12.0, 15.0, 15.0])

    def test_the_model_is_clipped_not_the_update(self) -> None:
        """w = (3, 0), mean update (0, 4): the model (3, 4) has norm 5 and comes out with norm 2.1."""
        w_t = torch.tensor([3.0, 0.0])
        result = crfl(w_t, torch.tensor([[0.0, 4.0], [0.0, 4.0]]), sigma=0.0)
        assert (w_t + result.delta).tolist() == pytest.approx([3 * 2.1 / 5, 4 * 2.1 / 5])
        assert result.facts["clip"] == pytest.approx(2.1 / 5)
        assert result.facts["model_norm"] == pytest.approx(5.0)
        assert result.facts["sent_norm"] == pytest.approx(3.0)

    def test_a_long_update_to_a_short_model_is_left(self) -> None:
        """An update longer than the bound is no reason to clip."""
        w_t = torch.tensor([-2.0, 0.0])
        result = crfl(w_t, torch.tensor([[4.0, 0.0]]), sigma=0.0)
        assert result.delta.tolist() == [4.0, 0.0]

    def test_a_huge_update_gives_a_model_within_the_bound(self) -> None:
        w_t = torch.ones(5)
        result = crfl(w_t, torch.stack([torch.full((5,), 3e38), torch.zeros(5)]), sigma=0.0)
        assert float((w_t + result.delta).norm()) == pytest.approx(2.1, rel=1e-6)

    def test_zero_updates_are_clipped_all_the_same(self) -> None:
        result = crfl(torch.tensor([0.0, 30.0]), torch.zeros(3, 2), sigma=0.0)
        assert result.delta.tolist() == pytest.approx([0.0, 2.1 - 30.0])

    def test_noise_has_deviation_sigma_on_every_parameter_after_clipping(self) -> None:
        w_t, updates = torch.full((40_000,), 0.1), torch.zeros(2, 40_000)
        noise = (crfl(w_t, updates).delta - crfl(w_t, updates, sigma=0.0).delta).double()
        assert float(noise.std()) == pytest.approx(0.01, rel=0.02)
        assert float((noise != 0).double().mean()) > 0.999

    def test_the_last_round_is_clipped_only(self) -> None:
        w_t, updates = torch.ones(10), torch.zeros(2, 10)
        assert crfl(w_t, updates, round=2, rounds=3).facts["noise"] == 0.01
        last = crfl(w_t, updates, round=3, rounds=3)
        assert last.facts["noise"] == 0.0
        assert float((w_t + last.delta).norm()) == pytest.approx(2.3)
        assert crfl(w_t, updates, round=3, rounds=3, copies=0).facts["noise"] == 0.01, "no vote takes its place"

    def test_examples_weigh(self) -> None:
        result = CRFL(sigma=0.0).aggregate(
            ClientUpdates(
                torch.zeros(1), torch.tensor([[0.0], [1.0]]), torch.tensor([1.0, 3.0]), [0, 1], 1, torch.Generator()
            )
        )
        assert result.delta.tolist() == pytest.approx([0.75])
        assert result.weights.tolist() == [0.25, 0.75]

    def test_what_it_asks_of_the_evaluation(self) -> None:
        asked = CRFL().needs.smoothing
        assert asked is not None
        assert (asked.copies, asked.sigma, asked.alpha, asked.copies_between) == (1000, 0.01, 0.001, 0)
        assert CRFL(copies=0).needs.smoothing is None


class TestVotes:
    def votes(self, sigma: float, copies: int, seed: int = 0) -> list[torch.Tensor]:
        images = torch.rand(7, *INFO.shape, generator=torch.Generator().manual_seed(1))
        rng = torch.Generator().manual_seed(seed)
        return noisy_votes(self.model, [images, images[:3]], sigma, copies, rng, 4, torch.device("cpu"))

    def setup_method(self) -> None:
        self.model = tiny_model()

    def test_each_copy_votes_once_on_each_image(self) -> None:
        first, second = self.votes(0.05, 20)
        assert first.sum(1).tolist() == [20] * 7
        assert torch.equal(first[:3], second), "both sets see the same copies"
        assert not torch.equal(first, self.votes(0.05, 20, seed=1)[0])

    def test_against_a_loop_over_copies(self) -> None:
        images = torch.rand(7, *INFO.shape, generator=torch.Generator().manual_seed(1))
        rng, expected = torch.Generator().manual_seed(0), torch.zeros(7, 5)
        for _ in range(6):
            copy = tiny_model()
            load_parameters(copy, tiny_start() + 0.5 * torch.randn(D, generator=rng))
            with torch.no_grad():
                for i, image in enumerate(images):
                    expected[i, int(copy(image[None]).argmax())] += 1
        assert torch.equal(self.votes(0.5, 6)[0].float(), expected)

    def test_without_noise_all_agree(self) -> None:
        with torch.no_grad():
            plain = self.model(torch.rand(7, *INFO.shape, generator=torch.Generator().manual_seed(1))).argmax(1)
        assert torch.equal(self.votes(0.0, 3)[0].argmax(1), plain)

    def test_the_model_is_as_before(self) -> None:
        parameters, buffers = flatten_parameters(self.model), flatten_buffers(self.model)
        self.votes(1.0, 5)
        assert torch.equal(flatten_parameters(self.model), parameters)
        assert torch.equal(flatten_buffers(self.model), buffers)

    def test_worked_bounds(self) -> None:
        """sqrt(ln 1000 / 2000) = .05877; 900 against 60 of 1000 votes."""
        lower, upper = vote_bounds(torch.tensor([[900, 60, 40], [500, 500, 0], [1000, 0, 0], [20, 490, 490]]), 0.001)
        slack = math.sqrt(math.log(1000) / 2000)
        assert slack == pytest.approx(0.05877, abs=1e-5)
        assert lower.tolist() == pytest.approx([0.9 - slack, 0.5 - slack, 1 - slack, 0.49 - slack])
        assert upper.tolist() == pytest.approx([0.06 + slack, 0.5 + slack, slack, 0.49 + slack])

    def test_the_runner_up_has_no_more_than_the_winner_leaves(self) -> None:
        lower, upper = vote_bounds(torch.tensor([[98, 2]]), 0.001)
        assert float(lower + upper) <= 1.0 + 1e-12


class TestCertificate:
    info = DataInfo("grey", ("a", "b", "c", "d"), (1, 3, 3), (0.3,), (0.4,))

    def past(self, **changes: float) -> LastRound:
        bound = input_bound(task_of(self.info).energy_bound)
        values = {
            "sent_norm": 1.5, "share": 0.2, "lr": 0.9 * largest_lr(bound), "steps": 3, "input_bound": bound,
            "smallest_std": 0.4,
        } | changes  # fmt: skip
        return LastRound(**values)  # type: ignore[arg-type]

    def model(self, seed: int, norm: float) -> torch.nn.Module:
        model = Logistic().build(self.info, seed)
        w = flatten_parameters(model)
        load_parameters(model, w * norm / float(w.norm()))
        return model

    def gradient(self, model: torch.nn.Module, x: torch.Tensor, y: int) -> torch.Tensor:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(x[None]), torch.tensor([y])).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    def test_no_image_is_longer_than_the_bound(self) -> None:
        bright = torch.ones(1, 3, 3)
        normalised = (bright - 0.3) / 0.4
        assert input_bound(task_of(self.info).energy_bound) == pytest.approx(
            math.sqrt(float(normalised.square().sum()) + 1)
        )

    @pytest.mark.parametrize("norm", [0.1, 2.0, 30.0])
    def test_no_gradient_changes_more_than_the_constant_says(self, norm: float) -> None:
        """An adversary climbs towards the largest change; the bound holds, and isn't idle by orders of magnitude."""
        rng, worst = np.random.default_rng(0), 0.0
        limit = gradient_change(norm, input_bound(task_of(self.info).energy_bound), 0.4)
        model = self.model(1, norm)

        def change(flat: np.ndarray) -> float:
            a, b = torch.from_numpy(flat.clip(0, 1)).float().view(2, 1, 3, 3)
            moved = float((a - b).norm())
            if moved < 1e-3:
                return 0.0
            return -float((self.gradient(model, a, 0) - self.gradient(model, b, 0)).norm()) / moved

        for _ in range(6):
            found = minimize(change, rng.uniform(size=18), method="Nelder-Mead", options={"maxiter": 150})
            worst = max(worst, -found.fun)
        assert 0.02 * limit < worst <= limit

    def test_a_relabelled_image_changes_the_gradient_by_no_more_than_sqrt_2_b(self) -> None:
        bound = input_bound(task_of(self.info).energy_bound)
        for seed in range(20):
            model = self.model(seed, 3.0)
            x = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(seed))
            gap = (self.gradient(model, x, 0) - self.gradient(model, x, 2)).norm()
            assert float(gap) <= math.sqrt(2) * bound

    def test_steps_up_to_the_largest_lr_move_no_two_models_apart(self) -> None:
        lr = largest_lr(input_bound(task_of(self.info).energy_bound))
        for seed in range(30):
            g = torch.Generator().manual_seed(seed)
            x = torch.rand(1, 3, 3, generator=g).round()
            a, b = self.model(seed, 4.0), self.model(seed + 100, 4.0)
            before = flatten_parameters(a) - flatten_parameters(b)
            step = self.gradient(a, x, 1) - self.gradient(b, x, 1)
            assert float((before - lr * step).norm()) <= float(before.norm()) + 1e-6

    @pytest.mark.parametrize("relabel", [False, True])
    def test_training_on_moved_images_ends_within_the_derived_shift(self, relabel: bool) -> None:
        """Clean and poisoned plain SGD from one model: the shift of the mean is at most share * (A r + F)."""
        past = self.past()
        for seed in range(15):
            g = torch.Generator().manual_seed(seed)
            x, y = torch.rand(3, 4, 1, 3, 3, generator=g), torch.randint(0, 4, (3, 4), generator=g)
            radius = 0.3
            push = torch.randn(3, 4, 1, 3, 3, generator=g)
            push *= radius / push.flatten(2).norm(dim=2)[..., None, None, None]
            moved, labels = (x + push).clamp(0, 1), (y + 1) % 4 if relabel else y
            ends = []
            for images, classes in ((x, y), (moved, labels)):
                model = self.model(seed, past.sent_norm)
                for batch, truth in zip(images, classes, strict=True):
                    model.zero_grad()
                    torch.nn.functional.cross_entropy(model(batch), truth).backward()
                    with torch.no_grad():
                        for p in model.parameters():
                            assert p.grad is not None
                            p.sub_(past.lr * p.grad)
                ends.append(flatten_parameters(model))
            shift = past.share * float((ends[1] - ends[0]).norm())
            drift = past.lr * math.sqrt(2) * past.input_bound
            allowed = radius * past.lr * sum(
                gradient_change(past.sent_norm + k * drift, past.input_bound, past.smallest_std) for k in range(3)
            ) + (3 * drift if relabel else 0.0)
            assert 0.0 < shift <= past.share * allowed

    def test_the_allowed_shift_is_where_the_divergence_can_first_tie_two_classes(self) -> None:
        """Minimum of KL(q || p) over q with two equal leading shares, found numerically."""
        for p_a, p_b in ((0.7, 0.2), (0.95, 0.01), (0.55, 0.45)):
            rest = 1 - p_a - p_b

            def divergence(q: np.ndarray, p_a: float = p_a, p_b: float = p_b, rest: float = rest) -> float:
                left = max(1 - 2 * q[0], 1e-12)
                return float(q[0] * math.log(q[0] ** 2 / (p_a * p_b)) + left * math.log(left / max(rest, 1e-12)))

            found = minimize(divergence, [0.3], bounds=[(1e-6, 0.5 - 1e-9)], tol=1e-12)
            got = float(allowed_shift(torch.tensor([p_a]).double(), torch.tensor([p_b]).double(), 0.01)[0])
            assert got == pytest.approx(0.01 * math.sqrt(2 * found.fun), rel=1e-3)

    def test_an_unsure_vote_certifies_nothing(self) -> None:
        lower, upper = torch.tensor([0.4, 0.5, 0.9]).double(), torch.tensor([0.45, 0.5, 0.1]).double()
        radius = certified_radius(lower, upper, 0.01, self.past(), relabel=False)
        assert radius[:2].tolist() == [0.0, 0.0]
        assert float(radius[2]) > 0

    def test_more_attackers_more_steps_and_new_labels_shrink_the_radius(self) -> None:
        lower, upper = torch.tensor([0.9]).double(), torch.tensor([0.1]).double()

        def radius(relabel: bool = False, **changes: float) -> float:
            return float(certified_radius(lower, upper, 1.0, self.past(**changes), relabel=relabel)[0])

        plain = radius()
        assert radius(share=0.4) == pytest.approx(plain / 2)
        assert radius(steps=6) < plain / 2
        assert radius(sent_norm=9.0) < plain
        assert radius(relabel=True) < plain

    def test_a_large_learning_rate_certifies_nothing(self) -> None:
        with pytest.raises(ValueError, match="nothing is certified above"):
            certified_radius(torch.ones(1), torch.zeros(1), 0.01, self.past(lr=0.5), relabel=False)
