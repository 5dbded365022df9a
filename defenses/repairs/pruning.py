"""Federated pruning: after training, clients say which channels they don't use, and the server silences those."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from pydantic import Field
from torch import Tensor

from defenses.base import REPAIRS, Needs, Repair, RepairContext
from fedcrucible_core.learning.channels import (
    Activation,
    LastHidden,
    drop_extreme_weights,
    last_hidden,
    silence,
)
from fedcrucible_core.learning.data import DataInfo
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.survey import Method, Survey
from fedcrucible_core.learning.vector import flatten_parameters, load_parameters

SMALLEST_DEVIATIONS = 1.0
STEP = 0.25
"""Of the extreme-weight step: where it ends, and by how much its threshold shrinks."""


@REPAIRS.register("pruning")
class Pruning(Repair):
    """Channels of the last convolution that clients' clean data leave inactive are silenced (texts: last hidden units).

    1. The server sends the final model to the clients. Each measures the mean activation of every channel of the last
       convolution (after its normalisation) on its clean images, and answers with ranks, 0 = least active (RAP), or
       with a vote for its floor(share * channels) least active ones (MVP).
    2. Ranks are averaged by channel, ``trim`` of the lowest and of the highest cut off first; votes are counted.
    3. The floor(share * channels) channels that come first are silenced: convolution, scale and shift, so that they
       output exactly zero.  Equal channels go in order of their number.
    4. With ``extreme_weights`` = Delta > 0, weights of that convolution outside mean +- Delta deviations become zero.
    With ``max_drop`` > 0 the server watches its own synthetic images: it silences one channel after another, and
    shrinks Delta in steps of 0.25 down to 1, for as long as their accuracy hasn't fallen by more than that; ``share``
    is then the most.

    In a residual network it is the last block's branch that is silenced, the shortcut stays; blocks of
    ``model.<name>.blocks`` stay too.  A model of texts has no convolution: its channels are the units that its output
    layer reads, and they are silenced by zeroing their weights there.  Of several prototypes each one's own clients are
    asked about it, and their answers merged apart.

    Malicious clients turn their answers upside down while the attack is on (the survey counts as the round after the
    last).  Fewer valid answers than ``federation.min_replies``, of all prototypes together, leave all models as they
    are; so does none at all a prototype's.  The record has the numbers before and after.  No fine-tuning follows.
    """

    paper = (("wu2020pruning", "as far as known"), ("wu2022cleansing", "published form"))
    choices = ("pruning-answers",)
    knowledge = ("honest clients' cooperation",)
    cost = "one pass of every client over its data, after the last round"
    traps = ("batch-norm affine is zeroed too: no bias leaks", "reversed ranks of liars can be trimmed")
    method: Method = Field("ranks", description="What clients answer: ranks (RAP) or votes (MVP)")
    share: float = Field(0.2, ge=0.0, lt=1.0, description="Channels that are silenced (fraction), rounded down")
    activation: Activation = Field(
        "relu", description="Mean of the positive part (relu), or of the absolute value (abs), of a channel's output"
    )
    trim: float = Field(
        0.0, ge=0.0, lt=0.5, description="Share (fraction) of ranks cut off at either end for each channel"
    )
    everyone: bool = Field(True, description="Ask all clients; false = as many as take part in a round, drawn anew")
    max_drop: float = Field(
        0.0, ge=0.0, le=100.0, description="Largest loss of accuracy (points) on the server's images; 0 = don't look"
    )
    extreme_weights: float = Field(
        0.0, ge=0.0, description="Delta: zero weights this many deviations from their mean; 0 = off"
    )

    @property
    def needs(self) -> Needs:
        """A survey; the server's own images too where it watches them."""
        return Needs(survey=self.survey, server_images=self.max_drop > 0.0)

    def survey(self, model: SplitModel, info: DataInfo) -> Survey:
        """Ask for the activity of the last hidden layer's channels. Raises ValueError when a picture's has none."""
        place = last_hidden(model, info)
        return Survey(
            module=place.module,
            received=place.received,
            channels=place.channels,
            count=self._count(place),
            method=self.method,
            activation=self.activation,
            everyone=self.everyone,
        )

    def repair(self, model: SplitModel, context: RepairContext) -> dict[str, float]:
        """Silence channels of ``model`` in place.

        Facts: ``silenced`` channels and ``extreme`` weights zeroed, with the server's accuracies before and after where
        it watches its images.
        """
        answers, accuracy = context.require_answers(), context.accuracy
        place = last_hidden(model, context.info)
        order = silencing_order(answers, self.method, self.trim)
        count = self._count(place)
        if accuracy is None or self.max_drop == 0.0:
            silence(model, place, order[:count])
            extreme = drop_extreme_weights(model, place, self.extreme_weights) if self.extreme_weights else 0
            return {"silenced": float(count), "extreme": float(extreme)}
        before = accuracy()
        allowed = before - self.max_drop
        done = 0
        for channel in order[:count]:
            if _tried(model, accuracy, allowed, partial(_silence_one, model, place, channel)) is None:
                break
            done += 1
        extreme = self._drop_extremes(model, place, accuracy, allowed) if self.extreme_weights else 0
        return {
            "silenced": float(done),
            "extreme": float(extreme),
            "server_accuracy_before_percent": before,
            "server_accuracy_after_percent": accuracy(),
        }

    def _count(self, place: LastHidden) -> int:
        return math.floor(self.share * place.channels + 1e-9)  # 0.29 * 100 is 28.999999999999996

    def _drop_extremes(
        self, model: SplitModel, place: LastHidden, accuracy: Callable[[], float], allowed: float
    ) -> int:
        total, deviations = 0, self.extreme_weights
        while deviations >= SMALLEST_DEVIATIONS:
            drop = partial(drop_extreme_weights, model, place, deviations)
            dropped = _tried(model, accuracy, allowed, drop)
            if dropped is None:
                break
            total += dropped
            deviations -= STEP
        return total


def silencing_order(answers: Tensor, method: Method, trim: float = 0.0) -> list[int]:
    """Channels in the order in which they are silenced, from clients' ranks or votes int64 ``[m, channels]``."""
    if method == "votes":
        return (-answers.sum(0)).argsort(stable=True).tolist()
    cut = int(trim * len(answers) + 1e-9)
    kept = answers.sort(dim=0).values[cut : len(answers) - cut]
    return kept.sum(0).argsort(stable=True).tolist()


def _silence_one(model: SplitModel, place: LastHidden, channel: int) -> int:
    silence(model, place, [channel])
    return 1


def _tried(model: SplitModel, accuracy: Callable[[], float], allowed: float, change: Callable[[], int]) -> int | None:
    """What a change says of its size; None, and it is undone, where the accuracy falls below ``allowed``."""
    before = flatten_parameters(model)
    size = change()
    if accuracy() >= allowed:
        return size
    load_parameters(model, before)
    return None
