"""How far a sample's features move under a transformation, and how alike the centres of classes are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def feature_shift(features: Tensor, transformed: Tensor) -> Tensor:
    """Mean squared difference float64 ``[n]`` of features ``[n, D]`` and those of the transformed (chen2022dbr, FCT).

    What isn't finite counts as the largest that is.
    """
    found = (features.to(torch.float64) - transformed.to(torch.float64)).square().mean(1)
    usable = torch.isfinite(found)
    worst = found[usable].max() if bool(usable.any()) else torch.zeros((), dtype=torch.float64)
    return torch.where(usable, found, worst)


def centre_likeness(features: Tensor, labels: Tensor) -> Tensor:
    """Mean of the matrix of cosines between the class centres of ``[n, D]``, its diagonal set to zero (L_intra).

    Scalar; minimising it pushes centres apart.  E.g. two classes with centres [1, 0] and [1, 1]: 2 * .7071 / 4.
    """
    classes, group = torch.unique(labels, return_inverse=True)
    member = F.one_hot(group, len(classes)).to(features)
    centres = F.normalize((member.T @ features) / member.sum(0)[:, None], dim=1)
    cosines = centres @ centres.T
    own = torch.eye(len(classes), dtype=torch.bool, device=features.device)
    return cosines.masked_fill(own, 0.0).mean()


def tails(values: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Rows int64 of the floor(low n) lowest and the floor(high n) highest of ``[n]``, at least one each, disjoint.

    Equal values go in order of their number.  Raises ValueError of fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"two tails of {len(values)} values don't exist")
    order = values.argsort(stable=True)
    few = max(1, int(low * len(values) + 1e-9))
    many = max(1, int(high * len(values) + 1e-9))
    return order[:few].sort().values, order[max(few, len(values) - many) :].sort().values
