"""From options and TOML files to a matrix; every mistake is one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcrucible.comparison.plan.matrix import Matrix
from fedcrucible.comparison.plan.request import Options, matrix
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.old_keys import OldKeyWarning
from fedcrucible_core.config.preset import load_preset


def made(**options: object) -> Matrix:
    return matrix(Options(**{"preset": "smoke"} | options))  # type: ignore[arg-type]


def written(folder: Path, text: str) -> str:
    path = folder / "grid.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_cells_are_all_combinations_whole_seeds_first() -> None:
    cells = made(strategies="fedavg,flame", attacks="badnets,none", fractions="0.25,0.5", seeds="1-2,5").cells()
    assert len(cells) == 3 * 2 * 2 * 2
    assert [cell.labels["seed"] for cell in cells[::8]] == [1, 2, 5]
    assert cells[0].labels == {"malicious": 0.25, "attack": "badnets", "strategy": "fedavg", "seed": 1}
    assert [cell.labels["strategy"] for cell in cells[:2]] == ["fedavg", "flame"]
    assert cells[1].settings["strategy"] == "flame"
    assert cells[1].settings["adversary.malicious_fraction"] == 0.25
    assert cells[-1].config.run.seed == 5
    assert cells[0].config.model.name == "cnn", "the preset is what all cells share"


def test_any_key_can_be_an_axis() -> None:
    found = made(strategies="fedavg", seeds="1", axes=["attack.badnets.size=1,2", "run.rounds=3"])
    assert [(cell.config.run.rounds, cell.settings["attack.badnets.size"]) for cell in found.cells()] == [
        (3, 1),
        (3, 2),
    ]
    assert [axis.name for axis in found.varied] == ["attack.badnets.size"]


def test_a_value_with_a_comma_is_written_as_a_list() -> None:
    found = made(strategies="fedavg", seeds="1", axes=['adversary.malicious_ids=["0,1", "2"]'])
    assert [cell.config.adversary.malicious_ids for cell in found.cells()] == ["0,1", "2"]


def test_a_file_holds_settings_axes_and_named_points(tmp_path: Path) -> None:
    name = written(
        tmp_path,
        """
        preset = "smoke"
        run.rounds = 1
        [compare]
        title = "Two axes"
        seeds = [4, 5]
        attacks = ["badnets"]
        reference = "whole"
        [compare.axes]
        attack.badnets.size = [1, 2]
        "run.threads" = [1]
        [compare.axes.strategy]
        whole = { strategy = "clip-fed" }
        "w/o FR" = { strategy = "clip-fed", purifier.clip-guided.feature_rectification = false }
        """,
    )
    found = matrix(Options(preset=name))
    assert found.title == "Two axes"
    assert found.seeds == (4, 5)
    assert found.labels_of("strategy") == ("whole", "w/o FR")
    assert found.labels_of("attack.badnets.size") == (1, 2)
    assert found.settings["run.rounds"] == 1
    assert found.settings["model.name"] == "cnn", "the file builds on a preset"
    last = found.cells()[-1]
    assert last.settings["purifier.clip-guided.feature_rectification"] is False
    assert list(last.labels.items()) == [
        ("attack.badnets.size", 2), ("run.threads", 1), ("attack", "badnets"), ("strategy", "w/o FR"), ("seed", 5),
    ]  # fmt: skip
    assert load_preset(name)["run.rounds"] == 1, "the same file serves `fedcrucible run --preset`"


def test_options_go_before_the_file(tmp_path: Path) -> None:
    name = written(
        tmp_path,
        "run.rounds = 1\n[compare]\nseeds = [1, 2]\nstrategies = ['fedavg', 'flame']\nfractions = [0.1, 0.2]\n"
        "margin = 3\n",
    )
    found = matrix(
        Options(
            preset=name, strategies="clip-fed", seeds="9", margin=1.0,
            settings=["run.rounds=2", "adversary.malicious_fraction=0.4"],
        )
    )  # fmt: skip
    assert found.labels_of("strategy") == ("clip-fed",)
    assert found.seeds == (9,)
    assert found.margin == 1.0
    assert found.settings["run.rounds"] == 2
    assert found.labels_of("malicious") == (0.4,), "a setting ends the axis over its key"


def test_named_points_are_chosen_by_name(tmp_path: Path) -> None:
    name = written(
        tmp_path,
        "[compare.axes.ratio]\n"
        '"60 %" = { poison.mode = "replace", poison.ratio = 0.6 }\n'
        '"100 %" = { poison.mode = "append-all" }\n',
    )
    found = matrix(Options(preset=name, axes=["ratio=100 %"]))
    assert found.labels_of("ratio") == ("100 %",)
    assert found.cells()[0].settings["poison.mode"] == "append-all"
    with pytest.raises(ConfigError, match="has the points 60 %, 100 %"):
        matrix(Options(preset=name, axes=["ratio=70 %"]))
    with pytest.raises(ConfigError, match="choose among its points"):
        matrix(Options(preset=name, settings=["poison.ratio=0.5"]))


def test_presets_may_build_on_one_another_but_not_on_themselves(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('preset = "smoke"\nrun.rounds = 7\n', "utf-8")
    (tmp_path / "next.toml").write_text('preset = "base.toml"\nrun.seed = 3\n', "utf-8")
    found = load_preset(str(tmp_path / "next.toml"))
    assert (found["run.rounds"], found["run.seed"], found["model.name"]) == (7, 3, "cnn")
    (tmp_path / "base.toml").write_text('preset = "next.toml"\n', "utf-8")
    with pytest.raises(ConfigError, match="builds on itself"):
        load_preset(str(tmp_path / "next.toml"))


BAD_FILES = {
    "unknown key": ("[compare]\nstrategys = ['fedavg']", r"compare.strategys .*did you mean 'strategies'"),
    "no table": ("compare = 3", "a table"),
    "wrong type": ("[compare]\nseeds = ['a']", "compare.seeds"),
    "unknown paper key": ("[compare.paper]\ntabel = 'x'", "did you mean 'table'"),
    "axis without values": ("[compare.axes]\nrun.rounds = []", "at least one value"),
    "axis of one value": ("[compare.axes]\nrounds = 3", "KEY = "),
    "axis of dates": ("[compare.axes]\nrounds = [2020-01-01]", "a text, number or true/false"),
    "twice the same value": ("[compare]\nstrategies = ['fedavg', 'fedavg']", "listed twice"),
    "two axes over one key": (
        "[compare]\nfractions = [0.1]\n[compare.axes.b]\nx = { adversary.malicious_fraction = 0.2 }", "set by two axes",
    ),
    "seed as an axis": ("[compare.axes]\nrun.seed = [1, 2]", "seeds have an option of their own"),
    "reference": ("[compare]\nstrategies = ['fedavg', 'flame']\nreference = 'flam'", "did you mean 'flame'"),
    "columns": ("[compare]\nstrategies = ['fedavg', 'flame']\ncolumns = 'strateg'", "did you mean 'strategy'"),
    "seeds twice": ("[compare]\nseeds = [1, 1]", "none twice"),
    "base that isn't there": ("preset = 'smok'", "did you mean 'smoke'"),
    "no TOML": ("[compare", "can't be read as TOML"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_mistake_in_a_file_is_one_message(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        matrix(Options(preset=written(tmp_path, text)))


BAD_OPTIONS = {
    "no value": ({"axes": ["run.rounds"]}, "KEY=VALUE"),
    "empty value": ({"strategies": "fedavg,,flame"}, "an empty value"),
    "seeds": ({"seeds": "one"}, "whole numbers and ranges"),
    "too many seeds": ({"seeds": "1-100000"}, "at most 1000"),
    "seed axis": ({"axes": ["run.seed=1,2"]}, "--seeds"),
    "broken list": ({"axes": ["run.rounds=[1,"]}, "TOML list"),
    "seeds backwards": ({"seeds": "1,5-3"}, "5-3 runs backwards; write 3-5"),
    "list of lists": ({"axes": ["run.rounds=[[1]]"]}, "a list of texts"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "said"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_a_mistake_in_an_option_is_one_message(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**options)


@pytest.mark.usefixtures("no_client")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-s", "fedavg,flam"], "did you mean 'flame'"),
        (["-s", "fedavg", "-a", "badnet"], "did you mean 'badnets'"),
        (["-s", "fedavg", "-d", "cifar11"], "did you mean 'cifar10'"),
        (["-s", "fedavg", "--axis", "run.round=1,2"], "did you mean 'run.rounds'"),
        (["-s", "fedavg", "-f", "0.1,1.5"], "from 0 to 1"),
        (["-s", "fedavg", "--engine", "ray"], "in-process, flwr"),
        (["-s", "fedavg", "--engine", "flwr", "--jobs", "2"], "the clients of one run use all cores"),
        (["-s", "fedavg", "output.name=mine"], "names of their own"),
    ],
)
def test_nothing_runs_before_every_cell_is_known_to_be_possible(fedcrucible, tmp_path: Path, arguments, said) -> None:
    result = fedcrucible("compare", "-p", "smoke", *arguments, "--out", tmp_path / "out", "--skip-impossible")

    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_what_competes_are_strategies_or_parts_of_the_defence() -> None:
    several = made(strategies="fedavg,flame", attacks="badnets,none", axes=["defense.flame.noise=0,0.1"])
    assert (several.system_axis, several.column_axis, several.block_axes) == (
        "strategy", "attack", ("defense.flame.noise",),
    )  # fmt: skip
    one = made(strategies="flame", attacks="badnets", axes=["run.rounds=1,2", "defense.flame.noise=0,0.1"])
    assert (one.system_axis, one.column_axis, one.block_axes) == ("defense.flame.noise", "run.rounds", ())
    faced = made(strategies="flame", axes=["poison.ratio=0.1,0.9"])
    assert (faced.system_axis, faced.column_axis) == ("strategy", "poison.ratio")
    assert (made(seeds="1").system_axis, made(seeds="1").column_axis) == ("strategy", "")


def test_the_file_in_the_documentation_is_a_matrix(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "compare.md").read_text(encoding="utf-8")
    found = matrix(Options(preset=written(tmp_path, text.split("```toml\n")[1].split("```")[0])))
    assert len(found.cells()) == 5 * 2 * 2 * 3
    assert found.column_axis == "trigger"
    assert {cell.config.run.rounds for cell in found.cells()} == {20}


def test_texts_of_a_file_hold_nothing_that_is_not_shown(tmp_path: Path) -> None:
    text = (
        '[compare]\nstrategies = ["fedavg"]\ntitle = "a\\u001b[31m\\u202Eb\\nc"\nremarks = ["d\\u200B|e"]\n'
        '[compare.assumed]\n"run.seed" = "f\\u0000"\n'
        '[compare.axes."g\\u001b"."h\\u0007"]\n"training.lr" = 0.1\n'
    )
    found = matrix(Options(preset=written(tmp_path, text)))
    assert found.title == "a\ufffd[31m\ufffdb c"
    assert found.remarks == ("d\ufffd|e",)
    assert found.assumed == {"run.seed": "f\ufffd"}
    assert ("g\ufffd", "h\ufffd") in [(axis.name, axis.points[0].label) for axis in found.axes]


def test_keys_of_an_earlier_version_make_the_same_axes(tmp_path: Path) -> None:
    old = "attack.malicious_fraction = 0.1\n[compare.axes]\nattack.poison_ratio = [0.2, 0.4]\n"
    new = old.replace("attack.malicious_fraction", "adversary.malicious_fraction").replace(
        "attack.poison_ratio", "poison.ratio"
    )
    matrices = []
    for name, text in (("old", old), ("new", new)):
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
        matrices.append(
            made(preset=str(tmp_path / f"{name}.toml"), seeds="1", axes=["attack.malicious_fraction=0,0.5"])
        )
    first, second = matrices
    assert (
        [axis.name for axis in first.varied] == [axis.name for axis in second.varied] == ["malicious", "poison.ratio"]
    )
    with pytest.warns(OldKeyWarning):
        configs = [cell.config for cell in first.cells()]
    assert configs == [cell.config for cell in second.cells()]
    assert {config.adversary.malicious_fraction for config in configs} == {0.0, 0.5}


def test_an_axis_goes_before_an_old_key_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("adversary.malicious_fraction = 0.4\n", encoding="utf-8")
    (tmp_path / "mine.toml").write_text('preset = "base.toml"\nattack.malicious_fraction = 0.2\n', encoding="utf-8")
    cells = made(preset=str(tmp_path / "mine.toml"), seeds="1", fractions="0.1,0.3").cells()
    with pytest.warns(OldKeyWarning):
        assert [cell.config.adversary.malicious_fraction for cell in cells] == [0.1, 0.3]


def test_repairs_and_splitters_are_the_defenders() -> None:
    assert made(axes=["repair.name=none,pruning"], strategies="fedavg", seeds="1").system_axis == "repair.name"
    teachers = made(axes=["fm_fl.prototypes=one,blocks", "fm_fl.teachers=all,accepted"], strategies="fm-fl", seeds="1")
    assert (teachers.system_axis, teachers.column_axis) == ("fm_fl.teachers", "fm_fl.prototypes")
    assert made(axes=["splitter.name=none,guide-agreement"], seeds="1", strategies="fine-tune").system_axis == (
        "splitter.name"
    )
