"""Colours of charts: drawn as fixed values, turned into CSS variables so that they follow the page's theme.

The series colours are those of Okabe and Ito, which stay apart for colour-blind readers.
"""

from __future__ import annotations

INK, MUTED, GRID, CARD = "#1a1b1c", "#6a6b6c", "#dadbdc", "#fdfefd"
BLUE, VERMILLION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
SKY, PURPLE, GREY, YELLOW = "#56b4e9", "#cc79a7", "#8a8f98", "#c9b500"

SERIES = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, YELLOW, GREY)
"""Colours of series in order; repeat them with another line style when there are more."""

CLASSES = (
    BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, YELLOW, GREY, "#7f3c8d", "#8c510a",
)  # fmt: skip
"""Colours of classes in feature plots."""

VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--line", CARD: "--card", BLUE: "--blue", VERMILLION: "--vermillion",
    GREEN: "--green", ORANGE: "--orange", SKY: "--sky", PURPLE: "--purple", GREY: "--grey", YELLOW: "--yellow",
}  # fmt: skip
"""Drawn colour -> CSS variable of the page."""

TONES = {variable.removeprefix("--"): colour for colour, variable in VARIABLES.items()}
"""Name of a tone, e.g. ``blue`` -> drawn colour."""
