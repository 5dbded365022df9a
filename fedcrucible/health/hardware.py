"""Devices, cores and memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fedcrucible.health.finding import Finding

GROUP = "machine"
GB = 1e9
LITTLE_MEMORY_GB, LITTLE_SHARED_GB = 2.0, 1.0


def check() -> list[Finding]:
    """What a run can compute on."""
    return [_cpu(), *_accelerators(), _memory(), *_shared_memory()]


def _cpu() -> Finding:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    capability = torch.backends.cpu.get_cpu_capability()
    detail = f"{cores} cores, {torch.get_num_threads()} threads, {capability}; bf16 works, fp16 does not"
    return Finding(GROUP, "cpu", "ok", detail)


def _accelerators() -> list[Finding]:
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        found.append(Finding(GROUP, f"cuda:{index}", "ok", f"{facts.name}, {facts.total_memory / GB:.0f} GB, {bf16}"))
    if torch.backends.mps.is_available():
        found.append(Finding(GROUP, "mps", "ok", "available"))
    return found or [Finding(GROUP, "gpu", "ok", "none; everything runs on the CPU")]


def _memory() -> Finding:
    total, free = _memory_bytes()
    if total is None or free is None:
        return Finding(GROUP, "memory", "ok", "unknown")
    detail = f"{free / GB:.1f} of {total / GB:.1f} GB free"
    if free < LITTLE_MEMORY_GB * GB:
        return Finding(GROUP, "memory", "warn", detail, "use fewer jobs at once, or fewer task.train_samples")
    return Finding(GROUP, "memory", "ok", detail)


def _memory_bytes() -> tuple[float | None, float | None]:
    """Total and available bytes, a container's limit counted; None where the system doesn't say."""
    try:
        pairs = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        facts = {words[0].rstrip(":"): float(words[1]) * 1024 for words in pairs}
        total, free = facts["MemTotal"], facts["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return None, None
    try:
        limit = float(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = float(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no cgroup, or "max"
        return total, free
    return min(total, limit), min(free, max(0.0, limit - used))


def _shared_memory() -> list[Finding]:
    if not Path("/dev/shm").is_dir():
        return []
    free = shutil.disk_usage("/dev/shm").free / GB
    if free < LITTLE_SHARED_GB:
        todo = "only Ray (`flwr run` simulation) needs it: in a container use --shm-size=2g"
        return [Finding(GROUP, "/dev/shm", "warn", f"{free:.2f} GB free", todo)]
    return [Finding(GROUP, "/dev/shm", "ok", f"{free:.1f} GB free")]
