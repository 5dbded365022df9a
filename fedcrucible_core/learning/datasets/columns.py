"""Which column holds the pictures or texts and which the labels, by type and name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcrucible_core.config import ConfigError
from fedcrucible_core.learning.datasets.base import Reading, UndecidedError
from fedcrucible_core.learning.datasets.texts import TEXT_NAMES, texts_asked

IMAGE_NAMES = ("image", "images", "img", "picture", "pic", "photo", "pixel_values", "pixels", "jpg", "png", "x")
LABEL_NAMES = (
    "label", "labels", "fine_label", "class", "class_label", "class_id", "target", "targets", "category", "category_id",
    "cls", "y",
)  # fmt: skip
NOT_PICTURES = ("mask", "segment", "annotation", "depth", "saliency", "box", "keypoint", "landmark")
"""Parts of the names of columns that are never taken for the pictures unless asked for."""
NUMBERS = ("bool", "int", "uint", "float", "double")
TEXTS = ("string", "large_string")


def picture_kind(feature: Any) -> str:
    """``encoded`` (files' bytes), ``array`` (numbers), or empty where the feature holds no pictures."""
    kind = type(feature).__name__
    if kind == "Image" or (isinstance(feature, dict) and "bytes" in feature and set(feature) <= {"bytes", "path"}):
        return "encoded"
    if kind == "Value" and feature.dtype in ("binary", "large_binary"):
        return "encoded"
    depth, inner = 0, feature
    while (nested := _inside(inner)) is not None:
        depth, inner = depth + 1, nested
    numeric = getattr(inner, "dtype", "").startswith(NUMBERS)
    return "array" if kind in ("Array2D", "Array3D") or (depth in (2, 3) and numeric) else ""


def array_type(feature: Any) -> str:
    """The type of a feature's numbers, e.g. uint8."""
    while (nested := _inside(feature)) is not None:
        feature = nested
    return str(feature.dtype)


def is_scalar(feature: Any) -> bool:
    """Whether each row holds one text, number or truth value."""
    kind = type(feature).__name__
    return kind == "ClassLabel" or (kind == "Value" and feature.dtype.startswith((*NUMBERS, *TEXTS)))


def image_column(features: Mapping[str, Any], reading: Reading, dataset: str) -> str:
    """The pictures' column: the one asked for, one with a usual name, or the only one. Raises ConfigError."""
    kinds = {name: picture_kind(feature) for name, feature in features.items()}
    if reading.image_column:
        return _asked(
            "task.image_column", reading.image_column, features, [n for n in features if kinds[n]], "pictures"
        )
    usual = _usual(IMAGE_NAMES, [name for name in features if kinds[name]])
    if usual:
        return usual
    for kind in ("encoded", "array"):
        found = [n for n in features if kinds[n] == kind and not any(part in n.lower() for part in NOT_PICTURES)]
        if len(found) == 1:
            return found[0]
        if found:
            raise _several(dataset, "image", found)
    masks = [name for name in features if kinds[name]]
    if masks:
        allowed = f"set task.image_column: only {', '.join(masks)} holds pictures, by its name no inputs"
        raise UndecidedError("task.dataset", dataset, allowed)
    raise ConfigError("task.dataset", dataset, f"needs a column of images or texts, has {_listed(features)}")


def holds_texts(features: Mapping[str, Any], reading: Reading) -> bool:
    """Whether the inputs are texts: as ``reading`` says, else where no column can be pictures and one can be texts.

    Raises ConfigError where columns of both are asked for.
    """
    asked = texts_asked(reading)
    if asked is not None:
        return asked
    return not any(map(picture_kind, features.values())) and bool(_texts(features, reading))


def text_column(features: Mapping[str, Any], reading: Reading, dataset: str) -> str:
    """The texts' column: the one asked for, one with a usual name, or the only one of strings. Raises ConfigError."""
    if reading.text_column:
        strings = [name for name, feature in features.items() if _is_text(feature)]
        return _asked("task.text_column", reading.text_column, features, strings, "texts")
    found = _texts(features, reading)
    usual = _usual(TEXT_NAMES, found)
    if usual:
        return usual
    if len(found) == 1:
        return found[0]
    raise _several(dataset, "text", found)


def _texts(features: Mapping[str, Any], reading: Reading) -> list[str]:
    """Columns of strings but for that of the labels."""
    scalars = [name for name, feature in features.items() if is_scalar(feature)]
    label = reading.label_column or _usual(LABEL_NAMES, scalars)
    return [name for name, feature in features.items() if _is_text(feature) and name != label]


def _is_text(feature: Any) -> bool:
    return type(feature).__name__ == "Value" and feature.dtype in TEXTS


def label_column(features: Mapping[str, Any], reading: Reading, dataset: str) -> str:
    """The labels' column: the one asked for, one with a usual name, the only ClassLabel, or the only scalar one.

    Raises ConfigError.
    """
    scalars = [name for name, feature in features.items() if is_scalar(feature)]
    if reading.label_column:
        return _asked("task.label_column", reading.label_column, features, scalars, "one label for each image")
    usual = _usual(LABEL_NAMES, scalars)
    if usual:
        return usual
    classes = [name for name in scalars if type(features[name]).__name__ == "ClassLabel"]
    if len(classes) == 1:
        return classes[0]
    lists = _usual(LABEL_NAMES, [name for name in features if name not in scalars])
    if lists and not classes:
        allowed = f"column {lists} holds several labels for one image; allowed: one label for each"
        raise ConfigError("task.dataset", dataset, allowed)
    found = classes or scalars
    if len(found) == 1:
        return found[0]
    if found:
        raise _several(dataset, "label", found)
    raise ConfigError("task.dataset", dataset, f"needs a column of labels, has {_listed(features)}")


def _inside(feature: Any) -> Any:
    """What a list holds; None for anything else."""
    if isinstance(feature, list):
        return feature[0] if len(feature) == 1 else None
    return getattr(feature, "feature", None)


def _usual(names: Sequence[str], candidates: Sequence[str]) -> str:
    """The first of the usual names that a candidate has, as it is spelt there; empty where none has."""
    spelt = {candidate.lower(): candidate for candidate in reversed(candidates)}
    return next((spelt[name] for name in names if name in spelt), "")


def _asked(key: str, name: str, features: Mapping[str, Any], usable: Sequence[str], what: str) -> str:
    if name in usable:
        return name
    why = f"does not hold {what}" if name in features else "no such column"
    raise ConfigError(key, name, f"{why}; allowed: {', '.join(usable) or 'none'}")


def _several(dataset: str, kind: str, candidates: Sequence[str]) -> ConfigError:
    allowed = f"several columns may be the {kind}s ({', '.join(candidates)}): set task.{kind}_column to one of them"
    return UndecidedError("task.dataset", dataset, allowed)


def _listed(features: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({getattr(f, 'dtype', '') or type(f).__name__})" for name, f in features.items())
