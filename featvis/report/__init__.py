"""What people look at: one self-contained page of what was measured, and the explorer of overlaps."""

from featvis.report.audits import report_html, write_report
from featvis.report.dreams import dreams_html, write_dreams
from featvis.report.explorer import explorer_html, write_explorer
from featvis.report.gathered import Gathered
from featvis.report.pairs import discriminator_html, generator_html, write_discriminator, write_generator
from featvis.report.predictions import prediction_html, write_prediction
from featvis.report.views import SHOWN, PictureView, Version, channels_last

__all__ = [
    "SHOWN",
    "Gathered",
    "PictureView",
    "Version",
    "channels_last",
    "discriminator_html",
    "dreams_html",
    "explorer_html",
    "generator_html",
    "prediction_html",
    "report_html",
    "write_discriminator",
    "write_dreams",
    "write_explorer",
    "write_generator",
    "write_prediction",
    "write_report",
]
