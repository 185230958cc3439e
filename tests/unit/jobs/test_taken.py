import json
from dataclasses import replace

import pytest
from preflight_worlds import make_job

from tao_skill_bank.contracts import Request, Route
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.jobs import taken
from tao_skill_bank.planning import gate

DIRECT = Route("direct", "tao-skill-bank:x", "because")
REQUEST = Request("tao-finetune-cosmos-reason", "train")


@pytest.fixture
def job(tmp_path):
    made = make_job(tmp_path, trains=True)
    return replace(made, results_dir=str(tmp_path / "run"), resume_key="train.resume")


def test_a_folder_that_is_absent_or_empty_is_free(job, tmp_path):
    assert taken.problem(job, is_continued=False) is None
    (tmp_path / "run" / "logs").mkdir(parents=True)
    assert taken.problem(job, is_continued=False) is None


def test_a_plan_into_a_folder_with_files_is_blocked_as_the_launch_would_be(job, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "weights").write_text("x")
    (found,) = gate.of_run_directory(job, REQUEST, DIRECT)
    assert (found.code, found.severity, found.path) == ("results_dir_not_empty", "blocking", "results_dir")
    assert found.fix_choices == ({"train.resume": True},)  # only the user knows whether to continue what is there
    with pytest.raises(ConflictError) as caught:
        gate.raise_if_blocked([found])
    assert caught.value.exit_code == 7


def test_what_a_job_left_that_never_started_does_not_take_its_folder(job, tmp_path):
    folder = tmp_path / "run"
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "train.toml").write_text("")
    (folder / "job.sbatch").write_text("")
    files = {"config/train.toml": "", "job.sbatch": ""}
    (folder / "plan.json").write_text(json.dumps({"schema_version": 2, "job": {"id": job.id}, "files": files}))
    assert taken.problem(job, is_continued=False) is None
    (folder / "status.jsonl").write_text("{}")
    assert "status.jsonl" in taken.problem(job, is_continued=False).message
    assert taken.problem(job, is_continued=True) is None
