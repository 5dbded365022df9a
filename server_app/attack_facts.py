"""What is known of the attack before the first round: whether it can happen, and who has nothing to attack with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from attacks.own_rows import Shares
from attacks.poison_set import central_count
from attacks.poisoner import PoisonContext
from attacks.poisoning import PoisonCount, poison_count
from attacks.preparation import run_artefact
from attacks.schedule import attackers_are_clients, has_attack, is_attack_round, poisons_centrally
from attacks.source_classes import wants_nearest
from attacks.upstream import upstream_partitions
from fedcrucible_core.foundation.base import STAGES
from fedcrucible_core.learning.tasks import task_of
from server_app.checks import attackers
from server_app.plan import Plan
from strategies.sampling import exact_attackers, participants_per_round

UNREACHED = "the attack is on the server's synthetic data, of which this strategy uses none: nothing is attacked"


@dataclass(frozen=True)
class AttackFacts:
    """What a record says of the attack before anybody trains."""

    expected: bool
    """Whether somebody shall attack; False for a run without attack, clients or malicious ones by choice."""
    idle: tuple[int, ...]
    """Malicious partitions that have no sample to poison, and upload what an honest client would."""
    notes: tuple[str, ...]


def attack_facts(plan: Plan, *, shares_known: bool) -> AttackFacts:
    """The facts of a plan.

    ``shares_known``: clients hold the partitions of the run's own data, and the run's seed says who is malicious.  In a
    deployment nodes may bring data and roles of their own, of which nothing is said here.
    """
    found = _who_attacks(plan, shares_known)
    return replace(found, notes=(*found.notes, *_prepared(plan))) if found.expected else found


def _prepared(plan: Plan) -> Iterator[str]:
    """What the poisoner says of what it made before any data was poisoned."""
    config, poisoner = plan.config, plan.adversary.poisoner
    facts = run_artefact(config, poisoner, plan.attack_task).facts if poisoner.prepares else {}
    if facts:
        said = ", ".join(
            f"{name} = {value:g}" if isinstance(value, float) else f"{name} = {value}" for name, value in facts.items()
        )
        yield f"{poisoner.name} prepared its trigger: {said}"


def _who_attacks(plan: Plan, shares_known: bool) -> AttackFacts:
    config, uploader = plan.config, plan.adversary.uploader
    section = config.adversary
    compromise = plan.adversary.compromise
    if compromise is not None and not attackers_are_clients(config):
        planted = any(compromise.reaches(stage) for stage in STAGES)
        reached = plan.system.needs_server_data
        return AttackFacts(planted and reached, (), () if reached or not planted else (UNREACHED,))
    chosen = bool(section.malicious_ids.strip()) or section.malicious_fraction > 0.0
    if poisons_centrally(config):
        return AttackFacts(True, (), tuple(_of_the_central_set(plan)))
    upstream = upstream_partitions(config)
    if not has_attack(config) or plan.system.rule is None or not (chosen or upstream):
        return AttackFacts(False, (), ())
    malicious, notes = attackers(config), [*_upstream(plan, shares_known), *(_schedule(plan) if chosen else ())]
    if not shares_known or not chosen:
        return AttackFacts(True, (), tuple(notes))
    notes += _participation(plan, malicious)
    counts = _counts(plan, malicious)
    bare = tuple(p for p, count in counts.items() if not count.total)
    pooled = section.collusion == "shared" and any(count.material for count in counts.values())
    idle = tuple(p for p in bare if not uploader.acts_unpoisoned(pooled or counts[p].material))
    lacking = [count.short for count in counts.values() if count.short]
    smoked = sum(count.smoked for partition, count in counts.items() if partition not in idle)
    notes += _adaptive(plan, smoked, "the malicious clients' data") if counts else ()
    if lacking:
        notes.append(
            f"{len(lacking)} of {len(malicious)} malicious clients hold fewer samples that may be poisoned than "
            f"poison.ratio = {config.poison.ratio:g} of all asks for: {sum(lacking)} short"
        )
    for who, rests in ((idle, True), ([p for p in bare if p not in idle], False)):
        if who:
            notes.append(_nothing_poisoned(plan, [counts[p] for p in who], len(malicious), rests))
    return AttackFacts(True, idle, tuple(notes))


def _of_the_central_set(plan: Plan) -> Iterator[str]:
    """What poison.central did: to how many samples, by which attack, and how many it was short of."""
    config, poisoner, made = plan.config, plan.adversary.poisoner, plan.central
    noun, poisoned, decoys = task_of(plan.data.info).noun, int(made.poisoned.sum()), int(made.decoys.sum())
    also = f", {decoys} more only look so and keep their labels" if decoys else ""
    yield (
        f"the central training set was poisoned by {poisoner.name}, by no client: {poisoned} of {len(made.data)} "
        f"{noun}s{also}"
    )
    yield from _adaptive(plan, int(made.smoked.sum()), "the central training set")
    short = central_count(config, poisoner, plan.attack_task).short
    if short:
        asked = f"poison.ratio = {config.poison.ratio:g} of all asks for"
        yield f"fewer {noun}s may be poisoned than {asked}: {short} short"


def _adaptive(plan: Plan, smoked: int, where: str) -> Iterator[str]:
    """What is true of a poisoned set beyond its poison: which classes it is confined to, and what hides it."""
    classes, noun = plan.attack_task.classes, task_of(plan.data.info).noun
    if classes:
        by = ", nearest to the target by the run's guide" if wants_nearest(plan.config.poison) else ""
        measured = plan.adversary.poisoner.measured_on(plan.data.info, classes)
        yield f"in {where} no other class is poisoned, and ASR is of {measured} alone{by}"
    if plan.config.poison.smoke:
        yield f"in {where} {smoked} {noun}s without poison got another label at random: they don't count as poisoned"


def _upstream(plan: Plan, shares_known: bool) -> Iterator[str]:
    """What poison.upstream did: to whose samples, and to whom it could do nothing."""
    counts = plan.upstream_counts
    if not counts:
        return
    if not shares_known:
        yield "poison.upstream reaches nodes whose role the run's seed decides, and no node with data of its own"
        return
    noun, total = task_of(plan.data.info).noun, sum(count.total for count in counts.values())
    yield (
        f"the data of {len(counts)} honest clients came to them poisoned by {plan.adversary.poisoner.name}, at most "
        f"{total} {noun}s in all: they are no attackers and count as honest"
    )
    yield from _adaptive(plan, sum(count.smoked for count in counts.values()), "the data of these clients")
    bare = [str(partition) for partition, count in counts.items() if not count.total]
    if bare:
        yield f"of these, {', '.join(bare)} hold no {noun} that could be poisoned, or poison.ratio rounds to none"


def _schedule(plan: Plan) -> Iterator[str]:
    section, rounds = plan.config.adversary, plan.config.run.rounds
    if not any(is_attack_round(plan.config, number) for number in range(1, rounds + 1)):
        yield (
            f"the attack never happens: adversary.start_round = {section.start_round} is after the last round, "
            f"run.rounds = {rounds}"
        )


def _participation(plan: Plan, malicious: Sequence[int]) -> Iterator[str]:
    config = plan.config
    fraction, clients = config.adversary.malicious_fraction, config.federation.clients
    sampled = participants_per_round(config.federation)
    if not malicious:
        yield f"nobody is malicious: adversary.malicious_fraction = {fraction:g} of {clients} clients is less than one"
    elif config.adversary.participation == "exact" and exact_attackers(fraction, sampled) == 0:
        yield (
            "no attacker ever takes part: adversary.participation = exact draws adversary.malicious_fraction = "
            f"{fraction:g} of the {sampled} clients of a round, which is less than one client"
        )


def _counts(plan: Plan, malicious: Sequence[int]) -> Mapping[int, PoisonCount]:
    """What each attacker has to attack with; nothing for attacks that poison no data by design."""
    config, poisoner = plan.config, plan.adversary.poisoner
    if not (poisoner.targeted or poisoner.poisons_own):
        return {}
    task = plan.attack_task
    artefact = run_artefact(config, poisoner, task)
    shares = Shares.of(config)

    def count(partition: int) -> PoisonCount:
        context = PoisonContext(task, config.poison, torch.Generator(), artefact, 0)  # nobody's draws
        return poison_count(task.train.subset(shares.share(partition).train), poisoner, context)

    return {partition: count(partition) for partition in malicious}


def _nothing_poisoned(plan: Plan, bare: Sequence[PoisonCount], malicious: int, idle: bool) -> str:
    section, poisoner, noun = plan.config.poison, plan.adversary.poisoner, task_of(plan.data.info).noun
    most = max(count.eligible for count in bare)
    cause = f"poison.ratio = {section.ratio:g} of at most {most} {noun}s rounds to none"
    if not most:
        needed = f"of the target class {section.target_label}" if poisoner.clean_label else "that the attack may poison"
        cause = f"they hold no {noun} {needed}"
    what = "train, and count, as honest clients" if idle else "plant no backdoor, whatever they do to their uploads"
    return f"{len(bare)} of {malicious} malicious clients poison no sample ({cause}): they {what}"
