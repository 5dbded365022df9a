"""The feature plot (docs/choices.md#feature-plot): t-SNE with triggered images outlined, and a number beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from threadpoolctl import threadpool_limits

from fedcrucible_core.config.atomic_file import write_atomic
from fedcrucible_core.records.reader import Embedding
from fedcrucible_core.records.schema import RunDescription
from fedcrucible_core.reports.charts.canvas import FONT_SIZE, inline_svg, new_figure
from fedcrucible_core.reports.charts.curves import class_name
from fedcrucible_core.reports.charts.palette import CLASSES, INK, MUTED

PCA_DIMENSIONS = 50
PERPLEXITY = 30.0
FEWEST_IMAGES = 10


@dataclass(frozen=True)
class TsnePanel:
    """Points ``[n, 2]`` with true labels and trigger marks, in the order of the images that were kept."""

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    triggered: NDArray[np.bool_]
    silhouette: float | None
    """Mean silhouette of triggered images between "the triggered" and "clean images of my true class", -1 to 1, in
    the PCA space: near 1 = they form a cluster of their own, 0 or less = they lie among their class."""


def tsne_panel(
    features: NDArray[Any], labels: NDArray[Any], triggered: NDArray[Any], seed: int, *, size: int = 2000
) -> TsnePanel:
    """Embed at most ``size`` rows of ``features [n, D]`` in the plane: PCA to 50, t-SNE of perplexity 30, one thread.

    More rows than ``size`` are thinned at random, triggered and other rows alike; the perplexity shrinks with fewer
    than 91 rows. Raises ValueError for fewer than ten rows or features that aren't finite.
    """
    from sklearn.decomposition import PCA  # seconds to import; a kept panel needs none of it
    from sklearn.manifold import TSNE

    features, labels = np.asarray(features, np.float32), np.asarray(labels, np.int64)
    marks = np.asarray(triggered, bool)
    if len(features) < FEWEST_IMAGES:
        raise ValueError(f"a feature plot needs at least {FEWEST_IMAGES} inputs, got {len(features)}")
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinite numbers")
    if len(features) > size:
        kept = _thin(marks, size, np.random.default_rng([seed, 31]))
        features, labels, marks = features[kept], labels[kept], marks[kept]
    with threadpool_limits(limits=1):
        spread = features - features.mean(axis=0)
        count = min(PCA_DIMENSIONS, *spread.shape)
        reduced = PCA(n_components=count, svd_solver="full").fit_transform(spread) if spread.any() else spread[:, :2]
        perplexity = min(PERPLEXITY, (len(features) - 1) / 3.0)
        start = "pca" if reduced.shape[1] >= 2 and spread.any() else "random"
        model = TSNE(n_components=2, perplexity=perplexity, init=start, random_state=seed, n_jobs=1)
        points = np.asarray(model.fit_transform(np.ascontiguousarray(reduced, np.float32)), np.float32)
        silhouette = triggered_silhouette(reduced, labels, marks)
    return TsnePanel(points, labels, marks, silhouette)


def triggered_silhouette(features: NDArray[Any], labels: NDArray[Any], triggered: NDArray[Any]) -> float | None:
    """Mean over triggered images of (b - a) / max(a, b).

    a = mean distance to the other triggered images, b = mean distance to clean images of the image's true class. None
    with fewer than two triggered images or no clean image of their classes.
    """
    from sklearn.metrics import pairwise_distances

    marks = np.asarray(triggered, bool)
    if marks.sum() < 2:
        return None
    within = pairwise_distances(features[marks])
    own = within.sum(axis=1) / (len(within) - 1)
    values = []
    for label in np.unique(labels[marks]):
        clean = ~marks & (labels == label)
        if not clean.any():
            continue
        mine = labels[marks] == label
        other = pairwise_distances(features[marks][mine], features[clean]).mean(axis=1)
        values.extend(((other - own[mine]) / np.maximum(np.maximum(other, own[mine]), 1e-12)).tolist())
    return float(np.mean(values)) if values else None


def cached_panel(embedding: Embedding, seed: int, *, size: int = 2000) -> TsnePanel:
    """``tsne_panel`` of a recorded embedding, kept beside it so that a second report needs no second fit."""
    digest = hashlib.sha256(embedding.path.read_bytes() + f"/{seed}/{size}".encode()).hexdigest()
    cache = embedding.path.with_suffix(".tsne")
    try:
        stored = load(cache.read_bytes())
        if bytes(stored["digest"]).hex() == digest:
            number = float(stored["silhouette"][0])
            shown = None if np.isnan(number) else number
            return TsnePanel(stored["points"], stored["labels"], stored["triggered"].astype(bool), shown)
    except (OSError, SafetensorError, KeyError):
        pass
    panel = tsne_panel(embedding.features, embedding.labels, embedding.triggered, seed, size=size)
    tensors = {
        "points": panel.points,
        "labels": panel.labels,
        "triggered": panel.triggered.astype(np.uint8),
        "silhouette": np.array([np.nan if panel.silhouette is None else panel.silhouette]),
        "digest": np.frombuffer(bytes.fromhex(digest), np.uint8),
    }
    write_atomic(cache, save(tensors))
    return panel


def tsne_chart(run: RunDescription, panels: Sequence[tuple[str, TsnePanel]]) -> Markup | None:
    """Panels side by side on white, at most three to a row, classes by colour, triggered images outlined black."""
    if not panels:
        return None
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    side = 7.4 / columns if columns > 1 else 5.2
    figure = new_figure(side * columns, (side + 0.3) * rows + 0.6)
    classes = sorted({int(c) for _, panel in panels for c in np.unique(panel.labels)})
    for place, (name, panel) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.set_facecolor("#ffffff")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(MUTED)
            spine.set_linewidth(0.6)
        number = "no silhouette" if panel.silhouette is None else f"silhouette {panel.silhouette:+.2f}"
        axes.set_title(f"{name}: {number}", color=INK, fontsize=FONT_SIZE, loc="left")
        colours = np.array([CLASSES[int(c) % len(CLASSES)] for c in panel.labels])
        clean, marked = ~panel.triggered, panel.triggered
        x, y = panel.points.T
        axes.scatter(x[clean], y[clean], c=colours[clean], s=7, linewidths=0, alpha=0.75, rasterized=True)
        axes.scatter(x[marked], y[marked], c=colours[marked], s=20, edgecolors="black", linewidths=1.1, rasterized=True)
    handles = [_dot(CLASSES[c % len(CLASSES)], class_name(run, c)) for c in classes[:10]]
    if any(panel.triggered.any() for _, panel in panels):
        handles.append(_dot("#ffffff", run.attack_inputs or "with trigger", edge="black"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=6 if columns > 1 else 4, frameon=False,
        fontsize=FONT_SIZE - 1, labelcolor=INK,
    )  # fmt: skip
    alt = "t-SNE of test features; " + "; ".join(
        f"{name}: {len(p.points)} {run.inputs}, {int(p.triggered.sum())} with trigger"
        + ("" if p.silhouette is None else f", silhouette {p.silhouette:+.2f}")
        for name, p in panels
    )
    return inline_svg(figure, "tsne", alt, dpi=200, natural=columns == 1)


def _thin(marks: NDArray[np.bool_], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    share = max(1, round(size * float(marks.mean()))) if marks.any() else 0
    chosen = [
        rng.permutation(np.flatnonzero(marks))[:share],
        rng.permutation(np.flatnonzero(~marks))[: size - share],
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _dot(colour: str, label: str, edge: str = "none") -> Line2D:
    return Line2D([], [], marker="o", linestyle="", markersize=5, color=colour, markeredgecolor=edge, label=label)
