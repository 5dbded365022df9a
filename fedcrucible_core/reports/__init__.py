"""Reports: one page per run, one page per comparison, made from record folders alone."""

from fedcrucible_core.reports.charts.tsne import TsnePanel, tsne_panel
from fedcrucible_core.reports.pages.comparison import ComparisonRow, render_comparison
from fedcrucible_core.reports.pages.run_report import render_report

__all__ = ["ComparisonRow", "TsnePanel", "render_comparison", "render_report", "tsne_panel"]
