import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from preflight_worlds import (
    QuietPlatform,
    clips_of,
    codes,
    make_job,
    make_record,
    only,
    use_of,
    write_annotations,
    write_clip,
)

from tao_skill_bank import preflight
from tao_skill_bank.contracts import Finding, Input, Resources
from tao_skill_bank.errors import BackendError, RequestError
from tao_skill_bank.preflight import runner
from tao_skill_bank.preflight.machine import hardware
from tao_skill_bank.preflight.model import inspection


def run(job, *findings):
    return preflight.run(job, QuietPlatform(findings))


def without_inspection(monkeypatch):
    monkeypatch.setattr(inspection, "inspect", lambda *_: inspection.Inspection())


def test_a_sound_job_has_nothing_blocking(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    found = run(make_job(tmp_path, use_of(dataset())))
    assert codes(found, "blocking") == []
    expected = ["dataset_records", "media_decoded", "few_steps", "steps", "tokens_predicted", "estimate_unknown"]
    assert codes(found) == expected


def test_this_machine_is_not_looked_at_for_a_platform_that_runs_elsewhere(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    monkeypatch.setattr(hardware, "list_gpus", lambda: pytest.fail("NVML of this machine was asked"))
    job = make_job(tmp_path, use_of(dataset()), resources=Resources())
    found = preflight.run(job, QuietPlatform(runs_here=False))
    assert codes(found, "not_checked") == ["hardware_not_checked"]


def test_media_of_an_archive_may_be_named_with_a_leading_dot(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    root = dataset(records=[make_record(index, video=f"./videos/{index}.mp4") for index in range(4)])
    packed = shutil.make_archive(str(tmp_path / "videos"), "gztar", root, "videos")
    found = run(make_job(tmp_path, use_of(root, media_path=packed)))
    assert codes(found, "blocking") == []
    assert only(found, "media_decoded").evidence["files"] == 4


def test_every_problem_is_reported_at_once_and_in_the_same_order(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    records = [make_record(0, video_fps=None), make_record(1), make_record(1), make_record(9)]
    root = dataset(records=records)
    (root / "videos" / "1.mp4").write_bytes(b"broken")
    (tmp_path / "results").write_text("")
    engine = Finding("engine_down", "blocking", "The engine is down.")
    job = make_job(tmp_path, use_of(root), model="hf_model://org/name", batch_per_rank=64, resume_from="/absent")
    expected = [
        "credential_missing",
        "checkpoint_missing",
        "video_fps_missing",
        "duplicate_ids",
        "media_missing",
        "media_unreadable",
        "batch_exceeds_records",
        "results_dir_unwritable",
        "engine_down",
    ]
    assert codes(run(job, engine), "blocking") == expected
    assert codes(run(job, engine), "blocking") == expected


def test_every_finding_says_what_and_how_to_cure_it(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    root = dataset(records=[make_record(0, video_fps=-1), make_record(8, video="../x.mp4")])
    for found in run(make_job(tmp_path, use_of(root), model="hf_model://org/name")):
        assert found.message.endswith(".")
        assert found.fix or found.severity == "info"


def test_a_failing_platform_probe_is_a_finding(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)

    class Broken(QuietPlatform):
        def probe(self, job):  # noqa: ARG002 - the protocol names it
            raise BackendError.of("backend_unreachable", "The engine does not answer.", "Start it.")

    found = preflight.run(make_job(tmp_path, use_of(dataset())), Broken())
    assert "backend_unreachable" in codes(found, "warning")
    assert [one.code for one in found if one.blocks_run] == ["backend_unreachable"]


def test_options_that_contradict_themselves_are_the_requests_mistake_and_no_finding(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)

    class Strict(QuietPlatform):
        def probe(self, job):  # noqa: ARG002 - the protocol names it
            raise RequestError.of(
                "invalid_option", "No such time.", "Write minutes.", path="platform.options.time_limit"
            )

    with pytest.raises(RequestError, match="No such time"):
        preflight.run(make_job(tmp_path, use_of(dataset())), Strict())


@pytest.mark.slow
def test_nothing_is_written_but_the_cache(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "state"))
    root = dataset()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    run(make_job(tmp_path, use_of(root)))
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert {path.name for path in tmp_path.iterdir()} <= {"train", "state"}


def test_media_of_an_archive_are_checked_and_decoded(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    root = dataset(records=[make_record(index) for index in range(5)])
    packed = shutil.make_archive(str(tmp_path / "videos"), "gztar", root, "videos")
    found = run(make_job(tmp_path, use_of(root, media_path=packed)))
    assert codes(found, "blocking") == ["media_missing"]
    assert "media_decoded" in codes(found)


def test_the_number_of_decoded_media_can_be_chosen(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    job = make_job(tmp_path, use_of(dataset()), options={"preflight_samples": 1})
    decoded = next(found for found in run(job) if found.code == "media_decoded")
    assert decoded.evidence["files"] == 1


def test_train_and_evaluation_sets_are_compared(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    root = dataset()
    found = run(make_job(tmp_path, use_of(root), use_of(root, "eval")))
    assert codes(found, "warning") == ["train_eval_overlap", "few_steps"]


def test_an_unreadable_evaluation_set_does_not_hide_the_training_set(dataset, tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    write_annotations(tmp_path / "val", "{}")
    found = run(make_job(tmp_path, use_of(dataset()), use_of(tmp_path / "val", "eval")))
    assert codes(found, "blocking") == ["annotation_unreadable"]
    assert "steps" in codes(found)


def test_clips_and_prompts_are_checked_with_the_rest(tmp_path, monkeypatch):
    without_inspection(monkeypatch)
    for role in ("train", "val"):
        write_clip(tmp_path / role / "a.mp4")
        (tmp_path / role / "a.txt").write_text("It moves.")
    clips = (clips_of(tmp_path / "train"), clips_of(tmp_path / "val", "eval"))
    prompts = Input("eval", "prompt_pairs", {"path": str(tmp_path / "val")})
    found = run(make_job(tmp_path, *clips, prompts, batch_per_rank=1))
    expected = ["clips", "clips", "train_eval_overlap", "prompts", "few_steps", "steps", "estimate_unknown"]
    assert codes(found) == expected


def test_preflight_never_imports_torch():
    names = "tao_skill_bank.preflight, tao_skill_bank.models.cosmos_reason.record_tokens"
    code = f"import sys, {names}; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "av", "transformers", "huggingface_hub"} & set(modules)


def test_no_model_and_no_platform_is_named_in_preflight():
    source = "".join(path.read_text() for path in Path(runner.__file__).parent.glob("*.py"))
    for name in ("cosmos", "slurm", "docker", "kubernetes", "platforms.local"):
        assert name not in source.lower()
