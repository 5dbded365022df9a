"""Partitioners by name: how training images are shared out to clients."""

from learning.partition.base import PARTITIONERS, Labels, Partitioner
from learning.partition.by_column import ByColumnPartitioner
from learning.partition.dirichlet import DirichletPartitioner
from learning.partition.iid import IidPartitioner
from learning.partition.main_class import MainClassPartitioner
from learning.partition.shards import ShardsPartitioner

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
