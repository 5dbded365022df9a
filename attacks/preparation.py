"""What a poisoner prepares, made once and kept on disk by content."""

from __future__ import annotations

import inspect
import warnings
from importlib import metadata
from pathlib import Path

import torch

from attacks.artefact import EMPTY, Artefact
from attacks.poisoner import PoisonContext, Poisoner
from attacks.task import AttackTask
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.places import cache_folder
from fedcrucible_core.foundation.cache import arithmetic, digest, files_digest
from fedcrucible_core.learning.device import deterministic_threads
from fedcrucible_core.learning.rng import torch_generator

VERSION = "1"
"""Part of every key; raised when the same settings make another artefact."""
_MADE: dict[Path, Artefact] = {}
"""What this process made or read."""


def prepared(
    poisoner: Poisoner, task: AttackTask, *, seed: int, threads: int = 1, cache_dir: str | Path = ""
) -> Artefact:
    """What ``poisoner`` prepares for a task: from the cache, or made now and kept there.

    The key covers the poisoner's class, source and parameters, the training data, the target, the seed, the number of
    threads and the versions of this project and torch: whoever fills the cache, it holds what this process would make.
    A folder that can't be written is a warning.
    """
    if not poisoner.prepares:
        return EMPTY
    with deterministic_threads(threads):
        path = cache_folder(cache_dir) / f"artefact-{_key(poisoner, task, seed)}.safetensors"
        if path not in _MADE:
            _MADE[path] = Artefact.load(path) or _make(poisoner, task, seed, path)
        return _MADE[path]


def run_artefact(config: RunConfigBase, poisoner: Poisoner, task: AttackTask) -> Artefact:
    """The artefact of a run: the file that ``attack.artefact`` names, else as ``prepared`` makes it."""
    if poisoner.prepares and config.attack.artefact:
        return artefact_file(config.attack.artefact)
    cache_dir = config.guide.cache_dir
    return prepared(poisoner, task, seed=config.run.seed, threads=config.run.threads, cache_dir=cache_dir)


def artefact_file(path: str) -> Artefact:
    """The artefact in the file that ``attack.artefact`` names. Raises ConfigError."""
    loaded = Artefact.load(Path(path).expanduser())
    if loaded is None:
        raise ConfigError("attack.artefact", path, "no file of a prepared artefact; empty = prepared here")
    return loaded


def measured_context(config: RunConfigBase, poisoner: Poisoner, task: AttackTask) -> PoisonContext:
    """The poisoner's inputs for the triggered test set; equal in every process of a run."""
    rng = torch_generator(config.run.seed, "triggered-test")
    return PoisonContext(task, config.poison, rng, run_artefact(config, poisoner, task))


def _make(poisoner: Poisoner, task: AttackTask, seed: int, path: Path) -> Artefact:
    artefact = poisoner.prepare(task, torch_generator(seed, f"artefact-{poisoner.name}")).as_read()
    try:
        artefact.save(path)
    except OSError as error:
        warnings.warn(f"can't write {path} ({error}); going on without it", RuntimeWarning, stacklevel=3)
    return artefact


def _sources(cls: type[Poisoner]) -> str:
    """SHA-256 of the files that a poisoner is made of, so that a changed class prepares anew.

    Those that define the class, and all of ``attacks/support``, where networks and their training lie.
    """
    files = [inspect.getsourcefile(part) for part in cls.__mro__ if issubclass(part, Poisoner)]
    support = sorted(Path(__file__).with_name("support").glob("*.py"))
    return files_digest([*(path for file in files if file and (path := Path(file)).is_file()), *support])


def _version() -> str:
    try:
        return metadata.version("fedcrucible")
    except metadata.PackageNotFoundError:  # run from a folder
        return ""


def _key(poisoner: Poisoner, task: AttackTask, seed: int) -> str:
    cls = type(poisoner)
    return digest(
        VERSION,
        f"{cls.__module__}.{cls.__qualname__}",
        _sources(cls),
        poisoner.model_dump_json(),
        str(task.info),
        f"target {task.target}, seed {seed}, fedcrucible {_version()}",
        arithmetic(torch.device("cpu")),
        task.train.inputs,
        task.train.labels,
    )
