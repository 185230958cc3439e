"""A job stages its inputs before its trainer starts, and tells what it does and what went wrong."""

import object_store
import pytest
from runs import make_job, make_plan

from tao_skill_bank.contracts import State
from tao_skill_bank.jobs import service
from tao_skill_bank.runs.run_directory import json_lines

pytestmark = pytest.mark.usefixtures("fake_trainer")


@pytest.fixture
def job(store, tmp_path):
    store.put("data/clip.mp4", b"clip")
    run = tmp_path / "run"
    return make_job(run, fetches=(("s3://lab/data/clip.mp4", str(run / "inputs" / "media.mp4")),))


@pytest.mark.slow
def test_inputs_are_there_when_the_trainer_starts(job):
    handle = service.launch(make_plan(job))
    assert handle.wait(60).state is State.COMPLETE
    run = handle.run_directory
    assert (run.path / "inputs" / "media.mp4").read_bytes() == b"clip"
    first, staged, starting = [line for line in json_lines(run.status_file) if "phase" in line]
    assert {line["state"] for line in (first, staged, starting)} == {"STARTED"}
    assert first["message"] == "staging s3://lab/data/clip.mp4"
    assert staged["message"].startswith("Staged")
    assert starting["message"] == "starting the program"


@pytest.mark.slow
def test_keys_that_are_refused_where_the_job_runs_end_it_with_the_code_of_credentials(job, store, monkeypatch):
    object_store.refuse_keys(store, monkeypatch)
    handle = service.launch(make_plan(job))
    status = handle.wait(60)
    assert (status.state, status.exit_code) == (State.ERROR, 4)
    assert "AWS_ACCESS_KEY_ID" in status.message
    log = handle.run_directory.log_file.read_text()
    assert "Traceback" not in log
    assert "AKIAWRONG" not in log
    assert not (handle.run_directory.path / "rank_0.pid").exists()  # the trainer was not started
