"""``fedcrucible purify`` and ``fedcrucible.purify``: what is taken, what is refused, what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import fedcrucible
from fedcrucible.purifying import Request, data_settings, plan_of
from fedcrucible_core.config import ConfigError
from fedcrucible_core.records.reader import read
from tests.support.own_pictures import CLASSES, picture, write_folder, write_table

QUICK = {
    "run.rounds": 1, "splitter.cgd-entropy.models": 1, "splitter.cgd-entropy.epochs": 1,
    "repair.cgd-unlearn.epochs": 1, "output.report": False, "model.resnet8.width": 4,
}  # fmt: skip


def words(settings: dict[str, object]) -> list[str]:
    return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in settings.items()]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good pictures, and every kind of bad one."""
    folder = write_folder(tmp_path_factory.mktemp("own") / "pictures", 12, size=(32, 32))
    (folder / "apple" / "corrupt.png").write_bytes((folder / "apple" / "000.png").read_bytes()[:60])
    (folder / "banana" / "page.jpg").write_text("<html>no picture</html>", encoding="utf-8")
    deep = np.full((32, 32), 40_000, dtype=np.uint16)
    Image.fromarray(deep).save(folder / "plum" / "deep.png")
    picture(2, 90, (32, 32)).convert("P").save(folder / "plum" / "palette.png")
    (folder / "kumquat").mkdir()
    picture(0, 91, (32, 32)).save(folder / "kumquat" / "=only.png")
    return folder


@pytest.fixture(scope="module")
def found(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> fedcrucible.Purification:
    out = tmp_path_factory.mktemp("records") / "mine"
    return fedcrucible.purify(
        pictures, architecture="resnet8", out=out, settings=QUICK, progress=False, **{"run.seed": 3}
    )


def test_a_folder_comes_back_sample_by_sample_and_nothing_is_lost(
    found: fedcrucible.Purification, pictures: Path
) -> None:
    split = found.split
    files = {str(p.relative_to(pictures)) for p in pictures.rglob("*.*")}
    assert set(split["file"]) == files
    lost = split[split["part"] == "left out"]
    assert set(lost["file"]) == {"apple/corrupt.png", "banana/page.jpg"}
    assert all(lost["reason"])
    used = split[split["part"] != "left out"]
    assert len(used) == 12 * 3 + 2 + 1
    assert set(used["part"]) <= {"clean", "triggered", "mixed"}
    assert (used["class"] == [Path(name).parts[0] for name in used["file"]]).all()
    assert used["rank_guide"].between(0, 1).all()
    assert used["rank_model"].between(0, 1).all()
    assert used["poisoned"].isna().all()


def test_the_record_says_what_the_guide_does_not_know_and_what_could_not_be_read(
    found: fedcrucible.Purification,
) -> None:
    notes = " ".join((*found.run.notes, *found.run.record.rounds[-1].notes))
    assert "doesn't know these classes" in notes
    assert "skipped 2 files" in notes or notes.count("skipped 1 file") == 2
    assert "no test split" in notes


def test_a_cell_that_a_spreadsheet_would_compute_is_made_safe_and_read_back(
    found: fedcrucible.Purification, tmp_path: Path
) -> None:
    from fedcrucible_core.records.split_table import SplitFacts, SplitRow, read_split, write_split

    rows = [SplitRow(row=0, file=name, label=-1, part="mixed", s_guide=0.1) for name in ("=1+1", "'a", "-b", 'c,"d"')]
    write_split(tmp_path, SplitFacts(splitter="x"), rows)
    text = (tmp_path / "split.csv").read_text("utf-8")
    assert not any(cell.startswith(("=", "+", "@")) for line in text.splitlines() for cell in line.split(","))
    assert read_split(tmp_path) is not None
    assert list(read_split(tmp_path).rows) == rows
    (tmp_path / "split.csv").write_text(text.replace("mixed", "muddled", 1), encoding="utf-8")
    with pytest.raises(ValueError, match="line 2"):
        read_split(tmp_path)
    stored = read(found.run.folder).split
    assert stored is not None
    assert stored.facts.suspects[0].picture is not None


def test_the_model_is_the_records_and_answers(found: fedcrucible.Purification) -> None:
    assert found.purified, found.reason
    assert not found.tested
    stored = load_file(found.run.folder / "model.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in found.model.state_dict().items() if name in stored)
    assert found.model(torch.rand(2, 3, 32, 32)).shape == (2, 4)
    assert not found.model.training
    assert "triggered" in repr(found)


def test_a_record_is_purified_again_without_training(found: fedcrucible.Purification, pictures: Path) -> None:
    own = {
        "run.rounds": 0,
        "repair.cgd-unlearn.tolerance": 100.0,
    }  # so few held-out rows would keep the model as it was
    again = fedcrucible.purify(pictures, found.run.folder, settings=QUICK | own, progress=False)
    assert again.purified, again.reason
    assert [row.stage for row in again.run.record.rounds] == ["training", "repair"]
    assert len(again.split) == len(found.split)
    assert again.run.config["model.resnet8.width"] == 4
    assert again.run.config["model.weights"] == str(found.run.folder)
    with pytest.raises(ConfigError, match="the record says"):
        plan_of(Request(str(pictures), str(found.run.folder), "cnn"))


def test_a_librarys_state_dict_goes_in_and_comes_out_under_its_own_names(pictures: Path, tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    plain = torchvision.models.mobilenet_v3_small(num_classes=4)
    torch.save(plain.state_dict(), tmp_path / "victim.pt")
    kept = {key: value for key, value in QUICK.items() if not key.startswith(("model.", "run."))}
    settings: dict[str, Any] = dict(kept)
    settings["repair.cgd-unlearn.tolerance"] = 100.0
    scores = np.random.default_rng(0).normal(size=(41, 4))  # a row for each file of the folder
    np.savez(tmp_path / "logits.npz", logits=scores)
    done = fedcrucible.purify(
        pictures, tmp_path / "victim.pt", architecture="torchvision:mobilenet_v3_small",
        scorer=tmp_path / "logits.npz", out=tmp_path / "out", settings=settings, progress=False,
    )  # fmt: skip
    assert done.purified, done.reason
    fresh = torchvision.models.mobilenet_v3_small(num_classes=4).eval()
    fresh.load_state_dict(load_file(tmp_path / "out" / "purified.safetensors"))
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(fresh((x - 0.5) / 0.5), done.model(x))
        assert not torch.equal(fresh(x), plain.eval()(x))


def test_an_interrupted_one_goes_on_without_training_again_what_scores(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: fedcrucible.Purification
) -> None:
    call: dict[str, Any] = {
        "architecture": "resnet8",
        "out": tmp_path / "out",
        "settings": QUICK | {"run.seed": 3},
        "progress": False,
    }
    call["settings"]["guide.cache_dir"] = str(tmp_path / "cache")

    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("defenses.repairs.cgd_unlearn.CgdUnlearn.repair", stop)
        with pytest.raises(fedcrucible.Interrupted):
            fedcrucible.purify(pictures, **call)
    monkeypatch.setattr("defenses.fresh_models.minimise", stop)
    done = fedcrucible.purify(pictures, **call, **{"run.resume": True})
    assert done.purified
    assert done.run.summary.parameters_sha256 == found.run.summary.parameters_sha256
    assert done.split.equals(found.split)


def test_the_command_prints_one_object_and_a_table(fedcrucible, tmp_path: Path, runs_folder: Path) -> None:
    write_folder(tmp_path / "p", 8, size=(32, 32))
    table = tmp_path / "p" / "all.csv"
    write_table(table, [(f"{c}/{n:03}.png", c, "test" if n > 5 else "train") for c in CLASSES for n in range(8)],
                ("path", "label", "split"))  # fmt: skip
    common = (str(table), "--architecture", "resnet8", *words(QUICK))
    result = fedcrucible("purify", *common, "--json", "--out", str(tmp_path / "a"))
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["purified"] is True
    assert sum(content["split"].values()) == 18
    assert 0 <= content["MA"]["before"] <= 100
    assert Path(content["csv"]).is_file()
    shown = fedcrucible("purify", *common, "--quiet")
    assert shown.exit_code == 0, shown.output
    for word in ("MA before", "MA after", "clean", "triggered", "mixed", "split:", "model:"):
        assert word in shown.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["/nothing/there"], "nothing is there"),
        (["fashion-mnist-slise"], "did you mean"),
        (["fashion-mnist-slice", "--method", "cgd"], "method"),
        (["fashion-mnist-slice", "--architecture", "resnet9"], "resnet8"),
        (["fashion-mnist-slice", "--architecture", "keras:x"], "torchvision:NAME"),
        (["fashion-mnist-slice", "--model", "/nothing/there.pt"], "nothing is there"),
        (["fashion-mnist-slice", "--scorer", "/nothing/there.onnx"], "no such file"),
        (["fashion-mnist-slice", "repair.name=anp"], "said twice"),
    ],
)
def test_bad_input_is_one_error_before_anything_is_trained(fedcrucible, words: list[str], says: str) -> None:
    result = fedcrucible("purify", *words)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert result.stderr.count("\n") <= 2


def test_a_model_without_a_name_and_a_program_are_refused(fedcrucible, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "victim.pt")
    (tmp_path / "victim.onnx").write_bytes(b"")
    for file, says in (("victim.pt", "name the network"), ("victim.onnx", "--scorer")):
        result = fedcrucible("purify", "fashion-mnist-slice", "--model", str(tmp_path / file))
        assert result.exit_code == 2
        assert says in result.stderr


def test_data_in_one_word(tmp_path: Path) -> None:
    write_folder(tmp_path / "p", 1)
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8), np.uint8), labels=np.arange(2))
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "rows.csv").write_text("path,label\n", encoding="utf-8")
    kinds = {tmp_path / "p": "folder", tmp_path / "a.npz": "npz", tmp_path / "t": "csv"}
    assert {path: data_settings(str(path))["task.dataset"] for path in kinds} == kinds
    assert data_settings("hf:a/b") == {"task.dataset": "hf:a/b"}
    assert data_settings("mnist") == {"task.dataset": "mnist"}
