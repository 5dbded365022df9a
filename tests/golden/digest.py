"""Digest of a run: what must stay equal when code moves, and how far another processor may be off."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors.numpy import load_file

from fedcrucible.engines.in_process import run_in_process
from fedcrucible_core.config.load import load
from fedcrucible_core.learning.vector import parameter_slots
from fedcrucible_core.records import files
from fedcrucible_core.records.environment import collect_environment
from fedcrucible_core.records.reader import read
from fedcrucible_core.records.schema import RoundRecord, RunSummary
from server_app.plan import Plan
from tests.golden.cells import CELLS, STOPPED, Scalar, Settings

DIGESTS = Path(__file__).with_name("digests.json")
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "hdbscan", "transformers", "flwr")
"""Packages whose version may change the last bit of a number."""
TIMES = {"seconds": True, "peak_memory_mb": True, "per_client": {"client_seconds", "sanitizer_seconds"}}
"""What differs between two equal runs."""
FROM_THE_CACHE = ("pretrained.computed", "pretrained.cached")
"""Facts that say what was found on disk."""
PROJECTIONS, SEED = 8, 20240
VECTOR_TOLERANCE = 1e-3
"""Elsewhere: of norm and projection, relative to the recorded norm."""
RATE_TOLERANCE = 2.0
"""Elsewhere: of MA, ASR and base rate, in points."""
RATES = ("ma_percent", "asr_percent", "base_rate_percent")


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Digest(_Stored):
    """One run's numbers."""

    parameters_sha256: str
    """Of the final parameters and buffers."""
    metrics_sha256: str
    """Of all rounds without their times."""
    ma_percent: float | None
    asr_percent: float | None
    base_rate_percent: float | None
    parameters: int
    norm: float
    projection: tuple[float, ...]
    """G v / sqrt(d) for the final parameters v ``[d]`` and a fixed Gaussian G ``[8, d]``; each about norm / sqrt(d)."""


class Machine(_Stored):
    """Where numbers are equal bit for bit: the processor, the vector instructions used, versions."""

    processor: str
    vector_instructions: str
    python: str
    packages: dict[str, str]


class Golden(_Stored):
    """The file of digests."""

    machine: Machine
    runs: dict[str, Digest]

    def text(self) -> str:
        """As it stands in the file."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


def this_machine() -> Machine:
    """What this process computes with."""
    found = collect_environment()
    return Machine(
        processor=f"{found.processor}{_generation()}",
        vector_instructions=torch.backends.cpu.get_cpu_capability(),
        python=found.python,
        packages={name: found.packages.get(name, "") for name in PACKAGES},
    )


def _generation() -> str:
    """Family and model number, for names of virtual processors that say neither; empty where it isn't known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return "".join(f", {key} {facts[key]}" for key in ("cpu family", "model") if key in facts)


def recorded() -> Golden:
    """The digests that are written down."""
    return Golden.model_validate_json(DIGESTS.read_text(encoding="utf-8"))


# --- taking a digest --------------------------------------------------------------------------------------------------


def play(name: str, records: Path, changes: Mapping[str, Scalar] = MappingProxyType({})) -> Digest:
    """Run a cell in this process, with ``changes``, its record in a folder of its name under ``records``."""
    settings: Settings = {**CELLS[name], **changes, "output.dir": str(records), "output.name": name}
    if name in STOPPED:
        run_in_process(Plan.make(load({**settings, "run.rounds": STOPPED[name][1]})))
        settings["run.resume"] = True
    return digest_of(run_in_process(Plan.make(load(settings))), settings)


def digest_of(summary: RunSummary, settings: Settings) -> Digest:
    """The digest of a finished run, whatever engine it ran on."""
    folder = Path(summary.folder)
    vector = _final_parameters(folder, settings)
    return Digest(
        parameters_sha256=summary.parameters_sha256,
        metrics_sha256=metrics_sha256(read(folder, arrays=False).rounds),
        **{rate: getattr(summary, rate) for rate in RATES},
        parameters=len(vector),
        norm=_rounded(math.sqrt(float(np.square(vector).sum()))),
        projection=tuple(_rounded(float(value)) for value in project(vector)),
    )


def metrics_sha256(rounds: tuple[RoundRecord, ...]) -> str:
    """SHA-256 of the rounds as canonical JSON, times and values that are defaults left out."""
    # Without defaults a field that a later version adds changes no digest of runs that don't use it.
    dumped = [r.model_dump(mode="json", exclude=TIMES, exclude_defaults=True) for r in rounds]
    for facts in (line.get("facts", {}) for line in dumped):
        for name in FROM_THE_CACHE:
            facts.pop(name, None)
    return hashlib.sha256(json.dumps(dumped, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def project(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """A few fixed combinations ``[8]`` of a vector ``[d]``, that say more of it than its norm."""
    # Sums of products instead of a matrix product, whose last bits depend on the library behind it.
    sums: NDArray[np.float64] = (_gaussian(len(vector)) * vector).sum(axis=1) / math.sqrt(len(vector))
    return sums


@lru_cache(maxsize=8)
def _gaussian(size: int) -> NDArray[np.float64]:
    return np.random.default_rng(SEED).standard_normal((PROJECTIONS, size))


def _final_parameters(folder: Path, settings: Settings) -> NDArray[np.float64]:
    """The recorded model's trainable parameters ``[d]`` in the model's own order, whatever their names are."""
    stored = load_file(folder / files.MODEL)
    slots = parameter_slots(Plan.make(load(settings)).model())
    return np.concatenate([stored[slot.name].reshape(-1) for slot in slots]).astype(np.float64)


def _rounded(value: float) -> float:
    return float(f"{value:.10g}")


# --- comparing two ----------------------------------------------------------------------------------------------------


def differences(name: str, golden: Digest, found: Digest, *, exact: bool, rounds: bool = True) -> list[str]:
    """One line per figure that is not as recorded: run, figure, both values; empty when the digests agree.

    Args:
        exact: on the machine that the digests come from every figure must be equal.  Elsewhere hashes say nothing;
            vectors and rates are compared within ``VECTOR_TOLERANCE`` and ``RATE_TOLERANCE``.
        rounds: whether ``metrics_sha256`` counts; other engines may record other facts of a round.
    """
    wrong = _unequal(golden, found) if exact else _far(golden, found)
    return [
        f"{name}: {figure} is {getattr(found, figure)}, recorded {getattr(golden, figure)}"
        for figure in wrong
        if rounds or figure != "metrics_sha256"
    ]


def _unequal(golden: Digest, found: Digest) -> Iterator[str]:
    return (figure for figure in Digest.model_fields if getattr(golden, figure) != getattr(found, figure))


def _far(golden: Digest, found: Digest) -> Iterator[str]:
    if found.parameters != golden.parameters:
        yield "parameters"
    # Not `> tolerance`, which NaN would pass.
    if not abs(found.norm - golden.norm) <= VECTOR_TOLERANCE * golden.norm:
        yield "norm"
    # Projections are of size norm / sqrt(d): with d = 5000 vectors 7 % apart are told apart.  Closer would fail for
    # rounding alone: with other vector instructions 2 % were measured where a rule or an attack ranks and chooses.
    allowed = VECTOR_TOLERANCE * golden.norm
    pairs = zip(golden.projection, found.projection, strict=False)
    if len(golden.projection) != len(found.projection) or not all(abs(a - b) <= allowed for a, b in pairs):
        yield "projection"
    for rate in RATES:
        old, new = getattr(golden, rate), getattr(found, rate)
        if (old is None) != (new is None) or (old is not None and not abs(new - old) <= RATE_TOLERANCE):
            yield rate
