"""Flower's simulation and a deployment over TLS end in the same golden numbers as the in-process engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcrucible.engines.flower.deployment import Deployment, NodeSpec
from fedcrucible.engines.flower.simulation import run_simulation
from fedcrucible.engines.flower.superlink import LocalSuperLink
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


def settings_of(name: str, records: Path, engine: str) -> Settings:
    return {**CELLS[name], "output.dir": str(records), "output.name": f"{name}-{engine}"}


@pytest.mark.parametrize("name", SIMULATED)
def test_a_simulated_run_ends_in_its_golden_numbers(
    name: str, golden: Golden, exact: bool, records: Path, superlink: LocalSuperLink
) -> None:
    settings = settings_of(name, records, "simulated")
    summary = run_simulation(settings, superlink=superlink, on_line=lambda line: None)
    wrong = differences(name, golden.runs[name], digest_of(summary, settings), exact=exact)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_deployed_run_ends_in_its_golden_numbers(name: str, golden: Golden, exact: bool, records: Path) -> None:
    settings = settings_of(name, records, "deployed")
    with Deployment([NodeSpec(partition) for partition in range(3)]) as deployment:  # roles are drawn by the seed
        summary = deployment.run(settings, lambda line: None)
    wrong = differences(name, golden.runs[name], digest_of(summary, settings), exact=exact)
    assert not wrong, "\n".join(wrong)
