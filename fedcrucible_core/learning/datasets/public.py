"""Labelled data that everybody may have seen: in no client, no measured split."""

from __future__ import annotations

from fedcrucible_core.learning.data import DataInfo, Labeled
from fedcrucible_core.learning.datasets.base import DATASETS


def public_slice(info: DataInfo) -> Labeled | None:
    """The public data that ship beside a data set, pictures as stored; None where there are none.

    A server, a guide, a generator and an attacker may learn from them.  ``wn4`` and ``wn6`` have 250 documents of each
    topic, ``fashion-mnist-slice`` 2,000 of the 10,000 images that the shipped guide and generator learned from.
    """
    return DATASETS[info.name]().public_slice(info) if info.name in DATASETS else None
