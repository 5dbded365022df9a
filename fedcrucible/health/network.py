"""Proxies that stand between this machine and itself."""

from __future__ import annotations

import os

from fedcrucible.engines.flower.proxies import not_exempt, proxies_set
from fedcrucible.health.finding import Finding

GROUP = "network"


def check() -> list[Finding]:
    """Whether a proxy is set, and whether loopback goes through it."""
    found = proxies_set(os.environ)
    if not found:
        return [Finding(GROUP, "proxy", "ok", "none set")]
    missing = not_exempt(os.environ)
    if not missing:
        return [Finding(GROUP, "proxy", "ok", f"{', '.join(found)}; loopback is exempt")]
    detail = f"{', '.join(found)}; no_proxy lacks {', '.join(missing)}"
    todo = 'what FedCrucible starts is exempt anyway; before `flwr` by hand: eval "$(fedcrucible flower-env)"'
    return [Finding(GROUP, "proxy", "warn", detail, todo)]
