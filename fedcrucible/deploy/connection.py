"""How commands of one deployment reach its SuperLink: from this machine, or from a container beside it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedcrucible.deploy.healthcheck import healthy
from fedcrucible.engines.flower.app_folder import stage_app
from fedcrucible.engines.flower.command import FlowerRunError, write_connection
from fedcrucible.engines.flower.environment import flower_environment
from fedcrucible.engines.flower.submission import Submission
from fedcrucible.engines.flower.superlink import START_LIMIT_S


@contextmanager
def connected(superlink: str, authority: Path) -> Iterator[Submission]:
    """The app beside a temporary FLWR_HOME that knows the SuperLink at ``superlink`` (``host:port``)."""
    with tempfile.TemporaryDirectory(prefix="fedcrucible-") as name:
        folder = Path(name).resolve()
        write_connection(folder / "home", superlink, authority)
        yield Submission(stage_app(folder / "fedcrucible"), flower_environment(folder / "home"))


def wait_for(superlink: str, authority: Path, limit_s: float = START_LIMIT_S) -> None:
    """Wait until a SuperLink that somebody else starts answers. Raises FlowerRunError with the last reason."""
    deadline = time.monotonic() + limit_s
    while problem := healthy(f"https://{superlink}/health", str(authority)):
        if time.monotonic() >= deadline:
            raise FlowerRunError(f"no SuperLink answers after {limit_s:.0f} s: {problem}")
        time.sleep(0.5)
