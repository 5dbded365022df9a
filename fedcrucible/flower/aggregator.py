"""What the server does with a round's replies: rule, server optimiser, purifier; and what they remember."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import WARNING
from typing import Literal, cast

import numpy as np
import torch
from flwr.app import ArrayRecord
from flwr.common.logger import log
from torch import Tensor

from defenses.updates import ServerView, State
from fedcrucible.flower.aggregation import Judgement, Sent, judged
from fedcrucible.flower.configured import Defence
from fedcrucible.flower.layout import Columns, Layout, output_layer, tied
from fedcrucible.flower.memory import Memory
from fedcrucible.flower.on_disk import DiskRoom
from fedcrucible.flower.server_optimiser import ServerOptimiser
from fedcrucible.flower.server_side import ServerSide
from fedcrucible.flower.uploads import Upload
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.plain_text import plain_text
from fedcrucible_core.learning.models.base import SplitModel
from fedcrucible_core.learning.rng import torch_generator
from fedcrucible_core.learning.weights import Weights
from strategies.arrays import values_of
from strategies.outcome import RoundOutcome
from strategies.rule_step import FAILURES
from strategies.timing import timed

RULE, PURIFIER, INNER = "rule", "purifier", "inner"
"""Whose a state is."""


@dataclass
class Aggregator:
    """The server's side of all rounds; arrays in, arrays out."""

    defence: Defence
    side: ServerSide
    optimiser: ServerOptimiser | None
    buffers: Sequence[str | int]
    room: DiskRoom | None = None
    """Where updates lie; None = in memory."""
    states: dict[str, State] = field(default_factory=dict)
    """What rule and purifier remember."""
    rounds: int = 0
    """How many there shall be; 0 = unknown."""
    initial: ArrayRecord | None = None
    arrays: ArrayRecord | None = None
    """What was sent last."""
    facts: dict[str, float] = field(default_factory=dict)
    """What was prepared, for the record of the first round."""
    _layout: Layout | None = None
    _copies: dict[str, str] | None = None
    """Which weights are tied; None = not known yet."""
    _prepared: bool = False

    def begin(self, rounds: int) -> None:
        """Another run begins: nothing of an earlier one is remembered."""
        self.rounds, self.states = rounds, {}
        self.initial = self.arrays = self._layout = self._copies = None
        if self.optimiser is not None:
            self.optimiser.begin()

    @property
    def layout(self) -> Layout:
        """Of what is sent. Raises ConfigError before anything was."""
        if self._layout is None:
            allowed = "after configure_train: an update is what a client changed of the arrays that were sent"
            raise ConfigError("aggregate_train", "called", allowed)
        return self._layout

    def look_at(self, arrays: ArrayRecord) -> None:
        """Know what is sent next; before the first round also prepare the server's data.

        Raises ConfigError for arrays that no rule can judge, or that don't fit the model.
        """
        model = self.side.model
        if model is not None and set(model.keys) != set(arrays):
            model.bind(arrays)
        found = Layout.of(arrays, self.buffers, None if model is None else model.statistics)
        if self._layout is not None and not self._layout.fits(found):  # another model than before
            self.states.pop(RULE, None)
            self._copies = None
        self._layout, self.arrays = found, arrays
        if self.initial is None:
            self.initial = arrays
        if not self._prepared:
            self.facts, self._prepared = self.side.prepare(), True

    def weights(self, arrays: ArrayRecord) -> Weights:
        """Arrays as the record's files know a model: learned entries, and all others, float32."""

        def flat(*parts: str) -> Tensor:
            chosen = [values_of(arrays[e.key]).reshape(-1) for e in self.layout.entries if e.part in parts]
            return torch.from_numpy(
                np.concatenate([*chosen, np.zeros(0, np.float32)], dtype=np.float32, casting="unsafe")
            )

        return Weights(flat("learned"), flat("statistic", "integer", "flag"))

    def new_arrays(
        self, uploads: dict[int, Upload], outcome: RoundOutcome, asked: int, online: int
    ) -> ArrayRecord | None:
        """The arrays that follow from valid uploads, by client; None where the model stays, and why is noted."""
        if not uploads:
            outcome.notes.append("no valid reply: the model is kept")
            return None
        try:
            with timed(outcome, "aggregate"):
                made = self._aggregated(uploads, outcome, asked, online)
            if outcome.restarted:
                return made
            with timed(outcome, "server"):
                return self._purified(made, outcome)
        except FAILURES as error:
            outcome.notes.append(f"rule {self.defence.rule.name}: {plain_text(error)}; the model is kept")
            log(WARNING, "round %d: %s", outcome.round, outcome.notes[-1])
            return None
        finally:
            for upload in uploads.values():
                upload.release()

    def compared(self, arrays: ArrayRecord | None) -> Literal["changed", "kept", "initial"]:
        """What became of the model, bit for bit: as ``RoundOutcome.model`` says it; None = it stays."""
        sent, initial = self.arrays, self.initial
        now = sent if arrays is None else arrays
        if now is None or initial is None or _same(now, initial):
            return "initial"
        return "kept" if sent is not None and _same(now, sent) else "changed"

    def memory(self) -> dict[str, Mapping[str, Tensor]]:
        """All that is remembered from round to round, by whose it is."""
        inner = {} if self.optimiser is None else self.optimiser.state
        return {owner: dict(named) for owner, named in (*self.states.items(), (INNER, inner)) if named}

    def restore(self, memory: Memory) -> None:
        """Go on with what another process knew."""
        states = memory.states
        self.arrays, self.initial = memory.arrays, memory.initial or self.initial
        self.states = {owner: named for owner, named in states.items() if owner != INNER}
        if self.optimiser is not None:
            self.optimiser.restore(states.get(INNER, {}))

    def _aggregated(self, uploads: dict[int, Upload], outcome: RoundOutcome, asked: int, online: int) -> ArrayRecord:
        judgement = self._judged(uploads, outcome, asked, online)
        result = judgement.result
        self.states[RULE] = result.state
        outcome.weights = {client: float(w) for client, w in zip(uploads, result.weights, strict=True)}
        outcome.per_client = dict(result.per_client)
        outcome.facts |= {f"{RULE}.{name}": value for name, value in result.facts.items()}
        if result.restart:
            assert self.initial is not None
            outcome.restarted = True
            outcome.notes.append("training starts over from the initial model")
            self.states.pop(PURIFIER, None)
            if self.optimiser is not None:
                self.optimiser.begin()
            return self.initial
        if self.optimiser is None or not any(outcome.weights.values()):
            return judgement.arrays
        return self.optimiser.moved(outcome.round, judgement.arrays, self.layout)

    def _judged(self, uploads: dict[int, Upload], outcome: RoundOutcome, asked: int, online: int) -> Judgement:
        arrays, model = self.arrays, self.side.model
        assert arrays is not None
        if model is None:
            copies = tied(self.layout, arrays, [upload.arrays for upload in uploads.values()])
            order = [entry.key for entry in self.layout.learned]
        else:
            copies, order = model.copies, model.order
        if self._copies is not None and copies != self._copies and self.states.get(RULE):
            outcome.notes.append("other weights are tied than before: the rule's memory begins anew")
            self.states[RULE] = {}
        self._copies = copies
        columns = Columns.of([self.layout.by_key[key] for key in order if key in self.layout.by_key], copies)
        sent = Sent(self.layout, columns, arrays, outcome.round)
        slots, output = output_layer(columns.slots)
        config = self.defence.config
        view = ServerView(
            slots=slots,
            clients=online,
            sampled=asked,
            rounds=self.rounds,
            assumed_malicious=config.defense.assumed_malicious,
            output=output,
        )
        return judged(
            self.defence.rule,
            sent,
            uploads,
            self.states.get(RULE, {}),
            torch_generator(config.run.seed, RULE, outcome.round),
            self.side.view(view, arrays, outcome.round),
            config.federation.buffers,
            self.room,
        )

    def _purified(self, arrays: ArrayRecord, outcome: RoundOutcome) -> ArrayRecord:
        phase, model = self.side.phase, self.side.model
        if phase is None or model is None:
            return arrays
        model.load(arrays)
        rng = torch_generator(self.defence.config.run.seed, "purify", outcome.round)
        try:
            result = phase.run(cast(SplitModel, model.module), rng, dict(self.states.get(PURIFIER, {})))
        except FAILURES as error:
            outcome.notes.append(f"server phase discarded: {plain_text(error)}")
            log(WARNING, "round %d: %s", outcome.round, outcome.notes[-1])
            return arrays
        self.states[PURIFIER] = result.state
        outcome.facts |= {f"{PURIFIER}.{name}": value for name, value in result.facts.items()}
        return model.arrays(arrays)


def _same(one: ArrayRecord, other: ArrayRecord) -> bool:
    return one is other or (one.keys() == other.keys() and all(a.data == other[key].data for key, a in one.items()))
