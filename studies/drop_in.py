"""Defences in somebody's Flower app: accuracy and attack success of Flower's own strategies and of ours.

    python -m studies.drop_in flower-app --seeds 1 2 3
    python -m studies.drop_in transformers-app --set lora-rank=8 --rounds 3
    python -m studies.drop_in flower-app --engines simulation deployment

The apps of ``examples/`` run in this process as they stand; in the place of their FedAvg stands one strategy after the
other.  One client in five attacks.  MA and ASR are what the app's own server measures after the last round, in percent
of its test set.  ``--engines`` runs flower-app and its patched copy by ``flwr run`` too, in Flower's simulation or on a
SuperLink with TLS and one SuperNode with a key per client, and compares the models with those of this process; replies
come in another order there, so sums are rounded otherwise, and FLAME adds no noise.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import random
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from flwr.serverapp.strategy import FedAvg, FedTrimmedAvg, Krum

from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.flower.superlink import LocalSuperLink
from fedcrucible.flower import Defended
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.datasets.names import FASHION
from fedcrucible_core.records.schema import RoundRecord
from fedcrucible_core.reports.statistics.spread import spread
from studies.example_apps import EXAMPLES, ExampleApp, Maker, Rates, apart

Settings = dict[str, Scalar]
Numbers = dict[str, float]
"""Column -> one run's figure."""
Run = Callable[[ExampleApp, Settings], Rates]
"""One run by an engine that is up."""
COLUMNS = ("MA %", "ASR %", "attackers rejected %", "honest rejected %")
NOBODY = "Flower's FedAvg, nobody attacks"


def strategies(
    app: ExampleApp, clients: int, seed: int, on_round: Callable[[RoundRecord], None], rules: Sequence[str] = ()
) -> dict[str, Maker]:
    """Every strategy that is compared, by the name of its row; all are told how many attack, where they ask.

    ``rules`` are further ones of ours, as they are by default.
    """
    attackers = -(-clients // 5)  # partitions 0, 5, 10, ...
    ours = partial(Defended, seed=seed, on_round=on_round)
    found: dict[str, Maker] = {
        NOBODY: FedAvg,
        "Flower's FedAvg": FedAvg,
        "Flower's Krum": partial(Krum, num_malicious_nodes=attackers),
        "Flower's FedTrimmedAvg": partial(FedTrimmedAvg, beta=0.2),
        'Defended("krum")': partial(ours, "krum", f=attackers),
        'Defended("trimmed-mean")': partial(ours, "trimmed-mean", f=attackers),
        'Defended("flame")': partial(ours, "flame"),
    }
    if app.folder.name == "flower-app":
        found['Defended("clip-fed")'] = partial(
            ours, "clip-fed", model=app.module("task").Net(), class_names=FASHION, input_shape=(1, 28, 28),
            server_images="flow", guide="tiny",
        )  # fmt: skip
    told = {"defense.assumed_malicious": attackers}
    return found | {f'Defended("{rule}")': partial(ours, rule, settings=told) for rule in rules}


def measure(
    app: ExampleApp, name: str, settings: Settings, clients: int, seed: int, rules: Sequence[str] = ()
) -> Numbers:
    """One run's figures."""
    rows: list[RoundRecord] = []
    random.seed(seed)  # Flower's strategies draw the order of nodes from here, and sums are rounded by it
    made = strategies(app, clients, seed, rows.append, rules)[name]
    own = {"seed": seed} if "seed" in app.config else {}
    rates = app.run({**settings, **own, "attack": name != NOBODY, "fraction-evaluate": 0.0}, clients, made)
    last = rates[max(rates)]
    found = {"MA %": 100 * last["accuracy"], "ASR %": 100 * last["attack_success"]}
    judged = [row for row in rows if row.round]
    for column, chosen in (("attackers rejected %", True), ("honest rejected %", False)):
        counted = [
            client in row.rejected for row in judged for client in row.participants if (client % 5 == 0) == chosen
        ]
        if counted:
            found[column] = 100 * sum(counted) / len(counted)
    return found


def table(measured: dict[str, list[Numbers]]) -> str:
    """Mean, and with several seeds the Student-t 95 % interval, as Markdown."""
    lines = [f"| strategy | {' | '.join(COLUMNS)} |", "| --- " * (1 + len(COLUMNS)) + "|"]
    for name, runs in measured.items():
        cells = [_cell([run[column] for run in runs if column in run]) for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    found = spread(values)
    if found is None:
        return "-"
    return f"{found.mean:.1f}" + ("" if found.high is None else f" ± {found.high - found.mean:.1f}")


def compare_engines(
    app: ExampleApp, settings: Settings, clients: int, engines: Sequence[str], chosen: Callable[[str], bool]
) -> None:
    """Run the app and its patched copy in this process and by ``flwr run``; print how far their models lie apart."""
    with tempfile.TemporaryDirectory(prefix="drop-in-") as name:
        folder = Path(name)
        defences = {
            "Flower's FedAvg": "",
            'Defended("krum")': '"krum", f=2',
            'Defended("flame")': '"flame", noise=0.0',
        }
        variants = {
            label: app.defended(folder / str(place), defence) if defence else app.copied(folder / str(place))
            for place, (label, defence) in enumerate(defences.items())
            if chosen(label)
        }
        for label, variant in variants.items():
            found = variant.run({**settings, "save-to": str(variant.folder / "here.pt")}, clients)
            print(f"{label}, in process: {_last(found)}", flush=True)
        for engine in engines:
            with ENGINES[engine](clients) as run:
                for label, variant in variants.items():
                    begun, there = time.perf_counter(), variant.folder / f"{engine}.pt"
                    found = run(variant, {**settings, "save-to": str(there)})
                    took, far = time.perf_counter() - begun, apart(variant.folder / "here.pt", there)
                    shown = f"{_last(found)}; weights at most {far:.1e} apart; {took:.0f} s"
                    print(f"{label}, {engine}: {shown}", flush=True)


def _last(found: Rates) -> str:
    return ", ".join(f"{name} {rate:.4f}" for name, rate in found[max(found)].items())


@contextlib.contextmanager
def _simulation(clients: int) -> Iterator[Run]:
    with LocalSuperLink() as superlink:
        yield lambda app, settings: app.simulate(settings, superlink, clients)


@contextlib.contextmanager
def _deployment(clients: int) -> Iterator[Run]:
    with Deployment([NodeSpec(partition) for partition in range(clients)]) as deployment:
        yield lambda app, settings: app.deploy(settings, deployment)


ENGINES = {"simulation": _simulation, "deployment": _deployment}
"""How ``flwr run`` is called, by the engine's name."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("app", choices=sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
    parser.add_argument("--set", nargs="+", default=[], help="KEY=VALUE of the app's run configuration, as TOML")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", nargs="+", help="rows by part of their names")
    parser.add_argument("--rules", nargs="+", default=[], help="further rules of ours")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="compare these with this process instead")
    options = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    app = ExampleApp.named(options.app)

    def chosen(name: str) -> bool:
        return not options.only or any(part in name for part in options.only)

    settings: Settings = tomllib.loads("\n".join(options.set))
    if options.rounds is not None:
        settings["num-server-rounds"] = options.rounds
    if options.engines:
        compare_engines(app, settings, options.clients, options.engines, chosen)
        return
    told = strategies(app, options.clients, 0, lambda _: None, options.rules)
    names = [name for name in told if chosen(name)]
    measured: dict[str, list[Numbers]] = {name: [] for name in names}
    for seed in options.seeds:
        for name in names:
            begun = time.perf_counter()
            measured[name].append(measure(app, name, settings, options.clients, seed, options.rules))
            shown = ", ".join(f"{column} {value:.1f}" for column, value in measured[name][-1].items())
            print(f"seed {seed}, {name}: {shown}; {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"\n{table(measured)}")


if __name__ == "__main__":
    main()
