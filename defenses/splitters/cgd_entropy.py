"""Clean is what the guide finds likely under its label and freshly trained models don't learn too fast."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from defenses.base import SPLITTERS, Needs, Split
from defenses.kernels.ranks import percentile_ranks
from defenses.support.fresh_training import FreshTraining
from defenses.support.suspicion import finite_rows, model_surprise, surprise, suspicious
from fedcrucible_core.foundation.base import GuideTargets
from fedcrucible_core.learning.data import Labeled
from fedcrucible_core.learning.evaluation import classes_of


@SPLITTERS.register("cgd-entropy")
class CgdEntropy(FreshTraining):
    """Splits by two scores of the given label: S_guide = -log p_guide(y|x), and S_model = -log p_model(y|x).

    ``p_model`` are models freshly trained on the very set for a few epochs, logits averaged, or what ``score`` says;
    ``models = 0`` leaves them out.  Scores become percentile ranks r in (0, 1].  ``rule``:

    - ``sigmas`` (the paper's): clean where r_guide <= 1 - s_c and r_model >= s_c; triggered where r_guide > 1 - s_p or
      r_model < s_p; the rest is mixed.
    - ``argmax``, ``otsu``, ``mixture``, ``gap``, ``share`` say where the guide's suspicion begins without being told
      how much is poisoned (but for ``share``): the guide names another class; the upper of two groups of S_guide, of a
      mixture of two normal distributions, above the widest gap; the highest ``share``.  Suspected rows are triggered;
      of the others, those which the models learn first (r_model < ``s_p``) are mixed.
    """

    paper: ClassVar = (
        ("xu2025cgd", "splitting by two entropies"),
        ("otsu1979", "rule otsu"),
        ("dempster1977em", "rule mixture"),
    )
    choices = ("cgd-thresholds", "cgd-scale", "cgd-fresh-models", "sanitizer-rule")
    knowledge = ("foundation model",)
    cost = "the guide's embedding of every sample, cached; 3 x 5 epochs of training on the set"
    traps = ("one place holds both thresholds", "ties share a rank", "the scale of raw cosines is said")
    rule: Literal["sigmas", "argmax", "otsu", "mixture", "gap", "share"] = Field(
        "argmax", description="Where suspicion begins: sigmas = the paper's ranks; the others cut the guide's answers"
    )
    entropies: Literal["both", "guide", "model"] = Field(
        "both", description="Ablation: both scores, the guide's alone, or (sigmas) the models' alone"
    )
    s_c: float = Field(0.2, gt=0.0, lt=1.0, description="sigmas: rank distance (fraction) that clean rows keep")
    s_p: float = Field(0.1, ge=0.0, lt=1.0, description="Rank distance (fraction) of triggered rows; below s_c")
    share: float = Field(0.25, gt=0.0, lt=1.0, description="share: suspected share (fraction) of all rows")
    scale: float = Field(1.0, ge=0.0, description="Scale of the guide's cosines as logits; 0 = the guide's own")

    @model_validator(mode="after")
    def _sets_are_disjoint(self) -> CgdEntropy:
        if self.s_p >= self.s_c:
            raise ValueError(f"s_p = {self.s_p} must be below s_c = {self.s_c}: no row is clean and triggered at once")
        if self.entropies == "model" and (self.rule != "sigmas" or not self.models):
            raise ValueError("entropies = model leaves the guide out: it needs rule = sigmas, and models")
        return self

    @property
    def needs(self) -> Needs:
        """The guide, and models that score, but for what an ablation leaves out."""
        return Needs(guide=self.entropies != "model", fresh=self.fresh if self.entropies != "guide" else None)

    @property
    def thresholds(self) -> dict[str, tuple[float, ...]]:
        """Of the paper's rule four ranks; of the others the one below which rows are learned too fast."""
        if self.rule != "sigmas":
            return {"s_model": (self.s_p,)}
        return {"s_guide": (1.0 - self.s_c, 1.0 - self.s_p), "s_model": (self.s_c, self.s_p)}

    def split(
        self,
        data: Labeled,
        guide: GuideTargets | None,
        model: nn.Module | None,
        rng: torch.Generator,
    ) -> Split:
        """Split by the two scores. Scores: ``s_guide``, ``s_model`` (nats). Raises ValueError without what it needs."""
        if (guide is None and self.needs.guide) or (model is None and self.needs.fresh is not None):
            raise ValueError("cgd-entropy needs what the guide says of the samples, and freshly trained models")
        scores = {}
        answers = torch.zeros(len(data), 1) if guide is None else guide.rescaled(self.scale)
        if guide is not None and self.needs.guide:
            scores["s_guide"] = surprise(answers, data.labels)
        fast = torch.zeros(len(data), dtype=torch.float64) + 1.0  # ranks of nobody: none is learned fast
        if model is not None and self.needs.fresh is not None:
            scores["s_model"] = model_surprise(model, data)
            fast = percentile_ranks(scores["s_model"])
        if not self.needs.guide:
            found = Split.by(fast >= self.s_c, fast < self.s_p, scores)
            return replace(found, facts={"flagged": float(len(found.triggered))})
        unknown = ~finite_rows(answers)
        clean, triggered = self._parts(scores["s_guide"], fast, answers, data.labels.cpu())
        return Split.by(clean & ~unknown, triggered | unknown, scores, {"flagged": float(triggered.sum())})

    def _parts(self, entropy: Tensor, fast: Tensor, answers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Clean and triggered rows, bool ``[n]`` each."""
        if self.rule == "sigmas":
            rank = percentile_ranks(entropy)
            return (rank <= 1.0 - self.s_c) & (fast >= self.s_c), (rank > 1.0 - self.s_p) | (fast < self.s_p)
        if self.rule == "argmax":
            triggered = classes_of(answers).cpu() != labels
        else:
            triggered = suspicious(entropy, self.rule, self.share)
        return ~triggered & (fast >= self.s_p), triggered
