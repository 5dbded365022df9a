"""Model replacement, constrain-and-scale, projection."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from attacks.support.projection import Projection, project
from attacks.uploader import CraftContext, Uploader
from attacks.uploads.constrain_and_scale import AnomalyTerm, ConstrainAndScale
from attacks.uploads.model_replacement import ModelReplacement
from attacks.uploads.pgd import PGD
from fedcrucible_core.config.sections import AdversarySection, PoisonSection, TrainingSection
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.vector import flatten_gradients, flatten_parameters, load_parameters
from tests.support.attack_view_fake import LocalView, fake_view

Settings = dict[str, float]


def context(n: int = 10, attackers: int = 1) -> CraftContext:
    return CraftContext(1, 0, n, (), torch.Generator(), attackers=attackers)


def toy() -> nn.Module:
    """Two linear layers on images of 4 x 4."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, 3))


def images(count: int = 40) -> Labeled:
    rng = torch.Generator().manual_seed(2)
    return Labeled(torch.rand(count, 1, 4, 4, generator=rng), torch.arange(count) % 3)


def view(attack: Uploader, **more: object) -> LocalView:
    more.setdefault("poison", PoisonSection(target_label=0, ratio=1.0))
    more.setdefault("training", TrainingSection(batch_size=8, lr=0.1, local_epochs=2))
    return fake_view(toy(), images(), **more)


def norm(vector: Tensor) -> float:
    return float(vector.double().norm())


class TestModelReplacement:
    def test_nine_zero_updates_are_replaced_exactly(self) -> None:
        w_t, target = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3.0, 1.0, -0.25])
        upload = ModelReplacement().craft(w_t, None, target, context(10))
        assert torch.equal(upload - w_t, 10 * (target - w_t))
        updates = torch.zeros(10, 3, dtype=torch.float64)
        updates[4] = (upload - w_t).double()
        assert torch.equal((w_t + updates.mean(0)).float(), target)

    def test_automatic_factor_is_participants_over_the_servers_rate(self) -> None:
        w_t, model = torch.zeros(1), torch.ones(1)
        assert float(ModelReplacement().craft(w_t, None, model, context(10))) == 10.0
        assert float(ModelReplacement(server_rate=0.5).craft(w_t, None, model, context(10))) == 20.0
        assert float(ModelReplacement(gamma=3.0).craft(w_t, None, model, context(10))) == 3.0

    def test_colluders_share_the_factor(self) -> None:
        w_t, models = torch.zeros(2), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        uploads = [ModelReplacement().craft(w_t, None, m, context(8, attackers=2)) for m in models]
        assert torch.equal(sum(uploads) / 8, models.mean(0))

    def test_budget_bounds_the_scaled_update(self) -> None:
        w_t, model = torch.zeros(2), torch.tensor([3.0, 4.0])
        upload = ModelReplacement(gamma=10.0, budget=7.0).craft(w_t, None, model, context())
        assert upload.tolist() == pytest.approx([4.2, 5.6])
        assert ModelReplacement(gamma=2.0, budget=50.0).craft(w_t, None, model, context()).tolist() == [6.0, 8.0]

    def test_a_zero_update_stays_zero(self) -> None:
        w_t = torch.ones(3)
        assert torch.equal(ModelReplacement(budget=1.0).craft(w_t, None, w_t.clone(), context()), w_t)

    def test_buffers_are_not_scaled(self) -> None:
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
        attack = ModelReplacement(gamma=10.0)
        seen = fake_view(model, images(), poison=PoisonSection())
        assert torch.equal(attack.upload(seen).buffers, attack.malicious_model(seen).buffers)


class TestConstrainAndScale:
    centre = torch.tensor([3.0, 4.0])

    def model(self, *weights: float) -> nn.Module:
        model = nn.Linear(2, 1, bias=False)
        load_parameters(model, torch.tensor(weights))
        return model

    def test_values(self) -> None:
        term = AnomalyTerm(self.centre, 0.75, "l2")
        assert float(term.loss(self.model(6.0, 8.0), torch.tensor(2.0)).detach()) == pytest.approx(0.75 * 2 + 0.25 * 5)
        cosine = AnomalyTerm(self.centre, 0.5, "cosine")
        assert float(cosine.anomaly(self.model(4.0, -3.0)).detach()) == pytest.approx(1.0)
        assert float(cosine.anomaly(self.model(-3.0, -4.0)).detach()) == pytest.approx(2.0)
        assert float(cosine.anomaly(self.model(30.0, 40.0)).detach()) == pytest.approx(0.0, abs=1e-6)

    @pytest.mark.parametrize("kind", ["cosine", "l2"])
    def test_the_term_is_differentiable(self, kind: str) -> None:
        # Pitfall: an anomaly loss computed outside autograd has no gradient and does nothing.
        term, point = AnomalyTerm(self.centre, 0.5, kind), (1.0, 2.5)
        model = self.model(*point)
        term.anomaly(model).backward()
        gradient = flatten_gradients(model)
        for i in range(2):
            step = [0.0, 0.0]
            step[i] = 1e-2
            up, down = (
                float(term.anomaly(self.model(*(a + s * b for a, b in zip(point, step, strict=True)))).detach())
                for s in (1, -1)
            )
            assert float(gradient[i]) == pytest.approx((up - down) / 2e-2, rel=2e-2, abs=1e-4)
        assert bool(gradient.any())

    @pytest.mark.parametrize("kind", ["cosine", "l2"])
    def test_at_the_start_the_term_is_zero_and_its_gradient_finite(self, kind: str) -> None:
        model = self.model(3.0, 4.0)
        value = AnomalyTerm(self.centre, 0.5, kind).anomaly(model)
        value.backward()
        assert float(value.detach()) == pytest.approx(0.0, abs=1e-6)
        assert bool(torch.isfinite(flatten_gradients(model)).all())

    @pytest.mark.parametrize("kind", ["cosine", "l2"])
    def test_a_zero_global_model_stays_finite(self, kind: str) -> None:
        model = self.model(0.0, 0.0)
        AnomalyTerm(torch.zeros(2), 0.5, kind).anomaly(model).backward()
        assert bool(torch.isfinite(flatten_gradients(model)).all())

    def test_the_constraint_shortens_the_update_before_scaling(self) -> None:
        lengths = []
        for alpha in (1.0, 0.5, 0.1):
            attack = ConstrainAndScale(alpha=alpha, gamma=1.0)
            seen = view(attack)
            lengths.append(norm(attack.upload(seen).parameters - seen.w_global))
        assert lengths[0] > lengths[1] > lengths[2] > 0

    def test_alpha_one_is_model_replacement(self) -> None:
        constrained, plain = ConstrainAndScale(alpha=1.0), ModelReplacement()
        first, second = constrained.upload(view(constrained)), plain.upload(view(plain))
        assert torch.equal(first.parameters, second.parameters)

    def test_upload_is_scaled(self) -> None:
        one, ten = ConstrainAndScale(gamma=1.0), ConstrainAndScale()
        seen = view(one, participants=10)
        short, long = (a.upload(seen).parameters - seen.w_global for a in (one, ten))
        assert torch.allclose(long, 10 * short, atol=1e-5)


class TestProjection:
    def test_inside_the_ball_nothing_changes(self) -> None:
        vector = torch.tensor([1.0, 1.0])
        assert torch.equal(project(vector, torch.zeros(2), 2.0), vector)

    def test_outside_it_is_pulled_along_its_direction(self) -> None:
        centre = torch.tensor([1.0, 0.0])
        assert project(torch.tensor([4.0, 4.0]), centre, 1.0).tolist() == pytest.approx([1.6, 0.8])

    @pytest.mark.parametrize("radius", [0.0, 1e-9, 1e-3, 0.083, 3.0])
    @pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
    def test_the_bound_holds_for_the_rounded_vector(self, radius: float, size: float) -> None:
        rng = torch.Generator().manual_seed(1)
        centre = torch.randn(10_000, generator=rng)
        vector = centre + size * torch.randn(10_000, generator=rng)
        found = project(vector, centre, radius)
        assert norm(found - centre) <= radius
        if norm(vector - centre) > radius >= 1e-3:
            assert norm(found - centre) >= 0.99 * radius

    def test_hook_projects_every_kth_step_and_the_last(self) -> None:
        model = nn.Linear(1, 1, bias=False)
        hook, lengths = Projection(torch.zeros(1), 1.0, every=3), []
        for step in range(1, 6):
            load_parameters(model, torch.tensor([10.0 * step]))
            hook.after_step(model, last_of_epoch=step == 5)
            lengths.append(float(flatten_parameters(model)))
        assert lengths == [10.0, 20.0, 1.0, 40.0, 1.0]

    @pytest.mark.parametrize("every", [1, 7])
    def test_pgd_ends_within_the_ball(self, every: int) -> None:
        attack = PGD(epsilon=0.05, project_every=every)
        seen = view(attack)
        length = norm(attack.upload(seen).parameters - seen.w_global)
        assert length <= 0.05
        assert length > 0.04

    def test_scaling_comes_after_projection(self) -> None:
        attack = PGD(epsilon=0.05, gamma=0.0)
        seen = view(attack, participants=20)
        assert norm(attack.upload(seen).parameters - seen.w_global) == pytest.approx(20 * 0.05, rel=1e-3)

    def test_radius_decays_with_the_round(self) -> None:
        attack = PGD(epsilon=2.0, decay=0.5)
        assert [attack.radius(view(attack, round=r)) for r in (1, 2, 4)] == [2.0, 1.0, 0.25]

    def test_automatic_radius_is_the_honest_updates_length(self) -> None:
        attack = PGD()
        seen = view(attack)
        honest = norm(seen.clean_model().parameters - seen.w_global)
        assert attack.radius(seen) == pytest.approx(honest)
        assert norm(attack.upload(seen).parameters - seen.w_global) <= honest

    def test_a_ball_that_is_large_enough_changes_nothing(self) -> None:
        attack = PGD(epsilon=1e6)
        seen = view(attack)
        plain = seen.train(seen.poisoned, settings=seen.poison_training)
        assert torch.equal(attack.upload(seen).parameters, plain.parameters)

    def test_the_backdoor_is_trained_inside_the_ball(self) -> None:
        # Projecting once at the end would be another attack: the trajectory differs.
        attack = PGD(epsilon=0.05)
        seen = view(attack)
        at_the_end = project(seen.train(seen.poisoned).parameters, seen.w_global, 0.05)
        assert norm(attack.upload(seen).parameters - at_the_end) > 1e-4


def test_attackers_may_train_longer_and_slower() -> None:
    seen = view(ModelReplacement(), adversary=AdversarySection(local_epochs=6, lr=0.01))
    assert (seen.poison_training.local_epochs, seen.poison_training.lr) == (6, 0.01)
    assert (seen.training.local_epochs, seen.training.lr) == (2, 0.1)
    plain = view(ModelReplacement())
    assert plain.poison_training == plain.training
    assert math.isclose(plain.poison_training.lr, 0.1)
