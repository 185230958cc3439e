import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from preflight_worlds import codes, make_job

from tao_skill_bank.preflight.model import resume


def write_state(folder, epoch, step=7):
    folder.mkdir(parents=True)
    (folder / ".metadata").write_bytes(b"")
    (folder / "progress.json").write_text(json.dumps({"epoch": epoch, "step": step}))
    return folder


def findings_of(tmp_path, folder=None, **workload):
    return resume.check(make_job(tmp_path, resume_from=folder and str(folder), resume=True, **workload))


def test_a_fresh_run_has_nothing_to_check(tmp_path):
    assert resume.check(make_job(tmp_path)) == []


@pytest.mark.slow
def test_a_whole_checkpoint_with_epochs_left_is_reported(tmp_path):
    found = findings_of(tmp_path, write_state(tmp_path / "epoch_2", 2), epochs=3)
    assert codes(found, "info") == ["resume"]


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_checkpoint_of_all_epochs_leaves_nothing_to_train(tmp_path, epochs):
    found = findings_of(tmp_path, write_state(tmp_path / "epoch_3", 3), epochs=epochs)
    assert codes(found, "blocking") == ["nothing_to_train"]
    assert f"trained 3 epochs already, and train.epoch asks for {epochs}" in found[0].message
    assert found[0].fix == "Set train.epoch above 3."


@pytest.mark.parametrize(("state", "code"), [("RUNNING", "resume_at_the_end"), ("SUCCESS", "nothing_to_train")])
def test_a_job_killed_after_its_last_checkpoint_has_a_way_to_complete(state, code, tmp_path):
    write_state(tmp_path / "results" / "checkpoints" / "epoch_3", 3)
    (tmp_path / "results" / "status.jsonl").write_text(json.dumps({"state": state, "time": time.time()}))
    found = resume.check(make_job(tmp_path, resume_from=None, resume=True, epochs=3), compares_resumed=False)
    assert [finding.code for finding in found] == [code]


@pytest.mark.parametrize("absent", ["progress.json", ".metadata"])
def test_an_incomplete_checkpoint_blocks(tmp_path, absent):
    folder = write_state(tmp_path / "epoch_2", 2)
    (folder / absent).unlink()
    found = findings_of(tmp_path, folder)
    assert codes(found, "blocking") == ["checkpoint_incomplete"]
    assert absent in found[0].message


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"epoch": null}'])
def test_progress_that_cannot_be_read_blocks(tmp_path, text):
    folder = write_state(tmp_path / "epoch_2", 2)
    (folder / "progress.json").write_text(text)
    assert codes(findings_of(tmp_path, folder), "blocking") == ["checkpoint_broken"]


def test_a_relative_path_blocks_with_the_absolute_one(tmp_path, monkeypatch):
    write_state(tmp_path / "epoch_2", 2)
    monkeypatch.chdir(tmp_path)
    found = findings_of(tmp_path, "epoch_2")
    assert codes(found, "blocking") == ["resume_relative"]
    assert str(Path.cwd() / "epoch_2") in found[0].fix


def test_a_checkpoint_that_does_not_exist_is_missing(tmp_path):
    assert codes(findings_of(tmp_path, tmp_path / "epoch_2"), "blocking") == ["checkpoint_missing"]
    assert codes(findings_of(tmp_path), "blocking") == ["checkpoint_missing"]


def test_a_folder_whose_training_made_no_checkpoint_yet_starts_at_step_0(tmp_path):
    job = make_job(tmp_path, resume=True)
    results = Path(job.results_dir)
    results.mkdir()
    plan = {"job": {"id": "job-1", "skill": job.skill, "action": job.action}}
    (results / "plan.json").write_text(json.dumps(plan))
    (found,) = resume.check(job)
    assert (found.code, found.severity) == ("resume_from_start", "info")
    assert "starts at step 0" in found.message
    plan["job"]["action"] = "evaluate"
    (results / "plan.json").write_text(json.dumps(plan))
    assert codes(resume.check(job), "blocking") == ["checkpoint_missing"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("{'problems': [], 'not_compared': ''}", [("resume", "info")]),
        (
            "{'problems': [{'code': 'resume_changed', 'message': 'm', 'fix': 'f', 'path': 'p'}], 'not_compared': ''}",
            [("resume", "info"), ("resume_changed", "blocking")],
        ),
        (
            "{'problems': [], 'not_compared': 'the base is not here'}",
            [("resume", "info"), ("resume_not_compared", "not_checked")],
        ),
        ("1 / 0", [("resume", "info"), ("resume_not_compared", "not_checked")]),
    ],
)
def test_what_the_trainer_would_refuse_is_a_finding(tmp_path, monkeypatch, answer, expected):
    folder = write_state(tmp_path / "epoch_2", 2)
    package = tmp_path / "code" / "toy_resumable"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "resumable.py").write_text(
        f"import json, sys\nassert sys.argv[3:] == ['--checkpoint', {str(folder)!r}]\nprint(json.dumps({answer}))"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    job = replace(make_job(tmp_path, resume_from=str(folder), resume=True), module="toy_resumable.train")
    found = resume.check(job)
    sys.modules.pop("toy_resumable", None)
    assert [(each.code, each.severity) for each in found] == expected


@pytest.mark.slow
def test_without_a_name_the_newest_epoch_of_the_run_directory_counts(tmp_path):
    for epoch in (2, 9, 10):
        write_state(tmp_path / "results" / "checkpoints" / f"epoch_{epoch}", epoch)
    (tmp_path / "results" / "checkpoints" / ".epoch_11").mkdir()
    assert codes(findings_of(tmp_path, epochs=10)) == ["nothing_to_train"]
    assert findings_of(tmp_path, epochs=11)[0].evidence == {"done": 10}


@pytest.mark.slow
def test_the_checkpoint_of_an_interruption_counts_by_its_step(tmp_path):
    folder = tmp_path / "results" / "checkpoints"
    write_state(folder / "epoch_9", 9, step=90)
    write_state(folder / "step_83", 8, step=83)
    write_state(folder / "step_95", 9, step=95)
    found = findings_of(tmp_path, epochs=10)
    assert codes(found, "info") == ["resume"]
    assert str(folder / "step_95") in found[0].message
    assert "after 9 epochs and 95 steps" in found[0].message
    write_state(folder / "epoch_10", 10, step=100)
    assert codes(findings_of(tmp_path, epochs=10)) == ["nothing_to_train"]


def test_a_checkpoint_behind_a_uri_is_not_checked(tmp_path):
    assert codes(findings_of(tmp_path, "s3://bucket/epoch_2"), "not_checked") == ["checkpoint_remote"]


@pytest.mark.slow
def test_a_training_at_its_early_stop_is_told_which_parameter_to_raise(tmp_path):
    folder = write_state(tmp_path / "epoch_2", 2)
    found = findings_of(tmp_path, folder, epochs=2, scheduled_epochs=8)
    assert codes(found, "blocking") == ["nothing_to_train"]
    assert "trained 2 epochs already, and train.stop_epoch asks for 2" in found[0].message
    assert found[0].fix == "Set train.stop_epoch above 2, or to null for all 8 epochs."
    assert codes(findings_of(tmp_path, folder, epochs=3, scheduled_epochs=8), "info") == ["resume"]
