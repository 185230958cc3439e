"""How an upload stands is told with a job's status, also where the run directory is on another machine."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from runs import make_job, make_record

from tao_skill_bank.contracts import JobStatus, State
from tao_skill_bank.jobs import remote_results
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.staging.uploads import Uploader

URI = "s3://lab/runs/one"


@pytest.fixture
def ended(store, tmp_path):
    """Return the record of a job that ran on a cluster, whose machines uploaded all of it."""
    there = tmp_path / "there"
    (there / "logs").mkdir(parents=True)
    (there / "plan.json").write_text("{}")
    (there / "status.jsonl").write_text('{"state": "SUCCESS", "step": 7}\n')
    (there / "logs" / "exit_code").write_text("0")
    record = make_record(make_job(tmp_path / "here"), platform="slurm", results_uri=URI)
    assert Uploader(there, URI, record.id, ()).finish().state == "complete"
    store.asked.clear()
    return record


def look_again(record):
    marker = Path(record.results_dir) / remote_results.MIRRORED
    os.utime(marker, (0, 0))
    remote_results.mirror(record)


@pytest.mark.slow
def test_a_run_directory_on_another_machine_is_read_from_the_store(ended):
    remote_results.mirror(ended)
    run = RunDirectory(Path(ended.results_dir))
    assert (run.last_status()["step"], run.exit_code()) == (7, 0)
    status = remote_results.with_upload(ended, JobStatus(ended.id, State.COMPLETE, "done"))
    assert status.upload == "complete"
    assert f"files are in {URI}" in status.message


@pytest.mark.slow
def test_the_store_is_asked_at_intervals_and_no_more_once_all_is_known(ended, store, monkeypatch):
    monkeypatch.setattr(remote_results, "MIRROR_SECONDS", 3600.0)  # no interval passes while this test runs
    remote_results.mirror(ended)
    store.asked.clear()
    remote_results.mirror(ended)
    assert store.asked == []
    look_again(ended)
    assert store.asked
    store.asked.clear()
    look_again(replace(ended, terminal_state=State.COMPLETE))
    assert store.asked == []


@pytest.mark.slow
def test_what_an_earlier_job_left_there_is_not_taken_for_this_one(ended):
    later = replace(ended, id="cosmos-rl-train-0123456789ab")
    remote_results.mirror(later)
    assert not RunDirectory(Path(later.results_dir)).status_file.exists()


def test_a_run_directory_that_is_written_here_is_left_alone(ended, store):
    run = RunDirectory(Path(ended.results_dir))
    run.path.mkdir()
    run.status_file.write_text('{"state": "RUNNING", "step": 1}\n')
    remote_results.mirror(ended)
    assert store.asked == []
    assert run.last_status()["step"] == 1


@pytest.mark.slow
def test_a_folder_that_was_removed_after_the_job_is_still_known(ended):
    over = replace(ended, platform="local", terminal_state=State.COMPLETE)
    shutil.rmtree(over.results_dir, ignore_errors=True)
    remote_results.mirror(over)
    assert RunDirectory(Path(over.results_dir)).last_status()["step"] == 7


def test_a_store_that_is_away_leaves_the_status_as_it_is(ended, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    remote_results.mirror(ended)
    status = remote_results.with_upload(ended, JobStatus(ended.id, State.RUNNING, "step 3"))
    assert (status.message, status.upload) == ("step 3", "")


def test_an_ended_job_without_a_manifest_is_not_called_uploaded(tmp_path):
    record = make_record(make_job(tmp_path / "here"), results_uri=URI)
    status = remote_results.with_upload(record, JobStatus(record.id, State.COMPLETE, "done"))
    assert status.upload == "incomplete"
    assert remote_results.is_short(status)
    assert f"tao-skills data upload {record.id}" in status.message
