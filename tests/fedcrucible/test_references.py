"""References and choices: read from the checkout or a wheel's copy, written as text and as links."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from fedcrucible.papers import documents, references
from fedcrucible.papers.choices import choices, read_choices
from fedcrucible.papers.references import Reference, family_name, in_markdown, in_words
from fedcrucible_core.rooms import ROOT

ONE = Reference("yin2018", ("Dong Yin", "Yudong Chen"), "A Title", "ICML 2018", 2018, arxiv="1803.01498", verified=True)


def test_a_reference_is_written_short_and_in_full() -> None:
    assert ONE.short == "Yin and Chen 2018"
    assert ONE.full == "A Title. ICML 2018. https://arxiv.org/abs/1803.01498"


def test_three_authors_are_et_al_and_one_stands_alone() -> None:
    def by(*authors: str) -> str:
        return Reference("k2020", authors, "T", "V", 2020).short

    assert by("Ada A", "Bo B", "Cy C") == "A et al. 2020"
    assert by("Ada A") == "A 2020"


@pytest.mark.parametrize(
    ("author", "family"),
    [("El Mahdi El Mhamdi", "El Mhamdi"), ("Laurens van der Maaten", "van der Maaten"), ("Plato", "Plato")],
)
def test_particles_belong_to_the_family_name(author: str, family: str) -> None:
    assert family_name(author) == family


def test_the_link_is_the_doi_then_arxiv_then_url() -> None:
    def link(**fields: str) -> str:
        return Reference("k2020", ("A",), "T", "V", 2020, **fields).link  # type: ignore[arg-type]

    assert link(doi="10.1000/x", arxiv="2001.00001", url="https://e.org") == "https://doi.org/10.1000/x"
    assert link(arxiv="2001.00001", url="https://e.org") == "https://arxiv.org/abs/2001.00001"
    assert link(url="https://e.org") == "https://e.org"
    assert link() == ""


def test_the_year_is_said_once() -> None:
    assert Reference("k2020", ("A",), "T", "Journal 3:1-2", 2020).published == "Journal 3:1-2, 2020"
    assert Reference("k2020", ("A",), "T", "ICML 2020", 2020).published == "ICML 2020"


def test_unverified_references_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    doubtful = Reference("k2020", ("Ada A",), "T", "V 2020", 2020)
    monkeypatch.setattr(references, "references", lambda: {"k2020": doubtful, "yin2018": ONE})
    assert in_words(("k2020", "section 1")) == "A 2020, section 1, unverified"
    assert in_words((("yin2018", ""), ("k2020", ""))) == "Yin and Chen 2018; A 2020, unverified"
    assert doubtful.full.endswith("unverified")
    assert in_markdown(("k2020", "")) == "A 2020, unverified"
    assert in_markdown(("yin2018", "eq. 1")) == "[Yin and Chen 2018](https://arxiv.org/abs/1803.01498), eq. 1"


def test_words_stay_words() -> None:
    assert in_words("control of our own") == in_markdown("control of our own") == "control of our own"


def test_a_wheel_reads_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "references.toml").write_text("text", encoding="utf-8")
    monkeypatch.setattr(documents, "CHECKOUT", tmp_path / "nowhere")
    monkeypatch.setattr(documents, "PACKAGED", tmp_path)
    assert documents.document("references.toml") == "text"
    with pytest.raises(FileNotFoundError):
        documents.document("choices.md")


def test_a_wheel_has_the_pages_that_the_program_reads() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for name in ("references.toml", "choices.md"):
        assert included[f"docs/{name}"] == f"fedcrucible/papers/{name}"


CHOICE = "### a-b\n\n- Open: what\n  is open.\n- Public code: does.\n- Here: this.\n- Option: `x`.\n"


def test_choices_are_read_with_their_four_points() -> None:
    one = read_choices(f"# Choices\n\n## Part\n\n{CHOICE}")["a-b"]
    assert (one.open, one.public_code, one.here, one.option) == ("what is open.", "does.", "this.", "`x`.")


@pytest.mark.parametrize(
    ("page", "said"), [(CHOICE + CHOICE, "twice"), (CHOICE.replace("- Here: this.\n", ""), "says nothing of Here")]
)
def test_a_faulty_page_of_choices_is_refused(page: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_choices(page)


def test_every_point_of_the_real_page_is_read() -> None:
    page = (ROOT / "docs" / "choices.md").read_text(encoding="utf-8")
    assert len(choices()) == page.count("\n### ")
    for one in choices().values():
        text = " ".join(page.split())
        for said in (one.open, one.public_code, one.here, one.option):
            assert said in text, one.anchor


def test_list_shows_title_and_link(fedcrucible) -> None:
    full = fedcrucible("list", "guides", "tiny").stdout
    assert "source: Radford et al. 2021, CLIP; Zhai et al. 2023, SigLIP" in full
    assert "Learning Transferable Visual Models From Natural Language Supervision. ICML 2021" in full
    assert "https://arxiv.org/abs/2103.00020" in full
    listed = json.loads(fedcrucible("list", "guides", "tiny", "--json").stdout)[0]
    assert listed["paper"].startswith("Radford et al. 2021")
    assert listed["references"][0]["key"] == "radford2021clip"
    assert listed["references"][0]["place"] == "CLIP"
    assert listed["references"][0]["link"] == "https://arxiv.org/abs/2103.00020"


def test_the_page_of_references_names_every_one() -> None:
    page = (ROOT / "docs" / "references.md").read_text(encoding="utf-8")
    for key, one in references.references().items():
        assert f"- `{key}`: " in page
        assert one.title in page
