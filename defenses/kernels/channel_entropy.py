"""Entropy of a channel's activations over samples, by histograms that all channels of a layer share."""

from __future__ import annotations

import torch
from torch import Tensor


def channel_entropies(features: Tensor, step: float) -> Tensor:
    """Entropy in nats, float64 ``[C]``, of each channel's standardised values (zheng2022preactivation).

    Values are standardised over samples, channel by channel (a constant channel becomes 0).  Bins of width ``step``
    start at the layer's smallest value; every sample is in one of them, those at both edges included, which public code
    drops.

    Args:
        features: ``[n, C]``, one number per sample and channel, n >= 1.
        step: width of a bin, in standard deviations, > 0.

    Returns:
        E.g. of two channels [0, 0, 0, 3] and [0, 1, 2, 3] at step 0.5: 0.562 and 1.386.
    """
    values = features.to(torch.float64)
    deviation = values.std(0, correction=0)
    centred = values - values.mean(0)
    constant = deviation <= 1e-12 * values.abs().amax(0).clamp(min=1e-300)
    standard = torch.where(constant, 0.0, centred / torch.where(constant, 1.0, deviation))
    bins = ((standard - standard.min()) / step).floor().to(torch.int64)
    return torch.stack([_entropy(column) for column in bins.T])


def _entropy(bins: Tensor) -> Tensor:
    counts = torch.unique(bins, return_counts=True)[1].to(torch.float64)
    shares = counts / counts.sum()
    entropy: Tensor = -(shares * shares.log()).sum()
    return entropy


def low_outliers(entropies: Tensor, deviations: float) -> Tensor:
    """Channels, int64, whose entropy is below mean - ``deviations`` * standard deviation of their layer's ``[C]``.

    None of a layer of one channel.  Among at most deviations^2 + 1 channels nothing can lie that far out.
    """
    if len(entropies) < 2:
        return torch.zeros(0, dtype=torch.int64)
    limit = entropies.mean() - deviations * entropies.std(correction=0)
    return (entropies < limit).nonzero().flatten()
