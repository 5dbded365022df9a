"""The snippet of docs/strategies.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from client_app.app import app as client_app
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.load import flatten, load
from fedcrucible_core.rooms import ROOT
from tests.support.tiny_runs import settings


def test_the_server_app_of_the_page_runs(runs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "docs/strategies.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(snippets[0].replace("from __future__", "#"), "docs/strategies.md", "exec"), names)
    run_config = flatten(load(settings(strategy="median")))
    grid = LocalGrid(client_app, 5, run_config)
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=run_config)
    names["main"](grid, context)
    assert capsys.readouterr().out.strip().endswith("2 rounds of median")
