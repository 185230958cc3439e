"""Jobs are stopped and answered for where nothing can be written."""

import json
import os
import stat
from pathlib import Path

import pytest
import unwritable
from runs import eventually, is_alive, make_job, make_plan, make_record, pid_in
from typer.testing import CliRunner

from tao_skill_bank.cli.main import app
from tao_skill_bank.contracts import State, Transition
from tao_skill_bank.errors import ConflictError
from tao_skill_bank.jobs import diagnose, events, service
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import retries
from tao_skill_bank.runs.run_directory import timestamp

pytestmark = pytest.mark.usefixtures("fake_trainer")
WAYS = [unwritable.full, unwritable.read_only, unwritable.blocked]


@pytest.fixture
def running(tmp_path):
    """A job that trains until it is stopped."""
    job = service.launch(make_plan(make_job(tmp_path / "run", ("start", "step:1", "wait_for:never"))))
    pid_in(tmp_path / "run" / "rank_0.pid")
    yield job
    if not job.status().state.is_terminal:
        job.cancel()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_job_is_stopped_and_its_state_told_where_its_record_cannot_be_written(running, state_dir, way):
    pid = pid_in(running.run_directory.path / "rank_0.pid")
    with way(state_dir / "jobs"):
        now = service.status(running.id)
        assert now.state in (State.PENDING, State.RUNNING)
        now = service.cancel(running.id)
        (listed,) = service.list_jobs()
        again = service.status(running.id)
    assert not is_alive(pid)
    assert now.state is State.CANCELED
    assert "state_not_recorded" in {found.code for found in now.findings}
    assert all(found.fix and f"tao-skills status {running.id}" in found.fix for found in now.findings[:1])
    assert listed.state.is_terminal
    assert again.state.is_terminal
    assert again.findings
    service.status(running.id)
    assert JobStore().read(running.id).state is (State.CANCELED if way is not unwritable.full else again.state)


@pytest.mark.parametrize("way", [unwritable.read_only, unwritable.blocked], ids=lambda way: way.__name__)
def test_what_was_stopped_unrecorded_is_recorded_as_cancelled_once_it_can_be(running, state_dir, way):
    with way(state_dir / "jobs"):
        service.cancel(running.id)
    now = service.status(running.id)
    assert (now.state, now.findings) == (State.CANCELED, ())
    assert JobStore().read(running.id).terminal_state is State.CANCELED


def test_a_job_whose_run_directory_is_full_is_recorded_as_cancelled_and_not_as_failed(running, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tao_skill_bank.platforms.local.platform.write_whole", refuse)
    monkeypatch.setattr("tao_skill_bank.runs.results.write_whole", refuse)
    running.run_directory.exit_code_file.parent.joinpath(".exit_code.partial").mkdir()
    now = service.cancel(running.id)
    assert now.state is State.CANCELED
    assert {found.code for found in now.findings} == {"cancellation_not_noted", "result_not_written"}
    assert JobStore().read(running.id).terminal_state is State.CANCELED


@pytest.mark.parametrize("verb", ["status", "cancel"])
def test_commands_list_what_could_not_be_recorded_with_its_fix(running, state_dir, verb):
    eventually(lambda: running.run_directory.last_status().get("state") == "RUNNING")
    with unwritable.blocked(state_dir / "jobs"):
        shown = CliRunner().invoke(app, [verb, running.id, "--json"])
        in_words = CliRunner().invoke(app, ["status", running.id])
    document = json.loads(shown.stdout)
    assert shown.exit_code == 0
    (finding,) = document["findings"]
    assert (finding["code"], finding["severity"]) == ("state_not_recorded", "warning")
    assert str(state_dir / "jobs") in finding["message"]
    assert "fix: " in in_words.stderr


def test_a_state_that_cannot_be_recorded_is_that_of_every_command(running, state_dir):
    eventually(lambda: running.run_directory.last_status().get("state") == "RUNNING")
    with unwritable.blocked(state_dir / "jobs"):
        service.cancel(running.id)
        with pytest.raises(ConflictError, match=f"{running.id} is CANCELED"):
            retries.retry(running.id)
        (diagnosis,) = diagnose.diagnose(running.id)
    assert "CANCELED" in diagnosis.cause


def test_a_job_that_ends_unrecorded_is_seen_once_by_who_watches_it(tmp_path, state_dir):
    job = service.launch(make_plan(make_job(tmp_path / "run", ("start", "step:1", "wait_for:go", "succeed"))))
    eventually(lambda: job.run_directory.last_status().get("state") == "RUNNING")
    with unwritable.blocked(state_dir / "jobs"):
        seen = []
        for event in events.events([job.id], poll_seconds=0.05):
            seen.append(event.state)
            (tmp_path / "run" / "go").touch()
    assert seen == [State.RUNNING, State.COMPLETE]


# --- permissions --------------------------------------------------------------------------------------------------


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077], indirect=True, ids=oct)
def test_records_are_private_under_every_umask_and_run_directories_follow_it(tmp_path, state_dir, umask):
    job = service.launch(make_plan(make_job(tmp_path / "run")))
    assert job.wait(300).state is State.COMPLETE
    found = modes(state_dir / "jobs")
    folders = {name for name in found if name in ("jobs", ".live")}
    assert {found[name] for name in folders} == {0o700}
    assert {found[name] for name in found.keys() - folders} == {0o600}
    of_run = modes(tmp_path / "run")
    assert (of_run["run"], of_run["plan.json"]) == (0o777 & ~umask, 0o666 & ~umask)
    assert of_run["result.json"] == 0o666 & ~umask


@pytest.mark.parametrize("umask", [0o077], indirect=True, ids=oct)
@pytest.mark.parametrize("mode", [0o644, 0o660, 0o600])
def test_a_record_that_exists_keeps_its_permissions(tmp_path, state_dir, umask, mode):
    record = make_record(make_job(tmp_path / "run"))
    JobStore().create(record)
    (state_dir / "jobs").chmod(0o755)
    (state_dir / "jobs" / f"{record.id}.json").chmod(mode)
    JobStore().transition(record.id, Transition(timestamp(), State.RUNNING))
    found = modes(state_dir / "jobs")
    assert (found["jobs"], found[f"{record.id}.json"]) == (0o755, mode)
