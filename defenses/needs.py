"""What a defence asks of a run beside its inputs; the plan, the checks and the loop read it here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from defenses.smoothing import Smoothing
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.models.scorers import ScorerFile
from fedcrucible_core.learning.optimisers import OptimiserName
from fedcrucible_core.learning.survey import Survey
from fedcrucible_core.learning.training import LocalTraining

Question = Callable[[SplitModel, DataInfo], Survey]
"""What clients are asked about a model for a data set; raises ValueError where it doesn't fit the model."""


@dataclass(frozen=True)
class RootNeeds:
    """A root set: labelled images of the server's own."""

    kind: Literal["synthetic", "clean"]
    """synthetic: of the server's synthetic images; clean: real ones of the validation split."""
    samples: int
    """Images, stratified by class."""


@dataclass(frozen=True)
class FreshModels:
    """Models that are trained from scratch for a splitter, which sees their mean logits."""

    count: int = 1
    """How many, each with weights and order of samples of its own."""
    epochs: int = 5
    probe_epochs: int = 100
    """Epochs of a linear layer, which are cheap: embeddings are computed once."""
    on: Literal["set", "public"] = "set"
    """What they learn: the very set that is split, or the guide's own public slice."""
    score: Literal["fresh3x5", "victim-ckpt5", "true-kfold", "file"] = "fresh3x5"
    """Whose logits: ``count`` models trained on the whole set; the victim's own after ``epochs`` of its training; for
    each sample the one of ``count`` models that was trained without it; those that ``scorer`` gives."""
    scorer: ScorerFile | None = None
    """file: a model that is only run, or logits."""
    kind: Literal["model", "probe", "auto"] = "model"
    """The run's architecture; one linear layer on the guide's embeddings; auto: probe for texts, model for pictures."""
    optimiser: OptimiserName = "adam"
    lr: float = 3e-4
    momentum: float = 0.0
    weight_decay: float = 5e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    batch_size: int = 256


@dataclass(frozen=True)
class CleanNeeds:
    """A set with true labels that a repair works with.

    A repair that offers a choice calls its fields ``clean`` (the kind) and ``clean_samples``: errors name these keys.
    """

    kind: Literal["validation", "synthetic", "split"]
    """validation: real samples of the validation split, as the papers of most repairs assume; synthetic: of the
    server's own samples; split: what the splitter calls clean of the samples that the model was trained on."""
    samples: int = 0
    """How many, stratified by class; of a split 0 = all, and more than there are = all there are."""
    share: float = 1.0
    """split: the stratified share (fraction) of its clean part that is used."""
    duplicates: bool = False
    """split: every class drawn with replacement up to the largest, as CGD's code hands it on."""


@dataclass(frozen=True)
class Needs:
    """What a rule, purifier, repair or splitter needs; the default is nothing.

    A rule may ask for ``root``, ``training``, ``smoothing`` and ``model``; a purifier for ``guide`` and ``split``; a
    repair for ``server_images``, ``guide``, ``survey``, ``suspects``, ``split`` and ``clean``; a splitter for ``guide``
    and ``fresh``.
    """

    root: RootNeeds | None = None
    """A root set that the server trains on each round (``ServerView.train_root``)."""
    training: LocalTraining | None = None
    """How honest clients train; None = as without any defence."""
    smoothing: Smoothing | None = None
    """How the model is measured: None plainly, else by the vote of noisy copies."""
    model: bool = False
    """A model to put updates into and run (``ServerView.scratch``)."""
    server_images: bool = False
    """The server's synthetic images."""
    survey: Question | None = None
    """What clients are asked about the final model."""
    guide: bool = False
    """What the guide says of the samples that are worked on; of a repair's suspects, where it asks for those."""
    fresh: FreshModels | None = None
    """Models trained for it."""
    suspects: bool = False
    """The labelled samples that the model was trained on, some of them perhaps poisoned."""
    split: bool = False
    """What a splitter makes of these; of a purifier, of the server's own samples (``ServerData.clean``)."""
    clean: CleanNeeds | None = None
    """A set with true labels."""

    @property
    def may_ask_guide(self) -> bool:
        """Whether the guide is asked anything, by itself or by a model trained on its embeddings."""
        return self.guide or (self.fresh is not None and self.fresh.kind != "model")

    @property
    def splits(self) -> bool:
        """Whether something is split: for a purifier, for a repair, or for a repair's set with true labels."""
        return self.split or (self.clean is not None and self.clean.kind == "split")

    @property
    def looks_at_suspects(self) -> bool:
        """Whether a repair has to be given, or to have split, what the model was trained on."""
        return self.suspects or self.splits
