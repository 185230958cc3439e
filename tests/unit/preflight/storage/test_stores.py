"""What a job names in object stores is looked at before the launch: by one request each, and never downloaded."""

import json
from dataclasses import replace
from pathlib import Path

import object_store
import pytest
from preflight_worlds import QuietPlatform
from runs import make_job

from tao_skill_bank import preflight
from tao_skill_bank.contracts import Input, Resources, Workload
from tao_skill_bank.errors import BackendError, BlockedError
from tao_skill_bank.planning import gate
from tao_skill_bank.preflight.storage import stores

ROOT = "s3://lab/data"


def record(number, **changes):
    turns = [{"from": "human", "value": "Which way?"}, {"from": "gpt", "value": "left"}]
    values = {"id": str(number), "video": f"videos/{number}.mp4", "video_fps": 8, "conversations": turns}
    return {**values, **changes}


@pytest.fixture
def remote(store):
    """Two clips and their annotations."""
    for number in range(2):
        store.put(f"data/videos/{number}.mp4", b"clip")
    store.put("data/annotations.json", json.dumps([record(0), record(1)]).encode())
    store.asked.clear()
    return store


def remote_job(tmp_path, **changes):
    use = Input("train", "annotations", {"annotation_path": f"{ROOT}/annotations.json", "media_path": ROOT})
    inputs = tmp_path / "run" / "inputs"
    values = {
        "workload": Workload(inputs=(use,), batch_per_rank=1, micro_batch=1, num_frames=4, epochs=1),
        "dataset_required_fields": ("video_fps",),
        "resources": Resources(device="cpu"),
        "fetches": (
            (f"{ROOT}/annotations.json", str(inputs / "a.json")),
            (f"{ROOT}#named-in={inputs / 'a.json'}", str(inputs / "media")),
        ),
    }
    return make_job(tmp_path / "run", **{**values, **changes})


def found(job, *, runs_here=True):
    findings = preflight.run(job, QuietPlatform(runs_here=runs_here))
    return {finding.code: finding for finding in findings}


@pytest.mark.slow
def test_small_annotations_are_read_and_media_are_looked_up_by_name(remote, tmp_path, state_dir):
    findings = found(remote_job(tmp_path))
    assert findings["dataset_records"].evidence["usable"] == 2
    assert findings["media_remote"].severity == "info"
    assert remote.downloads() == ["data/annotations.json"]
    told = "".join(f"{finding.message} {finding.fix} {finding.path}" for finding in findings.values())
    assert str(state_dir) not in told
    assert f"{ROOT}/annotations.json" in told


def test_annotations_are_read_without_a_cache_that_can_be_written(remote, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "file" / "state"))
    (tmp_path / "scratch").mkdir()
    data = stores.look(remote_job(tmp_path), tmp_path / "scratch", runs_here=True)
    (local,) = data.uris
    assert [entry["id"] for entry in json.loads(Path(local).read_text())] == ["0", "1"]
    assert data.failed == {}
    assert Path(local).is_relative_to(tmp_path / "scratch")


def test_faulty_records_and_missing_media_are_told_by_the_names_that_the_user_knows(remote, tmp_path, state_dir):
    records = [record(0), record(1, video_fps=None), record(2)]
    remote.put("data/annotations.json", json.dumps(records).encode())
    findings = found(remote_job(tmp_path))
    missing = findings["media_missing"]
    assert (missing.severity, missing.evidence["files"]) == ("blocking", ["videos/2.mp4"])
    without_fps = next(finding for code, finding in findings.items() if code.startswith("video_fps"))
    assert f"{ROOT}/annotations.json" in without_fps.message
    assert "tao-skills data stage" in without_fps.fix
    assert str(state_dir) not in f"{without_fps}"


def test_large_annotations_are_left_to_the_job(remote, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "MAX_ANNOTATION_BYTES", 10)
    findings = found(remote_job(tmp_path))
    assert findings["annotation_remote"].severity == "not_checked"
    assert remote.downloads() == []


@pytest.mark.parametrize(("bucket", "code"), [("nowhere-lab", "bucket_missing"), ("lab", "remote_missing")])
def test_a_missing_bucket_and_a_missing_file_block_with_their_fix(remote, tmp_path, bucket, code):
    uri = f"s3://{bucket}/nothing/annotations.json"
    use = Input("train", "annotations", {"annotation_path": uri, "media_path": f"s3://{bucket}/nothing"})
    job = remote_job(tmp_path, workload=Workload(inputs=(use,)), fetches=((uri, str(tmp_path / "a.json")),))
    finding = found(job)[code]
    assert finding.severity == "blocking"
    assert finding.fix


def test_wrong_keys_are_one_credential_finding_and_a_warning_where_the_job_runs_elsewhere(
    remote, tmp_path, monkeypatch
):
    object_store.refuse_keys(remote, monkeypatch)
    job = remote_job(tmp_path)
    findings = preflight.run(job, QuietPlatform())
    (blocking,) = [finding for finding in findings if finding.severity == "blocking"]
    assert blocking.code == "credential_rejected"
    with pytest.raises(BlockedError) as caught:
        gate.raise_if_blocked([blocking])
    assert caught.value.exit_code == 4
    assert found(job, runs_here=False)["credential_rejected"].severity == "warning"


def test_a_store_that_does_not_answer_is_a_backend_that_cannot_be_reached(remote, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    finding = found(remote_job(tmp_path))["storage_unreachable"]
    assert "127.0.0.1:9" in finding.message
    with pytest.raises(BackendError):
        gate.raise_if_blocked([finding])


@pytest.mark.slow
def test_results_are_not_mixed_with_others_unless_a_run_goes_on(remote, tmp_path):
    def found(job):
        return {finding.code: finding for finding in stores.look(job, tmp_path, runs_here=True).findings}

    job = remote_job(tmp_path, results_uri="s3://lab/runs/one")
    assert found(job)["results_remote"].severity == "info"
    remote.put("runs/one/status.jsonl", b"{}")
    assert found(job)["results_dir_not_empty"].severity == "blocking"
    resumed = replace(job, workload=replace(job.workload, adds=True))
    assert "results_dir_not_empty" not in found(resumed)
    beside = replace(job, results_uri="s3://lab/runs/on")
    assert "results_dir_not_empty" not in found(beside)
