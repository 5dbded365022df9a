"""Writing a run's folder while the run goes."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel
from safetensors.torch import save
from torch import Tensor

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.vector import Slot
from fedcrucible_core.learning.weights import Weights
from fedcrucible_core.records import checkpoint, diagnostics, files
from fedcrucible_core.records.checkpoint import BOUNDS
from fedcrucible_core.records.environment import collect_environment
from fedcrucible_core.records.events import node_names
from fedcrucible_core.records.location import claimed_folder, run_folder
from fedcrucible_core.records.model_digest import model_sha256
from fedcrucible_core.records.reader import (
    DamagedRecordError,
    RecordedRun,
    parsed,
    read,
    read_lines,
    read_rounds,
)
from fedcrucible_core.records.schema import (
    AllExampleTexts,
    Environment,
    ExampleTexts,
    RoundRecord,
    RunDescription,
    RunSummary,
)
from fedcrucible_core.records.site_matrix import site_matrix
from fedcrucible_core.records.summary import summarize
from fedcrucible_core.records.synthetic import SyntheticExamples
from fedcrucible_core.records.tensor_bytes import tensor_bytes

NOT_REPEATED = ("output.dir", "output.name", "run.resume")
"""Keys left out of config.toml, so that running it again makes a new record."""


@dataclass(frozen=True)
class RunRecord:
    """A run's record folder, open for writing; every method leaves complete files behind."""

    folder: Path

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, output: OutputSection, *, strategy: str, attack: str, seed: int, resume: bool = False
    ) -> Iterator[RunRecord]:
        """The run's folder, with no other run writing to it meanwhile (see ``location.claimed_folder``).

        Raises ConfigError when it can't be used.
        """
        with claimed_folder(output, strategy, attack, seed, resume=resume) as folder:
            files.remove_parts(folder)
            yield cls(folder)

    @classmethod
    def create(cls, output: OutputSection, *, strategy: str, attack: str, seed: int, resume: bool = False) -> RunRecord:
        """Make the run's folder without holding it (see ``location.run_folder``). Raises ConfigError."""
        return cls(run_folder(output, strategy, attack, seed, resume=resume))

    def write_run(self, run: RunDescription) -> None:
        """Write run.json: what the run is."""
        self._write_json(files.RUN, run)

    def write_config(
        self, values: Mapping[str, Scalar], defaults: Mapping[str, Scalar] | None = None, *, runnable: bool = True
    ) -> None:
        """Write the flat configuration: config.json (with defaults, for reports) and config.toml (to run it again).

        Settings that are no whole run of ours (not ``runnable``) are in config.json alone.
        """
        content = {"values": dict(values), "defaults": dict(defaults or {})}
        write_atomic(self.folder / files.CONFIG, (json.dumps(content, indent=1) + "\n").encode())
        if not runnable:
            return
        lines = ["# Run again with: flwr run . --run-config <this file>"]
        lines += [f"{key} = {_toml(value)}" for key, value in sorted(values.items()) if key not in NOT_REPEATED]
        write_atomic(self.folder / files.CONFIG_TOML, ("\n".join(lines) + "\n").encode())

    def write_environment(self, device: str = "", threads: int = 0) -> Environment:
        """Write environment.json for this process; ``device`` is what the run computes on."""
        found = collect_environment(device, _device_name(device), threads or torch.get_num_threads())
        self._write_json(files.ENVIRONMENT, found)
        return found

    def append_round(self, record: RoundRecord) -> None:
        """Append one line to metrics.jsonl and bring it to the disk."""
        files.append_line(self.folder / files.METRICS, record.model_dump_json().encode())

    def rounds(self) -> list[RoundRecord]:
        """The rounds recorded so far."""
        return read_rounds(self.folder / files.METRICS)

    def rewind(self, round: int) -> None:
        """Forget all that came after ``round``: later rounds, repairs, checkpoints, the summary; -1 forgets them all.

        Raises DamagedRecordError as ``lines_up_to`` does, and OSError on a full disk; then nothing is forgotten.
        """
        kept = self.lines_up_to(round)
        files.require_room(self.folder)
        for made_at_the_end in (files.SUMMARY, files.SITES, files.SPLIT, files.SPLIT_FACTS):
            (self.folder / made_at_the_end).unlink(missing_ok=True)
        checkpoint.forget_after(self.folder / files.CHECKPOINTS, round)
        diagnostics.forget_diagnostics(self.folder / files.DIAGNOSTICS, round)
        write_atomic(self.folder / files.METRICS, b"".join(line + b"\n" for line in kept))

    def lines_up_to(self, round: int) -> list[bytes]:
        """The lines of training rounds 0 to ``round`` as they stand in metrics.jsonl; none for -1.

        Raises DamagedRecordError when one is damaged, missing or there twice.
        """
        path = self.folder / files.METRICS
        found = read_lines(path, round) if round >= 0 else []
        if [(record.stage, record.round) for record, _ in found] != [("training", i) for i in range(round + 1)]:
            raise DamagedRecordError(f"{path} doesn't hold rounds 0 to {round}, each once and in order")
        return [line for _, line in found]

    def write_model(
        self, model: Weights, parameter_slots: Sequence[Slot], buffer_slots: Sequence[Slot], prototype: str = ""
    ) -> str:
        """Write model.safetensors with the model's own tensor names and shapes; returns ``model_sha256``.

        Of several prototypes all but the first have files of their own, model-PROTOTYPE.safetensors.  Bounds on
        activations are there as ``bounds.<module>``.
        """
        tensors = {slot.name: _cut(model.parameters, slot) for slot in parameter_slots}
        tensors.update({slot.name: _cut(model.buffers, slot) for slot in buffer_slots})
        tensors.update({f"{BOUNDS}{module}": bound.contiguous().clone() for module, bound in model.bounds.items()})
        digest = model_sha256(model)
        path = self.folder / (files.MODEL if not prototype else files.model_of(prototype))
        write_atomic(path, tensor_bytes(tensors, {"format": "pt", "sha256": digest}))
        return digest

    def save_examples(self, images: Mapping[str, Tensor], labels: Mapping[str, Tensor] | None = None) -> None:
        """Keep example images for the report: kind -> ``[n, C, H, W]``, uint8 or float in [0, 1].

        Kinds are shown in the given order, e.g. clean, triggered, synthetic, augmented. The i-th images of "clean" and
        "triggered" should be the same image. ``labels``: kind -> int64 ``[n]``.
        """
        tensors = {}
        for place, (kind, batch) in enumerate(images.items()):
            pixels = batch if batch.dtype == torch.uint8 else batch.clamp(0, 1).mul(255.0).round()
            tensors[f"{place}-{kind}.images"] = pixels.to("cpu", torch.uint8).contiguous().clone()
            if labels is not None and kind in labels:
                tensors[f"{place}-{kind}.labels"] = labels[kind].to("cpu", torch.int64).contiguous().clone()
        write_atomic(self.folder / files.EXAMPLES, save(tensors))

    def save_texts(self, kinds: Sequence[ExampleTexts]) -> None:
        """Keep example texts for the report, kinds in the order in which they are shown.

        The i-th texts of "clean" and "triggered" should be the same text.
        """
        self._write_json(files.TEXTS, AllExampleTexts(kinds=tuple(kinds)))

    def save_synthetic(self, examples: SyntheticExamples) -> None:
        """Keep some of the server's synthetic samples for the report, with what was done to them."""
        self._write_json(files.SYNTHETIC, examples)

    def save_embedding(self, name: str, features: Tensor, labels: Tensor, triggered: Tensor) -> None:
        """Keep features ``[n, D]`` for a feature plot; several names make several panels, in the order of saving.

        ``labels`` are true classes, ``triggered`` marks images that carry the trigger (see ``embedding_sample``).
        """
        if not len(features) == len(labels) == len(triggered):
            raise ValueError(f"{len(features)} features, {len(labels)} labels, {len(triggered)} trigger marks")
        plain = re.sub(r"[^\w.,+() -]+", "_", name)
        folder = self.folder / files.EMBEDDINGS
        known = {path.stem.partition("-")[2]: path for path in folder.glob("*.safetensors")}
        path = known.get(plain, folder / f"{len(known):03d}-{plain}.safetensors")
        tensors = {
            "features": features.detach().to("cpu", torch.float32).contiguous().clone(),
            "labels": labels.to("cpu", torch.int64).contiguous().clone(),
            "triggered": triggered.to("cpu", torch.uint8).contiguous().clone(),
        }
        write_atomic(path, save(tensors))

    def write_diagnostics(self, round: int, found: diagnostics.Diagnostics) -> Path:
        """Keep what other rules need to judge a round's updates again."""
        return diagnostics.write_diagnostics(self.folder / files.DIAGNOSTICS, round, found)

    def write_checkpoint(self, content: checkpoint.Checkpoint, keep: int = 2) -> Path:
        """Write a checkpoint in one step; the newest ``keep`` are kept, all with 0."""
        return checkpoint.write_checkpoint(self.folder / files.CHECKPOINTS, content, keep=keep)

    def latest_checkpoint(
        self, damaged: Callable[[str], None] = lambda _: None, before: int | None = None
    ) -> checkpoint.Checkpoint | None:
        """The newest whole checkpoint (of a round earlier than ``before``), or None.

        ``damaged`` is told of those that were passed over.
        """
        return checkpoint.latest_checkpoint(self.folder / files.CHECKPOINTS, damaged, before)

    def write_summary(self, parameters_sha256: str = "", seconds_total: float | None = None) -> RunSummary:
        """Summarise run.json and metrics.jsonl into summary.json."""
        run = parsed(self.folder / files.RUN, RunDescription)
        summary = summarize(
            run,
            self.rounds(),
            parameters_sha256=parameters_sha256,
            seconds_total=seconds_total,
            folder=str(self.folder),
        )
        self._write_json(files.SUMMARY, summary)
        return summary

    def write_sites(self) -> None:
        """Write sites.json, the site matrix; nothing where no client was ever asked what the model is worth to it."""
        matrix = site_matrix(self.rounds(), node_names(self.folder / files.EVENTS))
        if matrix.rounds:
            self._write_json(files.SITES, matrix)

    def read(self) -> RecordedRun:
        """Everything written so far."""
        return read(self.folder)

    def _write_json(self, name: str, model: BaseModel) -> None:
        write_atomic(self.folder / name, (model.model_dump_json(indent=1) + "\n").encode())


def _cut(vector: Tensor, slot: Slot) -> Tensor:
    part = vector[slot.start : slot.stop].detach().cpu().reshape(slot.shape)
    return part.round().to(torch.int64) if slot.is_counter else part.contiguous().clone()


def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return ""
    try:
        return torch.cuda.get_device_name(torch.device(device))
    except (RuntimeError, AssertionError, ValueError):
        return ""


def _toml(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
