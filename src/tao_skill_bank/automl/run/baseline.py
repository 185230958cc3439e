"""Why the base model of a search has no score, if it has none: the search then runs without a baseline."""

from pathlib import Path

from tao_skill_bank.automl.plan.study import unscored_base
from tao_skill_bank.automl.run.trials import TrialJobs
from tao_skill_bank.bank import catalog
from tao_skill_bank.runs.run_directory import json_text, read_json_file, write_whole

FILE = "baseline_not_scored.json"


def why_not_scored(trials: TrialJobs) -> str:
    """Return why the base has no score, by its skill or after a failed attempt; empty while it may get one."""
    noted = read_json_file(_file(trials))
    if isinstance(noted, dict) and noted.get("reason"):
        return str(noted["reason"])
    return unscored_base(catalog.find(trials.plan.job.skill), trials.plan.job.action)


def note(trials: TrialJobs, reason: str) -> None:
    """Store why an evaluation of the base gave no score: a controller that replaces this one does not try again."""
    write_whole(_file(trials), json_text({"reason": reason}))


def _file(trials: TrialJobs) -> Path:
    return trials.run_dir / FILE
