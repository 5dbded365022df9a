"""The example apps of this checkout, run as they stand: in this process, or by ``flwr run`` in its engines."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import torch
from flwr.app import Context, RecordDict
from flwr.serverapp.strategy import FedAvg

from fedcrucible.engines.flower.deployment import Deployment
from fedcrucible.engines.flower.environment import cpu_count
from fedcrucible.engines.flower.submission import Submission
from fedcrucible.engines.flower.superlink import LocalSuperLink
from fedcrucible.engines.local_grid import LocalGrid
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.rooms import ROOT

EXAMPLES = ROOT / "examples"
PATCH = "defended.patch"
"""In an app's folder: the lines that change where Flower's FedAvg gives way to ``Defended``."""
PATCHED = '"flame", noise=0.001'
"""The defence in it."""
PRINTED = re.compile(r"round (\d+): (\{.*\})")

Maker = Callable[..., FedAvg]
Rates = dict[int, dict[str, float]]
"""Round -> what the app's server measured: ``accuracy`` and ``attack_success``, in [0, 1]."""


@dataclass(frozen=True)
class ExampleApp:
    """A Flower app in a folder; its package has the folder's name with an underscore."""

    folder: Path

    @classmethod
    def named(cls, name: str) -> ExampleApp:
        """One of ``examples/``."""
        return cls(EXAMPLES / name)

    @property
    def package(self) -> str:
        """Name of its package."""
        return self.folder.name.replace("-", "_")

    @property
    def config(self) -> dict[str, Scalar]:
        """Its run configuration, as its ``pyproject.toml`` has it."""
        found = tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))
        config: dict[str, Scalar] = found["tool"]["flwr"]["app"]["config"]
        return config

    def module(self, name: str) -> ModuleType:
        """A module of this very copy of the app."""
        loaded = sys.modules.get(self.package)
        if loaded is not None and Path(str(loaded.__file__)).parent != self.folder / self.package:
            for other in [one for one in sys.modules if one.partition(".")[0] == self.package]:
                del sys.modules[other]
        sys.path.insert(0, str(self.folder))
        try:
            importlib.invalidate_caches()
            return importlib.import_module(f"{self.package}.{name}")
        finally:
            sys.path.remove(str(self.folder))

    def run(self, settings: dict[str, Scalar], clients: int = 10, strategy: Maker | None = None) -> Rates:
        """Run its own ServerApp and ClientApp in this process; ``strategy`` takes the place of its ``FedAvg``."""
        client_app, server_app = self.module("client_app"), self.module("server_app")
        chosen = {**self.config, **settings}
        grid = LocalGrid(client_app.app, clients, chosen)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), _in_place_of_fedavg(server_app, strategy):
            server_app.app(grid, Context(1, 0, {}, RecordDict(), chosen))
        return rates(said.getvalue())

    def defended(self, folder: Path, defence: str = PATCHED) -> ExampleApp:
        """A copy below ``folder`` with the lines of its patch changed, and ``defence`` in place of the one there."""
        copy = self.copied(folder)
        command = ["git", "apply", str(copy.folder / PATCH)]
        subprocess.run(command, cwd=copy.folder, check=True, capture_output=True, text=True)
        server = copy.folder / self.package / "server_app.py"
        text = server.read_text(encoding="utf-8")
        if PATCHED not in text:
            raise ValueError(f"{server} has no {PATCHED}")
        server.write_text(text.replace(PATCHED, defence), encoding="utf-8")
        return copy

    def copied(self, folder: Path) -> ExampleApp:
        """A copy below ``folder``."""
        target = folder / self.folder.name
        shutil.copytree(self.folder, target, ignore=shutil.ignore_patterns("__pycache__"))
        return ExampleApp(target)

    def simulate(self, settings: dict[str, Scalar], superlink: LocalSuperLink, clients: int = 10) -> Rates:
        """Run it by ``flwr run`` in Flower's simulation. Raises FlowerRunError."""
        federation = f"num-supernodes={clients} client-resources-num-cpus=1 init-args-num-cpus={cpu_count()}"
        return self._submit(superlink.ready(), settings, federation)

    def deploy(self, settings: dict[str, Scalar], deployment: Deployment) -> Rates:
        """Run it by ``flwr run`` on a deployment's SuperNodes, all of them. Raises FlowerRunError."""
        return self._submit(deployment.ready(), settings)

    def _submit(self, submission: Submission, settings: dict[str, Scalar], federation: str = "") -> Rates:
        said: list[str] = []
        submission.submit(self.folder, settings, said.append, federation)
        return rates("\n".join(said))


def rates(said: str) -> Rates:
    """What a server printed, a line a round."""
    found = (PRINTED.search(line) for line in said.splitlines())
    return {int(match[1]): ast.literal_eval(match[2]) for match in found if match}


def apart(one: Path, other: Path) -> float:
    """The largest distance between weights of two models that the app has saved."""
    first, second = (torch.load(path, weights_only=True) for path in (one, other))
    return max(float((first[key] - second[key]).abs().max()) for key in first)


@contextlib.contextmanager
def _in_place_of_fedavg(server_app: ModuleType, strategy: Maker | None) -> Iterator[None]:
    if strategy is None:
        yield
        return
    with patch.object(server_app, "FedAvg", strategy):
        yield
