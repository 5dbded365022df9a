from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord
from fedcrucible_core.reports import Labelled, render_records, render_report

SECTIONS = (
    "curves", "detection", "confusion", "examples", "features", "time", "diagnostics", "rounds", "dropped",
    "configuration", "environment",
)  # fmt: skip


class Page(HTMLParser):
    """Ids, tags, addresses that a browser would load, and texts for screen readers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.references: list[str] = []
        self.unnamed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        if "id" in found:
            self.ids.append(found["id"] or "")
        for key, value in found.items():
            if key in {"src", "srcset", "data", "xlink:href"} or (key == "href" and tag != "a"):
                self.loaded.append(value or "")
            self.references += re.findall(r"url\(#([^)]+)\)", value or "")
            if key == "href" and (value or "").startswith("#"):
                self.references.append((value or "")[1:])
        if (tag == "img" and not found.get("alt")) or (tag == "svg" and not found.get("aria-label")):
            self.unnamed.append(tag)


def test_report_has_all_sections_and_headline_numbers(make_record) -> None:
    folder = make_record(defended=True, images=300)
    path = render_report(folder)
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert set(SECTIONS) <= set(page.ids)
    assert 'class="empty"' not in text
    for needed in ("Main-task accuracy (MA)", "Wilson", "Base rate", "Attackers rejected (TPR)", "silhouette"):
        assert needed in text
    assert "labelled synthetic images" in text
    assert page.unnamed == []


def test_report_loads_nothing_and_its_ids_are_unique(make_record) -> None:
    text = render_report(make_record(images=100)).read_text(encoding="utf-8")
    page = Page(text)
    assert all(address.startswith(("data:", "#")) for address in page.loaded), page.loaded
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)
    assert not page.tags & {"script", "link", "iframe", "object", "metadata"}


def test_hostile_strings_are_escaped(make_record) -> None:
    folder = make_record(images=0)
    record = RunRecord(folder)
    evil = "<script>alert(1)</script>"
    run = RunDescription.model_validate_json((folder / "run.json").read_bytes())
    names = ("<b onclick=alert(1)>", *run.class_names[1:])
    record.write_run(run.model_copy(update={"dataset": evil, "class_names": names, "notes": (evil,), "strategy": evil}))
    record.write_config({"strategy": evil, evil: evil}, {"strategy": "x"})
    hostile = RoundRecord(round=13, facts={evil: 1.0}, seconds={evil: 1.0}, dropped={evil: evil}, notes=(evil,))
    record.append_round(hostile)
    text = render_report(folder).read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "&lt;script&gt;" in text
    out = render_records([Labelled(folder, evil)], evil, folder / "comparison.html")
    assert "script" not in Page(out.read_text(encoding="utf-8")).tags


def test_an_empty_record_says_why_sections_are_empty(tmp_path: Path) -> None:
    record = RunRecord.create(OutputSection(dir=str(tmp_path)), strategy="fedavg", attack="none", seed=1)
    record.write_run(RunDescription(strategy="fedavg", seed=1))
    text = render_report(record.folder).read_text(encoding="utf-8")
    for reason in (
        "was not evaluated", "no curve", "nothing to detect", "No confusion matrix", "No example images",
        "No test features", "No seconds", "no diagnostics", "No round was recorded", "No configuration",
        "No environment", "has no summary",
    ):  # fmt: skip
        assert re.search(reason.replace(" ", r"\s+"), text), reason


def test_a_run_without_attack_has_no_asr(tmp_path: Path) -> None:
    record = RunRecord.create(OutputSection(dir=str(tmp_path)), strategy="fedavg", attack="none", seed=1)
    record.write_run(RunDescription(strategy="fedavg", seed=1, test_images=100))
    record.append_round(RoundRecord(round=0, ma_percent=12.0))
    record.append_round(RoundRecord(round=1, ma_percent=34.0, accepted=(0, 1), weights={"0": 0.5, "1": 0.5}))
    record.write_summary()
    text = render_report(record.folder).read_text(encoding="utf-8")
    assert "no attack success was measured" in text
    assert "The server rejected no client" not in text.split("verdict")[0]


def test_an_untargeted_attack_shows_in_accuracy_alone(tmp_path: Path) -> None:
    record = RunRecord.create(OutputSection(dir=str(tmp_path)), strategy="fedavg", attack="label-flip", seed=1)
    record.write_run(
        RunDescription(strategy="fedavg", attack="label-flip", seed=1, test_images=100, attack_inputs="", clients=3)
    )
    record.append_round(RoundRecord(round=1, ma_percent=34.0, malicious=(0,), attack_active=True))
    record.write_summary()
    text = " ".join(render_report(record.folder).read_text(encoding="utf-8").split())
    assert "the attack is untargeted, so no attack success (ASR) is measured" in text
    assert "an untargeted one" in text
    assert "triggered images" not in text
    page = render_records([Labelled(record.folder)], "One", tmp_path / "c.html").read_text(encoding="utf-8")
    assert "weak attack" not in page
    assert "no trade-off" in page


def test_a_natural_attack_has_no_base_rate(tmp_path: Path) -> None:
    record = RunRecord.create(OutputSection(dir=str(tmp_path)), strategy="fedavg", attack="semantic", seed=1)
    record.write_run(
        RunDescription(
            strategy="fedavg", attack="semantic", seed=1, class_names=("a", "b"), target_label=0, test_images=100,
            triggered_images=20, attack_inputs="images with the attribute", natural=True,
        )
    )  # fmt: skip
    confusion = ((0, 0), (12, 8))
    record.append_round(RoundRecord(round=1, ma_percent=80.0, asr_percent=60.0, confusion=confusion))
    images = torch.rand(4, 1, 8, 8)
    record.save_examples({"clean": images, "natural": images}, {"natural": torch.ones(4, dtype=torch.int64)})
    summary = record.write_summary()
    assert summary.asr_percent == 60.0
    assert summary.base_rate_percent is None
    assert summary.net_asr_percent is None
    text = " ".join(render_report(record.folder).read_text(encoding="utf-8").split())
    assert "gives 60.0 % of images with the attribute the attacker" in text
    assert "20 images with the attribute" in text
    assert "Where images with the attribute end up" in text
    assert "what attack success is measured on: images with the attribute" in text
    assert "so there is no base rate" in text
    assert "triggered" not in text.replace("triggered images of non-target", "")
    assert "what the trigger changed" not in text


def test_many_rounds_and_classes_still_make_a_small_page(tmp_path: Path) -> None:
    record = RunRecord.create(OutputSection(dir=str(tmp_path)), strategy="fedavg", attack="a", seed=1)
    record.write_run(RunDescription(strategy="fedavg", attack="a", seed=1, target_label=0, test_images=100))
    confusion = tuple(tuple(0 if r == 0 else 1 for _ in range(100)) for r in range(100))
    lines = [
        RoundRecord(
            round=r, ma_percent=50.0, asr_percent=5.0, accepted=(0, 1), rejected=(2,), attack_active=True,
            malicious=(2,), weights={"0": 0.5, "1": 0.5, "2": 0.0}, seconds={"train": 1.0},
            confusion=confusion if r == 599 else None, per_client={"score": [1.0, 2.0, 3.0]},
            facts={"loss": 1.0 / (r + 1)},
        ).model_dump_json()
        for r in range(600)
    ]  # fmt: skip
    (record.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = render_report(record.folder)
    assert "One row in 3 of 600 rounds" in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 1_500_000


def test_two_reports_of_one_record_are_equal(make_record) -> None:
    folder = make_record(images=100)
    first = render_report(folder).read_bytes()
    assert render_report(folder).read_bytes() == first


def test_comparison_pools_seeds_and_marks_weak_attacks(make_record, tmp_path: Path) -> None:
    cells = [(defended, seed) for defended in (False, True) for seed in (1, 2, 3)]
    rows = [Labelled(make_record(defended=d, seed=s, images=0, rounds=6)) for d, s in cells]
    render_report(rows[0].folder)
    path = render_records(rows, "Six runs", tmp_path / "page" / "comparison.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "±" in text
    assert "Undefended, the attack succeeds on" in text
    assert "weak attack" not in text
    assert f"../runs/{rows[0].folder.name}/report.html" in text
    assert all(a.startswith(("data:", "#")) for a in page.loaded)
    assert {"results", "numbers", "tradeoff", "curves", "runs"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def test_a_weak_attack_is_one_that_fails_undefended(make_record, tmp_path: Path) -> None:
    """By what was run, not by what it is called; without attackers nothing is weak."""

    def page(*folders: Path) -> str:
        rows = [Labelled(folder, f"label {i}") for i, folder in enumerate(folders)]
        return render_records(rows, "Weak", tmp_path / "weak.html").read_text(encoding="utf-8")

    plain, defended = make_record(defended=False, seed=1), make_record(seed=1)
    assert "Undefended, the attack succeeds on" in page(plain, defended)
    assert "weak attack" not in page(plain, defended)
    edit(plain / "summary.json", asr_percent=12.0)
    assert "weak attack" in page(plain, defended)
    edit(plain / "run.json", malicious=[])
    text = page(plain, defended)
    assert "weak attack" not in text
    assert "Undefended, the attack succeeds on" not in text


def test_runs_of_other_settings_are_no_seeds_of_one_cell(make_record, tmp_path: Path) -> None:
    one, other, again = make_record(seed=1), make_record(seed=1, fraction=0.4), make_record(seed=1)
    rows = [Labelled(folder) for folder in (one, other, again)]
    text = render_records(rows, "Two cells", tmp_path / "two.html").read_text(encoding="utf-8")
    assert "badnets (adversary.malicious_fraction = 0.3)" in text
    assert "badnets (adversary.malicious_fraction = 0.4)" in text
    assert "1 runs repeat the settings and the seed of another one" in text
    assert "±" not in text.split("<main")[-1].split("Results")[0]


def test_comparison_can_sweep_a_setting(make_record, tmp_path: Path) -> None:
    rows = [Labelled(make_record(seed=1, images=0, rounds=6, fraction=f)) for f in (0.2, 0.4)]
    key = "adversary.malicious_fraction"
    text = render_records(rows, "Sweep", tmp_path / "sweep.html", sweep=key).read_text(encoding="utf-8")
    assert 'id="sweep"' in text
    assert f"MA and ASR against {key}" in text
    with pytest.raises(ValueError, match="at least one"):
        render_records([], "None", tmp_path / "none.html")
