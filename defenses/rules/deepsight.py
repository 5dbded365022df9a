"""DeepSight: clusters updates by what their last layer says of the training data, drops suspicious clusters, clips."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from defenses.base import RULES, Aggregate, AggregationRule, ClientUpdates, Needs
from defenses.kernels.clipping import clip_factors
from defenses.kernels.density_clusters import density_clusters, together
from defenses.kernels.geometry import (
    COSINE_ERROR,
    FLOOR,
    column_blocks,
    cosine_distances,
    gram,
    median,
    rounding_errors,
    squared_distances,
)
from defenses.kernels.ties import level_ties
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks import Task
from fedcrucible_core.learning.vector import load_parameters


@RULES.register("deepsight")
class DeepSight(AggregationRule):
    """Ensemble clustering of last-layer evidence; clusters with few suspicious members are clipped and averaged.

    Of every client, over the C outputs of the last layer:
    1. update energy e_c = |change of bias c| + sum of |changes of the weights into c|; NEUP_c = e_c^2 / sum of e^2;
    2. threshold exceedings TE = number of c with NEUP_c > max(0.01, 1/C) * largest NEUP.  Suspicious: TE <= half the
       median TE, for few exceedings mean homogeneous training data.  A median of 0 makes nobody suspicious;
    3. DDif_c = mean over uniform noise images of p_c(client) / p_c(global), softmax probabilities, one per noise seed.
    HDBSCAN clusters the clients by cosine distance of the bias changes, by NEUP and by each DDif (Euclidean).  The mean
    of "not together" over the three kinds (DDif: the mean over its seeds) is a distance, and HDBSCAN on it makes the
    final clusters.  A noise point is a cluster of its own, never one cluster with the other noise points.  A cluster is
    accepted when its suspicious share is below 1/3.  Accepted updates are clipped to the median norm of ALL clients
    and averaged without weights.  Nobody accepted: the model stays.

    DDif costs ``noise_samples * noise_seeds`` forward passes per client: at the paper's 3 x 20,000 often more than the
    clients' training.  Clients run with the global model's batch-norm statistics there.  A client whose predictions
    aren't finite has no DDif neighbours.  Without a layout of the vector every column counts as the bias of one output,
    and without a model there is no DDif: two clusterings remain.

    Assumed, for the paper doesn't fix them: smallest cluster 2, one neighbour for a core point.
    """

    paper = ("rieger2022deepsight", "")
    choices = ("deepsight-clusters",)
    knowledge = ("noise inputs",)
    cost = "O(n x noise images) forward passes, O(n^2) clusterings"
    traps = (
        "accepts clusters with few suspicious members, not with many",
        "ratio of probabilities, not of logits",
        "noise points are clusters of their own",
    )
    noise_samples: int = Field(20_000, ge=1, le=1_000_000, description="Uniform noise images per seed for DDif")
    noise_seeds: int = Field(3, ge=0, le=20, description="Sets of noise images; 0 = no DDif")
    batch_size: int = Field(1000, ge=1, description="Noise images per forward pass")
    suspicious_share: float = Field(
        1 / 3, gt=0.0, le=1.0, description="Clusters with at least this share (fraction) of suspicious clients go"
    )
    exceeding: float = Field(0.01, gt=0.0, lt=1.0, description="Smallest threshold factor of NEUPs (fraction)")
    min_cluster_size: int = Field(2, ge=2, description="Smallest cluster of HDBSCAN")
    min_samples: int = Field(1, ge=1, description="Neighbours that HDBSCAN asks of a core point")

    @property
    def needs(self) -> Needs:
        """A model, where DDif asks it."""
        return Needs(model=self.noise_seeds > 0)

    def aggregate(self, updates: ClientUpdates) -> Aggregate:
        """Aggregate one round. Keeps no state; the server's model holds w_t again afterwards.

        Diagnostics per client: ``score`` = suspicious share of the client's cluster (0..1), ``exceedings`` = TE,
        ``suspicious`` 0/1, ``cluster_size`` of the final cluster, ``norm``, ``clip`` = factor min(1, S/||u_i||).
        Facts: ``accepted``, ``suspicious``, ``clusters`` of two or more, ``ddif_seeds`` used, ``median_norm`` S.
        """
        neup_distances, exceedings = neup_evidence(updates, self.exceeding)
        middle = median(exceedings)
        suspicious = (exceedings <= middle / 2) & (middle > 0)
        ddifs = self._ddif_distances(updates)
        apart = [self._apart(self._bias_distances(updates)), self._apart(neup_distances)]
        if ddifs:
            apart.append(sum((self._apart(d) for d in ddifs), torch.zeros(())) / len(ddifs))
        merged = sum(apart, torch.zeros(())) / len(apart)
        labels = density_clusters(merged, self.min_cluster_size, self.min_samples)
        members = together(labels).to(torch.float64)
        share = (members @ suspicious.to(torch.float64)) / members.sum(1)
        accepted = share < self.suspicious_share
        bound = median(updates.norms)
        factors = clip_factors(updates.norms, bound)
        weights = updates.equal_shares(accepted)
        return Aggregate(
            updates.weighted_sum(weights * factors),
            weights,
            {
                "score": share.tolist(),
                "exceedings": exceedings.tolist(),
                "suspicious": suspicious.to(torch.float64).tolist(),
                "cluster_size": members.sum(1).tolist(),
                "norm": updates.norms.tolist(),
                "clip": factors.tolist(),
            },
            {
                "accepted": float(accepted.sum()),
                "suspicious": float(suspicious.sum()),
                "clusters": float(labels.max() + 1),
                "ddif_seeds": float(len(ddifs)),
                "median_norm": bound,
            },
        )

    def _apart(self, distances: Tensor) -> Tensor:
        """1 where two clients aren't in one cluster, else 0."""
        return (~together(density_clusters(distances, self.min_cluster_size, self.min_samples))).to(torch.float64)

    def _bias_distances(self, updates: ClientUpdates) -> Tensor:
        biases = updates.columns(f"{updates.server.output}.bias")
        whole = len(biases) == updates.matrix.shape[1]
        inner = updates.inner if whole else gram(updates.matrix[:, biases])
        return level_ties(cosine_distances(inner), COSINE_ERROR)

    def _ddif_distances(self, updates: ClientUpdates) -> list[Tensor]:
        model, task = updates.server.scratch, updates.server.task
        if model is None or task is None or self.noise_seeds == 0:
            return []
        seeds = torch.randint(2**62, (self.noise_seeds,), generator=updates.rng).tolist()
        try:
            return [_row_distances(self._ddifs(model, task, updates, seed)) for seed in seeds]
        finally:
            load_parameters(model, updates.w_t)

    def _ddifs(self, model: SplitModel, task: Task, updates: ClientUpdates, seed: int) -> Tensor:
        """Division differences float64 ``[n, C]`` on one set of noise images; not finite where predictions aren't."""
        load_parameters(model, updates.w_t)
        reference = list(self._probabilities(model, task, seed))
        rows = []
        for update in updates.matrix:
            load_parameters(model, updates.w_t + update)
            ratios = torch.zeros(reference[0].shape[1], dtype=torch.float64)
            for own, common in zip(self._probabilities(model, task, seed), reference, strict=True):
                ratios += (own / common.clamp(min=FLOOR)).sum(0)
            rows.append(ratios / self.noise_samples)
        return torch.stack(rows)

    @torch.no_grad()
    def _probabilities(self, model: SplitModel, task: Task, seed: int) -> Iterator[Tensor]:
        """Softmax probabilities float64 ``[batch, C]`` on uniform noise, drawn anew from ``seed`` and never kept."""
        model.eval()
        place = next(model.parameters()).device
        rng = torch.Generator().manual_seed(seed)
        for start in range(0, self.noise_samples, self.batch_size):
            count = min(self.batch_size, self.noise_samples - start)
            noise = task.random_inputs(count, rng).to(place)
            yield model(noise).double().softmax(1).cpu()


def neup_evidence(updates: ClientUpdates, exceeding: float) -> tuple[Tensor, Tensor]:
    """Euclidean distances of NEUPs ``[n, n]`` and threshold exceedings ``[n]``, both float64.

    ``exceeding`` is the smallest threshold factor.  An update of zero has NEUPs of zero and no exceeding.
    """
    n = len(updates)
    outputs, total, largest = 0, torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    inner = torch.zeros(n, n, dtype=torch.float64)
    for energy in update_energies(updates):
        squares = energy.square()
        outputs += energy.shape[1]
        total += squares.sum(1).cpu()
        largest = torch.maximum(largest, squares.amax(1).cpu())
        inner += (squares @ squares.T).cpu()
    scale = total.clamp(min=FLOOR**2)
    threshold = max(exceeding, 1.0 / outputs) * largest
    exceedings = torch.zeros(n, dtype=torch.float64)
    for energy in update_energies(updates):
        exceedings += (energy.square().cpu() > threshold[:, None]).sum(1)
    inner = inner / scale[:, None] / scale[None, :]
    return level_ties(squared_distances(inner), float(rounding_errors(inner).max())).sqrt(), exceedings


def update_energies(updates: ClientUpdates) -> Iterator[Tensor]:
    """Update energies float64 ``[n, outputs]`` of the last layer, in one block, or in many without a layout."""
    slots = {slot.name: slot for slot in updates.server.slots}
    weight, bias = (slots.get(f"{updates.server.output}.{kind}") for kind in ("weight", "bias"))
    if weight is None or bias is None:
        for _, block in column_blocks(updates.matrix):
            yield block.abs_()
        return
    rows = updates.matrix[:, weight.start : weight.stop].to(torch.float64, copy=True).abs_()
    changes = updates.matrix[:, bias.start : bias.stop].to(torch.float64, copy=True).abs_()
    yield rows.view(len(rows), bias.shape.numel(), -1).sum(2) + changes


def _row_distances(rows: Tensor) -> Tensor:
    """Euclidean distances ``[n, n]``; a row that isn't finite is infinitely far from every other."""
    finite = rows.isfinite().all(1)
    distances = torch.cdist(rows.nan_to_num(0.0), rows.nan_to_num(0.0), compute_mode="donot_use_mm_for_euclid_dist")
    distances[~finite] = torch.inf
    distances[:, ~finite] = torch.inf
    return distances.fill_diagonal_(0.0)
