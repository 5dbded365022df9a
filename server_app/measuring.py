"""How a run's models are measured: plainly, by the guide alone, or by the vote of noisy copies that a rule asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from defenses.kernels.votes import vote_bounds, winners
from defenses.smoothing import Smoothing, TrainedRun, noisy_votes
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
    if not plan.system.trains:
        guide, names = plan.foundation.guide(), plan.data.info.class_names
        return lambda _model, _outcome, _final: evaluator.measure_zero_shot(guide, names)
    smoothing = plan.system.rule_needs.smoothing
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
            certified = self.smoothing.certify(votes[0], chosen[0] == evaluator.labels, self._run(outcome))
            facts |= certified.facts
            if certified.refusal:
                notes.append(f"no certified radius: {certified.refusal}")
        return replace(measured, facts=facts, notes=(*measured.notes, *notes))

    def _run(self, outcome: RoundOutcome) -> TrainedRun:
        """What a certificate may ask of this run, whose last round is ``outcome``."""
        config, system = self.plan.config, self.plan.system

        def most_images() -> int:
            parts = partition_indices(config.task, self.plan.partitioner, config.federation.clients, config.run.seed)
            return int(parts.sizes.max())

        return TrainedRun(
            model=config.model.name,
            linear=isinstance(spec := MODELS.of(config), Logistic) and not spec.blocks,
            followed_by="purifier" if system.purifier else "repair" if system.repair else "",
            own_data=config.federation.own_data,
            training=config.training,
            precision=config.run.precision,
            info=self.plan.data.info,
            most_images=most_images,
            shares=tuple(outcome.weights.values()),
            facts={k.removeprefix("rule."): v for k, v in outcome.facts.items() if k.startswith("rule.")},
        )
