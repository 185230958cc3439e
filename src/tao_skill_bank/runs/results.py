"""Reads the result of a run directory: what the run produced, complete or not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import MonitoringMetric, State, contract, read_json, to_json
from tao_skill_bank.core import numbers
from tao_skill_bank.runs import broken_files, checkpoint_folders, metric_history, reported, summaries
from tao_skill_bank.runs.metric_history import Curve, MetricHistory
from tao_skill_bank.runs.run_directory import (
    EMBEDDINGS_FILE,
    SKIPPED_FILE,
    JsonLines,
    RunDirectory,
    json_lines,
    masked_json,
    read_json_file,
    write_whole,
)

REPORTED_STATES = {"SUCCESS": State.COMPLETE, "FAILURE": State.ERROR}
ARTIFACTS = {
    "best": "best",
    "results": "results.json",
    "metrics_summary": "metrics_summary.json",
    "annotations": "annotations.json",
    "captions": "captions.jsonl",
    "media": "media",
    "confusion_matrix": "confusion_matrix.png",
    "embeddings": EMBEDDINGS_FILE,
    "comparison": "comparison.png",
    "comparison_table": "comparison.csv",
    "metrics": "metrics.jsonl",
    "status": "status.jsonl",
    "log": "logs/job.log",
    "report": "report.html",
}
SERIES = {  # the names that trainings of every model use
    "train/loss_avg": "train_loss",
    "val/avg_loss": "validation_loss",
    "optimizer/lr": "learning_rate",
}
LOSSES = ("train/loss_avg", "val/avg_loss")
__all__ = ["Contents", "Curve", "Result", "curves", "findings", "metric_of", "read", "read_whole", "write"]


@contract
class Result:
    """What a run directory holds.

    Attributes:
        metrics: numbers of an evaluation (`accuracy`, ...), else the last ones of the training.
        not_computed: metric name to the reason why it has no value.
        losses: first, last and lowest training and validation loss, where there are any.
        metric: the metric by which the skill judges the results of the action; None where it names none.
        best: best_score.json: `best_score`, `metric`, `direction`, `best_ckpt_abs_dir`.
        skipped: the training records that could not be read and were skipped: index, code, message, path.
        artifacts: kind to path relative to the run directory; checkpoints oldest first.
        failure: the trainer's own message or diagnosis when it failed, else the message of the backend.

    """

    state: State
    job_id: str = ""
    skill: str = ""
    action: str = ""
    model: str = ""
    started_at: str = ""
    duration_seconds: float | None = None
    steps: int = 0
    metrics: dict[str, float | None] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    metric: MonitoringMetric | None = None
    best: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[dict[str, Any], ...] = ()
    artifacts: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    failure: str = ""


def read(run: RunDirectory, state: State | None = None) -> Result:
    """Return the result of a run directory; without `state`, the state that its own files report.

    For a job that a later one resumed it is the result at its end: metrics and artifacts are shared.
    """
    if run.set_aside_id and run.result_file.is_file():
        return read_json(Result, run.result_file)
    return _result(run, state, _history(run))


@dataclass(frozen=True)
class Contents:
    """A result, its curves, and the findings of its evaluation and of files that cannot be read."""

    result: Result
    curves: dict[str, Curve]
    findings: tuple[dict[str, Any], ...]


def read_whole(run: RunDirectory, max_points: int) -> Contents:
    """Return all that a run directory holds, its curves thinned to `max_points`; each file of lines is read once."""
    status, metrics = JsonLines(run.status_file), JsonLines(run.metrics_file)
    history = metric_history.read(metrics, _series(run))
    result = _result(run, None, history, status)
    if run.set_aside_id and run.result_file.is_file():
        result = read_json(Result, run.result_file)
    found = findings(run, (status, metrics))
    return Contents(result, _curves(history, _series(run), max_points), found)


def _result(
    run: RunDirectory, state: State | None, history: MetricHistory, status: Iterable[dict[str, Any]] | None = None
) -> Result:
    seen = reported.read(run.status_lines(status), is_failure_marked=run.is_failure_marked)
    job = run.plan_document().get("job", {})
    summary = summaries.read(run)
    recorded = _object(read_json_file(run.result_file))
    return Result(
        state=state or _reported_state(recorded, seen.last),
        job_id=str(job.get("id", "")),
        skill=str(job.get("skill", "")),
        action=str(job.get("action", "")),
        model=str(_object(job.get("workload")).get("model", "")),
        started_at=seen.started_at,
        duration_seconds=numbers.finite(seen.duration_seconds),
        steps=seen.step,
        metrics=summary.get("metrics", {}) if summary else _numbers(history.newest),
        not_computed=summary.get("not_computed", {}),
        losses=_losses(history),
        metric=metric_of(run),
        best=_facts(read_json_file(run.path / "best" / "best_score.json")),
        skipped=_skipped(run.path / SKIPPED_FILE),
        artifacts=_artifacts(run.path),
        failure=_failure(seen.last) or str(recorded.get("failure", "")),
    )


def _skipped(path: Path) -> tuple[dict[str, Any], ...]:
    document = read_json_file(path)
    return tuple(_facts(entry) for entry in document if isinstance(entry, dict)) if isinstance(document, list) else ()


def findings(run: RunDirectory, read: Sequence[JsonLines] = ()) -> tuple[dict[str, Any], ...]:
    """Return what the results of a run say about its evaluation, and which files cannot be read, among them `read`."""
    return (*summaries.read(run).get("findings", ()), *broken_files.findings(run, read))


def write(run: RunDirectory, result: Result) -> None:
    """Write result.json. Raises OSError."""
    write_whole(run.result_file, masked_json(to_json(result)))


def curves(run: RunDirectory) -> dict[str, Curve]:
    """Return the losses, the learning rate and the skill's own metric of a run, by name; absent ones are left out."""
    return _curves(_history(run), _series(run))


def _series(run: RunDirectory) -> dict[str, str]:
    metric = metric_of(run)
    return SERIES if metric is None else {metric.name: metric.name} | SERIES


def _history(run: RunDirectory) -> MetricHistory:
    return metric_history.read(json_lines(run.metrics_file), _series(run))


def _curves(history: MetricHistory, names: Mapping[str, str], max_points: int = 0) -> dict[str, Curve]:
    return {names[key]: points.curve(max_points) for key, points in history.series.items()}


def metric_of(run: RunDirectory) -> MonitoringMetric | None:
    """Return what the skill judges the action's results by, as the run's plan says."""
    stated = _object(_object(_object(read_json_file(run.plan_file)).get("job")).get("metric"))
    is_known = isinstance(stated.get("name"), str) and stated.get("direction") in ("minimize", "maximize")
    return MonitoringMetric(stated["name"], stated["direction"]) if is_known else None


def _losses(history: MetricHistory) -> dict[str, float]:
    found: dict[str, float] = {}
    for key in LOSSES:
        if key in history.series:
            name, values = SERIES[key], history.series[key].values
            found |= {f"{name}_first": values[0], f"{name}_last": values[-1], f"{name}_lowest": min(values)}
    return found


def _numbers(values: Any) -> dict[str, float | None]:
    entries = ((str(name), value) for name, value in _object(values).items())
    return {name: numbers.finite(value) for name, value in entries if value is None or isinstance(value, (int, float))}


def _artifacts(folder: Path) -> dict[str, str | tuple[str, ...]]:
    found: dict[str, str | tuple[str, ...]] = {
        kind: name for kind, name in ARTIFACTS.items() if (folder / name).exists()
    }
    for kind in ("checkpoints", "safetensors"):
        epochs = sorted((path for path in (folder / kind).glob("*") if path.is_dir()), key=_age)
        if epochs:
            found[kind] = tuple(path.relative_to(folder).as_posix() for path in epochs)
    return found


def _age(path: Path) -> tuple[tuple[int, bool, int], str]:
    """Order epoch_2 before epoch_10, and the checkpoint of an interruption by its step."""
    return checkpoint_folders.position(path), path.name


def _reported_state(recorded: dict[str, Any], last: Mapping[str, Any]) -> State:
    if recorded.get("state") in [state.value for state in State]:
        return State(recorded["state"])
    return REPORTED_STATES.get(str(last.get("state")), State.UNKNOWN)


def _failure(last: Mapping[str, Any]) -> str:
    if last.get("state") != "FAILURE":
        return ""
    diagnosis = last.get("diagnosis") or {}
    parts = dict.fromkeys((last.get("message"), diagnosis.get("cause"), diagnosis.get("cure")))
    return " ".join(str(part) for part in parts if part)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _facts(value: Any) -> dict[str, Any]:
    """Return the texts and finite numbers of an object."""
    return {
        name: held
        for name, held in _object(value).items()
        if isinstance(held, (str, bool)) or numbers.finite(held) is not None
    }
