"""One run, whatever engine carries it: a plan and a Grid in, a record and its summary out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from flwr.serverapp import Grid

from attacks.schedule import poisons_centrally
from attacks.upstream import upstream_partitions
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.load import default_keys, flatten
from fedcrucible_core.foundation.base import ServerData
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.tasks import task_of
from fedcrucible_core.learning.vector import buffer_slots, parameter_slots
from fedcrucible_core.records.model_digest import population_sha256
from fedcrucible_core.records.schema import RoundRecord, RunDescription, RunSummary
from fedcrucible_core.records.writer import RunRecord
from server_app.attack_facts import AttackFacts, attack_facts
from server_app.checks import attackers
from server_app.evaluation import Evaluator
from server_app.examples import examples_of, keep_examples
from server_app.identity import data_digest, run_identity
from server_app.measuring import measuring
from server_app.operations import Operations
from server_app.plan import Plan
from server_app.recorder import Recorder
from server_app.resume import Start, starting_point, with_excluded
from server_app.strategy_of import strategy_of
from server_app.synthetic_examples import keep_synthetic
from strategies.outcome import Checkpoint, Observer
from strategies.population import first_of

MEASURED = {
    "test": (),
    "validation": ("measured on the validation split",),
    "none": ("the server has no test data and measured nothing: what is known of the model is what sites say",),
}
"""Notes on ``task.eval_split``."""


def execute(
    plan: Plan,
    grid: Grid,
    *,
    in_order: bool,
    observers: Sequence[Observer] = (),
    on_folder: Callable[[Path], None] | None = None,
    flower_run: int | None = None,
) -> RunSummary:
    """Run all rounds over ``grid`` and write the record.

    ``in_order`` says that nodes registered in partition order (simulation, in-process); otherwise they are asked.
    ``on_folder`` is told the record's folder once it holds something worth keeping.  ``flower_run`` is Flower's id of
    the run.  A run that fails before the initial model was measured leaves no folder behind.
    """
    config = plan.config
    if in_order and config.federation.own_data:
        raise ConfigError("federation.own_data", True, "only in a deployment, whose nodes have data of their own")
    facts = attack_facts(plan, shares_known=in_order)
    with RunRecord.open(
        config.output,
        strategy=config.strategy,
        attack=config.attack.name,
        seed=config.run.seed,
        resume=config.run.resume,
    ) as record:
        start = starting_point(record, plan)
        if start.excluded is not None:
            config = plan.config = with_excluded(config, start.excluded)
        recorded: list[RoundRecord] = []
        operations: Operations | None = None
        try:
            evaluator = Evaluator.build(config, plan.data, plan.adversary.poisoner, plan.device)
            description = _describe(plan, evaluator, facts, start)
            recorder = Recorder(
                record,
                config,
                description,
                lambda: _open(record, plan, start),
                identity=run_identity(plan) if config.run.checkpoint_every else "",
                seconds_before=start.seconds,
                on_folder=on_folder,
            )
            recorded = recorder.rounds
            operations = Operations(recorder, start, flower_run)
            with operations.speaking():
                _tell((*description.notes, *start.notes), [*operations.heard, *observers])
                if not start.continues:
                    recorder.open()
                    operations.opened()
                return _run(plan, grid, in_order, recorder, operations, evaluator, start, observers)
        except BaseException as error:
            if operations is not None:
                operations.status.stop()
            if not recorded and not start.continues:
                shutil.rmtree(record.folder, ignore_errors=True)
            elif operations is not None:
                operations.failed(error)
            raise


def _tell(notes: Sequence[str], observers: Sequence[Observer]) -> None:
    for note in notes:
        for observer in observers:
            observer.on_note(note)


def _open(record: RunRecord, plan: Plan, start: Start) -> None:
    """Make the folder ready for what follows ``start``."""
    if start.continues:
        record.rewind(start.last_round)
    record.write_config(flatten(plan.config), default_keys())
    record.write_environment(str(plan.device), plan.config.run.threads)


def _run(
    plan: Plan,
    grid: Grid,
    in_order: bool,
    recorder: Recorder,
    operations: Operations,
    evaluator: Evaluator,
    start: Start,
    observers: Sequence[Observer],
) -> RunSummary:
    config, record = plan.config, recorder.record
    loop = strategy_of(
        plan,
        in_order=in_order,
        evaluate=measuring(plan, evaluator),
        observers=[recorder, operations, *observers],
        resume_from=_checkpoint(start),
        progress=operations.status.progress,
    )
    rounds = config.run.rounds if plan.system.trains else 0
    loop.start(grid, loop.initial_arrays, rounds, config.federation.timeout_s)
    population, model = loop.standing.population, loop.parts.model
    recorder.open()
    # The summary first: of all that is left to write it is the smallest and the one that can't be made again.
    summary = record.write_summary(population_sha256(population), recorder.seconds)
    record.write_sites()
    if config.output.save_model:
        for prototype, weights in population.items():
            of = loop.parts.models[prototype]
            slots = parameter_slots(of), buffer_slots(of)
            record.write_model(weights, *slots, "" if of is model else prototype)
    first_of(population).load_into(model)
    _keep_shown(record, plan, evaluator, model, None if loop.phase is None else loop.phase.data)
    keep_synthetic(record, task_of(plan.data.info), loop.synthetic)
    if config.output.report:
        from fedcrucible_core.reports.pages.run_report import render_report  # plots and t-SNE: seconds of imports

        render_report(record.folder)
    operations.ended(summary)
    return summary


def _checkpoint(start: Start) -> Checkpoint | None:
    found = start.checkpoint
    return None if found is None else Checkpoint(found.round, found.population, dict(found.state))


def _describe(plan: Plan, evaluator: Evaluator, facts: AttackFacts, start: Start) -> RunDescription:
    config, system, poisoner = plan.config, plan.system, plan.adversary.poisoner
    knowledge = {
        part.name: part.knowledge
        for part in (system.rule, system.purifier, system.repair, *plan.adversary.parts)
        if part and part.knowledge
    }
    if system.client_splitter is not None and system.client_splitter.knowledge:
        knowledge["client.sanitizer"] = system.client_splitter.knowledge
    if system.kind.knowledge:
        knowledge[system.name] = system.kind.knowledge
    notes = list(MEASURED[config.task.eval_split])
    notes += plan.data_notes
    if system.rule is not None:
        notes += poisoner.notes(len(attackers(config)))
        notes += plan.partition_notes
    elif poisons_centrally(config):
        notes += poisoner.notes(0)
    notes += facts.notes
    if plan.root_description:
        knowledge[system.rule_name] = (plan.root_description,)
        notes.append(f"{system.rule_name} was given a {plan.root_description}")
    return RunDescription(
        strategy=system.name,
        attack=config.attack.name,
        rule=system.rule_name,
        purifier=system.purifier.name if system.purifier else "",
        repair=system.repair.name if system.repair else "",
        seed=config.run.seed,
        rounds=config.run.rounds,
        dataset=config.task.dataset,
        data_sha256=data_digest(plan.data),
        input_noun=task_of(plan.data.info).noun,
        class_names=plan.data.info.class_names,
        target_label=config.poison.target_label if poisoner.targeted else None,
        test_images=len(evaluator.labels),
        triggered_images=0 if evaluator.attacked is None else len(evaluator.attacked.labels),
        attack_inputs=poisoner.measured_on(plan.data.info, plan.attack_task.classes) if poisoner.targeted else "",
        natural=poisoner.natural and poisoner.targeted,
        clients=config.federation.clients,
        malicious=attackers(config) if system.rule is not None else (),
        upstream=upstream_partitions(config) if system.rule is not None else (),
        attack_start_round=config.adversary.start_round,
        attack_stop_round=config.adversary.stop_round,
        knowledge=knowledge,
        notes=tuple(notes),
        history=start.notes,
        privacy=system.rule.privacy if system.rule is not None else "",
        attack_expected=facts.expected,
        idle=facts.idle,
    )


def _keep_shown(
    record: RunRecord, plan: Plan, evaluator: Evaluator, model: SplitModel, server: ServerData | None
) -> None:
    keep_examples(record, task_of(plan.data.info), examples_of(evaluator, server))
    if plan.system.trains and len(evaluator.labels):
        features, truth, mask = evaluator.features(model, plan.config.run.seed)
        record.save_embedding(f"{plan.system.name}, last round", features, truth, mask)
