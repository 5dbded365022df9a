"""What really happened in a run, from its rounds: whether anybody attacked, and whether anything was learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from server_app.record.intervals import wilson_of_rate
from server_app.record.schema import NOT_FINITE, TRIGGERED_NOT_FINITE, RoundRecord, RunDescription

State = Literal["ok", "unchanged", "dead", "unknown"]
"""See ``RunSummary.state``."""
MOST_DROPPED_PERCENT = 50.0
"""Where more replies than this were dropped, a reader is told."""


def state_of(rounds: Sequence[RoundRecord]) -> State:
    """Whether the final model has learned, and answers.

    Rounds that nobody was to train in (none at all, or a control that trains nothing) leave it ``ok``.
    """
    if any(_not_finite(_final(rounds))):
        return "dead"
    trained = _trained(rounds)
    if not trained:
        return "ok"
    return {"initial": "unchanged", None: "unknown"}.get(trained[-1].model, "ok")  # type: ignore[return-value]


def rounds_changed(rounds: Sequence[RoundRecord]) -> int | None:
    """Rounds that changed the global model; None where a record doesn't say."""
    trained = _trained(rounds)
    if any(r.model is None for r in trained):
        return None
    return sum(r.model == "changed" for r in trained)


def attack_rounds(rounds: Sequence[RoundRecord]) -> int:
    """Rounds of training in which at least one client attacked."""
    return sum(bool(r.attackers) for r in _trained(rounds))


def findings(run: RunDescription, rounds: Sequence[RoundRecord]) -> tuple[str, ...]:
    """What a reader of the final numbers must know, in sentences without a full stop."""
    return (*_of_the_model(run, rounds), *_of_replies(rounds), *_of_the_attack(run, rounds))


def _of_the_model(run: RunDescription, rounds: Sequence[RoundRecord]) -> Iterator[str]:
    trained, final = _trained(rounds), _final(rounds)
    state, changed = state_of(rounds), rounds_changed(rounds)
    if state == "dead":
        clean, triggered = _not_finite(final)
        also = "" if final.asr_percent is None else f" and {triggered:.1f} % of attacked ones"
        yield f"the final model is dead: its outputs aren't finite for {clean:.1f} % of clean images{also} (no class)"
    elif state == "unchanged" and changed == 0:
        yield f"no round changed the model: the numbers are those of the initial one (rounds: {len(trained)})"
    elif state == "unchanged":
        yield "training started over in the end: the numbers are those of the initial model"
    if changed and changed < len(trained):
        yield f"{len(trained) - changed} of {len(trained)} rounds left the model without progress"
    if state in ("ok", "unknown") and trained and not _above_chance(run, final):
        yield (
            f"the final model's accuracy, {final.ma_percent:.1f} %, is not above chance "
            f"({100.0 / len(run.class_names):.1f} % with {len(run.class_names)} classes)"
        )


def _of_replies(rounds: Sequence[RoundRecord]) -> Iterator[str]:
    asked, lost = sum(len(r.participants) for r in rounds), sum(len(r.dropped) for r in rounds)
    if asked and 100.0 * lost / asked > MOST_DROPPED_PERCENT:
        yield f"{lost} of {asked} replies of clients were dropped, and never reached the rule"


def _of_the_attack(run: RunDescription, rounds: Sequence[RoundRecord]) -> Iterator[str]:
    if run.attack_expected and not attack_rounds(rounds):
        yield "no client attacked in any round: the numbers say nothing about the attack or a defence against it"


def _trained(rounds: Sequence[RoundRecord]) -> list[RoundRecord]:
    return [r for r in rounds if r.stage == "training" and r.round >= 1]


def _final(rounds: Sequence[RoundRecord]) -> RoundRecord:
    """The round of the final numbers."""
    return next((r for r in reversed(rounds) if r.ma_percent is not None), RoundRecord(round=0))


def _not_finite(final: RoundRecord) -> tuple[float, float]:
    return final.facts.get(NOT_FINITE, 0.0), final.facts.get(TRIGGERED_NOT_FINITE, 0.0)


def _above_chance(run: RunDescription, final: RoundRecord) -> bool:
    """By more than the draw of test images makes; True where it can't be told."""
    bounds = wilson_of_rate(final.ma_percent, run.test_images)
    return bounds is None or len(run.class_names) < 2 or bounds[0] > 100.0 / len(run.class_names)
