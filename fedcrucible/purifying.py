"""From a data set and a model to the settings of one central run that splits the set and repairs the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcrucible_core.config.compose import RunConfigBase
from fedcrucible_core.config.errors import ConfigError, did_you_mean
from fedcrucible_core.config.values import Scalar
from fedcrucible_core.learning.models import SplitModel
from fedcrucible_core.records import files
from fedcrucible_core.records.schema import RunSummary
from server_app.plan import Plan
from strategies.outcome import Observer

METHOD = "cgd-unlearn"
EPOCHS = 10
"""Of training, where no model is given."""
TABLES = {".csv": "csv", ".tsv": "csv", ".npz": "npz", ".jsonl": "jsonl"}
"""Ending of a file -> kind of data set."""
SAVED = ("dataset_dict.json", "state.json")
"""What lies in a folder that Hugging Face's ``datasets`` saved."""
PROGRAMS = (".onnx", ".pt2", ".torchscript")
"""Endings of models that can be run and not trained."""
ALLOWED_DATA = (
    "a folder of pictures by class, a .csv, .tsv, .jsonl or .npz file, hf:ORG/NAME, or a data set of `fedcrucible list "
    "datasets`"
)


@dataclass(frozen=True)
class Request:
    """What is to be purified, by what, and where the record goes."""

    data: str
    model: str = ""
    architecture: str = ""
    method: str = METHOD
    out: str = ""
    scorer: str = ""
    """What scores in place of freshly trained models: a model that is only run, or logits."""
    settings: Mapping[str, Scalar] | None = None


def plan_of(request: Request) -> Plan:
    """The checked run. Raises ConfigError for anything that can't be had, before anything is trained."""
    from fedcrucible_core.config.load import load, overlaid

    given = request.settings or {}
    usual: dict[str, Scalar] = {
        "strategy": "central",
        "attack.name": "none",
        "run.rounds": 0 if request.model else EPOCHS,
        "run.checkpoint_every": 1,
        "task.train_samples": 0,
        "task.test_fraction": 0.0,
    }
    asked = {**data_settings(request.data), **_model_settings(request), **_out(request.out)}
    if request.scorer:
        key = _scored_by(str(given.get("splitter.name", "none")), request.scorer)
        asked |= {f"{key}.score": "file", f"{key}.scorer": request.scorer}
    asked["repair.name"] = _method(request.method)
    for key, value in asked.items():
        if key in given and given[key] != value:
            raise ConfigError(key, given[key], f"said twice: purify was told {value!r}")
    config = load(overlaid(usual, asked, given))
    if "task.validation_fraction" not in given and not _needs_validation(config):
        config = load(overlaid(usual, {"task.validation_fraction": 0.0}, asked, given))
    overlay = _for_texts(config, given)
    if overlay:
        usual |= overlay
        config = load(overlaid(usual, {"task.validation_fraction": config.task.validation_fraction}, asked, given))
    if "run.eval_every" not in given and config.run.rounds:
        config = config.model_copy(update={"run": config.run.model_copy(update={"eval_every": config.run.rounds})})
    return Plan.make(config)


def run(
    plan: Plan,
    observers: Sequence[Observer] = (),
    on_reply: Callable[[int, int], None] | None = None,
    on_folder: Callable[[Path], None] | None = None,
) -> RunSummary:
    """Run it, and write the weights under the library's names beside ours where the architecture is a library's."""
    from fedcrucible.engines.in_process import run_in_process

    summary = run_in_process(plan, observers, on_reply, on_folder)
    export(purified_model(plan, Path(summary.folder)), Path(summary.folder) / files.PURIFIED)
    return summary


def purified_model(plan: Plan, folder: Path) -> SplitModel:
    """The network with the weights of a record of this plan, in eval mode, on the CPU."""
    from fedcrucible_core.learning.models.base import MODELS
    from fedcrucible_core.learning.models.weights_file import load_weights

    model = MODELS.of(plan.config).build(plan.data.info, plan.config.run.seed)
    load_weights(model, str(folder))
    return model.eval()


def export(model: SplitModel, path: Path) -> None:
    """Write a state dict that the library's own network loads; nothing for architectures of ours."""
    from fedcrucible_core.config.atomic_file import write_atomic
    from fedcrucible_core.learning.models.libraries import LibraryModel
    from fedcrucible_core.records.tensor_bytes import tensor_bytes

    if not isinstance(model, LibraryModel):
        return
    tensors = {name: t.contiguous().clone() for name, t in model.library_names(model.state_dict()).items()}
    first = {name: ",".join(f"{v:.6g}" for v in b.flatten().tolist()) for name, b in model.first.named_buffers()}
    write_atomic(path, tensor_bytes(tensors, {"format": "pt", "pixels": "0 to 1"} | first))


def data_settings(data: str) -> dict[str, Scalar]:
    """What ``task`` says of a data set that is named in one word. Raises ConfigError."""
    from fedcrucible_core.learning.datasets import dataset_source

    path = Path(data).expanduser()
    if data and path.is_dir() and any((path / name).is_file() for name in SAVED):
        return _saved(path.resolve())
    if data and path.is_dir():
        return {"task.dataset": _kind_of_folder(path), "task.data_dir": str(path.resolve())}
    if data and path.is_file():
        kind = TABLES.get(path.suffix.lower())
        if kind is None:
            raise ConfigError("data", data, f"a file of a kind that isn't known; allowed: {ALLOWED_DATA}")
        return {"task.dataset": kind, "task.data_dir": str(path.resolve())}
    if data.startswith("hf:"):
        return {"task.dataset": data}
    if "/" in data or "." in data or not data:
        raise ConfigError("data", data, f"nothing is there; allowed: {ALLOWED_DATA}")
    try:
        dataset_source(data)
    except ConfigError as error:
        raise ConfigError("data", data, f"no folder, file or data set ({error}); allowed: {ALLOWED_DATA}") from None
    return {"task.dataset": data}


def _saved(path: Path) -> dict[str, Scalar]:
    """A data set that Hugging Face's ``datasets`` saved, where ours is looked for. Raises ConfigError elsewhere."""
    if path.parent.name != "hf":
        allowed = (
            "a data set saved by Hugging Face's datasets is read as FOLDER/hf/ORG--NAME; allowed: move it there, or "
            f"link it: mkdir -p FOLDER/hf && ln -s {path} FOLDER/hf/own--{path.name}"
        )
        raise ConfigError("data", str(path), allowed)
    return {"task.dataset": f"hf:{path.name.replace('--', '/', 1)}", "task.data_dir": str(path.parent.parent)}


def _kind_of_folder(path: Path) -> str:
    """``csv`` for a folder that holds a table and no other folders, else ``folder``. Raises ConfigError for others."""
    if (path / files.RUN).is_file():
        raise ConfigError("data", str(path), f"a run's record, that is a model (--model); allowed: {ALLOWED_DATA}")
    inside = [child for child in path.iterdir() if not child.name.startswith(".")]
    tables = [child for child in inside if child.suffix.lower() in (".csv", ".tsv")]
    return "csv" if tables and not any(child.is_dir() for child in inside) else "folder"


def _model_settings(request: Request) -> dict[str, Scalar]:
    named = _architecture(request.architecture)
    if not request.model:
        return named
    path = Path(request.model).expanduser()
    if path.is_dir() and (path / files.RUN).is_file():
        return {**_recorded(path, named, request.architecture), "model.weights": str(path.resolve())}
    if not path.exists():
        raise ConfigError("model", request.model, "nothing is there; allowed: a state dict's file, or a run's record")
    if path.suffix.lower() in PROGRAMS:
        allowed = "can be run and not trained: as --scorer it scores samples; what is purified is a state dict"
        raise ConfigError("model", request.model, allowed)
    if not named and "model.name" not in (request.settings or {}):
        allowed = "name the network of the state dict: torchvision:NAME, timm:NAME, or one of ours"
        raise ConfigError("architecture", "", allowed)
    return {**named, "model.weights": str(path.resolve())}


def _architecture(name: str) -> dict[str, Scalar]:
    """``torchvision:NAME``, ``timm:NAME`` or a registered name as settings. Raises ConfigError."""
    from fedcrucible_core.learning.models.base import MODELS
    from fedcrucible_core.learning.models.libraries import LibrarySpec

    if not name:
        return {}
    library, colon, network = name.partition(":")
    if colon:
        libraries = [known for known in MODELS if issubclass(MODELS[known], LibrarySpec)]
        if library not in libraries or not network:
            raise ConfigError("architecture", name, f"allowed: {', '.join(f'{one}:NAME' for one in libraries)}")
        return {"model.name": library, f"model.{library}.architecture": network}
    if name not in MODELS:
        allowed = f"{did_you_mean(name, list(MODELS))}allowed: {', '.join(MODELS)}, torchvision:NAME, timm:NAME"
        raise ConfigError("architecture", name, allowed)
    return {"model.name": name}


def _recorded(folder: Path, named: Mapping[str, Scalar], asked: str) -> dict[str, Scalar]:
    """The architecture and its parameters as the record has them."""
    from fedcrucible_core.records.reader import DamagedRecordError, read_settings

    try:
        values = read_settings(folder).get("values", {})
    except DamagedRecordError as error:
        raise ConfigError("model", str(folder), str(error)) from None
    if "model.name" not in values:
        raise ConfigError("model", str(folder), "the record doesn't say of which architecture its model is")
    if not (folder / files.MODEL).is_file():
        raise ConfigError("model", str(folder), f"the record has no {files.MODEL} (unfinished, or output.save_model)")
    own = f"model.{values['model.name']}."
    found = {key: value for key, value in values.items() if key == "model.name" or key.startswith(own)}
    wrong = [key for key, value in named.items() if found.get(key) != value]
    if wrong:
        allowed = f"the record says {wrong[0]} = {found.get(wrong[0])!r}; leave the architecture out"
        raise ConfigError("architecture", asked, allowed)
    return found


def _scored_by(splitter: str, scorer: str) -> str:
    """The section of the splitter that takes the scorer's scores. Raises ConfigError where it takes none."""
    from defenses.base import SPLITTERS
    from defenses.support.fresh_training import FreshTraining

    name = "cgd-entropy" if splitter == "none" else splitter
    if name in SPLITTERS and not issubclass(SPLITTERS[name], FreshTraining):
        fitting = ", ".join(one for one in SPLITTERS if issubclass(SPLITTERS[one], FreshTraining))
        raise ConfigError("scorer", scorer, f"splitter {name!r} takes no scores of a model; allowed with {fitting}")
    return f"splitter.{name}"


def _method(name: str) -> str:
    from defenses.base import REPAIRS

    if name not in REPAIRS:
        raise ConfigError("method", name, f"{did_you_mean(name, list(REPAIRS))}allowed: {', '.join(REPAIRS)}")
    return name


def _for_texts(config: RunConfigBase, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Model, optimiser and guide for texts, where the data are texts and nobody has chosen them."""
    from fedcrucible_core.learning.datasets import load_task

    if load_task(config.task).info.task != "text":
        return {}
    model: dict[str, Scalar] = {"model.name": "distilbert-tiny"}
    training: dict[str, Scalar] = {"training.optimiser": "adamw", "training.lr": 5e-4}
    guide: dict[str, Scalar] = {"guide.model": "minilm"}
    return {k: v for part in (model, training, guide) if not set(part) & set(given) for k, v in part.items()}


def _out(folder: str) -> dict[str, Scalar]:
    if not folder:
        return {}
    path = Path(folder).expanduser().resolve()
    return {"output.dir": str(path.parent), "output.name": path.name}


def _needs_validation(config: RunConfigBase) -> bool:
    """Whether the method works with clean samples of a validation split, which must be held out then."""
    from strategies.systems import assemble

    clean = assemble(config).repair_needs.clean
    return (clean is not None and clean.kind == "validation") or config.task.eval_split == "validation"
