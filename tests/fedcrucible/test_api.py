"""The Python face: results, mistakes, Ctrl-C, and what an import costs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import fedcrucible
from fedcrucible import one_line
from fedcrucible_core.rooms import ROOT

RATES = ("ma_percent", "asr_percent", "base_rate_percent")
KEYS = {"run.rounds": 2, "run.seed": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> fedcrucible.Run:
    folder = str(tmp_path_factory.mktemp("runs"))
    return fedcrucible.run("flame", "badnets", preset="smoke", settings={"output": {"dir": folder}}, **KEYS)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> fedcrucible.Comparison:
    out = tmp_path_factory.mktemp("matrix") / "out"
    keys = {"run.rounds": 1}
    return fedcrucible.compare(["fedavg", "flame"], seeds=[1, 2], preset="smoke", jobs=2, out=out, **keys)


def test_a_run_has_its_numbers_rounds_and_settings(run: fedcrucible.Run) -> None:
    for name in RATES:
        assert 0.0 <= getattr(run, name) <= 100.0
    assert run.rounds.index.tolist() == [0, 1, 2]
    assert run.rounds["ma_percent"].iloc[-1] == run.ma_percent
    assert run.rounds["asr_percent"].iloc[-1] == run.asr_percent
    assert (run.config["strategy"], run.config["attack.name"], run.config["run.seed"]) == ("flame", "badnets", 2)
    assert run.summary.parameters_sha256
    assert (run.folder / "summary.json").is_file()


def test_its_page_is_drawn_when_it_is_asked_for(run: fedcrucible.Run) -> None:
    (run.folder / "report.html").unlink(missing_ok=True)
    assert run.report().is_file()


def test_it_tells_what_it_is(run: fedcrucible.Run) -> None:
    assert repr(run).startswith("<flame under badnets, fashion-mnist-slice, seed 2, 2 rounds: MA ")
    assert f"{run.ma_percent:.2f} %" in run._repr_html_()


def test_a_record_is_read_back(run: fedcrucible.Run) -> None:
    again = fedcrucible.read(run.folder)
    assert isinstance(again, fedcrucible.Run)
    assert again.summary == run.summary


def test_it_is_the_run_that_the_command_makes(run: fedcrucible.Run, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from fedcrucible.cli import app

    arguments = ["run", "-p", "smoke", "strategy=flame", "attack.name=badnets", "run.seed=2", "run.rounds=2"]
    result = CliRunner().invoke(app, [*arguments, f"output.dir={tmp_path}", "output.report=false", "--json"])
    assert json.loads(result.stdout)["sha256"] == run.summary.parameters_sha256


def test_a_comparison_has_a_row_per_run_and_a_table_of_means(comparison: fedcrucible.Comparison) -> None:
    assert len(comparison.frame) == 4
    table = comparison.table().set_index("strategy")
    assert list(table.index) == ["fedavg", "flame"]
    flame = comparison.frame[comparison.frame["strategy"] == "flame"]
    assert table.loc["flame", "MA_percent"] == pytest.approx(flame["ma"].mean())
    assert table.loc["flame", "seeds"] == 2
    assert comparison.report().is_file()
    assert comparison.failed == {}
    assert "4 cells" in repr(comparison)
    assert "<b>" in comparison._repr_html_()


def test_a_comparison_is_read_back_also_after_a_move(comparison: fedcrucible.Comparison, tmp_path: Path) -> None:
    import shutil

    moved = Path(shutil.copytree(comparison.folder, tmp_path / "moved"))
    again = fedcrucible.read(moved)
    assert isinstance(again, fedcrucible.Comparison)
    assert again.table().equals(comparison.table())
    (moved / "report.html").unlink()
    manifest = json.loads((moved / "manifest.json").read_bytes())
    for cell in manifest["cells"]:
        cell["record"] = cell["record"].replace(str(comparison.folder), "/nowhere")
    (moved / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if k not in ("rows", "layout")}))
    older = fedcrucible.read(moved)
    assert isinstance(older, fedcrucible.Comparison)
    assert older.table()["MA_percent"].tolist() == comparison.table()["MA_percent"].tolist()
    assert older.report().is_file()


def test_what_is_finished_is_not_run_again(comparison: fedcrucible.Comparison) -> None:
    before = {path: path.stat().st_mtime_ns for path in comparison.folder.glob("cells/*/summary.json")}
    keys = {"run.rounds": 1}
    again = fedcrucible.compare("fedavg,flame", seeds="1,2", preset="smoke", out=comparison.folder, **keys)
    assert {path: path.stat().st_mtime_ns for path in again.folder.glob("cells/*/summary.json")} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "clipfed"}, "did you mean 'clip-fed'"),
        ({"attack": "badnet"}, "did you mean 'badnets'"),
        ({"seed": 2}, "did you mean 'run.seed'"),
        ({"attack": "badnets", "attack.name": "dba"}, "given twice"),
        ({"settings": {"run": {"rounds": 3}}, "run.rounds": 4}, "given twice"),
        ({"run.seed": [1, 2]}, "a text, number or true/false"),
        ({"run.rounds": -1}, "out of range"),
        ({"preset": "nothing"}, "preset = 'nothing'"),
        ({"preset": 5}, "preset = 5"),
        ({"preset": Path("nothing.toml")}, r"nothing\.toml"),
        ({"settings": 5}, "settings = 5"),
    ],
)
def test_bad_input_is_one_error_before_anything_starts(
    arguments: dict[str, object], message: str, runs_folder: Path, no_client: None
) -> None:
    with pytest.raises(fedcrucible.ConfigError, match=message):
        fedcrucible.run(**{"preset": "smoke", **arguments})
    assert not runs_folder.exists()


def test_a_bad_matrix_is_one_error_too(runs_folder: Path) -> None:
    with pytest.raises(fedcrucible.ConfigError, match="did you mean 'flame'"):
        fedcrucible.compare(["flam"], preset="smoke")
    with pytest.raises(fedcrucible.ConfigError, match="skip_impossible"):
        fedcrucible.compare(["fedavg"], preset="smoke", **{"federation.min_replies": 9})
    with pytest.raises(fedcrucible.ConfigError, match="whole numbers"):
        fedcrucible.compare(["fedavg"], preset="smoke", seeds=[True])
    with pytest.raises(fedcrucible.ConfigError, match="strategies = 5"):
        fedcrucible.compare(5, preset="smoke")  # type: ignore[arg-type]
    with pytest.raises(fedcrucible.ConfigError, match=r"attack\.name = '7'"):
        fedcrucible.compare(["fedavg"], [7], preset="smoke")
    with pytest.raises(fedcrucible.ConfigError, match="seeds = 3"):
        fedcrucible.compare(["fedavg"], preset="smoke", seeds=3)  # type: ignore[arg-type]
    with pytest.raises(fedcrucible.ConfigError, match="jobs = -1"):
        fedcrucible.compare(["fedavg"], preset="smoke", jobs=-1)
    with pytest.raises(fedcrucible.ConfigError, match="allowed: in-process, flwr"):
        fedcrucible.compare(["fedavg"], preset="smoke", engine="ray")
    assert not runs_folder.exists()


def test_another_folder_is_neither(tmp_path: Path) -> None:
    with pytest.raises(fedcrucible.ConfigError, match=r"run\.json"):
        fedcrucible.read(tmp_path)


def test_ctrl_c_keeps_what_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedcrucible.progress import Silent

    def pressed(self: Silent, outcome: object) -> None:
        if outcome.round == 1:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    monkeypatch.setattr(Silent, "on_round", pressed)
    with pytest.raises(fedcrucible.Interrupted) as caught:
        fedcrucible.run("fedavg", preset="smoke", progress=False, **{"output.dir": str(tmp_path)})
    assert caught.value.folder is not None
    kept = fedcrucible.read(caught.value.folder)
    assert isinstance(kept, fedcrucible.Run)
    assert not kept.record.finished
    assert kept.rounds.index.tolist() == [0, 1]
    assert "unfinished" in repr(kept)


def test_what_can_be_named_is_listed() -> None:
    purifiers = fedcrucible.list("purifiers")
    assert {entry.name for entry in purifiers} >= {"clip-guided", "fine-tune"}
    assert "fine-tune" in repr(purifiers)
    assert "<table>" in purifiers._repr_html_()
    assert fedcrucible.list("badnets")[0].kind == "attacks"
    with pytest.raises(fedcrucible.ConfigError, match="did you mean"):
        fedcrucible.list("purifier")
    with pytest.raises(fedcrucible.ConfigError, match="list = 3"):
        fedcrucible.list(3)  # type: ignore[arg-type]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What is written to it; within a test, for between fixtures and tests pytest puts its own in place."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_progress_is_one_line_that_is_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    fedcrucible.run("fedavg", preset="smoke", **{"output.dir": str(tmp_path), "run.rounds": 1})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.count("\r") > 3
    last = text.rstrip().rpartition("\r")[2]
    assert last.startswith(f"[{'#' * one_line.WIDTH}] 1/1  MA ")


def test_a_shorter_line_leaves_nothing_of_a_longer_one() -> None:
    stream = io.StringIO()
    line = one_line.Line(stream)
    line.write(1, 2, "a long text")
    line.write(2, 2, "b")
    first, second = stream.getvalue().split("\r")[1:]
    assert len(second) == len(first)


def test_quiet_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    fedcrucible.run("fedavg", preset="smoke", progress=False, **{"output.dir": str(tmp_path), "run.rounds": 1})
    assert stream.getvalue() == ""


def test_naming_everything_loads_no_heavy_package() -> None:
    code = (
        "import sys, fedcrucible\n"
        "assert not [name for name in sys.modules if name.startswith('fedcrucible.')]\n"
        "[getattr(fedcrucible, name) for name in fedcrucible.__all__]\n"
        "heavy = {'torch', 'pandas', 'flwr', 'matplotlib', 'scipy', 'transformers', 'typer', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "try:\n    fedcrucible.nothing\nexcept AttributeError as error:\n    assert 'nothing' in str(error)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_without_pandas_tables_say_what_is_missing(run: fedcrucible.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'fedcrucible\[cli\]'"):
        _ = run.rounds
    assert run.ma_percent is not None


@pytest.mark.slow
def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """Workers must not run the script again that started them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import fedcrucible\n"
        "found = fedcrucible.compare(['fedavg'], seeds=[1], preset='smoke', jobs=1, out='out', progress=False,\n"
        "                            **{'run.rounds': 1})\n"
        "print(len(found.frame))\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
