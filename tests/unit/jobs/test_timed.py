import json
from dataclasses import replace
from pathlib import Path

import pytest
from preflight_worlds import make_job

from tao_skill_bank.contracts import JobRecord, Resources, State, Transition, to_json
from tao_skill_bank.jobs import timed
from tao_skill_bank.jobs.store import JobStore


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path, trains=True, epochs=2)


@pytest.fixture
def finished(tmp_path):
    """Return a function that records a finished job, as it left its run directory."""

    def make(job, number=0, seconds=40, findings=(), state=State.COMPLETE, study=None):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        document = {"schema_version": 2, "job": to_json(job), "findings": list(findings), "study": study}
        (folder / "plan.json").write_text(json.dumps(document))
        lines = [{"time": f"2026-01-01T00:{moment // 60:02}:{moment % 60:02}+00:00"} for moment in (0, seconds)]
        (folder / "status.jsonl").write_text("".join(json.dumps({**line, "state": "RUNNING"}) + "\n" for line in lines))
        moved = (Transition(f"2026-01-01T00:00:0{number}+00:00", state),)
        names = {"network_arch": "x", "skill": job.skill, "action": job.action, "platform": "local"}
        submitted = f"2026-01-0{number + 1}T00:00:00+00:00"
        record = JobRecord(f"job-{number}", results_dir=str(folder), submitted_at=submitted, **names)
        JobStore().create(replace(record, transitions=moved, terminal_state=state))
        return record.id

    return make


def test_the_newest_finished_job_of_the_same_model_and_processes_is_found(job, finished):
    finished(job, 0, seconds=30)
    newest = finished(job, 1, seconds=40)
    finished(replace(job, workload=replace(job.workload, model="hf_model://other/model")), 2)
    finished(replace(job, resources=Resources(processes_per_node=2)), 3)
    finished(job, 4, state=State.ERROR)
    finished(job, 5, study={})
    assert timed.newest(job) == timed.Timed(newest, 40.0, None, None, 2)


def test_nothing_like_it_is_nothing(job):
    assert timed.newest(job) is None


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([{"code": "steps", "evidence": {"records": 10}}], (20, None)),
        ([{"code": "estimate", "evidence": {"samples": 25, "flops": 1e9}}], (25, 1e9)),
        ([{"code": "steps", "evidence": None}, "noise"], (None, None)),
    ],
)
def test_its_work_is_what_its_plan_counted(job, finished, findings, expected):
    finished(job, findings=findings)
    found = timed.newest(job)
    assert (found.amount, found.flops) == expected


def test_the_jobs_of_another_state_folder_are_not_looked_at(job, finished, monkeypatch, tmp_path: Path):
    finished(job)
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "elsewhere"))
    assert timed.newest(job) is None
