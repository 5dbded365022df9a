"""How many samples are added for a share of the whole."""

import pytest

from attacks.support.additions import draw_for_share
from tests.support.tiny_task import generator


@pytest.mark.parametrize(
    ("own", "share", "count"), [(80, 0.2, 20), (48, 0.2, 12), (10, 0.5, 10), (10, 0.0, 0), (0, 0.5, 0), (5, 0.95, 95)]
)
def test_the_added_are_the_share_of_the_whole(own, share, count) -> None:
    drawn = draw_for_share(1000, own, share, generator(), repeat=False)
    assert len(drawn) == len(drawn.unique()) == count
    assert own == 0 or abs(len(drawn) / (own + len(drawn)) - share) < 0.5 / (own + len(drawn))


def test_a_small_pool_is_used_up_or_drawn_through_again() -> None:
    assert sorted(draw_for_share(7, 40, 0.5, generator(), repeat=False).tolist()) == list(range(7))
    again = draw_for_share(7, 40, 0.5, generator(), repeat=True)
    assert len(again) == 40
    assert set(again.bincount(minlength=7).tolist()) == {5, 6}
    assert len(draw_for_share(0, 40, 0.5, generator(), repeat=True)) == 0
