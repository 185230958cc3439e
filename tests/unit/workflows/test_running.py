"""A run goes through its steps once, whatever kills it in between."""

import json
import os
import signal
import subprocess
import sys

import pytest
import workflow_runs
from runs import eventually
from workflow_runs import EVALUATE, TRAIN, run, sealed_in, two_steps

from tao_skill_bank.errors import BlockedError, ConflictError, JobFailedError, UnknownNameError
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.planning import dispatch
from tao_skill_bank.workflows import job_steps, log, ownership, page, running, standing

pytestmark = pytest.mark.usefixtures("third_skill")


class Killed(BaseException):
    """Stands for the death of the process."""


def test_steps_run_in_order_and_give_values_to_later_ones(tmp_path):
    finished = run(tmp_path, epochs="3")
    events = {event.step: event for event in finished.history.events if event.status == "ok"}
    assert events["scoring"].outputs["metrics"] == {"accuracy": 0.75}
    assert events["training"].outputs["steps"] == 3
    record = JobStore().read(events["scoring"].job)
    assert record.parent_job == events["training"].job
    assert record.results_dir == str(tmp_path / "run" / "scoring")
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert [(step["step"], step["status"]) for step in state["steps"]] == [("training", "ok"), ("scoring", "ok")]
    found = standing.of(tmp_path / "run")
    assert (found.state, found.waiting) == ("COMPLETE", ())
    written = page.write(found).read_text()
    assert "The workflow two_steps is complete: 2 of 2 steps are done" in written
    before = len(JobStore().all())
    assert running.resume(tmp_path / "run").reason == "every step is done"
    assert len(JobStore().all()) == before


def boundaries():
    """Where a run of two steps is killed: at each event it logs, before or after, and around each launch."""
    events = [*((number, "after") for number in range(6)), (1, "before"), *((number, "torn") for number in (1, 2, 5))]
    return [("event", *each) for each in events] + [("launch", n, w) for n in (0, 1) for w in ("before", "after")]


@pytest.mark.slow
@pytest.mark.parametrize("where", boundaries(), ids=lambda where: "-".join(map(str, where)))
def test_a_run_that_is_killed_at_any_boundary_resumes_to_the_same_result(tmp_path, monkeypatch, where):
    kind, number, when = where
    seen = []

    def killing(real, tears):
        def called(*arguments, **options):
            seen.append(1)
            if len(seen) - 1 != number:
                return real(*arguments, **options)
            if when != "before":
                real(*arguments, **options)
            if when == "torn":
                tears(arguments[0] / log.FILE)
            raise Killed

        return called

    def tear(path):
        text = path.read_text()
        path.write_text(text[: len(text) - 20])

    sealed = sealed_in(tmp_path)
    home, name = (log, "append") if kind == "event" else (dispatch, "run")
    with monkeypatch.context() as patched:
        patched.setattr(home, name, killing(getattr(home, name), tear))
        with pytest.raises(Killed):
            running.start(sealed)
    folder = tmp_path / "run"
    if when == "torn":
        assert [found.code for found in standing.of(folder).findings] == ["log_lines_ignored"]
    finished = running.resume(folder)
    outcomes = {e.step: e.outputs.get("metrics") for e in finished.history.events if e.status == "ok" and e.step}
    assert outcomes["scoring"] == {"accuracy": 2 / 3}
    assert sorted(record.action for record in JobStore().all()) == ["evaluate", "train"]


def test_a_failed_step_names_its_diagnosis_and_is_tried_again(tmp_path):
    gate = {**TRAIN, "overrides": {**TRAIN["overrides"], "train.fails_above_lr": 1e-9}}
    document = two_steps()
    document["steps"][0]["request"] = gate
    with pytest.raises(JobFailedError) as caught:
        run(tmp_path, document)
    first = JobStore().all()[0]
    folder = tmp_path / "run"
    assert caught.value.exit_code == 8
    assert list(caught.value.following) == [f"tao-skills diagnose {first.id}", f"tao-skills workflow resume {folder}"]
    assert standing.of(folder).state == "FAILED"
    assert standing.of(folder).following == list(caught.value.following)
    with pytest.raises(JobFailedError):
        running.resume(folder)
    assert [record.results_dir for record in JobStore().all()] == [str(folder / "training-2"), str(folder / "training")]


def test_a_step_after_a_failure_succeeds_without_repeating_what_is_done(tmp_path, monkeypatch):
    calls = []

    def fails_once(handle, seconds):
        calls.append(handle.id)
        status = job_steps.waits(handle, seconds)
        if len(calls) == 2:
            raise BlockedError.of("broken", "Something is broken.", "Repair it.")
        return status

    with pytest.raises(BlockedError, match="broken"):
        running.start(sealed_in(tmp_path), job_steps.Observer(watch=fails_once))
    finished = running.resume(tmp_path / "run")
    assert next(event.job for event in finished.history.events if event.status == "ok" and event.step) == calls[0]


def test_two_processes_cannot_run_one_folder(tmp_path):
    sealed = sealed_in(tmp_path)
    with pytest.raises(Killed):
        running.start(sealed, job_steps.Observer(planned=_dies))
    folder = tmp_path / "run"
    with ownership.owned(folder):
        assert standing.of(folder).state == "RUNNING"
        with pytest.raises(ConflictError, match=f"process {os.getpid()}") as caught:
            running.resume(folder)
    assert caught.value.exit_code == 7
    assert standing.of(folder).state == "INTERRUPTED"


def _dies(*_):
    raise Killed


def test_a_folder_of_another_workflow_or_of_other_inputs_is_refused(tmp_path):
    run(tmp_path)
    folder, path = tmp_path / "run", str(tmp_path / "flow.yaml")
    with pytest.raises(ConflictError, match="another value of epochs"):
        sealed_in(tmp_path, epochs="5")
    with pytest.raises(ConflictError, match="another value of epochs"):
        standing.require_same(path, folder, {"epochs": "5"})
    standing.require_same(path, folder, {"epochs": "2"})
    workflow_runs.write(tmp_path, two_steps(description="changed"))
    with pytest.raises(ConflictError, match=r"before .* changed"):
        standing.require_same(path, folder, {})
    with pytest.raises(ConflictError, match="the workflow two_steps, not other"):
        sealed_in(tmp_path, two_steps(name="other"))
    with pytest.raises(ConflictError, match="already holds a run of this workflow"):
        sealed_in(tmp_path)
    with pytest.raises(UnknownNameError, match="No workflow was started"):
        standing.of(tmp_path / "nowhere")


def test_what_lies_in_the_way_is_refused_and_other_files_are_not(tmp_path):
    (tmp_path / "run" / "data").mkdir(parents=True)
    sealed = sealed_in(tmp_path)
    (tmp_path / "run" / "scoring").mkdir()
    with pytest.raises(ConflictError, match="already holds scoring"):
        running.start(sealed)
    (tmp_path / "run" / "scoring").rmdir()
    assert running.start(sealed).reason == "every step is done"


LOOP = {
    "name": "rounds",
    "repeat": {
        "at_most": "$most",
        "until": {"value": "scoring.metrics.accuracy", "op": ">=", "constant": "$target"},
        "steps": [
            {"name": "training", "request": TRAIN},
            {"name": "scoring", "parent": "training", "request": EVALUATE},
            {
                "name": "hopeless",
                "when": {"value": "scoring.metrics.accuracy", "op": "<", "constant": "$hopeless"},
                "stop": "hopeless",
            },
        ],
    },
}
LOOPED = {
    "name": "looped",
    "inputs": {
        "epochs": {"type": "integer", "default": 1},
        "most": {"type": "integer", "default": 2},
        "target": {"type": "number", "default": 0.9},
        "hopeless": {"type": "number", "default": 0.1},
    },
    "steps": [LOOP],
}


@pytest.mark.parametrize(
    ("given", "stopped_by", "iterations"),
    [({}, "at_most", 2), ({"target": "0.5"}, "until", 1), ({"hopeless": "0.6"}, "hopeless", 1)],
)
def test_a_loop_ends_by_its_condition_its_bound_or_a_stop(tmp_path, given, stopped_by, iterations):
    finished = run(tmp_path, LOOPED, **given)
    assert finished.history.newest["rounds", 0].outputs == {"iterations": iterations, "stopped_by": stopped_by}
    folders = {event.folder for event in finished.history.events if event.step == "scoring" and event.status == "ok"}
    assert folders == {str(tmp_path / "run" / "rounds" / str(n) / "scoring") for n in range(1, iterations + 1)}


def test_a_file_that_a_finished_step_wrote_and_that_changed_is_refused(tmp_path):
    def dies_in_the_second_iteration(handle, seconds):
        return _dies() if len(JobStore().all()) > 2 else job_steps.waits(handle, seconds)

    with pytest.raises(Killed):
        running.start(sealed_in(tmp_path, LOOPED), job_steps.Observer(watch=dies_in_the_second_iteration))
    (tmp_path / "run" / "rounds" / "1" / "scoring" / "metrics_summary.json").write_text("{}")
    with pytest.raises(ConflictError, match="is not what it wrote any more"):
        running.resume(tmp_path / "run")


PROGRAM = """
from pathlib import Path
from tao_skill_bank.workflows import running, sealing
running.start(sealing.read(Path(__import__("sys").argv[1])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["training", "scoring"])
def test_a_process_that_is_killed_leaves_its_job_to_the_next_one(tmp_path, moment):
    from tao_skill_bank.workflows import sealing

    document = two_steps()
    document["steps"][0]["request"]["overrides"]["train.gate"] = str(tmp_path / "gate")
    sealed = sealed_in(tmp_path, document)
    (tmp_path / "sealed.json").write_text(sealing.text(sealed))
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "sealed.json")]) as process:
        if moment == "scoring":
            (tmp_path / "gate").touch()
        where = folder / moment / "status.jsonl"
        eventually(where.exists, seconds=60)
        process.send_signal(signal.SIGKILL)
    (tmp_path / "gate").touch()
    finished = running.resume(folder)
    assert finished.history.newest["scoring", 0].outputs["metrics"] == {"accuracy": 2 / 3}
    assert len(JobStore().all()) == 2
