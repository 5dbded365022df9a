"""Reports: one page per run, one page per comparison, made from record folders alone."""

from fedcrucible_core.reports.charts.tsne import TsnePanel, tsne_panel
from fedcrucible_core.reports.pages.records_page import Labelled, render_records
from fedcrucible_core.reports.pages.run_report import render_report

__all__ = ["Labelled", "TsnePanel", "render_records", "render_report", "tsne_panel"]
