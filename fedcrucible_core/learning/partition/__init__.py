"""Partitioners by name: how training images are shared out to clients."""

from fedcrucible_core.learning.partition.base import PARTITIONERS, Labels, Partitioner
from fedcrucible_core.learning.partition.by_column import ByColumnPartitioner
from fedcrucible_core.learning.partition.dirichlet import DirichletPartitioner
from fedcrucible_core.learning.partition.iid import IidPartitioner
from fedcrucible_core.learning.partition.main_class import MainClassPartitioner
from fedcrucible_core.learning.partition.shards import ShardsPartitioner

__all__ = [
    "PARTITIONERS",
    "ByColumnPartitioner",
    "DirichletPartitioner",
    "IidPartitioner",
    "Labels",
    "MainClassPartitioner",
    "Partitioner",
    "ShardsPartitioner",
]
