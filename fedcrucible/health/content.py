"""Data sets, the guides and the sources of synthetic images."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

from fedcrucible.health.finding import Finding
from fedcrucible_core.config import ConfigError
from fedcrucible_core.config.extras import install_hint
from fedcrucible_core.config.places import data_folder
from fedcrucible_core.config.plain_text import plain_text

GROUP_DATA, GROUP_MODELS = "data", "guide and sources"
LONGEST_DETAIL = 500
DEMO_DATASET = "fashion-mnist-slice"
TEXT_GUIDES = ("minilm", "wordllama")
"""Guides of texts that packages bring."""


def check() -> list[Finding]:
    """What is here, what has to be fetched, and how."""
    sources = (_source(name, test) for name, test in SOURCE_TESTS.items())
    return [*_datasets(), _guide(), *map(_text_guide, TEXT_GUIDES), *sources]


def _datasets() -> list[Finding]:
    from fedcrucible_core.learning.datasets import DATASETS, dataset_source

    root, found, absent = data_folder(), [], []
    empty = not root.is_dir() or not any(root.iterdir())
    for name in DATASETS:
        source = dataset_source(name)
        if source.after_colon:  # of the hub, or of the user: not ours to look for
            continue
        if empty and not source.ships:
            absent.append(name)
            continue
        try:
            data = source.read(root)
        except Exception as error:
            if source.ships:
                status = "fail" if name == DEMO_DATASET else "warn"
                found.append(Finding(GROUP_DATA, name, status, _line(error), "reinstall the package"))  # type: ignore[arg-type]
            else:
                absent.append(name)
            continue
        where = "ships" if source.ships else str(root)
        found.append(Finding(GROUP_DATA, name, "ok", f"{len(data.train)} + {len(data.test or ())} images, {where}"))
    saved = sorted(path.name.replace("--", "/", 1) for path in (root / "hf").glob("*") if path.is_dir())
    found += [Finding(GROUP_DATA, f"hf:{name}", "ok", str(root / "hf")) for name in saved]
    if absent:
        todo = f"when you need one: fedcrucible prepare {absent[0]} (likewise the others)"
        found.append(Finding(GROUP_DATA, "not fetched", "ok", f"{', '.join(absent)}; data folder {root}", todo))
    return found


def _guide() -> Finding:
    try:
        import torch

        from fedcrucible_core.foundation.encoder import Encoder

        encoder = Encoder("tiny", "clip", torch.device("cpu"))
        width = encoder.texts(["a photo of a bag"]).shape[1]
    except Exception as error:
        todo = "reinstall the package, or set guide.model to a folder or hub model"
        return Finding(GROUP_MODELS, "guide tiny", "fail", _line(error), todo)
    return Finding(GROUP_MODELS, "guide tiny", "ok", f"loads and embeds ({width} dimensions)")


def _text_guide(model: str) -> Finding:
    name, hint = f"guide {model}", install_hint("text-guide")
    try:
        from fedcrucible_core.foundation.sentence_encoder import known_identity

        known_identity(model)
    except ConfigError:
        return Finding(GROUP_MODELS, name, "ok", "not installed; texts alone need it", hint)
    except Exception as error:
        return Finding(GROUP_MODELS, name, "warn", _line(error), hint)
    return Finding(GROUP_MODELS, name, "ok", "installed, for texts")


def _source(name: str, test: Callable[[], tuple[str, str]]) -> Finding:
    try:
        detail, todo = test()
    except Exception as error:
        todo = "reinstall the package, or set synthetic.source to another one"
        return Finding(GROUP_MODELS, f"source {name}", "fail", _line(error), todo)
    return Finding(GROUP_MODELS, f"source {name}", "ok", detail, todo)


def _flow() -> tuple[str, str]:
    import torch

    from fedcrucible_assets import asset_path
    from fedcrucible_core.foundation.generators.flow import FlowGenerator

    generator = FlowGenerator.from_folder(asset_path("flow-fashion"), torch.device("cpu"))
    return f"loads, {generator.config.num_classes} classes of Fashion-MNIST, ships", ""


def _mixed() -> tuple[str, str]:
    import numpy as np

    from fedcrucible_assets import asset_path

    with np.load(asset_path("mixed-public")) as arrays:
        return f"{len(arrays['labels'])} images of Fashion-MNIST, ships", ""


def _folder() -> tuple[str, str]:
    return "usable with synthetic.folder.path", ""


def _diffusers() -> tuple[str, str]:
    if importlib.util.find_spec("diffusers") is None:
        return "not installed", install_hint("diffusers")
    return "installed; the model is fetched on first use", ""


def _openai_images() -> tuple[str, str]:
    from fedcrucible_core.foundation.sources import OpenAIImagesSource

    variable = OpenAIImagesSource.model_validate({}).api_key_env
    if not os.environ.get(variable):
        return f"{variable} is not set", f"when you need it: export {variable}=..."
    return f"{variable} is set", ""


SOURCE_TESTS: dict[str, Callable[[], tuple[str, str]]] = {
    "flow": _flow,
    "mixed": _mixed,
    "folder": _folder,
    "diffusers": _diffusers,
    "openai-images": _openai_images,
}
"""Source -> what makes sure that it is usable: (detail, what to do); raises when it is broken."""


def _line(error: Exception) -> str:
    return plain_text(error, LONGEST_DETAIL) or type(error).__name__
