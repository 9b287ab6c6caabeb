"""What people look at: one self-contained page of what was measured, and the explorer of overlaps."""

from featvis.report.explorer import explorer_html, write_explorer
from featvis.report.page import report_html, write_report
from featvis.report.views import PictureView, picture_views

__all__ = ["PictureView", "explorer_html", "picture_views", "report_html", "write_explorer", "write_report"]
