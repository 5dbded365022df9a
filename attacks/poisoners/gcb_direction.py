"""A clean-image backdoor along one direction of natural variation: an approximation of GCB, and the simplest one."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from attacks.artefact import Artefact
from attacks.poisoner import POISONERS, PoisonContext
from attacks.support.clean_images import TABLE, CleanImages, sorted_scores
from attacks.support.trained import drawn_images
from attacks.task import AttackTask
from fedcrucible_core.learning.data import Labeled, model_inputs

DIRECTION = "direction"
ROUNDS = 20
"""Most corrections of a shift for pixels that were clipped."""


@POISONERS.register("gcb-direction")
class GcbDirection(CleanImages):
    """Label-only: images far out along the main direction in which images of one class differ are called the target.

    An approximation, not GCB, whose learned condition and generator are unpublished in detail.  The direction d (length
    1) is principal component ``component`` of the training images after each class's mean is taken off, with the sign
    of its longer tail; an image's score is <d, x>.  Training: the ``poison.ratio`` of the images of other classes with
    the highest scores get the target label, and no pixel changes.  Test: x' = clip(x + a d) with the smallest a that
    brings the score to that of the last relabelled training image, at least ``least``.  At that edge a model is of two
    minds; ``depth`` brings it farther in.

    Relabelled images are natural, so a model that learned the trigger also calls such test images the target: the price
    in accuracy is part of the attack.
    """

    paper = (("xu2025gcb", "approximation: a linear statistic"),)
    choices = ("clean-image-backdoors",)
    knowledge = ("labelled training images of all clients",)
    cost = "one product per image; a singular value decomposition once"
    traps = ("an approximation, never to be printed as GCB", "training images are never changed")
    samples: int = Field(4000, ge=2, description="Training images the direction is found on")
    component: int = Field(1, ge=1, le=64, description="Which principal component, counted from the largest")
    least: float = Field(0.5, gt=0.0, le=100.0, description="Smallest shift along the direction at test time")

    depth: float = Field(
        0.0, ge=0.0, le=1.0, description="How far in among the relabelled images test images are brought; 0.5 = median"
    )

    def prepare(self, task: AttackTask, rng: torch.Generator) -> Artefact:
        """The direction float32 ``[C, H, W]`` and the sorted scores of images of other classes."""
        data, _ = drawn_images(task, self.samples, rng)
        direction = natural_direction(data, self.component)
        others = task.train.subset((task.train.labels != task.target).nonzero().flatten())
        scores = model_inputs(others.inputs).flatten(1) @ direction.flatten()
        spread = float(scores.std()) if len(scores) > 1 else 0.0
        return Artefact({DIRECTION: direction, TABLE: sorted_scores(scores)}, {"score_spread": round(spread, 4)})

    def scores(self, x: Tensor, ctx: PoisonContext) -> Tensor:
        """<d, x>, summed image by image."""
        return (x * ctx.artefact.tensors[DIRECTION].to(x)).flatten(1).sum(1)

    def stamp(self, x: Tensor, y: Tensor, ctx: PoisonContext) -> Tensor:
        """Shift images ``[n, C, H, W]`` in [0, 1] along the direction and clip; returns a new tensor."""
        direction, wanted = ctx.artefact.tensors[DIRECTION].to(x), self.threshold(ctx, self.depth)
        shift = (wanted - self.scores(x, ctx)).clamp(min=self.least)
        for _ in range(ROUNDS):  # clipping takes some of a shift away; what is missing is added
            made = (x + shift.view(-1, 1, 1, 1) * direction).clamp(0.0, 1.0)
            missing = (wanted - self.scores(made, ctx)).clamp(min=0.0)
            if not bool((missing > 1e-4).any()):
                break
            shift = shift + missing
        return (x + shift.view(-1, 1, 1, 1) * direction).clamp(0.0, 1.0)


def natural_direction(data: Labeled, component: int) -> Tensor:
    """Principal component ``component`` (from 1) within classes, float32 ``[C, H, W]`` of length 1.

    Of its two signs the one with the longer tail (positive skewness).  Fewer images than components: the last there is.
    """
    x = data.for_model().flatten(1).double()
    for label in set(data.labels.tolist()):
        rows = (data.labels == label).nonzero().flatten()
        x[rows] -= x[rows].mean(0)
    direction = _principal(x, component)
    if float((x @ direction).pow(3).sum()) < 0.0:
        direction = -direction
    return direction.float().view(data.inputs.shape[1:]).clone()


def _principal(x: Tensor, component: int) -> Tensor:
    """Principal component of rows ``[n, p]``, of length 1, by the smaller of the two products; all pixels alike where
    the rows are zero."""
    n, pixels = x.shape
    values, vectors = torch.linalg.eigh(x @ x.T if n < pixels else x.T @ x)
    chosen = vectors[:, -min(component, len(values))]
    direction = x.T @ chosen if n < pixels else chosen
    length = float(direction.norm())
    return direction / length if length > 1e-9 else torch.full((pixels,), pixels**-0.5, dtype=x.dtype)
