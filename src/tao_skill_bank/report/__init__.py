"""Run directories to one self-contained HTML page, with its pictures as PNG files beside it."""

from collections.abc import Mapping
from pathlib import Path

import jinja2

from tao_skill_bank import __version__
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.report import charts, samples, views
from tao_skill_bank.run_directory import RunDirectory, timestamp, write_whole


def write_report(runs: Mapping[str, RunDirectory], out: Path) -> Path:
    """Write the report of one run, or of several by their roles in the order of their work, and return its path.

    Raises:
        BlockedError: the file cannot be written.

    """
    seen = [views.read(role, run) for role, run in runs.items()]
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            runs=seen,
            evaluations=[run for run in seen if run.evaluation],
            headline=views.headline(seen),
            comparison=views.comparison(seen),
            findings=views.findings(seen),
            charts=[chart for run in seen for chart in charts.of_training(run.title, run.curves)],
            has_charts=charts.is_available(),
            gallery=samples.gallery(seen),
            version=__version__,
            written_at=timestamp(),
        )
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, page)
        charts.write_pictures(seen, out)
    except OSError as error:
        message = f"The report cannot be written to {out}: {error.strerror or error}"
        raise BlockedError.of("report_not_written", message, "Give another --out, or free disk space.") from None
    return out


def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("tao_skill_bank.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": views.number_text, "duration": views.duration_text, "slug": views.slug}
    return environment
