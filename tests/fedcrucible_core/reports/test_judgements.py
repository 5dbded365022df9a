"""What a comparison page may say: nothing of dead models, lucky seeds, other attacks' weakness."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import NOT_FINITE, RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord
from fedcrucible_core.reports import Labelled, render_records, render_report
from fedcrucible_core.reports.statistics.from_records import spots_of_records
from fedcrucible_core.reports.statistics.rows import Row
from fedcrucible_core.reports.statistics.standing import standing

Folders = Sequence[Path]


class Maker:
    """Writes one-round records with the numbers that a test is about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        system: str,
        seed: int = 1,
        *,
        ma: float = 85.0,
        asr: float = 90.0,
        rejected: Sequence[int] = (),
        attacking: Sequence[int] = (0, 1),
        model: str = "changed",
        dead: bool = False,
        expected: bool = True,
        defaults: Mapping[str, Scalar] | None = None,
        **settings: Scalar,
    ) -> Path:
        output = OutputSection(dir=str(self.folder / "runs"))
        record = RunRecord.create(output, strategy=system, attack="badnets", seed=seed)
        record.write_run(
            RunDescription(
                strategy=system, attack="badnets", rule=system, purifier="none", seed=seed, rounds=1, clients=4,
                malicious=(0, 1) if expected else (), attack_expected=expected, dataset="data", test_images=1000,
            )
        )  # fmt: skip
        keys = {f"attack.{key}": value for key, value in settings.items()}
        given = defaults or {}
        record.write_config({**given, "strategy": system, "run.seed": seed, **keys}, given)
        accepted = [i for i in range(4) if i not in rejected]
        record.append_round(
            RoundRecord.model_validate(
                {
                    "round": 1, "ma_percent": ma, "asr_percent": asr, "base_rate_percent": 1.0, "model": model,
                    "participants": range(4), "malicious": (0, 1), "attacking": attacking, "rejected": rejected,
                    "attack_active": bool(attacking), "accepted": accepted,
                    "weights": {str(i): float(i in accepted) for i in range(4)},
                    "facts": {NOT_FINITE: 100.0} if dead else {},
                }
            )
        )  # fmt: skip
        record.write_summary()
        return record.folder


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def page(folders: Folders, tmp_path: Path, sweep: str = "") -> str:
    rows = [Labelled(folder) for folder in folders]
    text = render_records(rows, "Title", tmp_path / "page.html", sweep=sweep).read_text(encoding="utf-8")
    return " ".join(text.split())


def verdict(text: str) -> str:
    return text.partition('<p class="verdict">')[2].partition("</p>")[0]


def table_row(text: str, label: str, faced: str = "badnets") -> str:
    """A row of the table of all numbers."""
    numbers = text.partition('id="numbers"')[2]
    found = re.search(rf'<tr><th scope="row">{re.escape(label)}</th><td>{re.escape(faced)}.*?</tr>', numbers)
    assert found is not None
    return found.group()


def test_rates_are_means_over_all_seeds(make: Maker, tmp_path: Path) -> None:
    """Both attackers caught under one seed, nobody rejected under two: 33.3, not 100."""
    folders = [make("krum", seed, rejected=(0, 1) if seed == 1 else ()) for seed in (1, 2, 3)]
    row = table_row(page(folders, tmp_path), "krum")
    assert "33.3 ± 57.7" in row
    assert "100.0 <" not in row


def test_seeds_without_an_attacker_have_no_rate_and_that_is_said(make: Maker, tmp_path: Path) -> None:
    folders = [make("krum", 1, rejected=(0, 1)), make("krum", 2, attacking=(), rejected=(3,))]
    row = table_row(page(folders, tmp_path), "krum")
    assert "100.0 (1 of 2 runs)" in row
    assert "12.5 ± 17.7" in row, "FPR: 0 of 2 honest clients, then 1 of 4"


def test_the_plain_mean_judges_nobody(make: Maker, tmp_path: Path) -> None:
    cell = Row(label="fedavg", runs=(read(make("fedavg")),))
    assert cell.spread_of("tpr") is None


def test_an_attack_is_weak_where_it_is_weak(make: Maker, tmp_path: Path) -> None:
    """By its settings, not by its name: 96 % with the large share, 11 % with the small one."""
    folders = [
        make("fedavg", asr=96.0, malicious_fraction=0.4), make("krum", asr=5.0, malicious_fraction=0.4),
        make("fedavg", asr=11.0, malicious_fraction=0.1), make("krum", asr=5.0, malicious_fraction=0.1),
    ]  # fmt: skip
    text = page(folders, tmp_path)
    for system in ("fedavg", "krum"):
        assert "weak attack" not in table_row(text, system, "badnets (adversary.malicious_fraction = 0.4)")
        assert "weak attack" in table_row(text, system, "badnets (adversary.malicious_fraction = 0.1)")
    named = (
        "Weak attack: badnets (adversary.malicious_fraction = 0.1) reaches less than 50 % ASR even undefended (fedavg)"
    )
    assert text.count(named) == 1
    assert text.count("Weak attack: badnets") == 1


def test_a_dead_model_is_listed_and_not_praised(make: Maker, tmp_path: Path) -> None:
    folders = [make("fedavg"), make("krum", asr=20.0, ma=84.0), make("median", asr=0.0, ma=0.0, dead=True)]
    text = page(folders, tmp_path)
    assert "The lowest attack success within 5 points of the highest accuracy: 20.0 % (krum)" in verdict(text)
    assert "median" not in verdict(text)
    assert '<span class="badge warn">dead</span>' in table_row(text, "median")
    assert "Listed, but not compared with others and never marked best: median (dead)." in text


def test_a_model_that_never_changed_is_not_praised_either(make: Maker, tmp_path: Path) -> None:
    folders = [make("fedavg"), make("krum", asr=20.0, ma=84.0), make("median", asr=3.0, ma=84.0, model="initial")]
    text = page(folders, tmp_path)
    assert "median" not in verdict(text)
    assert "unchanged" in table_row(text, "median")


def test_one_dead_run_of_several_is_enough(make: Maker, tmp_path: Path) -> None:
    folders = [make("fedavg", s) for s in (1, 2)] + [make("krum", s, asr=20.0) for s in (1, 2)]
    folders += [make("median", 1, asr=1.0), make("median", 2, asr=0.0, dead=True)]
    text = page(folders, tmp_path)
    assert "dead (1 of 2 runs)" in table_row(text, "median")
    assert "median" not in verdict(text)


def test_a_low_rate_bought_with_accuracy_has_its_price_beside_it(make: Maker, tmp_path: Path) -> None:
    folders = [make("fedavg"), make("krum", asr=20.0, ma=84.0), make("median", asr=0.0, ma=12.0)]
    said = verdict(page(folders, tmp_path))
    assert "20.0 % (krum), at 84.0 % clean accuracy, -1.0 points against undefended" in said
    assert "Lower only at the price of accuracy: 0.0 % (median), at 12.0 % clean accuracy, -73.0 points" in said
    alone = verdict(page([folders[0], folders[2]], tmp_path))
    assert "No defence stays within 5 points of the highest accuracy." in alone


def test_a_lucky_seed_does_not_win_against_three(make: Maker, tmp_path: Path) -> None:
    folders = [make("fedavg", s) for s in (1, 2, 3)] + [make("krum", s, asr=20.0) for s in (1, 2, 3)]
    folders.append(make("median", 1, asr=0.0))
    text = page(folders, tmp_path)
    assert "(krum)" in verdict(text)
    assert "median" not in verdict(text)
    assert "median (seeds 1, where others have 1, 2, 3)" in text
    assert '<span class="badge warn">other seeds</span>' in table_row(text, "median")


def test_an_attack_that_never_happened_is_no_success_of_a_defence(make: Maker, tmp_path: Path) -> None:
    folders = [make("fedavg"), make("krum", asr=20.0), make("median", asr=0.0, attacking=())]
    text = page(folders, tmp_path)
    assert "never attacked" in table_row(text, "median")
    assert "median" not in verdict(text)
    assert "no client attacked in any round" in text.partition('id="runs"')[2]
    quiet = page([make("fedavg", asr=2.0, attacking=()), make("krum", asr=0.0, attacking=())], tmp_path)
    assert verdict(quiet) == ""
    assert "weak attack" not in quiet


def test_a_chosen_control_is_no_flaw(make: Maker) -> None:
    cell = Row(label="fedavg", runs=(read(make("fedavg", asr=1.0, expected=False, attacking=())),))
    assert cell.flaw == ""
    assert not cell.attacked


def test_a_sweep_over_a_defences_setting_keeps_its_points_apart(make: Maker, tmp_path: Path) -> None:
    folders = []
    for strength, dead in ((1, False), (2, True)):
        folder = make("krum", asr=10.0, dead=dead)
        RunRecord(folder).write_config({"strategy": "krum", "run.seed": 1, "defense.krum.m": strength}, {})
        folders.append(folder)
    text = page(folders, tmp_path, sweep="defense.krum.m")
    assert "Listed, but not compared with others and never marked best: krum (defense.krum.m = 2) (dead)." in text


def test_among_equally_frequent_seed_sets_the_larger_counts(make: Maker) -> None:
    def cell(system: str, *seeds: int, **more: float) -> Row:
        return Row(label=system, runs=tuple(read(make(system, seed, **more)) for seed in seeds))  # type: ignore[arg-type]

    judged = standing([cell("krum", 1, asr=0.0), cell("median", 1, 2)])
    assert judged.left_out == {"krum": "seeds 1, where others have 1, 2"}
    assert judged.best.asr == frozenset()
    judged = standing([cell("krum", 1, asr=5.0), cell("median", 1, asr=4.0), cell("fedavg", 1, 2, asr=1.0)])
    assert judged.left_out == {"fedavg": "seeds 1, 2, where others have 1"}
    assert judged.best.asr == {"median"}


def test_a_runs_own_page_says_what_did_not_happen(make: Maker) -> None:
    dead = render_report(make("krum", dead=True, asr=0.0), tsne_images=0).read_text(encoding="utf-8")
    assert "The final model is dead" in verdict(" ".join(dead.split()))
    kept = render_report(make("krum", model="initial"), tsne_images=0).read_text(encoding="utf-8")
    assert "nothing was learned" in verdict(" ".join(kept.split()))
    assert "no round changed the model" in " ".join(kept.split())
    quiet = render_report(make("krum", attacking=()), tsne_images=0).read_text(encoding="utf-8")
    assert "No client attacked, so this says nothing" in verdict(" ".join(quiet.split()))
    assert "no malicious update" in quiet


def test_a_confusion_with_images_of_no_class_is_drawn(make: Maker) -> None:
    folder = make("krum", dead=True)
    record = RunRecord(folder)
    record.append_round(
        RoundRecord(round=2, ma_percent=1.0, asr_percent=0.0, confusion=((0, 0, 0, 0), (1, 2, 0, 7), (0, 0, 0, 9)))
    )
    assert "no class" in render_report(folder, tsne_images=0).read_text(encoding="utf-8")


def test_what_stands_apart_is_told_by_attack_where_there_are_several(make: Maker, tmp_path: Path) -> None:
    folders = [make("fedavg"), make("krum", asr=20.0), make("median", asr=0.0, dead=True)]
    other = make("krum", asr=3.0, attacking=())
    path = other / "run.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"badnets"', '"blend"'), encoding="utf-8")
    text = page([*folders, other], tmp_path)
    aside = "badnets, median (dead); blend, krum (never attacked)."
    assert f"Listed, but not compared with others and never marked best: {aside}" in text


def test_nothing_is_left_to_an_attack_that_did_not_happen(make: Maker) -> None:
    quiet = render_report(make("krum", asr=9.0, attacking=()), tsne_images=0).read_text(encoding="utf-8")
    assert "points to the attack" not in verdict(" ".join(quiet.split()))
    attacked = render_report(make("krum", asr=9.0), tsne_images=0).read_text(encoding="utf-8")
    assert "which leaves +8.0 points to the attack" in verdict(" ".join(attacked.split()))


def test_long_names_leave_room_for_the_curves() -> None:
    """Panels keep their size however many long labels the legend has."""
    from fedcrucible_core.reports.charts.bands import PANELS_HEIGHT
    from fedcrucible_core.reports.charts.canvas import new_figure
    from fedcrucible_core.reports.charts.series import legend_below, legend_height

    labels = [f"fedavg (adversary.malicious_fraction = 0.{i}) (min-max, never attacked)" for i in range(10)]
    figure = new_figure(height=PANELS_HEIGHT + legend_height(labels))
    left, _ = figure.subplots(1, 2)
    left.set_title("MA: clean accuracy (%)")
    for label in labels:
        left.plot([0, 1], [0, 1], label=label)
    legend_below(figure, left)
    figure.draw_without_rendering()
    place = left.get_position()
    assert place.width > 0.35
    assert place.height * figure.get_figheight() > 2.0, "inches"


def test_an_attack_without_asr_leaves_room_for_the_curves(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of nothing in one panel must not squeeze both."""
    from matplotlib.figure import Figure

    from fedcrucible_core.reports.charts import bands
    from fedcrucible_core.reports.charts.canvas import inline_svg

    drawn: dict[str, Figure] = {}

    def seen(figure: Figure, name: str, said: str, **more: bool) -> object:
        drawn[name] = figure
        return inline_svg(figure, name, said, **more)

    monkeypatch.setattr(bands, "inline_svg", seen)
    untargeted = make("krum")
    path = untargeted / "metrics.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"asr_percent":90.0', '"asr_percent":null'), "utf-8")
    page([make("fedavg"), untargeted], tmp_path)
    for axes in drawn["bands-0"].axes:
        assert axes.get_position().width > 0.35


def test_a_record_without_a_later_key_is_a_seed_of_the_same_row(make: Maker, tmp_path: Path) -> None:
    """What a key stands at where nobody knew it is its default, and tells nothing apart."""
    later: dict[str, Scalar] = {
        "attack.artefact": "",
        "repair.pruning.share": 0.2,
        "defense.signguard.bin_seeding": True,
    }
    text = page([make("krum", 1), make("krum", 2, defaults=later)], tmp_path)
    assert table_row(text, "krum").count("<td>badnets") == 1
    assert "unset" not in text
    assert "over 2 seeds" in text


def test_a_key_whose_default_is_no_longer_what_was_computed_tells_old_records_apart(
    make: Maker, tmp_path: Path
) -> None:
    later: dict[str, Scalar] = {"defense.signguard.bin_seeding": True}
    text = page([make("signguard", 1), make("signguard", 2, defaults=later)], tmp_path)
    assert "signguard (defense.signguard.bin_seeding = false)" in text
    assert "signguard (defense.signguard.bin_seeding = true)" in text


def test_repairs_and_splitters_compete_like_rules(make: Maker, tmp_path: Path) -> None:
    """A rule with a repair stands beside the same rule without it, and faced the same."""
    plain: dict[str, Scalar] = {"repair.name": "none", "splitter.name": "none"}
    folders = [
        make("flame", defaults=plain),
        make("flame", defaults={**plain, "repair.name": "pruning"}),
        make("flame", defaults={**plain, "splitter.name": "guide-agreement"}),
    ]
    spots, _ = spots_of_records([("", read(folder)) for folder in folders])
    assert len(spots) == 1
    assert len(spots[0].rows) == 3


def test_what_fm_fl_does_competes_and_what_it_trains_is_faced(make: Maker, tmp_path: Path) -> None:
    plain: dict[str, Scalar] = {"fm_fl.teachers": "all", "fm_fl.prototypes": "one"}
    folders = [
        make("fm-fl", defaults=plain),
        make("fm-fl", defaults={**plain, "fm_fl.teachers": "accepted"}),
        make("fm-fl", defaults={**plain, "fm_fl.prototypes": "blocks"}),
    ]
    spots, _ = spots_of_records([("", read(folder)) for folder in folders])
    assert [len(spot.rows) for spot in spots] == [2, 1]
