"""Finished records of cells with invented numbers, so that tables and pages can be tested without a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedcrucible.comparison.execution.store import Store
from fedcrucible.comparison.plan.cell import Cell
from fedcrucible_core.config.load import default_keys, flatten, load
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord
from server_app.checks import attackers
from strategies.systems import assemble

Numbers = tuple[float, float | None]
"""MA and ASR of the last round."""


def invent(store: Store, cell: Cell, numbers: Numbers, rounds: int = 10, scores: bool = True) -> Path:
    """Write a finished record of a cell whose last round has these numbers; earlier ones lead up to them."""
    config, system = cell.config, assemble(cell.config)
    settings = store.settings(cell)
    folder = Path(str(settings["output.dir"])) / str(settings["output.name"])
    folder.mkdir(parents=True)
    record = RunRecord(folder)
    bad, clients = attackers(config), config.federation.clients
    record.write_run(
        RunDescription(
            strategy=system.name,
            attack=config.attack.name,
            rule=system.rule.name if system.rule else "",
            purifier=system.purifier.name if system.purifier else "",
            seed=config.run.seed,
            rounds=rounds,
            dataset=config.task.dataset,
            test_images=10_000,
            triggered_images=9_000,
            clients=clients,
            malicious=bad,
        )
    )
    record.write_config(flatten(load(settings)), default_keys())
    record.write_environment("cpu", 1)
    rng = np.random.default_rng(config.run.seed)
    for number in range(rounds + 1):
        record.append_round(_round(number, rounds, numbers, bad, clients, system.name, rng, scores))
    record.write_summary(parameters_sha256="ab" * 32, seconds_total=40.0)
    return folder


def invent_all(store: Store, cells: list[Cell], numbers: Callable[[Cell], Numbers], rounds: int = 10) -> None:
    """Write a record for every distinct cell."""
    for cell in {cell.digest: cell for cell in cells}.values():
        invent(store, cell, numbers(cell), rounds)


def _round(
    number: int,
    rounds: int,
    numbers: Numbers,
    bad: tuple[int, ...],
    clients: int,
    system: str,
    rng: np.random.Generator,
    scores: bool,
) -> RoundRecord:
    ma, asr = numbers
    share = 1.0 - np.exp(-5.0 * number / rounds)
    wobble = 0.0 if number == rounds else float(rng.normal(0, 1.5))
    fields: dict[str, object] = {
        "round": number,
        "ma_percent": ma if number == rounds else float(np.clip(10 + (ma - 10) * share + wobble, 0, 100)),
        "asr_percent": None,
        "seconds": {"train": 3.0, "aggregate": 0.1, "server": 0.4, "evaluate": 1.0} if number else {"evaluate": 1.0},
        "peak_memory_mb": 600.0,
    }
    if asr is not None:
        fields["asr_percent"] = asr if number == rounds else float(np.clip(asr * share + wobble, 0, 100))
        fields["base_rate_percent"] = 2.5
    if number:
        judged = system != "fedavg"
        rejected = [i for i in range(clients) if judged and rng.random() < (0.9 if i in bad else 0.15)]
        accepted = [i for i in range(clients) if i not in rejected]
        kept = 1.0 / max(1, len(accepted))
        fields |= {
            "participants": range(clients),
            "malicious": bad,
            "attack_active": bool(bad),
            "accepted": accepted,
            "rejected": rejected,
            "weights": {str(i): kept if i in accepted else 0.0 for i in range(clients)},
            "bytes_up": 1_000_000 * clients,
            "bytes_down": 1_000_000 * clients,
        }
        if judged and scores:
            fields["per_client"] = {"score": [float(rng.normal(2.0 if i in bad else 0.5, 0.8)) for i in range(clients)]}
    return RoundRecord.model_validate(fields)
