"""The base model of a search: why it has no score, if it has none, and what its evaluation found about itself."""

from pathlib import Path
from typing import Any

from tao_skill_bank.automl.plan.study import unscored_base
from tao_skill_bank.automl.run.trials import BASELINE, FINAL, TrialJobs
from tao_skill_bank.bank import catalog
from tao_skill_bank.report import paired, views
from tao_skill_bank.runs import results
from tao_skill_bank.runs.run_directory import RunDirectory, masked_json, read_json_file, write_whole

FILE = "baseline_not_scored.json"


def why_not_scored(trials: TrialJobs) -> str:
    """Return why the base has no score, by its skill or after a failed attempt; empty while it may get one."""
    noted = read_json_file(_file(trials))
    if isinstance(noted, dict) and noted.get("reason"):
        return str(noted["reason"])
    return unscored_base(catalog.find(trials.plan.job.skill), trials.plan.job.action)


def note(trials: TrialJobs, reason: str) -> None:
    """Store why an evaluation of the base gave no score: a controller that replaces this one does not try again."""
    write_whole(_file(trials), masked_json({"reason": reason}))


def findings(trials: TrialJobs) -> list[dict[str, Any]]:
    """Return the findings of the baseline's evaluation, such as answers of one class; empty while there is none."""
    found = results.findings(RunDirectory(trials.run_dir / BASELINE))
    return [{**entry, "message": f"The baseline: {entry.get('message', '')}"} for entry in found]


def against_the_best(trials: TrialJobs) -> paired.Paired | None:
    """Return how the evaluation of the best differs from the baseline's; None until both have answers in common."""
    before, after = (views.read(name, RunDirectory(trials.run_dir / name)) for name in (BASELINE, FINAL))
    return paired.compare(before, after)


def _file(trials: TrialJobs) -> Path:
    return trials.run_dir / FILE
