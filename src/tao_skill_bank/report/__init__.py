"""Renders run directories as one self-contained HTML page, with its pictures as PNG files next to it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tao_skill_bank.core.redact.masker import masked_text, own_pattern
from tao_skill_bank.core.version import __version__
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.report import charts, kinds, views
from tao_skill_bank.report.opening import Opening
from tao_skill_bank.report.views import RunView, duration_text
from tao_skill_bank.runs.run_directory import RunDirectory, timestamp, write_whole

__all__ = ["duration_text", "page_of", "render", "write_page", "write_report"]


def write_report(runs: Mapping[str, RunDirectory], out: Path, opening: Opening | None = None) -> Path:
    """Write the report of one run, or of several by role in the order of the workflow, and return its path.

    `opening` says of which workflow they are; then there may be none yet.

    Raises:
        BlockedError: the file cannot be written.

    """
    seen = [views.read(role, run) for role, run in runs.items()]
    with _explained(out):
        write_page(page_of(seen, opening), out)
        charts.write_pictures(seen, out)
    return out


def page_of(seen: Sequence[RunView], opening: Opening | None = None) -> str:
    """Return the report of runs that were read, without their pictures as files."""
    return render(
        "report.html.jinja",
        opening=opening,
        runs=seen,
        evaluations=[run for run in seen if run.evaluation],
        headline=views.headline(seen),
        comparison=views.comparison(seen),
        findings=views.findings(seen),
        charts=[chart for run in seen for chart in charts.of_training(run.title, run.curves, run.result.metric)],
        has_charts=charts.is_available(),
        sections=kinds.sections(seen),
        written_at=timestamp(),
    )


def render(template: str, *, templates: str | None = None, **shown: Any) -> str:
    """Return a page in the common style of all reports; `templates` names a package with more of them."""
    return _environment(templates).get_template(template).render(version=__version__, **shown)


def write_page(page: str, out: Path) -> Path:
    """Write a page and return its path. Raises BlockedError."""
    with _explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, page)
    return out


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"The report cannot be written to {out}: {error.strerror or error}"
        raise BlockedError.of("report_not_written", message, "Give another --out, or free disk space.") from None


def _environment(templates: str | None) -> jinja2.Environment:
    own = own_pattern()

    def safe(shown: Any) -> Any:
        """Mask the secrets of a text; pictures and markup of ours stay."""
        is_text = isinstance(shown, str) and not isinstance(shown, Markup) and not shown.startswith("data:image/")
        return masked_text(shown, own) if is_text else shown

    packages = [name for name in (templates, "tao_skill_bank.report") if name is not None]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=safe,
    )
    environment.filters |= {
        "number": views.number_text,
        "duration": views.duration_text,
        "slug": views.slug,
        "breakable": views.breakable,
        "quoted": lambda path: shlex.quote(str(path)),
    }
    return environment
