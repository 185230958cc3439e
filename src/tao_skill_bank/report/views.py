"""The content of a report about each run, read with tolerance from its directory."""

import base64
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from tao_skill_bank.contracts import Input, from_json
from tao_skill_bank.core import numbers, regular_files, yaml12
from tao_skill_bank.data import kinds
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.runs import results, summaries
from tao_skill_bank.runs.results import Curve, Result
from tao_skill_bank.runs.run_directory import RunDirectory, read_json_file

MAX_CURVE_POINTS = 1500
SEVERITIES = ("blocking", "warning", "not_checked", "info")
PNG = b"\x89PNG"


@dataclass(frozen=True)
class Evaluation:
    """metrics_summary.json and results.json; rows of `matrix` are truths, columns predictions.

    Attributes:
        kind: what the entries are (report/kinds); inferred for a document without one.
        entries: one per sample.
        details: everything that results hold which are not a list.
        units: of metrics that are not fractions; a fraction from 0 to 1 is shown in percent.
        picture: comparison.png as a data URI, or empty.
        intervals: low and high end of the confidence interval of a metric.
        calibration: the reliability bins of confidences.

    """

    task: str
    num_samples: int
    metrics: dict[str, float | None]
    not_computed: dict[str, str]
    per_class: dict[str, dict[str, Any]]
    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]
    kind: str = "numbers"
    entries: tuple[dict[str, Any], ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    picture: str = ""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    calibration: tuple[dict[str, Any], ...] = ()

    @property
    def answers(self) -> tuple[dict[str, Any], ...]:
        """The entries that answer a question."""
        return tuple(entry for entry in self.entries if "response" in entry)

    @property
    def rows(self) -> list[tuple[str, tuple[int, ...]]]:
        """The matrix without the truths that never occur (answers that could not be read are columns only)."""
        return [(label, row) for label, row in zip(self.labels, self.matrix, strict=False) if sum(row)]


@dataclass(frozen=True)
class InputView:
    """An input of a run: its label, what is read, and the folders to which the media names of results are relative."""

    label: str
    shown: str
    media_folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunView:
    """One run as the report shows it; what its directory lacks is empty."""

    role: str
    run: RunDirectory
    result: Result
    curves: dict[str, Curve]
    evaluation: Evaluation | None
    inputs: tuple[InputView, ...]
    route: dict[str, Any]
    findings: tuple[dict[str, Any], ...]
    plan_sha256: str
    spec: str
    request: str
    commands: tuple[str, ...]

    @property
    def title(self) -> str:
        """The role, or what the run did when it is the only one."""
        return self.role or self.result.action or self.run.path.name


@dataclass(frozen=True)
class Headline:
    """The main metric of the evaluations; `direction` is empty where the skill defines none.

    Attributes:
        intervals: of the values, where any has one.

    """

    metric: str
    values: tuple[tuple[str, float], ...]
    unit: str = ""
    direction: str = ""
    intervals: tuple[tuple[float, float] | None, ...] = ()

    @property
    def better(self) -> str:
        """Which of two values is better, in words."""
        return {"maximize": "higher is better", "minimize": "lower is better"}.get(self.direction, "")


def read(role: str, run: RunDirectory) -> RunView:
    """Return what a run directory holds for a report."""
    plan = run.plan_document()
    job = plan.get("job", {})
    request = read_json_file(run.request_file)
    held = results.read_whole(run, MAX_CURVE_POINTS)
    return RunView(
        role=role,
        run=run,
        result=held.result,
        curves=held.curves,
        evaluation=_evaluation(run, held.result),
        inputs=tuple(_inputs(job)),
        route={name: str(plan["route"].get(name, "")) for name in ("kind", "reason")} if "route" in plan else {},
        findings=(*summaries.findings(plan.get("findings")), *held.findings),
        plan_sha256=str(plan.get("sha256") or ""),
        spec=yaml12.render(job["spec"]) if job.get("spec") else "",
        request=json.dumps(request, indent=2, ensure_ascii=False) if request else "",
        commands=tuple(_commands(run, plan)),
    )


def headline(runs: Sequence[RunView]) -> Headline | None:
    """Return the metric by which the skill judges evaluations, else the first one that they all have.

    One evaluation that compares variants has metrics named METRIC/VARIANT: the first metric of every variant is shown.
    """
    evaluated = [run for run in runs if run.evaluation]
    tables = [_with_values(run) for run in evaluated]
    common = [name for name in (tables[0] if tables else {}) if all(name in table for table in tables)]
    if not common:
        return None
    judged = next((run.result.metric for run in evaluated if run.result.metric), None)
    is_judged = judged is not None and judged.name in common
    metric = judged.name if judged is not None and is_judged else common[0]
    direction = judged.direction if judged is not None and is_judged else ""
    unit = _unit(evaluated[0], metric)
    kind, is_of_variant, _ = metric.partition("/")
    if is_of_variant and len(evaluated) == 1:
        of_kind = {name.partition("/")[2]: value for name, value in tables[0].items() if name.startswith(f"{kind}/")}
        return Headline(kind, tuple(of_kind.items()), unit, direction)
    values = tuple((run.title, table[metric]) for run, table in zip(evaluated, tables, strict=True))
    ranges = tuple(run.evaluation.intervals.get(metric) for run in evaluated if run.evaluation)
    return Headline(metric, values, unit, direction, ranges if any(ranges) else ())


def comparison(runs: Sequence[RunView]) -> list[tuple[str, list[float | None], str]]:
    """Return a row (metric, value of each evaluation, why a value is missing) for every metric of any evaluation."""
    found = [run.evaluation for run in runs if run.evaluation]
    names = dict.fromkeys(name for evaluation in found for name in evaluation.metrics)
    return [
        (
            name,
            [evaluation.metrics.get(name) for evaluation in found],
            next((why for evaluation in found if (why := evaluation.not_computed.get(name))), ""),
        )
        for name in names
    ]


def findings(runs: Sequence[RunView]) -> list[dict[str, Any]]:
    """Return the findings of all runs, each once, the most severe first."""
    unique = {(str(entry.get("code")), str(entry.get("message"))): entry for run in runs for entry in run.findings}
    return sorted(unique.values(), key=_severity)


def number_text(value: Any) -> str:
    """Return a number with four significant digits, a dash for none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return "–" if value is None else str(value)
    if numbers.finite(value) is None:
        return "beyond every number"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e9 else f"{value:.4g}"


def duration_text(seconds: float | None) -> str:
    """Return a duration as people read it."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def breakable(path: str) -> Markup:
    """Return a spec path with a line-break opportunity after every dot."""
    return Markup(str(escape(path)).replace(".", ".<wbr>"))


def slug(text: str) -> str:
    """Return a text as a part of a file name or an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "run"


def _inputs(job: dict[str, Any]) -> Iterator[InputView]:
    """Yield the inputs of a plan of any version; for an unknown kind only the paths are shown."""
    workload = job.get("workload", {})
    package = str(job.get("module") or "").rpartition(".")[0]
    for entry in _dicts(workload.get("inputs")):
        try:
            given = from_json(Input, entry, "plan.json")
            yield InputView(*kinds.row(given, package), kinds.media_folders(given, package))
        except TaoSkillsError:
            paths = _dict(entry.get("paths")).values()
            yield InputView(str(entry.get("role") or "input"), ", ".join(str(path) for path in paths))


def _evaluation(run: RunDirectory, result: Result) -> Evaluation | None:
    summary = summaries.read(run)
    if not summary:
        return None
    matrix = summary.get("confusion_matrix", {"labels": (), "matrix": ()})
    found = read_json_file(run.path / "results.json")
    document = _dict(found)
    entries = tuple(_dicts(document.get("entries") if "entries" in document else found))
    return Evaluation(
        task=summary.get("task", ""),
        num_samples=summary.get("num_samples", 0),
        metrics=result.metrics,
        not_computed=result.not_computed,
        per_class=summary.get("per_class", {}),
        labels=tuple(matrix["labels"]),
        matrix=tuple(tuple(row) for row in matrix["matrix"]),
        kind=str(summary.get("kind") or document.get("kind") or _kind_of(entries)),
        entries=entries,
        details={name: value for name, value in document.items() if name not in ("kind", "entries")},
        units=summary.get("units", {}),
        picture=_picture(run, result),
        intervals=summary.get("intervals", {}),
        calibration=tuple(summary.get("calibration", ())),
    )


def _kind_of(entries: Sequence[dict[str, Any]]) -> str:
    """Return the kind of a document of an earlier version, which has none."""
    if any("response" in entry for entry in entries):
        return "answers"
    return "videos" if any("variant" in entry for entry in entries) else "numbers"


def _picture(run: RunDirectory, result: Result) -> str:
    name = result.artifacts.get("comparison")
    if not isinstance(name, str):
        return ""
    try:
        content = regular_files.read_bytes(run.path / name)
    except OSError:
        return ""
    if not content.startswith(PNG):  # a page shows no other file that a result may name
        return ""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _unit(run: RunView, metric: str) -> str:
    return run.evaluation.units.get(metric, "") if run.evaluation else ""


def _commands(run: RunDirectory, plan: dict[str, Any]) -> list[str]:
    """Return the commands that run the same request again, through the dispatcher and without it."""
    commands = []
    if run.request_file.is_file():
        again = run.path.with_name(f"{run.path.name}-again")
        commands.append(
            shlex.join(["tao-skills", "run", "--request", str(run.request_file), "--results-dir", str(again)])
        )
    argv = plan.get("argv")
    if isinstance(argv, list) and argv:
        commands.append(shlex.join(str(word) for word in argv))
    return commands


def _with_values(run: RunView) -> dict[str, float]:
    metrics = run.evaluation.metrics if run.evaluation else {}
    return {name: value for name, value in metrics.items() if value is not None}


def _severity(finding: dict[str, Any]) -> int:
    severity = finding.get("severity")
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
