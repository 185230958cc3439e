"""Shows a look at a dataset as one self-contained page."""

from pathlib import Path

from tao_skill_bank import report
from tao_skill_bank.data.check.survey import Survey
from tao_skill_bank.report.views import SEVERITIES
from tao_skill_bank.runs.run_directory import timestamp


def write(survey: Survey, out: Path) -> Path:
    """Write the page of a survey and return its path. Raises BlockedError when the file cannot be written."""
    findings = sorted(survey.findings, key=lambda finding: SEVERITIES.index(finding.severity))
    page = report.render("data_check.html.jinja", survey=survey, findings=findings, written_at=timestamp())
    return report.write_page(page, out)
