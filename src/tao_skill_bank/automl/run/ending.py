"""Before and after a search: the baseline, the best trial, its evaluation, and the results."""

import logging
import traceback
from collections.abc import Sequence
from pathlib import Path

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.plan.storage import Entry
from tao_skill_bank.automl.run import baseline, cleanup, noise, page
from tao_skill_bank.automl.run.best import best_of, score_of, write_best_request
from tao_skill_bank.automl.run.evaluations import SUMMARY, Pause, evaluate
from tao_skill_bank.automl.run.trials import BASELINE, FINAL, TRAIN, TrialJobs
from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.contracts import State
from tao_skill_bank.errors import BackendError, JobFailedError, TaoSkillsError
from tao_skill_bank.runs import results
from tao_skill_bank.runs.run_directory import BEST_TRIAL, RunDirectory, masked_json, write_whole

logger = logging.getLogger(__name__)
NO_DATA = "the request names no eval dataset"


def require_baseline(trials: TrialJobs, pause: Pause) -> None:
    """Evaluate the model that the search starts from, once; where it cannot be scored, store why.

    Raises:
        JobFailedError: its evaluation has no such metric: those of the trials would not have it either.
        BackendError: the platform does not accept the evaluation, and would accept no trial.

    """
    if _why_not_evaluated(trials) or baseline.why_not_scored(trials):
        return
    if not (trials.run_dir / BASELINE / SUMMARY).is_file():
        try:
            evaluate(trials, BASELINE, None, pause)
        except BackendError:
            raise
        except TaoSkillsError as error:
            logger.warning("The base has no score, and the search runs without a baseline: %s", error)
            baseline.note(trials, str(error))
            return
        for finding in baseline.findings(trials):
            logger.warning("%s %s", finding["message"], finding.get("fix", ""))
    _require_metric(trials)


def _require_metric(trials: TrialJobs) -> None:
    """Refuse a metric that the baseline's evaluation does not know. Raises JobFailedError."""
    metric, evaluation = trials.study.metric, trials.study.keys.evaluation
    if evaluation is None or metric.action != evaluation.action:
        return
    found = results.read(RunDirectory(trials.run_dir / BASELINE))
    known = [*found.metrics, *found.not_computed]
    if metric.name not in known:
        message = f"{metric.action} computes no metric {metric.name}.{did_you_mean(metric.name, known)}"
        fix = f"Set automl.metric to {metric.action}: and one of {', '.join(found.metrics)}."
        raise JobFailedError.of("metric_never_written", message, fix, path="automl.metric", got=metric.title)


def conclude(trials: TrialJobs, reason: str, pause: Pause) -> str:
    """Publish the best trial and evaluate it; return the closing message. Raises JobFailedError without one."""
    entries = trials.storage.entries()
    best = best_of(entries)
    if best is None:
        failures = "; ".join(f"trial {entry.number}: {entry.diagnosis}" for entry in entries[:3])
        message = f"No trial got a score ({reason}). {failures}"
        raise JobFailedError.of("no_score", message, "Fix the cause of the failures, and run the request again.")
    _link(trials.run_dir / BEST_TRIAL, trials.folder(best.number))
    if (trials.folder(best.number) / "best").exists():
        _link(trials.run_dir / "best", trials.folder(best.number) / "best")
    write_best_request(trials, best)
    metrics, not_computed = _scores(trials, entries, best)
    if why := baseline.why_not_scored(trials):
        not_computed["baseline"] = why
    if why := _why_not_evaluated(trials):
        not_computed["evaluation"] = why
    else:
        _final_evaluation(trials, best, pause, metrics, not_computed)
    noise.measure(trials, entries, best, pause, is_evaluated="evaluation" not in not_computed)
    gained = noise.gain(trials, entries, best)
    if gained is not None:
        metrics |= gained.metrics
    if removed := cleanup.remove_unused(trials, entries, best):
        logger.info("%d checkpoints were removed; automl.keep_trials=all keeps them", removed)
    title, shown = trials.study.metric.title, trials.shown(best.trial.score)
    recipe = score_of(entries[0])
    compared = f", the recipe's {trials.shown(recipe)}" if recipe is not None and best.number else ""
    message = f"{len(entries)} trials, {reason}. Best: trial {best.number} with {title} {shown}{compared}."
    if gained is not None:
        message += f" {gained.text}"
    elif best.number == 0:
        message += " No trial was better than the recipe."
    _summarise(trials, message, metrics, not_computed)
    return message


def _summarise(trials: TrialJobs, message: str, metrics: dict[str, float | None], not_computed: dict[str, str]) -> None:
    """Write the summary and the page, which reads it; the search succeeds without its page."""
    summary = {"metrics": metrics, "not_computed": not_computed, "findings": baseline.findings(trials)}
    write_whole(trials.run_dir / SUMMARY, masked_json(summary))
    try:
        page.write(trials, RunDirectory(trials.run_dir).report_file, State.COMPLETE, message)
    except Exception as error:  # noqa: BLE001 - a plot that fails must not fail hours of training
        traceback.print_exc()
        not_computed["report"] = f"{type(error).__name__}: {error}"
        write_whole(trials.run_dir / SUMMARY, masked_json(summary))


def _scores(trials: TrialJobs, entries: Sequence[Entry], best: Entry) -> tuple[dict[str, float | None], dict[str, str]]:
    sign = -1 if trials.study.metric.direction == "maximize" else 1
    recipe, score = score_of(entries[0]), best.trial.score
    metrics: dict[str, float | None] = {"best_trial": float(best.number), "best_score": sign * (score or 0.0)}
    not_computed: dict[str, str] = {}
    if recipe is None:
        not_computed["recipe_score"] = f"the recipe's trial has none: {entries[0].diagnosis}"
    else:
        metrics |= {"recipe_score": sign * recipe, "improvement": recipe - (score or 0.0)}
    metrics["trials"] = float(len(entries))
    metrics["failed_trials"] = float(sum(entry.state is TrialState.FAILED for entry in entries))
    metrics["gpu_hours"] = sum(entry.trial.gpu_hours for entry in entries)
    return metrics, not_computed


def _final_evaluation(
    trials: TrialJobs, best: Entry, pause: Pause, metrics: dict[str, float | None], not_computed: dict[str, str]
) -> None:
    """Evaluate the best checkpoint and add its figure, the baseline's and their difference."""
    evaluation = trials.study.keys.evaluation
    assert evaluation is not None
    parent = next(job.id for job in reversed(best.jobs) if job.kind == TRAIN)
    try:
        evaluate(trials, FINAL, parent, pause)
    except TaoSkillsError as error:  # the search itself succeeded
        not_computed["evaluation"] = str(error)
        return
    before = _metric(trials.run_dir / BASELINE, evaluation.metric)
    after = _metric(trials.run_dir / FINAL, evaluation.metric)
    metrics |= {f"baseline/{evaluation.metric}": before, f"best/{evaluation.metric}": after}
    if before is None or after is None:
        why = baseline.why_not_scored(trials) and "the base has no score"
        not_computed[f"delta/{evaluation.metric}"] = why or "one of the two evaluations did not compute it"
    else:
        metrics[f"delta/{evaluation.metric}"] = after - before


def _why_not_evaluated(trials: TrialJobs) -> str:
    if trials.study.keys.evaluation is None:
        return "the skill has no action that scores a checkpoint by itself"
    return "" if "eval" in trials.plan.request.datasets else NO_DATA


def _metric(folder: Path, name: str) -> float | None:
    return results.read(RunDirectory(folder)).metrics.get(name)


def _link(link: Path, target: Path) -> None:
    """Point a link at a folder below its own; readers see the old one or the new one."""
    work = link.with_name(f".{link.name}.new")
    work.unlink(missing_ok=True)
    work.symlink_to(target.relative_to(link.parent), target_is_directory=True)
    work.replace(link)
