"""How a run's models are measured: plainly, by the guide alone, or by the vote of noisy copies that a rule asks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from defenses.kernels.certificate import LastRound, certified_radius, input_bound, largest_lr
from defenses.smoothing import Smoothing, noisy_votes, vote_bounds, winners
from fedcrucible_core.learning.models import Logistic, SplitModel
from fedcrucible_core.learning.models.base import MODELS
from fedcrucible_core.learning.partition.shares import partition_indices
from fedcrucible_core.learning.rng import torch_generator
from server_app.evaluation import Evaluator
from server_app.plan import Plan
from strategies.outcome import Measured, RoundOutcome

Measure = Callable[[SplitModel, RoundOutcome, bool], Measured]
"""Model, the round it comes from, whether it is the run's final model."""


def measuring(plan: Plan, evaluator: Evaluator) -> Measure:
    """The way that the plan's system is measured."""
    if plan.system.zero_shot:
        guide, names = plan.guide(), plan.data.info.class_names
        return lambda _model, _outcome, _final: evaluator.measure_zero_shot(guide, names)
    smoothing = plan.system.rule.smoothing if plan.system.uses_clients else None
    if smoothing is None:
        return lambda model, _outcome, _final: evaluator.measure(model)
    return _Smoothed(plan, evaluator, smoothing)


class _Smoothed:
    """Measures by the vote of noisy copies; the plain model's rates are kept beside it."""

    def __init__(self, plan: Plan, evaluator: Evaluator, smoothing: Smoothing) -> None:
        self.plan = plan
        self.evaluator = evaluator
        self.smoothing = smoothing

    def __call__(self, model: SplitModel, outcome: RoundOutcome, final: bool) -> Measured:
        plain = self.evaluator.measure(model)
        copies = self.smoothing.copies if final else self.smoothing.copies_between
        if copies == 0:
            return plain
        rng = torch_generator(self.plan.config.run.seed, "smooth", outcome.round)
        evaluator = self.evaluator
        votes = noisy_votes(
            model, evaluator.shown(), self.smoothing.sigma, copies, rng, evaluator.batch_size, evaluator.device
        )
        chosen = [winners(of_set, copies) for of_set in votes]
        measured = evaluator.judge(chosen[0], chosen[1] if len(chosen) > 1 else None)
        lower, upper = vote_bounds(votes[0], self.smoothing.alpha, copies)
        facts = measured.facts | {
            "smoothing.copies": float(copies),
            "smoothing.sigma": self.smoothing.sigma,
            "smoothing.plain_ma_percent": plain.clean.accuracy,
            "smoothing.sure_percent": 100.0 * float((lower > upper).double().mean()),
        }
        if plain.attack is not None:
            facts["smoothing.plain_asr_percent"] = plain.attack.asr
        notes = [f"measured by the vote of {copies} copies with noise {self.smoothing.sigma:g}"]
        if final:
            refusal = self._refusal()
            if refusal:
                notes.append(f"no certified radius: {refusal}")
            else:
                right = chosen[0] == evaluator.labels
                facts |= self._certificate(lower, upper, right, outcome)
        return replace(measured, facts=facts, notes=(*measured.notes, *notes))

    def _refusal(self) -> str:
        """Why nothing can be certified in this run; empty when something can."""
        plan, training = self.plan, self.plan.config.training
        if not isinstance(MODELS.of(plan.config), Logistic):
            return f"the constant is derived for model 'logistic', not for {plan.config.model.name!r}"
        if plan.system.purifier is not None:
            return "a purifier follows the rule"
        if plan.config.federation.own_data:
            return "clients train on their own data, so how many steps they took isn't known"
        if (
            training.momentum
            or training.weight_decay
            or training.augment != "none"
            or plan.config.run.precision != "fp32"
        ):
            return "training must be plain SGD: momentum 0, weight decay 0, no augmentation, fp32"
        limit = largest_lr(input_bound(plan.data.info))
        if training.lr > limit:
            return f"training.lr = {training.lr:g} is above {limit:.3g}, where steps may move models apart"
        return ""

    def _certificate(self, lower: Tensor, upper: Tensor, right: Tensor, outcome: RoundOutcome) -> dict[str, float]:
        shares = sorted(outcome.weights.values(), reverse=True)[: self.smoothing.certified_attackers]
        if not shares or sum(shares) <= 0.0:
            return {}  # nobody trained in the last round: there is nothing to attack in it
        config, info = self.plan.config, self.plan.data.info
        parts = partition_indices(config.task, self.plan.partitioner, config.federation.clients, config.run.seed)
        batches = math.ceil(max(len(part) for part in parts) / config.training.batch_size)
        past = LastRound(
            sent_norm=outcome.facts["rule.sent_norm"],
            share=sum(shares),
            lr=config.training.lr,
            steps=config.training.local_epochs * batches,
            input_bound=input_bound(info),
            smallest_std=min(info.std),
        )
        facts = {}
        for name, relabel in (("kept", False), ("changed", True)):
            radius = certified_radius(lower, upper, self.smoothing.sigma, past, relabel=relabel)
            facts[f"certified.labels_{name}_percent"] = 100.0 * float(((radius > 0) & right).double().mean())
            sure = radius[right & (radius > 0)]
            facts[f"certified.labels_{name}_median_radius"] = float(sure.median()) if len(sure) else 0.0
        return facts
