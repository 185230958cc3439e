from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from runs import make_job, make_plan, make_record

from tao_skill_bank.contracts import PlatformRequest
from tao_skill_bank.platforms.slurm import platform

JOB = "cosmos-rl-train-0123456789ab"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "RECONCILE_SECONDS", 0.2)
    monkeypatch.setattr(platform, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(platform, "POLL_SECONDS", 0.01)
    return FakeSlurm(tmp_path / "slurm", monkeypatch)


@pytest.fixture
def slurm_job(tmp_path):
    """Make jobs for the fake cluster."""

    def make(options=None, **changes):
        return make_job(tmp_path / "run", id=JOB, platform=PlatformRequest("slurm", options=options or {}), **changes)

    return make


@pytest.fixture
def job(slurm_job):
    return slurm_job()


@pytest.fixture
def record(job):
    Path(job.results_dir, "logs").mkdir(parents=True)
    return make_record(job, platform="slurm", backend_ref={"slurm_job_id": 7, "grace_seconds": 0.2})


@pytest.fixture
def slurm_plan():
    return lambda job: make_plan(job, "slurm")
