"""A run directory goes to a real S3 server as it grows; nothing half-written, and nobody is told that a part is all."""

import hashlib
import json
import os
import subprocess
import time
from dataclasses import replace

import object_store
import pytest
from runs import eventually, make_job, make_plan

from tao_skill_bank.contracts import PlatformRequest, State, to_json
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.jobs import remote_results, service
from tao_skill_bank.jobs import store as job_store
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.staging import uploads
from tao_skill_bank.staging.stores import S3
from tao_skill_bank.staging.uploads import Uploader

URI = "s3://lab/runs/one"


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    for name, text in {
        "status.jsonl": '{"state": "STARTED"}\n',
        "plan.json": "{}",
        "checkpoints/epoch_1/.metadata": "m",
        "checkpoints/epoch_1/shard": "s" * 1000,
        "checkpoints/.epoch_2/shard": "half",
        "cache/clip.pt": "c",
        "inputs/media": "link",
        "trials/trial_0001/plan.json": "{}",
        "trials/trial_0001/inputs/annotations.json": "[]",
        "samples/inputs/kept.json": "{}",
        "logs/.exit_code.partial": "0",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def uploader(run, excludes=("cache",)):
    return Uploader(run, URI, "job-1", excludes)


def make_old(folder):
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 60,) * 2)


def uploaded(store):
    return {key.removeprefix("runs/one/") for key in store.keys("runs/one/")}


def test_what_is_whole_goes_up_without_what_is_excluded(store, run):
    manifest = uploader(run).finish()
    assert (manifest.state, manifest.failed) == ("complete", {})
    expected = {"status.jsonl", "plan.json", "checkpoints/epoch_1/.metadata", "checkpoints/epoch_1/shard"}
    expected |= {"trials/trial_0001/plan.json", "samples/inputs/kept.json"}
    assert uploaded(store) == {*expected, "upload.json"}
    document = json.loads(store.body("runs/one/upload.json"))
    assert (document["state"], document["job_id"]) == ("complete", "job-1")
    shard = document["files"]["checkpoints/epoch_1/shard"]
    assert shard == {
        "size": 1000,
        "md5": hashlib.md5(b"s" * 1000).hexdigest(),
        "sha256": hashlib.sha256(b"s" * 1000).hexdigest(),
    }
    assert str(run) not in json.dumps(document)


def test_beside_the_trainer_what_was_written_a_moment_ago_waits_but_logs_do_not(store, run):
    beside = uploader(run)
    beside.look()
    assert uploaded(store) == {"status.jsonl", "upload.json"}
    assert json.loads(store.body("runs/one/upload.json"))["state"] == "uploading"
    make_old(run)
    beside.look()
    assert "checkpoints/epoch_1/shard" in uploaded(store)
    store.asked.clear()
    beside.look()
    assert store.asked == []
    with (run / "status.jsonl").open("a") as file:
        file.write('{"state": "RUNNING"}\n')
    (run / "checkpoints" / ".epoch_2").rename(run / "checkpoints" / "epoch_2")
    make_old(run)
    beside.look()
    assert store.body("runs/one/status.jsonl").count(b"\n") == 2
    assert store.body("runs/one/checkpoints/epoch_2/shard") == b"half"


def test_a_pruned_checkpoint_is_removed_there_too_but_not_what_vanished_with_all_others(store, run):
    uploader(run).finish()
    (run / "checkpoints" / ".epoch_2").rename(run / "checkpoints" / "epoch_2")
    for path in (run / "checkpoints" / "epoch_1").iterdir():
        path.unlink()
    (run / "checkpoints" / "epoch_1").rmdir()
    (run / "plan.json").unlink()
    manifest = uploader(run).finish()
    assert manifest.state == "complete"
    names = uploaded(store)
    assert "checkpoints/epoch_2/shard" in names
    assert "checkpoints/epoch_1/shard" not in names
    assert "plan.json" in names


def test_a_second_process_goes_on_where_the_first_ended(store, run):
    make_old(run)
    uploader(run).look()
    store.asked.clear()
    uploader(run).finish()
    assert not [one for one in store.asked if one.method == "PUT" and "upload.json" not in one.path]


def test_a_short_outage_is_waited_out(store, run, monkeypatch):
    monkeypatch.setattr(uploads, "FIRST_WAIT_SECONDS", 0.01)
    store.refused_writes = 14
    assert uploader(run).finish().state == "complete"


@pytest.mark.slow
def test_an_upload_that_cannot_be_ended_says_so_here_and_there(store, run, monkeypatch):
    monkeypatch.setattr(uploads, "FIRST_WAIT_SECONDS", 0.01)
    make_old(run)
    beside = uploader(run)
    beside.look()
    (run / "results.json").write_text("{}")
    store.refused_writes = 10**6
    manifest = beside.finish()
    assert (manifest.state, list(manifest.failed)) == ("incomplete", ["results.json", "upload.json"])
    assert json.loads((run / "logs" / "upload.json").read_text())["state"] == "incomplete"
    assert json.loads(store.body("runs/one/upload.json"))["state"] == "uploading"
    store.refused_writes = 0
    assert uploader(run).finish().state == "complete"
    assert json.loads(store.body("runs/one/upload.json"))["state"] == "complete"


def test_what_the_store_lost_or_changed_is_noticed(store, run):
    beside = uploader(run)
    beside.finish()
    store.put("runs/one/plan.json", b"[]")
    manifest = beside.finish()
    assert (manifest.state, list(manifest.failed)) == ("incomplete", ["plan.json"])
    assert beside.finish().state == "complete"
    assert store.body("runs/one/plan.json") == b"{}"


def test_an_encrypted_bucket_whose_etags_are_no_md5_is_not_taken_for_damage(store, run, monkeypatch):
    original = S3._entry_of

    def entry_of(self, uri, size, etag, head):
        encrypted = {**head, "ServerSideEncryption": "aws:kms"} if head else {}
        return original(self, uri, size, hashlib.md5(etag.encode()).hexdigest(), encrypted)

    monkeypatch.setattr(S3, "_entry_of", entry_of)
    assert uploader(run).finish().state == "complete"


def test_wrong_keys_and_a_missing_bucket_are_told_with_their_cure(store, run, monkeypatch):
    manifest = Uploader(run, "s3://nowhere-lab/one", "job-1", ()).finish()
    assert manifest.state == "incomplete"
    assert "There is no bucket 'nowhere-lab'" in manifest.reason
    object_store.refuse_keys(store, monkeypatch)
    manifest = uploader(run).finish()
    assert "AWS_ACCESS_KEY_ID" in manifest.fix
    assert "AKIAWRONG" not in (run / "logs" / "upload.json").read_text()


@pytest.mark.slow
def test_a_manifest_is_read_from_the_store(store, run):
    assert uploads.read_manifest(URI) is None
    uploader(run).finish()
    assert uploads.read_manifest(URI)["state"] == "complete"
    with pytest.raises(BlockedError):
        uploads.read_manifest("s3://nowhere-lab/one")


@pytest.fixture
def job(store, tmp_path, fake_trainer):
    return make_job(tmp_path / "run", results_uri=URI, upload_excludes=("cache",))


@pytest.mark.slow
def test_a_job_ends_once_its_results_are_there(store, job):
    handle = service.launch(make_plan(job))
    status = handle.wait(timeout_seconds=600)
    assert (status.state, status.upload) == (State.COMPLETE, "complete")
    assert f"files are in {URI}" in status.message
    assert {"status.jsonl", "logs/exit_code", "logs/job.log", "plan.json"} <= uploaded(store)
    assert store.body("runs/one/logs/exit_code").strip() == b"0"
    assert handle.record.storage_tier == "s3"
    assert "files are in" not in handle.record.transitions[-1].message


@pytest.mark.slow
def test_a_failed_and_a_cancelled_job_bring_what_they_have(store, tmp_path, fake_trainer):
    failing = make_job(tmp_path / "failing", acts=("start", "fail:No data."), results_uri=f"{URI}/failing")
    acts, patient = ("start", "step:1", "wait_for:never"), PlatformRequest(options={"grace_seconds": 60})
    waiting = make_job(tmp_path / "waiting", acts, results_uri=f"{URI}/waiting", platform=patient)
    first, second = service.launch(make_plan(failing)), service.launch(make_plan(waiting))
    assert first.wait(timeout_seconds=600).upload == "complete"
    eventually(lambda: second.status().progress.get("step") == 1)
    status = second.cancel()
    assert (status.state, status.upload) == (State.CANCELED, "complete")
    assert b"No data." in store.body("runs/one/failing/status.jsonl")
    assert b'"RUNNING"' in store.body("runs/one/waiting/status.jsonl")


@pytest.mark.slow
def test_an_upload_can_be_made_good_and_a_running_job_is_left_alone(store, job):
    store.refused_writes = 10**6
    store.refusal = ("403 Forbidden", "AccessDenied")  # not worth another attempt, unlike an outage
    handle = service.launch(make_plan(job))
    with pytest.raises(service.ConflictError):
        remote_results.upload(handle.record)
    status = handle.wait(timeout_seconds=1200)
    assert (status.state, status.upload, status.exit_code) == (State.COMPLETE, "incomplete", 0)
    assert f"tao-skills data upload {handle.id}" in status.message
    store.refused_writes = 0
    assert remote_results.upload(handle.record).state == "complete"
    assert JobHandle(handle.id).status().upload == "complete"


@pytest.mark.slow
def test_a_job_that_another_one_went_on_from_keeps_how_its_upload_ended(store, job):
    first = service.launch(make_plan(job))
    first.wait(timeout_seconds=600)
    workload = replace(job.workload, resume=True)
    second = service.launch(make_plan(replace(job, id=job_store.new_job_id("cosmos-rl", "train"), workload=workload)))
    assert second.wait(timeout_seconds=600).upload == "complete"
    assert first.status().upload == "complete"
    assert json.loads(store.body("runs/one/upload.json"))["job_id"] == second.id
    with pytest.raises(service.ConflictError):
        remote_results.upload(first.record)


def test_the_rendered_script_is_bash_and_names_no_secret(store, job):
    script = make_plan(job).files["launch.sh"]
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert "testing" not in script.replace("tao_skill_bank", "")
    assert to_json(job)["results_uri"] == URI
