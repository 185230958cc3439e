import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import replace

import pytest
from runs import PYTHON, eventually, make_job, make_record

from tao_skill_bank.contracts import State, Transition
from tao_skill_bank.errors import BlockedError, ConflictError, UnknownNameError
from tao_skill_bank.jobs.store import JobStore, new_job_id

RUNNING = Transition("2026-01-01T00:00:00.000+00:00", State.RUNNING, "started", "backend")
COMPLETE = Transition("2026-01-01T00:00:01.000+00:00", State.COMPLETE, "done", "backend")
ERROR = Transition("2026-01-01T00:00:02.000+00:00", State.ERROR, "failed", "backend")


@pytest.fixture
def store(tmp_path):
    return JobStore(tmp_path / "jobs")


@pytest.fixture
def record(store, tmp_path):
    record = make_record(make_job(tmp_path / "run"))
    store.create(record)
    return record


# --- ids ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "action"), [("cosmos-rl", "train"), ("Cosmos_RL 2.5", "evaluate"), ("x" * 80, "train")]
)
def test_a_job_id_is_a_dns_label_of_at_most_52_characters(arch, action):
    job_id = new_job_id(arch, action)
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?-[0-9a-f]{12}", job_id)
    assert len(job_id) <= 52


def test_job_ids_differ():
    assert len({new_job_id("cosmos-rl", "train") for _ in range(100)}) == 100


# --- create and read ----------------------------------------------------------------------------------------------


def test_a_record_reads_back_as_it_was_created(store, record):
    assert store.read(record.id) == record


def test_a_second_record_of_the_same_id_is_refused_and_the_first_stays(store, record):
    with pytest.raises(ConflictError, match="already exists"):
        store.create(replace(record, results_dir="/elsewhere", action="evaluate"))
    assert store.read(record.id) == record


def test_a_results_dir_belongs_to_one_live_job(store, record, tmp_path):
    other = make_record(make_job(tmp_path / "x" / ".." / "run"))
    with pytest.raises(ConflictError, match=record.id):
        store.create(other)
    store.transition(record.id, COMPLETE)
    store.create(other)
    assert store.read(other.id) == other


def test_a_launch_reads_no_job_that_has_ended(store, record, tmp_path):
    store.transition(record.id, COMPLETE)
    assert store.live() == []
    running = make_record(make_job(tmp_path / "other"))
    store.create(running)
    assert store.live() == [running]


def test_a_job_of_a_release_without_marks_still_owns_its_results_dir(store, record, tmp_path):
    shutil.rmtree(store.folder / ".live")
    store.create(make_record(make_job(tmp_path / "other")))
    with pytest.raises(ConflictError, match=record.id):
        store.create(make_record(make_job(tmp_path / "run")))


def test_an_unknown_job_has_similar_ones_that_its_error_leaves_to_commands_that_read(store, record):
    with pytest.raises(UnknownNameError) as error:
        store.read(record.id[:-1] + "x")
    assert record.id not in error.value.problems[0].fix
    assert store.similar(record.id[:-1] + "x") == [record.id]


def test_an_unknown_job_says_which_state_folder_was_looked_in_and_why_that_one(store, monkeypatch, tmp_path):
    fix = unknown(store, "cosmos-rl-train-000000000000")
    assert all(words in fix for words in (str(store.folder.parent), socket.gethostname(), "from TAO_STATE_DIR"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TAO_STATE_DIR")
    assert f"{tmp_path / '.tao'} (the default" in unknown(JobStore(), "cosmos-rl-train-000000000000")


def test_a_job_of_the_default_state_folder_is_found_from_another_one(store, record, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    default = tmp_path / ".tao" / "jobs" / f"{record.id}.json"
    default.parent.mkdir(parents=True)
    store.path_of(record.id).rename(default)
    assert unknown(store, record.id) == f"It is recorded in {tmp_path / '.tao'}: set TAO_STATE_DIR={tmp_path / '.tao'}"


def unknown(store, job_id):
    with pytest.raises(UnknownNameError) as error:
        store.read(job_id)
    return error.value.problems[0].fix


@pytest.mark.parametrize("job_id", ["../../etc/passwd", "", "a/b", "A"])
def test_an_id_that_is_no_id_is_an_unknown_job(store, job_id):
    with pytest.raises(UnknownNameError):
        store.read(job_id)


def test_a_file_that_is_no_record_is_a_conflict_when_read_and_skipped_in_a_list(store, record):
    (store.folder / "strange.json").write_text("{}")
    with pytest.raises(ConflictError, match=r"strange\.json is not a job record"):
        store.read("strange")
    assert store.all() == [record]


def test_records_are_listed_newest_first(store, tmp_path):
    moments = ["2026-01-02", "2026-01-03", "2026-01-01"]
    for number, moment in enumerate(moments):
        store.create(make_record(make_job(tmp_path / str(number)), submitted_at=moment))
    assert [record.submitted_at for record in store.all()] == sorted(moments, reverse=True)


def test_a_store_that_was_never_written_is_empty(store):
    assert store.all() == []


# --- transitions --------------------------------------------------------------------------------------------------


def test_transitions_are_appended(store, record):
    store.transition(record.id, RUNNING, backend_ref={"pid": 7})
    after = store.transition(record.id, ERROR, err_class="ERR_PROGRAM")
    assert after.transitions == (*record.transitions, RUNNING, ERROR)
    assert (after.terminal_state, after.err_class, after.backend_ref) == (State.ERROR, "ERR_PROGRAM", {"pid": 7})
    assert store.read(record.id) == after


def test_the_same_terminal_state_again_changes_nothing(store, record):
    ended = store.transition(record.id, COMPLETE)
    assert store.transition(record.id, replace(COMPLETE, message="again")) == ended


@pytest.mark.parametrize("late", [RUNNING, ERROR])
def test_an_ended_job_takes_no_other_state(store, record, late):
    ended = store.transition(record.id, COMPLETE)
    with pytest.raises(ConflictError, match="ended as COMPLETE"):
        store.transition(record.id, late)
    assert store.read(record.id) == ended


def test_unknown_is_never_recorded(store, record):
    with pytest.raises(AssertionError):
        store.transition(record.id, replace(RUNNING, state=State.UNKNOWN))


def test_no_transition_of_concurrent_writers_is_lost(store, record):
    def write(name):
        for number in range(10):
            store.transition(record.id, replace(RUNNING, message=f"{name}-{number}"))

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    messages = [transition.message for transition in store.read(record.id).transitions[1:]]
    assert sorted(messages) == sorted(f"{name}-{number}" for name in "abcd" for number in range(10))


WRITE = """
import sys
from pathlib import Path
from tao_skill_bank.contracts import State, Transition
from tao_skill_bank.jobs.store import JobStore
for number in range(250):
    moved = Transition("2026-01-01T00:00:00.000+00:00", State.RUNNING, f"{sys.argv[3]}-{number}", "backend")
    JobStore(Path(sys.argv[1])).transition(sys.argv[2], moved)
"""


@pytest.mark.slow
def test_a_thousand_transitions_of_four_processes_are_all_kept(store, record):
    writers = [subprocess.Popen([PYTHON, "-c", WRITE, str(store.folder), record.id, name]) for name in "abcd"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    messages = [transition.message for transition in store.read(record.id).transitions[1:]]
    assert sorted(messages) == sorted(f"{name}-{number}" for name in "abcd" for number in range(250))


# --- a full disk, a killed writer ---------------------------------------------------------------------------------


@pytest.fixture
def full_disk():
    """Let files of this process grow to 600 bytes only: a write then fails midway, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_record_as_it_was(store, record, full_disk):
    full_disk()
    with pytest.raises(BlockedError, match="cannot be written"):
        store.transition(record.id, replace(RUNNING, message="x" * 600))
    assert store.read(record.id) == record
    assert sorted(path.name for path in store.folder.iterdir()) == [".live", ".lock", f"{record.id}.json"]


def test_a_full_disk_creates_no_record(store, tmp_path, full_disk):
    full_disk()
    record = make_record(make_job(tmp_path / "run"))
    with pytest.raises(BlockedError):
        store.create(record)
    assert store.all() == []


def test_a_state_directory_that_is_a_file_is_named_with_its_cure(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(BlockedError) as error:
        JobStore(tmp_path / "state" / "jobs").create(make_record(make_job(tmp_path / "run")))
    assert "TAO_STATE_DIR" in error.value.problems[0].fix


WRITER = """
import sys
from pathlib import Path
from tao_skill_bank.contracts import State, Transition
from tao_skill_bank.jobs.store import JobStore
store = JobStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    store.transition(sys.argv[2], Transition("", State.RUNNING, "x" * 2000))
"""


def test_a_killed_writer_leaves_a_whole_record_and_no_lock(store, record):
    writer = subprocess.Popen([PYTHON, "-c", WRITER, str(store.folder), record.id], stdout=subprocess.PIPE)
    try:
        writer.stdout.readline()
        eventually(lambda: len(store.read(record.id).transitions) > 3)
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    seen = len(store.read(record.id).transitions)
    assert len(store.transition(record.id, RUNNING).transitions) == seen + 1


def test_what_killed_processes_left_is_removed_by_the_next_record(store, record, tmp_path):
    (store.folder / ".other.json.partial").write_text("{")
    (store.folder / ".live" / "never-written").touch()
    ended = make_record(make_job(tmp_path / "ended"))
    store.create(ended)
    store.transition(ended.id, COMPLETE)
    (store.folder / ".live" / ended.id).touch()  # killed between the record and its mark
    unreadable = store.folder / "newer.json"
    unreadable.write_text('{"of": "a newer release"}')
    (store.folder / ".live" / "newer").touch()
    last = make_record(make_job(tmp_path / "last"))
    store.create(last)
    assert {path.name for path in (store.folder / ".live").iterdir()} == {record.id, "newer", last.id}
    assert not list(store.folder.glob(".*.partial"))
