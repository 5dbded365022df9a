"""Data sets by name, and the one way from ``task`` settings to tensors."""

from fedcrucible_core.learning.datasets import ag_news, csv_table, folder, json_lines, npz, shipped, vision, wordnet
from fedcrucible_core.learning.datasets.base import DATASETS, DatasetSource, PublishedData, Reading
from fedcrucible_core.learning.datasets.hub import HuggingFace
from fedcrucible_core.learning.datasets.load import (
    dataset_source,
    load_ids,
    load_task,
    prepare,
    published,
    whole_training_split,
)
from fedcrucible_core.learning.datasets.public import public_slice
from fedcrucible_core.learning.datasets.subsets import long_tail, long_tail_counts, stratified_order

__all__ = [
    "DATASETS",
    "DatasetSource",
    "HuggingFace",
    "PublishedData",
    "Reading",
    "ag_news",
    "csv_table",
    "dataset_source",
    "folder",
    "json_lines",
    "load_ids",
    "load_task",
    "long_tail",
    "long_tail_counts",
    "npz",
    "prepare",
    "public_slice",
    "published",
    "shipped",
    "stratified_order",
    "vision",
    "whole_training_split",
    "wordnet",
]
