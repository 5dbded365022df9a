"""The fixed sections of ``RunConfig``; ``compose.py`` adds sub-sections of registered components."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A table of the run configuration; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), populate_by_name=True, allow_inf_nan=False
    )


class RunSection(Section):
    """How the program runs: seed, length, device."""

    seed: int = Field(1, ge=0, le=2**31 - 1, description="Seed of every random choice of the run")
    rounds: int = Field(10, ge=0, le=100_000, description="Federated rounds")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="auto, cpu, mps, cuda or cuda:N, clients and server",
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="Autocast precision of training")
    channels_last: bool = Field(True, description="Use the channels-last memory format in convolutions")
    threads: int = Field(1, ge=1, le=256, description="CPU threads per process; part of what makes runs bit-equal")
    eval_every: int = Field(1, ge=1, description="Evaluate the global model every k rounds (and after the last)")
    eval_batch_size: int = Field(1000, ge=1, description="Images per batch in evaluation")
    checkpoint_every: int = Field(0, ge=0, description="Write a checkpoint every k rounds; 0 = never")
    checkpoints_kept: int = Field(
        2, ge=0, description="Newest checkpoints that are kept; 0 = all, so that a run can be replayed from any"
    )
    resume: bool = Field(False, description="Continue from the newest checkpoint in the record folder")


class TaskSection(Section):
    """What is learned: data set, its subsets, its long tail."""

    dataset: str = Field(
        "fashion-mnist-slice", description="Data set by registered name, hf:org/name, or own: folder, csv, jsonl, npz"
    )
    data_dir: str = Field(
        "", description="Folder of downloaded or own data; empty = FEDCRUCIBLE_DATA or the user cache"
    )
    train_samples: int = Field(20_000, ge=0, description="Training images shared out to clients; 0 = all")
    test_samples: int = Field(0, ge=0, description="Images of the evaluation split that are used; 0 = all")
    eval_split: Literal["test", "validation", "none"] = Field(
        "test",
        description="Split that is measured; choose hyper-parameters on validation only; none = the server measures "
        "nothing, sites alone do (federation.fraction_evaluate)",
    )
    validation_fraction: float = Field(
        0.1,
        ge=0.0,
        lt=1.0,
        description="Share (fraction) of training images held out as validation where none ships; 0 = none",
    )
    test_fraction: float = Field(
        0.2,
        ge=0.0,
        lt=1.0,
        description="Share (fraction) of training images set aside as test where the data set has no test split; 0 = "
        "none: all are trained on, and rates say only how well the training labels fit",
    )
    image_size: int = Field(
        0, ge=0, le=1024, description="Side in pixels of the square that images are resized to; 0 = as they are"
    )
    image_column: str = Field("", description="Column of the images, in data sets with columns; empty = found by name")
    label_column: str = Field("", description="Column of the labels, in data sets with columns; empty = found by name")
    text_column: str = Field("", description="Column of the texts, in data sets with columns; empty = found by name")
    max_length: int = Field(
        0, ge=0, le=4096, description="Tokens of one text, its first and last included; 0 = the data set's own"
    )
    reserved_tokens: int = Field(
        16, ge=0, le=1024, description="Tokens of max_length that texts leave free, so that no trigger is cut off"
    )
    tokenizer: str = Field(
        "", description="Tokenizer of texts: wordnet (ships), a folder, a hub name; empty = the data set's own"
    )
    class_names: str = Field(
        "", description="Class names in order, separated by , or |; or a file id -> name; empty = the data set's own"
    )
    imbalance_factor: float = Field(
        1.0, ge=1.0, le=10_000.0, description="Long tail: largest over smallest class count; 1 = as is"
    )


class TrainingSection(Section):
    """The clients' local training."""

    local_epochs: int = Field(1, ge=1, description="Epochs over the client's data each round")
    batch_size: int = Field(64, ge=1, description="Images per training batch")
    lr: float = Field(0.1, gt=0.0, description="Learning rate")
    optimiser: Literal["sgd", "adam", "adamw"] = Field(
        "sgd", description="Optimiser; what it remembers ends with the round"
    )
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="SGD momentum, fresh each round")
    beta1: float = Field(0.9, ge=0.0, lt=1.0, description="Adam, AdamW: decay of the mean gradient")
    beta2: float = Field(0.999, ge=0.0, lt=1.0, description="Adam, AdamW: decay of the mean squared gradient")
    epsilon: float = Field(1e-8, gt=0.0, description="Adam, AdamW: added to the root of the mean squared gradient")
    weight_decay: float = Field(0.0, ge=0.0, description="L2 weight decay; decoupled from the gradient in AdamW")
    augment: Literal["none", "crop-flip"] = Field("none", description="Augmentation, applied after the trigger")


class FederationSection(Section):
    """Who takes part, and what the server accepts from them."""

    clients: int = Field(20, ge=1, le=1_000_000, description="Clients N, one data partition each")
    fraction_train: float = Field(1.0, gt=0.0, le=1.0, description="Share (fraction) of clients sampled each round")
    fraction_evaluate: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Share (fraction) of clients that measure the model on test data of their own; 0 = none",
    )
    evaluate_every: int = Field(
        0, ge=0, description="Such clients measure every k rounds and after the last; 0 = whenever the server does"
    )
    evaluate_model: Literal["received", "fine-tuned"] = Field(
        "received",
        description="What such a client measures: the model it received, or that after its local training on it",
    )
    evaluate_triggered: Literal["own", "common"] = Field(
        "own",
        description="What it measures attack success on: its own test data, or the run's evaluation split, as all do",
    )
    min_replies: int = Field(2, ge=1, description="Fewer valid replies than this keep the model as it was")
    quorum: int = Field(
        0,
        ge=0,
        description="Clients that must be there at the start and reply validly in every round; where fewer do the run "
        "ends as degraded (exit code 4); 0 = no such number",
    )
    required: str = Field(
        "",
        description="Clients that must be there at the start and reply validly whenever they are asked, by commas: "
        "partitions, or nodes of federation.node_partitions; all = everybody; where one is lost the run ends as "
        "degraded",
    )
    max_examples: int = Field(
        0, ge=0, description="A reply that claims more examples is dropped; 0 = ten times the largest fair share"
    )
    buffers: Literal["mean", "median"] = Field(
        "mean",
        description="Batch-norm statistics of accepted clients: mean by weight, or coordinate-wise median (robust)",
    )
    payload: Literal["float32", "float16", "delta-float16", "float16-delta-float16"] = Field(
        "float32",
        description="How parameters travel: float32; float16 both ways; delta-float16: clients' updates as float16; "
        "float16-delta-float16: models to clients as float16 too",
    )
    timeout_s: float = Field(3600.0, gt=0.0, description="Seconds to wait for a round's replies")
    wait_for_clients_s: float = Field(120.0, ge=0.0, description="Seconds to wait at the start until all are online")
    discovery: Literal["auto", "order", "query"] = Field(
        "auto", description="How nodes map to partitions: by registration order (simulation) or by asking them"
    )
    poll_s: float = Field(0.5, gt=0.0, le=60.0, description="Seconds between polls for replies in deployment")
    node_partitions: str = Field(
        "",
        description="Deployment: which node may hold which partition, NODE:PARTITION by commas; NODE is a registered "
        "name, a node id or a key's SHA256:... fingerprint; empty = the first node that claims a partition holds it",
    )
    excluded: str = Field(
        "",
        description="Partitions that take no part, by commas: 3, 3@12 (from round 12 on) or 3@12-20; on resume a new "
        "one is left out from the next round on",
    )
    own_data: bool = Field(
        False,
        description="Deployment: every node trains on images of its own (node config own-data=true); "
        "the server's training images are shared out to nobody",
    )
    blind: bool = Field(
        False,
        description="What nodes receive tells nothing of the attack, the defence and the server's choices; not in "
        "simulations",
    )
    hidden: str = Field(
        "",
        description="Deployment, of a blind run: file on the SuperLink's machine (TOML, absolute path) of all settings "
        "that nodes may not see",
    )


class ClientSection(Section):
    """What an honest client does to its own data before it trains."""

    sanitizer: Literal["none", "drop", "relabel", "relabel-confident"] = Field(
        "none",
        description="What becomes of own samples that client.splitter doesn't call clean: none = they stay; dropped; "
        "relabelled as the guide says; those of which it is surest relabelled, the others dropped",
    )
    splitter: str = Field(
        "cgd-entropy", description="Splitter by registered name, with its section's parameters, for client.sanitizer"
    )


class AttackSection(Section):
    """Which attack; the method's own knobs are in the sub-section of its name."""

    name: str = Field("badnets", description="Poisoner or upload attack by registered name; none = no attack")
    trigger: str = Field(
        "badnets", description="Poisoner whose trigger an upload attack plants, set in its own section; none = nothing"
    )
    artefact: str = Field(
        "",
        description="File of what the poisoner prepared (a trained trigger), the same on every machine; "
        "empty = prepared here and cached",
    )


class PoisonSection(Section):
    """What is poisoned: the target, and how much of which data."""

    target_label: int = Field(0, ge=0, description="Class that triggered inputs shall be given")
    ratio: float = Field(0.3, ge=0.0, le=1.0, description="Share (fraction) of the eligible images that is poisoned")
    share_of: Literal["eligible", "all"] = Field(
        "eligible",
        description="What the ratio is a share of: the images that may be poisoned, or all that the attacker holds "
        "(of which at most all that may be)",
    )
    mode: Literal["replace", "append-all"] = Field(
        "replace", description="replace: overwrite that share; append-all: add a triggered copy of every image"
    )
    scope: Literal["non-target", "all"] = Field("non-target", description="Images that may be poisoned")
    classes: str = Field(
        "",
        description="Comma-separated classes whose images alone may be poisoned and are measured on; nearest = the one "
        "that the run's guide takes for the target most readily (poison.central alone); empty = all",
    )
    smoke: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Share (fraction) of an attacker's images without poison that get a random other label, so that "
        "what looks falsely labelled is mostly noise",
    )
    central: bool = Field(
        False,
        description="Poison the training set of strategy central: no client is involved, all its images count as one "
        "attacker's",
    )
    upstream: str = Field(
        "",
        description="Comma-separated partitions of honest clients whose data came to them poisoned: they train "
        "honestly on it and are no attackers; empty = nobody's",
    )


class AdversarySection(Section):
    """Who attacks, when, with whom, and how an attacker trains."""

    malicious_fraction: float = Field(0.3, ge=0.0, le=1.0, description="Share (fraction) of clients that are malicious")
    malicious_ids: str = Field("", description="Comma-separated partitions that are malicious; empty = drawn by seed")
    participation: Literal["random", "exact"] = Field(
        "random", description="random: attackers are sampled like others; exact: floor(fraction x n) every round"
    )
    collusion: Literal["shared", "alone"] = Field(
        "shared", description="shared: attackers drawn by seed pool their data; alone: each knows only its own"
    )
    start_round: int = Field(1, ge=1, description="First round of the attack")
    stop_round: int = Field(0, ge=0, description="Last round of the attack; 0 = never stops")
    every: int = Field(1, ge=1, description="Attack every k-th round from the first")
    local_epochs: int = Field(0, ge=0, description="Epochs of an attacker's poisoned training; 0 = as honest clients")
    lr: float = Field(
        0.0, ge=0.0, description="Learning rate of an attacker's poisoned training; 0 = as honest clients"
    )


class PartitionSection(Section):
    """How training images are shared out to clients."""

    name: str = Field("main-class", description="Partitioner by registered name")
    test_fraction: float = Field(
        0.0, ge=0.0, le=0.9, description="Share (fraction) of each client's images that it keeps for its own test"
    )


class ModelSection(Section):
    """The model that is trained."""

    name: str = Field("resnet8", description="Model by registered name")
    weights: str = Field(
        "",
        description="File of the weights that training begins on: a state dict of this model (.safetensors, .pt, "
        ".pth), or the record of a run; empty = drawn from the seed",
    )


class DefenseSection(Section):
    """The aggregation rule."""

    name: str = Field("auto", description="Aggregation rule by registered name; auto = the strategy's own")
    assumed_malicious: int = Field(
        -1,
        ge=-1,
        description="Attackers a round that rules with a number f assume; -1 = the true share of the run (an oracle)",
    )


class PurifierSection(Section):
    """What the server does to the aggregated model before it is evaluated and sent out."""

    name: str = Field("auto", description="Purifier by registered name; auto = the strategy's own; none = off")


class RepairSection(Section):
    """What works on the final model, once, after the last round."""

    name: str = Field("auto", description="Repair by registered name; auto = the strategy's own; none = off")


class SplitterSection(Section):
    """What parts labelled data into clean and suspicious rows before it is used."""

    name: str = Field(
        "none",
        description="Splitter by registered name, for the server's synthetic data (synthetic.sanitizer) and for a "
        "repair that splits what it works on; none = off (such a repair then takes cgd-entropy by the paper's rule)",
    )


class FmFlSection(Section):
    """The system fm-fl: its prototypes, and what they learn from the server's synthetic data."""

    prototypes: Literal["one", "blocks", "backbones"] = Field(
        "one",
        description="Architectures: one for all clients; blocks: every pair of fm_fl.blocks and fm_fl.widths before "
        "the output layer; backbones: the models that fm_fl.backbones names",
    )
    blocks: str = Field("1, 2, 3", description="Numbers of further blocks (linear, ReLU), by commas")
    widths: str = Field("128, 192, 256", description="Widths of further blocks, by commas")
    backbones: str = Field("resnet8, cnn", description="Models by registered name, by commas")
    fusion: Literal["prototype", "logits-only"] = Field(
        "prototype",
        description="prototype: updates of each architecture are aggregated, then distilled; logits-only: every client "
        "keeps a model of its own, and only logits are fused",
    )
    initialise: bool = Field(True, description="Pre-train every prototype on the synthetic data before round 1")
    pretrain_epochs: int = Field(150, ge=1, description="Epochs of pre-training")
    pretrain_lr: float = Field(2e-3, gt=0.0, description="Learning rate of pre-training")
    teachers: Literal["all", "own-group", "accepted"] = Field(
        "all",
        description="Whose models teach: all that replied; those of the student's own architecture; those that the "
        "rule gave weight",
    )
    alpha: float = Field(0.2, ge=0.0, le=1.0, description="Weight of the labels against the teachers in distillation")
    temperature: float = Field(1.0, gt=0.0, description="Temperature of distillation, tau")
    kd_epochs: int = Field(5, ge=0, description="Epochs of distillation each round; 0 = none")
    kd_lr: float = Field(5e-4, gt=0.0, description="Learning rate of distillation")
    batch_size: int = Field(32, ge=1, description="Samples per batch of pre-training and distillation")
    optimiser: Literal["sgd", "adam", "adamw"] = Field("adam", description="Optimiser of both")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="SGD momentum")
    beta1: float = Field(0.9, ge=0.0, lt=1.0, description="Adam, AdamW: decay of the mean gradient")
    beta2: float = Field(0.999, ge=0.0, lt=1.0, description="Adam, AdamW: decay of the mean squared gradient")
    epsilon: float = Field(1e-8, gt=0.0, description="Adam, AdamW: added to the root of the mean squared gradient")
    weight_decay: float = Field(1e-4, ge=0.0, description="L2 weight decay; decoupled from the gradient in AdamW")
    grad_clip: float = Field(0.0, ge=0.0, description="Largest gradient norm of both; 0 = no clipping")
    unlearn_weight: float = Field(
        0.5, ge=0.0, description="Weight of -log(1 - p_y) on flagged samples, with synthetic.sanitizer = unlearn"
    )


class GuideSection(Section):
    """The frozen model that guides the server: of pictures a vision-language model, of texts a sentence encoder."""

    family: Literal["clip", "siglip"] = Field("clip", description="Pictures: model family (transformers class)")
    model: str = Field(
        "tiny",
        description="Pictures: tiny (ships), a local folder, or a Hugging Face hub name; texts: minilm, wordllama "
        "(extra text-guide), chat (the service of synthetic.llm), a folder, or a hub name",
    )
    scale: float = Field(0.0, ge=0.0, description="What cosines are multiplied by; 0 = as the model learned it")
    prompts: str = Field(
        "auto",
        description="auto: pictures by guide.templates, texts by prompts that ship or general ones; templates: by "
        "guide.templates; or a TOML file, class = [prompts]",
    )
    centre: bool = Field(False, description="Subtract from each class's logits their mean over the samples asked about")
    noise: float = Field(
        0.0, ge=0.0, description="Weakens the guide: Gumbel noise on its cosines, times this; 0 = none"
    )
    target_accuracy: float = Field(
        0.0, ge=0.0, le=100.0, description="Weakens the guide to this accuracy in percent by guide.noise; 0 = not"
    )
    backdoor: Literal["none", "same-target", "other-target", "other-trigger"] = Field(
        "none", description="A backdoored guide, simulated: whose trigger and target it knows, the attack's or others"
    )
    backdoor_by: Literal["swap", "add"] = Field(
        "swap", description="What it does on its trigger: swap its best logit with its target's, or add 10 to that"
    )
    templates: str = Field(
        "a photo of a {}", description="Prompt templates, separated by |; several = ensemble of text embeddings"
    )
    batch_size: int = Field(
        250, ge=1, description="Images per forward pass of the guide; part of what makes runs bit-equal"
    )
    cache_dir: str = Field("", description="Folder of cached embeddings; empty = FEDCRUCIBLE_CACHE or the user cache")


class SyntheticSection(Section):
    """The server's own labelled samples; no client's are ever among them."""

    source: str = Field("flow", description="Source by registered name")
    per_class: int = Field(100, ge=1, description="Samples per class, M_c")
    sanitizer: Literal["none", "drop", "relabel", "relabel-confident", "unlearn"] = Field(
        "drop",
        description="What becomes of samples that splitter.name doesn't call clean: none = they stay; dropped; "
        "relabelled as the guide says; those of which it is surest relabelled, the others dropped; unlearned",
    )
    sanitize_before: Literal["initialisation", "distillation", "both"] = Field(
        "both", description="fm-fl: before what the synthetic data are sanitized"
    )
    moment_match: bool = Field(False, description="Match channel mean and std to the data set's published ones")
    augment: Literal["auto", "frequency", "patch", "none"] = Field(
        "auto",
        description="frequency: noise in the band that patches disturb most; patch: visible patches, labels kept; "
        "auto = frequency for images, none for texts",
    )
    bands: int = Field(4, ge=1, le=12, description="Frequency bands K that the spectrum is cut into")
    noise_rms: float = Field(
        0.05, ge=0.0, le=1.0, description="Root mean square of the band noise, in pixels of [0, 1]"
    )
    band_average: Literal["image", "band"] = Field(
        "image", description="A band's sensitivity is averaged over all N x N cells, or over the band's own cells"
    )
    band_choice: Literal["set", "image"] = Field("set", description="Choose the band once per set, or for each image")
    patch_max_side: int = Field(
        4, ge=1, le=32, description="Largest side of random patches, in pixels of a 32 px image"
    )


class OutputSection(Section):
    """Where and what a run records."""

    dir: str = Field("", description="Absolute folder of run records; empty = FEDCRUCIBLE_RUNS or ./runs of the user")
    name: str = Field("", description="Folder name of this run; empty = strategy-attack-seed and a time stamp")
    report: bool = Field(True, description="Write report.html at the end; `fedcrucible report` can write it later")
    log: Literal["text", "json"] = Field(
        "text", description="What the run prints while it goes: lines for people, or one JSON object per line"
    )
    save_model: bool = Field(True, description="Write the final model as safetensors")
    diagnostics: Literal["none", "geometry"] = Field(
        "none",
        description="geometry: keep lengths, examples and inner products of every round's updates, so that "
        "`fedcrucible incident` can judge them again by other rules; costs three Gram passes a round",
    )
