"""Flower's simulation and a deployment over TLS end in the same golden numbers as the in-process engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.flower.simulation import run_simulation
from fedcrucible.engines.flower.superlink import LocalSuperLink
from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.records.schema import RunSummary
from server_app.plan import Plan
from tests.golden.cells import CELLS, Settings
from tests.golden.digest import Golden, differences, digest_of

pytestmark = pytest.mark.slow
SIMULATED = ("pruning", "lp-adaptive", "whole", "fm-fl")
"""A survey, colluders who simulate the server, rule and attackers with a memory, four prototypes; five clients each."""
DEPLOYED = ("three-clients", "fm-fl-free")
"""Of three clients each: one architecture, and three."""


@pytest.fixture(scope="module")
def superlink() -> Iterator[LocalSuperLink]:
    with LocalSuperLink() as running:
        yield running


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with Deployment([NodeSpec(partition) for partition in range(3)]) as running:  # roles are drawn by the seed
        yield running


def settings_of(name: str, records: Path, engine: str) -> Settings:
    return {**CELLS[name], "output.dir": str(records), "output.name": f"{name}-{engine}"}


def compare(name: str, summary: RunSummary, settings: Settings, golden: Golden, exact: bool) -> None:
    """The recorded numbers; on another processor their tolerances, and this processor's own model bit for bit."""
    found = digest_of(summary, settings)
    wrong = differences(name, golden.runs[name], found, exact=exact)
    assert not wrong, "\n".join(wrong)
    if not exact:
        here = run_in_process(Plan.make(load({**settings, "output.name": f"{name}-here"})))
        assert found.parameters_sha256 == here.parameters_sha256


@pytest.mark.parametrize("name", SIMULATED)
def test_a_simulated_run_ends_in_its_golden_numbers(
    name: str, golden: Golden, exact: bool, records: Path, superlink: LocalSuperLink
) -> None:
    settings = settings_of(name, records, "simulated")
    summary = run_simulation(settings, superlink=superlink, on_line=lambda line: None)
    compare(name, summary, settings, golden, exact)


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_deployed_run_ends_in_its_golden_numbers(
    name: str, golden: Golden, exact: bool, records: Path, deployment: Deployment
) -> None:
    settings = settings_of(name, records, "deployed")
    compare(name, deployment.run(settings, lambda line: None), settings, golden, exact)


@pytest.mark.long
def test_deployed_clients_sanitize_as_those_of_this_process_do(records: Path, deployment: Deployment) -> None:
    settings = settings_of("three-clients", records, "sanitized") | {
        "client.sanitizer": "drop", "client.splitter": "guide-agreement", "poison.upstream": "1",
        "adversary.malicious_fraction": 0.0, "adversary.malicious_ids": "",
    }  # fmt: skip
    here = run_in_process(Plan.make(load({**settings, "output.name": "sanitized-here"})))
    found = deployment.run(settings, lambda line: None)
    assert here.client_sanitizer is not None
    assert here.client_sanitizer.caught_percent is not None
    assert found.parameters_sha256 == here.parameters_sha256
