"""A node's own data as its partition: used whole, with the server's classes, shape and normalisation."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import Context
from torch import Tensor

from client_app.confidential import TellableError
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.config.sections import TaskSection
from fedcrucible_core.learning.data import DataInfo, DataSplits, Labeled
from fedcrucible_core.learning.datasets import dataset_source, load_task, whole_training_split
from fedcrucible_core.learning.datasets.class_folders import match_names
from fedcrucible_core.learning.datasets.listing import shown
from fedcrucible_core.learning.tasks import task_of

KEY = "node-config own-data"
MOST_NAMES = 12
"""Class names that one error lists."""


def has_own_data(context: Context, config: RunConfigBase) -> bool:
    """Whether this node's ``data-dir`` holds data of its own (``own-data=true``).

    Raises TellableError for a value that is no truth value, without a ``data-dir``, for a data set that lies elsewhere
    (ships with the package, or at an absolute place), and where the run asks for own data that this node hasn't got.
    """
    own = context.node_config.get("own-data", False)
    if not isinstance(own, bool):
        raise TellableError(KEY, own, "allowed: true, false")
    if not own:
        if config.federation.own_data:
            allowed = "the run's federation.own_data asks for --node-config \"data-dir='/folder' own-data=true\""
            raise TellableError(KEY, own, allowed)
        return False
    if not str(context.node_config.get("data-dir", "")).strip():
        raise TellableError(KEY, own, "needs data-dir too, the folder of this node's data")
    source = dataset_source(config.task.dataset)
    if Path(str(getattr(source, "place", ""))).is_absolute():
        raise TellableError(
            KEY, own, f"task.dataset = {config.task.dataset!r} names one place for all, whatever data-dir"
        )
    if source.ships:
        raise TellableError(KEY, own, f"task.dataset = {config.task.dataset!r} ships with the package, no node owns it")
    return True


@lru_cache(maxsize=4)
def own_splits(task: TaskSection, server: DataInfo) -> DataSplits:
    """All training data of the node's folder, labelled as the server numbers its classes; nothing is held out.

    No subset, hold-out or long tail of ``task`` applies, and the folder's test and validation data are not used.
    Classes go by name: by what the server's data set itself calls them, or what ``task.class_names`` makes of that.
    Grey images become colour ones where the server's are.

    Raises:
        ConfigError: no data, pictures of another shape, texts of other tokens, or a class that the server doesn't know.
    """
    info, found = whole_training_split(task)
    inputs = found.inputs
    if info.task == server.task == "vision" and info.shape[0] == 1 and server.shape[0] == 3:  # grey is a colour
        inputs = inputs.expand(-1, 3, -1, -1)
    _check_form(task, replace(info, shape=tuple(inputs.shape[1:])), server)
    train = Labeled(inputs.contiguous(), _server_labels(found.labels, info.class_names, server))
    none = train.subset(torch.arange(0))
    return DataSplits(server, train, none, none)


def check_data(config: RunConfigBase, server: DataInfo | None, own: bool) -> None:
    """Raise ConfigError when this node can't read its data, or when they don't fit the server's."""
    if server is None:
        load_task(config.task)
    elif own:
        own_splits(config.task, server)
    else:
        here = load_task(config.task).info
        _check_form(config.task, here, server)
        if here.class_names != server.class_names:
            why = f"classes here: {_listed(here.class_names)}; the server's: {_listed(server.class_names)}"
            same = len(set(here.class_names) & set(server.class_names))
            allowed = (
                f"{len(here.class_names)} classes here, {len(server.class_names)} at the server, {same} of one name: "
                "other classes, or another order (this node's own log names them)"
            )
            raise TellableError("task.dataset", config.task.dataset, allowed) from ConfigError("classes", "", why)


def _server_labels(labels: Tensor, names: tuple[str, ...], server: DataInfo) -> Tensor:
    """Labels int64 ``[n]`` that number ``names`` as labels that number the server's classes."""
    present = torch.unique(labels).tolist()
    numbers: dict[str, int] = {}
    for known_names in (server.own_names, server.class_names):
        left = [names[label] for label in present if names[label] not in numbers]
        matched = match_names(known_names, left, KEY, True)
        numbers |= {own: number for number, own in enumerate(matched) if own is not None}
    unknown = [names[label] for label in present if names[label] not in numbers]
    if unknown:
        known = _listed(server.class_names)
        why = ConfigError(KEY, True, f"the server knows the classes {known}, but not this node's {_listed(unknown)}")
        count = f"{len(unknown)} of the {len(present)} classes of this node (its own log names them)"
        raise TellableError(KEY, True, f"the server knows the classes {known}, but not {count}") from why
    return torch.tensor([numbers.get(name, -1) for name in names], dtype=torch.int64)[labels]


def _check_form(task: TaskSection, here: DataInfo, server: DataInfo) -> None:
    """Raise TellableError where an input here isn't what one is at the server."""
    own, theirs = task_of(here), task_of(server)
    if own.form != theirs.form:
        raise TellableError(
            "task.dataset", task.dataset, f"{own.noun}s here are {own.form}, the server's {theirs.form}"
        )


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return shown([plain_text(name, 40) for name in names], MOST_NAMES)
