"""What a node would train on: counts by class, and how long an epoch takes; never the name of a file.

What is printed here gets sent to others, so causes that name files stay out of it: ``fedcrucible data`` shows those.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from fedcrucible.health.finding import Finding
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.plain_text import error_text, plain_text

if TYPE_CHECKING:
    from fedcrucible_core.learning.data import DataInfo, Labeled

GROUP = "data"
FEW = 2
"""Examples of a class below which it says little."""
MOST_CLASSES = 20
"""Classes whose counts are listed."""


def examine(config: RunConfigBase, examples: int) -> list[Finding]:
    """What lies in ``task.data_dir``, read as ``task.dataset``, and an epoch on ``examples`` of it (0 = none)."""
    folder = Path(config.task.data_dir)
    if not folder.is_dir():
        detail = "the folder isn't there, or may not be looked into"
        return [
            Finding(GROUP, "folder", "fail", detail, "check --data, a mount, and the rights of who starts the node")
        ]
    try:
        from fedcrucible_core.learning.datasets import whole_training_split

        info, data = whole_training_split(config.task)
    except Exception as error:  # loaders name files in their messages, so only the kind of error is told
        key = f" ({plain_text(error.key)})" if isinstance(error, ConfigError) else ""
        detail = f"can't be read as task.dataset={config.task.dataset}: {type(error).__name__}{key}"
        todo = (
            f"`fedcrucible data task.dataset={config.task.dataset} task.data_dir=FOLDER` says why; it names files, so "
            "keep its output here. Another form of data: add e.g. task.dataset=csv"
        )
        return [Finding(GROUP, "folder", "fail", detail, todo)]
    found = [_counts(info, data)]
    return [*found, _epoch(config, info, data, examples)] if examples else found


def _counts(info: DataInfo, data: Labeled) -> Finding:
    from fedcrucible_core.learning.tasks import task_of

    counts = data.labels.bincount(minlength=info.num_classes).tolist()
    pairs = [f"{plain_text(name, 40)} {count}" for name, count in zip(info.class_names, counts, strict=True)]
    more = f" and {len(pairs) - MOST_CLASSES} more classes" if len(pairs) > MOST_CLASSES else ""
    kind = task_of(info)
    detail = f"{len(data)} {kind.noun}s, {kind.form}: {', '.join(pairs[:MOST_CLASSES])}{more}"
    few = sum(count < FEW for count in counts)
    if sum(count > 0 for count in counts) < 2:
        todo = "a model of one class learns nothing; are the classes' folders (or labels) as intended?"
        return Finding(GROUP, "classes", "warn", detail, todo)
    if few:
        todo = f"{few} of {len(counts)} classes have fewer than {FEW} examples; as intended?"
        return Finding(GROUP, "classes", "warn", detail, todo)
    return Finding(GROUP, "classes", "ok", detail)


def _epoch(config: RunConfigBase, info: DataInfo, data: Labeled, examples: int) -> Finding:
    """One epoch as a client trains, on examples from all over the data, and what that means for all of them."""
    import torch

    from fedcrucible_core.learning.device import deterministic_threads, resolve_device
    from fedcrucible_core.learning.models.base import MODELS
    from fedcrucible_core.learning.rng import torch_generator
    from fedcrucible_core.learning.training import train

    name = "one epoch"
    try:
        device = resolve_device(config.run.device)
        with deterministic_threads(config.run.threads):
            model = MODELS.of(config).build(info, config.run.seed, channels_last=config.run.channels_last).to(device)
            count = min(examples, len(data))
            part = data.subset(torch.linspace(0, len(data) - 1, count).long())
            settings = config.training.model_copy(update={"local_epochs": 1})
            rng = torch_generator(config.run.seed, "preflight")
            start = time.perf_counter()
            inputs, labels = part.for_model().to(device), part.labels.to(device)
            loss = train(model, inputs, labels, settings, rng, precision=config.run.precision)
            seconds = time.perf_counter() - start
    except ConfigError as error:  # of the model or the device, not of the files
        return Finding(
            GROUP, name, "fail", plain_text(error, 300), "settings of the run go behind the options: KEY=VALUE"
        )
    except Exception as error:
        todo = "fewer or smaller examples, or another model.name, need less memory"
        return Finding(GROUP, name, "fail", f"{config.model.name}: {error_text(error)}", todo)
    whole = seconds * len(data) / count
    detail = f"{config.model.name} on {device}: {seconds:.1f} s for {count} examples, about {whole:.0f} s for all"
    if loss != loss:
        return Finding(GROUP, name, "fail", f"{detail}; the loss is not a number", "try a smaller training.lr")
    return Finding(GROUP, name, "ok", detail)
