"""From ``task`` settings to tensors, once per process."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.errors import did_you_mean
from fedcrucible_core.config.places import data_folder
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.data import DataInfo, DataSplits, Labeled
from fedcrucible_core.learning.datasets.base import DATASETS, READ_AS_IT_IS, DatasetSource, PublishedData, Reading
from fedcrucible_core.learning.datasets.class_names import class_names
from fedcrucible_core.learning.datasets.label_check import with_usable_labels
from fedcrucible_core.learning.datasets.labels import number_ids
from fedcrucible_core.learning.datasets.sizes import in_size
from fedcrucible_core.learning.datasets.subsets import long_tail, stratified_order
from fedcrucible_core.learning.partition.base import Labels
from fedcrucible_core.learning.rng import numpy_generator
from fedcrucible_core.learning.tasks import task_of

TEXT_SETTINGS = ("text_column", "max_length", "reserved_tokens", "tokenizer")
SUBSET_SEED = 20_240
"""Subsets belong to the data set, not to the run: every seed of a comparison sees the same images."""


def dataset_source(name: str) -> DatasetSource:
    """The source behind ``task.dataset``: a registered name, ``hf:org/name``, or ``folder:PLACE`` and the like.

    Raises:
        ConfigError: unknown name; the message lists what is allowed.
    """
    kind, colon, place = name.partition(":")
    if colon and kind in DATASETS and DATASETS[kind].after_colon:
        return DATASETS[kind].model_validate({DATASETS[kind].after_colon: place.strip()})
    if name not in DATASETS:
        allowed = f"{did_you_mean(name, DATASETS)}allowed: {', '.join(DATASETS)}, or hf:org/name"
        raise ConfigError("task.dataset", name, allowed)
    return DATASETS[name]()


def prepare(name: str, data_dir: str = "") -> Path:
    """Download a data set into the data folder (see :func:`data_folder`) and return that folder."""
    root = data_folder(data_dir)
    dataset_source(name).prepare(root)
    return root


def load_task(task: TaskSection) -> DataSplits:
    """The splits that a run uses; cached per process, so treat the tensors as read-only.

    In this order: test images are set aside from the training images where no test split is published (a fixed
    stratified ``test_fraction``), validation images are held out of the rest where none ships (a fixed stratified
    ``validation_fraction``), the long tail is drawn, ``train_samples`` are chosen, ``test_samples`` of the measured
    split are chosen.  All choices are stratified and have fixed seeds of their own: no run seed changes them.  A test
    split without any label is replaced by the validation images, and a note says so.

    Raises:
        ConfigError: unknown or absent data set, missing labels, or a number of samples that it doesn't have.
    """
    root = data_folder(task.data_dir)
    return _named(task, root) if task.class_names else _load_task(task, root)


def published(task: TaskSection) -> PublishedData:
    """The splits in their authors' order, whole; read from disk on every call.

    Where no test split is published, ``test`` holds what is set aside for it and ``train`` the rest, in their order;
    with ``test_fraction`` 0 both hold all.

    Raises:
        ConfigError: unknown or absent data set.
    """
    return _published(task.dataset, data_folder(task.data_dir), Reading.of(task), task.test_fraction)


def whole_training_split(task: TaskSection) -> tuple[DataInfo, Labeled]:
    """All images that a data set's owner may train on, in their order; read from disk on every call.

    Nothing is set aside, held out, left out or renamed, whatever ``task`` says; only sizes and columns are as it says.

    Raises:
        ConfigError: unknown or absent data set, or missing labels.
    """
    data = _read(task.dataset, data_folder(task.data_dir), Reading.of(task))
    data = with_usable_labels(replace(data, validation=None, test=None))
    return data.info, data.train


def load_ids(task: TaskSection, column: str) -> Labels:
    """For each image that is shared out to clients, the place of its id in ``column``: int64 ``[M]``.

    Ids are numbered in order, those without such an image left out.

    Raises:
        ConfigError: (``partition.by-column.column``) no such column, or images without an id.
    """
    rows = load_task(task).train.rows
    assert rows is not None
    ids = dataset_source(task.dataset).ids(data_folder(task.data_dir), column)
    return number_ids([ids[row] for row in rows.tolist()], "partition.by-column.column", column)[1]


@lru_cache(maxsize=2)
def _named(task: TaskSection, root: Path) -> DataSplits:
    """The same tensors under the names that ``task.class_names`` gives."""
    splits = _load_task(task.model_copy(update={"class_names": ""}), root)
    own = splits.info.class_names
    names = class_names(task.class_names, own, root)
    return splits if names == own else replace(splits, info=replace(splits.info, class_names=names, own_names=own))


@lru_cache(maxsize=2)
def _load_task(task: TaskSection, root: Path) -> DataSplits:
    reading = Reading.of(task)
    splits, stratified = _load(task.dataset, root, reading, task.test_fraction, task.validation_fraction)
    train, validation, test = splits.train, splits.validation, splits.test
    factor = task.imbalance_factor
    if factor == 1.0:
        factor = dataset_source(task.dataset).default_imbalance
    if factor != 1.0:
        kept = long_tail(_labels(train), factor, splits.info.num_classes, _generator("long-tail"))
        train, stratified = train.subset(torch.from_numpy(kept)), False
    train = _first(train, task.train_samples, "train", splits.info, stratified)
    if task.eval_split == "validation":
        if not len(validation):
            allowed = "nothing is held out: set task.validation_fraction above 0"
            raise ConfigError("task.eval_split", task.eval_split, allowed)
        validation = _first(validation, task.test_samples, "validation", splits.info, False)
    else:
        test = _first(test, task.test_samples, "test", splits.info, False)
    return replace(splits, train=train, validation=validation, test=test)


@lru_cache(maxsize=2)
def _load(
    name: str, root: Path, reading: Reading, test_fraction: float, validation_fraction: float
) -> tuple[DataSplits, bool]:
    """Whole splits, validation held out where none ships; and whether ``train`` is stratified in its own order."""
    data = with_usable_labels(_published(name, root, reading, test_fraction))
    noun = task_of(data.info).noun
    train, validation, stratified = data.train, data.validation, data.train_is_stratified
    if validation is None:
        order = stratified_order(_labels(train), _generator("validation"))
        held_out = int(len(order) * validation_fraction + 0.5)
        if held_out >= len(order):
            allowed = f"leaves none of the {len(order)} training {noun}s for training"
            raise ConfigError("task.validation_fraction", validation_fraction, allowed)
        train, validation = _parted(train, order, held_out)
        stratified = False
    test, notes = data.test, data.notes
    if test is None:
        if not len(validation):
            allowed = "the test split has no labels and nothing is held out: set task.validation_fraction above 0"
            raise ConfigError("task.dataset", name, allowed)
        test, notes = validation, (*notes, f"the {len(validation)} validation {noun}s stand in for the test split")
    tested = test is not data.train
    return DataSplits(data.info, train, validation, test, notes, data.left_out, tested), stratified


def _published(name: str, root: Path, reading: Reading, test_fraction: float) -> PublishedData:
    """The splits as published, in the size that is asked for, with a test split set aside where there is none."""
    data = _read(name, root, reading)
    train = data.train if data.train.rows is not None else data.train.numbered()
    if data.test is not None:
        return replace(data, train=train)
    with_usable_labels(data)  # before the samples are parted: what is wrong is wrong with train
    noun = task_of(data.info).noun
    if not test_fraction:
        note = f"{name} has no test split: the training {noun}s stand in, labels as given; rates say how well they fit"
        return replace(data, train=train, test=train, notes=(*data.notes, note))
    aside = int(len(train) * test_fraction + 0.5)
    if not 0 < aside < len(train):
        allowed = f"sets {aside} of the {len(train)} training {noun}s aside for tests; some must be left on both sides"
        raise ConfigError("task.test_fraction", test_fraction, allowed)
    train, test = _parted(train, stratified_order(_labels(train), _generator("test split")), aside)
    note = f"{name} has no test split: {aside} of its {aside + len(train)} training {noun}s are set aside for tests"
    return replace(data, train=train, test=test, train_is_stratified=False, notes=(*data.notes, note))


def _read(name: str, root: Path, reading: Reading) -> PublishedData:
    """What the source reads, in the size that is asked for."""
    source = dataset_source(name)
    for key in ("image_column", "label_column", "text_column"):
        if getattr(reading, key) and not source.has_columns:
            raise ConfigError(
                f"task.{key}", getattr(reading, key), f"{name} has no columns to choose from; leave it empty"
            )
    data = source.read(root, reading)
    if data.info.task == "text":
        _refuse_settings(("image_column",), reading, f"pictures, {name} has texts")
    else:
        _refuse_settings(TEXT_SETTINGS, reading, f"texts, {name} has {task_of(data.info).noun}s")
    return in_size(data, reading.image_size)


def _refuse_settings(keys: tuple[str, ...], reading: Reading, why: str) -> None:
    """Raise ConfigError for the first of ``keys`` that has another value than its default."""
    for key in keys:
        value, default = getattr(reading, key), getattr(READ_AS_IT_IS, key)
        if value != default:
            raise ConfigError(f"task.{key}", value, f"is for {why}; allowed: {default if default else 'leave it out'}")


def _parted(data: Labeled, order: Labels, count: int) -> tuple[Labeled, Labeled]:
    """All but the first ``count`` images of ``order``, and these; both in their own order."""
    first, rest = (torch.from_numpy(np.sort(part)) for part in (order[:count], order[count:]))
    return data.subset(rest), data.subset(first)


def _first(data: Labeled, samples: int, split: str, info: DataInfo, stratified: bool) -> Labeled:
    """A stratified subset of ``samples`` inputs of a split (0 = all)."""
    if samples > len(data):
        what = f"{split} {task_of(info).noun}s of {info.name} after hold-out and long tail"
        key = "task.train_samples" if split == "train" else "task.test_samples"
        raise ConfigError(key, samples, f"allowed: 1 to {len(data)} ({what}), or 0 for all")
    if samples in (0, len(data)):
        return data
    if stratified:
        return data.subset(torch.arange(samples))
    order = stratified_order(_labels(data), _generator(split))
    return data.subset(torch.from_numpy(np.sort(order[:samples])))


def _labels(data: Labeled) -> Labels:
    labels: Labels = data.labels.numpy()
    return labels


def _generator(purpose: str) -> np.random.Generator:
    return numpy_generator(SUBSET_SEED, purpose)
