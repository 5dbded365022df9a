"""CLIP-Fed's prototype loss (Eqs. 3-5), class means and the linear map from features to the guide's space."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenses.kernels.geometry import FLOOR

Projection = Literal["linear", "identity", "frozen-orthogonal"]


def prototype_loss(
    z: Tensor, positives: Tensor, prototypes: Tensor, labels: Tensor, tau: float, present: Tensor | None = None
) -> Tensor:
    """Per-sample contrast of a projected feature with its own class and against the other classes.

    ``-sim(z_i, positives_i) / tau + log sum_{k != labels_i} exp(sim(z_i, prototypes_k) / tau)``, sim = cosine.  The sum
    leaves out the positive class, so the value may be negative (floor: -2/tau + log(C - 1)).  With ``prototypes`` the
    extractor's class means it is L1 (Eq. 3), with the guide's text embeddings L2 (Eq. 4).

    Args:
        z: ``[n, e]``; only its direction matters.
        positives: ``[n, e]``, the guide's embedding that each sample shall approach.
        prototypes: ``[C, e]``; no gradient flows into them, nor into ``positives``.
        labels: int64 ``[n]`` in 0..C-1.
        tau: temperature > 0.
        present: bool ``[C]``, classes that have a prototype; None = all.

    Returns:
        Loss ``[n]``.

    Raises:
        ValueError: a sample is left without any other class to contrast with (C = 1).
    """
    usable = torch.ones(len(prototypes), dtype=torch.bool, device=z.device) if present is None else present
    if len(prototypes) < 2 or int(usable.sum()) < 2:
        raise ValueError(
            f"a prototype loss needs at least 2 classes, there are {min(len(prototypes), int(usable.sum()))}"
        )
    z = F.normalize(z, dim=1, eps=FLOOR)
    pull = (z * F.normalize(positives.detach(), dim=1, eps=FLOOR)).sum(1)
    similar = z @ F.normalize(prototypes.detach(), dim=1, eps=FLOOR).T / tau
    left_out = F.one_hot(labels, len(prototypes)).bool() | ~usable
    return similar.masked_fill(left_out, -torch.inf).logsumexp(1) - pull / tau


def class_means(rows: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Mean of the rows ``[n, e]`` of every class: ``[C, e]`` (zero for an absent class), and which are present."""
    counts = torch.bincount(labels, minlength=num_classes)
    sums = torch.zeros(num_classes, rows.shape[1], dtype=rows.dtype, device=rows.device)
    sums.index_add_(0, labels, rows)
    return sums / counts.clamp(min=1)[:, None], counts > 0


def make_projection(kind: Projection, feature_dim: int, guide_dim: int, rng: torch.Generator) -> nn.Linear | None:
    """The map h from features to the guide's space; None is the identity.

    ``linear``: weight Xavier-uniform, bias zero, trained.  ``frozen-orthogonal``: random (semi-)orthogonal weight, no
    bias, never trained.

    Raises:
        ValueError: ``identity`` although the dimensions differ.
    """
    if kind == "identity":
        if feature_dim != guide_dim:
            raise ValueError(f"identity needs equal dimensions; features have {feature_dim}, the guide {guide_dim}")
        return None
    with torch.random.fork_rng(devices=[]):  # leaves the global generator alone; meta tensors import torch's compiler
        layer = nn.Linear(feature_dim, guide_dim, bias=kind == "linear")
    if kind == "linear":
        nn.init.xavier_uniform_(layer.weight, generator=rng)
        nn.init.zeros_(layer.bias)
    else:
        nn.init.orthogonal_(layer.weight, generator=rng)
        layer.weight.requires_grad_(False)
    return layer


def transfer_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """``KL(softmax(teacher / T) || softmax(student / T)) * T^2``, mean over the batch: teacher first (Eq. 6).

    Both are logits ``[n, C]``; no gradient flows into the teacher.
    """
    log_student = F.log_softmax(student / temperature, 1)
    target = F.softmax(teacher.detach() / temperature, 1)
    return F.kl_div(log_student, target, reduction="batchmean") * temperature**2
