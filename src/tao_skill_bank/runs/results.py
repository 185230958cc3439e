"""Reads the result of a run directory: what the run produced, complete or not."""

from collections.abc import Iterable
from dataclasses import field
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import MonitoringMetric, State, contract, read_json, to_json
from tao_skill_bank.core import finite
from tao_skill_bank.runs import broken_files, checkpoint_folders, summaries
from tao_skill_bank.runs.run_directory import (
    SKIPPED_FILE,
    RunDirectory,
    epoch_seconds,
    json_lines,
    json_text,
    read_json_file,
    write_whole,
)

REPORTED_STATES = {"SUCCESS": State.COMPLETE, "FAILURE": State.ERROR}
ARTIFACTS = {
    "best": "best",
    "results": "results.json",
    "metrics_summary": "metrics_summary.json",
    "confusion_matrix": "confusion_matrix.png",
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


@contract
class Curve:
    """A quantity over optimizer steps, without the values that are not finite numbers."""

    steps: tuple[float, ...] = ()
    values: tuple[float, ...] = ()


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
    lines = list(run.status_lines())
    job = run.plan_document().get("job", {})
    summary = summaries.read(run)
    recorded = _object(read_json_file(run.result_file))
    series = curves(run)
    times = [moment for line in lines if (moment := epoch_seconds(line.get("time"))) is not None]
    return Result(
        state=state or _reported_state(recorded, lines),
        job_id=str(job.get("id", "")),
        skill=str(job.get("skill", "")),
        action=str(job.get("action", "")),
        model=str(_object(job.get("workload")).get("model", "")),
        started_at=str(lines[0].get("time", "")) if lines else "",
        duration_seconds=_finite(round(max(times) - min(times), 3)) if times else None,
        # The newest, not the largest: phases before the training count their own steps.
        steps=next((line["step"] for line in reversed(lines) if "step" in line), 0),
        metrics=summary.get("metrics", {}) if summary else _last_values(run),
        not_computed=summary.get("not_computed", {}),
        losses=_losses(series),
        metric=metric_of(run),
        best=_facts(read_json_file(run.path / "best" / "best_score.json")),
        skipped=_skipped(run.path / SKIPPED_FILE),
        artifacts=_artifacts(run.path),
        failure=_failure(lines) or str(recorded.get("failure", "")),
    )


def _skipped(path: Path) -> tuple[dict[str, Any], ...]:
    document = read_json_file(path)
    return tuple(_facts(entry) for entry in document if isinstance(entry, dict)) if isinstance(document, list) else ()


def findings(run: RunDirectory) -> tuple[dict[str, Any], ...]:
    """Return what the results of a run say about its evaluation, and which of its files cannot be read."""
    return (*summaries.read(run).get("findings", ()), *broken_files.findings(run))


def write(run: RunDirectory, result: Result) -> None:
    """Write result.json. Raises OSError."""
    write_whole(run.result_file, json_text(to_json(result)))


def curves(run: RunDirectory) -> dict[str, Curve]:
    """Return the losses, the learning rate and the skill's own metric of a run, by name; absent ones are left out."""
    metric = metric_of(run)
    series = SERIES if metric is None else {metric.name: metric.name} | SERIES
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in series.values()}
    for line in json_lines(run.metrics_file):
        for key, name in series.items():
            if _is_number(line.get("step")) and _is_number(line.get(key)):
                points[name].append((float(line["step"]), float(line[key])))
    return {name: _curve(pairs) for name, pairs in points.items() if pairs}


def metric_of(run: RunDirectory) -> MonitoringMetric | None:
    """Return what the skill judges the action's results by, as the run's plan says."""
    stated = _object(_object(_object(read_json_file(run.plan_file)).get("job")).get("metric"))
    is_known = isinstance(stated.get("name"), str) and stated.get("direction") in ("minimize", "maximize")
    return MonitoringMetric(stated["name"], stated["direction"]) if is_known else None


def _curve(pairs: Iterable[tuple[float, float]]) -> Curve:
    by_step = sorted(dict(pairs).items())  # a resumed run writes some steps again: the later value wins
    return Curve(tuple(step for step, _ in by_step), tuple(value for _, value in by_step))


def _losses(series: dict[str, Curve]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in ("train_loss", "validation_loss"):
        if values := series.get(name, Curve()).values:
            found |= {f"{name}_first": values[0], f"{name}_last": values[-1], f"{name}_lowest": min(values)}
    return found


def _last_values(run: RunDirectory) -> dict[str, float | None]:
    """Return the newest value of every metric; a value that is not finite is None."""
    values: dict[str, Any] = {}
    for line in json_lines(run.metrics_file):
        values |= {name: value for name, value in line.items() if "/" in name}
    return _numbers(values)


def _numbers(values: Any) -> dict[str, float | None]:
    entries = ((str(name), value) for name, value in _object(values).items())
    return {name: _finite(value) for name, value in entries if value is None or isinstance(value, (int, float))}


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


def _reported_state(recorded: dict[str, Any], lines: list[dict[str, Any]]) -> State:
    if recorded.get("state") in [state.value for state in State]:
        return State(recorded["state"])
    return REPORTED_STATES.get(str(lines[-1].get("state")), State.UNKNOWN) if lines else State.UNKNOWN


def _failure(lines: list[dict[str, Any]]) -> str:
    last = lines[-1] if lines else {}
    if last.get("state") != "FAILURE":
        return ""
    diagnosis = last.get("diagnosis", {})
    parts = dict.fromkeys((last.get("message"), diagnosis.get("cause"), diagnosis.get("cure")))
    return " ".join(str(part) for part in parts if part)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _facts(value: Any) -> dict[str, Any]:
    """Return the texts and finite numbers of an object."""
    return {name: held for name, held in _object(value).items() if isinstance(held, (str, bool)) or _is_number(held)}


def _is_number(value: Any) -> bool:
    return _finite(value) is not None


def _finite(value: Any) -> float | None:
    """Return a JSON value as a finite number, or None when it is not one."""
    return finite.number(value)
