"""A realistic record made of invented numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fedcrucible_core.config.sections import OutputSection
from fedcrucible_core.records.detection import detection
from fedcrucible_core.records.sampling import embedding_sample
from fedcrucible_core.records.schema import RoundRecord, RunDescription
from fedcrucible_core.records.writer import RunRecord

CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CLIENTS, MALICIOUS, TARGET = 20, (2, 5, 9, 11, 14, 17), 0
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"

RecordMaker = Callable[..., Path]


def invented_round(number: int, rounds: int, defended: bool, rng: np.random.Generator) -> RoundRecord:
    attack = 3 <= number <= rounds - 2
    progress = 1.0 - np.exp(-number / 4.0)
    ma = 10.0 + 78.0 * progress + rng.normal(0, 0.5)
    strength = 0.0 if number < 3 else (0.02 if defended else 1.0 - np.exp(-(number - 2) / 2.5))
    base = 1.1 + rng.normal(0, 0.1)
    asr = min(99.5, base + 95.0 * strength + abs(rng.normal(0, 0.4)))
    clients = list(range(CLIENTS)) if number else []
    dropped = {"7": f"client raised: {HOSTILE}"} if number in {4, 5} else ({"3": "non-finite"} if number == 8 else {})
    valid = [i for i in clients if str(i) not in dropped]
    rejected: list[int] = []
    if defended and number:
        rejected = [i for i in valid if (i in MALICIOUS and attack and rng.random() < 0.95) or rng.random() < 0.04]
    accepted = [i for i in valid if i not in rejected]
    bad = MALICIOUS if attack and number else ()
    judged = detection(accepted, rejected, bad)
    counts = np.zeros((10, 10), int)
    for c in range(10):
        if c != TARGET:
            hits = int(10 * asr)
            counts[c, TARGET] = hits
            counts[c, c] = int((1000 - hits) * 0.87)
            counts[c, (c + 3) % 10] += 1000 - hits - counts[c, c]
    return RoundRecord.model_validate(
        {
            "round": number,
            "ma_percent": ma,
            "asr_percent": asr,
            "base_rate_percent": base,
            "asr_correct_percent": max(0.0, asr - 0.6),
            "robust_accuracy_percent": max(0.0, 0.9 * (100 - asr)),
            "per_class_recall_percent": [float(np.clip(ma + s, 0, 100)) for s in rng.normal(0, 6, 10)],
            "participants": clients,
            "malicious": MALICIOUS if number else (),
            "accepted": accepted,
            "rejected": rejected,
            "weights": {str(i): (0.0 if i in rejected else 1.0 / len(accepted)) for i in valid},
            "dropped": dropped,
            "attack_active": attack,
            "tpr_percent": judged.tpr_percent if valid else None,
            "fpr_percent": judged.fpr_percent if valid else None,
            "seconds": {
                "sample": 0.01, "train": 5 + rng.random(), "validate": 0.05, "aggregate": 0.4,
                "server": 2.1 if defended else 0.0, "evaluate": 1.2, "record": 0.02,
            } if number else {"evaluate": 1.2},
            "peak_memory_mb": 900.0 + number,
            "bytes_down": 312_000 * len(clients),
            "bytes_up": 312_000 * len(valid),
            "notes": ["2 replies dropped"] if len(dropped) > 1 else [],
            "per_client": {
                "norm": [float(rng.normal(2.4 if i in bad else 1.2, 0.15)) for i in valid],
                "cosine to median": [float(rng.normal(0.2 if i in bad else 0.7, 0.07)) for i in valid],
                "cluster": [float(-1 if i in rejected else 0) for i in valid],
            } if number else {},
            "facts": {
                "clusters": float(2 if attack else 1), "threshold": 1.3 + 0.05 * number,
                "rectification loss": 0.9 * float(np.exp(-number / 5)), "transfer loss": float("nan"),
            } if number else {},
            "confusion": counts.tolist(),
        }
    )  # fmt: skip


@pytest.fixture
def make_record(tmp_path: Path) -> RecordMaker:
    """Makes a record folder; ``make_record(defended=True, seed=1, rounds=12, images=300)``."""

    def make(
        *, defended: bool = True, seed: int = 1, rounds: int = 12, images: int = 300, fraction: float = 0.3
    ) -> Path:
        strategy = "clip-fed" if defended else "fedavg"
        output = OutputSection(dir=str(tmp_path / "runs"))
        record = RunRecord.create(output, strategy=strategy, attack="badnets", seed=seed)
        record.write_run(
            RunDescription(
                strategy=strategy,
                attack="badnets",
                rule="hdbscan-filter" if defended else "fedavg",
                purifier="clip-fed" if defended else "none",
                seed=seed,
                rounds=rounds,
                dataset="fashion-mnist-slice",
                class_names=CLASSES,
                target_label=TARGET,
                test_images=10_000,
                triggered_images=9_000,
                clients=CLIENTS,
                malicious=MALICIOUS,
                attack_start_round=3,
                attack_stop_round=rounds - 2,
                knowledge={"clip-fed": ("labelled synthetic images of the task's classes",)} if defended else {},
            )
        )
        values = {
            "strategy": strategy,
            "run.seed": seed,
            "run.rounds": rounds,
            "adversary.malicious_fraction": fraction,
        }
        defaults = {"strategy": "clip-fed", "run.seed": 1, "run.rounds": 12, "adversary.malicious_fraction": 0.2}
        extra = {f"defense.knob-{i}": 0.1 * i for i in range(20)}
        record.write_config(values | extra, defaults | extra)
        record.write_environment("cpu", 1)
        rng = np.random.default_rng([seed, int(defended)])
        for number in range(rounds + 1):
            record.append_round(invented_round(number, rounds, defended, rng))
        generator = torch.Generator().manual_seed(seed)
        clean = torch.rand(12, 1, 28, 28, generator=generator)
        clean[:, :, 6:22, 8:20] += 0.5
        triggered = clean.clone()
        triggered[:, :, -5:-1, -5:-1] = 1.0
        labels = torch.arange(12) % 9 + 1
        record.save_examples(
            {"clean": clean, "triggered": triggered, "synthetic": clean.flip(0), "augmented": clean.flip(3)},
            {"clean": labels, "triggered": labels, "synthetic": labels.flip(0)},
        )
        if images:
            all_labels = np.arange(10 * images) % 10
            indices, marks = embedding_sample(all_labels, all_labels != TARGET, seed, size=images)
            chosen = all_labels[indices]
            centres = rng.normal(0, 3, (11, 64))
            for name, apart in (("undefended", True), ("final", False)):
                where = np.where(marks & apart, 10, chosen)
                features = centres[where] + rng.normal(0, 1.2, (len(indices), 64))
                record.save_embedding(
                    name, torch.from_numpy(features), torch.from_numpy(chosen), torch.from_numpy(marks)
                )
        record.write_summary(parameters_sha256="ab" * 32)
        return record.folder

    return make
