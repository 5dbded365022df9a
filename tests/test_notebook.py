"""The notebook of docs/ does what it shows, from its first cell to its last."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible_core.rooms import ROOT

NOTEBOOK = ROOT / "docs" / "first-steps.ipynb"


def test_outputs_are_left_out() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path, runs_folder: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    streams = ["".join(output.text) for output in shown if output.output_type == "stream"]
    assert any("\r[" in text for text in streams), "progress is one line, rewritten"
    assert len(list(runs_folder.glob("fedavg-badnets-*"))) == 1
    assert list(runs_folder.glob("comparison/results.csv"))
