"""A search of a skill that nothing here names: real jobs of the local platform, a real SQLite study."""

import shutil
import time
from pathlib import Path

import chat_server
import pytest
from search_trials import add_trial, make_search

from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.run import controller, progress, resuming, stopping
from tao_skill_bank.automl.run.best import best_of
from tao_skill_bank.automl.run.trials import open_search
from tao_skill_bank.contracts import Request, State
from tao_skill_bank.errors import BackendError, BlockedError, ConflictError, RequestError, TaoSkillsError
from tao_skill_bank.jobs import diagnose, service
from tao_skill_bank.planning import dispatch
from tao_skill_bank.platforms import processes as _processes
from tao_skill_bank.runs.run_directory import json_lines
from tao_skill_bank.runs.status_log import StatusWriter

WANTED = "{name: val/accuracy, direction: maximize}"
pytestmark = pytest.mark.usefixtures("third_skill", "no_pictures")


def request(results_dir: Path, overrides=None, **automl) -> Request:
    return Request("toy", "train", overrides=overrides or {}, automl=automl, results_dir=str(results_dir))


def search(results_dir: Path, overrides=None, **automl):
    """Run a search to its end and return its status and its trials."""
    handle = dispatch.run(dispatch.plan(request(results_dir, overrides, **automl)))
    status = handle.wait(120)
    return status, open_search(results_dir)


@pytest.mark.slow
def test_a_search_finds_a_better_spec_than_the_recipe_and_hands_it_on(tmp_path):
    status, found = search(tmp_path / "run", {"train.optm_lr": 1e-4}, max_trials=8, parallel=2)
    assert status.state is State.COMPLETE, status.message
    entries = found.storage.entries()
    assert [entry.state for entry in entries] == [TrialState.COMPLETE] * 8
    best = best_of(entries)
    assert best.trial.score < entries[0].trial.score
    assert (tmp_path / "run" / "best_trial").resolve() == found.folder(best.number)
    assert f"trial {best.number}" in status.message


def epochs_trained(found, number) -> list[int]:
    """Return the epochs that a trial's jobs trained, in order: one that was run twice is there twice."""
    return [int(line["epoch"]) for line in json_lines(found.folder(number) / "metrics.jsonl")]


def num_started(entry) -> int:
    """Return how many of a trial's jobs had a process: one that was named and then killed had none."""
    known = [record for record in service.list_jobs() if record.id in {job.id for job in entry.jobs}]
    return sum("pid" in record.backend_ref for record in known)


def kill(record) -> None:
    """Kill a job's processes as a crash of the machine would, and wait until they are gone."""
    for process in _processes.of_job(record.id):
        process.kill()
    while _processes.of_job(record.id):
        time.sleep(0.01)


def when(condition, seconds=600):
    """Wait until something is so, and return it."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.02)
    return found


def entries_at(run: Path):
    """Return the trials of a search, none before its controller has begun."""
    try:
        return open_search(run).storage.entries() if (run / "status.jsonl").is_file() else []
    except TaoSkillsError:
        return []


@pytest.mark.slow
def test_paused_trials_go_on_where_they_stopped_and_train_no_epoch_twice(tmp_path):
    status, found = search(tmp_path / "run", {"train.epoch": 9}, algorithm="asha", max_trials=9, parallel=3)
    assert status.state is State.COMPLETE, status.message
    entries = found.storage.entries()
    assert {entry.state for entry in entries} == {TrialState.COMPLETE, TrialState.PRUNED}
    for entry in entries:
        epochs = epochs_trained(found, entry.number)
        assert epochs == list(range(1, len(epochs) + 1))
        assert len(epochs) in (1, 3, 9)
    complete = [entry for entry in entries if entry.state is TrialState.COMPLETE]
    assert all(epochs_trained(found, entry.number)[-1] == 9 for entry in complete)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "postgresql"])
def test_a_killed_controller_is_replaced_and_nothing_is_lost_or_run_twice(tmp_path, storage, request_storage):
    run = tmp_path / "run"
    options = {"max_trials": 4, "parallel": 2, **request_storage(storage)}
    first = dispatch.run(dispatch.plan(request(run, {"train.seconds_per_epoch": 0.3}, **options)))
    when(lambda: sum(entry.state.is_final for entry in entries_at(run)) >= 1)
    kill(first.record)
    assert first.status().state is State.ERROR
    assert diagnose.diagnose(first.id)[0].cure == f"Resume it with: tao-skills automl resume {first.id}"
    running = [entry for entry in entries_at(run) if entry.state is TrialState.RUNNING]
    handle, _ = resuming.resume(first.id)
    status = handle.wait(120)
    assert status.state is State.COMPLETE, status.message
    found = open_search(run)
    entries = found.storage.entries()
    assert [entry.number for entry in entries] == list(range(4))
    assert {entry.state for entry in entries} == {TrialState.COMPLETE}
    assert all(epochs_trained(found, entry.number) == [1, 2, 3, 4] for entry in entries)
    assert all(num_started(entries[entry.number]) == 1 for entry in running), "a running trial was begun again"


@pytest.mark.slow
def test_a_killed_trial_goes_on_from_its_newest_checkpoint(tmp_path):
    run, gate = tmp_path / "run", tmp_path / "gate"
    handle = dispatch.run(dispatch.plan(request(run, {"train.gate": str(gate)}, max_trials=2)))
    victim = when(lambda: [entry for entry in entries_at(run) if max(entry.trial.scores, default=0) in (1, 2)])[0]
    kill(service.JobStore().read(victim.jobs[-1].id))
    gate.touch()
    status = handle.wait(120)
    assert status.state is State.COMPLETE, status.message
    found = open_search(run)
    again = found.storage.entries()[victim.number]
    assert (again.state, len(again.jobs)) == (TrialState.COMPLETE, 2)
    assert epochs_trained(found, victim.number) == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_failed_trial_is_failed_with_its_diagnosis_and_has_no_score(tmp_path):
    status, found = search(
        tmp_path / "run", {"train.fails_above_lr": 2e-3}, max_trials=10, parallel=4, algorithm="random"
    )
    assert status.state is State.COMPLETE, status.message
    failed = [entry for entry in found.storage.entries() if entry.state is TrialState.FAILED]
    assert failed
    assert all(entry.trial.score is None and "The loss is no number." in entry.diagnosis for entry in failed)
    assert best_of(found.storage.entries()).values.get("train.optm_lr", 1e-3) <= 2e-3


@pytest.mark.slow
def test_a_trial_whose_folder_is_gone_is_not_trained_again(tmp_path):
    _, found = search(tmp_path / "run", max_trials=1)
    shutil.rmtree(found.folder(0))
    with pytest.raises(BlockedError, match="what trial 0 trained"):
        found.train(found.storage.entry(0), None)
    assert not found.folder(0).exists()


@pytest.mark.slow
def test_a_search_whose_first_trials_all_fail_ends(tmp_path):
    status, found = search(tmp_path / "run", {"train.fails_above_lr": 1e-9}, max_trials=20)
    assert status.state is State.ERROR
    assert "The first 3 trials failed" in status.message
    assert len(found.storage.entries()) == 3


@pytest.mark.slow
def test_a_metric_that_is_never_written_ends_the_search_and_names_those_that_are(tmp_path):
    status, found = search(tmp_path / "run", {"train.metric": "val/other"}, max_trials=20, parallel=2)
    assert status.state is State.ERROR
    assert "never wrote the metric val/avg_loss (it wrote val/other)" in status.message
    assert len(found.storage.entries()) <= 2


@pytest.mark.slow
def test_a_metric_that_is_never_written_ends_the_search_after_the_first_validation(third_skill, tmp_path):
    facts = third_skill / "skills" / "tao-finetune-toy" / "references" / "skill_info.yaml"
    facts.write_text(facts.read_text().replace("{name: val/avg_loss, direction: minimize}", WANTED))
    overrides = {"train.epoch": 9, "train.seconds_per_epoch": 1.0}
    status, found = search(tmp_path / "run", overrides, max_trials=20)
    assert status.state is State.ERROR
    assert "never wrote the metric val/accuracy (it wrote val/avg_loss)" in status.message
    assert str(facts) in status.progress["diagnosis"]["cure"]
    assert len(epochs_trained(found, 0)) < 9


@pytest.mark.slow
def test_a_search_follows_a_metric_of_which_more_is_better(third_skill, tmp_path):
    facts = third_skill / "skills" / "tao-finetune-toy" / "references" / "skill_info.yaml"
    facts.write_text(facts.read_text().replace("{name: val/avg_loss, direction: minimize}", WANTED))
    status, found = search(tmp_path / "run", {"train.metric": "val/accuracy"}, max_trials=3, parallel=2)
    assert status.state is State.COMPLETE, status.message
    scores = [found.plain(entry.trial.score) for entry in found.storage.entries()]
    assert found.plain(best_of(found.storage.entries()).trial.score) == max(scores)


@pytest.mark.slow
def test_cancelling_the_search_cancels_its_trials_and_resume_goes_on(tmp_path):
    run = tmp_path / "run"
    handle = dispatch.run(dispatch.plan(request(run, {"train.seconds_per_epoch": 0.3}, max_trials=3, parallel=2)))
    when(lambda: [entry for entry in entries_at(run) if entry.trial.scores])
    assert handle.cancel().state is State.CANCELED
    assert all(service.status(entry.jobs[-1].id).state.is_terminal for entry in entries_at(run))
    again, _ = resuming.resume(handle.id)
    assert again.wait(120).state is State.COMPLETE
    found = open_search(run)
    assert all(epochs_trained(found, number) == [1, 2, 3, 4] for number in range(3))


@pytest.mark.slow
def test_a_spent_budget_ends_the_search_with_the_best_so_far(tmp_path):
    hours = 3 / 3600
    status, found = search(tmp_path / "run", {"train.seconds_per_epoch": 0.2}, max_trials=500, max_hours=hours)
    assert status.state is State.COMPLETE, status.message
    assert f"the budget of {hours:g} hours is spent" in status.message
    assert 1 <= len(found.storage.entries()) < 100


@pytest.mark.slow
def test_twenty_four_trials_on_four_workers_are_unique_and_all_accounted_for(tmp_path):
    status, found = search(tmp_path / "run", max_trials=24, parallel=4, algorithm="random")
    assert status.state is State.COMPLETE, status.message
    entries = found.storage.entries()
    assert [entry.number for entry in entries] == list(range(24))
    points = {tuple(sorted(entry.trial.coordinates.items())) for entry in entries}
    assert len(points) == 24
    assert all(len(entry.jobs) == 1 for entry in entries)
    shown = progress.of(found)
    assert (shown.ended, len(shown.trials)) == (24, 24)


@pytest.mark.slow
def test_a_second_controller_is_refused_while_one_works(tmp_path):
    run, gate = tmp_path / "run", tmp_path / "gate"
    handle = dispatch.run(dispatch.plan(request(run, {"train.gate": str(gate)}, max_trials=1)))
    when(lambda: entries_at(run))
    with pytest.raises(ConflictError, match="A controller works on the search"):
        resuming.resume(handle.id)
    gate.touch()
    handle.wait(60)
    with pytest.raises(ConflictError, match="is COMPLETE"):
        resuming.resume(handle.id)


@pytest.mark.slow
def test_cancel_stops_the_trials_of_a_killed_controller_whichever_of_its_jobs_is_named(tmp_path):
    run, gate = tmp_path / "run", tmp_path / "gate"
    handle = dispatch.run(dispatch.plan(request(run, {"train.gate": str(gate)}, max_trials=2)))
    when(lambda: [entry for entry in entries_at(run) if entry.trial.scores])
    kill(handle.record)
    stopping.cancel(handle.id)
    trial = entries_at(run)[0].jobs[-1].id
    assert service.status(trial).state is State.CANCELED
    again, _ = resuming.resume(handle.id)
    when(lambda: service.status(again.id).state is State.RUNNING)
    assert stopping.cancel(handle.id).state is State.CANCELED
    assert again.status().state is State.CANCELED


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "num_jobs"), [("its trainer", 2), ("what watches it", 1)])
def test_a_trial_of_which_one_process_is_killed_ends_well_and_trains_no_epoch_twice(tmp_path, victim, num_jobs):
    run, gate = tmp_path / "run", tmp_path / "gate"
    handle = dispatch.run(dispatch.plan(request(run, {"train.gate": str(gate)}, max_trials=1)))
    entry = when(lambda: [entry for entry in entries_at(run) if entry.trial.scores])[0]
    record = service.JobStore().read(entry.jobs[-1].id)
    processes = _processes.of_job(record.id)
    chosen = [process for process in processes if (process.pid == record.backend_ref["pid"]) == (num_jobs == 1)]
    for process in chosen:
        process.kill()
    gate.touch()
    assert handle.wait(90).state is State.COMPLETE, victim
    found = open_search(run)
    assert epochs_trained(found, 0) == [1, 2, 3, 4]
    assert len(found.storage.entry(0).jobs) == num_jobs
    assert not _processes.of_job(record.id)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "error"), [(Path.unlink, "is gone"), (lambda path: path.write_text("garbage" * 999), "database")]
)
def test_a_study_that_is_gone_or_broken_is_reported_and_not_started_again(tmp_path, damage, error):
    run = tmp_path / "run"
    search(run, max_trials=1)
    damage(run / "study.db")
    with pytest.raises(TaoSkillsError, match=error):
        open_search(run)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"max_epochs": 1}, "unused_option"),
        ({"algorithm": "asha", "min_epochs": 5}, "epochs_reversed"),
        ({"algorithm": "asha", "ranges": {"train.epoch": {"choices": [1, 2]}}}, "contradiction"),
        ({"max_trials": 10**6}, "too_large"),
    ],
)
def test_options_that_would_do_nothing_are_refused(tmp_path, options, code):
    with pytest.raises(RequestError) as caught:
        dispatch.plan(request(tmp_path / "run", **options))
    assert [problem.code for problem in caught.value.problems] == [code]


@pytest.mark.slow
def test_a_failing_endpoint_begins_nothing_more_and_ends_no_trial_that_runs(tmp_path):
    run, gate = tmp_path / "run", tmp_path / "gate"
    asked = []

    def refuse(body):
        asked.append(body)
        return 500, b"{}", {}

    with chat_server.serving(refuse) as server:
        endpoint = {"base_url": server.url, "model": "judge-1", "retries": 0, "timeout_seconds": 5.0}
        options = {"algorithm": "llm", "endpoint": endpoint, "max_trials": 4, "parallel": 2}
        handle = dispatch.run(dispatch.plan(request(run, {"train.gate": str(gate)}, **options)))
        when(lambda: asked)
        when(lambda: [entry for entry in entries_at(run) if entry.trial.scores])
        assert handle.status().state is State.RUNNING
        before = len(asked)
        gate.touch()
        status = handle.wait(120)
    assert status.state is State.ERROR
    (entry,) = open_search(run).storage.entries()
    assert entry.state is TrialState.COMPLETE
    assert epochs_trained(open_search(run), 0) == [1, 2, 3, 4]
    assert len(asked) <= before + 1, "a failing endpoint is asked again only when a trial has ended"


class Broken:
    """Trials of which the first cannot be asked for, and the second cannot be stopped."""

    def __init__(self, trials):
        self.trials, self.cancelled = trials, []

    def __getattr__(self, name):
        return getattr(self.trials, name)

    def look(self, entry):
        if entry.number == 1:
            raise ConflictError.of("unreadable_record", "record.json is not a job record.", "Move it elsewhere.")
        return self.trials.look(entry)

    def cancel(self, entry):
        if entry.number == 1:
            raise BackendError.of("local_stop_failed", "Processes could not be stopped.", "kill -9 1")
        self.cancelled.append(entry.number)


def test_a_trial_that_cannot_be_read_or_stopped_leaves_the_others_alone(tmp_path):
    search = make_search(tmp_path / "run", max_trials=5)
    for rate in (1e-3, 2e-3, 3e-3):
        add_trial(search, rate, 3, 0.5, state=TrialState.RUNNING)
    broken = Broken(search)
    running = controller.Controller(broken, None, StatusWriter(tmp_path / "run"))
    running.cancel_trials()
    assert sorted(broken.cancelled) == [0, 2]
    running._follow(search.storage.entry(1))
    entries = search.storage.entries()
    assert [entry.state for entry in entries] == [TrialState.RUNNING, TrialState.FAILED, TrialState.RUNNING]
    assert entries[1].diagnosis == "record.json is not a job record."
