import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import make_job, make_plan, make_record

from tao_skill_bank.contracts import Job, Plan, State, Transition, Workload, to_json
from tao_skill_bank.errors import ConflictError, RequestError
from tao_skill_bank.jobs import launched, service
from tao_skill_bank.jobs.store import JobStore

IDS = ("../../outside", "/etc/passwd", "a/b", "..", "", "a\nb", "a\0b", "A", "-a", "a" * 64, "~root", 7, None, ["a"])


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Return the plan of a recorded job, which lies in its run directory."""
    plan = make_plan(make_job(tmp_path / "run", workload=Workload(trains=True, resume=True)))
    JobStore().create(make_record(plan.job, plan_sha256=plan.sha256))
    write(tmp_path / "run", to_json(plan))
    return plan


def write(folder: Path, document: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(document))


def with_id(plan: Plan, job_id: Any) -> dict[str, Any]:
    document = to_json(plan)
    return {**document, "job": {**document["job"], "id": job_id}}


def resumed(plan: Plan) -> Job:
    return replace(plan.job, id="cosmos-rl-train-0123456789ab")


def test_the_plan_of_a_run_directory_is_that_of_its_job(plan):
    assert launched.plan_of(JobStore().read(plan.job.id)) == plan
    assert launched.job_in(Path(plan.job.results_dir)) == plan.job.id
    assert launched.earlier_job(resumed(plan)) == plan.job.id
    assert launched.earlier_job(replace(resumed(plan), action="export")) is None


@pytest.mark.parametrize("job_id", IDS, ids=repr)
def test_an_id_that_is_no_name_of_a_job_becomes_no_path(plan, tmp_path, job_id):
    folder = Path(plan.job.results_dir)
    write(folder, with_id(plan, job_id))
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for act in (launched.job_in, lambda _: service.launch(replace(plan, job=resumed(plan)))):
        with pytest.raises(ConflictError, match="names no job") as caught:
            act(folder)
        assert str(folder / "plan.json") in caught.value.problems[0].fix
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize("job_id", [job_id for job_id in IDS if isinstance(job_id, str)], ids=repr)
def test_a_plan_with_an_id_that_is_no_name_of_a_job_is_not_launched(tmp_path, job_id):
    with pytest.raises(ConflictError, match="cannot be the id of a job"):
        service.launch(make_plan(replace(make_job(tmp_path / "run"), id=job_id)))
    assert not (tmp_path / "run").exists()
    assert JobStore().all() == []


def test_a_plan_that_names_another_job_is_not_taken_for_it(plan, tmp_path):
    other = make_plan(make_job(tmp_path / "other"))
    JobStore().create(make_record(other.job, plan_sha256=other.sha256))
    write(tmp_path / "other", to_json(other))
    folder = Path(plan.job.results_dir)
    write(folder, with_id(plan, other.job.id))
    with pytest.raises(ConflictError, match="copy of the run directory"):
        launched.job_in(folder)
    with pytest.raises(ConflictError, match="is not the plan of job"):
        launched.plan_of(JobStore().read(plan.job.id))


def test_a_plan_that_was_edited_after_its_launch_is_refused_though_it_was_sealed_again(plan):
    edited = make_plan(replace(plan.job, spec={"train": {"epoch": 9}}))
    write(Path(plan.job.results_dir), to_json(edited))
    for act in (
        lambda: launched.job_in(Path(plan.job.results_dir)),
        lambda: launched.plan_of(JobStore().read(plan.job.id)),
        lambda: launched.earlier_job(resumed(plan)),
    ):
        with pytest.raises(ConflictError, match="was edited after job"):
            act()


def test_a_run_directory_that_was_moved_is_continued_and_a_copy_of_one_is_not(plan, tmp_path):
    folder = Path(plan.job.results_dir)
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(ConflictError, match="copy of the run directory") as caught:
        launched.job_in(tmp_path / "copy")
    assert str(folder) in caught.value.problems[0].fix
    shutil.rmtree(folder)
    assert launched.job_in(tmp_path / "copy") == plan.job.id


def test_a_job_of_another_state_folder_is_continued(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "new"))
    assert launched.earlier_job(resumed(plan)) == plan.job.id


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"job": 3}', '{"job": []}', "\0", '{"job": {"id": '])
def test_what_is_no_plan_names_no_job(plan, text):
    folder = Path(plan.job.results_dir)
    (folder / "plan.json").write_text(text)
    try:
        found = launched.job_in(folder)
    except ConflictError:
        found = None
    assert found is None
    with pytest.raises((ConflictError, RequestError)):
        launched.plan_of(JobStore().read(plan.job.id))


@pytest.mark.parametrize(
    ("state", "err_class", "named"),
    [(State.ERROR, "ERR_INFRA", True), (State.ERROR, "ERR_PROGRAM", False), (State.COMPLETE, None, False)],
)
def test_the_folder_of_a_job_that_was_killed_names_its_retry(
    tmp_path: Path, state: State, err_class: Any, named: bool
) -> None:
    killed = make_plan(make_job(tmp_path / "run", action="evaluate", workload=Workload()))
    ended = (Transition("", State.RUNNING), Transition("", state, "It was killed."))
    record = make_record(killed.job, plan_sha256=killed.sha256, transitions=ended, terminal_state=state)
    JobStore().create(replace(record, err_class=err_class))
    write(tmp_path / "run", to_json(killed))
    (tmp_path / "run" / "results.json").write_text("{}")
    again = make_plan(make_job(tmp_path / "run", action="evaluate", workload=Workload()))
    with pytest.raises(ConflictError) as error:
        service.launch(again)
    (problem,) = error.value.problems
    assert problem.code == "results_dir_not_empty"
    assert (f"tao-skills retry {killed.job.id}" in problem.fix) is named
