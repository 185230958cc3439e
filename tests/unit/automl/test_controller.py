"""A search of a skill that nothing here names: real jobs of the local platform, a real SQLite study."""

import time
from pathlib import Path

import pytest

from tao_skill_bank import dispatch, jobs
from tao_skill_bank.automl import controller, ending, progress
from tao_skill_bank.automl.history import TrialState
from tao_skill_bank.contracts import Request, State

pytestmark = pytest.mark.usefixtures("third_skill")


def request(results_dir: Path, overrides=None, **automl) -> Request:
    return Request("toy", "train", overrides=overrides or {}, automl=automl, results_dir=str(results_dir))


def search(results_dir: Path, overrides=None, **automl):
    """Run a search to its end and return its status and its trials."""
    handle = dispatch.run(dispatch.plan(request(results_dir, overrides, **automl)))
    status = handle.wait(120)
    return status, controller.open_search(results_dir)


def test_a_search_finds_a_better_spec_than_the_recipe_and_hands_it_on(tmp_path):
    status, found = search(tmp_path / "run", {"train.optm_lr": 1e-4}, max_trials=8, parallel=2)
    assert status.state is State.COMPLETE, status.message
    entries = found.storage.entries()
    assert [entry.state for entry in entries] == [TrialState.COMPLETE] * 8
    best = ending.best_of(entries)
    assert best.trial.score < entries[0].trial.score
    assert (tmp_path / "run" / "best_trial").resolve() == found.folder(best.number)
    assert f"trial {best.number}" in status.message
