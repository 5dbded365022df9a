"""docs/flower-app.md: its table is that of the registry, its code runs, its example of factors is right."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from fedcrucible.flower import Defended
from fedcrucible.flower.configured import allowed_names
from studies.example_apps import PATCH, ExampleApp
from tools.list_drop_ins import PAGE, table, updated


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_table_is_up_to_date(page: str) -> None:
    assert table() in page, "python tools/list_drop_ins.py"
    assert updated(page) == page


def test_every_defence_has_a_line_that_says_what_it_needs() -> None:
    lines = {line.split("`")[1]: line for line in table().splitlines()[2:]}
    assert list(lines) == allowed_names()
    assert lines["flame"].endswith("| - |")
    assert "| number of attackers | - |" in lines["krum"]
    assert "`root=` (" in lines["fltrust"]
    assert "`guide=` (" in lines["clip-fed"]
    assert "refused: changes how clients train" in lines["flpurifier"]


def test_a_stale_table_is_replaced() -> None:
    stale = "a\n<!-- begin: tools/list_drop_ins.py -->\nold\n<!-- end -->\nb\n"
    assert updated(stale) == stale.replace("old\n", table())


def test_the_patch_is_shown_as_it_is(page: str) -> None:
    shown = re.findall(r"```diff\n(.*?)```", page, re.DOTALL)
    assert shown == [(ExampleApp.named("flower-app").folder / PATCH).read_text(encoding="utf-8")]


def test_every_python_block_makes_a_strategy(page: str) -> None:
    class Net(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Flatten(), nn.Linear(28 * 28, 10))

    known = {"Net": Net, "root_pictures": torch.rand(20, 1, 28, 28), "root_labels": torch.arange(20) % 10}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), known)
        assert isinstance(known["strategy"], Defended)


def test_the_mean_of_factors_is_not_the_mean_of_products() -> None:
    a, b = torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0])
    assert (b * a).mean() == 1.0
    assert b.mean() * a.mean() == 0.0
    frozen = torch.tensor([3.0, 3.0])  # the same A everywhere: then it is
    assert (b * frozen).mean() == b.mean() * frozen.mean()
