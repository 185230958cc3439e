"""The best trial of a search, and the request that trains its spec once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.plan.storage import Entry
from tao_skill_bank.automl.run.trials import TrialJobs
from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Request, to_json
from tao_skill_bank.core import yaml12
from tao_skill_bank.runs.run_directory import write_whole
from tao_skill_bank.spec.overrides import assignments

BEST_REQUEST = "best_request.yaml"


def best_of(entries: Sequence[Entry]) -> Entry | None:
    """Return the trial with the best score so far, None while there is none; failed ones have none."""
    scored = [(score, entry.number, entry) for entry in entries if (score := score_of(entry)) is not None]
    return min(scored)[-1] if scored else None


def score_of(entry: Entry) -> float | None:
    """Return the score of a trial, lower is better; a failed one has none, whatever it reported before."""
    return None if entry.state is TrialState.FAILED else entry.trial.score


def write_best_request(trials: TrialJobs, best: Entry) -> Path:
    """Write the request that trains the best trial's spec once, and return its path."""
    path = trials.run_dir / BEST_REQUEST
    write_whole(path, yaml12.render(best_document(trials, best)))
    return path


def best_document(trials: TrialJobs, best: Entry) -> dict[str, Any]:
    """Return that request as its file says it, without what is empty."""
    document: dict[str, Any] = _without_empty(to_json(best_request(trials, best)))
    return document


def _without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_empty(child) for name, child in value.items() if child not in (None, {}, "")}


def best_request(trials: TrialJobs, best: Entry) -> Request:
    """Return the request that trains the best trial's spec once, as `tao-skills run --request` takes it."""
    request = trials.plan.request
    skill = catalog.find(request.skill)
    overrides = dict(assignments(request.overrides, skill.schema(request.action)))
    for path in skill.action(request.action).results_keys:
        overrides.pop(path, None)
    overrides |= best.values
    if trials.study.rungs:
        overrides[trials.study.keys.epochs] = trials.study.max_epochs
    return replace(request, overrides=overrides, automl={}, automl_policy="off", prompt="", results_dir=None)
