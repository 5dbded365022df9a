"""What a record holds, as pydantic models; every number's name carries its unit."""

from __future__ import annotations

import math
import operator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.records.numbers import Number, numbers_of


def _unmeasured(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _is_none(value: object) -> bool:
    return value is None


Percent = Annotated[float | None, BeforeValidator(_unmeasured)]
"""0 to 100; None when it could not be measured (NaN is read as None)."""

# The rates that a round and a run's end share; each is declared here and nowhere else.
Accuracy = Annotated[
    Percent, Number("MA", "MA", better="higher", meaning="clean accuracy", of="of clean test inputs", tone="blue")
]
AttackSuccess = Annotated[
    Percent, Number("ASR", "ASR", better="lower", meaning="attack success", of="called the target", tone="vermillion")
]
BaseRate = Annotated[
    Percent, Number("base_rate", "base rate", meaning="without trigger", of="of the same inputs without trigger",
                    tone="grey")
]  # fmt: skip
AttackSuccessOfCorrect = Annotated[
    Percent, Number("asr_correct", "ASR of correct", better="lower", meaning="among inputs right without the trigger")
]
RobustAccuracy = Annotated[
    Percent, Number("robust_accuracy", "robust acc.", better="higher", meaning="triggered inputs called what they are")
]
TruePositives = Annotated[
    Percent, Number("TPR", "TPR", better="higher", meaning="malicious replies that were rejected")
]
FalsePositives = Annotated[Percent, Number("FPR", "FPR", better="lower", meaning="honest replies that were rejected")]
Megabytes = Annotated[float | None, Number("peak_memory_mb", "peak memory", "MB", "lower")]

LONGEST_LINE = 2000
"""Characters of a text in a record."""


def _line(value: object) -> object:
    return plain_text(value, LONGEST_LINE) if isinstance(value, str) else value


Line = Annotated[str, BeforeValidator(_line)]
"""Text that somebody else may have chosen: one plain line, on writing and on reading a record from elsewhere."""

NOT_FINITE, TRIGGERED_NOT_FINITE = "evaluate.not_finite_percent", "evaluate.triggered_not_finite_percent"
"""Facts of a round: share of clean and of triggered images for which the model's outputs aren't finite."""
ASR_REFUSED = "asr_refused"
"""Of what a client measures: 1 where its site lets nobody measure attack success on its data."""
PHASES = ("sample", "train", "validate", "aggregate", "server", "evaluate", "record")
"""Phases of a round in order; keys of ``RoundRecord.seconds``."""


class Record(BaseModel):
    """Base of what is written; fields added by a later version are ignored on reading."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings", protected_namespaces=())


class RunDescription(Record):
    """What the run is, known before its first round (run.json)."""

    strategy: Line
    attack: Line = "none"
    rule: Line = ""
    purifier: Line = ""
    repair: Line = ""
    """What works on the final model, after the last round; empty = nothing, and in older records."""
    seed: int
    rounds: int = 0
    dataset: Line = ""
    data_sha256: str = ""
    """Digest of its classes, labels and pictures; empty in older records."""
    input_noun: Line = "image"
    """What one input is called, by the task; not written where it is an image, as in older records."""
    class_names: tuple[Line, ...] = ()
    target_label: int | None = None
    test_images: int = 0
    """Images that MA is measured on."""
    tested: bool = Field(True, exclude_if=operator.truth)
    """Whether nobody trained on those; False: the set has no test split, its training images stand in, labels as given.
    In the record only then."""
    triggered_images: int = 0
    """Images that ASR is measured on: those test images of non-target classes that the attack is about."""
    attack_inputs: Line = "triggered images"
    """What ASR is measured on, in words; empty for untargeted attacks."""
    natural: bool = False
    """Whether those inputs exist in one form only (no trigger is put on them), so that there is no base rate."""
    clients: int = 0
    malicious: tuple[int, ...] = ()
    """All malicious partitions, whether they are ever sampled or not."""
    upstream: tuple[int, ...] = Field((), exclude_if=operator.not_)
    """Honest partitions whose data came to them poisoned (``poison.upstream``); in the record only where there are
    any."""
    attack_start_round: int = 1
    attack_stop_round: int = 0
    """Last round of the attack; 0 = it never stops."""
    knowledge: dict[Line, tuple[Line, ...]] = Field(default_factory=dict)
    """Component -> what it needs that a real server (or attacker) may not have."""
    notes: tuple[Line, ...] = ()
    privacy: Line = ""
    """What the rule promises of differential privacy, in words; empty where nothing looks like a promise."""

    history: tuple[Line, ...] = ()
    """What befell the run on its way: where it was resumed, what could not be written."""

    # --- whether the attack can happen ---
    attack_expected: bool | None = None
    """Whether somebody was to attack: an attack with a positive share of clients, or with listed ones.  None in older
    records."""
    truth: Literal["known", "unknown"] = Field("known", exclude_if=lambda value: value == "known")
    """unknown: nobody can say who attacks, as in an app that isn't ours: no rejection is right or wrong. In the record
    only where it is unknown."""
    idle: tuple[int, ...] = ()
    """Malicious partitions that have no sample to poison and upload what an honest client would: they count as honest.
    Only those of which the server can know."""

    @property
    def inputs(self) -> str:
        """What inputs are called."""
        return f"{self.input_noun}s"

    @property
    def measured(self) -> str:
        """What accuracy is measured on."""
        return f"{'clean test' if self.tested else 'training'} {self.inputs}"

    @model_serializer(mode="wrap")
    def _written(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = written(self)
        if self.input_noun == "image":
            del fields["input_noun"]
        return fields


class ExampleTexts(Record):
    """Texts of one kind (clean, triggered, ...) that a page shows."""

    kind: Line
    texts: tuple[Line, ...]
    labels: tuple[int, ...] = ()
    """Their classes; empty where there are none."""


class AllExampleTexts(Record):
    """What examples.json holds, kinds in the order in which they are shown."""

    kinds: tuple[ExampleTexts, ...]


class RoundRecord(Record):
    """One round: a line of metrics.jsonl. Round 0 is the model before training; a repair is a line of its own."""

    round: int = Field(ge=0)
    stage: Literal["training", "repair"] = "training"
    """repair: the server asked the clients about the final model and changed it; numbered one after the last round."""
    ma_percent: Accuracy = None
    """Accuracy on clean test images; None in a round that is not evaluated."""
    asr_percent: AttackSuccess = None
    base_rate_percent: BaseRate = None
    """The same images without trigger that are predicted as the target (natural confusion); None where an attack puts
    no trigger on images."""
    asr_correct_percent: AttackSuccessOfCorrect = None
    """ASR among images that are classified correctly without the trigger."""
    robust_accuracy_percent: RobustAccuracy = None
    """Triggered images predicted as their true class."""
    per_class_recall_percent: tuple[Percent, ...] = ()
    participants: tuple[int, ...] = ()
    excluded: tuple[int, ...] = Field((), exclude_if=operator.not_)
    """Partitions that were left out of the round (``federation.excluded``); in the record only where there are any."""
    malicious: tuple[int, ...] = ()
    """Ground truth: the malicious partitions among the participants."""
    accepted: tuple[int, ...] = ()
    rejected: tuple[int, ...] = ()
    """Participants that the defence gave weight 0; replies dropped before it are in ``dropped`` instead."""
    weights: dict[Line, float] = Field(default_factory=dict)
    """Partition -> share in the aggregate, in partition order."""
    dropped: dict[Line, Line] = Field(default_factory=dict)
    """Partition (or node) -> why its reply never reached the defence: non-finite, wrong shape, error text."""
    attack_active: bool = False
    tpr_percent: TruePositives = None
    fpr_percent: FalsePositives = None
    seconds: dict[Line, float] = Field(default_factory=dict)
    """Phase (see ``PHASES``) -> wall-clock seconds."""
    peak_memory_mb: Megabytes = None
    bytes_down: int = 0
    bytes_up: int = 0
    notes: tuple[Line, ...] = ()
    per_client: dict[Line, list[float]] = Field(default_factory=dict)
    """Diagnostic -> one number per client, in the order of ``weights``."""
    facts: dict[Line, float] = Field(default_factory=dict)
    """Diagnostics of the whole round."""
    client_metrics: dict[Line, dict[Line, float]] = Field(default_factory=dict, exclude_if=operator.not_)
    """Partition -> what that client says of the model on its own test images: rates in percent and ``examples``; in the
    record only where clients measure (``federation.fraction_evaluate``)."""
    evaluations_dropped: dict[Line, Line] = Field(default_factory=dict, exclude_if=operator.not_)
    """Partition -> why what it says of the model counts for nothing; not written where there are none."""
    evaluations_absent: tuple[int, ...] = Field(default=(), exclude_if=operator.not_)
    """Clients without a usable node when those who measure were drawn; not written where there are none."""
    absent: tuple[int, ...] = Field(default=(), exclude_if=operator.not_)
    """Clients without a usable node when the round's participants were drawn; not written where there are none."""
    quorum_missed: Line = Field(default="", exclude_if=operator.not_)
    """Why fewer replied than federation.quorum and federation.required ask for, with the sites that were lost; not
    written where all is well."""
    confusion: tuple[tuple[int, ...], ...] | None = None
    """Triggered test images: counts by true class (row) and predicted class (column); a last column counts images for
    which the model's outputs weren't finite, where there are any."""

    # --- what really happened ---
    attacking: tuple[int, ...] | None = None
    """Malicious participants that attack in this round: its schedule is on, and they have something to attack with.
    None in older records: see ``attackers``."""
    rested: tuple[int, ...] = ()
    """Malicious participants, idle ones apart, whose attack found nothing to do in a round of its schedule and that
    uploaded honest work, by their own word."""
    model: Literal["changed", "kept", "initial"] | None = None
    """The global model after the round: changed by it, as it was before, or still (or again) the initial one, bit for
    bit; None in older records."""

    @property
    def net_asr_percent(self) -> float | None:
        """ASR minus base rate, in points; None where either wasn't measured."""
        if self.asr_percent is None or self.base_rate_percent is None:
            return None
        return self.asr_percent - self.base_rate_percent

    @property
    def attackers(self) -> tuple[int, ...]:
        """Participants that count as malicious in this round; all others count as honest."""
        if self.attacking is not None:
            return self.attacking
        return self.malicious if self.attack_active else ()


class Detection(Record):
    """Counts of rejected and accepted clients (positive = malicious) with their rates."""

    true_positives: int = 0
    false_negatives: int = 0
    false_positives: int = 0
    true_negatives: int = 0
    tpr_percent: TruePositives = None
    fpr_percent: FalsePositives = None
    precision_percent: Percent = None
    f1_percent: Percent = None


class ClientsSummary(Record):
    """What clients say of the model on test data of their own: of the last round in which they were asked."""

    ma_mean_percent: Annotated[
        Percent,
        Number("client_MA", "clients' MA", better="higher", meaning="mean over clients, on their own test data"),
    ] = None
    ma_spread_percent: Annotated[
        Percent, Number("client_MA_spread", "spread of clients' MA", "points", "lower", "deviation over clients")
    ] = None
    ma_worst_percent: Annotated[
        Percent, Number("client_MA_worst", "lowest client's MA", better="higher", meaning="the client worst off")
    ] = None
    ma_last_three_mean_percent: Annotated[
        Percent, Number("client_MA_last3", "clients' MA, last 3", better="higher",
                        meaning="clients' MA, mean of the last 3 rounds in which they were asked")
    ] = None  # fmt: skip
    asr_mean_percent: Annotated[
        Percent, Number("client_ASR", "clients' ASR", better="lower", meaning="mean over clients, as they measure it")
    ] = None
    asr_spread_percent: Annotated[
        Percent, Number("client_ASR_spread", "spread of clients' ASR", "points", "", "deviation over clients")
    ] = None
    asr_worst_percent: Annotated[
        Percent, Number("client_ASR_worst", "highest client's ASR", better="lower", meaning="the client worst off")
    ] = None
    asr_last_three_mean_percent: Annotated[
        Percent, Number("client_ASR_last3", "clients' ASR, last 3", better="lower",
                        meaning="clients' ASR, mean of the last 3 rounds in which they were asked")
    ] = None  # fmt: skip
    worst_client: int | None = None
    """The client with the lowest ``ma_by_client_percent``; None in older records."""
    ma_by_client_percent: dict[Line, Percent] = Field(default_factory=dict)
    """Partition -> MA of the last round in which that client measured."""
    answers_dropped: int = 0
    """What clients said of the model and counts for nothing, over all rounds."""


class SanitizerSummary(Record):
    """What became of the server's synthetic data: known to the record alone, never to a defence."""

    poisoned: Annotated[float | None, Number("poisoned", "poisoned samples", "", meaning="in the synthetic data")] = (
        None
    )
    survivors: Annotated[
        float | None, Number("survivors", "survivors", "", "lower", "poisoned samples that were used as they came")
    ] = None
    caught_percent: Annotated[
        Percent, Number("caught", "poison caught", better="higher", of="of the poisoned samples, not called clean")
    ] = None
    clean_dropped_percent: Annotated[
        Percent, Number("clean_dropped", "clean dropped", better="lower", of="of the clean samples, left out")
    ] = None


class ClientSanitizerSummary(Record):
    """What honest clients did to their own data before they trained (``client.sanitizer``), by their own word."""

    dropped_percent: Annotated[
        Percent,
        Number("client_dropped", "clients' samples dropped", better="lower", of="of all samples of the clients"),
    ] = None
    poisoned: Annotated[
        float | None, Number("client_poisoned", "clients' poisoned samples", "", meaning="in honest clients' data")
    ] = None
    survivors: Annotated[
        float | None,
        Number("client_survivors", "clients' survivors", "", "lower", "poisoned samples used as they came"),
    ] = None
    caught_percent: Annotated[
        Percent,
        Number("client_caught", "clients' poison caught", better="higher", of="of the poisoned ones, not called clean"),
    ] = None
    clean_dropped_percent: Annotated[
        Percent,
        Number("client_clean_dropped", "clients' clean dropped", better="lower", of="of the clean ones, left out"),
    ] = None
    seconds: Annotated[
        float | None, Number("client_sanitizer_seconds", "sanitizers", "s", "lower", "all clients together, all rounds")
    ] = None


class SplitSummary(Record):
    """How well a repair's splitter found the poison in what the model was trained on: known to the record alone."""

    recall_percent: Annotated[
        Percent, Number("split_recall", "split recall", better="higher", of="of the poisoned samples, called triggered")
    ] = None
    contamination_percent: Annotated[
        Percent, Number("split_contamination", "clean part's poison", better="lower", of="of the part called clean")
    ] = None
    escaped_percent: Annotated[
        Percent, Number("split_escaped", "poison called clean", better="lower", of="of the poisoned samples")
    ] = None


class PrototypesSummary(Record):
    """What a federation of several architectures had to do beside its rounds."""

    computed: Annotated[
        float | None, Number("pretrained", "pre-trained", "", meaning="prototypes trained by this run")
    ] = None
    cached: Annotated[
        float | None, Number("pretrained_cached", "pre-trained before", "", meaning="prototypes taken from the cache")
    ] = None
    averaged: Annotated[
        float | None, Number("groups_averaged", "groups averaged", "",
                             meaning="too small for the rule, over all rounds: the mean was taken")
    ] = None  # fmt: skip


class RunSummary(Record):
    """The run in one object (summary.json)."""

    strategy: Line
    attack: Line
    seed: int
    rounds: int
    dataset: Line = ""
    ma_percent: Accuracy = None
    ma_interval_percent: tuple[float, float] | None = None
    """Wilson 95 % interval over test images: sampling of the test set, not seed variation."""
    asr_percent: AttackSuccess = None
    asr_interval_percent: tuple[float, float] | None = None
    attack_inputs: Line = "triggered images"
    """What ASR is measured on, in words; empty for untargeted attacks."""
    base_rate_percent: BaseRate = None
    net_asr_percent: Annotated[Percent, Number("net_asr_points", "ASR minus base rate", "points", "lower")] = None
    """ASR minus base rate, in points."""
    asr_correct_percent: AttackSuccessOfCorrect = None
    robust_accuracy_percent: RobustAccuracy = None
    last_rounds: int = 0
    """How many evaluated rounds the two means below cover (at most ten)."""
    ma_last_mean_percent: Annotated[Percent, Number("ma_last_rounds", "MA, mean of last rounds")] = None
    asr_last_mean_percent: Annotated[Percent, Number("asr_last_rounds", "ASR, mean of last rounds")] = None
    ma_last_three_mean_percent: Annotated[
        Percent, Number("ma_last3", "MA, mean of last 3", better="higher", meaning="mean of the last 3 measured rounds")
    ] = None
    asr_last_three_mean_percent: Annotated[
        Percent,
        Number("asr_last3", "ASR, mean of last 3", better="lower", meaning="mean of the last 3 measured rounds"),
    ] = None
    asr_max_percent: Annotated[Percent, Number("asr_max", "highest ASR", better="lower")] = None
    """Largest ASR from the attack's first round on."""
    asr_max_round: int | None = None
    rounds_asr_above_20_percent: int = 0
    asr_after_stop_mean_percent: Annotated[Percent, Number("asr_after_stop", "ASR after its end", better="lower")] = (
        None
    )
    """Mean ASR after the attack's last round: its persistence."""
    detection: Detection | None = None
    """Pooled over rounds; None when no reply was ever judged."""
    clients: ClientsSummary | None = Field(None, exclude_if=_is_none)
    """None, and not written, where no client was asked about the final model."""
    sanitizer: SanitizerSummary | None = Field(None, exclude_if=_is_none)
    """None, and not written, where nobody knows what was poisoned in the server's synthetic data."""
    split: SplitSummary | None = Field(None, exclude_if=_is_none)
    """None, and not written, where no repair split a set that was poisoned."""
    client_sanitizer: ClientSanitizerSummary | None = Field(None, exclude_if=_is_none)
    """None, and not written, where clients sanitize nothing."""
    upstream_rejected_percent: Annotated[
        Percent, Number("upstream_rejected", "upstream rejected",
                        meaning="judged replies of honest clients with poisoned data that were rejected")
    ] = Field(None, exclude_if=_is_none)  # fmt: skip
    """They count as honest in TPR and FPR; None, and not written, where there are none or nobody is judged."""
    prototypes: PrototypesSummary | None = Field(None, exclude_if=_is_none)
    """None, and not written, where there was neither pre-training nor a group too small for the rule."""
    malicious_weight_percent: Annotated[Percent, Number("attacker_weight", "attackers' weight", better="lower")] = None
    """Share of all aggregation weight that went to malicious clients while the attack was active."""
    parameters_sha256: str = ""
    seconds_total: Annotated[float, Number("seconds_total", "total", "s", "lower")] = 0.0
    seconds: dict[Line, float] = Field(default_factory=dict)
    peak_memory_mb: Megabytes = None
    bytes_down: int = 0
    bytes_up: int = 0
    dropped: dict[Line, int] = Field(default_factory=dict)
    """Cause -> number of replies."""
    excluded: dict[Line, int] = Field(default_factory=dict, exclude_if=operator.not_)
    """Partition -> rounds that it was left out of (``federation.excluded``)."""
    knowledge: dict[Line, tuple[Line, ...]] = Field(default_factory=dict)
    folder: str = ""
    epsilon: float | None = None
    """Differential privacy that all rounds together have spent, at ``delta``: of clients, not of images; None where
    nothing is promised. ``privacy`` says of what it is a bound."""
    delta: float | None = None
    private_rounds: int = 0
    """Rounds that epsilon accounts for: those that changed the model under the rule, whoever took part."""
    privacy: Line = ""

    # --- what really happened ---
    notes: tuple[Line, ...] = ()
    """What a reader of the numbers must know: the run's notes, then those that its rounds gave rise to."""
    state: Literal["ok", "unchanged", "alone", "dead", "unknown"] = "unknown"
    """unchanged: the final model is the initial one, bit for bit, though there were rounds to train it; alone: the
    server changed it, but clients were to take part and no update of theirs ever entered it; dead: the final model's
    outputs aren't finite for some images; unknown: an older record, which doesn't say.  Only numbers of runs that are
    ok or unknown are compared."""
    status: Literal["complete", "partial", "degraded"] | None = None
    """Whether all came that were asked for.  partial: some client that was asked, or that the run was set up for, gave
    no valid reply in some round; degraded: so few that federation.quorum or federation.required was missed.  None in
    older records."""
    rounds_degraded: int = 0
    """Rounds that missed the quorum."""
    lost: dict[Line, int] = Field(default_factory=dict)
    """Client -> rounds without a valid reply of it, though it was asked or should have been there."""
    never_heard: tuple[int, ...] = ()
    """Those of them that never gave a valid reply."""
    rounds_changed: int | None = None
    """Rounds that changed the global model; None in older records."""
    attack_rounds: int | None = None
    """Rounds in which at least one client attacked; None in older records."""


class Environment(Record):
    """Where the run took place (environment.json)."""

    started_utc: str = ""
    python: str = ""
    packages: dict[Line, Line] = Field(default_factory=dict)
    platform: Line = ""
    processor: Line = ""
    cpu_count: int = 0
    device: Line = ""
    device_name: Line = ""
    threads: int = 0
    git_commit: str | None = None
    git_dirty: bool | None = None
    """True when the checkout differs from its commit; None outside a checkout."""
    source_sha256: str = ""
    """Digest of the project's own Python sources: the same in a checkout and in an installed app."""
    command: tuple[Line, ...] = ()


RATES = {
    field: number
    for field, number in numbers_of(RoundRecord).items()
    if number.unit == "%" and field in RunSummary.model_fields
}
"""Rates of a model, by field: the same of a round and of a run's end."""


def interval_field(field: str) -> str:
    """The summary's field that would hold the interval of a rate, e.g. ``ma_interval_percent`` of ``ma_percent``."""
    return f"{field.removesuffix('_percent')}_interval_percent"
