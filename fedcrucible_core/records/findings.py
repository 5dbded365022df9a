"""What really happened in a run, from its rounds: whether anybody attacked, and whether anything was learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from fedcrucible_core.records.drops import Kind, kind_of
from fedcrucible_core.records.intervals import wilson_of_rate
from fedcrucible_core.records.schema import NOT_FINITE, TRIGGERED_NOT_FINITE, RoundRecord, RunDescription

State = Literal["ok", "unchanged", "alone", "dead", "unknown"]
"""See ``RunSummary.state``."""
MOST_DROPPED_PERCENT = 50.0
"""Where more replies than this were dropped, a reader is told."""
MOST_CONFUSED_PERCENT = 50.0
"""Where a larger base rate than this is behind the ASR, too: such a model needs no trigger."""
SHOWN = 10
"""Clients that a note names."""
SILENT: tuple[Kind, ...] = ("late", "node-gone", "not-fetched")
"""Kinds of dropped replies that say nothing against the site: it was slow, or could not be reached."""


def state_of(run: RunDescription, rounds: Sequence[RoundRecord]) -> State:
    """Whether the final model has learned, from whom, and whether it answers.

    Rounds that nobody was to train in (none at all, or a control that trains nothing) leave it ``ok``.
    """
    if any(_not_finite(_final(rounds))):
        return "dead"
    trained = _trained(rounds)
    if not trained:
        return "ok"
    last = trained[-1].model
    if last is None:
        return "unknown"
    if last == "initial":
        return "unchanged"
    heard = any(weight > 0 for r in trained for weight in r.weights.values())
    return "ok" if heard or not run.rule else "alone"


def rounds_changed(rounds: Sequence[RoundRecord]) -> int | None:
    """Rounds that changed the global model; None where a record doesn't say."""
    trained = _trained(rounds)
    if any(r.model is None for r in trained):
        return None
    return sum(r.model == "changed" for r in trained)


def attack_rounds(rounds: Sequence[RoundRecord]) -> int:
    """Rounds of training in which at least one client attacked."""
    return sum(bool(r.attackers) for r in _trained(rounds))


def attacked(rounds: Sequence[RoundRecord]) -> bool:
    """Whether the attack took place: a client attacked, or data of the server's or of honest clients held poison."""
    return attack_rounds(rounds) > 0 or any(r.facts.get(fact, 0.0) > 0 for r in rounds for fact in PLANTED)


def findings(run: RunDescription, rounds: Sequence[RoundRecord]) -> tuple[str, ...]:
    """What a reader of the final numbers must know, in sentences without a full stop."""
    return (*_of_the_model(run, rounds), *_of_sites(rounds), *_of_replies(rounds), *_of_the_attack(run, rounds))


def _of_the_model(run: RunDescription, rounds: Sequence[RoundRecord]) -> Iterator[str]:
    trained, final = _trained(rounds), _final(rounds)
    state, changed = state_of(run, rounds), rounds_changed(rounds)
    if state == "dead":
        clean, triggered = _not_finite(final)
        also = "" if final.asr_percent is None else f" and {triggered:.1f} % of attacked ones"
        which = f"{clean:.1f} % of clean {run.inputs}{also}"
        yield f"the final model is dead: its outputs aren't finite for {which} (no class)"
    elif state == "unchanged" and changed == 0:
        yield f"no round changed the model: the numbers are those of the initial one (rounds: {len(trained)})"
    elif state == "unchanged":
        yield "training started over in the end: the numbers are those of the initial model"
    elif state == "alone":
        yield "no client's update ever entered the model: what it learned is from the server's own data"
    if changed and changed < len(trained):
        yield f"{len(trained) - changed} of {len(trained)} rounds left the model without progress"
    broken = [r.round for r in rounds if r is not final and any(_not_finite(r))]
    if broken:
        yield (
            f"the model's outputs weren't finite for some {run.inputs} after {_rounds(broken)}: those are no class, so "
            "ASR and accuracy of these rounds say nothing"
        )
    if state in ("ok", "unknown") and trained and not _above_chance(run, final):
        yield (
            f"the final model's accuracy, {final.ma_percent:.1f} %, is not above chance "
            f"({100.0 / len(run.class_names):.1f} % with {len(run.class_names)} classes)"
        )


def _of_sites(rounds: Sequence[RoundRecord]) -> Iterator[str]:
    degraded = [r for r in rounds if r.quorum_missed]
    if degraded:
        yield (
            f"degraded: {_rounds([r.round for r in degraded])} of {len(_trained(rounds))} missed the quorum; "
            f"first, round {degraded[0].round}: {degraded[0].quorum_missed}"
        )
    missing: Counter[int] = Counter()
    for record in _trained(rounds):
        missing.update(record.absent)
        missing.update(i for i in record.participants if kind_of(record.dropped.get(str(i), "")) in SILENT)
    if missing:
        worst = [f"client {client} in {count}" for client, count in missing.most_common(SHOWN)]
        more = f", and {len(missing) - SHOWN} more clients" if len(missing) > SHOWN else ""
        of = len(_trained(rounds))
        yield f"sites were offline, late or could not be reached: {', '.join(worst)} of {of} rounds{more}"


def _of_replies(rounds: Sequence[RoundRecord]) -> Iterator[str]:
    asked, lost = sum(len(r.participants) for r in rounds), sum(len(r.dropped) for r in rounds)
    if asked and 100.0 * lost / asked > MOST_DROPPED_PERCENT:
        yield f"{lost} of {asked} replies of clients were dropped, and never reached the rule"


def _of_the_attack(run: RunDescription, rounds: Sequence[RoundRecord]) -> Iterator[str]:
    rested = [(r.round, client) for r in rounds for client in r.rested]
    if rested:
        clients = ", ".join(str(client) for client in sorted({client for _, client in rested})[:SHOWN])
        yield (
            f"{len(rested)} uploads of malicious clients ({clients}) in {_rounds([number for number, _ in rested])} "
            "were honest work, for the attack found nothing to do: they count as honest"
        )
    sent = [(client, r) for r in _trained(rounds) for client in r.attackers]
    if sent and all(str(client) in r.dropped for client, r in sent):
        yield (
            f"all {len(sent)} replies of attacking clients were dropped before the rule saw them: the attack never "
            "reached the model"
        )
    if run.attack_expected and not attacked(rounds):
        who = "no client attacked in any round" if run.rule else "nothing was poisoned"
        yield f"{who}: the numbers say nothing about the attack or a defence against it"
    final = _final(rounds)
    if attacked(rounds) and final.asr_percent is not None and (final.base_rate_percent or 0.0) > MOST_CONFUSED_PERCENT:
        yield (
            f"{final.base_rate_percent:.1f} % of the {run.inputs} are called the target without any trigger: the ASR "
            f"of {final.asr_percent:.1f} % is mostly that"
        )


PLANTED = ("synthetic.poisoned", "server_data.poisoned", "central.poisoned", "upstream.poisoned")
"""Facts that say how many of the server's own samples, of those in one place, or of honest clients' are poisoned."""


def _trained(rounds: Sequence[RoundRecord]) -> list[RoundRecord]:
    return [r for r in rounds if r.stage == "training" and r.round >= 1]


def _final(rounds: Sequence[RoundRecord]) -> RoundRecord:
    """The round of the final numbers."""
    return next((r for r in reversed(rounds) if r.ma_percent is not None), RoundRecord(round=0))


def _rounds(numbers: Sequence[int]) -> str:
    first, last = min(numbers), max(numbers)
    return f"round {first}" if first == last else f"{len(set(numbers))} rounds ({first} to {last})"


def _not_finite(final: RoundRecord) -> tuple[float, float]:
    return final.facts.get(NOT_FINITE, 0.0), final.facts.get(TRIGGERED_NOT_FINITE, 0.0)


def _above_chance(run: RunDescription, final: RoundRecord) -> bool:
    """By more than the draw of test images makes; True where it can't be told."""
    bounds = wilson_of_rate(final.ma_percent, run.test_images)
    return bounds is None or len(run.class_names) < 2 or bounds[0] > 100.0 / len(run.class_names)
