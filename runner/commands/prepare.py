"""``fedcrucible prepare``: the only command that downloads data."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from runner.failures import CommandError, clear_errors


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
            folder, train, test = prepare(name, data_dir)
        if as_json:
            typer.echo(json.dumps({"dataset": name, "folder": str(folder), "train_images": train, "test_images": test}))
        else:
            typer.echo(f"{name}: {train} training and {test} test images in {folder}")


def prepare(name: str, data_dir: str = "") -> tuple[Path, int, int]:
    """Fetch what is missing; returns the data folder and the numbers of training and test images.

    Raises:
        ConfigError: unknown name.
        CommandError: it could not be fetched; the hint says where files can be put by hand.
    """
    from config.errors import ConfigError
    from config.plain_text import plain_text
    from learning.datasets import data_root, dataset_source
    from learning.datasets import prepare as fetch

    source, root = dataset_source(name), data_root(data_dir)
    try:
        fetch(name, data_dir)
        data = source.read(root)
    except ConfigError:
        raise
    except Exception as error:  # torchvision, urllib and the hub raise what they like
        reason = plain_text(error, 1000) or type(error).__name__
        by_hand = source.by_hand.format(root=root) if source.by_hand else ""
        hint = f"Without a network, by hand: {by_hand}; then run this again." if by_hand else ""
        raise CommandError(f"{name} can't be downloaded to {root}: {reason}", hint) from error
    return root, len(data.train), len(data.test)
