"""Our defences as a Flower strategy, in anybody's app.

from fedcrucible.flower import Defended

strategy = Defended("flame", noise=0.001, record="runs/x")
result = strategy.start(grid, initial_arrays=ArrayRecord(model.state_dict()), num_rounds=3)
"""

from fedcrucible.flower.defended import Defended

__all__ = ["Defended"]
