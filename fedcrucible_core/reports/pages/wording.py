"""Headline, sentences and small tables of a run's report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedcrucible_core.config.values import Scalar
from fedcrucible_core.records.findings import attacked
from fedcrucible_core.records.privacy import privacy_line
from fedcrucible_core.records.reader import RecordedRun
from fedcrucible_core.records.schema import PHASES, ClientsSummary, Environment, RoundRecord, RunDescription
from fedcrucible_core.reports.charts.curves import class_name
from fedcrucible_core.reports.pages import untested
from fedcrucible_core.reports.pages.page import duration, rate, size

MOST_DROPPED = 200
MOST_CLIENTS = 100


@dataclass(frozen=True)
class Card:
    """One headline number."""

    label: str
    value: str
    unit: str
    lines: tuple[str, ...]
    tone: str


@dataclass(frozen=True)
class Setting:
    """One configuration key."""

    key: str
    value: str
    default: str


@dataclass(frozen=True)
class Dropped:
    """Replies of one client that were dropped for one cause."""

    client: str
    count: int
    rounds: str
    cause: str


def attack_title(run: RunDescription) -> str:
    """The attack's name for the page's title."""
    if run.truth == "unknown":
        return "unknown attacks, if any"
    return "no attack" if run.attack in {"", "none"} else run.attack


def heading(run: RunDescription) -> tuple[str, str, str]:
    """The page's title: what ran, under which attack; of a doubtful set what was done to it."""
    if not run.tested and run.repair and attack_title(run) == "no attack":
        return run.repair, "on", run.dataset
    return run.strategy, "under", attack_title(run)


def subtitle(record: RecordedRun) -> str:
    """Data set, clients, rounds, seed, rule, purifier and repair in one line."""
    run, parts = record.run, []
    if run.dataset:
        parts.append(run.dataset)
    if run.clients and run.rule:
        upstream = f", {len(run.upstream)} honest with poisoned data" if run.upstream else ""
        known = run.truth == "known"
        parts.append(f"{run.clients} clients{f', {len(run.malicious)} malicious' if known else ''}{upstream}")
    elif record.rounds and "central.images" in record.rounds[0].facts:
        parts.append(central_set(record.rounds[0], run))
    parts.append(f"{record.summary.rounds} rounds")
    parts.append(f"seed {run.seed}")
    if run.rule:
        parts.append(f"rule {run.rule}")
    if run.purifier:
        parts.append(f"purifier {run.purifier}")
    if run.repair:
        parts.append(f"repair {run.repair}")
    if run.target_label is not None and attack_title(run) != "no attack":
        parts.append(f"target class {class_name(run, run.target_label)}")
    return " · ".join(parts)


def verdict(record: RecordedRun) -> str:
    """What the run came to, in one or two sentences."""
    summary = record.summary
    if summary.ma_percent is None and summary.clients is not None:
        return _said_by_sites(summary.clients)
    if summary.ma_percent is None:
        return "The global model was not evaluated, so there is nothing to conclude yet."
    if summary.state == "dead":
        return "The final model is dead: its outputs aren't finite, so its numbers say nothing about attack or defence."
    if summary.state == "unchanged":
        return "The final model is the initial one: nothing was learned, so there is nothing to conclude."
    if summary.state == "alone":
        return "No client's update ever entered the model: the numbers are those of the server's own data."
    if not record.run.tested:
        return untested.verdict(record)
    text = f"After {summary.rounds} rounds the global model classifies {summary.ma_percent:.1f} % of clean "
    text += f"{record.run.inputs} correctly"
    if summary.asr_percent is None:
        return f"{text}; {unmeasured(record.run)}."
    text += f" and gives {summary.asr_percent:.1f} % of {record.run.attack_inputs} the attacker's class"
    if summary.base_rate_percent is not None and summary.net_asr_percent is not None:
        text += f"; {summary.base_rate_percent:.1f} % get it without any trigger"
        if attacked(record.rounds):
            text += f", which leaves {summary.net_asr_percent:+.1f} points to the attack"
    text += "."
    caught = summary.detection
    if caught is not None and caught.true_positives + caught.false_positives:
        text += " The server rejected "
        if caught.tpr_percent is not None:
            text += f"{caught.tpr_percent:.0f} % of attackers' updates and "
        text += f"{rate(caught.fpr_percent)} % of honest ones."
    elif caught is not None:
        text += " The server rejected no client."
    elif record.run.truth == "unknown":
        text += f" {_rejected(record)}"
    if record.run.attack_expected and not attacked(record.rounds):
        who = "No client attacked" if record.run.rule else "Nothing was poisoned"
        text += f" {who}, so this says nothing about the attack or a defence against it."
    return text


def _rejected(record: RecordedRun) -> str:
    """How many replies the rule rejected, where nobody can say whether that was right."""
    rejected, judged = rejections(record.rounds)
    return f"The rule rejected {rejected} of {judged} replies; who attacked, if anybody did, isn't known."


def rejections(rounds: Sequence[RoundRecord]) -> tuple[int, int]:
    """Replies that the rule rejected, and those that it judged."""
    rejected = sum(len(r.rejected) for r in rounds)
    return rejected, rejected + sum(len(r.accepted) for r in rounds)


def _said_by_sites(clients: ClientsSummary) -> str:
    """What is known of a model that the server itself didn't measure."""
    text = f"The server measured nothing. By their own word sites reach {rate(clients.ma_mean_percent)} % MA on average"
    worst = f", site {clients.worst_client} the least" if clients.worst_client is not None else ""
    return f"{text}{worst} ({rate(clients.ma_worst_percent)} %); a hostile site may claim anything."


def central_set(first: RoundRecord, run: RunDescription) -> str:
    """What central training trained on, by what its round 0 says."""
    text = f"no client: {first.facts['central.images']:.0f} training {run.inputs} in one place"
    poisoned = first.facts.get("central.poisoned")
    return text if poisoned is None else f"{text}, {poisoned:.0f} poisoned"


def unmeasured(run: RunDescription) -> str:
    """Why there is no ASR."""
    if attack_title(run) == "no attack" or run.attack_inputs or run.truth == "unknown":
        return "no attack success was measured"
    return "the attack is untargeted, so no attack success (ASR) is measured"


def curves_note(run: RunDescription) -> str:
    """What the curves are."""
    if not run.tested:
        return untested.curves_note(run)
    text = f"MA: {run.measured} classified correctly."
    if not run.attack_inputs:
        return text
    text += f" ASR: {run.attack_inputs} of non-target classes predicted as the target."
    if run.natural:
        return f"{text} The attack puts nothing on {run.inputs}, so there is no base rate."
    return f"{text} Base rate: the same {run.inputs} without the trigger that are predicted as the target anyway."


def curves_caption(run: RunDescription) -> str:
    """How the curves are drawn, and what their intervals are not."""
    if not run.tested:
        return ""
    drawn = "Shaded: rounds in which the attack is active; dotted: ASR of 20 %. One run of one seed:"
    return f"{drawn} the intervals above cover the draw of test {run.inputs}, not the spread between seeds."


def warnings(record: RecordedRun) -> list[str]:
    """What a reader must know before citing the numbers."""
    found = []
    if not record.finished:
        found.append("The run has no summary: it still goes on, or ended early. The numbers are those of its rounds.")
    needs = [f"{part}: {', '.join(what)}" for part, what in record.run.knowledge.items() if what]
    if needs:
        found.append("Needs knowledge that a real server or attacker may not have. " + "; ".join(needs) + ".")
    if line := privacy_line(record.summary):
        found.append(line[0].upper() + line[1:] + ".")
    return found + list(record.notes)


def cards(record: RecordedRun) -> list[Card]:
    """The headline numbers with their intervals."""
    run, summary = record.run, record.summary
    attacked = summary.asr_percent is not None
    accuracy = "Main-task accuracy (MA)" if run.tested else "Labels fitted, no accuracy"
    shown = [
        Card(accuracy, rate(summary.ma_percent), "%" if summary.ma_percent is not None else "", (
            "" if summary.ma_percent is not None or not record.finished else "the server measured nothing",
            _interval(run, summary.ma_interval_percent),
            _last(summary.ma_last_mean_percent, summary.last_rounds),
            f"{run.test_images:,} {run.measured}" if run.test_images else "",
        ), "blue"),
        Card("Attack success rate (ASR)", rate(summary.asr_percent), "%" if attacked else "", (
            _interval(run, summary.asr_interval_percent),
            _last(summary.asr_last_mean_percent, summary.last_rounds),
            f"{run.triggered_images:,} {run.attack_inputs}" if attacked and run.triggered_images else "",
            "" if attacked else unmeasured(run),
        ), "vermillion"),
        Card("Base rate", rate(summary.base_rate_percent), "%" if summary.base_rate_percent is not None else "", (
            _base_rate_of(run),
            f"ASR minus base rate: {summary.net_asr_percent:+.1f} points"
            if summary.net_asr_percent is not None else "",
            f"highest ASR {rate(summary.asr_max_percent)} % in round {summary.asr_max_round}"
            if summary.asr_max_round is not None else "",
            f"{summary.rounds_asr_above_20_percent} rounds above 20 %" if attacked else "",
        ), "grey"),
    ]  # fmt: skip
    if summary.clients is not None:
        clients = summary.clients
        worst = f"site {clients.worst_client}" if clients.worst_client is not None else "lowest"
        shown.append(
            Card("Sites' own MA", rate(clients.ma_mean_percent), "%", (
                f"mean over sites; spread {rate(clients.ma_spread_percent)} points",
                f"{worst}: {rate(clients.ma_worst_percent)} %",
                f"{clients.answers_dropped} answers dropped" if clients.answers_dropped else "",
            ), "sky")
        )  # fmt: skip
    if summary.detection is not None:
        caught = summary.detection
        malicious = caught.true_positives + caught.false_negatives
        honest = caught.false_positives + caught.true_negatives
        shown.append(
            Card("Attackers rejected (TPR)", rate(caught.tpr_percent), "%" if malicious else "", (
                f"{caught.true_positives} of {malicious} malicious updates" if malicious else "no malicious update",
                f"FPR {rate(caught.fpr_percent)} %: {caught.false_positives} of {honest} honest",
                f"precision {rate(caught.precision_percent)} %, F1 {rate(caught.f1_percent)} %",
            ), "green")
        )  # fmt: skip
    rejected, judged = rejections(record.rounds)
    if run.truth == "unknown" and judged:
        share = rate(100.0 * rejected / judged)
        shown.append(
            Card("Replies rejected", share, "%", (f"{rejected} of {judged}", "who attacks isn't known"), "green")
        )
    return shown


def detection_rows(record: RecordedRun) -> list[tuple[str, str]]:
    """Weight that attackers kept, and whom else the rule rejected; counts and rates are on the card.

    Where nobody knows who attacks: how often each client was rejected, dropped or accepted.
    """
    if record.run.truth == "unknown":
        return rejection_rows(record.rounds)
    share, rejected = record.summary.malicious_weight_percent, record.summary.upstream_rejected_percent
    rows = [] if share is None else [("weight given to malicious clients", f"{share:.1f} % of all aggregation weight")]
    if rejected is not None and record.run.rule != "fedavg":
        rows.append(("honest clients with poisoned data", f"{rejected:.1f} % of their replies rejected"))
    return rows


def rejection_rows(rounds: Sequence[RoundRecord]) -> list[tuple[str, str]]:
    """Of every client how often it was asked and what became of its replies, the most rejected first."""
    asked, rejected, dropped = Counter[int](), Counter[int](), Counter[int]()
    for row in rounds:
        asked.update(row.participants)
        rejected.update(row.rejected)
        dropped.update(int(client) for client in row.dropped)
    order = sorted(asked, key=lambda client: (-rejected[client], -dropped[client], client))
    return [
        (f"client {c}", f"rejected {rejected[c]}, dropped {dropped[c]}, of {asked[c]} rounds")
        for c in order[:MOST_CLIENTS]
    ]


def cost_rows(record: RecordedRun) -> list[tuple[str, str]]:
    """Time, memory and traffic of the whole run."""
    summary = record.summary
    rows = [("total time", duration(summary.seconds_total))]
    if summary.peak_memory_mb is not None:
        rows.append(("peak memory, server process", f"{summary.peak_memory_mb:,.0f} MB"))
    rows.append(("sent to clients", size(summary.bytes_down)))
    rows.append(("received from clients", size(summary.bytes_up)))
    return rows


def phase_rows(record: RecordedRun) -> list[tuple[str, str]]:
    """Time by phase, in the order of a round."""
    seconds = record.summary.seconds
    order = [phase for phase in PHASES if phase in seconds] + sorted(set(seconds) - set(PHASES))
    return [(phase, duration(seconds[phase])) for phase in order if seconds[phase] >= 0.05]


def settings(values: Mapping[str, Scalar], defaults: Mapping[str, Scalar]) -> tuple[list[Setting], list[Setting]]:
    """Keys whose value differs from the default, then the others; each in the recorded order."""
    changed: list[Setting] = []
    others: list[Setting] = []
    for key, value in values.items():
        differs = key in defaults and defaults[key] != value
        (changed if differs else others).append(Setting(key, _plain(value), _plain(defaults.get(key, ""))))
    return changed, others


def dropped(record: RecordedRun) -> tuple[list[Dropped], int]:
    """Dropped replies by client and cause, most first, and how many rows were left out."""
    rounds: dict[tuple[str, str], list[int]] = {}
    for row in record.rounds:
        for client, cause in row.dropped.items():
            rounds.setdefault((client, cause), []).append(row.round)
    found = [
        Dropped(client, len(when), _ranges(when), cause[:2000])
        for (client, cause), when in sorted(rounds.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return found[:MOST_DROPPED], max(0, len(found) - MOST_DROPPED)


def environment_rows(environment: Environment | None, digest: str) -> list[tuple[str, str]]:
    """What the run ran on."""
    if environment is None:
        return []
    code = "no checkout"
    if environment.git_commit:
        state = {True: "with local changes", False: "clean", None: "state unknown"}[environment.git_dirty]
        code = f"{environment.git_commit[:12]} ({state})"
    device = " ".join(
        part for part in (environment.device, f"({environment.device_name})" if environment.device_name else "") if part
    )
    rows = [
        ("started", environment.started_utc),
        ("device", device),
        ("threads per process", str(environment.threads)),
        ("processor", f"{environment.processor}, {environment.cpu_count} logical CPUs"),
        ("platform", environment.platform),
        ("Python", environment.python),
        ("packages", ", ".join(f"{name} {version}" for name, version in environment.packages.items())),
        ("commit", code),
        ("source digest", environment.source_sha256[:16]),
        ("final parameters, SHA-256", digest),
        ("command", " ".join(environment.command)),
    ]
    return [(key, value) for key, value in rows if value]


def _base_rate_of(run: RunDescription) -> str:
    if not run.attack_inputs:
        return ""
    return f"nothing is put on {run.inputs}" if run.natural else f"same {run.inputs}, no trigger"


def _interval(run: RunDescription, bounds: tuple[float, float] | None) -> str:
    if bounds is None or not run.tested:
        return ""
    return f"95 % interval {bounds[0]:.2f} to {bounds[1]:.2f} (Wilson, test {run.inputs})"


def _last(mean: float | None, count: int) -> str:
    return "" if mean is None or count < 2 else f"mean of the last {count} evaluated rounds {mean:.1f} %"


def _plain(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return '""' if value == "" else str(value)


def _ranges(numbers: list[int]) -> str:
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in spans)
