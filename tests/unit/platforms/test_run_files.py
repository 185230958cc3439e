"""How a job ended, by its exit code, the last line of its trainer, its checkpoints and the kernel."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import make_job, make_record

from tao_skill_bank.contracts import EXIT_INTERRUPTED, State
from tao_skill_bank.platforms import memory_kills, run_files
from tao_skill_bank.runs.run_directory import RunDirectory

SUCCESS = {"state": "SUCCESS", "message": "Trained 3 epochs."}
RUNNING = {"state": "RUNNING", "step": 3, "total": 9}
FAILURE = {"state": "FAILURE", "diagnosis": {"code": "diverged", "cause": "The loss is NaN.", "cure": "Lower it."}}
BYSTANDER = {"state": "FAILURE", "diagnosis": {"code": "peer_died", "cause": "A peer died.", "cure": "Read on."}}
INFRA, PROGRAM = (State.ERROR, "ERR_INFRA"), (State.ERROR, "ERR_PROGRAM")
COMPLETE = (State.COMPLETE, None)
OOM_LINE = "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.\n"


@pytest.fixture
def record(tmp_path):
    (tmp_path / "logs").mkdir()
    return make_record(make_job(tmp_path))


def save(folder, name, *, is_whole=True):
    checkpoint = folder / "checkpoints" / name
    checkpoint.mkdir(parents=True)
    (checkpoint / "progress.json").write_text(json.dumps({"step": int(name.partition("_")[2])}))
    if is_whole:
        (checkpoint / ".metadata").touch()


@pytest.mark.parametrize(
    ("exit_code", "progress", "expected", "is_unexplained"),
    [
        (0, SUCCESS, COMPLETE, False),
        (None, SUCCESS, COMPLETE, False),  # kill -9 of the whole group
        (137, SUCCESS, COMPLETE, False),
        (143, SUCCESS, COMPLETE, False),
        (-9, SUCCESS, COMPLETE, False),
        (1, SUCCESS, PROGRAM, False),
        (76, SUCCESS, PROGRAM, False),
        (None, RUNNING, INFRA, True),
        (None, {}, INFRA, True),
        (137, RUNNING, INFRA, True),
        (137, {}, INFRA, True),
        (-9, RUNNING, INFRA, True),
        (137, BYSTANDER, INFRA, True),  # the rank that was killed wrote nothing
        (137, FAILURE, PROGRAM, False),
        (1, RUNNING, PROGRAM, False),
        (1, FAILURE, PROGRAM, False),
        (143, RUNNING, PROGRAM, False),
        (EXIT_INTERRUPTED, RUNNING, INFRA, False),
        (6, FAILURE, INFRA, False),  # a server that the program needs is gone
        (6, RUNNING, PROGRAM, False),
    ],
)
def test_an_end_is_whose_failure_it_is(record, exit_code, progress, expected, is_unexplained):
    now = run_files.ended(record, exit_code, progress, was_cancelled=False)
    assert ((now.state, now.err_class), now.is_unexplained) == (expected, is_unexplained)
    assert now.exit_code == exit_code
    assert ("tao-skills retry" in now.message) == (expected == INFRA)


@settings(max_examples=200, deadline=None)
@given(
    exit_code=st.none() | st.integers(-64, 255),
    state=st.sampled_from(["STARTED", "RUNNING", "FAILURE", None]),
    code=st.sampled_from(["interrupted", "peer_died", "diverged", None]),
)
def test_nothing_but_success_completes_and_every_other_end_has_a_class(tmp_path_factory, exit_code, state, code):
    record = make_record(make_job(tmp_path_factory.getbasetemp() / "no-run"))
    progress = {"state": state, "diagnosis": {"code": code} if code else None}
    now = run_files.ended(record, exit_code, progress, was_cancelled=False)
    assert now.state is State.ERROR
    assert now.err_class in ("ERR_INFRA", "ERR_PROGRAM")
    assert run_files.ended(record, exit_code, progress, was_cancelled=True).state is State.CANCELED
    assert now.is_unexplained <= (now.err_class == "ERR_INFRA")


@pytest.mark.parametrize("exit_code", [None, 137])
def test_success_counts_with_its_last_checkpoint_only(record, tmp_path, exit_code):
    save(tmp_path, "epoch_1")
    assert run_files.ended(record, exit_code, SUCCESS, was_cancelled=False).state is State.COMPLETE
    save(tmp_path, "epoch_2", is_whole=False)
    now = run_files.ended(record, exit_code, SUCCESS, was_cancelled=False)
    assert (now.state, now.err_class) == INFRA


def test_an_interruption_without_a_report_says_whether_checkpoints_are_left(record, tmp_path):
    before = run_files.ended(record, EXIT_INTERRUPTED, RUNNING, was_cancelled=False)
    assert run_files.NOTHING_LOST in before.message
    save(tmp_path, "epoch_2")
    after = run_files.ended(record, EXIT_INTERRUPTED, RUNNING, was_cancelled=False)
    assert run_files.SAVED_BEFORE in after.message


@pytest.mark.parametrize("exit_code", [None, 137, -9])
@pytest.mark.parametrize("evidence", ["log", "kernel"])
def test_a_proven_lack_of_memory_is_the_programs_with_the_fix(record, tmp_path, exit_code, evidence, monkeypatch):
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 3\noom_group_kill 0\n")
    monkeypatch.setattr(memory_kills, "_candidates", lambda: [tmp_path / "none", events])
    reference = memory_kills.counted_now()
    assert reference == {"memory_events": str(events), "oom_kills": 3}
    record = make_record(make_job(tmp_path), backend_ref=reference)
    before = run_files.ended(record, exit_code, RUNNING, was_cancelled=False)
    assert ((before.state, before.err_class), before.is_unexplained) == (INFRA, True)
    if evidence == "log":
        (tmp_path / "logs" / "job.log").write_text(f"step 3\n{OOM_LINE}")
    else:
        events.write_text("low 0\noom 4\noom_kill 4\noom_group_kill 0\n")
    now = run_files.ended(record, exit_code, RUNNING, was_cancelled=False)
    assert (now.state, now.err_class) == PROGRAM
    assert run_files.MEMORY in now.message
    assert run_files.ended(record, exit_code, SUCCESS, was_cancelled=False).state is State.COMPLETE


def test_what_is_known_of_its_machine_explains_a_kill(record):
    now = run_files.ended(record, None, RUNNING, was_cancelled=False, lost="Its machine was restarted.")
    assert ((now.state, now.err_class), now.is_unexplained) == (INFRA, False)
    assert "restarted" in now.message


def test_the_kernel_counts_kills_of_this_process_or_says_nothing():
    found = memory_kills.counted_now()
    assert found == {} or found[memory_kills.COUNT] >= 0


@pytest.mark.parametrize("progress", [{}, {"state": "FAILURE", "diagnosis": {"code": "interrupted"}}])
def test_a_search_that_was_stopped_is_resumed_by_its_study(record, progress):
    RunDirectory(Path(record.results_dir)).plan_file.write_text('{"study": {"name": "a"}}')
    now = run_files.ended(record, 75 if progress else None, progress, was_cancelled=False)
    assert f"tao-skills automl resume {record.id}" in now.message
    assert "tao-skills retry" not in now.message


def test_a_job_without_a_plan_is_run_again_in_another_folder(record):
    assert run_files.resume_command(record).endswith(f"--results-dir {record.results_dir}-again")


@given(log=st.lists(st.sampled_from([b"step\n", b"\r\n", b"\xe2\x96", b"\x88", b"\xff", b"\n"])).map(b"".join))
def test_a_log_is_its_bytes_as_text_in_whole_lines(log: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "job.log"
    path.write_bytes(log)
    text = "".join(run_files.log_text(path, lambda: True, follow=False))
    expected = log.decode("utf-8", "replace")
    assert text == (expected if not log or log.endswith(b"\n") else f"{expected}\n")
    assert list(run_files.lines_of([*text])) == text.split("\n")[:-1]


def test_a_character_that_is_written_in_two_parts_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_files, "LOG_POLL_SECONDS", 0)
    path = tmp_path / "job.log"
    path.write_bytes(b"50 % \xe2\x96")
    answers = iter((False, True))

    def is_over() -> bool:
        over = next(answers)
        if over:
            with path.open("ab") as file:
                file.write(b"\x88 done")
        return over

    assert "".join(run_files.log_text(path, is_over, follow=True)) == "50 % █ done\n"


def test_of_a_log_that_is_not_there_nothing_is_shown(tmp_path: Path) -> None:
    assert list(run_files.log_text(tmp_path / "job.log", lambda: True, follow=True)) == []
