"""Batch-norm buffers after aggregation."""

from __future__ import annotations

import torch

from fedcrucible_core.learning.vector import buffer_slots
from strategies.buffers import aggregate_buffers
from strategies.replies import variances_valid

SLOTS = buffer_slots(torch.nn.Sequential(torch.nn.BatchNorm1d(2)))
"""Mean (2 numbers), variance (2), counter (1)."""
CURRENT = torch.tensor([9.0, 9.0, 9.0, 9.0, 9.0])
UPLOADS = torch.tensor(
    [[1.0, 0.0, 1.0, 2.0, 5.0], [3.0, 2.0, 2.0, 2.0, 7.0], [8.0, 1.0, 3e38, 4.0, 6.0], [0.0, 0.0, 0.0, 0.0, 99.0]]
)


def test_statistics_are_averaged_by_weight_and_the_counter_is_the_largest_accepted() -> None:
    merged = aggregate_buffers(CURRENT, UPLOADS[:2], torch.tensor([0.2, 0.6]), SLOTS)
    torch.testing.assert_close(merged, torch.tensor([2.5, 1.5, 1.75, 2.0, 7.0]))
    assert aggregate_buffers(CURRENT, UPLOADS, torch.tensor([0.5, 0.5, 0.0, 0.0]), SLOTS)[4] == 7.0


def test_nobody_accepted_keeps_what_was_there() -> None:
    merged = aggregate_buffers(CURRENT, UPLOADS, torch.zeros(4), SLOTS)
    assert torch.equal(merged, CURRENT)
    assert merged.data_ptr() != CURRENT.data_ptr()
    assert aggregate_buffers(torch.zeros(0), torch.zeros(2, 0), torch.ones(2), ()).numel() == 0


def test_one_absurd_variance_spoils_the_mean_and_not_the_median() -> None:
    """What architecture.md says of buffers."""
    weights = torch.tensor([0.4, 0.3, 0.3, 0.0])
    assert aggregate_buffers(CURRENT, UPLOADS, weights, SLOTS)[2] > 1e37
    robust = aggregate_buffers(CURRENT, UPLOADS, weights, SLOTS, "median")
    torch.testing.assert_close(robust, torch.tensor([3.0, 1.0, 2.0, 2.0, 7.0]))


def test_negative_variances_are_found_and_negative_means_are_none() -> None:
    assert variances_valid(torch.tensor([-1.0, 0.0, 1.0, 0.0, 1.0]), SLOTS)
    assert not variances_valid(torch.tensor([0.0, 0.0, -1e-9, 1.0, 1.0]), SLOTS)
