"""A word names a job first, then a path."""

import pytest
from runs import make_job, make_record

from tao_skill_bank.contracts import State
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.jobs import named_results
from tao_skill_bank.jobs.store import JobStore


def test_a_job_is_its_run_directory_whatever_folder_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = make_job(tmp_path / "run", action="evaluate")
    JobStore().create(make_record(job, terminal_state=State.COMPLETE))
    (tmp_path / job.id).mkdir()
    assert named_results.find(job.id) == tmp_path / "run"


def test_a_folder_that_could_be_a_job_is_a_folder_where_there_is_no_such_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    assert named_results.find("results") == tmp_path / "results"
    assert named_results.find("./none.json") == tmp_path / "none.json"
    with pytest.raises(UnknownNameError):
        named_results.find("nothing")
