"""What clients answer to a survey: the truth, or a lie while the attack is on."""

from __future__ import annotations

import torch

from client_app.malicious import survey_answer
from client_app.survey import honest_answer
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.survey import Survey

RANKS = Survey("x", 5, 2, "ranks", "relu")
VOTES = Survey("x", 5, 2, "votes", "relu")
ACTIVATIONS = torch.tensor([0.5, 0.1, 0.9, 0.0, 0.2]).double()
CONFIG = load({"adversary.start_round": 3, "adversary.stop_round": 6})


def test_honest_clients_tell_the_truth() -> None:
    assert honest_answer(CONFIG, 4, RANKS, ACTIVATIONS).tolist() == [3, 1, 4, 0, 2]


def test_attackers_turn_their_ranks_upside_down() -> None:
    lie = survey_answer(CONFIG, 4, RANKS, ACTIVATIONS)
    assert lie.tolist() == [1, 3, 0, 4, 2]
    assert RANKS.fault(lie) == ""


def test_attackers_vote_for_the_most_active() -> None:
    assert survey_answer(CONFIG, 4, VOTES, ACTIVATIONS).tolist() == [1, 0, 1, 0, 0]


def test_a_resting_attacker_tells_the_truth() -> None:
    for number in (2, 7):
        assert torch.equal(survey_answer(CONFIG, number, RANKS, ACTIVATIONS), RANKS.answer(ACTIVATIONS))
    off = load({"attack.name": "none"})
    assert torch.equal(survey_answer(off, 4, VOTES, ACTIVATIONS), VOTES.answer(ACTIVATIONS))
