"""The report page: what it says (plain functions) and how it shows it (templates and charts).

Belongs here: everything between the published frames and one self-contained HTML file. Does not
belong here: Dagster, databases, and where the file goes.
"""

from assets.page.report import FleetReportInputs, render_fleet_report

__all__ = ["FleetReportInputs", "render_fleet_report"]
