"""Checkpoints of a run: the population and what everybody remembers, attackers included; kept, and gone on from."""

from __future__ import annotations

from collections.abc import Iterable
from logging import WARNING

from flwr.common.logger import log
from flwr.serverapp import Grid

from strategies import attack_memory
from strategies.outcome import Checkpoint
from strategies.parts import Parts
from strategies.population import Standing, State, nbytes
from strategies.roster import Roster

MEMORY_LIMIT_S = 60.0
"""Seconds to wait for attackers' memory when a checkpoint is written."""


class Checkpoints:
    """Hands checkpoints to the observers, and a checkpoint back to those it came from."""

    def __init__(self, parts: Parts, roster: Roster) -> None:
        self.parts = parts
        self.roster = roster

    def due(self, server_round: int) -> bool:
        """Whether the settings ask for a checkpoint after this round."""
        every = self.parts.config.run.checkpoint_every
        return bool(every) and server_round % every == 0

    def keep(self, server_round: int, standing: Standing, grid: Grid) -> None:
        """Tell the observers how the run stands after a round."""
        memories: dict[str, State] = {}
        if self.parts.attackers_remember:
            attackers, most = self.roster.attackers(grid), nbytes(standing.population)
            memories, problems = attack_memory.ask(self._asking(grid), attackers, most)
            self._note(problems)
        for observer in self.parts.observers:
            observer.on_checkpoint(Checkpoint(server_round, standing.population, standing.states | memories))

    def restore(self, checkpoint: Checkpoint, standing: Standing, grid: Grid) -> None:
        """Let the run stand as it did when a checkpoint was kept."""
        standing.population = checkpoint.population
        standing.states |= attack_memory.without_memories(checkpoint.states)
        if self.parts.attackers_remember:
            attackers = self.roster.attackers(grid)
            self._note(attack_memory.give_back(self._asking(grid), attackers, checkpoint.states))

    def _asking(self, grid: Grid) -> attack_memory.Send:
        limit = min(self.parts.config.federation.timeout_s, MEMORY_LIMIT_S)
        return lambda messages: self.roster.send(grid, messages, limit).by_node

    def _note(self, texts: Iterable[str]) -> None:
        for text in texts:
            log(WARNING, "%s", text)
            for observer in self.parts.observers:
                observer.on_note(text)
