"""What a Python user calls: run, compare, purify, read, list. ``import fedcrucible`` exports it."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcrucible.catalogue import KINDS, Catalogue, entries, find
from fedcrucible.comparison_result import Comparison
from fedcrucible.failures import CommandError, Interrupted
from fedcrucible.purification_result import Purification
from fedcrucible.run_result import Run
from fedcrucible_core.config.errors import ConfigError
from fedcrucible_core.config.extras import require
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.rooms import require_own_rooms

if TYPE_CHECKING:
    from fedcrucible.comparison.session import Request

__all__ = [
    "Catalogue", "Comparison", "ConfigError", "Interrupted", "Purification", "Run", "compare", "list", "purify", "read",
    "run",
]  # fmt: skip
Values = str | Sequence[Scalar]
"""``"a,b"`` or ``["a", "b"]``."""


def run(
    strategy: str | None = None,
    attack: str | None = None,
    *,
    preset: str | os.PathLike[str] = "",
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
    **keys: Any,
) -> Run:
    """Run one system under one attack in this process and record it.

    Args:
        strategy: system or rule, e.g. ``clip-fed``; the same as the key ``strategy``.
        attack: the same as the key ``attack.name``.
        preset: settings to start from: a preset's name, or a .toml file.
        settings: more settings, by dotted key or as nested mappings.
        progress: whether one line on the terminal, or below a notebook's cell, tells how far it is.
        keys: settings by dotted key, e.g. ``**{"run.seed": 2}``.

    Raises:
        ConfigError: a setting that can't be used; nothing has started.
        Interrupted: Ctrl-C; the rounds so far are recorded, in its ``folder``.
    """
    require_own_rooms()
    require("server")
    from fedcrucible.engines.hidden_settings import with_hidden
    from fedcrucible.engines.in_process import run_in_process
    from fedcrucible.one_line import run_display
    from fedcrucible_core.config.load import load, overlaid
    from fedcrucible_core.config.preset import load_preset
    from server_app.plan import Plan

    given = _settings(settings, {"strategy": strategy, "attack.name": attack}, keys)
    plan = Plan.make(load(with_hidden(overlaid(load_preset(_preset(preset)), {"output.report": False}, given))))
    folders: builtins.list[Path] = []
    with run_display(progress) as display:
        plan.foundation.told = display.on_step
        display.started(plan.config.run.rounds)
        try:
            summary = run_in_process(plan, [display], display.on_reply, folders.append)
        except KeyboardInterrupt:
            raise Interrupted(folders[0] if folders else None) from None
    return Run(Path(summary.folder))


def compare(
    strategies: Values = (),
    attacks: Values = (),
    *,
    datasets: Values = (),
    partitions: Values = (),
    fractions: Values = (),
    axes: Mapping[str, Values] | None = None,
    seeds: str | Sequence[int] = (),
    preset: str | os.PathLike[str] = "demo",
    settings: Mapping[str, Any] | None = None,
    reference: str = "",
    margin: float | None = None,
    engine: str = "in-process",
    jobs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    skip_impossible: bool = False,
    progress: bool = True,
    **keys: Any,
) -> Comparison:
    """Run every combination over several seeds; the same matrix, folder and files as ``fedcrucible compare``.

    What is finished is never run again: the same call goes on where it stopped.  A run that fails stops no other; the
    result says which did.

    Args:
        strategies: systems to compare, ``"a,b"`` or ``["a", "b"]``; so are the other axes.
        attacks: attacks that they face.
        datasets: data sets.
        partitions: partitions of the data.
        fractions: shares of clients that are malicious.
        axes: other axes: key -> values, or the points of the preset's own axis.
        seeds: of every cell; none = the preset's, or 1, 2, 3.
        preset: settings to start from; its ``[compare]`` table is the matrix.
        settings: settings of all cells, by dotted key or as nested mappings.
        reference: system that the others are tested against; empty = the first.
        margin: points of MA that the best ASR may cost.
        engine: ``in-process``, or ``flwr``: each run through ``flwr run``.
        jobs: runs at the same time; 0 = only tabulate what is finished; None = one per CPU, four at most.
        out: folder of records, tables and page.
        skip_impossible: leave impossible cells out instead of stopping.
        progress: whether one line tells how far it is.
        keys: settings by dotted key.

    Raises:
        ConfigError: settings or cells that can't be had; nothing has started.
        Interrupted: Ctrl-C; what was finished is kept.
    """
    require_own_rooms()
    require("cli")
    from fedcrucible.comparison.plan.request import Options
    from fedcrucible.comparison.session import Request, usual_jobs
    from fedcrucible.one_line import matrix_line

    shared = _settings(settings, {}, keys)
    options = Options(
        _preset(preset),
        shared,
        strategies,
        attacks,
        datasets,
        partitions,
        fractions,
        seeds,
        axes or {},
        reference,
        margin,
        engine,
    )
    return _compared(
        Request(
            options,
            usual_jobs(jobs, engine),
            Path(out) if out is not None else None,
            skip_impossible,
            display=lambda: matrix_line(progress),
            command="fedcrucible.compare(...)",
        )
    )


def purify(
    data: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    *,
    method: str = "cgd-unlearn",
    architecture: str = "",
    scorer: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
    **keys: Any,
) -> Purification:
    """Split a training set that may be poisoned, and purify the model that was trained on it.

    An ordinary central run in this process, with record, checkpoints and page.

    Args:
        data: folder of pictures by class, a .csv, .jsonl or .npz file, ``hf:org/name``, or a data set of ours.
        model: the suspicious model: a state dict's file, or the record of a run; None = trained on the set first, 10
            epochs, or ``run.rounds``.
        method: the repair, by registered name.
        architecture: of the state dict: one of ours, ``torchvision:NAME`` or ``timm:NAME``; a record says it itself.
        scorer: what scores in place of freshly trained models: .onnx, TorchScript, or logits of every row.
        out: the record's folder; None = a new one.
        settings: more settings, by dotted key or as nested mappings.
        progress: whether one line on the terminal, or below a notebook's cell, tells how far it is.
        keys: settings by dotted key.

    Raises:
        ConfigError: something that can't be used; nothing has been trained.
        Interrupted: Ctrl-C; with ``out`` and ``**{"run.resume": True}`` the same call goes on.
    """
    require_own_rooms()
    require("server")
    from fedcrucible.one_line import run_display
    from fedcrucible.purifying import Request as Wanted
    from fedcrucible.purifying import plan_of, purified_model
    from fedcrucible.purifying import run as run_plan

    given = {"output.report": False} | _settings(settings, {}, keys)
    suspect, place, scores = ("" if path is None else os.fspath(path) for path in (model, out, scorer))
    plan = plan_of(Wanted(os.fspath(data), suspect, architecture, method, place, scores, given))
    folders: builtins.list[Path] = []
    with run_display(progress) as display:
        plan.foundation.told = display.on_step
        display.started(plan.config.run.rounds, tested=plan.data.tested)
        try:
            folder = Path(run_plan(plan, [display], display.on_reply, folders.append).folder)
        except KeyboardInterrupt:
            raise Interrupted(folders[0] if folders else None) from None
    return Purification(Run(folder), purified_model(plan, folder), plan.data.tested)


def read(folder: str | os.PathLike[str]) -> Run | Comparison:
    """A run from its record's folder, or a comparison from its own. Raises ConfigError for any other folder."""
    from fedcrucible_core.records.files import RUN

    path = Path(folder)
    if (path / RUN).is_file():
        return Run(path.resolve())
    if Comparison.is_at(path):
        return Comparison(path.resolve())
    raise ConfigError("folder", str(folder), f"a run's record (it holds {RUN}) or a comparison's (manifest.json)")


def list(kind: str | None = None) -> Catalogue:  # noqa: A001
    """All that can be named in a setting: of one kind (e.g. ``attacks``), of one name, or everything.

    Raises ConfigError for an unknown kind or name.
    """
    require_own_rooms()
    if kind is not None and not isinstance(kind, str):
        raise ConfigError("list", kind, "a name, as text")
    if kind is None:
        return Catalogue(entry for each in KINDS for entry in entries(each))
    return Catalogue(entries(kind) if kind in KINDS else find(kind, KINDS))


def _compared(request: Request) -> Comparison:
    from fedcrucible.comparison import session

    session.check_output_settings(request.options.settings)
    try:
        _, folder = session.compare(request)
    except session.ImpossibleCellsError as error:
        raise ConfigError("cells", error.count, f"{error}; leave them out, or skip_impossible=True") from None
    except CommandError as error:
        raise RuntimeError(f"{error} ({error.hint})" if error.hint else str(error)) from None
    return Comparison(folder)


def _preset(name: object) -> str:
    """A preset's name, or a file's path. Raises ConfigError."""
    try:
        text = os.fspath(name)  # type: ignore[call-overload]
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise ConfigError("preset", name, "a preset's name, or the path of a .toml file")
    return text


def _settings(
    nested: Mapping[str, Any] | None, short: Mapping[str, str | None], keys: Mapping[str, Any]
) -> dict[str, Scalar]:
    """All settings by dotted key. Raises ConfigError for one that is given twice, or is no setting's value."""
    from fedcrucible_core.config.preset import flatten_table

    if nested is not None and not isinstance(nested, Mapping):
        raise ConfigError("settings", nested, "a mapping, by dotted key or nested")
    flat: dict[str, Scalar] = {}
    given: Callable[[Mapping[str, Any]], dict[str, Scalar]] = flatten_table
    for part in (given(nested or {}), given({k: v for k, v in short.items() if v is not None}), given(keys)):
        for key, value in part.items():
            if key in flat:
                raise ConfigError(key, value, f"given twice; the other value is {flat[key]!r}")
            flat[key] = value
    return flat
