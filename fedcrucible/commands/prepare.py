"""``fedcrucible prepare``: the only command that downloads data."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fedcrucible.failures import CommandError, clear_errors


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Data set, e.g. cifar10 or hf:org/name.")],
    data_dir: Annotated[
        str, typer.Option("--data-dir", metavar="FOLDER", help="Where to; default: FEDCRUCIBLE_DATA or the user cache.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Download a data set and check that it can be read."""
    with clear_errors():
        with contextlib.redirect_stdout(sys.stderr):
            prepared = prepare(name, data_dir)
        if as_json:
            typer.echo(json.dumps(prepared.as_object()))
        else:
            typer.echo(prepared.as_line())


@dataclass(frozen=True)
class Prepared:
    """A data set in the data folder; ``choice`` is what a run has to be told before it can read it."""

    name: str
    folder: Path
    train: int = 0
    test: int = 0
    choice: str = ""
    noun: str = "image"

    def as_object(self) -> dict[str, object]:
        """For machines; no numbers of images where a choice has to be made first."""
        counts = {"train_images": None, "test_images": None, "choice": self.choice} if self.choice else {
            "train_images": self.train, "test_images": self.test,
        }  # fmt: skip
        return {"dataset": self.name, "folder": str(self.folder), **counts}

    def as_line(self) -> str:
        """For people."""
        if self.choice:
            return f"{self.name}: in {self.folder}; a run {self.choice}"
        test = (
            f"{self.test} test {self.noun}s"
            if self.test
            else f"no test {self.noun}s (task.test_fraction sets some aside)"
        )
        return f"{self.name}: {self.train} training and {test} in {self.folder}"


def prepare(name: str, data_dir: str = "") -> Prepared:
    """Fetch what is missing and count it.

    Raises:
        ConfigError: unknown name.
        CommandError: it could not be fetched; the hint says where files can be put by hand.
    """
    from fedcrucible_core.config.errors import ConfigError
    from fedcrucible_core.config.places import data_folder
    from fedcrucible_core.config.plain_text import plain_text
    from fedcrucible_core.learning.datasets import dataset_source
    from fedcrucible_core.learning.datasets import prepare as fetch
    from fedcrucible_core.learning.datasets.base import UndecidedError
    from fedcrucible_core.learning.tasks import task_of

    source, root = dataset_source(name), data_folder(data_dir)
    try:
        fetch(name, data_dir)
        data = source.read(root)
    except UndecidedError as error:
        return Prepared(name, root, choice=error.allowed)
    except ConfigError:
        raise
    except Exception as error:  # torchvision, urllib and the hub raise what they like
        reason = plain_text(error, 1000) or type(error).__name__
        by_hand = source.by_hand.format(root=root) if source.by_hand else ""
        hint = f"Without a network, by hand: {by_hand}; then run this again." if by_hand else ""
        raise CommandError(f"{name} can't be downloaded to {root}: {reason}", hint) from error
    return Prepared(name, root, len(data.train), len(data.test or ()), noun=task_of(data.info).noun)
