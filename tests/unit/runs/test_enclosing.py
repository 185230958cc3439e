"""A run directory lies in that of another job only where the plan names that job."""

from dataclasses import replace
from pathlib import Path

import pytest
from runs import make_job, make_plan

from tao_skill_bank.contracts import Request, to_json
from tao_skill_bank.runs import enclosing
from tao_skill_bank.runs.run_directory import RunDirectory, masked_json, set_aside

REQUEST = Request("tao-finetune-cosmos-reason", "evaluate")


@pytest.fixture
def outer(tmp_path):
    """A run directory of job `outer`."""
    write(tmp_path / "train", "outer")
    return tmp_path / "train"


def write(folder: Path, job_id: str, request: Request = REQUEST) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plan = replace(make_plan(make_job(folder, id=job_id)), request=request)
    (folder / "plan.json").write_text(masked_json(to_json(plan)))


@pytest.mark.parametrize("below", ["evaluate", "checkpoints/epoch_1", "a/b/c/d"])
def test_a_folder_at_any_depth_of_another_run_is_refused_with_a_way_out(outer, below):
    found = enclosing.problem(str(outer / below), REQUEST)
    assert found is not None
    assert "run directory of job outer" in found.message
    assert "--parent outer" in found.fix


@pytest.mark.parametrize("owner", [{"parent_job_id": "outer"}, {"automl": {"search": "outer"}}])
def test_the_job_that_the_plan_names_may_hold_it(outer, owner):
    assert enclosing.problem(str(outer / "evaluate"), replace(REQUEST, **owner)) is None


@pytest.mark.parametrize(
    "owner", [{"parent_job_id": "another"}, {"automl": {"search": "another"}}, {"automl": {"search": 1}}]
)
def test_another_job_may_not(outer, owner):
    assert enclosing.problem(str(outer / "evaluate"), replace(REQUEST, **owner)) is not None


def test_a_job_that_was_resumed_since_still_owns_its_folder(outer):
    set_aside(RunDirectory(outer), "outer")
    write(outer, "later")
    for owner in ("outer", "later"):
        assert enclosing.problem(str(outer / "evaluate"), replace(REQUEST, parent_job_id=owner)) is None


def test_only_the_nearest_enclosing_run_counts(outer):
    write(outer / "trials" / "trial_0001", "trial")
    request = replace(REQUEST, parent_job_id="trial")
    assert enclosing.problem(str(outer / "trials" / "trial_0001" / "evaluation"), request) is None
    assert enclosing.problem(str(outer / "trials" / "trial_0002"), request) is not None


def test_a_link_into_another_run_is_seen_through(outer, tmp_path):
    (tmp_path / "link").symlink_to(outer)
    assert enclosing.problem(str(tmp_path / "link" / "evaluate"), REQUEST) is not None


def test_a_folder_with_a_saved_plan_of_another_place_is_no_run_directory(tmp_path):
    plan = make_plan(make_job(tmp_path / "results" / "run"))
    (tmp_path / "plan.json").write_text(masked_json(to_json(plan)))
    assert enclosing.problem(str(tmp_path / "results" / "run"), REQUEST) is None


def test_a_run_directory_inside_another_one_may_be_continued(outer):
    write(outer / "trial", "trial")
    assert enclosing.problem(str(outer / "trial"), REQUEST) is None


@pytest.mark.parametrize("owner", [{}, {"parent_job_id": "outer"}, {"automl": {"search": "another"}}])
def test_a_trial_is_continued_by_its_search_only(outer, owner):
    trial = outer / "trials" / "trial_0001"
    write(trial, "trial", replace(REQUEST, automl={"search": "outer"}))
    found = enclosing.problem(str(trial), replace(REQUEST, **owner))
    assert found is not None
    assert "of the search outer" in found.message
    assert "--parent trial" in found.fix


def test_a_search_that_was_resumed_continues_the_trials_of_the_one_before(outer):
    trial = outer / "trials" / "trial_0001"
    write(trial, "trial", replace(REQUEST, automl={"search": "outer"}))
    assert enclosing.problem(str(trial), replace(REQUEST, automl={"search": "outer"})) is None
    set_aside(RunDirectory(outer), "outer")
    write(outer, "later")
    assert enclosing.problem(str(trial), replace(REQUEST, automl={"search": "outer"})) is None
    assert enclosing.problem(str(trial), replace(REQUEST, automl={"search": "later"})) is None
