"""Reports: one page per run, one page per comparison, made from record folders alone."""

from server_app.report.comparison import ComparisonRow, render_comparison
from server_app.report.run_report import render_report
from server_app.report.tsne import TsnePanel, tsne_panel

__all__ = ["ComparisonRow", "TsnePanel", "render_comparison", "render_report", "tsne_panel"]
