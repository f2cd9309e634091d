"""Residual analysis: where the errors of one arm sit, and which single further term would remove most of them.

Contract, for every page and command that scores load points:

    residual_of(...)          one `Residual` per load point, from occupancy, means and the model's options
    ranked_terms(...)         every candidate term with its constant, best on unseen model families first
    residual_section(...)     the section as markdown
    residual_figure(...)      its figure as SVG

Pure: nothing here reads or writes a file.
"""

from workflow.lib.residuals.build import priced_by, residual_of
from workflow.lib.residuals.figure import residual_figure
from workflow.lib.residuals.ranking import Resampling, Suggestion, ranked_terms
from workflow.lib.residuals.record import Figure, Residual
from workflow.lib.residuals.section import residual_section

__all__ = [
    "Figure",
    "Resampling",
    "Residual",
    "Suggestion",
    "priced_by",
    "ranked_terms",
    "residual_figure",
    "residual_of",
    "residual_section",
]
