"""The figures: each is drawn from arrays and findings, and knows no model."""

from featvis.plots.files import FORMATS, save_figure
from featvis.plots.gradients import GradientView, gradient_figure, spectrum
from featvis.plots.overlap import overlap_figure

__all__ = ["FORMATS", "GradientView", "gradient_figure", "overlap_figure", "save_figure", "spectrum"]
